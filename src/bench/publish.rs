//! How many events a second the agent publishes to each of two clusters.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::agent::publisher::{self, Job, StreamTarget, Wire};
use crate::model::{
    AppId, AppKey, ChannelName, Clock, ClusterRole, RunId, RunTime, Secret, StreamIx,
};
use crate::net::dial::Target;
use crate::net::tls;
use crate::pusher::rest::{BATCH_EVENTS_MAX, Signer};
use crate::verify::book::Book;
use crate::verify::tally::Route;

use super::{BenchError, PAYLOAD_BYTES, lines, next_line};

/// Requests that are open at a time, to each cluster.
const OPEN: usize = 32;
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A rehearsal pair in a process of its own, and what it says of itself.
pub(super) struct Pair {
    child: Child,
    variables: BTreeMap<String, String>,
}

impl Pair {
    pub(super) fn start() -> Result<Self, BenchError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["rehearse", "--hold"]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let told = child.stdout.take().ok_or(BenchError::Peer)?;
        let mut pair = Self { child, variables: BTreeMap::new() };
        let lines = lines(told);
        loop {
            let line = next_line(&lines)?;
            let Some((name, value)) =
                line.strip_prefix("export ").and_then(|of| of.split_once('='))
            else {
                continue;
            };
            pair.variables.insert(name.to_owned(), value.trim_matches(['\'', '"']).to_owned());
            if name == "NEW_APP_SECRET" {
                return Ok(pair);
            }
        }
    }

    fn wire(&self, clock: Clock, role: ClusterRole) -> Result<Arc<Wire>, BenchError> {
        let of = |what: &str| {
            let name = format!("{}_{what}", role.as_str().to_uppercase());
            self.variables.get(&name).cloned().ok_or(BenchError::Peer)
        };
        let peer = |_| BenchError::Peer;
        let url = of("HTTP_URL")?.parse().map_err(|_| BenchError::Peer)?;
        let (facts, _) = mpsc::channel(1);
        let target = StreamTarget {
            channel: ChannelName::new("pc-bench").map_err(|_| BenchError::Peer)?,
            shared_secret: None,
            book: Arc::new(Book::new(1 << 16)),
        };
        Ok(Arc::new(Wire {
            clock,
            run: RunId(Uuid::nil()),
            role,
            target: Target::new(url, &tls::client_config(None)?),
            signer: Signer {
                app_id: AppId::new(of("APP_ID")?).map_err(peer)?,
                key: AppKey::new(of("APP_KEY")?).map_err(peer)?,
                secret: Secret::new(of("APP_SECRET")?),
            },
            streams: vec![target],
            payload_bytes: PAYLOAD_BYTES,
            timeout: TIMEOUT,
            idle_max: OPEN,
            lag_max: TIMEOUT,
            facts,
            tasks: TaskTracker::new(),
        }))
    }

    /// Events a second that each cluster accepted, the slower one, while both are published to.
    pub(super) async fn per_second(
        &self,
        clock: Clock,
        route: Route,
        length: Duration,
    ) -> Result<f64, BenchError> {
        let [old, new] = ClusterRole::ALL.map(|role| self.wire(clock, role));
        let of = |wire| tokio::spawn(publish(wire, route, length));
        let (old, new) = (of(old?), of(new?));
        let joined = |rate: Result<_, _>| rate.map_err(|_| BenchError::Peer)?;
        let rates: [f64; 2] = [joined(old.await)?, joined(new.await)?];
        Ok(rates[0].min(rates[1]))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn publish(wire: Arc<Wire>, route: Route, length: Duration) -> Result<f64, BenchError> {
    let permits = Arc::new(Semaphore::new(OPEN));
    let events = if route == Route::Batch { BATCH_EVENTS_MAX } else { 1 };
    let job = || {
        let permit = Arc::clone(&permits).try_acquire_owned().map_err(|_| BenchError::Peer)?;
        let scheduled = wire.clock.now();
        let book = wire.streams.first().map(|stream| Arc::clone(&stream.book));
        let book = book.ok_or(BenchError::Peer)?;
        let events = (0..events).map(|_| (StreamIx(0), book.reserve(0, scheduled, false)));
        Ok::<_, BenchError>(Job { route, scheduled, events: events.collect(), permit })
    };
    let mut requests = FuturesUnordered::new();
    for _ in 0..OPEN {
        requests.push(publisher::publish(&wire, job()?, None));
    }
    let (begun, mut accepted) = (wire.clock.now(), 0);
    let ends: RunTime = begun.after(length);
    while let Some(done) = requests.next().await {
        let (connection, is_accepted) = done.accepted();
        if !is_accepted {
            return Err(BenchError::Peer);
        }
        accepted += events;
        if wire.clock.now() < ends {
            requests.push(publisher::publish(&wire, job()?, connection));
        }
    }
    Ok(accepted as f64 / wire.clock.now().since(begun).as_secs_f64())
}
