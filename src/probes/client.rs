//! A client that does what it is told, one thing after the other.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::model::secret::without_signatures;
use crate::model::{ChannelName, SocketId};
use crate::net::dial::{self, Socket};
use crate::pusher::auth;
use crate::pusher::frame::{self, ErrorData, Established, PING, PONG, ServerFrame};

use super::{FENCE, Site, WAIT};
use crate::verify::parity::Reading;

/// Longest wait for the connection to close.
const CLOSE_WAIT: Duration = Duration::from_millis(200);
/// Frames of one answer at most: a cluster that says more than that says nothing of use.
const HEARD_MAX: usize = 10_000;

/// Why an experiment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The cluster cannot be reached, or not any more.
    Lost(String),
    /// It refused what was tried.
    Refused(String),
    /// It refused what every app must let us do.
    Barred(String),
    /// What must come did not.
    Silent(String),
}

impl Fault {
    /// What that means for a row.
    pub(super) fn reading(self) -> Reading {
        match self {
            Self::Refused(why) => Reading::Unsupported(why),
            Self::Lost(why) => Reading::NotTested(format!("cluster unreachable: {why}")),
            Self::Barred(why) => Reading::NotTested(format!("refused: {why}")),
            Self::Silent(what) => Reading::NotTested(what),
        }
    }
}

/// A frame that came.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) event: String,
    pub(super) channel: Option<String>,
    pub(super) user_id: Option<String>,
    /// The data as JSON text.
    pub(super) data: String,
    /// What is wrong, if it is an error.
    error: Option<String>,
}

impl Heard {
    fn of(frame: &ServerFrame<'_>) -> Self {
        let data = frame.data();
        let is_error = matches!(&*frame.event, "pusher:error" | "pusher:subscription_error");
        let error = is_error.then(|| {
            let ErrorData { code, message } = ErrorData::from_data(&data);
            let code = code.map_or(String::new(), |code| format!("{code} "));
            let said: String = without_signatures(&message).chars().take(120).collect();
            format!("{code}{said}").trim().to_owned()
        });
        Self {
            event: frame.event.to_string(),
            channel: frame.channel.as_deref().map(str::to_owned),
            user_id: frame.user_id.as_deref().map(str::to_owned),
            data: data.json_text().to_owned(),
            error,
        }
    }

    /// Whether it is this event on this channel.
    pub(super) fn is(&self, event: &str, channel: &ChannelName) -> bool {
        self.event == event && self.channel.as_deref() == Some(channel.as_str())
    }

    /// What is wrong, if it is an error.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The user that a member event or a client event is about.
    pub(super) fn is_about(&self, user: &str) -> bool {
        let data = serde_json::from_str::<serde_json::Value>(&self.data).unwrap_or_default();
        data.get("user_id").and_then(serde_json::Value::as_str) == Some(user)
    }
}

/// See the module's documentation.
pub(super) struct Client<'a> {
    site: &'a Site,
    socket: Socket,
    pub(super) id: SocketId,
}

impl<'a> Client<'a> {
    /// A connection of its own.
    pub(super) async fn connect(site: &'a Site) -> Result<Self, Fault> {
        let dialled = dial::websocket(&site.socket, site.clock, WAIT).await;
        let (socket, ..) = dialled.map_err(|error| Fault::Lost(error.to_string()))?;
        #[expect(clippy::expect_used, reason = "digits, a dot, digits: always a socket id")]
        let id = SocketId::new("1.1").expect("a socket id");
        let mut client = Self { site, socket, id };
        let heard = client.hear(WAIT, |h| h.event == "pusher:connection_established").await?;
        let data = heard.last().map_or("", |h| h.data.as_str());
        let id = serde_json::from_str::<Established<'_>>(data)
            .ok()
            .and_then(|established| SocketId::new(&established.socket_id).ok());
        client.id = id.ok_or_else(|| Fault::Lost("it gives no socket id".to_owned()))?;
        Ok(client)
    }

    /// Subscribes, as this user on a presence channel; returns the confirmation.
    pub(super) async fn subscribe(
        &mut self,
        channel: &ChannelName,
        user: &str,
    ) -> Result<Heard, Fault> {
        let data = serde_json::json!({ "user_id": user }).to_string();
        let data = channel.kind().is_presence().then_some(data.as_str());
        let signer = &self.site.signer;
        let auth = match channel.kind().needs_auth() {
            true => auth::channel(&signer.key, &signer.secret, &self.id, channel.as_str(), data),
            false => String::new(),
        };
        self.send(frame::subscribe(channel.as_str(), &auth, data)).await?;
        let is_answer = |h: &Heard| {
            h.error.is_some() || h.is("pusher_internal:subscription_succeeded", channel)
        };
        let heard = self.hear(WAIT, is_answer).await?;
        match heard.into_iter().last() {
            Some(Heard { error: Some(why), .. }) => Err(Fault::Barred(why)),
            Some(confirmed) => Ok(confirmed),
            None => Err(Fault::Silent("a subscription was not answered".to_owned())),
        }
    }

    /// Takes a subscription back, and waits until the cluster knows.
    pub(super) async fn unsubscribe(&mut self, channel: &ChannelName) -> Result<(), Fault> {
        self.send(frame::unsubscribe(channel.as_str())).await?;
        self.settle().await.map(|_| ())
    }

    /// Waits until the cluster has dealt with all that was sent; returns what came meanwhile.
    pub(super) async fn settle(&mut self) -> Result<Vec<Heard>, Fault> {
        self.send(PING.to_owned()).await?;
        self.hear(WAIT, |h| h.event == "pusher:pong").await
    }

    /// Sends a frame.
    pub(super) async fn send(&mut self, frame: String) -> Result<(), Fault> {
        let sent = self.socket.send(Message::text(frame)).await;
        sent.map_err(|error| Fault::Lost(error.to_string()))
    }

    /// What comes up to the end of an experiment on this channel.
    pub(super) async fn until_fence(&mut self, channel: &ChannelName) -> Result<Vec<Heard>, Fault> {
        self.hear(WAIT, |h| h.is(FENCE, channel)).await
    }

    /// What comes up to the first frame of which `is_last` is true, that one included.
    pub(super) async fn hear(
        &mut self,
        within: Duration,
        mut is_last: impl FnMut(&Heard) -> bool,
    ) -> Result<Vec<Heard>, Fault> {
        let mut heard = Vec::new();
        let hearing = async {
            while heard.len() < HEARD_MAX {
                let message = self.socket.next().await;
                match message {
                    Some(Ok(Message::Text(text))) => {
                        let Ok(frame) = ServerFrame::parse(&text) else { continue };
                        if frame.event == "pusher:ping" {
                            self.send(PONG.to_owned()).await?;
                            continue;
                        }
                        let frame = Heard::of(&frame);
                        let ends = is_last(&frame);
                        heard.push(frame);
                        if ends {
                            return Ok(());
                        }
                    }
                    Some(Ok(Message::Close(frame))) => {
                        let code = frame.map_or(1005, |frame| u16::from(frame.code));
                        return Err(Fault::Lost(format!("closed with {code}")));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Fault::Lost(error.to_string())),
                    None => return Err(Fault::Lost("the connection was cut".to_owned())),
                }
            }
            Err(Fault::Lost("it does not stop talking".to_owned()))
        };
        match tokio::time::timeout(within, hearing).await {
            Ok(done) => done.map(|()| heard),
            Err(_) => {
                let within = humantime::format_duration(within);
                Err(Fault::Silent(format!("what must come did not come within {within}")))
            }
        }
    }

    /// All that comes within this time.
    pub(super) async fn hear_for(&mut self, time: Duration) -> Result<Vec<Heard>, Fault> {
        let mut heard = Vec::new();
        match self
            .hear(time, |frame| {
                heard.push(frame.clone());
                false
            })
            .await
        {
            Ok(_) | Err(Fault::Silent(_)) => Ok(heard),
            Err(fault) => Err(fault),
        }
    }

    /// Closes the connection, as a browser does.
    pub(super) async fn leave(mut self) {
        let _ = tokio::time::timeout(CLOSE_WAIT, self.socket.close(None)).await;
    }
}
