//! Which channels, streams and connections a run has.

use sha2::{Digest, Sha256};

use crate::model::{
    ChannelKind, ChannelName, Member, MemberRole, RunId, Secret, Shard, StreamIx, WitnessIx,
};
use crate::verify::tally::Route;

use super::super::file::{CLIENT_EVENTS_PER_SENDER, Scenario};
use super::{
    CHANNEL_PREFIX, ChannelPlan, ControlPlan, MarkerPlan, SenderPlan, StreamPlan, WitnessPlan,
};

/// What the names of a shard's channels begin with, behind the prefix of their kind. A shard tells
/// its own from the others' by it.
pub(super) fn stem(run: RunId, shard: Shard) -> String {
    let shard = if shard.is_whole() { String::new() } else { format!("s{}-", shard.index) };
    format!("{CHANNEL_PREFIX}{}-{shard}", run.short())
}

/// The channels of all shards: `shard` is any of them.
pub(super) fn plan_channels(scenario: &Scenario, run: RunId, shard: Shard) -> Vec<ChannelPlan> {
    let routes = &scenario.canary.routes;
    let (client, http) =
        (routes.contains(&Route::Client), routes.iter().any(|r| *r != Route::Client));
    let mut channels = Vec::new();
    let mut add = |kind: ChannelKind, tail: String, for_client_events: bool| {
        let index = u32::try_from(channels.len()).unwrap_or(u32::MAX) % shard.of;
        let name = format!("{}{}{tail}", kind.prefix(), stem(run, Shard { index, ..shard }));
        // Prefix, eight digits and a short tail: always a valid name.
        if let Ok(name) = ChannelName::new(name) {
            channels.push(ChannelPlan { name, kind, for_client_events });
        }
    };
    for (kind, count) in &scenario.canary.channels {
        // Where nothing but client events is sent, the other kinds would stay silent.
        let count = if http || kind.carries_client_events() { *count } else { 0 };
        for number in 0..count {
            add(*kind, number.to_string(), !http);
        }
        if client && http && count > 0 && kind.carries_client_events() {
            add(*kind, "client".to_owned(), true);
        }
    }
    channels
}

/// A channel of a shard's own that carries no canary events.
fn beside(run: RunId, shard: Shard, kind: ChannelKind, tail: &str) -> ChannelName {
    let name = format!("{}{}{tail}", kind.prefix(), stem(run, shard));
    #[expect(clippy::expect_used, reason = "prefix, digits and a word: always a valid name")]
    ChannelName::new(name).expect("a valid name")
}

/// Each process has its own, for what is done there is meant for nobody else: witnesses of one
/// shard are told apart by their regions.
pub(super) fn plan_controls(run: RunId, member: &Member) -> ControlPlan {
    let Member { shard, role, region } = member;
    let own = match role {
        MemberRole::Witness => {
            let digest = hex::encode(Sha256::digest(region));
            format!("w{}-", digest.get(..8).unwrap_or_default())
        }
        MemberRole::Both | MemberRole::Publish => String::new(),
    };
    let name = |kind, tail: &str| beside(run, *shard, kind, &format!("{own}{tail}"));
    ControlPlan {
        channel: name(ChannelKind::Public, "control"),
        guard: name(ChannelKind::Public, "guard"),
        refused: name(ChannelKind::Private, "refused"),
    }
}

pub(super) fn plan_markers(scenario: &Scenario, run: RunId, shard: Shard) -> MarkerPlan {
    let secrets = scenario.clusters.values().map(|cluster| cluster.secret.expose().to_owned());
    MarkerPlan {
        channel: beside(run, shard, ChannelKind::Public, "markers"),
        key: Secret::new(secrets.collect::<Vec<_>>().join("\n")),
    }
}

pub(super) fn plan_streams(scenario: &Scenario, channels: &[ChannelPlan]) -> Vec<StreamPlan> {
    let mut streams = Vec::new();
    for route in &scenario.canary.routes {
        for (at, channel) in channels.iter().enumerate() {
            let carries = match route {
                Route::Client => channel.for_client_events && channel.kind.carries_client_events(),
                Route::Trigger | Route::Batch => !channel.for_client_events,
            };
            if carries {
                streams.push(StreamPlan { channel: at, route: *route, book_events: 0 });
            }
        }
    }
    streams
}

pub(super) fn plan_witnesses(
    scenario: &Scenario,
    channels: usize,
    shard: Shard,
) -> Vec<WitnessPlan> {
    let all: Vec<usize> = (0..channels).filter(|channel| shard.has(*channel)).collect();
    let packed: Vec<_> = all.chunks(scenario.canary.channels_per_connection).collect();
    let replicas = (0..scenario.canary.witnesses)
        .flat_map(|replica| packed.iter().map(move |channels| (replica, channels.to_vec())));
    (0..)
        .zip(replicas)
        .map(|(ix, (replica, channels))| WitnessPlan { witness: WitnessIx(ix), channels, replica })
        .collect()
}

pub(super) fn plan_senders(
    scenario: &Scenario,
    streams: &[StreamPlan],
    shard: Shard,
) -> Vec<SenderPlan> {
    let client: Vec<(StreamIx, usize)> = (0..)
        .zip(streams)
        .filter(|(_, s)| s.route == Route::Client && shard.has(s.channel))
        .map(|(ix, s)| (StreamIx(ix), s.channel))
        .collect();
    let wanted = (scenario.canary.client_rate / CLIENT_EVENTS_PER_SENDER).ceil() as usize;
    let count = wanted.clamp(1, client.len().max(1));
    (0..count)
        .map(|sender| {
            let mine = client.iter().skip(sender).step_by(count);
            let (streams, channels) = mine.copied().unzip();
            SenderPlan { channels, streams }
        })
        .filter(|sender| !sender.streams.is_empty())
        .collect()
}
