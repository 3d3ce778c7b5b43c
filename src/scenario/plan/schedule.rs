//! When which streams publish.

use std::time::Duration;

use crate::model::{Shard, StreamIx};
use crate::pusher::rest;
use crate::verify::tally::Route;

use super::StreamPlan;

/// When which streams publish: one lane per route, each with an even pace. Pure arithmetic, so that
/// every cluster gets every event at the same instant.
#[derive(Clone, Debug)]
pub struct Schedule {
    lanes: Vec<Lane>,
    pub(super) duration: Duration,
}

#[derive(Clone, Debug)]
struct Lane {
    route: Route,
    streams: Vec<StreamIx>,
    /// Events per second.
    rate: f64,
    /// Events at each instant of the lane.
    burst: usize,
    /// The instant of its first burst.
    offset: Duration,
    next: u64,
}

impl Lane {
    fn at(&self, burst: u64) -> Duration {
        self.offset + Duration::from_secs_f64(burst as f64 * self.burst as f64 / self.rate)
    }
}

/// Events that are due at one instant on one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Time since the schedule's start.
    pub at: Duration,
    /// How they are published: those of a batch in one request.
    pub route: Route,
    /// One event for each of these streams, all different.
    pub streams: Vec<StreamIx>,
}

impl Schedule {
    /// Events per second of one stream.
    pub(super) fn rate_of(&self, stream: StreamIx) -> f64 {
        let lanes = self.lanes.iter().filter(|lane| lane.streams.contains(&stream));
        lanes.map(|lane| lane.rate / lane.streams.len() as f64).sum()
    }

    /// The part of a run's schedule that is this shard's: each of its streams gets as many events
    /// as it would if all were one process's.
    pub(super) fn new(
        streams: &[StreamPlan],
        shard: Shard,
        rate: f64,
        client_rate: f64,
        duration: Duration,
    ) -> Self {
        // Streams of a route: how many in all, and which of them are this shard's.
        let of = |route: Route| -> (usize, Vec<StreamIx>) {
            let of = || (0..).zip(streams).filter(move |(_, s)| s.route == route);
            let own = of().filter(|(_, s)| shard.has(s.channel)).map(|(ix, _)| StreamIx(ix));
            (of().count(), own.collect())
        };
        let http_routes =
            [Route::Trigger, Route::Batch].into_iter().filter(|r| of(*r).0 > 0).count();
        let mut lanes = Vec::new();
        for route in Route::ALL {
            let (all, streams) = of(route);
            if streams.is_empty() {
                continue;
            }
            let (rate, burst) = match route {
                Route::Trigger => (rate / http_routes as f64, 1),
                Route::Batch => {
                    (rate / http_routes as f64, streams.len().min(rest::BATCH_EVENTS_MAX))
                }
                Route::Client => (client_rate, 1),
            };
            let rate = rate * streams.len() as f64 / all as f64;
            // Lanes that start apart do not all publish at the same instants.
            let offset = Duration::from_secs_f64(0.3 / rate) * lanes.len() as u32;
            lanes.push(Lane { route, streams, rate, burst, offset, next: 0 });
        }
        Self { lanes, duration }
    }

    /// Whether it publishes nothing, and only takes its time.
    pub const fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// How many events it asks for.
    pub fn events(&self) -> u64 {
        let bursts = |lane: &Lane| {
            let left = self.duration.saturating_sub(lane.offset).as_secs_f64();
            (left * lane.rate / lane.burst as f64).ceil() as u64 * lane.burst as u64
        };
        self.lanes.iter().map(bursts).sum()
    }

    /// Events per second, all routes together.
    pub fn rate(&self) -> f64 {
        self.lanes.iter().map(|l| l.rate).sum()
    }

    /// How long it publishes.
    pub const fn duration(&self) -> Duration {
        self.duration
    }

    /// When the next events are due; `None` at the end.
    pub fn next_at(&self) -> Option<Duration> {
        self.lanes.iter().map(|l| l.at(l.next)).min().filter(|at| *at < self.duration)
    }

    /// The next events.
    pub fn pop(&mut self) -> Option<Due> {
        let at = self.next_at()?;
        let lane = self.lanes.iter_mut().find(|l| l.at(l.next) == at)?;
        let all = lane.streams.len();
        let first = lane.next as usize * lane.burst;
        let streams = (first..first + lane.burst).filter_map(|at| lane.streams.get(at % all));
        let streams = streams.copied().collect();
        lane.next += 1;
        Some(Due { at, route: lane.route, streams })
    }
}
