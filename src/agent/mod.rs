//! The async shell of a run: starts, supervises and stops its tasks in order. It states facts and
//! decides nothing.

mod aftermath;
mod announcer;
mod build;
mod collector;
pub mod comparison;
mod controls;
mod endpoint;
mod follower;
pub mod keeper;
pub mod link;
mod load;
mod metronome;
mod mover;
mod occupancy;
mod one_off;
mod outbox;
mod pace;
mod prober;
pub mod publisher;
mod sampler;
mod sender;
pub mod start;
mod status_page;
mod tasks;
pub mod vitals;
mod warm;
mod watcher;
mod webhooks;
pub mod witness;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::{ChannelKind, Clock, ClusterRole, RunTime, WitnessIx};
use crate::net::http::Connection;
use crate::net::tls::TlsError;
use crate::scenario::plan::{ClusterPlan, Meter, Plan, SamplePlan};
use crate::verify::account::Account;
use crate::verify::endpoint::EndpointKind;
use crate::verify::envelope;
use crate::verify::fact::Fact;
use crate::verify::ledger::CLOCK_SLACK;
use crate::verify::mirror::identity::Identifier;
use crate::verify::occupancy::Watching;
use crate::verify::record::Second;

use build::{Books, Builder, ClusterParts, make_books, make_gatherer, pong_timeout};
use collector::Standing;
use follower::{Heard, Listener};
use keeper::Keeper;
use publisher::Wire;
use sampler::{Sampler, Side};
use start::StartError;
pub use tasks::Task;
use tasks::{Tasks, panic_after};
use webhooks::{Arrivals, Receiver};
pub use webhooks::{check_receiver, try_receiver};

/// How often ledgers and publishers hand on what they counted.
pub const TALLY_PERIOD: Duration = Duration::from_secs(1);
/// How often within a tally's period.
const TALLIES_PER_PERIOD: u64 = 4;
/// From the last connection's readiness to the first event.
const LEAD: Duration = Duration::from_millis(20);
/// Longest wait of a publisher for its witnesses, and of a witness for its publisher.
pub const MEMBERS_WAIT: Duration = Duration::from_secs(300);
/// Longest dial of a WebSocket, and longest wait for its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait, after everything must have ended, for the last facts.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Longest wait for the drivers of HTTP connections.
const DRIVERS_GRACE: Duration = Duration::from_secs(1);

/// Why there is no account of a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A CA file or the system's roots are of no use.
    #[error("{0} cluster: {1}")]
    Tls(ClusterRole, TlsError),
    /// More files must be opened than the system allows.
    #[error(
        "the plan takes a limit of about {needed} open files and this process has one of {limit}; \
         raise it (ulimit -n {needed}) or plan fewer connections"
    )]
    Descriptors {
        /// What the limit must be for the plan.
        needed: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// More must be kept in memory than there is.
    #[error(
        "the plan keeps up to {needed} MiB in memory and {available} MiB are available; lower the \
         rate, shorten the horizon or plan fewer witnesses and clients"
    )]
    Memory {
        /// How much the plan needs, in MiB.
        needed: u64,
        /// How much there is.
        available: u64,
    },
    /// Nobody can listen where webhooks are to arrive.
    #[error("webhooks.listen: cannot listen on {0}: {1}; choose a free port of this machine")]
    Listen(SocketAddr, std::io::Error),
    /// What proves who receives webhooks is of no use.
    #[error("webhooks.tls: {0}")]
    ReceiverTls(TlsError),
    /// A task panicked, and nothing could be kept.
    #[error("the agent itself failed: its {} panicked; please report this", .0.as_str())]
    Panicked(Task),
}

/// A run that was measured, whatever came of it.
#[derive(Debug)]
pub struct Finished {
    /// What was stated, added up.
    pub account: Account,
    /// The instant at which the last fact was in.
    pub ended: RunTime,
    /// Whether a signal ended publishing early.
    pub cut_short: bool,
    /// The task that panicked, if one did.
    pub panicked: Option<Task>,
}

/// What a run is started with beside its plan.
pub struct Hooks<O> {
    /// Whether the clusters live in this process, which then holds both ends of each connection.
    pub clusters_within: bool,
    /// Cancelled by the first signal.
    pub stop: CancellationToken,
    /// Cancelled when enough is known: publishing ends, as it would at the end of the schedule.
    pub enough: CancellationToken,
    /// Called about once a second with the sum so far, and with what was added to it last.
    pub observe: O,
    /// What real events and redacted names are digested with: to be drawn for the run, for whoever
    /// knows it can find out what a digest is of.
    pub digest_key: [u8; 32],
    /// Who keeps in mind which channels are occupied, where webhooks are received.
    pub keeper: Option<Arc<Keeper>>,
    /// What may be billed in a day, where that is counted over several runs.
    pub meter: Option<SharedMeter>,
    /// Whether it goes on where another left off: then nothing keeps a watch from starting.
    pub is_resumed: bool,
    /// A task that shall panic once publishing has begun, to prove that this is found.
    pub sabotage: Option<Task>,
}

/// A meter that outlives a run.
pub type SharedMeter = Arc<Mutex<Meter>>;

/// Nanoseconds from one handing on to the next.
const TALLY_STEP: u64 = TALLY_PERIOD.as_nanos() as u64 / TALLIES_PER_PERIOD;

/// The next instant at which a publisher hands on: the same for all, so that a second's counts come
/// together.
const fn next_tally(now: RunTime) -> RunTime {
    RunTime((now.0 / TALLY_STEP + 1) * TALLY_STEP)
}

/// The next instant at which a witness does. There may be thousands: each has its own moment within
/// the time from one handing on to the next, so that they do not hold each other up.
const fn next_tally_of(witness: WitnessIx, now: RunTime) -> RunTime {
    // The golden ratio: however many there are, they lie far apart.
    let place = witness.0.wrapping_mul(0x9E37_79B9) as u64;
    let moment = (place * TALLY_STEP) >> 32;
    RunTime(next_tally(RunTime(now.0.saturating_sub(moment))).0 + moment)
}

fn recycle_at(now: RunTime, after: Option<Duration>) -> RunTime {
    after.map_or(RunTime::NEVER, |after| now.after(after))
}

/// How far a run has come: each is cancelled when it begins.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    /// The schedule starts.
    pub publishing: CancellationToken,
    /// The schedule is worked off.
    pub published: CancellationToken,
    /// Nothing is waited for any more.
    pub leave: CancellationToken,
}

/// A run whose connections are ready and which has not published yet.
struct Running {
    tasks: Tasks,
    parts: Vec<ClusterParts>,
    warm: Vec<Vec<Connection>>,
    books: Books,
    listeners: Vec<Listener>,
    bulletins: mpsc::Receiver<Heard>,
    facts: mpsc::Sender<Fact>,
    identifier: Arc<Identifier>,
    standing: watch::Receiver<Standing>,
    collector: JoinHandle<Account>,
    phases: Phases,
    tracker: TaskTracker,
}

/// Tries every connection of a plan once, and publishes nothing.
///
/// # Errors
/// See [`RunError`].
pub async fn connect(plan: &Plan, clock: Clock) -> Result<(), RunError> {
    let (stop, observe) = (CancellationToken::new(), |_: &Account, _: Option<&Second>| {});
    let enough = stop.child_token();
    let (clusters_within, digest_key, sabotage) = (false, [0; 32], None);
    let keeper = Keeper::of(plan, digest_key);
    let (meter, is_resumed) = (None, false);
    let hooks = Hooks {
        clusters_within,
        stop,
        enough,
        observe,
        digest_key,
        keeper,
        meter,
        is_resumed,
        sabotage,
    };
    let Running { mut tasks, phases, .. } = begin(plan, clock, hooks).await?;
    phases.leave.cancel();
    finish(&mut tasks, None).await;
    Ok(())
}

/// Runs a plan to its end.
///
/// # Errors
/// See [`RunError`]: what kept it from starting. A cluster that fails later is an observation.
pub async fn run<O>(plan: &Plan, clock: Clock, hooks: Hooks<O>) -> Result<Finished, RunError>
where
    O: FnMut(&Account, Option<&Second>) + Send + 'static,
{
    let (stop, enough) = (hooks.stop.clone(), hooks.enough.clone());
    let (keeper, meter) = (hooks.keeper.clone(), hooks.meter.clone());
    let running = begin(plan, clock, hooks).await?;
    let Running { mut tasks, parts, warm, facts, identifier, .. } = running;
    let Running { books, listeners, bulletins, standing, collector, phases, tracker, .. } = running;
    let publishes = plan.member.role.publishes();
    // What is sent in the first moments is owed to no witness elsewhere, for clocks differ.
    let lead = if plan.markers.is_some() { LEAD + CLOCK_SLACK } else { LEAD };
    let start = clock.now().after(lead);
    if publishes {
        // The collector lives as long as a sender of facts does: this cannot fail but by a panic.
        let _ = facts.send(Fact::Begun(start)).await;
    }
    let (slow_down, slow_down_in) = mpsc::channel(1);
    let mut outlets = Vec::new();
    let wires: Vec<_> = parts.iter().map(|part| Arc::clone(&part.wire)).collect();
    let refresh = plan.watching.map(|Watching { refresh }| refresh);
    let is_shown = refresh.is_some();
    if let Some(refresh) = refresh.or(plan.webhooks.as_ref().map(|webhooks| webhooks.refresh)) {
        for wire in &wires {
            let known = is_shown && plan.requirements.phase.subscribes_on(wire.role);
            let known = known.then(|| plan.controls.channel.clone());
            let (wire, facts, keeper) = (Arc::clone(wire), facts.clone(), keeper.clone());
            let reader = occupancy::Reader { wire, refresh, known, is_shown, keeper, facts };
            tasks.spawn(Task::Reader, reader.run(phases.clone()));
        }
    }
    let (mut sides, mut outboxes) = (Vec::new(), BTreeMap::new());
    for (part, warm) in parts.into_iter().zip(warm) {
        let ClusterParts { outlet, wire, outbox, jobs, watchers, endpoints, prober } = part;
        outlets.push(outlet);
        for endpoint in endpoints {
            tasks.spawn(Task::Authoriser, endpoint.run(facts.clone(), phases.clone()));
        }
        if let Some(prober) = prober {
            tasks.spawn(Task::Prober, prober.run(phases.clone()));
        }
        let mut orders = Vec::new();
        for (watcher, order) in watchers {
            tasks.spawn(Task::Watcher, watcher.run(phases.clone()));
            orders.push(order);
        }
        // Nobody may hold a wire beyond its time: facts end with the last one.
        if plan.sample.is_some() {
            sides.push(Side::new(Arc::clone(&wire), orders));
        }
        if publishes {
            let run = publisher::run(wire, outbox, jobs, warm, slow_down.clone());
            tasks.spawn(Task::Publisher, run);
        } else {
            outboxes.insert(wire.role, outbox);
        }
    }
    drop(slow_down);
    if let Some(SamplePlan { sampling, .. }) = &plan.sample {
        let opens_encrypted = plan.clusters.iter().all(ClusterPlan::opens_encrypted);
        let sampling = sampling.clone();
        let kind = EndpointKind::AuthEndpoint;
        let by_endpoint = plan.clusters.iter().any(|c| c.endpoints.contains_key(&kind));
        let own = (identifier, build::watchers_user(plan), by_endpoint);
        let sampler = Sampler::new(plan.seed, sampling, opens_encrypted, sides, own, facts.clone());
        tasks.spawn(Task::Sampler, sampler.run(phases.clone()));
    }
    let slow_down_in = if plan.slow_down { slow_down_in } else { mpsc::channel(1).1 };
    let schedule = (plan.schedule.clone(), start);
    let ends = [stop.clone(), enough];
    if let Some(meter) = &meter {
        let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.add(plan.bill().control_messages, clock.wall_now());
    }
    if let Some((announcer, couriers)) = build::announcer(plan, clock, &books, &wires) {
        tasks.spawn(Task::Announcer, announcer.run(phases.clone()));
        for courier in couriers {
            tasks.spawn(Task::Announcer, courier.run(phases.leave.clone()));
        }
    }
    if publishes {
        let pace = pace::run(clock, schedule, outlets, slow_down_in, ends, meter, facts.clone());
        tasks.spawn(Task::Pacer, pace);
        phases.publishing.cancel();
        tracing::info!("publishing begins");
    } else {
        let (ready, facts) = (clock.now(), facts.clone());
        let follower = build::follower(plan, clock, &books, outboxes, (ready, bulletins), facts);
        tasks.spawn(Task::Follower, follower.run(stop.clone(), phases.clone()));
        // A publisher waits for them: whoever listens is ready.
        for listener in listeners {
            tasks.spawn(Task::Listener, listener.run(phases.leave.clone()));
        }
    }

    let panicked = supervise(plan, clock, &mut tasks, standing, &phases).await;
    phases.leave.cancel();
    let panicked = finish(&mut tasks, panicked).await;
    // A window says nothing of what comes after it.
    if panicked.is_none() && plan.window.is_none() && !plan.member.shares_channels() {
        state_left_behind(plan, &wires, &facts).await;
    }
    // Whoever waited for its publisher to the end has seen nothing of the run.
    let is_unheard = panicked.is_none() && !phases.publishing.is_cancelled();
    drop((wires, facts));
    tracker.close();
    // Idle connections end with their owners; a driver that does not is cut off with the runtime.
    let _ = tokio::time::timeout(DRIVERS_GRACE, tracker.wait()).await;
    let account = collector.await.map_err(|_| RunError::Panicked(Task::Collector))?;
    let cut_short = stop.is_cancelled();
    if is_unheard {
        let silent = StartError::Silent { within: MEMBERS_WAIT };
        return Err(if cut_short { StartError::Stopped } else { silent }.into());
    }
    Ok(Finished { account, ended: clock.now(), cut_short, panicked })
}

/// States what the clusters still show of the run when its connections are closed.
async fn state_left_behind(plan: &Plan, wires: &[Arc<Wire>], facts: &mpsc::Sender<Fact>) {
    let tail = plan.channel_stem();
    let own = [&plan.controls.channel, &plan.controls.refused].map(|channel| channel.kind());
    // Probes are on channels of these kinds.
    let probed = plan.parity.iter().flat_map(|_| {
        [ChannelKind::Public, ChannelKind::Private, ChannelKind::Presence, ChannelKind::Cache]
    });
    let kinds = plan.channels.iter().map(|channel| channel.kind).chain(own).chain(probed);
    let prefixes = aftermath::prefixes(kinds, &tail);
    let within = plan.requirements.limits.left_behind_within;
    let subscribed = |wire: &&Arc<Wire>| plan.requirements.phase.subscribes_on(wire.role);
    let ask = wires
        .iter()
        .filter(subscribed)
        .map(|wire| async { (wire.role, aftermath::left_behind(wire, &prefixes, within).await) });
    for (role, left) in futures_util::future::join_all(ask).await {
        // The collector outlives this; if it is gone, the run has failed already.
        let _ = facts.send(Fact::LeftBehind(role, left)).await;
    }
}

/// Builds every task, starts those that watch, and waits until all connections are ready.
async fn begin<O>(plan: &Plan, clock: Clock, hooks: Hooks<O>) -> Result<Running, RunError>
where
    O: FnMut(&Account, Option<&Second>) + Send + 'static,
{
    let Hooks { clusters_within, stop, observe, digest_key, keeper, sabotage, .. } = hooks;
    let is_resumed = hooks.is_resumed;
    check_machine(plan, clusters_within)?;
    let (facts, facts_in) = mpsc::channel(collector::FACTS_QUEUED_MAX);
    let (started, mut started_in) = mpsc::channel(collector::FACTS_QUEUED_MAX);
    let (standing_out, standing) = watch::channel(Standing::default());
    let phases = Phases::default();
    let tracker = TaskTracker::new();
    let books = make_books(plan);
    let gatherer = make_gatherer(plan, &books);
    let account = Account::new(plan.begin(clock.wall(RunTime::ZERO)));
    let mut tasks = Tasks::new(sabotage, phases.publishing.clone());
    let account = (account, plan.window.is_some());
    let collector = collector::run(clock, gatherer, account, facts_in, standing_out, observe);
    let sabotaged = (sabotage == Some(Task::Collector)).then(|| phases.publishing.clone());
    let collector = tokio::spawn(async move {
        match sabotaged {
            None => collector.await,
            Some(publishing) => tokio::select! {
                account = collector => account,
                never = panic_after(publishing) => match never {},
            },
        }
    });
    if sabotage == Some(Task::Driver) {
        tracker.spawn(panic_after(phases.publishing.clone()));
    }
    let id_pointer = plan.sample.as_ref().and_then(|sample| sample.sampling.id_pointer.clone());
    let identifier = Arc::new(Identifier::new(digest_key, id_pointer));
    let mut parts = Vec::new();
    let (mut sides, mut listeners) = (Vec::new(), Vec::new());
    let mut connections = 0;
    let mut arrivals = Arrivals::new();
    let (heard, bulletins) = mpsc::channel(follower::BULLETINS_QUEUED_MAX);
    if let Some((webhooks, keeper)) = plan.webhooks.as_ref().zip(keeper.clone()) {
        let books = webhooks::Books { keeper, facts: facts.clone() };
        let receiver = Receiver::open(webhooks, plan, clock, Some(books)).await?;
        let receiving = receiver.0.run(phases.leave.clone());
        tasks.spawn(Task::Receiver, receiving);
        arrivals = receiver.1;
    }
    for cluster in &plan.clusters {
        let builder = Builder {
            plan,
            cluster,
            clock,
            books: &books,
            reader: envelope::Reader::new(plan.run, cluster.role),
            identifier: &identifier,
            facts: &facts,
            bulletins: &heard,
        };
        let (part, watchers) = builder.build(&tracker, arrivals.remove(&cluster.role))?;
        connections += watchers.witnesses.len() + watchers.senders.len();
        for witness in watchers.witnesses {
            let run = Box::new(witness).run(started.clone(), phases.clone());
            tasks.spawn(Task::Witness, run);
        }
        for (sender, jobs) in watchers.senders {
            tasks.spawn(Task::Sender, sender.run(jobs, started.clone(), phases.leave.clone()));
        }
        for client in watchers.clients {
            tasks.spawn(Task::Client, Box::new(client).run(phases.clone()));
        }
        if plan.has_controls_on(cluster.role) {
            connections += 1;
            let controls = watchers.controls.run(started.clone(), phases.clone());
            tasks.spawn(Task::Controls, controls);
        }
        listeners.extend(watchers.listener);
        sides.push(watchers.movers);
        parts.push(part);
    }
    for mover in build::movers(plan, clock, &books, sides, &facts) {
        connections += 1;
        tasks.spawn(Task::Mover, mover.run(started.clone(), phases.clone()));
    }
    drop(started);
    for reader in status_page::readers(plan, clock, &facts, &tracker) {
        tasks.spawn(Task::StatusPage, reader.run(phases.clone()));
    }
    let vitals = vitals::run(clock, plan.instrument, facts.clone(), phases.leave.clone());
    tasks.spawn(Task::Vitals, vitals);
    let warm = tokio::select! {
        () = stop.cancelled() => Err(StartError::Stopped),
        ready = async {
            let warm = warm::ready(plan, &parts, &mut started_in, connections, clock).await?;
            warm::heard(plan, &parts, clock).await?;
            Ok(warm)
        } => ready,
    };
    let warm = match warm {
        // Who watches without an end watches what is not there as well.
        Err(error) if plan.window.is_some() && (is_resumed || error.may_pass()) => {
            tracing::warn!("{error}; watching nevertheless");
            Ok(parts.iter().map(|_| Vec::new()).collect())
        }
        warm => warm,
    };
    match warm {
        Ok(warm) => Ok(Running {
            tasks,
            parts,
            warm,
            books,
            listeners,
            bulletins,
            facts,
            identifier,
            standing,
            collector,
            phases,
            tracker,
        }),
        Err(error) => {
            phases.leave.cancel();
            tasks.set.shutdown().await;
            collector.abort();
            Err(error.into())
        }
    }
}

/// Waits until everything has ended that can end; returns the task that panicked, if one did.
async fn supervise(
    plan: &Plan,
    clock: Clock,
    tasks: &mut Tasks,
    mut standing: watch::Receiver<Standing>,
    phases: &Phases,
) -> Option<Task> {
    // Phase one: until the schedule is worked off, whoever does that.
    while tasks.running(Task::Pacer) || tasks.running(Task::Follower) {
        tokio::select! {
            joined = tasks.set.join_next_with_id() => {
                if let Some(panicked) = tasks.ended(joined?) {
                    return Some(panicked);
                }
            }
            // Without it nothing is added up any more, and nobody else would notice.
            changed = standing.changed() => if changed.is_err() {
                return Some(Task::Collector);
            },
        }
    }
    phases.published.cancel();
    if plan.window.is_some() {
        return None;
    }
    let published = clock.now();
    let horizon = plan.settled_at(published);
    let patience = pong_timeout(plan) + plan.deadline + TALLY_PERIOD + STOP_GRACE;
    let last = horizon.after(patience);
    // Phase two: until the horizon has passed, every publication is decided and every obligation
    // has ended; at the latest when every connection must have proved alive or dead.
    loop {
        let publishing =
            [Task::Publisher, Task::Sender, Task::Reader, Task::Prober, Task::Announcer]
                .iter()
                .any(|task| tasks.running(*task));
        let now = clock.now();
        let seen = *standing.borrow_and_update();
        let settled = seen.pending == 0 && seen.at >= published.after(plan.horizon);
        if now >= last || (settled && !publishing) {
            return None;
        }
        tokio::select! {
            joined = tasks.set.join_next_with_id() => {
                if let Some(panicked) = tasks.ended(joined?) {
                    return Some(panicked);
                }
            }
            changed = standing.changed() => if changed.is_err() {
                return Some(Task::Collector);
            },
            () = tokio::time::sleep_until(clock.instant(last).into()) => {}
        }
    }
}

/// Joins every task, in a bounded time.
async fn finish(tasks: &mut Tasks, mut panicked: Option<Task>) -> Option<Task> {
    let join_all = async {
        while let Some(joined) = tasks.set.join_next_with_id().await {
            if let Some(task) = tasks.ended(joined) {
                panicked.get_or_insert(task);
            }
        }
    };
    let _ = tokio::time::timeout(STOP_GRACE, join_all).await;
    // What has not ended by now waits for something that will not come. What it knew is missing in
    // the books, which the verdict will not overlook.
    for task in tasks.names.values() {
        tracing::warn!(task = task.as_str(), "did not end in time");
    }
    tasks.set.shutdown().await;
    panicked
}

/// What this machine has too little of for a plan.
pub fn lacks(plan: &Plan) -> impl Iterator<Item = RunError> {
    [lacks_descriptors(plan, false), lacks_memory(plan, false)].into_iter().flatten()
}

fn lacks_descriptors(plan: &Plan, clusters_within: bool) -> Option<RunError> {
    let http = plan.open_requests_max + plan.open_requests_max / 4;
    let ends = if clusters_within { 2 } else { 1 };
    // Standard streams, reports, the runtime's own. The bound on open requests is far above what
    // loopback needs: its other ends are left out.
    let sockets = (plan.bill().connections as usize * ends + http) * plan.clusters.len();
    // Beyond that part of the limit each second would be tainted.
    let part = plan.instrument.file_descriptors_max;
    let needed = ((sockets as f64 + 64.0) / part).ceil() as u64;
    let limit = vitals::descriptors_max()?;
    (needed > limit).then_some(RunError::Descriptors { needed, limit })
}

fn lacks_memory(plan: &Plan, clusters_within: bool) -> Option<RunError> {
    let memory = plan.memory();
    let other_ends = if clusters_within { memory.connections } else { 0 };
    let needed = memory.total() + other_ends;
    let available = vitals::memory_available()?;
    let (needed_mib, available_mib) = (needed >> 20, available >> 20);
    let error = RunError::Memory { needed: needed_mib, available: available_mib };
    (needed > available).then_some(error)
}

/// # Errors
/// The first thing of which there is too little.
fn check_machine(plan: &Plan, clusters_within: bool) -> Result<(), RunError> {
    if let Some(error) = lacks_descriptors(plan, clusters_within) {
        return Err(error);
    }
    match lacks_memory(plan, clusters_within) {
        // What is short now may be there again, long before a watch is over.
        Some(error) if plan.window.is_some() => {
            tracing::warn!("{error}; watching nevertheless");
            Ok(())
        }
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn witnesses_hand_on_equally_often_and_each_at_a_moment_of_its_own() {
        let mut moments = Vec::new();
        for witness in (0..1_000).map(WitnessIx) {
            let first = next_tally_of(witness, RunTime::from_millis(10_000));
            assert!(first > RunTime::from_millis(10_000));
            assert_eq!(next_tally_of(witness, first).0 - first.0, TALLY_STEP);
            moments.push(first.0 % TALLY_STEP);
        }
        moments.sort_unstable();
        // None waits for more than two others, were they spread evenly.
        let even = TALLY_STEP / 1_000;
        assert!(moments.windows(3).all(|near| near[2] - near[0] > even), "{moments:?}");
    }
}
