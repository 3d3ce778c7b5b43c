//! Which virtual client moves when, how, and on which channels.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::StreamIx;
use crate::scenario::file::Canary;
use crate::scenario::handover::Handover;
use crate::verify::handover::{Moves, Ramp, Way};

use super::schedule::Schedule;
use super::{ChannelPlan, StreamPlan};

/// One virtual client.
#[derive(Clone, Debug)]
pub struct MoverPlan {
    /// How it moves.
    pub way: Way,
    /// When, counted from the start of publishing.
    pub after: Duration,
    /// Its channels' places in the plan.
    pub channels: Vec<usize>,
}

/// The virtual clients of a run.
#[derive(Clone, Debug)]
pub struct HandoverPlan {
    /// All of them together.
    pub moves: Moves,
    /// Each of them, in the order of their moves.
    pub movers: Vec<MoverPlan>,
    /// How long events must be published until all have moved, and what they missed is known.
    pub needs: Duration,
}

impl HandoverPlan {
    pub(super) fn new(
        handover: &Handover,
        canary: &Canary,
        (channels, streams): (&[ChannelPlan], &[StreamPlan]),
        schedule: &Schedule,
    ) -> Self {
        let duration = schedule.duration();
        let begin = handover.begin.unwrap_or(duration / 4);
        let over = match handover.ramp {
            Ramp::AtOnce => Duration::ZERO,
            Ramp::Linear | Ramp::Steps(_) => handover.over.unwrap_or(duration / 2),
        };
        let all = u64::from(handover.clients);
        let each = handover.channels.min(channels.len()).min(canary.channels_per_connection);
        // However steep the ramp, connections are opened at this rate; and one that waits for its
        // place must not keep others from theirs, who have lost their connection.
        let interval = Duration::from_secs_f64(1.0 / canary.connect_rate);
        let mut free = begin;
        let mut mover = |at: u64| {
            let ways = handover.ways.len().max(1);
            let way = handover.ways.get(at as usize % ways);
            // One client of each way on the same channels, so that the ways can be compared.
            let from = at as usize / ways * each;
            let places = (0..each).map(|n| (from + n) % channels.len().max(1));
            let after = (begin + over.mul_f64(handover.ramp.share(at, all))).max(free);
            free = after + interval;
            MoverPlan {
                way: way.copied().unwrap_or(Way::Reload),
                after,
                channels: places.collect(),
            }
        };
        let movers: Vec<_> = (0..all).map(&mut mover).collect();
        let last = movers.last().map_or(begin, |mover| mover.after);
        let needs = last + handover.overlap + 2 * canary.deadline;
        let mut clients = BTreeMap::new();
        for mover in &movers {
            *clients.entry(mover.way).or_default() += 1;
        }
        let places = || movers.iter().flat_map(|mover| &mover.channels);
        let is_signed =
            |at: &&usize| channels.get(**at).is_some_and(|channel| channel.kind.needs_auth());
        let rate = rate_by_channel(channels.len(), streams, schedule);
        let heard: f64 = places().filter_map(|at| rate.get(*at)).sum();
        let moves = Moves {
            clients,
            channels: each as u64,
            signed_channels: places().filter(is_signed).count() as f64 / all.max(1) as f64,
            events_per_second: heard / all.max(1) as f64,
            overlap: handover.overlap,
            ramp: handover.ramp,
            over,
            fleet: handover.fleet,
        };
        Self { moves, movers, needs }
    }

    /// Most messages that all of them get, on each cluster.
    pub(super) fn messages(&self, duration: Duration) -> u64 {
        let each = (self.moves.events_per_second * duration.as_secs_f64()).ceil() as u64;
        each.saturating_mul(self.movers.len() as u64)
    }
}

/// Events per second on each channel.
fn rate_by_channel(channels: usize, streams: &[StreamPlan], schedule: &Schedule) -> Vec<f64> {
    let mut rates = vec![0.0; channels];
    for (ix, stream) in (0..).zip(streams) {
        if let Some(rate) = rates.get_mut(stream.channel) {
            *rate += schedule.rate_of(StreamIx(ix));
        }
    }
    rates
}
