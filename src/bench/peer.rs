//! The other end of a measurement: floods whoever subscribes to all channels. It is a process of
//! its own, so that what it takes is not taken for the agent's.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::model::{Clock, ClusterRole, RunId, RunTime, Seq, StreamIx};
use crate::rehearsal::certs::Authority;
use crate::verify::envelope::{self, Envelope};

/// Bytes that are written at once: as much as a socket's buffer takes.
const CHUNK_BYTES: usize = 64 << 10;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4_096;
/// How often a paced flood looks what is due.
const PACE: Duration = Duration::from_millis(1);

/// What a peer shall do with each connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Whose events.
    pub(super) run: RunId,
    /// The channels, each with one stream. Whoever has subscribed to so many is flooded.
    pub(super) channels: Vec<String>,
    /// Events on each connection, all channels together; then it is closed.
    pub(super) events: u64,
    /// Bytes of an envelope.
    pub(super) payload_bytes: usize,
    /// Connections that must have subscribed before the first is flooded.
    pub(super) connections: u32,
    /// Events per second on each connection; `None`: as fast as can be.
    pub(super) rate: Option<f64>,
    /// Whether it speaks TLS.
    pub(super) is_secure: bool,
}

/// Where a peer is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    /// Its port on loopback.
    pub(super) port: u16,
    /// Who signed its certificate, where it speaks TLS.
    pub(super) ca_pem: Option<String>,
}

impl Order {
    /// Frames `from` to `until` of the flood, as they stand on the socket.
    fn frames(&self, events: std::ops::Range<u64>, at_us: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut text = String::new();
        for event in events {
            let streams = self.channels.len() as u64;
            let stream = u32::try_from(event % streams.max(1)).unwrap_or(u32::MAX);
            let envelope = Envelope {
                run: self.run,
                cluster: ClusterRole::New,
                stream: StreamIx(stream),
                seq: Seq(event / streams.max(1)),
                at_us,
            };
            let channel = self.channels.get(stream as usize).map_or("", String::as_str);
            let data = envelope.encode(self.payload_bytes).replace('"', "\\\"");
            text.clear();
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                r#"{{"event":"{}","channel":"{channel}","data":"{data}"}}"#,
                envelope::EVENT
            );
            frame(&mut bytes, &text);
        }
        bytes
    }
}

/// A text frame of a server, by RFC 6455: unmasked, in one piece.
fn frame(out: &mut Vec<u8>, text: &str) {
    const TEXT: u8 = 0x81;
    out.push(TEXT);
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ 0..126), _) => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((text.len() as u64).to_be_bytes());
        }
    }
    out.extend(text.as_bytes());
}

/// What is the same for every connection.
struct Peer {
    order: Order,
    clock: Clock,
    /// The whole flood, where it is not paced.
    flood: Vec<u8>,
    /// Who is flooded together.
    together: Barrier,
}

/// Serves connections at a place that `tell` is told, for as long as it is polled.
///
/// # Errors
/// There is no port.
pub(super) async fn serve(order: Order, tell: impl FnOnce(&Place)) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    // Whoever finds no place tries again a second later, which would be measured.
    let listener = socket.listen(BACKLOG)?;
    let authority = order.is_secure.then(Authority::new).transpose()?;
    let config = authority.as_ref().map(|authority| authority.server(&BTreeSet::new()));
    let acceptor = config.transpose()?.map(TlsAcceptor::from);
    let flood = match order.rate {
        None => order.frames(0..order.events, 0),
        Some(_) => Vec::new(),
    };
    let together = Barrier::new(order.connections as usize);
    let peer = Arc::new(Peer { order, clock: Clock::start(), flood, together });
    let port = listener.local_addr()?.port();
    tell(&Place { port, ca_pem: authority.map(|authority| authority.ca_pem) });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (peer, acceptor) = (Arc::clone(&peer), acceptor.clone());
        tokio::spawn(async move {
            // Whoever leaves early has seen enough.
            let _ = match acceptor {
                None => peer.attend(stream).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => peer.attend(stream).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

impl Peer {
    async fn attend<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<()> {
        let socket = tokio_tungstenite::accept_async(stream).await.map_err(io::Error::other)?;
        let mut stream = self.greet(socket).await.map_err(io::Error::other)?;
        self.together.wait().await;
        match self.order.rate {
            None => {
                for chunk in self.flood.chunks(CHUNK_BYTES) {
                    stream.write_all(chunk).await?;
                }
            }
            Some(rate) => self.flood_at(rate, &mut stream).await?,
        }
        stream.shutdown().await
    }

    /// The handshake, and every subscription.
    async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut socket: WebSocketStream<S>,
    ) -> Result<S, tokio_tungstenite::tungstenite::Error> {
        const ESTABLISHED: &str = r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\",\"activity_timeout\":120}"}"#;
        #[derive(Deserialize)]
        struct Asked {
            event: String,
            #[serde(default)]
            data: serde_json::Value,
        }
        socket.send(Message::text(ESTABLISHED)).await?;
        let mut left = self.order.channels.len();
        // Whom nothing is sent stays.
        while left > 0 || self.order.events == 0 {
            let Some(message) = socket.next().await else { break };
            let Message::Text(text) = message? else { continue };
            let Ok(asked) = serde_json::from_str::<Asked>(&text) else { continue };
            let answer = match (&*asked.event, asked.data.get("channel")) {
                ("pusher:subscribe", Some(channel)) => {
                    left = left.saturating_sub(1);
                    let event = "pusher_internal:subscription_succeeded";
                    format!(r#"{{"event":"{event}","channel":{channel},"data":"{{}}"}}"#)
                }
                ("pusher:ping", _) => r#"{"event":"pusher:pong","data":"{}"}"#.to_owned(),
                _ => continue,
            };
            socket.send(Message::text(answer)).await?;
        }
        Ok(socket.into_inner())
    }

    async fn flood_at<S: AsyncWrite + Unpin>(&self, rate: f64, stream: &mut S) -> io::Result<()> {
        let begun = self.clock.now();
        let mut sent = 0;
        let mut next = begun;
        while sent < self.order.events {
            next = next.after(PACE).max(self.clock.now());
            tokio::time::sleep_until(self.clock.instant(next).into()).await;
            let now = self.clock.now();
            let due = (now.since(begun).as_secs_f64() * rate) as u64;
            let due = due.min(self.order.events);
            if due > sent {
                let bytes = self.order.frames(sent..due, wall_us(&self.clock, self.clock.now()));
                stream.write_all(&bytes).await?;
                sent = due;
            }
        }
        Ok(())
    }
}

/// The time of day at an instant, in microseconds.
pub(super) fn wall_us(clock: &Clock, at: RunTime) -> u64 {
    u64::try_from(clock.wall(at).as_micros()).unwrap_or(u64::MAX)
}
