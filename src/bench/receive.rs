//! How fast deliveries are received: by the agent's own link and ledger, and by loops that do less.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::agent::link::{ConnectGate, Ear, Link, LinkEvent, LinkTarget};
use crate::agent::witness::{Eyes, RunChannel, RunChannels};
use crate::model::{
    AppId, AppKey, ChannelKind, ChannelName, Clock, ClusterRole, RunTime, Secret, StreamIx,
    WitnessIx,
};
use crate::net::dial::Target;
use crate::net::tls;
use crate::pusher::frame::{ServerFrame, Simple};
use crate::pusher::rest::Signer;
use crate::pusher::session::{self, Event};
use crate::verify::book::{Book, Outcome};
use crate::verify::envelope::Reader;
use crate::verify::latency::Latencies;
use crate::verify::ledger::{self, Ledger, StreamSpec};
use crate::verify::tally::{Obligations, Route, Tally};

use super::BenchError;
use super::machine::cpu_time;
use super::peer::{Order, Place};

/// How often a ledger hands on what it counted, as in a run.
const TALLY_PERIOD: Duration = Duration::from_millis(250);
/// Dials a second: more than are asked of it, and not all at once.
const CONNECT_RATE: f64 = 10_000.0;
/// Longer than any measurement takes: nothing ends by it.
pub(super) const HORIZON: Duration = Duration::from_secs(600);

/// What does less than the agent, on the same frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    /// Reads frames and counts them.
    Raw,
    /// Parses the frame and the data in it by borrowing, and counts a latency.
    Borrowed,
    /// Parses both into values that own all they hold, and counts a latency.
    Owned,
}

/// How many frames a second the loop took.
pub(super) async fn less(
    kind: Loop,
    clock: Clock,
    order: &Order,
    place: &Place,
) -> Result<f64, BenchError> {
    let address = ("127.0.0.1", place.port);
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let url = format!("ws://127.0.0.1:{}/app/bench?protocol=7", place.port);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.map_err(Box::new)?;
    for channel in &order.channels {
        let frame = crate::pusher::frame::subscribe(channel, "", None);
        socket.send(Message::text(frame)).await.map_err(Box::new)?;
    }
    let (mut frames, mut begun, mut latencies) = (0, clock.now(), Latencies::default());
    let greetings = order.channels.len() as u64 + 1;
    while frames < order.events + greetings {
        let Some(message) = socket.next().await else { return Err(BenchError::Peer) };
        let Message::Text(text) = message.map_err(Box::new)? else { continue };
        frames += 1;
        if frames <= greetings {
            begun = clock.now();
            continue;
        }
        let at = match kind {
            Loop::Raw => None,
            Loop::Borrowed => borrowed(&text),
            Loop::Owned => owned(&text),
        };
        if kind != Loop::Raw {
            let at = Duration::from_micros(at.ok_or(BenchError::Peer)?);
            latencies.record(clock.wall_now().saturating_sub(at));
        }
    }
    Ok(order.events as f64 / clock.now().since(begun).as_secs_f64())
}

fn borrowed(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        run: Cow<'a, str>,
        seq: u64,
        at: u64,
    }
    let frame = ServerFrame::parse(text).ok()?;
    let data = frame.data();
    let read: Data<'_> = data.read()?;
    (!read.run.is_empty() && read.seq < u64::MAX).then_some(read.at)
}

fn owned(text: &str) -> Option<u64> {
    let frame: Value = serde_json::from_str(text).ok()?;
    let data: Value = serde_json::from_str(frame.get("data")?.as_str()?).ok()?;
    (data.get("run")?.is_string() && data.get("seq")?.is_u64()).then_some(data.get("at")?.as_u64()?)
}

/// What the agent made of a flood.
pub(super) struct Verified {
    /// The last subscription, and the processor's time that this process had taken by then.
    begun: (RunTime, Duration),
    /// The last delivery.
    last: RunTime,
    /// Deliveries a second.
    pub(super) per_second: f64,
    /// From the peer's writing to the agent's stamp, where the flood says when that was.
    pub(super) added: Latencies,
}

/// What a flood on several connections took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Cost {
    deliveries: u64,
    /// From the last subscription to the last delivery.
    seconds: f64,
    /// Of the processor, from the last subscription on.
    cpu_seconds: f64,
}

/// Receives a flood on all the connections that it is meant for.
pub(super) async fn cost(clock: Clock, order: &Order, place: &Place) -> Result<Cost, BenchError> {
    let target = target(clock, order, place, order.connections.into())?;
    let shared = Shared::new(order);
    let one = |index| witness(clock, order, &target, &shared, WitnessIx(index));
    let parts = (0..order.connections).map(one).collect::<Result<Vec<_>, _>>()?;
    shared.fill(clock, order);
    let all = try_join_all(parts.into_iter().map(|parts| receive(clock, order, parts))).await?;
    let ended = cpu_time();
    let begun = all.iter().map(|one| one.begun).max().ok_or(BenchError::Peer)?;
    let last = all.iter().map(|one| one.last).max().ok_or(BenchError::Peer)?;
    Ok(Cost {
        deliveries: order.events * u64::from(order.connections),
        seconds: last.since(begun.0).as_secs_f64(),
        cpu_seconds: ended.saturating_sub(begun.1).as_secs_f64(),
    })
}

/// Receives a flood as a witness does, to the last count.
pub(super) async fn verified(
    clock: Clock,
    order: &Order,
    place: &Place,
) -> Result<Verified, BenchError> {
    let target = target(clock, order, place, 1)?;
    let shared = Shared::new(order);
    let parts = witness(clock, order, &target, &shared, WitnessIx(0))?;
    shared.fill(clock, order);
    receive(clock, order, parts).await
}

async fn receive(clock: Clock, order: &Order, parts: Parts) -> Result<Verified, BenchError> {
    let Parts { mut link, mut ledger, channels } = parts;
    let (mut tally, mut added) = (Tally::default(), Latencies::default());
    let (mut begun, mut last) = ((clock.now(), cpu_time()), clock.now());
    link.start();
    let mut next = clock.now().after(TALLY_PERIOD);
    loop {
        let tick = tokio::time::sleep_until(clock.instant(next).into());
        let eyes = Eyes { ledger: &mut ledger, channels: &channels };
        let added = order.rate.map(|_| &mut added);
        let ear = Measuring { eyes, added, clock, last: &mut last };
        tokio::select! {
            event = link.next_for(ear) => match event {
                LinkEvent::Session(Event::Subscribed(_)) => begun = (clock.now(), cpu_time()),
                LinkEvent::Session(Event::Disconnected(_)) => break,
                LinkEvent::DialFailed(error) => return Err(error.into()),
                _ => {}
            },
            () = tick => {
                let now = clock.now();
                next = now.after(TALLY_PERIOD);
                ledger.advance(now);
                tally.merge(&ledger.take_report().tally);
            }
        }
    }
    let took = last.since(begun.0).as_secs_f64();
    ledger.advance(clock.now());
    tally.merge(&ledger.take_report().tally);
    let Obligations { total, delivered, .. } = tally.obligations();
    if (total, delivered) != (order.events, order.events) {
        return Err(BenchError::Miscounted { sent: order.events, delivered });
    }
    Ok(Verified { begun, last, per_second: order.events as f64 / took, added })
}

/// Hears as a witness does, and notes when.
struct Measuring<'a> {
    eyes: Eyes<'a>,
    added: Option<&'a mut Latencies>,
    clock: Clock,
    last: &'a mut RunTime,
}

impl Measuring<'_> {
    /// The instant of writing stands in the envelope.
    fn note(&mut self, data: &str, at: RunTime) {
        *self.last = at;
        let Some(added) = &mut self.added else { return };
        let written = data.split(r#"\"at\":"#).nth(1).and_then(|rest| rest.split(',').next());
        if let Some(us) = written.and_then(|digits| digits.parse().ok()) {
            added.record(self.clock.wall(at).saturating_sub(Duration::from_micros(us)));
        }
    }
}

impl Ear for Measuring<'_> {
    fn take(&mut self, frame: &Simple<'_>, at: RunTime) -> bool {
        self.note(frame.data, at);
        self.eyes.take(frame, at)
    }

    fn hear(&mut self, frame: Option<&ServerFrame<'_>>, at: RunTime) {
        self.eyes.hear(frame, at);
    }
}

/// What a witness is made of.
pub(super) struct Parts {
    pub(super) link: Link,
    pub(super) ledger: Ledger,
    pub(super) channels: RunChannels,
}

/// Where the peer is.
pub(super) fn target(
    clock: Clock,
    order: &Order,
    place: &Place,
    connections: u64,
) -> Result<Arc<LinkTarget>, BenchError> {
    let tls = tls::client_config(place.ca_pem.as_deref())?;
    let scheme = if order.is_secure { "wss" } else { "ws" };
    let url = format!("{scheme}://127.0.0.1:{}/app/bench?protocol=7", place.port);
    let signer = Signer {
        app_id: AppId::new("bench").map_err(|_| BenchError::Peer)?,
        key: AppKey::new("bench").map_err(|_| BenchError::Peer)?,
        secret: Secret::new("bench"),
    };
    Ok(Arc::new(LinkTarget {
        target: Target::new(url.parse().map_err(|_| BenchError::Peer)?, &tls)
            .shared_by(connections),
        signer,
        gate: Arc::new(ConnectGate::new(clock, CONNECT_RATE)),
        endpoint: None,
        user_id: String::new(),
        dial_timeout: HORIZON,
    }))
}

/// What all witnesses have together.
pub(super) struct Shared {
    /// One for each channel.
    books: Vec<Arc<Book>>,
    reader: Reader,
}

impl Shared {
    /// With books in which nothing is: what is in one before a witness has subscribed is not owed
    /// to it.
    pub(super) fn new(order: &Order) -> Self {
        let room = |at| usize::try_from(events_of(order, at)).unwrap_or(usize::MAX);
        let channels = 0..order.channels.len() as u64;
        let books = channels.map(|at| Arc::new(Book::new(room(at)))).collect();
        Self { books, reader: Reader::new(order.run, ClusterRole::New) }
    }

    /// Lets the books know of all that the peer will send.
    fn fill(&self, clock: Clock, order: &Order) {
        let now = clock.now();
        for (at, book) in (0..).zip(&self.books) {
            for event in 0..events_of(order, at) {
                let seq = book.reserve(event * self.books.len() as u64 + at, now, false);
                book.stamp_sent(seq, now, false);
                book.settle(seq, Outcome::Accepted, Some(now));
            }
        }
    }
}

/// Of these events the peer sends so many on a channel.
fn events_of(order: &Order, at: u64) -> u64 {
    let channels = order.channels.len() as u64;
    (order.events + channels - 1 - at) / channels.max(1)
}

/// A witness to which is owed what will be in the books.
pub(super) fn witness(
    clock: Clock,
    order: &Order,
    target: &Arc<LinkTarget>,
    shared: &Shared,
    witness: WitnessIx,
) -> Result<Parts, BenchError> {
    let config = session::Config {
        ping_after: HORIZON,
        pong_timeout: HORIZON,
        connect_timeout: HORIZON,
        subscribe_timeout: HORIZON,
        tolerates_refusals: false,
        retries_refused_after: None,
        seed: 0,
    };
    let names = order.channels.iter().map(ChannelName::new);
    let names = names.collect::<Result<Vec<_>, _>>().map_err(|_| BenchError::Peer)?;
    let link = Link::new(clock, Arc::clone(target), config, names);
    let stream = |(at, book): (usize, &Arc<Book>)| {
        let stream = StreamIx(u32::try_from(at).unwrap_or(u32::MAX));
        StreamSpec { stream, channel: at, route: Route::Trigger, book: Arc::clone(book) }
    };
    let config = ledger::Config {
        run: order.run,
        cluster: ClusterRole::New,
        witness,
        deadline: HORIZON,
        horizon: HORIZON,
        follows: false,
    };
    let kinds = vec![ChannelKind::Public; order.channels.len()];
    let mut ledger =
        Ledger::new(config, &kinds, shared.books.iter().enumerate().map(stream).collect());
    // What was in the books before would be owed to nobody.
    (0..kinds.len()).for_each(|channel| ledger.handle_subscribed(channel, RunTime::ZERO));
    let channel = |name: &String| RunChannel { name: name.clone(), shared_secret: None };
    let channels = order.channels.iter().map(channel).collect();
    let channels = RunChannels::new(channels, shared.reader.clone());
    Ok(Parts { link, ledger, channels })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tokio::runtime::Builder;

    use super::super::peer::serve;
    use super::*;
    use crate::model::RunId;

    /// Allocations of this thread while it receives so many events.
    fn allocations(events: u64) -> u64 {
        let order = Order {
            run: RunId(uuid::Uuid::nil()),
            channels: vec!["pc-a".to_owned(), "pc-b".to_owned()],
            events,
            payload_bytes: 256,
            connections: 1,
            rate: None,
            is_secure: false,
        };
        let (tell, told) = channel();
        let of_peer = order.clone();
        // It ends with the tests.
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let serving = serve(of_peer, |place| tell.send(place.clone()).unwrap());
            runtime.block_on(serving).unwrap();
        });
        let place = told.recv().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let clock = Clock::start();
        let receive = || {
            let received = runtime.block_on(verified(clock, &order, &place));
            assert!(received.is_ok(), "{:?}", received.err());
        };
        allocation_counter::measure(receive).count_total
    }

    #[test]
    fn a_delivery_allocates_nothing_from_the_socket_on() {
        let (few, many) = (allocations(5_000), allocations(55_000));
        let further = many.saturating_sub(few);
        // Handing on a tally does, a few times a second, and what holds obligations grows.
        assert!(further < 500, "{further} for 50,000 events");
    }
}
