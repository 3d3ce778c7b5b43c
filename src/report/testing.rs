//! Reports for the tests of their forms: written down, not measured.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::model::{ChannelKind, ClusterRole, RunId, RunTime};
use crate::verify::checks::{Looks, Phase};
use crate::verify::coverage::Pairs;
use crate::verify::endpoint::{Answered, EndpointKind, EndpointTrial};
use crate::verify::fact::{Control, Publications};
use crate::verify::figures::Anomalies;
use crate::verify::handover::{Crossed, Fleet, HandoverFigures, Move, Moves, Way};
use crate::verify::latency::Latencies;
use crate::verify::mirror::Outcome;
use crate::verify::parity::{ParityBegin, ParityFigures, Reading, Row};
use crate::verify::presence::Presence;
use crate::verify::sample::{Caches, LeftOut, Size};
use crate::verify::status_page::{ComponentStatus, SpanKind};
use crate::verify::taint::{TaintReason, Tainted};
use crate::verify::tally::{Beside, BlindCause, IncidentKind, Obligations};
use crate::verify::testing::{limits, moves};
use crate::verify::verdict::{Finding, Status, Verdict};

use super::endpoint::EndpointReport;
use super::handover::HandoverReport;
use super::mirror::{DefectReport, RealEventsReport, SampleReport, SampleStratum};
use super::parity::ParityRow;
use super::pool::{Excluded, Pool, PooledRun};
use super::providers::{ComponentReport, ProviderReport, SpanReport};
use super::{
    AuthorisedReport, BlindReport, BlindWindowReport, ClusterReport, ConnectionsReport,
    ControlReport, EventsReport, IncidentReport, InstrumentReport, ObligationsReport,
    OccupancyPoint, OccupancyReport, Report, SCHEMA, SlotReport, Summary, TimelineReport, Tool,
};

/// Text that tries to leave wherever it is put.
pub(super) const HOSTILE: &str = "</title></script><script>alert('x')</script><img src=x \
     onerror=alert(1)>\"'`|\n# heading\n---\n```\n]]> &amp; \u{1b}[31m\u{0} @everyone #1 \
     https://example.com www.example.com $x$ *a* _b_ [c](d) ~~e~~ <!-- \u{202e}";

/// A check that found something.
pub(super) fn finding(name: &'static str, on: &str, required: bool, status: Status) -> Finding {
    Finding {
        name: name.into(),
        cluster: on.parse().ok(),
        required,
        status,
        observed: Some(0.036),
        limit: Some(0.001),
        target: None,
        unit: "ratio".into(),
        evidence: 4_560,
        detail: format!("what {name} saw on {on}"),
    }
}

/// One thousand latencies of this many microseconds and upwards.
pub(super) fn summary(us: u64) -> Summary {
    let mut latencies = Latencies::default();
    for step in 0..1_000 {
        latencies.record(Duration::from_micros(us + step * step / 100));
    }
    Summary::of(&latencies)
}

fn none() -> Summary {
    Summary::of(&Latencies::default())
}

/// A cluster that lost some of a thousand publications.
pub(super) fn cluster(lost: u64, us: u64) -> ClusterReport {
    ClusterReport {
        publications: Publications { sent: 1_000, accepted: 1_000, ..Publications::default() },
        publications_by_route: BTreeMap::new(),
        obligations_opened: 2_000,
        obligations: ObligationsReport {
            counted: Obligations {
                total: 2_000,
                delivered: 2_000 - lost,
                lost,
                ..Obligations::default()
            },
            pending: 0,
        },
        strata: BTreeMap::new(),
        publications_lost: 0,
        publications_partially_lost: lost,
        trials: 1_000,
        unattributed: 0,
        unattributed_losses: 0,
        excused: Anomalies::default(),
        beside: Beside::default(),
        loss_upper_bound: 0.003,
        confidence: 0.95,
        loss_incidents: lost.min(1),
        incidents_per_hour_upper_bound: Some(1_079.0),
        latency_ms: summary(us),
        latency_tainted_ms: none(),
        latency_opening_ms: none(),
        latency_closing_ms: none(),
        latency_first_witness_ms: none(),
        connect_ms: summary(2 * us),
        connect_steps_ms: BTreeMap::new(),
        slowest_connect_tainted: false,
        publish_ms: summary(us),
        auth_ms: none(),
        authorised: AuthorisedReport { confirmed: 4, refused: 0 },
        connections: ConnectionsReport {
            opened: 2,
            failed: 0,
            closed_by_code: BTreeMap::new(),
            given_up: 0,
            recycled: 0,
        },
        blind: BlindReport {
            windows: 0,
            ended: 0,
            seconds: 0.0,
            longest_seconds: 0.0,
            longest_ended_seconds: 0.0,
            windows_by_cause: BTreeMap::new(),
            missed_by_cause: BTreeMap::new(),
            by_cause: BTreeMap::new(),
        },
        http_responses: BTreeMap::from([(200, 1_000)]),
        throttled: 0,
        left_behind: Some(0),
        load: None,
        occupancy: None,
        webhooks: None,
        endpoints: BTreeMap::new(),
    }
}

/// An incident in this second.
pub(super) fn incident(second: i64, cluster: ClusterRole, kind: IncidentKind) -> IncidentReport {
    IncidentReport {
        at: format!("2026-02-03T04:{:02}:{:02}.500Z", second.div_euclid(60), second % 60),
        second,
        kind,
        cluster,
        channel: Some("private-pc-1".to_owned()),
        stream: Some(3),
        seq: Some(77),
        witnesses: 2,
        cause: None,
        detail: String::new(),
    }
}

/// A run on two clusters that ended in GO, with something in every list.
pub(super) fn report() -> Report {
    let (old, new) = (ClusterRole::Old, ClusterRole::New);
    let slot = |p50| SlotReport {
        sent: 100,
        unaccepted: 0,
        arrived: 200,
        p50,
        p90: p50.map(|ms| ms * 2.0),
        max: p50.map(|ms| ms * 9.0),
    };
    let window =
        |cluster, until, cause| BlindWindowReport { cluster, witness: 1, from: 3.25, until, cause };
    Report {
        schema: SCHEMA,
        tool: Tool::of("0.1.0".to_owned()),
        run: RunId(Uuid::from_u128(0x01a2_0437_b28f_7614_831d_82bb_3eff_32ce)),
        member: crate::model::Member::default(),
        scenario: "cutover".to_owned(),
        scenario_digest: "0123456789abcdef".to_owned(),
        phase: Phase::DualPublish,
        proof: true,
        looks: Looks::Once,
        seed: 7,
        started_at: "2026-02-03T04:05:06.000Z".to_owned(),
        ended_at: "2026-02-03T04:05:20.000Z".to_owned(),
        publishing_seconds: 11.4,
        planned_seconds: 11.4,
        cut_short: false,
        complete: true,
        verdict: Verdict::Go,
        reason: "old: 0 of 1,000 publications lost, below 0.30 %".to_owned(),
        checks: vec![
            finding("loss", "old", true, Status::Pass),
            finding("loss", "new", true, Status::Pass),
            finding("coverage", "both", true, Status::Pass),
        ],
        clusters: BTreeMap::from([(old, cluster(0, 400)), (new, cluster(3, 700))]),
        events: EventsReport {
            total: 1_000,
            covered: 997,
            uncovered: 3,
            uncovered_by_cause: BTreeMap::new(),
            trials: 1_000,
            failures_by_cause: BTreeMap::new(),
            unsent: 0,
            pairs: Pairs::default(),
            covered_since: None,
            covered_until: None,
        },
        controls: vec![ControlReport {
            name: Control::SeesLoss,
            cluster: new,
            status: Status::Pass,
        }],
        rehearsal: Some(BTreeMap::from([(new, BTreeMap::from([("dropped".to_owned(), 3)]))])),
        instrument: InstrumentReport {
            tainted_seconds: 1,
            seconds: 12,
            reasons: Vec::new(),
            schedule_lag_ms: summary(100),
            runtime_stall_ms_max: 1.5,
            lapped: 0,
            unwatched: BTreeMap::new(),
            failed: None,
        },
        incidents: vec![
            incident(2, new, IncidentKind::Lost),
            incident(3, new, IncidentKind::Disconnected),
            incident(5, old, IncidentKind::Late),
        ],
        incidents_dropped: 0,
        advice: Vec::new(),
        mirror: None,
        handover: None,
        parity: Vec::new(),
        published: None,
        webhooks_refused: BTreeMap::new(),
        occupied_channels: None,
        providers: BTreeMap::new(),
        blind_windows: vec![
            window(new, Some(3.75), BlindCause::Close),
            window(old, None, BlindCause::Network),
        ],
        timeline: TimelineReport {
            slot_seconds: 1.0,
            clusters: [(old, 0.4), (new, 0.7)]
                .into_iter()
                .map(|(role, ms)| (role, vec![slot(Some(ms)), slot(None), slot(Some(3.0 * ms))]))
                .collect(),
            tainted: vec![2],
        },
        gate: limits(),
        settings: json!({
            "scenario": {"name": "cutover", "seed": 7},
            "canary": {"routes": ["trigger", "batch"], "channels": {"public": 4}},
        }),
    }
}

/// A run that published nothing, and has no end.
pub(super) fn empty() -> Report {
    Report {
        started_at: String::new(),
        publishing_seconds: 0.0,
        complete: false,
        verdict: Verdict::Inconclusive,
        reason: "the record has no end: what came after it is not known".to_owned(),
        checks: vec![finding("evidence", "new", true, Status::Inconclusive)],
        clusters: BTreeMap::new(),
        events: EventsReport { total: 0, covered: 0, uncovered: 0, ..report().events },
        controls: Vec::new(),
        rehearsal: None,
        instrument: InstrumentReport {
            tainted_seconds: 0,
            seconds: 0,
            schedule_lag_ms: none(),
            runtime_stall_ms_max: 0.0,
            ..report().instrument
        },
        incidents: Vec::new(),
        blind_windows: Vec::new(),
        timeline: TimelineReport::default(),
        settings: json!(null),
        ..report()
    }
}

/// A run of one cluster, without latencies.
pub(super) fn steady() -> Report {
    let mut report = report();
    report.phase = Phase::Steady;
    report.clusters.remove(&ClusterRole::Old);
    report.timeline.clusters.remove(&ClusterRole::Old);
    for cluster in report.clusters.values_mut() {
        cluster.latency_ms = none();
    }
    report
}

/// A status page whose every text is this.
pub(super) fn provider(text: &str) -> ProviderReport {
    let said = || text.to_owned();
    let component = ComponentReport {
        id: said(),
        name: said(),
        status: ComponentStatus::Operational,
        worst: ComponentStatus::MajorOutage,
    };
    let span = SpanReport {
        kind: SpanKind::Incident,
        id: said(),
        name: said(),
        impact: said(),
        state: said(),
        components: vec![said()],
        from: said(),
        until: Some(said()),
        from_second: -3.5,
        until_second: Some(4.25),
        counts: true,
        link: Some(said()),
    };
    ProviderReport {
        url: said(),
        readings: 2,
        failures: 1,
        readable: true,
        failure: Some(said()),
        page: ComponentStatus::PartialOutage,
        components: vec![component],
        missing: vec![said()],
        offered: vec![said()],
        unwatched: 0,
        spans: vec![span],
    }
}

/// A drain: three channels are left on old of nine.
pub(super) fn drain() -> Report {
    let mut report = report();
    report.phase = Phase::Drain;
    let points = [9, 6, 3].into_iter().zip([0.0, 5.0, 10.0]);
    let points = points.map(|(channels, second)| OccupancyPoint {
        second,
        channels,
        members: Some(1),
        subscriptions: None,
    });
    let read = OccupancyReport {
        refresh_seconds: 5.0,
        readings: 3,
        failed: 0,
        last_failure: String::new(),
        channels: Some(3),
        channels_by_kind: BTreeMap::from([(ChannelKind::Presence, 3)]),
        subscriptions: None,
        members: Some(1),
        own_channels: 0,
        peak_channels: 9,
        has_shown: true,
        empty_seconds: 0.0,
        empty_since: None,
        age_seconds: 1.4,
        gap_seconds_max: 22.5,
        empty_in_seconds: None,
        empty_at: None,
        points: points.collect(),
    };
    if let Some(old) = report.clusters.get_mut(&ClusterRole::Old) {
        old.occupancy = Some(read);
    }
    report
}

/// Real events on one of the watched channels of an application, of which every name is this.
pub(super) fn real_events(name: &str) -> RealEventsReport {
    let said = || name.to_owned();
    let defect = DefectReport {
        channel: said(),
        event: said(),
        outcome: Outcome::OnlyOnOld,
        cluster: Some(ClusterRole::New),
        first: "2026-07-27T12:00:02.500Z".to_owned(),
        second: 2.5,
        count: 3,
    };
    let stratum = SampleStratum {
        kind: ChannelKind::Private,
        size: Size::Few,
        channels: 1_234,
        watched: vec![said()],
    };
    let one = || BTreeMap::from([(ClusterRole::New, 1)]);
    RealEventsReport {
        sample: SampleReport {
            refreshes: 2,
            failed: one(),
            last_failure: said(),
            refused: one(),
            last_refusal: said(),
            occupied: BTreeMap::from([(ClusterRole::Old, 1_234), (ClusterRole::New, 0)]),
            unsaid: one(),
            channels: 1_234,
            watched: 1,
            seen: 1,
            one_sided_at_most: None,
            left_out: BTreeMap::from([(LeftOut::Presence, 5)]),
            vacated: 1,
            rested: 2,
            strata: vec![stratum],
            presence: Some(Presence { channels: 2, old: 30, new: 12, both: 2, split: 9 }),
            caches: Some(Caches { channels: 3, old: 3, new: 1, cold: 2 }),
        },
        events: BTreeMap::from([(Outcome::Mirrored, 4_560), (Outcome::OnlyOnOld, 3)]),
        observed: 4_563,
        new_later_ms: summary(300),
        old_later_ms: none(),
        one_sided: BTreeMap::from([(format!("{name}-forgotten"), ClusterRole::Old)]),
        defects: vec![defect],
        defects_dropped: 0,
        carried: vec![said()],
        presence: Vec::new(),
        left_out: 7,
        client_events: one(),
        unreadable: one(),
    }
}

/// An auth endpoint of which every text is this.
pub(super) fn endpoint(text: &str) -> EndpointReport {
    EndpointReport {
        url: text.to_owned(),
        private: false,
        answered: BTreeMap::from([(Answered::Signed, 9), (Answered::Refused, 1)]),
        took_ms: summary(900),
        last_failure: text.to_owned(),
        trials: BTreeMap::from([
            (EndpointTrial::Forbidden, Status::Fail),
            (EndpointTrial::Crossed, Status::Inconclusive),
        ]),
    }
}

/// Rows of every likeness; every text that comes from a cluster or from a scenario is this.
pub(super) fn parity(text: &str) -> Vec<ParityRow> {
    let rows = [Row::CacheMiss, Row::ClientEvents, Row::ClientEventsUserId, Row::SeveralChannels];
    let accept = BTreeMap::from([(Row::ClientEventsUserId, text.to_owned())]);
    let mut figures = ParityFigures::new(&ParityBegin { rows: rows.into(), accept });
    let value = |text: &str| Reading::Value(text.to_owned());
    let refused = match text {
        HOSTILE => HOSTILE,
        _ => "4301",
    };
    for (row, old, new) in [
        (Row::CacheMiss, value("yes"), Some(value("yes"))),
        (
            Row::ClientEvents,
            value("private, presence"),
            Some(Reading::Unsupported(refused.to_owned())),
        ),
        (Row::ClientEventsUserId, value("yes"), Some(value("no"))),
        (Row::SeveralChannels, value("once on each"), None),
    ] {
        figures.note(ClusterRole::Old, row, &old);
        if let Some(new) = new {
            figures.note(ClusterRole::New, row, &new);
        }
    }
    ParityRow::all(&figures)
}

/// Clients that moved, of which one did not arrive and said this.
pub(super) fn handover(text: &str) -> HandoverReport {
    let fleet = Fleet { clients: 100_000, over: Duration::from_secs(3_600) };
    let mut figures = HandoverFigures::new(Moves { fleet: Some(fleet), ..moves() });
    let crossed = |ms, missed, lost, on_the_way| Crossed {
        blind: Duration::from_millis(ms),
        took: Duration::from_millis(ms),
        events: 10,
        missed,
        lost,
        on_the_way,
        twice: if missed == 0 { 1_234 } else { 0 },
        only_on_old: 0,
        overlap_needed: (missed == 0).then_some(Duration::from_millis(45)),
    };
    let moved = |way, second: u64, crossed| {
        let at = RunTime::from_millis(second * 1_000);
        Move { way, from: at, until: at, crossed, why: text.to_owned() }
    };
    let moves = [
        moved(Way::Reload, 1, Some(crossed(200, 4, 1, 2))),
        moved(Way::Reload, 2, Some(crossed(300, 3, 0, 0))),
        moved(Way::Reload, 3, None),
        moved(Way::Reload, 4, None),
        moved(Way::Overlap, 5, Some(crossed(0, 0, 0, 0))),
    ];
    let mut tainted = Tainted::default();
    tainted.note(4, TaintReason::RuntimeStall);
    figures.recount(&moves, &tainted);
    HandoverReport::of(&figures, 0.95)
}

/// A run in which everything that comes from outside tries to do harm.
pub(super) fn hostile() -> Report {
    let mut report = report();
    let hostile = || HOSTILE.to_owned();
    report.verdict = Verdict::NoGo;
    report.scenario = hostile();
    report.scenario_digest = hostile();
    report.reason = hostile();
    report.tool.version = hostile();
    report.started_at = hostile();
    report.ended_at = hostile();
    report.instrument.failed = Some(hostile());
    for (check, status) in report.checks.iter_mut().zip([Status::Fail, Status::Inconclusive]) {
        check.status = status;
        check.name = HOSTILE.into();
        check.unit = HOSTILE.into();
        check.detail = hostile();
    }
    for incident in &mut report.incidents {
        incident.at = hostile();
        incident.channel = Some(hostile());
        incident.detail = hostile();
    }
    report.rehearsal = Some(BTreeMap::from([(ClusterRole::New, BTreeMap::from([(hostile(), 3)]))]));
    report.providers = BTreeMap::from([(ClusterRole::New, provider(HOSTILE))]);
    report.mirror = Some(real_events(HOSTILE));
    report.handover = Some(handover(HOSTILE));
    report.parity = parity(HOSTILE);
    if let Some(new) = report.clusters.get_mut(&ClusterRole::New) {
        new.endpoints.insert(EndpointKind::AuthEndpoint, endpoint(HOSTILE));
    }
    report.settings = json!({HOSTILE: {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}});
    report
}

/// A run with more of everything than any form can show.
pub(super) fn monstrous() -> Report {
    let mut report = hostile();
    let much = HOSTILE.repeat(200);
    report.scenario.clone_from(&much);
    report.reason.clone_from(&much);
    let check = Finding { detail: much.clone(), ..report.checks.remove(0) };
    report.checks = vec![check; 2_000];
    let mut incident = report.incidents.remove(0);
    incident.detail = much;
    report.incidents = vec![incident; 5_000];
    report.incidents_dropped = 12_345;
    let counts = (0..5_000).map(|n| (format!("{HOSTILE}{n}"), n));
    report.rehearsal = Some(BTreeMap::from([(ClusterRole::New, counts.collect())]));
    if let Some(mirror) = &mut report.mirror {
        mirror.defects = vec![mirror.defects.remove(0); 1_000];
        let channel = |n| (format!("{HOSTILE}{n}"), ClusterRole::Old);
        mirror.one_sided = (0..1_000).map(channel).collect();
    }
    report.settings = json!(vec![HOSTILE; 5_000]);
    report
}

/// What runs like this one say together.
pub(super) fn pool(report: &Report, runs: usize) -> Pool {
    let run = PooledRun {
        run: report.run,
        started_at: report.started_at.clone(),
        ended_at: report.ended_at.clone(),
        verdict: report.verdict,
        rehearsed: report.is_rehearsed(),
        source: report.scenario.clone(),
        trials: report.clusters.iter().map(|(role, cluster)| (*role, cluster.trials)).collect(),
    };
    let excluded = Excluded { run: report.run, reason: report.reason.clone() };
    Pool {
        schema: SCHEMA,
        scenario: report.scenario.clone(),
        scenario_digest: report.scenario_digest.clone(),
        phase: report.phase,
        looks: Looks::Anytime,
        verdict: report.verdict,
        reason: report.reason.clone(),
        checks: report.checks.clone(),
        clusters: report.addresses(),
        runs: vec![run.clone(); runs],
        agents: Vec::new(),
        excluded: vec![excluded; runs / 2],
        outdated: vec![run; runs / 2],
        history_counts: false,
    }
}
