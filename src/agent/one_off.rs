//! Asks a cluster one thing on a connection of its own, which nobody else needs.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::model::{Clock, SocketId};
use crate::net::dial::{self, Target};
use crate::pusher::close::{self, CloseCode, Retry};
use crate::pusher::frame::{Established, PONG, ServerFrame};

use super::CONNECT_TIMEOUT;

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the connection to close.
const CLOSE_WAIT: Duration = Duration::from_millis(100);

/// What is waited for after a subscription was asked for.
pub(super) const SUBSCRIBED: &str = "pusher_internal:subscription_succeeded";
/// What is waited for after a sign-in was asked for.
pub(super) const SIGNED_IN: &str = "pusher:signin_success";

/// Whether the cluster refuses the frame that `ask` makes for the connection's socket id, or
/// answers it with the event `taken`. `None` if nothing was asked, or no answer says so.
pub(super) async fn refuses<F: Future<Output = Option<String>>>(
    target: &Target,
    clock: Clock,
    taken: &str,
    ask: impl FnOnce(SocketId) -> F,
) -> Option<bool> {
    let (mut socket, ..) = dial::websocket(target, clock, CONNECT_TIMEOUT).await.ok()?;
    let mut ask = Some(ask);
    let answer = async {
        loop {
            match socket.next().await?.ok()? {
                Message::Text(text) => {
                    let frame = ServerFrame::parse(&text).ok()?;
                    match &*frame.event {
                        "pusher:connection_established" => {
                            let data = frame.data();
                            let Established { socket_id, .. } = data.read()?;
                            let socket_id = SocketId::new(&socket_id).ok()?;
                            let frame = ask.take()?(socket_id).await?;
                            socket.send(Message::text(frame)).await.ok()?;
                        }
                        "pusher:ping" => socket.send(Message::text(PONG)).await.ok()?,
                        "pusher:error" | "pusher:subscription_error" if ask.is_none() => {
                            return Some(true);
                        }
                        event if ask.is_none() && event == taken => return Some(false),
                        _ => {}
                    }
                }
                // Some servers answer with a close alone: one that forbids trying again so.
                Message::Close(Some(frame)) if ask.is_none() => {
                    let code = CloseCode::Code(u16::from(frame.code));
                    return (close::retry(code) == Retry::Never).then_some(true);
                }
                Message::Close(_) => return None,
                _ => {}
            }
        }
    };
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_default();
    let _ = tokio::time::timeout(CLOSE_WAIT, socket.close(None)).await;
    answer
}
