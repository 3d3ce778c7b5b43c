//! Stands between the agent and a cluster, and passes on what each says to the other, but for what
//! it lies about.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pusher_canary::model::{Clock, RunTime};
use pusher_canary::rehearsal::Endpoint;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{accept_hdr_async, client_async};

/// What is done to a connection that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// It is let through.
    Through,
    /// It is a connection, and nothing is ever said on it.
    Mute,
    /// It becomes a WebSocket, and nothing is ever said on it.
    Unestablished,
}

/// What is not passed on as it was said. Who says nothing about a matter passes it on.
pub trait Lie: Send + Sync + 'static {
    /// What becomes of the connection that comes as the `nth`, counted from 0.
    fn welcome(&self, _nth: usize) -> Welcome {
        Welcome::Through
    }

    /// What is written in place of the answer to a WebSocket's upgrade.
    fn upgrade(&self, _nth: usize) -> Option<Raw> {
        None
    }

    /// The cluster says this to a client.
    fn down(&self, to: &Link, text: String) {
        to.tell(text);
    }

    /// A client says this to the cluster.
    fn up(&self, from: &Link, text: String) {
        from.ask(text);
    }

    /// Status and body of the answer to a request that the cluster is not to see.
    fn api(&self, _asked: &Asked) -> Option<(u16, String)> {
        None
    }

    /// What is written in place of any answer to such a request, whatever it is.
    fn raw(&self, _asked: &Asked) -> Option<Raw> {
        None
    }
}

/// Bytes as they are, and then others again and again, until as many are written or nobody takes
/// them any more.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    pub head: Vec<u8>,
    pub again: Vec<u8>,
    pub bytes: usize,
    /// From one write to the next.
    pub pause: Duration,
}

impl Raw {
    /// These alone.
    pub fn of(head: impl Into<Vec<u8>>) -> Self {
        Self { head: head.into(), ..Self::default() }
    }

    async fn write(&self, to: &mut TcpStream) -> std::io::Result<()> {
        to.write_all(&self.head).await?;
        let mut written = 0;
        while !self.again.is_empty() && written < self.bytes {
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            to.write_all(&self.again).await?;
            written += self.again.len();
        }
        to.flush().await
    }
}

/// A request to the API.
pub struct Asked {
    /// Method and target.
    pub line: String,
    pub body: String,
}

impl Asked {
    pub fn publishes(&self) -> bool {
        self.line.starts_with("POST") && self.body.contains("pc-canary")
    }
}

/// What goes to a client.
enum Down {
    Message(Message),
    Raw(Raw),
}

/// A WebSocket that was let through.
#[derive(Clone)]
pub struct Link {
    pub nth: usize,
    down: UnboundedSender<Down>,
    up: UnboundedSender<String>,
}

impl Link {
    /// Says something to the client.
    pub fn tell(&self, text: impl Into<Utf8Bytes>) {
        // Who has left hears nothing.
        let _ = self.down.send(Down::Message(Message::Text(text.into())));
    }

    /// Says something to the cluster.
    pub fn ask(&self, text: String) {
        let _ = self.up.send(text);
    }

    /// Closes it towards the client.
    pub fn close(&self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "lied".into() };
        let _ = self.down.send(Down::Message(Message::Close(Some(frame))));
    }

    /// Writes this to the client, behind what was said before.
    pub fn write(&self, raw: Raw) {
        let _ = self.down.send(Down::Raw(raw));
    }
}

/// Event and channel of a frame.
pub fn named(text: &str) -> (String, String) {
    let frame: Value = serde_json::from_str(text).unwrap();
    let of = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
    (of("event"), of("channel"))
}

/// How often it was lied, and since when.
pub struct Strikes {
    clock: Clock,
    first: OnceLock<RunTime>,
    count: AtomicU64,
}

impl Strikes {
    pub fn new() -> Self {
        Self { clock: Clock::start(), first: OnceLock::new(), count: AtomicU64::new(0) }
    }

    pub fn strike(&self) {
        self.first.get_or_init(|| self.clock.now());
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How long ago the first one was.
    pub fn since_first(&self) -> Duration {
        self.clock.now().since(*self.first.get().expect("it never lied"))
    }
}

/// See the module's documentation.
pub struct Liar {
    /// Where WebSockets go.
    socket: SocketAddr,
    /// Where requests go.
    api: SocketAddr,
    _runtime: Runtime,
}

impl Liar {
    /// Stands before this cluster.
    pub fn before(cluster: &Endpoint, lie: Arc<dyn Lie>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let target = cluster.ws_url.strip_prefix("ws://").unwrap().to_owned();
        let bind = || runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let (sockets, requests) = (bind(), bind());
        let (socket, api) = (sockets.local_addr().unwrap(), requests.local_addr().unwrap());
        runtime.spawn(take_sockets(sockets, target.clone(), Arc::clone(&lie)));
        runtime.spawn(take_requests(requests, target, lie));
        Self { socket, api, _runtime: runtime }
    }

    /// The cluster as it is reached through this.
    pub fn endpoint(&self, cluster: &Endpoint) -> Endpoint {
        Endpoint {
            ws_url: format!("ws://{}", self.socket),
            http_url: format!("http://{}", self.api),
            ..cluster.clone()
        }
    }
}

async fn take_sockets(listener: TcpListener, target: String, lie: Arc<dyn Lie>) {
    let count = AtomicUsize::new(0);
    while let Ok((client, _)) = listener.accept().await {
        let nth = count.fetch_add(1, Ordering::Relaxed);
        let (target, lie) = (target.clone(), Arc::clone(&lie));
        tokio::spawn(async move {
            // Either side may leave whenever it likes.
            let _ = carry_socket(client, nth, &target, &*lie).await;
        });
    }
}

type WsResult<T> = Result<T, Box<tokio_tungstenite::tungstenite::Error>>;

async fn carry_socket(
    mut client: TcpStream,
    nth: usize,
    target: &str,
    lie: &dyn Lie,
) -> WsResult<()> {
    let welcome = lie.welcome(nth);
    if welcome == Welcome::Mute {
        return drain(&mut client).await;
    }
    if let Some(raw) = lie.upgrade(nth) {
        raw.write(&mut client).await.map_err(|why| Box::new(why.into()))?;
        return drain(&mut client).await;
    }
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the form that tungstenite calls")]
    let note = |request: &Request, answer: Response| {
        path = request.uri().to_string();
        Ok(answer)
    };
    let mut client = accept_hdr_async(client, note).await?;
    if welcome == Welcome::Unestablished {
        return drain(client.get_mut()).await;
    }
    let server = TcpStream::connect(target).await.map_err(|why| Box::new(why.into()))?;
    server.set_nodelay(true).map_err(|why| Box::new(why.into()))?;
    let (mut server, _) = client_async(format!("ws://{target}{path}"), server).await?;
    let (down, mut downs) = unbounded_channel();
    let (up, mut ups): (_, UnboundedReceiver<String>) = unbounded_channel();
    let link = Link { nth, down, up };
    loop {
        tokio::select! {
            said = server.next() => match said {
                Some(Ok(Message::Text(text))) => lie.down(&link, text.to_string()),
                Some(Ok(Message::Close(frame))) => return Ok(client.close(frame).await?),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(()),
            },
            said = client.next() => match said {
                Some(Ok(Message::Text(text))) => lie.up(&link, text.to_string()),
                Some(Ok(Message::Close(frame))) => return Ok(server.close(frame).await?),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(()),
            },
            Some(told) = downs.recv() => match told {
                Down::Raw(raw) => {
                    client.flush().await?;
                    raw.write(client.get_mut()).await.map_err(|why| Box::new(why.into()))?;
                }
                Down::Message(message) => {
                    let is_close = message.is_close();
                    client.send(message).await?;
                    if is_close {
                        return Ok(());
                    }
                }
            },
            Some(text) = ups.recv() => server.send(Message::Text(text.into())).await?,
        }
    }
}

/// Listens until nothing comes any more, and says nothing.
async fn drain(client: &mut TcpStream) -> WsResult<()> {
    let mut chunk = [0; 1024];
    while client.read(&mut chunk).await.is_ok_and(|count| count > 0) {}
    Ok(())
}

async fn take_requests(listener: TcpListener, target: String, lie: Arc<dyn Lie>) {
    while let Ok((client, _)) = listener.accept().await {
        let (target, lie) = (target.clone(), Arc::clone(&lie));
        tokio::spawn(async move { carry_requests(client, &target, &*lie).await });
    }
}

/// One request after the other, each passed on or answered, until either side leaves.
async fn carry_requests(mut client: TcpStream, target: &str, lie: &dyn Lie) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut server = TcpStream::connect(target).await.ok()?;
    server.set_nodelay(true).ok()?;
    loop {
        let request = message(&mut client).await?;
        let (head, body) = request.split_once("\r\n\r\n")?;
        let line = head.lines().next()?.to_owned();
        let asked = Asked { line, body: body.to_owned() };
        if let Some(raw) = lie.raw(&asked) {
            raw.write(&mut client).await.ok()?;
            // Whoever waits for more waits as long as it likes.
            drain(&mut client).await.ok()?;
            return None;
        }
        let answer = match lie.api(&asked) {
            Some((status, body)) => format!(
                "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ),
            None => {
                server.write_all(request.as_bytes()).await.ok()?;
                message(&mut server).await?
            }
        };
        client.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// A head and the body that it announces.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 1 << 14];
        let count = stream.read(&mut chunk).await.ok()?;
        bytes.extend_from_slice(chunk.get(..count).filter(|chunk| !chunk.is_empty())?);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        if body.len() >= length.unwrap_or(0_usize) {
            return Some(text.into_owned());
        }
    }
}
