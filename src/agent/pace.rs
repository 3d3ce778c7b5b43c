//! The open-loop schedule: every event to every cluster at the same instant, whatever happened to
//! the ones before.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::model::{Clock, ClusterRole, RunTime, StreamIx};
use crate::scenario::plan::{Due, Meter, Schedule};
use crate::verify::book::Book;
use crate::verify::fact::{Fact, PublisherReport};
use crate::verify::taint::TaintReason;
use crate::verify::tally::Route;

use super::SharedMeter;
use super::metronome::Metronome;
use super::publisher::Job;
use super::sender::ClientJob;

/// Longest pause that a cluster is granted at a time, whatever its `Retry-After` says. All together
/// they may last as long as publishing was to.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// After it was late, the agent sends at once what was due meanwhile. For so long, that no request
/// may be opened any more is its own doing, and not that of a cluster that does not answer.
const MAKES_UP_WITHIN: Duration = Duration::from_secs(1);

/// How often it is told how much of a day's budget is used up.
const BILL_PERIOD: Duration = Duration::from_secs(1);

/// Where one cluster's events go.
pub struct Outlet {
    /// The cluster.
    pub role: ClusterRole,
    /// The books, in the order of the streams.
    pub books: Vec<Arc<Book>>,
    /// Its HTTP publisher.
    pub publisher: mpsc::Sender<Job>,
    /// Its senders of client events.
    pub senders: Vec<mpsc::Sender<ClientJob>>,
    /// For each stream, the place of its sender.
    pub sender_of: Vec<Option<usize>>,
    /// One permit for each request that may be open.
    pub permits: Arc<Semaphore>,
    /// What is taken up later than this is late by the agent's own doing.
    pub lag_max: Duration,
}

impl Outlet {
    /// Hands over the events of one instant; `false` where the bound on open requests is reached.
    fn publish(&self, due: &Due, scheduled: RunTime, index: u64) -> bool {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok();
        let unsent = permit.is_none();
        let reserve = |(offset, stream): (u64, &StreamIx)| {
            let book = self.books.get(stream.0 as usize)?;
            Some((*stream, book.reserve(index + offset, scheduled, unsent)))
        };
        let events: Vec<_> = (0..).zip(&due.streams).filter_map(reserve).collect();
        let Some(permit) = permit else { return false };
        // The queues hold as many as there are permits: they cannot be full. A closed one means
        // that its task failed, which ends the run.
        match (due.route, events.as_slice()) {
            (Route::Client, &[(stream, seq)]) => {
                let sender = self.sender_of.get(stream.0 as usize).copied().flatten();
                if let Some(sender) = sender.and_then(|at| self.senders.get(at)) {
                    let _ = sender.try_send(ClientJob { scheduled, stream, seq, permit });
                }
            }
            (route, _) => {
                let _ = self.publisher.try_send(Job { route, scheduled, events, permit });
            }
        }
        true
    }
}

fn lock(meter: &SharedMeter) -> MutexGuard<'_, Meter> {
    // Nothing of it is ever half done.
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works the schedule off, from the given instant on, until its end or one of `ends`. One without
/// an event takes as long as it says. `slow_down` says for how long nothing shall be published.
pub async fn run(
    clock: Clock,
    (mut schedule, start): (Schedule, RunTime),
    outlets: Vec<Outlet>,
    mut slow_down: mpsc::Receiver<Duration>,
    [stop, enough]: [CancellationToken; 2],
    meter: Option<SharedMeter>,
    facts: mpsc::Sender<Fact>,
) {
    let mut metronome = Metronome::start(clock);
    let mut start = start;
    let mut next_bill = RunTime::ZERO;
    let mut index = 0;
    // Until when what the agent makes up for fills the bound on open requests.
    let mut makes_up = RunTime::ZERO;
    let mut pauses_left = schedule.duration();
    while let Some(at) = schedule.next_at() {
        let scheduled = start.after(at);
        if let Some(meter) = &meter {
            let now = clock.now();
            let (spared, used) = {
                let mut meter = lock(meter);
                (meter.wait(clock.wall_now()), meter.used())
            };
            if now >= next_bill || spared > Duration::ZERO {
                next_bill = now.after(BILL_PERIOD);
                // The collector outlives the schedule; if it is gone, the run has failed already.
                let _ = facts.send(Fact::Budget(used)).await;
            }
            if spared > Duration::ZERO {
                let resume = now.after(spared.min(BILL_PERIOD));
                // The events that are due keep their order and their distance.
                start = start.after(resume.since(scheduled));
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = enough.cancelled() => break,
                    () = tokio::time::sleep_until(clock.instant(resume).into()) => continue,
                }
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = enough.cancelled() => break,
            Some(pause) = slow_down.recv() => {
                // The events that are due keep their order and their distance.
                let resume = clock.now().after(pause.min(PAUSE_MAX));
                let longer = resume.since(scheduled);
                if longer > pauses_left {
                    tracing::warn!("publishing ends early: the cluster asks for ever more time");
                    break;
                }
                pauses_left -= longer;
                start = start.after(longer);
                continue;
            }
            () = metronome.until(scheduled) => {}
        }
        let Some(due) = schedule.pop() else { break };
        let events = due.streams.len() as u64;
        let mut is_published = false;
        let now = clock.now();
        for outlet in &outlets {
            if now.since(scheduled) > outlet.lag_max {
                makes_up = now.after(MAKES_UP_WITHIN);
            }
            if outlet.publish(&due, scheduled, index) {
                is_published = true;
                continue;
            }
            tell_unsent(&facts, outlet.role, due.route, events, scheduled).await;
            if now < makes_up {
                // The collector outlives the schedule; if it is gone, the run has failed already.
                let _ = facts.send(Fact::Taint(scheduled.second(), TaintReason::ScheduleLag)).await;
            }
        }
        index += events;
        if let Some(meter) = meter.as_ref().filter(|_| is_published) {
            lock(meter).publish(events, clock.wall_now());
        }
    }
    if schedule.is_empty() {
        let end = clock.instant(start.after(schedule.duration()));
        tokio::select! {
            () = stop.cancelled() => {}
            () = enough.cancelled() => {}
            () = tokio::time::sleep_until(end.into()) => {}
        }
    }
    // The collector outlives the schedule; if it is gone, the run has failed already.
    let _ = facts.send(Fact::Published(clock.now())).await;
}

async fn tell_unsent(
    facts: &mpsc::Sender<Fact>,
    role: ClusterRole,
    route: Route,
    events: u64,
    scheduled: RunTime,
) {
    let mut report = PublisherReport::default();
    report.publications.entry(route).or_default().unsent = events;
    report.unsent.insert(scheduled.second(), events);
    // The collector outlives the schedule; if it is gone, the run has failed already.
    let _ = facts.send(Fact::Publisher(role, Box::new(report))).await;
    let _ = facts.send(Fact::Taint(scheduled.second(), TaintReason::Unsent)).await;
}
