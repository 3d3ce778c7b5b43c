//! Which simulated clients there are, on which channels, and when they come.

use std::cmp::Ordering;
use std::time::Duration;

use crate::model::Shard;
use crate::verify::load;

use super::super::load::{Load, is_for};
use super::{ChannelPlan, Plan, Schedule};

/// The simulated clients of each cluster.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// How many of them are this process's, and how they come.
    pub load: load::Load,
    /// The ramp that the scenario asks for.
    pub asked: Duration,
    /// Each of these, in the order of their coming.
    pub clients: Vec<ClientPlan>,
}

/// One simulated client, on each cluster.
#[derive(Clone, Copy, Debug)]
pub struct ClientPlan {
    /// Its channel's place in [`super::Plan::channels`].
    pub channel: usize,
    /// When it connects, counted from the start of publishing.
    pub after: Duration,
}

impl Plan {
    /// Whether, and how, the clients come otherwise than the scenario asks for.
    pub fn ramps_otherwise(&self) -> Option<String> {
        let LoadPlan { load, asked, .. } = self.load.as_ref()?;
        let show = humantime::format_duration;
        let why = match load.ramp.cmp(asked) {
            Ordering::Less => "half of the run is left to see whether they stay",
            Ordering::Equal => return None,
            Ordering::Greater => "half of canary.connect_rate is theirs",
        };
        let (ramp, asked) = (tenths(load.ramp), show(*asked));
        Some(format!("the ramp of the load takes {} instead of {asked}: {why}", show(ramp)))
    }

    /// Why some of the simulated clients cannot connect in time, if that is so.
    pub fn cannot_come(&self) -> Option<String> {
        let (duration, show) = (self.schedule.duration(), humantime::format_duration);
        let takes = self.load.as_ref()?.load.ramp;
        (takes > duration).then(|| {
            let (takes, duration) = (show(tenths(takes)), show(duration));
            let why = "by canary.connect_rate the clients of [load] need";
            format!("{why} {takes} to connect, and publishing takes {duration}")
        })
    }
}

/// Tenths of seconds, as people want them.
fn tenths(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis() / 100 * 100).unwrap_or(u64::MAX))
}

impl LoadPlan {
    /// Shares the clients out to the processes of a run, and each one's to its channels. Of this
    /// process's no more than `connect_rate` come in a second.
    pub(super) fn new(
        asked: &Load,
        channels: &[ChannelPlan],
        schedule: &Schedule,
        (shard, connect_rate): (Shard, f64),
    ) -> Self {
        let is_heard = |(_, c): &(usize, &ChannelPlan)| is_for(c.kind) && !c.for_client_events;
        let heard = channels.iter().enumerate().filter(is_heard);
        let heard: Vec<_> = heard.map(|(at, _)| at).collect();
        let client = |at: u32| {
            let channel = *heard.get(at as usize % heard.len().max(1))?;
            // Whose channel it is has its client.
            shard.has(channel).then_some((at, channel))
        };
        let mine: Vec<_> = (0..asked.connections).filter_map(client).collect();
        let least = Duration::try_from_secs_f64(mine.len() as f64 / connect_rate);
        // There is time to see whether they stay.
        let most = asked.ramp.min(schedule.duration() / 2);
        let ramp = most.max(least.unwrap_or(Duration::MAX));
        let after = |at: u32| ramp.mul_f64(f64::from(at) / f64::from(asked.connections));
        let clients = mine.into_iter();
        let clients: Vec<_> =
            clients.map(|(at, channel)| ClientPlan { channel, after: after(at) }).collect();
        let load = load::Load { connections: clients.len() as u64, ramp };
        Self { load, asked: asked.ramp, clients }
    }

    /// Most messages that are delivered to them, of so many events on all channels.
    pub(super) fn messages(&self, events: u64, channels: usize) -> u64 {
        let each = events.div_ceil(channels.max(1) as u64);
        each.saturating_mul(self.clients.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelKind, ChannelName};
    use crate::scenario::plan::StreamPlan;
    use crate::verify::tally::Route;

    const ASKED: Load = Load { connections: 6, ramp: Duration::from_secs(60) };

    /// Two channels that clients hear, one of members and one of client events.
    fn channels() -> Vec<ChannelPlan> {
        let channel = |name: &str, for_client_events| {
            let name = ChannelName::new(name).unwrap();
            ChannelPlan { kind: name.kind(), name, for_client_events }
        };
        vec![
            channel("pc-a", false),
            channel("presence-pc-b", false),
            channel("private-pc-c", false),
            channel("private-pc-d", true),
        ]
    }

    fn plan(shard: Shard, seconds: u64) -> LoadPlan {
        plan_at(shard, seconds, 100.0)
    }

    fn plan_at(shard: Shard, seconds: u64, connect_rate: f64) -> LoadPlan {
        let stream = StreamPlan { channel: 0, route: Route::Trigger, book_events: 0 };
        let duration = Duration::from_secs(seconds);
        let schedule = Schedule::new(&[stream], shard, 10.0, 1.0, duration);
        LoadPlan::new(&ASKED, &channels(), &schedule, (shard, connect_rate))
    }

    fn told(plan: &LoadPlan) -> Vec<(usize, u64)> {
        plan.clients.iter().map(|client| (client.channel, client.after.as_secs())).collect()
    }

    #[test]
    fn clients_come_evenly_and_take_the_channels_in_turn() {
        let plan = plan(Shard::default(), 600);
        assert_eq!(told(&plan), [(0, 0), (2, 10), (0, 20), (2, 30), (0, 40), (2, 50)]);
        assert_eq!((plan.load.connections, plan.load.ramp), (6, ASKED.ramp));
    }

    #[test]
    fn none_comes_faster_than_connections_may_be_opened() {
        let plan = plan_at(Shard::default(), 600, 0.05);
        assert_eq!(told(&plan), [(0, 0), (2, 20), (0, 40), (2, 60), (0, 80), (2, 100)]);
        assert_eq!(plan.load.ramp, Duration::from_secs(120));
        // Of two processes each opens so many.
        let plan = plan_at(Shard { index: 0, of: 3 }, 600, 0.025);
        assert_eq!(told(&plan), [(0, 0), (0, 40), (0, 80)]);
    }

    #[test]
    fn half_of_a_short_run_is_left_to_see_whether_they_stay() {
        let plan = plan(Shard::default(), 12);
        assert_eq!(told(&plan), [(0, 0), (2, 1), (0, 2), (2, 3), (0, 4), (2, 5)]);
        assert_eq!(plan.load.ramp, Duration::from_secs(6));
    }

    #[test]
    fn shards_share_the_clients_out_and_each_has_its_own_channels() {
        let shards = [0, 1].map(|index| plan(Shard { index, of: 2 }, 600));
        // All that clients hear is the first one's.
        assert_eq!(shards.map(|plan| plan.clients.len()), [6, 0]);
        let shards = [0, 1, 2].map(|index| told(&plan(Shard { index, of: 3 }, 600)));
        assert_eq!(
            shards,
            [vec![(0, 0), (0, 20), (0, 40)], vec![], vec![(2, 10), (2, 30), (2, 50)]]
        );
    }

    #[test]
    fn every_delivery_to_a_client_is_a_message() {
        let plan = plan(Shard::default(), 600);
        assert_eq!(plan.messages(1_000, 2), 6 * 500);
        assert!(is_for(ChannelKind::Encrypted) && !is_for(ChannelKind::PresenceCache));
    }
}
