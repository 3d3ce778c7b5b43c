//! A client that does what it is told, one thing after the other.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Bytes;
use tokio_tungstenite::tungstenite::Message;

use crate::model::channel::kind_of;
use crate::model::{ChannelName, SocketId};
use crate::net::dial::{self, DialError, Phases, Socket, Target};
use crate::pusher::auth;
use crate::pusher::frame::{self, Data, ErrorData, Established, PING, PONG, ServerFrame};

use super::{FENCE, Site, WAIT, shown};
use crate::verify::parity::Reading;

/// Confirms a subscription.
pub(super) const SUBSCRIBED: &str = "pusher_internal:subscription_succeeded";
/// What is told of a user of whom nothing is to be told.
pub(super) const MEMBER: &str = r#"{"user_id":"pc-user"}"#;
/// Longest wait for the connection to close.
const CLOSE_WAIT: Duration = Duration::from_millis(200);
/// Frames of one answer at most: a cluster that says more than that says nothing of use.
const HEARD_MAX: usize = 10_000;
/// Bytes of them at most.
const HEARD_BYTES_MAX: usize = 8 << 20;

/// Why an experiment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The cluster cannot be reached, or not any more.
    Lost(String),
    /// It closed the connection with this code: 1005 without one, 1006 without a word.
    Closed(u16),
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
            Self::Closed(code) => {
                Reading::NotTested(format!("cluster unreachable: closed with {code}"))
            }
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
    /// Whether the data stood there as a JSON string, as the API gives it.
    pub(super) is_text: bool,
    /// What is wrong, if it is an error.
    error: Option<String>,
    /// How the error names itself: its event, and its code if it has one.
    refusal: Option<String>,
}

impl Heard {
    fn of(frame: &ServerFrame<'_>) -> Self {
        let data = frame.data();
        let is_error = matches!(&*frame.event, "pusher:error" | "pusher:subscription_error");
        let read = is_error.then(|| ErrorData::from_data(&data));
        let error = read.as_ref().map(|ErrorData { code, message }| {
            let code = code.map_or(String::new(), |code| format!("{code} "));
            format!("{code}{}", shown(message)).trim().to_owned()
        });
        let refusal = read.map(|ErrorData { code, .. }| {
            let code = code.map_or(String::new(), |code| format!(" {code}"));
            format!("{}{code}", frame.event)
        });
        Self {
            event: frame.event.to_string(),
            channel: frame.channel.as_deref().map(str::to_owned),
            user_id: frame.user_id.as_deref().map(str::to_owned),
            data: data.json_text().to_owned(),
            is_text: matches!(data, Data::Text(_)),
            error,
            refusal,
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

/// How a client pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// By `pusher:ping`.
    Event,
    /// By a ping frame of the WebSocket protocol.
    Frame,
    /// Not at all.
    None,
}

/// What became of a connection on which a client stayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stay {
    /// Whether the cluster sent `pusher:ping`.
    pub(super) hears_event: bool,
    /// Whether it sent a ping frame.
    pub(super) hears_frame: bool,
    /// With what the cluster closed it, if it did.
    pub(super) closed: Option<u16>,
}

/// What a cluster does about something that was sent to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// Whether it confirms it.
    pub(super) is_taken: bool,
    /// The last error that it answers with.
    pub(super) refusal: Option<String>,
    /// With what it closes the connection, if it does.
    pub(super) closed: Option<u16>,
}

impl Fate {
    /// In words.
    pub(super) fn said(&self) -> String {
        let closed = self.closed.map(|code| format!("closed with {code}"));
        match (&self.refusal, self.is_taken, closed) {
            (Some(refusal), _, Some(closed)) => format!("{refusal}, {closed}"),
            (Some(refusal), _, None) => refusal.clone(),
            (None, true, Some(closed)) => format!("taken, then {closed}"),
            (None, true, None) => "taken".to_owned(),
            (None, false, Some(closed)) => format!("{closed} without a word"),
            (None, false, None) => "no answer".to_owned(),
        }
    }
}

/// See the module's documentation.
pub(super) struct Client<'a> {
    site: &'a Site,
    socket: Socket,
    pub(super) id: SocketId,
    /// After how many seconds of silence it is to ping.
    pub(super) activity_timeout: Option<u64>,
    /// How long it took until there was a WebSocket.
    pub(super) phases: Phases,
    /// How long from there until the cluster said that it is established.
    pub(super) greeted: Duration,
}

impl<'a> Client<'a> {
    /// A WebSocket there, which has said nothing and was told nothing yet.
    pub(super) async fn open(site: &'a Site, target: &Target) -> Result<Self, Fault> {
        Self::try_open(site, target).await.map_err(|error| Fault::Lost(error.to_string()))
    }

    /// The same, with what keeps it from that.
    pub(super) async fn try_open(site: &'a Site, target: &Target) -> Result<Self, DialError> {
        site.turns.next().await;
        let (socket, _, phases) = dial::websocket(target, site.clock, WAIT).await?;
        #[expect(clippy::expect_used, reason = "digits, a dot, digits: always a socket id")]
        let id = SocketId::new("1.1").expect("a socket id");
        let (activity_timeout, greeted) = (None, Duration::ZERO);
        Ok(Self { site, socket, id, activity_timeout, phases, greeted })
    }

    /// A connection of its own.
    pub(super) async fn connect(site: &'a Site) -> Result<Self, Fault> {
        Self::connect_to(site, &site.socket).await
    }

    /// The same there.
    pub(super) async fn connect_to(site: &'a Site, target: &Target) -> Result<Self, Fault> {
        let mut client = Self::open(site, target).await?;
        let opened = site.clock.now();
        let heard = client.hear(WAIT, |h| h.event == "pusher:connection_established").await?;
        client.greeted = site.clock.now().since(opened);
        let data = heard.last().map_or("", |h| h.data.as_str());
        let established = serde_json::from_str::<Established<'_>>(data).ok();
        let id = established.as_ref().and_then(|of| SocketId::new(&of.socket_id).ok());
        client.id = id.ok_or_else(|| Fault::Lost("it gives no socket id".to_owned()))?;
        client.activity_timeout = established.and_then(|of| of.activity_timeout);
        Ok(client)
    }

    /// Subscribes, as this user on a presence channel; returns the confirmation.
    pub(super) async fn subscribe(
        &mut self,
        channel: &ChannelName,
        user: &str,
    ) -> Result<Heard, Fault> {
        self.subscribe_as(channel, &serde_json::json!({ "user_id": user }).to_string()).await
    }

    /// The same with this told of the user on a presence channel.
    pub(super) async fn subscribe_as(
        &mut self,
        channel: &ChannelName,
        data: &str,
    ) -> Result<Heard, Fault> {
        self.ask_as(channel, data).await?;
        let is_answer = |h: &Heard| h.error.is_some() || h.is(SUBSCRIBED, channel);
        let heard = self.hear(WAIT, is_answer).await?;
        match heard.into_iter().last() {
            Some(Heard { error: Some(why), .. }) => Err(Fault::Barred(why)),
            Some(confirmed) => Ok(confirmed),
            None => Err(Fault::Silent("a subscription was not answered".to_owned())),
        }
    }

    /// Asks to subscribe, with this told of the user on a presence channel.
    pub(super) async fn ask_as(&mut self, channel: &ChannelName, data: &str) -> Result<(), Fault> {
        let data = channel.kind().is_presence().then_some(data);
        let signer = &self.site.signer;
        let auth = match channel.kind().needs_auth() {
            true => auth::channel(&signer.key, &signer.secret, &self.id, channel.as_str(), data),
            false => String::new(),
        };
        self.send(frame::subscribe(channel.as_str(), &auth, data)).await
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
        is_last: impl FnMut(&Heard) -> bool,
    ) -> Result<Vec<Heard>, Fault> {
        let mut heard = Vec::new();
        self.hear_into(&mut heard, within, is_last).await.map(|()| heard)
    }

    /// The same; what came is there however it ends.
    async fn hear_into(
        &mut self,
        heard: &mut Vec<Heard>,
        within: Duration,
        mut is_last: impl FnMut(&Heard) -> bool,
    ) -> Result<(), Fault> {
        let hearing = async {
            let mut bytes = 0;
            while heard.len() < HEARD_MAX && bytes < HEARD_BYTES_MAX {
                let message = self.socket.next().await;
                match message {
                    Some(Ok(Message::Text(text))) => {
                        bytes += text.len();
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
                        return Err(Fault::Closed(frame.map_or(1005, |f| u16::from(f.code))));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(Fault::Closed(1006)),
                }
            }
            Err(Fault::Lost("it does not stop talking".to_owned()))
        };
        match tokio::time::timeout(within, hearing).await {
            Ok(done) => done,
            Err(_) => {
                let within = humantime::format_duration(within);
                Err(Fault::Silent(format!("what must come did not come within {within}")))
            }
        }
    }

    /// What becomes of what was just sent: confirmed by a frame of which `is_taken` is true, or
    /// not. Whoever answers a ping has dealt with what came before it, unless it does that on the
    /// side: so what is open then may still come.
    pub(super) async fn fate(&mut self, is_taken: impl Fn(&Heard) -> bool) -> Result<Fate, Fault> {
        // Where the connection is closed already, that is what is heard.
        let _ = self.send(PING.to_owned()).await;
        let mut heard = Vec::new();
        let mut ended = self.hear_into(&mut heard, WAIT, |h| h.event == "pusher:pong").await;
        let is_refused = |h: &Heard| h.refusal.is_some();
        let is_open = !heard.iter().any(|h| is_taken(h) || is_refused(h));
        if ended.is_ok() && is_open {
            let is_last = |h: &Heard| is_taken(h) || is_refused(h);
            ended = match self.hear_into(&mut heard, self.site.news_within, is_last).await {
                // That nothing came says something only of a cluster that is still there.
                Err(Fault::Silent(_)) => self.settle().await.map(|more| heard.extend(more)),
                ended => ended,
            };
        }
        if ended.is_ok() && heard.iter().any(is_refused) {
            // A refusal may end in a close.
            ended = match self.hear_into(&mut heard, self.site.soon(), |_| false).await {
                Err(Fault::Silent(_)) => Ok(()),
                ended => ended,
            };
        }
        self.judge(&heard, ended, is_taken).await
    }

    /// What becomes of a connection that was not let in yet: nobody answers pings there.
    pub(super) async fn fate_of_a_stranger(
        &mut self,
        is_in: impl Fn(&Heard) -> bool,
    ) -> Result<Fate, Fault> {
        let mut heard = Vec::new();
        let is_told = |h: &Heard| is_in(h) || h.refusal.is_some();
        let mut ended = self.hear_into(&mut heard, WAIT, is_told).await;
        if ended.is_ok() && !heard.iter().any(&is_in) {
            ended = match self.hear_into(&mut heard, self.site.soon(), |_| false).await {
                Err(Fault::Silent(_)) => Ok(()),
                ended => ended,
            };
        }
        self.judge(&heard, ended, is_in).await
    }

    /// What becomes of the connection within this time, of which nothing is to be heard.
    pub(super) async fn fate_within(&mut self, time: Duration) -> Result<Fate, Fault> {
        let mut heard = Vec::new();
        let ended = match self.hear_into(&mut heard, time, |_| false).await {
            Err(Fault::Silent(_)) => self.settle().await.map(|_| ()),
            ended => ended,
        };
        self.judge(&heard, ended, |_| false).await
    }

    async fn judge(
        &self,
        heard: &[Heard],
        ended: Result<(), Fault>,
        is_taken: impl Fn(&Heard) -> bool,
    ) -> Result<Fate, Fault> {
        let closed = match ended {
            Ok(()) => None,
            Err(Fault::Closed(code)) => Some(code),
            Err(fault) => return Err(fault),
        };
        // A cluster that goes away closes connections, too: that is no answer.
        if closed.is_some() {
            Self::connect(self.site).await?.leave().await;
        }
        let refusal = heard.iter().rev().find_map(|h| h.refusal.clone());
        Ok(Fate { is_taken: heard.iter().any(is_taken), refusal, closed })
    }

    /// A frame that may come or not: it has come with all that the cluster has dealt with by now,
    /// or within as long as news may be held back.
    pub(super) async fn news(
        &mut self,
        is_it: impl Fn(&Heard) -> bool,
    ) -> Result<Option<Heard>, Fault> {
        let heard = self.settle().await?;
        if let Some(it) = heard.into_iter().find(&is_it) {
            return Ok(Some(it));
        }
        match self.hear(self.site.news_within, &is_it).await {
            Ok(heard) => Ok(heard.into_iter().last()),
            // That nothing came says something only of a cluster that is still there.
            Err(Fault::Silent(_)) => Ok(self.settle().await?.into_iter().find(is_it)),
            Err(fault) => Err(fault),
        }
    }

    /// Whether it answers a ping frame of the WebSocket protocol.
    pub(super) async fn answers_ping_frame(&mut self) -> Result<bool, Fault> {
        let sent = self.socket.send(Message::Ping(Bytes::from_static(b"pc"))).await;
        sent.map_err(|_| Fault::Closed(1006))?;
        let hearing = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Pong(_))) => return Ok(true),
                    Some(Ok(Message::Close(frame))) => {
                        return Err(Fault::Closed(frame.map_or(1005, |f| u16::from(f.code))));
                    }
                    Some(Err(_)) | None => return Err(Fault::Closed(1006)),
                    Some(Ok(_)) => {}
                }
            }
        };
        tokio::time::timeout(WAIT, hearing).await.unwrap_or(Ok(false))
    }

    /// Is there for this time, pings every so often in this manner, and answers what it is asked.
    pub(super) async fn stay(
        &mut self,
        time: Duration,
        (beat, every): (Beat, Duration),
    ) -> Result<Stay, Fault> {
        let clock = self.site.clock;
        let end = clock.now().after(time);
        let mut next = clock.now().after(every);
        let mut stay = Stay::default();
        loop {
            let due = if beat == Beat::None { end } else { next.min(end) };
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let is_ping = ServerFrame::parse(&text).is_ok_and(|f| f.event == "pusher:ping");
                        if is_ping {
                            stay.hears_event = true;
                            let _ = self.send(PONG.to_owned()).await;
                        }
                    }
                    Some(Ok(Message::Ping(_))) => stay.hears_frame = true,
                    Some(Ok(Message::Close(frame))) => {
                        stay.closed = Some(frame.map_or(1005, |frame| u16::from(frame.code)));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => stay.closed = Some(1006),
                },
                () = tokio::time::sleep_until(clock.instant(due).into()) => {
                    if clock.now() >= end {
                        // Something in between may have forgotten it without a word.
                        match self.settle().await {
                            Ok(_) => return Ok(stay),
                            Err(Fault::Closed(code)) => stay.closed = Some(code),
                            Err(Fault::Silent(_) | Fault::Lost(_)) => stay.closed = Some(1006),
                            Err(fault) => return Err(fault),
                        }
                        Self::connect(self.site).await?.leave().await;
                        return Ok(stay);
                    }
                    next = next.after(every);
                    // Where the connection is closed already, that is what is heard.
                    let _ = match beat {
                        Beat::Frame => {
                            let ping = Message::Ping(Bytes::from_static(b"pc"));
                            self.socket.send(ping).await.map_err(|_| Fault::Closed(1006))
                        }
                        Beat::Event | Beat::None => self.send(PING.to_owned()).await,
                    };
                }
            }
            if stay.closed.is_some() {
                // A cluster that goes away closes connections, too: that is no answer.
                Self::connect(self.site).await?.leave().await;
                return Ok(stay);
            }
        }
    }

    /// All that comes within this time.
    pub(super) async fn hear_for(&mut self, time: Duration) -> Result<Vec<Heard>, Fault> {
        let mut heard = Vec::new();
        match self.hear_into(&mut heard, time, |_| false).await {
            Ok(()) | Err(Fault::Silent(_)) => Ok(heard),
            Err(fault) => Err(fault),
        }
    }

    /// A frame that must come, if anything does; `None` if the cluster is there and it did not.
    pub(super) async fn awaited(
        &mut self,
        is_it: impl Fn(&Heard) -> bool,
    ) -> Result<Option<Heard>, Fault> {
        match self.hear(WAIT, &is_it).await {
            Ok(heard) => Ok(heard.into_iter().last()),
            Err(Fault::Silent(_)) => Ok(self.settle().await?.into_iter().find(is_it)),
            Err(fault) => Err(fault),
        }
    }

    /// Whether an event arrives that was published on a channel.
    pub(super) async fn gets(&mut self, event: &str, channel: &ChannelName) -> Result<bool, Fault> {
        match self.hear(self.site.soon() * 5, |h| h.is(event, channel)).await {
            Ok(_) => Ok(true),
            Err(Fault::Silent(_)) => {
                self.site.fence(channel).await?;
                Ok(self.until_fence(channel).await?.iter().any(|h| h.is(event, channel)))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Whether it is let into a channel of any name; on a connection of its own, if it must be.
    pub(super) async fn may_join(&mut self, channel: &str, auth: &str) -> Result<bool, Fault> {
        let is_in = |h: &Heard| h.event == SUBSCRIBED && h.channel.as_deref() == Some(channel);
        let data = kind_of(channel).is_presence().then_some(MEMBER);
        self.send(frame::subscribe(channel, auth, data)).await?;
        let fate = self.fate(is_in).await?;
        if fate.closed.is_some() {
            *self = Self::connect(self.site).await?;
        }
        Ok(fate.is_taken && fate.refusal.is_none() && fate.closed.is_none())
    }

    /// Closes the connection, as a browser does.
    pub(super) async fn leave(mut self) {
        let _ = tokio::time::timeout(CLOSE_WAIT, self.socket.close(None)).await;
    }
}
