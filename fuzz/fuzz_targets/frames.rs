#![no_main]
//! Frames of a server, whatever they hold: as the driver of a link hands them to a session and a
//! ledger, on virtual time.
//!
//! The input's first byte says how the server and the session behave, and the rest is taken line by
//! line: a frame as it is; a number, which stands for an intact canary event, that of all streams
//! and places in turn; `!` and a code, with which the server closes, or cuts where it is none; and
//! nothing, which is a silence.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pusher_canary::agent::link::{Ear, LinkEvent};
use pusher_canary::agent::witness::{Eyes, RunChannel, RunChannels, note_sight};
use pusher_canary::model::channel::kind_of;
use pusher_canary::model::{ChannelName, ClusterRole, RunId, RunTime, Seq, StreamIx, WitnessIx};
use pusher_canary::pusher::close::CloseCode;
use pusher_canary::pusher::encrypt::{KEY_BYTES, NONCE_BYTES, SharedSecret};
use pusher_canary::pusher::frame::{self, Data, ErrorData, Established, ServerFrame, Simple};
use pusher_canary::pusher::session::{self, Action, Session};
use pusher_canary::verify::book::{Book, Outcome};
use pusher_canary::verify::envelope::{self, Envelope, Reader};
use pusher_canary::verify::ledger::{self, Ledger, StreamSpec};
use pusher_canary::verify::tally::{Route, Tally};
use serde_json::Value;
use uuid::Uuid;

/// Bits of the first byte. The digits `0`, `1`, `3`, `7` and `9` are useful ones.
const CONFIRMS: u8 = 1;
const TOLERATES_REFUSALS: u8 = 1 << 1;
const RETRIES_REFUSED: u8 = 1 << 2;
/// The first frame of each connection is whatever the next line is.
const IS_RUDE: u8 = 1 << 3;

/// The run, which seeds of the corpus know.
const RUN: RunId = RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ab));
const CLUSTER: ClusterRole = ClusterRole::New;
/// The channels, each with one stream.
const CHANNELS: [&str; 4] = ["pc-a", "private-pc-b", ENCRYPTED, "cache-pc-d"];
const ENCRYPTED: &str = "private-encrypted-pc-c";
/// What a book remembers: so little that it goes round.
const BOOK_EVENTS: usize = 16;
const ESTABLISHED: &str = concat!(
    r#"{"event":"pusher:connection_established","#,
    r#""data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}"#
);
/// Lines of an input that are taken: more would only take longer.
const LINES_MAX: usize = 1_000;
/// From one line to the next.
const STEP: Duration = Duration::from_millis(250);
const SILENCE: Duration = Duration::from_secs(30);
/// A session that wants to be woken more often than this within a silence never comes to rest.
const WAKES_MAX: usize = 1_000;

fuzz_target!(|input: &[u8]| {
    let Some((manner, lines)) = input.split_first() else { return };
    let mut world = World::new(*manner);
    for line in String::from_utf8_lossy(lines).split('\n').take(LINES_MAX) {
        world.line(line);
    }
    world.pass(SILENCE);
    world.tally();
});

struct World {
    now: RunTime,
    manner: u8,
    session: Session,
    is_connected: bool,
    channels: RunChannels,
    secret: SharedSecret,
    books: Vec<Arc<Book>>,
    published: u64,
    /// The witness's ledger, which takes the short way with frames that it knows every byte of.
    quick: Ledger,
    /// Another, for which every frame is parsed: both must find the same.
    whole: Ledger,
    /// All that was handed on.
    sum: Tally,
}

impl World {
    fn new(manner: u8) -> Self {
        let config = session::Config {
            ping_after: Duration::from_secs(5),
            pong_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(3),
            subscribe_timeout: Duration::from_secs(2),
            tolerates_refusals: manner & TOLERATES_REFUSALS != 0,
            retries_refused_after: (manner & RETRIES_REFUSED != 0)
                .then_some(Duration::from_secs(60)),
            seed: 7,
        };
        let names = CHANNELS.map(|name| ChannelName::new(name).expect("a channel's name"));
        let secret = SharedSecret::derive(ENCRYPTED, &[7; KEY_BYTES]);
        let channel = |name: &str| RunChannel {
            name: name.to_owned(),
            shared_secret: (name == ENCRYPTED).then(|| secret.clone()),
        };
        let channels = CHANNELS.into_iter().map(channel).collect();
        let books: Vec<_> = CHANNELS.iter().map(|_| Arc::new(Book::new(BOOK_EVENTS))).collect();
        let (quick, whole) = (ledger(&books), ledger(&books));
        Self {
            now: RunTime::ZERO,
            manner,
            session: Session::new(config, names),
            is_connected: false,
            channels: RunChannels::new(channels, Reader::new(RUN, CLUSTER)),
            secret,
            books,
            published: 0,
            quick,
            whole,
            sum: Tally::default(),
        }
    }

    fn is(&self, manner: u8) -> bool {
        self.manner & manner != 0
    }

    fn line(&mut self, line: &str) {
        self.publish();
        // Whoever gave up tries again.
        self.session.start(self.now);
        self.drive();
        if line.is_empty() {
            self.pass(SILENCE);
        } else {
            if let Some(code) = line.strip_prefix('!') {
                self.close(code.parse::<u16>().map_or(CloseCode::Dropped, CloseCode::Code));
            } else if let Ok(number) = line.parse::<u64>() {
                let text = self.canary(number);
                self.hear(&text);
            } else {
                self.hear(line);
            }
            self.drive();
            self.pass(STEP);
        }
        self.tally();
    }

    /// One event more on every stream. Of eight, five are accepted.
    fn publish(&mut self) {
        for book in &self.books {
            let seq = book.reserve(self.published, self.now, self.published % 8 == 4);
            book.stamp_sent(seq, self.now, false);
            match self.published % 8 {
                4 | 7 => {}
                5 => book.settle(seq, Outcome::Unknown, None),
                6 => book.settle(seq, Outcome::Rejected, Some(self.now)),
                _ => book.settle(seq, Outcome::Accepted, Some(self.now)),
            }
        }
        self.published += 1;
    }

    /// An intact canary event: its stream and its place are the remainder and the quotient.
    fn canary(&self, number: u64) -> String {
        let (stream, seq) = (number % CHANNELS.len() as u64, number / CHANNELS.len() as u64);
        let (run, cluster, channel) = (RUN, CLUSTER, CHANNELS[stream as usize]);
        let (stream, seq) = (StreamIx(stream as u32), Seq(seq));
        let written = Envelope { run, cluster, stream, seq, at_us: 7 }.encode(envelope::BYTES_MIN);
        let data = match channel {
            ENCRYPTED => self.secret.seal(&written, &[7; NONCE_BYTES]),
            _ => written,
        };
        let (event, data) = (envelope::EVENT, Value::from(data));
        format!(r#"{{"event":"{event}","channel":"{channel}","data":{data}}}"#)
    }

    fn close(&mut self, code: CloseCode) {
        if std::mem::take(&mut self.is_connected) {
            self.session.handle_closed(code, self.now);
        }
    }

    /// A frame comes, if there is anything that it can come on.
    fn hear(&mut self, text: &str) {
        if !self.is_connected {
            return;
        }
        let (now, simple, frame) = (self.now, Simple::read(text), ServerFrame::parse(text).ok());
        if let Some(frame) = &frame {
            look_into(frame);
        }
        if let Some(simple) = &simple {
            check_simple(simple, frame.as_ref());
        }
        let mut quick = Eyes { ledger: &mut self.quick, channels: &self.channels };
        let is_taken = self.session.socket_id().is_some()
            && simple.is_some_and(|simple| quick.take(&simple, now));
        if !is_taken {
            tell(&mut quick, frame.as_ref(), now);
        }
        let mut whole = Eyes { ledger: &mut self.whole, channels: &self.channels };
        tell(&mut whole, frame.as_ref(), now);
        match frame.filter(|_| !is_taken) {
            Some(frame) => self.session.handle_frame(&frame, now),
            None => self.session.handle_heartbeat(now),
        }
    }

    /// Does what the session asks and hears what it knows, until it is still.
    fn drive(&mut self) {
        loop {
            while let Some(action) = self.session.poll_action() {
                self.act(action);
            }
            let Some(event) = self.session.poll_event() else { return };
            let (event, heard) = (LinkEvent::Session(event), self.session.last_heard());
            note_sight(&mut self.quick, &event, heard);
            note_sight(&mut self.whole, &event, heard);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect => {
                assert!(!self.is_connected, "a second socket");
                self.is_connected = true;
                self.session.handle_connected(self.now);
                if !self.is(IS_RUDE) {
                    self.hear(ESTABLISHED);
                }
            }
            Action::Authorize(at, _) => {
                self.session.handle_authorized(at, Ok(("k:s".to_owned(), None)), self.now);
            }
            Action::Send(text) => {
                assert!(self.is_connected, "{text} is sent without a socket");
                if self.is(CONFIRMS) {
                    self.answer(&text);
                }
            }
            Action::Close => self.is_connected = false,
        }
    }

    /// What a server answers that does what it should.
    fn answer(&mut self, sent: &str) {
        let sent: Value = serde_json::from_str(sent).expect("what is sent is JSON");
        let channel = sent["data"]["channel"].as_str().unwrap_or_default();
        let event = "pusher_internal:subscription_succeeded";
        match sent["event"].as_str() {
            Some("pusher:subscribe") => {
                self.hear(&format!(r#"{{"event":"{event}","channel":"{channel}","data":"{{}}"}}"#))
            }
            Some("pusher:ping") => self.hear(r#"{"event":"pusher:pong","data":"{}"}"#),
            sent => assert!(sent.is_some(), "a frame without a name"),
        }
    }

    /// Lets time pass, and wakes the session whenever it wants to be woken.
    fn pass(&mut self, time: Duration) {
        let until = self.now.after(time);
        for _ in 0..WAKES_MAX {
            let Some(at) = self.session.next_deadline().filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            self.drive();
        }
        panic!("the session never comes to rest");
    }

    /// Takes what the ledgers hand on: both the same, and in balance.
    fn tally(&mut self) {
        self.quick.advance(self.now);
        self.whole.advance(self.now);
        let (quick, whole) = (self.quick.take_report(), self.whole.take_report());
        assert_eq!(quick.tally, whole.tally);
        assert_eq!(quick.shortfalls, whole.shortfalls);
        assert_eq!(quick.settled_below, whole.settled_below);
        assert_eq!((quick.pending, quick.overdue), (whole.pending, whole.overdue));
        self.sum.merge(&quick.tally);
        let of = self.sum.obligations();
        assert_eq!(of.total, of.settled() + quick.pending, "the books do not balance");
    }
}

fn ledger(books: &[Arc<Book>]) -> Ledger {
    let config = ledger::Config {
        run: RUN,
        cluster: CLUSTER,
        witness: WitnessIx(7),
        deadline: Duration::from_secs(1),
        horizon: Duration::from_secs(3),
        follows: false,
    };
    let spec = |(ix, book): (u32, &Arc<Book>)| StreamSpec {
        stream: StreamIx(ix),
        channel: ix as usize,
        route: Route::Trigger,
        book: Arc::clone(book),
    };
    Ledger::new(config, &CHANNELS.map(kind_of), (0..).zip(books).map(spec).collect())
}

/// Tells a ledger of a frame, or that what came is none.
fn tell(eyes: &mut Eyes<'_>, frame: Option<&ServerFrame<'_>>, now: RunTime) {
    let is_of_canaries = |frame: &&ServerFrame<'_>| {
        !frame.event.starts_with("pusher:") && !frame.event.starts_with("pusher_internal:")
    };
    eyes.hear(frame.filter(is_of_canaries), now);
    if frame.is_none() {
        note_sight(eyes.ledger, &LinkEvent::Malformed(now), now);
    }
}

/// Looks at all of a frame, as one or the other part of the program does.
fn look_into(frame: &ServerFrame<'_>) {
    let data = frame.data();
    let (decoded, error) = (data.decoded(), ErrorData::from_data(&data));
    assert!(data != Data::Absent || decoded == Value::Null);
    black_box((decoded, error, data.read::<Established<'_>>().is_some()));
    // What a client sends on is a frame again, whatever stands in it.
    let sent = frame::client_event(&frame.event, "presence-pc-e", data.json_text());
    let again = ServerFrame::parse(&sent).expect("what is sent is a frame");
    assert_eq!(again.event, frame.event);
    assert_eq!(again.data(), Data::Text(data.json_text().into()));
}

/// A frame that is taken apart by its form is what it is as JSON, if its data is a string indeed.
fn check_simple(simple: &Simple<'_>, frame: Option<&ServerFrame<'_>>) {
    let quoted = format!("\"{}\"", simple.data);
    let Ok(data) = serde_json::from_str::<String>(&quoted) else { return };
    let frame = frame.expect("what is taken apart is a frame");
    assert_eq!((simple.event, Some(simple.channel)), (&*frame.event, frame.channel.as_deref()));
    assert_eq!(frame.data(), Data::Text(data.into()));
}
