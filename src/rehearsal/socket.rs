//! One WebSocket of a cluster: moves frames between the socket and the core, keeps it alive, and
//! falls silent when told.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use crate::model::habit::Habit;
use crate::model::{Clock, RunTime};

use super::wire::{self, Text};

/// Most frames that wait for a slow reader. One more, and the connection is closed with 4100.
pub const QUEUE_MAX: usize = 8192;
/// Most bytes of a message from a client; the documents name no limit.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Frames written before the socket is flushed.
const WRITE_BATCH_MAX: usize = 256;
/// Silence after which the server pings (support article on presence channels).
const PING_AFTER: Duration = Duration::from_secs(60);
/// Silence after that ping which ends the connection (same article).
const PONG_TIMEOUT: Duration = Duration::from_secs(15);
/// Silence after which it pings, or ends the connection, where that is a habit.
const BRISK_PING_AFTER: Duration = Duration::from_secs(1);
const BRISK_CLOSE_AFTER: Duration = Duration::from_secs(2);
/// How long a client may take over the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the cluster tells a socket's task to do, in this order.
#[derive(Debug)]
pub enum Item {
    /// Send a frame.
    Frame(Text),
    /// Send a close frame and end.
    Close(u16, String),
    /// Send nothing from here on, not even pongs.
    Mute,
    /// The end of that.
    Unmute,
}

/// A stream whose writes can be made to vanish. The WebSocket above it goes on answering pings and
/// counting its frames, so that it is sound when the silence ends.
pub struct Mutable<S> {
    inner: S,
    muted: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Mutable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mutable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.muted {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The server's side of a WebSocket.
pub type Ws<S> = WebSocketStream<Mutable<S>>;

/// Speaks WebSocket over an upgraded connection.
pub async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(inner: S) -> Ws<S> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let role = tokio_tungstenite::tungstenite::protocol::Role::Server;
    WebSocketStream::from_raw_socket(Mutable { inner, muted: false }, role, Some(config)).await
}

/// Tells a client why it cannot connect, and closes.
pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut ws: Ws<S>, code: u16, reason: &str) {
    let error = wire::error(reason, Some(code));
    if ws.send(Message::Text(error)).await.is_ok() {
        close(&mut ws, code, reason).await;
    }
}

/// How a connection ended that was told nothing by the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is gone.
    Gone,
    /// It is gone, without a close frame.
    Cut,
    /// It is to be closed with this code and reason, once the cluster has forgotten it.
    Close(u16, &'static str),
}

/// What keeps a connection alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// Any frame from the client.
    Frame,
    /// A message from it.
    Message,
    /// A message from it, or to it.
    Traffic,
    /// Nothing.
    Nothing,
}

/// With what a silent client is asked whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    /// A ping frame of the WebSocket protocol.
    Frame,
    /// `pusher:ping`.
    Event,
    /// It is not asked.
    Never,
}

/// When a connection counts as dead.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    sign: Sign,
    ping: Ping,
    /// Whether a ping frame is taken.
    takes_pings: bool,
    /// Silence after which it is asked.
    ping_after: Duration,
    /// Silence after which it is closed.
    close_after: Duration,
}

impl Patience {
    /// That of a cluster with these habits.
    pub fn of(habits: &BTreeSet<Habit>) -> Self {
        let takes_pings = !habits.contains(&Habit::NoFramePings);
        let brisk = |sign, ping| Self {
            sign,
            ping,
            takes_pings,
            ping_after: BRISK_PING_AFTER,
            close_after: BRISK_CLOSE_AFTER,
        };
        match () {
            () if habits.contains(&Habit::PusherPings) => brisk(Sign::Frame, Ping::Event),
            () if habits.contains(&Habit::WantsMessages) => brisk(Sign::Message, Ping::Never),
            () if habits.contains(&Habit::WantsTraffic) => brisk(Sign::Traffic, Ping::Never),
            () if habits.contains(&Habit::ShortLived) => brisk(Sign::Nothing, Ping::Never),
            () => Self {
                sign: Sign::Frame,
                ping: Ping::Frame,
                takes_pings,
                ping_after: PING_AFTER,
                close_after: PING_AFTER + PONG_TIMEOUT,
            },
        }
    }
}

/// Moves frames until something ends the connection. `text` is called with each text frame.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    ws: &mut Ws<S>,
    mut queue: mpsc::Receiver<Item>,
    overflow: CancellationToken,
    (clock, patience): (Clock, Patience),
    mut text: impl FnMut(&str),
) -> End {
    let mut items = Vec::with_capacity(WRITE_BATCH_MAX);
    let mut alive = KeepAlive::new(patience, clock.now());
    loop {
        let deadline = clock.instant(alive.deadline()).into();
        tokio::select! {
            message = ws.next() => match message {
                Some(Ok(message)) => {
                    let is_message = message.is_text();
                    if patience.sign == Sign::Frame || is_message && patience.sign != Sign::Nothing
                    {
                        alive.heard(clock.now());
                    }
                    match message {
                        Message::Text(frame) => text(&frame),
                        Message::Binary(_) => return End::Close(1003, "text frames only"),
                        Message::Ping(_) if !patience.takes_pings => {
                            return End::Close(4000, "ping by pusher:ping");
                        }
                        _ => {}
                    }
                }
                Some(Err(Error::Capacity(_))) => return End::Close(1009, "message too big"),
                Some(Err(_)) => return End::Cut,
                None => return End::Gone,
            },
            count = queue.recv_many(&mut items, WRITE_BATCH_MAX) => {
                if count == 0 {
                    return End::Gone;
                }
                if patience.sign == Sign::Traffic {
                    alive.heard(clock.now());
                }
                tokio::select! {
                    done = write(ws, &mut items) => match done {
                        Ok(true) => {}
                        Ok(false) | Err(_) => return End::Gone,
                    },
                    () = overflow.cancelled() => {}
                }
            },
            () = overflow.cancelled() => return End::Close(4100, "the reader is too slow"),
            () = sleep_until(deadline) => match alive.step(clock.now(), ws.get_ref().muted) {
                Some(true) => {
                    let ping = match patience.ping {
                        Ping::Event => Message::text(wire::PING),
                        Ping::Frame | Ping::Never => Message::Ping(Default::default()),
                    };
                    if ws.send(ping).await.is_err() {
                        return End::Gone;
                    }
                }
                Some(false) => return End::Close(4201, "no pong in time"),
                None => {}
            },
        }
    }
}

/// Carries out what is in the queue; says whether the connection goes on.
async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    ws: &mut Ws<S>,
    items: &mut Vec<Item>,
) -> Result<bool, Error> {
    for item in items.drain(..) {
        match item {
            Item::Frame(frame) => ws.feed(Message::Text(frame)).await?,
            Item::Close(code, reason) => {
                if !ws.get_ref().muted {
                    close(ws, code, &reason).await;
                }
                return Ok(false);
            }
            // Flushed first: what was sent before the silence arrives, and no frame is cut in two.
            Item::Mute => {
                ws.flush().await?;
                ws.get_mut().muted = true;
            }
            Item::Unmute => {
                ws.flush().await?;
                ws.get_mut().muted = false;
            }
        }
    }
    ws.flush().await?;
    Ok(true)
}

/// Sends a close frame and waits a while for the client's, so that nothing sent before it is lost
/// to a reset.
pub async fn close<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut Ws<S>, code: u16, reason: &str) {
    let reason: String = reason.chars().take(100).collect();
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    let handshake = async {
        if ws.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = ws.next().await {}
        }
    };
    // A client that does not answer is left behind; the outcome is the same.
    let _ = timeout(CLOSE_TIMEOUT, handshake).await;
}

/// When to ping, and when to give up.
struct KeepAlive {
    patience: Patience,
    heard: RunTime,
    pinged: bool,
}

impl KeepAlive {
    const fn new(patience: Patience, now: RunTime) -> Self {
        let pinged = matches!(patience.ping, Ping::Never);
        Self { patience, heard: now, pinged }
    }

    const fn heard(&mut self, now: RunTime) {
        *self = Self::new(self.patience, now);
    }

    fn deadline(&self) -> RunTime {
        let Patience { ping_after, close_after, .. } = self.patience;
        self.heard.after(if self.pinged { close_after } else { ping_after })
    }

    /// At the deadline: `Some(true)` to ping, `Some(false)` to give up. A muted socket does
    /// neither.
    fn step(&mut self, now: RunTime, muted: bool) -> Option<bool> {
        if now < self.deadline() {
            return None;
        }
        if muted {
            self.heard(now);
            return None;
        }
        let first = !self.pinged;
        self.pinged = true;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Client = WebSocketStream<tokio::io::DuplexStream>;

    /// A socket's task over memory.
    struct Link {
        queue: mpsc::Sender<Item>,
        overflow: CancellationToken,
        client: Client,
        task: tokio::task::JoinHandle<()>,
        /// What the task read.
        texts: mpsc::UnboundedReceiver<String>,
    }

    async fn link() -> Link {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (queue, items) = mpsc::channel(QUEUE_MAX);
        let (read, texts) = mpsc::unbounded_channel();
        let overflow = CancellationToken::new();
        let signal = overflow.clone();
        let task = tokio::spawn(async move {
            let mut ws = upgrade(near).await;
            let patience = Patience::of(&BTreeSet::new());
            let text = move |text: &str| read.send(text.to_owned()).unwrap();
            if let End::Close(code, reason) =
                run(&mut ws, items, signal, (Clock::start(), patience), text).await
            {
                close(&mut ws, code, reason).await;
            }
        });
        let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
        let client = WebSocketStream::from_raw_socket(far, role, None).await;
        Link { queue, overflow, client, task, texts }
    }

    async fn code_of(client: &mut Client) -> u16 {
        match client.next().await {
            Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_muted_socket_answers_nothing_and_is_sound_afterwards() {
        let Link { queue, mut client, mut texts, .. } = link().await;
        queue.send(Item::Frame("before".into())).await.unwrap();
        queue.send(Item::Mute).await.unwrap();
        queue.send(Item::Frame("during".into())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text("before"));
        client.send(Message::Ping("lost".into())).await.unwrap();
        client.send(Message::text("discarded")).await.unwrap();
        // The ping was read before this, so its pong is gone for good.
        assert_eq!(texts.recv().await.unwrap(), "discarded");
        queue.send(Item::Unmute).await.unwrap();
        queue.send(Item::Frame("after".into())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text("after"));
        client.send(Message::Ping("heard".into())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("heard".into()));
    }

    #[tokio::test]
    async fn a_close_comes_after_what_was_sent_before_it() {
        let Link { queue, mut client, task, .. } = link().await;
        queue.send(Item::Frame("last".into())).await.unwrap();
        queue.send(Item::Close(4009, "terminated".to_owned())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text("last"));
        assert_eq!(code_of(&mut client).await, 4009);
        assert!(client.next().await.is_none());
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_slow_reader_is_closed_with_4100_and_binary_with_1003() {
        let Link { queue: _queue, overflow, mut client, .. } = link().await;
        overflow.cancel();
        assert_eq!(code_of(&mut client).await, 4100);
        let Link { queue: _queue, mut client, .. } = link().await;
        client.send(Message::binary(vec![1])).await.unwrap();
        assert_eq!(code_of(&mut client).await, 1003);
    }

    #[test]
    fn a_quiet_socket_is_pinged_once_and_then_given_up() {
        let seconds = |s: u64| RunTime::from_millis(s * 1000);
        let mut alive = KeepAlive::new(Patience::of(&BTreeSet::new()), seconds(0));
        assert_eq!(alive.step(seconds(59), false), None);
        assert_eq!(alive.step(seconds(60), false), Some(true));
        assert_eq!(alive.deadline(), seconds(75));
        assert_eq!(alive.step(seconds(75), false), Some(false));
        alive.heard(seconds(75));
        assert_eq!(alive.step(seconds(135), true), None);
        assert_eq!(alive.deadline(), seconds(195));
    }
}
