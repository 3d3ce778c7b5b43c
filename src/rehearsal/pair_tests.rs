use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;
use crate::pusher::rest::{Event, Signer};

const NEW: ClusterRole = ClusterRole::New;
const OLD: ClusterRole = ClusterRole::Old;

fn pair(faults: &[&str]) -> Pair {
    let faults = faults.iter().map(|text| text.parse().unwrap()).collect();
    Pair::start(PairConfig { faults, ..PairConfig::default() }).unwrap()
}

fn address(url: &str) -> &str {
    url.split_once("://").unwrap().1
}

/// Opens a WebSocket with any key; gives it with its first frame's event and data.
async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    url: &str,
    target: &str,
) -> (WebSocketStream<S>, serde_json::Value) {
    let url = format!("{url}{target}");
    let (mut ws, _) = client_async(url, stream).await.unwrap();
    let first = next(&mut ws).await;
    (ws, first)
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocketStream<S>) -> serde_json::Value {
    match ws.next().await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Connects to a cluster and subscribes to `canary-1`.
async fn subscriber(endpoint: &Endpoint) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address(&endpoint.ws_url)).await.unwrap();
    let target = format!("/app/{}?protocol=7", endpoint.key);
    let (mut ws, _) = open(stream, &endpoint.ws_url, &target).await;
    let frame = r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"canary-1"}}"#;
    ws.send(Message::text(frame)).await.unwrap();
    assert_eq!(next(&mut ws).await["event"], "pusher_internal:subscription_succeeded");
    ws
}

/// The raw answer to a canary event published over this connection; empty if it was cut.
async fn publish<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, endpoint: &Endpoint) -> String {
    let Endpoint { app_id, key, secret, .. } = endpoint.clone();
    let data = r#"{"stream":1,"seq":2}"#;
    let event = Event { name: "pc-canary", channel: "canary-1", data };
    let unix_s = Clock::start().wall_now().as_secs();
    let request = Signer { app_id, key, secret }.trigger(&event, unix_s);
    let (target, body) = (request.target, request.body);
    let text = format!(
        "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn one_port_serves_both_websocket_and_http() {
    let mut pair = pair(&[]);
    let endpoint = pair.endpoint(NEW);
    let mut ws = subscriber(&endpoint).await;
    let mut http = TcpStream::connect(address(&endpoint.http_url)).await.unwrap();
    for _ in 0..2 {
        let answer = publish(&mut http, &endpoint).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("{}"), "{answer}");
        assert_eq!(
            next(&mut ws).await,
            serde_json::json!({
                "event": "pc-canary", "channel": "canary-1", "data": r#"{"stream":1,"seq":2}"#
            })
        );
    }
    drop(http);
    let stopped = tokio::task::spawn_blocking(move || pair.stop().map(|()| pair));
    assert!(
        matches!(ws.next().await, Some(Ok(Message::Close(Some(f)))) if u16::from(f.code) == 4200)
    );
    while ws.next().await.is_some() {}
    let mut pair = stopped.await.unwrap().unwrap();
    assert_eq!(pair.counts(NEW), FaultCounts::default());
    pair.stop().unwrap();
}

#[tokio::test]
async fn tls_clients_trust_the_authority_alone() {
    let pair = pair(&[]);
    let endpoint = pair.endpoint(OLD);
    let mut roots = rustls::RootCertStore::empty();
    let pem = rustls::pki_types::pem::PemObject::from_pem_slice(pair.ca_pem().as_bytes()).unwrap();
    roots.add(pem).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for name in ["127.0.0.1", "localhost"] {
        let stream = TcpStream::connect(address(&endpoint.wss_url)).await.unwrap();
        let stream = connector.connect(name.try_into().unwrap(), stream).await.unwrap();
        let target = format!("/app/{}?protocol=7&client=js", endpoint.key);
        let (_, first) = open(stream, "ws://localhost", &target).await;
        assert_eq!(first["event"], "pusher:connection_established");
        let stream = TcpStream::connect(address(&endpoint.https_url)).await.unwrap();
        let mut stream = connector.connect(name.try_into().unwrap(), stream).await.unwrap();
        assert!(publish(&mut stream, &endpoint).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn clients_with_a_wrong_target_are_told_why_and_closed() {
    let pair = pair(&[]);
    let (endpoint, other) = (pair.endpoint(NEW), pair.endpoint(OLD));
    for (target, code) in [
        (format!("/app/{}?protocol=7", other.key), 4001),
        (format!("/other/{}?protocol=7", endpoint.key), 4005),
        (format!("/app/{}?protocol=x", endpoint.key), 4006),
        (format!("/app/{}?protocol=3", endpoint.key), 4007),
        (format!("/app/{}", endpoint.key), 4008),
    ] {
        let stream = TcpStream::connect(address(&endpoint.ws_url)).await.unwrap();
        let (mut ws, first) = open(stream, &endpoint.ws_url, &target).await;
        assert_eq!(first["event"], "pusher:error", "{target}");
        assert_eq!(first["data"]["code"], code, "{target}");
        match ws.next().await {
            Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), code),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn publish_faults_take_their_effect_on_the_connection() {
    for (fault, answer, taken) in [
        ("new:refuse=1", "HTTP/1.1 400 Bad Request\r\n", false),
        ("new:lose-answer=1", "", true),
        ("new:error-after=1", "HTTP/1.1 503 Service Unavailable\r\n", true),
    ] {
        let pair = pair(&[fault]);
        let endpoint = pair.endpoint(NEW);
        let mut ws = subscriber(&endpoint).await;
        let mut http = TcpStream::connect(address(&endpoint.http_url)).await.unwrap();
        let got = publish(&mut http, &endpoint).await;
        assert_eq!(got.split_inclusive("\r\n").next().unwrap_or_default(), answer, "{fault}");
        if taken {
            assert_eq!(next(&mut ws).await["event"], "pc-canary");
        }
        let counts = pair.counts(NEW);
        assert_eq!(counts.refused + counts.answers_lost + counts.errors_after, 1, "{counts:?}");
    }
}

#[tokio::test]
async fn a_killed_cluster_is_gone_without_a_close_frame_and_the_other_stays() {
    let pair = pair(&[]);
    let (endpoint, other) = (pair.endpoint(NEW), pair.endpoint(OLD));
    let mut ws = subscriber(&endpoint).await;
    let mut witness = subscriber(&other).await;
    pair.kill(NEW);
    pair.kill(NEW);
    let end = ws.next().await;
    assert!(matches!(end, Some(Err(Error::Protocol(_) | Error::Io(_)))), "{end:?}");
    assert!(TcpStream::connect(address(&endpoint.ws_url)).await.is_err());
    assert!(TcpStream::connect(address(&endpoint.https_url)).await.is_err());
    let mut http = TcpStream::connect(address(&other.http_url)).await.unwrap();
    assert!(publish(&mut http, &other).await.ends_with("{}"));
    assert_eq!(next(&mut witness).await["event"], "pc-canary");
    drop(pair);
    assert!(TcpStream::connect(address(&other.ws_url)).await.is_err());
}

/// Counts what is written and flushed to it.
#[derive(Clone, Default)]
struct Probe {
    lines: Arc<Mutex<Vec<u8>>>,
    flushes: Arc<AtomicUsize>,
}

impl Write for Probe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn the_fault_log_is_complete_after_the_stop() {
    let probe = Probe::default();
    let mut pair = Pair::start(PairConfig {
        faults: vec!["new:drop=1".parse().unwrap()],
        fault_log: Some(Box::new(probe.clone())),
        ..PairConfig::default()
    })
    .unwrap();
    let endpoint = pair.endpoint(NEW);
    let ws = subscriber(&endpoint).await;
    let mut http = TcpStream::connect(address(&endpoint.http_url)).await.unwrap();
    publish(&mut http, &endpoint).await;
    drop((ws, http));
    pair.stop().unwrap();
    assert_eq!(pair.counts(NEW).dropped, 1);
    assert_eq!(probe.flushes.load(Ordering::Relaxed), 1);
    let lines = String::from_utf8(probe.lines.lock().unwrap().clone()).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!(line["kind"], "drop");
    assert_eq!((line["stream"].as_u64(), line["seq"].as_u64()), (Some(1), Some(2)));
}

#[test]
fn a_log_that_cannot_be_written_is_an_error_of_the_stop() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("no space"))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = FaultLog::new(Some(Box::new(Full)));
    let done = Done {
        ms: 0,
        cluster: NEW,
        kind: "drop",
        socket: None,
        channel: Some("x".repeat(10_000)),
        event: None,
        mark: None,
        code: None,
    };
    log.write(&[done]);
    assert_eq!(log.flush().unwrap_err().to_string(), "no space");
}

#[test]
fn apps_follow_from_the_seed_and_differ() {
    let identity = |seed, role| {
        let app = generate(seed_of(seed, role)).unwrap();
        (app.id.to_string(), app.key.to_string(), app.secret.expose().to_owned())
    };
    assert_eq!(identity(1, NEW), identity(1, NEW));
    let (old, new, other) = (identity(1, OLD), identity(1, NEW), identity(2, NEW));
    for (a, b) in [(&old, &new), (&new, &other)] {
        assert!(a.0 != b.0 && a.1 != b.1 && a.2 != b.2 && a.1 != a.2);
    }
    assert!(new.0.bytes().all(|b| b.is_ascii_digit()));
    assert!(new.1.len() == 20 && new.1.bytes().all(|b| b.is_ascii_hexdigit()));
}
