//! Facts told one by one, for tests: each is a second of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use crate::model::{ClusterRole, Member, MemberRole, RunId, RunTime};

use super::account::Account;
use super::checks::{Limits, Looks, Phase, Requirements};
use super::coverage::StreamInfo;
use super::fact::{Control, Fact};
use super::figures::ClusterFigures;
use super::gather::Gatherer;
use super::handover::{Moves, Ramp, Way};
use super::load::Load;
use super::occupancy::Watching;
use super::record::Begin;
use super::tally::{Epoch, Stratum};

/// One tenth at 95 %: 29 trials without a failure.
pub(crate) fn limits() -> Limits {
    Limits {
        loss_rate_max: 0.1,
        confidence: 0.95,
        duplicates_max: 2,
        reordered_max: 1,
        missed_offline_ratio_max: 0.1,
        late_ratio_max: 0.1,
        latency_p99_ratio_max: 1.5,
        latency_trend_ratio_max: 1.5,
        latency_slack: Duration::from_millis(10),
        latency_p99_max: None,
        connect_p99_max: Duration::from_millis(500),
        publish_p99_max: Duration::from_millis(300),
        auth_success_min: 0.9,
        publish_success_min: 0.9,
        left_behind_within: Duration::from_secs(90),
        drained_for: Duration::from_secs(60),
        unseen: None,
        auth_endpoint_p99_max: Duration::from_secs(1),
        mirror_ratio_max: 0.0,
        handover_missed_max: None,
        load_connected_min: 0.9,
        load_delivered_min: 0.9,
        tainted_ratio_max: 0.05,
    }
}

/// Four clients of each way, which move one after the other.
pub(crate) fn moves() -> Moves {
    Moves {
        clients: Way::ALL.map(|way| (way, 4)).into(),
        channels: 4,
        signed_channels: 2.0,
        events_per_second: 20.0,
        overlap: Duration::from_secs(5),
        ramp: Ramp::Linear,
        over: Duration::from_secs(60),
        fleet: None,
    }
}

/// How a run of these clusters and streams begins.
pub(crate) fn begin(roles: &[ClusterRole], streams: &[StreamInfo]) -> Begin {
    let strata: BTreeSet<_> = streams
        .iter()
        .map(|s| Stratum { kind: s.channel.kind(), route: s.route, epoch: Epoch::First })
        .collect();
    let watched = |s: &StreamInfo, role| {
        s.sides.iter().any(|side| side.role == role && !side.witnesses.is_empty())
    };
    let unwatched = roles.iter().filter_map(|role| {
        let count = streams.iter().filter(|s| !watched(s, *role)).count() as u64;
        (count > 0).then_some((*role, count))
    });
    Begin {
        version: "1.2.3".to_owned(),
        run: RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ab)),
        member: Member::default(),
        scenario: "test".to_owned(),
        seed: 7,
        requirements: Requirements {
            phase: Phase::DualPublish,
            role: MemberRole::Both,
            looks: Looks::Once,
            limits: limits(),
        },
        origin: Duration::from_secs(1_753_600_000),
        publishing: Duration::from_secs(100),
        clusters: roles.to_vec(),
        streams: streams.iter().map(|s| (s.channel.clone(), s.route)).collect(),
        strata: strata.into_iter().collect(),
        controls: Control::OF_DELIVERY.to_vec(),
        watching: None,
        unwatched: unwatched.collect(),
        status_pages: BTreeMap::new(),
        endpoints: BTreeMap::new(),
        mirroring: None,
        handover: None,
        load: None,
        parity: None,
        published: None,
        webhooks_refresh: None,
        settings: serde_json::json!({"scenario": {"name": "test"}}),
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Story {
    gatherer: Gatherer,
    pub(crate) account: Account,
    now: RunTime,
}

impl Story {
    /// Nothing was told yet.
    pub(crate) fn new(roles: &[ClusterRole], streams: Vec<StreamInfo>) -> Self {
        let account = Account::new(begin(roles, &streams));
        Self { gatherer: Gatherer::new(roles, streams, 1), account, now: RunTime::ZERO }
    }

    /// A drain of which nothing was told yet: of clusters that are read so often.
    pub(crate) fn of_drain(roles: &[ClusterRole], refresh: Duration) -> Self {
        let mut begin = begin(roles, &[]);
        begin.requirements.phase = Phase::Drain;
        begin.controls.push(Control::SeesOccupancy);
        begin.watching = Some(Watching { refresh });
        let gatherer = Gatherer::new(roles, Vec::new(), 0);
        Self { gatherer, account: Account::new(begin), now: RunTime::ZERO }
    }

    /// The same of a run with simulated clients, which publishes from now on.
    pub(crate) fn load(&mut self, load: Load) {
        let begin = self.account.begin().clone();
        self.account = Account::new(Begin { load: Some(load), ..begin });
        self.apply(Fact::Begun(self.now));
    }

    /// Tells a fact.
    pub(crate) fn apply(&mut self, fact: Fact) {
        self.gatherer.handle(fact);
        self.advance(self.now, false);
    }

    /// Closes a second at `now`.
    pub(crate) fn advance(&mut self, now: RunTime, is_last: bool) {
        self.now = now;
        let second = self.gatherer.close(now, is_last);
        self.account.apply(&second);
    }

    /// A cluster's figures.
    pub(crate) fn figures(&self, role: ClusterRole) -> &ClusterFigures {
        &self.account.figures().clusters[&role]
    }
}
