//! A virtual client that is on the old cluster and moves to the new one, as a real client does.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{ChannelName, Clock, ClusterRole, RunTime};
use crate::pusher::frame::ServerFrame;
use crate::pusher::session::Event;
use crate::verify::envelope::Envelope;
use crate::verify::fact::Fact;
use crate::verify::handover::crossing::Crossing;
use crate::verify::handover::{Crossed, Move, Way};

use super::link::{ConnectGate, Link, LinkEvent, error_text};
use super::start::Started;
use super::witness::{ConnectionLog, Readiness, RunChannels, describe, state_own_faults};
use super::{Phases, TALLY_PERIOD};

/// How often bytes that wait to be read are looked for.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// A client's connection to one of the clusters.
pub struct MoverSide {
    /// The connection. On new it has no channels where the client subscribes later.
    pub link: Link,
    /// What is read from it.
    pub channels: RunChannels,
}

/// See the module's documentation.
pub struct Mover {
    /// The process's clock.
    pub clock: Clock,
    /// How it moves.
    pub way: Way,
    /// When, counted from the start of publishing.
    pub after: Duration,
    /// For how long it keeps old where it overlaps.
    pub overlap: Duration,
    /// Who has not arrived by then does not count on it. What came of a publication is known by
    /// then.
    pub horizon: Duration,
    /// Bytes that waited longer than this taint their second.
    pub backlog_max: Duration,
    /// Its channels.
    pub names: Vec<ChannelName>,
    /// When it may dial new.
    pub gate: Arc<ConnectGate>,
    /// Where it comes from; `None` when it has left.
    pub old: Option<MoverSide>,
    /// Where it goes.
    pub new: MoverSide,
    /// What it got.
    pub crossing: Crossing,
    /// When nothing was published any more.
    pub published: Option<RunTime>,
    /// Where facts go.
    pub facts: mpsc::Sender<Fact>,
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is on old, and asks for a place among the dials at this instant.
    Waiting(RunTime),
    /// It moves at this instant: that is its place.
    Queued(RunTime),
    /// It is on its way.
    Moving,
    /// It has said what came of it.
    Told,
}

/// Canary events, with the instants of their receipt.
type Arrived = Vec<(Envelope, RunTime)>;
type Leaving = Pin<Box<dyn Future<Output = (Vec<String>, RunChannels)> + Send>>;

impl Mover {
    /// Lives until `phases.leave`.
    pub async fn run(mut self, started: mpsc::Sender<Started>, phases: Phases) {
        let clock = self.clock;
        let log = |role, readiness| ConnectionLog::new(role, self.facts.clone(), readiness, None);
        let mut old_log = log(ClusterRole::Old, Readiness::new(started));
        let mut new_log = log(ClusterRole::New, Readiness::unasked());
        let mut stage = Stage::Waiting(RunTime::NEVER);
        let mut is_scheduled = false;
        let mut leaving: Option<Leaving> = None;
        let mut looked = clock.now();
        // Why it is not on new, and what new said last.
        let (mut why, mut said) = (String::new(), None);
        // What came since the last turn.
        let (mut from_old, mut from_new) = (Arrived::new(), Arrived::new());
        if let Some(old) = &mut self.old {
            old.link.start();
        }
        loop {
            let look = looked.after(LOOK_PERIOD);
            let due = self.due(stage).min(look);
            tokio::select! {
                () = phases.leave.cancelled() => break,
                () = phases.published.cancelled(), if self.published.is_none() => {
                    self.published = Some(clock.now());
                }
                () = phases.publishing.cancelled(), if !is_scheduled => {
                    is_scheduled = true;
                    stage = Stage::Waiting(clock.now().after(self.after));
                }
                event = next(&mut self.old, &mut from_old) => {
                    if let Some(MoverSide { link, .. }) = &mut self.old {
                        old_log.note(&event, link, clock.now()).await;
                        note_old(&mut self.crossing, &event, link);
                    }
                }
                event = next_of(&mut self.new, &mut from_new) => {
                    new_log.note(&event, &mut self.new.link, clock.now()).await;
                    said = words(&event).or(said);
                    self.note_new(&event);
                    if let LinkEvent::Session(Event::Disconnected(lost)) = &event {
                        why = describe(&lost.cause, said.take());
                        // Whoever is sent away for good has not arrived, even if he was there.
                        if lost.gave_up && stage == Stage::Moving {
                            stage = self.strand(&why).await;
                        }
                    }
                }
                (late, channels) = until_left(&mut leaving) => {
                    leaving = None;
                    for frame in late.iter().filter_map(|text| ServerFrame::parse(text).ok()) {
                        read(&channels, &frame, clock.now(), &mut from_old);
                    }
                }
                () = tokio::time::sleep_until(clock.instant(due).into()) => {}
            }
            for (role, from) in
                [(ClusterRole::Old, &mut from_old), (ClusterRole::New, &mut from_new)]
            {
                for (envelope, at) in from.drain(..) {
                    self.crossing.handle_delivery(role, &envelope, at);
                }
            }
            if clock.now() >= look {
                self.look(&mut looked).await;
            }
            stage = self.advance(stage, &why).await;
            if leaving.is_none() {
                leaving = self.leave_old();
            }
        }
        if stage == Stage::Moving && self.crossing.end().is_some() {
            self.settle().await;
        }
        if let Some(mut old) = self.old.take() {
            old.link.stop().await;
        }
        self.new.link.stop().await;
    }

    /// When there is something to do.
    fn due(&self, stage: Stage) -> RunTime {
        match stage {
            // Who moves when nothing is published misses nothing, and that says nothing.
            Stage::Waiting(_) | Stage::Queued(_) if self.published.is_some() => RunTime::NEVER,
            Stage::Waiting(at) | Stage::Queued(at) => at,
            Stage::Moving => match (self.crossing.on_new(), self.crossing.end()) {
                (_, Some(end)) => end.after(self.horizon + TALLY_PERIOD),
                (Some(on_new), None) if self.new.link.session().is_ready() => {
                    on_new.after(self.overlap)
                }
                // Nobody leaves old while new is not there.
                (Some(on_new), None) => on_new.after(self.overlap + self.horizon),
                (None, None) => self.given_up_at(),
            },
            Stage::Told => RunTime::NEVER,
        }
    }

    fn given_up_at(&self) -> RunTime {
        self.crossing.began().map_or(RunTime::NEVER, |began| began.after(self.horizon))
    }

    /// Does what is due.
    async fn advance(&mut self, stage: Stage, why: &str) -> Stage {
        let now = self.clock.now();
        if now < self.due(stage) {
            return stage;
        }
        match stage {
            Stage::Waiting(_) => Stage::Queued(self.gate.reserve()),
            Stage::Queued(_) => {
                self.crossing.handle_began(now);
                if self.way == Way::Reload {
                    self.crossing.handle_left_old(now);
                }
                self.new.link.start_reserved();
                Stage::Moving
            }
            Stage::Moving => match (self.crossing.on_new(), self.crossing.end()) {
                (_, Some(_)) => self.settle().await,
                (Some(_), None) if self.new.link.session().is_ready() => {
                    self.crossing.handle_left_old(now);
                    Stage::Moving
                }
                (_, None) => self.strand(why).await,
            },
            Stage::Told => Stage::Told,
        }
    }

    /// Begins to close the connection to old, if it is time. One that only leaves its channels
    /// keeps the connection until it is on new.
    fn leave_old(&mut self) -> Option<Leaving> {
        let is_time = match self.way {
            Way::Reload | Way::Overlap => self.crossing.has_left_old(),
            Way::Switch => self.crossing.end().is_some(),
        };
        let MoverSide { link, channels } = self.old.take_if(|_| is_time)?;
        Some(Box::pin(async move { (link.leave().await, channels) }))
    }

    fn note_new(&mut self, event: &LinkEvent) {
        let link = &mut self.new.link;
        let heard = link.session().last_heard();
        match event {
            LinkEvent::Session(Event::Established(_))
                if self.way == Way::Switch && !self.crossing.has_left_old() =>
            {
                if let Some(old) = &mut self.old {
                    (0..self.names.len()).for_each(|at| old.link.unsubscribe(at));
                }
                self.crossing.handle_left_old(self.clock.now());
                for name in &self.names {
                    link.subscribe(name.clone());
                }
            }
            LinkEvent::Session(Event::Subscribed(_)) if link.session().is_ready() => {
                self.crossing.handle_on_new(heard);
            }
            LinkEvent::Session(Event::Disconnected(lost)) => {
                self.crossing.handle_new_lost(lost.last_heard.unwrap_or(heard));
            }
            _ => {}
        }
    }

    /// States what came of the move, unless nobody can tell.
    async fn settle(&mut self) -> Stage {
        match self.crossing.settle() {
            Some(crossed) => self.tell(Some(crossed), "").await,
            None => Stage::Told,
        }
    }

    async fn strand(&mut self, why: &str) -> Stage {
        let why = if why.is_empty() { "not subscribed on new in time" } else { why };
        self.tell(None, why).await
    }

    /// States what came of the move, unless it had not ended while events were published.
    async fn tell(&mut self, crossed: Option<Crossed>, why: &str) -> Stage {
        let now = self.clock.now();
        if self.crossing.end().zip(self.published).is_some_and(|(end, last)| end > last) {
            return Stage::Told;
        }
        let moved = Move {
            way: self.way,
            from: self.crossing.began().unwrap_or(now),
            until: self.crossing.end().unwrap_or(now),
            why: if crossed.is_some() { String::new() } else { why.to_owned() },
            crossed,
        };
        self.crossing.forget_all();
        // The collector outlives every connection; if it is gone, the run has failed already.
        let _ = self.facts.send(Fact::Moved(Box::new(moved))).await;
        Stage::Told
    }

    async fn look(&mut self, looked: &mut RunTime) {
        let now = self.clock.now();
        let links = self.old.iter_mut().chain(Some(&mut self.new)).map(|side| &mut side.link);
        for link in links {
            state_own_faults(link, self.backlog_max, (*looked, now), &self.facts).await;
        }
        *looked = now;
    }
}

async fn next(side: &mut Option<MoverSide>, arrived: &mut Arrived) -> LinkEvent {
    match side {
        Some(side) => next_of(side, arrived).await,
        None => std::future::pending().await,
    }
}

async fn next_of(MoverSide { link, channels }: &mut MoverSide, arrived: &mut Arrived) -> LinkEvent {
    let deliver = |frame: Option<&ServerFrame<'_>>, at| {
        if let Some(frame) = frame {
            read(channels, frame, at, arrived);
        }
    };
    link.next(deliver).await
}

fn read(channels: &RunChannels, frame: &ServerFrame<'_>, at: RunTime, arrived: &mut Arrived) {
    channels.read(frame, |_, data| {
        arrived.extend(data.and_then(Envelope::decode).map(|envelope| (envelope, at)));
    });
}

async fn until_left(leaving: &mut Option<Leaving>) -> (Vec<String>, RunChannels) {
    match leaving {
        Some(leaving) => leaving.await,
        None => std::future::pending().await,
    }
}

fn note_old(crossing: &mut Crossing, event: &LinkEvent, link: &Link) {
    let heard = link.session().last_heard();
    match event {
        LinkEvent::Session(Event::Subscribed(_)) if link.session().is_ready() => {
            crossing.handle_on_old(heard);
        }
        LinkEvent::Session(Event::Disconnected(lost)) => {
            crossing.handle_old_lost(lost.last_heard.unwrap_or(heard));
        }
        _ => {}
    }
}

/// What the cluster said, or what was wrong with that, if it was an error.
fn words(event: &LinkEvent) -> Option<String> {
    match event {
        LinkEvent::Broken(why) => Some(why.clone()),
        LinkEvent::Session(Event::SubscriptionRefused(_, error) | Event::Error(error)) => {
            Some(error_text(error))
        }
        LinkEvent::Session(_)
        | LinkEvent::DialFailed(_)
        | LinkEvent::Malformed(_)
        | LinkEvent::Asked(_) => None,
    }
}
