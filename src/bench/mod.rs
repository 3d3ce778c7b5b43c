//! Measures the agent on this machine: the floor below which its figures mean nothing.

mod machine;
mod memory;
mod peer;
mod publish;
mod receive;

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;
use uuid::Uuid;

use crate::model::{Clock, RunId};
use crate::net::dial::DialError;
use crate::net::tls::TlsError;
use crate::report::bench::{Bench, ByRoute, ByScheme, Percentiles};
use crate::report::{SCHEMA, Tool};
use crate::verify::tally::Route;

use peer::{Order, Place};
use publish::Pair;
use receive::Loop;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Events of one flood.
    flood_events: u64,
    /// Floods of which each figure is the median.
    floods: usize,
    /// How long deliveries come at a pace.
    paced: Duration,
    /// Connections that are opened to see what one takes.
    connections: u32,
    /// How long is published.
    publishing: Duration,
    /// Whether it only shows that it works.
    is_brief: bool,
}

impl Extent {
    /// Enough for figures that come out alike when it is done again.
    pub const WHOLE: Self = Self {
        flood_events: 200_000,
        floods: 5,
        paced: Duration::from_secs(3),
        connections: 1_000,
        publishing: Duration::from_secs(2),
        is_brief: false,
    };
    /// Enough to see that it works.
    pub const BRIEF: Self = Self {
        flood_events: 10_000,
        floods: 1,
        // Fewer would have no 99th percentile.
        paced: Duration::from_millis(500),
        connections: 50,
        publishing: Duration::from_millis(200),
        is_brief: true,
    };
}

/// Longest that another process, or a measurement with it, may take: many times what it does.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Files that it opens beside connections.
const OTHER_FILES: u64 = 64;
/// Channels of a flood.
const CHANNELS: usize = 10;
/// Bytes of an event, as scenarios have them by default.
const PAYLOAD_BYTES: usize = 256;
/// Deliveries a second of paced floods.
const QUIET_RATE: f64 = 1_000.0;
const BUSY_RATE: f64 = 50_000.0;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Something about a socket or a process.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer cannot be dialled.
    #[error("{0}")]
    Dial(#[from] DialError),
    /// A certificate is of no use.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The peer broke the protocol.
    #[error("{0}")]
    Socket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// The peer did not send what it was told to, or something else.
    #[error("the peer did not send what it was told to")]
    Peer,
    /// Whoever was to answer or to send says nothing any more.
    #[error("a helper process has said nothing for {} seconds", SILENCE_MAX.as_secs())]
    Silent,
    /// More files must be opened than the system allows.
    #[error(
        "it takes a limit of {needed} open files and this process has one of {limit}; raise it \
         (ulimit -n {needed})"
    )]
    Descriptors {
        /// What the limit must be.
        needed: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// The agent did not see each event exactly once.
    #[error("of {sent} events that were sent {delivered} were counted; please report this")]
    Miscounted {
        /// Sent by the peer.
        sent: u64,
        /// Counted as delivered.
        delivered: u64,
    },
}

/// What a process of its own does for a measurement.
#[derive(Serialize, Deserialize)]
enum Part {
    /// Floods whoever subscribes; answers with its [`Place`].
    Peer(Order),
    /// Receives a peer's flood on as many connections as it is meant for; answers with
    /// [`receive::Cost`].
    Receive(Order, Place),
    /// Opens so many connections to a peer; answers with what [`memory::per_connection`] found.
    /// In memory that somebody has used before there would be room already.
    Connections(Order, Place, u32),
}

/// A process that does a part of it, and is ended with its owner.
struct Helper(Child);

impl Helper {
    /// Starts one, and waits for its answer.
    fn start<A: DeserializeOwned>(part: &Part) -> Result<(Self, A), BenchError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "--part"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut helper = Self(command.spawn()?);
        let told = helper.0.stdout.take().ok_or(BenchError::Peer)?;
        let mut line = serde_json::to_string(part).map_err(io::Error::other)?;
        line.push('\n');
        if let Some(stdin) = &mut helper.0.stdin {
            stdin.write_all(line.as_bytes())?;
        }
        let answer = next_line(&lines(told))?;
        let answer = serde_json::from_str(&answer).map_err(|_| BenchError::Peer)?;
        Ok((helper, answer))
    }
}

/// What a process writes, line by line; they end with it.
fn lines(told: ChildStdout) -> mpsc::Receiver<io::Result<String>> {
    let (tell, lines) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody reads on after the last line that matters.
        let _ = BufReader::new(told).lines().try_for_each(|line| tell.send(line));
    });
    lines
}

fn next_line(lines: &mpsc::Receiver<io::Result<String>>) -> Result<String, BenchError> {
    match lines.recv_timeout(SILENCE_MAX) {
        Ok(line) => Ok(line?),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(BenchError::Silent),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(BenchError::Peer),
    }
}

/// A measurement that ends, whatever its peer does.
async fn within<T>(
    measurement: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, BenchError> {
    tokio::time::timeout(SILENCE_MAX, measurement).await.map_err(|_| BenchError::Silent)?
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does a part of another process's measurement, which says by the standard input what to do.
///
/// # Errors
/// It said nothing of use, or the part failed.
pub fn do_part() -> Result<(), BenchError> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let clock = Clock::start();
    let cores = || Builder::new_multi_thread().enable_all().build();
    match serde_json::from_str(&line).map_err(io::Error::other)? {
        Part::Peer(order) => cores()?.block_on(peer::serve(order, answer))?,
        Part::Receive(order, place) => {
            let core = Builder::new_current_thread().enable_all().build()?;
            answer(&core.block_on(receive::cost(clock, &order, &place))?);
        }
        Part::Connections(order, place, count) => {
            answer(&cores()?.block_on(memory::per_connection(clock, &order, &place, count))?);
        }
    }
    Ok(())
}

fn answer(answer: &impl Serialize) {
    let line = serde_json::to_string(answer).unwrap_or_default() + "\n";
    let mut stdout = io::stdout();
    // Whoever is gone asks nothing more.
    let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
}

fn order(events: u64, rate: Option<f64>) -> Order {
    Order {
        run: RunId(Uuid::nil()),
        channels: (0..CHANNELS).map(|at| format!("pc-bench-{at}")).collect(),
        events,
        payload_bytes: PAYLOAD_BYTES,
        connections: 1,
        rate,
        is_secure: false,
    }
}

/// Measures all of it; `progress` is told what comes next. It takes about half a minute.
///
/// # Errors
/// See [`BenchError`].
pub fn measure(
    clock: Clock,
    extent: Extent,
    descriptors_max: Option<u64>,
    progress: impl Fn(&str),
) -> Result<Bench, BenchError> {
    let needed = u64::from(extent.connections + memory::AT_ONCE) + OTHER_FILES;
    match descriptors_max {
        Some(limit) if limit < needed => return Err(BenchError::Descriptors { needed, limit }),
        _ => {}
    }
    // One core for each end: figures are those of a core.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    progress("floods of deliveries");
    let Rates { raw, borrowed, owned, verified } =
        runtime.block_on(within(floods(clock, extent)))?;
    progress("deliveries at a pace");
    let quiet = runtime.block_on(within(paced(clock, extent, QUIET_RATE)))?;
    let busy = runtime.block_on(within(paced(clock, extent, BUSY_RATE)))?;
    progress("connections");
    let (bytes, opened) = match (connections(extent, false)?, connections(extent, true)?) {
        (Some(ws), Some(wss)) => {
            (Some(ByScheme { ws: ws.0, wss: wss.0 }), Some(ByScheme { ws: ws.1, wss: wss.1 }))
        }
        _ => (None, None),
    };
    progress("publishing");
    let pair = Pair::start()?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let rate = |route| runtime.block_on(within(pair.per_second(clock, route, extent.publishing)));
    let machine = machine::here(descriptors_max);
    Ok(Bench {
        schema: SCHEMA,
        brief: extent.is_brief,
        tool: Tool::of(env!("CARGO_PKG_VERSION").to_owned()),
        ratio_to_raw: verified / raw,
        ratio_to_borrowed: verified / borrowed,
        ratio_to_owned: verified / owned,
        verified_per_second: verified,
        raw_per_second: raw,
        added_latency_ms: quiet,
        added_latency_busy_ms: busy,
        bytes_per_connection: bytes,
        connections_per_second: opened,
        connections_possible: bytes.map(|bytes| machine::possible(&machine, bytes)),
        publish_per_second: ByRoute { trigger: rate(Route::Trigger)?, batch: rate(Route::Batch)? },
        machine,
    })
}

/// Frames a second.
struct Rates {
    raw: f64,
    borrowed: f64,
    owned: f64,
    verified: f64,
}

async fn floods(clock: Clock, extent: Extent) -> Result<Rates, BenchError> {
    let order = order(extent.flood_events, None);
    let (_peer, place) = Helper::start::<Place>(&Part::Peer(order.clone()))?;
    let (mut raw, mut borrowed, mut owned, mut verified) = (vec![], vec![], vec![], vec![]);
    // In turn, so that whatever else the machine does hits each of them.
    for _ in 0..extent.floods {
        let less = |kind| receive::less(kind, clock, &order, &place);
        raw.push(less(Loop::Raw).await?);
        borrowed.push(less(Loop::Borrowed).await?);
        owned.push(less(Loop::Owned).await?);
        verified.push(receive::verified(clock, &order, &place).await?.per_second);
    }
    let [raw, borrowed, owned, verified] = [raw, borrowed, owned, verified].map(median);
    Ok(Rates { raw, borrowed, owned, verified })
}

async fn paced(clock: Clock, extent: Extent, rate: f64) -> Result<Percentiles, BenchError> {
    let order = order((rate * extent.paced.as_secs_f64()) as u64, Some(rate));
    let (_peer, place) = Helper::start::<Place>(&Part::Peer(order.clone()))?;
    let added = receive::verified(clock, &order, &place).await?.added;
    let at = |q| added.quantile_ms(q).ok_or(BenchError::Peer);
    Ok(Percentiles { p50: at(0.5)?, p99: at(0.99)? })
}

/// Resident bytes of a connection, and how many were opened a second.
fn connections(extent: Extent, is_secure: bool) -> Result<Option<(f64, f64)>, BenchError> {
    let order = Order { is_secure, channels: vec!["pc-bench".to_owned()], ..order(0, None) };
    let (_peer, place) = Helper::start::<Place>(&Part::Peer(order.clone()))?;
    let part = Part::Connections(order, place, extent.connections);
    let (_helper, found) = Helper::start(&part)?;
    Ok(found)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}
