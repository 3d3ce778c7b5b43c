//! What each step of a delivery costs: `cargo bench`. `benches/instructions` counts by it what a
//! delivery takes all together.

#![allow(clippy::unwrap_used, reason = "what the bench itself wrote is read")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use pusher_canary::agent::link::Ear;
use pusher_canary::agent::witness::{Eyes, RunChannel, RunChannels};
use pusher_canary::model::{ChannelKind, ClusterRole, RunId, RunTime, Seq, StreamIx, WitnessIx};
use pusher_canary::pusher::frame::{ServerFrame, Simple};
use pusher_canary::verify::book::{Book, Outcome};
use pusher_canary::verify::envelope::{self, Envelope, Reader};
use pusher_canary::verify::ledger::{Config, Ledger, StreamSpec};
use pusher_canary::verify::tally::Route;
use uuid::Uuid;

/// Bytes of an event's data.
const PAYLOADS: [usize; 3] = [256, 1_024, 10_000];
/// Channels of a witness, each with one stream.
const CHANNELS: [u64; 3] = [1, 50, 1_000];
/// Events that a witness's books hold.
const EVENTS: u64 = 1 << 14;

/// How often all events are delivered, and nothing else is done.
const ROUNDS: &str = "PUSHER_CANARY_BENCH_ROUNDS";

fn main() {
    let Ok(rounds) = std::env::var(ROUNDS) else { return Divan::from_args().main() };
    let texts = texts(1);
    for _ in 0..rounds.parse().unwrap() {
        black_box(receive(witness(1), &texts));
    }
    println!("{EVENTS}");
}

fn event(at: u64, channels: u64) -> Envelope {
    Envelope {
        run: RunId(Uuid::from_u128(0x0190_0000_0000_4000_8000_0000_0000_00ab)),
        cluster: ClusterRole::New,
        stream: StreamIx((at % channels) as u32),
        seq: Seq(at / channels),
        at_us: 1_753_600_000_123_456,
    }
}

fn channel(at: u64) -> String {
    format!("pc-0123456789ab-public-{at}")
}

/// An event as a server sends it.
fn frame(envelope: Envelope, payload_bytes: usize) -> String {
    let data = serde_json::to_string(&envelope.encode(payload_bytes)).unwrap();
    let channel = channel(envelope.stream.0.into());
    format!(r#"{{"event":"{}","channel":"{channel}","data":{data}}}"#, envelope::EVENT)
}

#[divan::bench(args = PAYLOADS)]
fn parse_by_borrowing_and_decode(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    let text = frame(event(7, 1), payload_bytes);
    bencher.bench(|| {
        let frame = ServerFrame::parse(black_box(&text)).unwrap();
        Envelope::decode(frame.data().json_text()).unwrap()
    });
}

#[divan::bench(args = PAYLOADS)]
fn read_without_parsing(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    let text = frame(event(7, 1), payload_bytes);
    let reader = Reader::new(event(0, 1).run, ClusterRole::New);
    bencher.bench(|| reader.read(Simple::read(black_box(&text)).unwrap().data).unwrap());
}

#[divan::bench(args = CHANNELS)]
fn deliver(bencher: Bencher<'_, '_>, channels: u64) {
    let texts = texts(channels);
    let bencher = bencher.counter(ItemsCount::new(EVENTS));
    bencher.with_inputs(|| witness(channels)).bench_values(|witness| receive(witness, &texts));
}

/// All events, in the order of their sending.
fn texts(channels: u64) -> Vec<String> {
    (0..EVENTS).map(|at| frame(event(at, channels), 256)).collect()
}

fn receive((mut ledger, channels): (Ledger, RunChannels), texts: &[String]) -> Ledger {
    let mut eyes = Eyes { ledger: &mut ledger, channels: &channels };
    for text in texts {
        assert!(eyes.take(&Simple::read(text).unwrap(), RunTime::from_millis(1)));
    }
    ledger
}

/// A witness of so many channels, whose books hold all events.
fn witness(channels: u64) -> (Ledger, RunChannels) {
    let config = Config {
        run: event(0, 1).run,
        cluster: ClusterRole::New,
        witness: WitnessIx(0),
        deadline: Duration::from_secs(5),
        horizon: Duration::from_secs(30),
        follows: false,
    };
    let books: Vec<_> =
        (0..channels).map(|_| Arc::new(Book::new((EVENTS / channels + 1) as usize))).collect();
    let streams = books.iter().enumerate().map(|(at, book)| StreamSpec {
        stream: StreamIx(at as u32),
        channel: at,
        route: Route::Trigger,
        book: Arc::clone(book),
    });
    let kinds = vec![ChannelKind::Public; channels as usize];
    let mut ledger = Ledger::new(config, &kinds, streams.collect());
    (0..kinds.len()).for_each(|channel| ledger.handle_subscribed(channel, RunTime::ZERO));
    for at in 0..EVENTS {
        let Some(book) = books.get((at % channels) as usize) else { continue };
        let seq = book.reserve(at, RunTime::ZERO, false);
        book.settle(seq, Outcome::Accepted, Some(RunTime::ZERO));
    }
    let names = (0..channels).map(|at| RunChannel { name: channel(at), shared_secret: None });
    let reader = Reader::new(config.run, ClusterRole::New);
    (ledger, RunChannels::new(names.collect(), reader))
}
