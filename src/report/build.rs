//! From an account to its report.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use crate::model::known::{self, Known};
use crate::model::{ClusterRole, RunTime};
use crate::scenario::settings;
use crate::verify::account::{Account, ClusterAccount};
use crate::verify::checks::{self, Phase, Requirements};
use crate::verify::figures::{ClusterFigures, Figures};
use crate::verify::latency::Latencies;
use crate::verify::record::{Begin, End, PlacedIncident};
use crate::verify::stats;
use crate::verify::timeline::Slot;
use crate::verify::verdict::{Finding, Status, Verdict};

use super::endpoint::EndpointReport;
use super::handover::HandoverReport;
use super::load::LoadReport;
use super::mirror::RealEventsReport;
use super::parity::ParityRow;
use super::providers;
use super::reason::Grounds;
use super::webhooks::WebhooksReport;
use super::{
    Advice, AuthorisedReport, BlindReport, BlindWindowReport, ClusterReport, ConnectionsReport,
    ControlReport, EventsReport, IncidentReport, InstrumentReport, ObligationsReport,
    OccupancyReport, Report, SCHEMA, SlotReport, StratumReport, Summary, TaintReport,
    TimelineReport, Tool,
};

/// An instant as RFC 3339, to the millisecond, always of the same length.
pub(super) fn rfc3339(begin: &Begin, at: RunTime) -> String {
    let wall = begin.origin + at.since(RunTime::ZERO);
    rfc3339_of(i128::try_from(wall.as_nanos()).unwrap_or_default())
}

/// A time of day, in nanoseconds since the Unix epoch, in the same form.
pub(super) fn rfc3339_of(nanos: i128) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else { return String::new() };
    let ((year, month, day), (hour, minute, second, milli)) =
        (at.to_calendar_date(), at.to_hms_milli());
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

impl Report {
    /// Judges a run by its account and its end, `None` if there is none, and writes it down.
    pub fn new(account: &Account, end: Option<&End>) -> Self {
        let (begin, figures) = (account.begin(), account.figures());
        let findings = checks::judge(figures, &begin.requirements);
        let verdict = verdict(&findings, end);
        let (incidents, incidents_dropped) = account.incidents();
        let started = account.publishing().map(|(first, _)| first);
        let mut incidents: Vec<_> = incidents.iter().collect();
        incidents.sort_by_key(|incident| incident.at);
        let at = end.map_or(account.at(), |end| end.at);
        let clusters: BTreeMap<_, _> = account
            .clusters()
            .map(|(role, cluster, known)| {
                let mut report = cluster_report(figures, cluster, known, &begin.requirements, at);
                let read = known.occupancy.as_ref().zip(cluster.occupancy.as_ref());
                report.occupancy = read.map(|(r, f)| OccupancyReport::of(account, r, f));
                (role, report)
            })
            .collect();
        let asked = &begin.requirements;
        let grounds = Grounds { verdict, findings: &findings, figures, asked };
        let reason = grounds.of_run(end);
        Self {
            schema: SCHEMA,
            tool: Tool::of(begin.version.clone()),
            run: begin.run,
            member: begin.member.clone(),
            scenario: begin.scenario.clone(),
            scenario_digest: settings::digest(&begin.settings),
            phase: begin.requirements.phase,
            proof: asked.looks.proves(),
            looks: begin.requirements.looks,
            seed: begin.seed,
            started_at: started.map_or(String::new(), |at| rfc3339(begin, at)),
            ended_at: rfc3339(begin, at),
            publishing_seconds: seconds(figures.published_for),
            planned_seconds: seconds(begin.publishing),
            cut_short: end.is_some_and(|end| end.cut_short),
            complete: end.is_some(),
            verdict,
            reason,
            checks: findings,
            clusters,
            events: events_report(begin, figures),
            mirror: RealEventsReport::of(account),
            handover: handover(figures, begin),
            published: figures.published.clone(),
            webhooks_refused: figures.webhooks_refused.clone(),
            occupied_channels: figures.occupied,
            parity: figures.parity.as_ref().map(ParityRow::all).unwrap_or_default(),
            controls: controls(figures, begin.requirements.phase),
            rehearsal: end.and_then(|end| end.rehearsal.clone()),
            instrument: instrument_report(figures, end.and_then(|end| end.failed.clone())),
            incidents: incidents.iter().map(|i| incident(account, i)).collect(),
            incidents_dropped,
            advice: advice(account),
            providers: providers::of(account),
            blind_windows: blind_windows(account),
            timeline: timeline(account),
            gate: begin.requirements.limits.clone(),
            settings: begin.settings.clone(),
        }
    }
}

/// The verdict on findings. Without an end of the record, or where the agent itself failed, nothing
/// is acquitted.
fn verdict(findings: &[Finding], end: Option<&End>) -> Verdict {
    let is_sound = end.is_some_and(|end| end.failed.is_none());
    match Verdict::of(findings) {
        Verdict::Go if !is_sound => Verdict::Inconclusive,
        verdict => verdict,
    }
}

fn handover(figures: &Figures, begin: &Begin) -> Option<HandoverReport> {
    let confidence = begin.requirements.limits.confidence;
    figures.handover.as_ref().map(|handover| HandoverReport::of(handover, confidence))
}

pub(super) fn incident(account: &Account, incident: &PlacedIncident) -> IncidentReport {
    let channel = incident.stream.and_then(|s| account.channel(s));
    let start = account.publishing().map_or(RunTime::ZERO, |(first, _)| first);
    let nanos = i128::from(incident.at.0) - i128::from(start.0);
    IncidentReport {
        at: rfc3339(account.begin(), incident.at),
        second: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or_default(),
        kind: incident.kind,
        cluster: incident.cluster,
        channel: channel.map(|c| c.as_str().to_owned()),
        stream: incident.stream.map(|s| s.0),
        seq: incident.seq.map(|s| s.0),
        witnesses: incident.witnesses,
        cause: incident.cause,
        detail: incident.detail.clone(),
    }
}

fn cluster_report(
    figures: &Figures,
    cluster: &ClusterFigures,
    known: &ClusterAccount,
    asked: &Requirements,
    at: RunTime,
) -> ClusterReport {
    let trials = &cluster.trials;
    let confidence = asked.limits.confidence;
    let hours = seconds(figures.observed()) / 3_600.0;
    let bursts = stats::poisson_upper_bound(trials.incidents, confidence);
    let strata = figures.strata.iter().chain(cluster.obligations.keys());
    let stratum = |stratum: &_| StratumReport {
        trials: cluster.strata.get(stratum).copied().unwrap_or_default(),
        obligations: cluster.obligations.get(stratum).copied().unwrap_or_default(),
    };
    ClusterReport {
        publications: cluster.publications_total(),
        publications_by_route: cluster.publications.clone(),
        obligations_opened: cluster.obligations_opened,
        obligations: ObligationsReport {
            counted: cluster.obligations_total(),
            pending: cluster.pending,
        },
        strata: strata.map(|s| (*s, stratum(s))).collect(),
        publications_lost: trials.publications_lost,
        publications_partially_lost: trials.publications_partially_lost,
        trials: trials.trials,
        unattributed: trials.unattributed + cluster.excused.total(),
        unattributed_losses: trials.unattributed,
        excused: cluster.excused,
        beside: cluster.beside,
        loss_upper_bound: asked.upper_bound(trials.failures(), trials.trials),
        confidence,
        loss_incidents: trials.incidents,
        incidents_per_hour_upper_bound: (hours > 0.0 && trials.trials > 0).then(|| bursts / hours),
        latency_ms: Summary::of(&cluster.latencies),
        latency_tainted_ms: Summary::of(&cluster.tainted_latencies),
        latency_opening_ms: Summary::of(&cluster.opening_latencies),
        latency_closing_ms: Summary::of(&cluster.closing_latencies),
        latency_first_witness_ms: Summary::of(&cluster.first_witness_latencies),
        connect_ms: Summary::of(&cluster.connect),
        connect_steps_ms: cluster
            .connect_steps
            .iter()
            .map(|(step, latencies)| (*step, Summary::of(latencies)))
            .collect(),
        slowest_connect_tainted: cluster.is_slowest_connect_tainted,
        publish_ms: Summary::of(&cluster.publish),
        auth_ms: Summary::of(&cluster.auth),
        authorised: AuthorisedReport { confirmed: cluster.confirmed, refused: cluster.refused },
        connections: ConnectionsReport {
            opened: cluster.opened,
            failed: cluster.failed,
            closed_by_code: cluster.closed_by_code.clone(),
            given_up: cluster.given_up,
            recycled: cluster.recycled,
        },
        blind: blind(cluster, known, at),
        http_responses: cluster.responses.clone(),
        throttled: cluster.throttled,
        left_behind: cluster.left_behind,
        occupancy: None,
        webhooks: cluster.webhooks.as_ref().map(WebhooksReport::of),
        load: cluster.load.as_ref().map(LoadReport::of),
        endpoints: cluster
            .endpoints
            .iter()
            .map(|(kind, endpoint)| (*kind, EndpointReport::of(endpoint)))
            .collect(),
    }
}

fn blind(cluster: &ClusterFigures, known: &ClusterAccount, at: RunTime) -> BlindReport {
    let all = cluster.windows_total();
    let began = cluster.windows.iter().filter(|(_, w)| w.began > 0);
    let missed = cluster.windows.iter().filter(|(_, w)| w.missed > 0);
    BlindReport {
        windows: all.began,
        ended: all.ended,
        seconds: seconds(known.lengths(cluster, at).values().sum()),
        longest_seconds: seconds(known.longest(cluster, at)),
        longest_ended_seconds: seconds(cluster.longest_window),
        windows_by_cause: began.map(|(cause, w)| (*cause, w.began)).collect(),
        missed_by_cause: missed.map(|(cause, w)| (*cause, w.missed)).collect(),
        by_cause: cluster.windows.clone(),
    }
}

fn events_report(begin: &Begin, figures: &Figures) -> EventsReport {
    let events = &figures.events;
    let uncovered = events.uncovered_total();
    let at = |at: Option<RunTime>| at.map(|at| rfc3339(begin, at));
    EventsReport {
        total: events.covered + uncovered,
        covered: events.covered,
        uncovered,
        uncovered_by_cause: events.uncovered.clone(),
        trials: events.trials,
        failures_by_cause: events.failures.clone(),
        unsent: events.unsent,
        pairs: events.pairs,
        covered_since: at(events.covered_since),
        covered_until: at(events.covered_until),
    }
}

fn controls(figures: &Figures, phase: Phase) -> Vec<ControlReport> {
    let of = |(role, cluster): (&ClusterRole, &ClusterFigures)| {
        let status = figures.controls.iter().map(|control| ControlReport {
            name: *control,
            cluster: *role,
            status: cluster.controls.get(control).map_or(Status::Inconclusive, |s| (*s).into()),
        });
        status.collect::<Vec<_>>()
    };
    // Where the run subscribes to nothing it can prove nothing.
    let tried = figures.clusters.iter().filter(|(role, _)| phase.subscribes_on(**role));
    tried.flat_map(of).collect()
}

fn instrument_report(figures: &Figures, failed: Option<String>) -> InstrumentReport {
    InstrumentReport {
        tainted_seconds: figures.tainted_seconds,
        seconds: figures.seconds,
        reasons: figures
            .taint_reasons
            .iter()
            .map(|(reason, seconds)| TaintReport { reason: *reason, seconds: *seconds })
            .collect(),
        schedule_lag_ms: Summary::of(&figures.lag),
        runtime_stall_ms_max: seconds(figures.stall_max) * 1e3,
        lapped: figures.lapped,
        unwatched: figures.unwatched.clone(),
        failed,
    }
}

/// Known failures: by the codes of closes, the status of answers, and what the first incidents say.
fn advice(account: &Account) -> Vec<Advice> {
    let (incidents, _) = account.incidents();
    let mut advice = Vec::new();
    for (role, cluster, _) in account.clusters() {
        let mut seen: BTreeMap<&str, (&Known, u64)> = BTreeMap::new();
        let mut note = |found: Option<&'static Known>, count: u64| {
            if let Some(found) = found {
                seen.entry(found.name).or_insert((found, 0)).1 += count;
            }
        };
        for (code, count) in &cluster.closed_by_code {
            note(known::of_code(*code), *count);
        }
        for (status, count) in &cluster.responses {
            note(known::of_status(*status), *count);
        }
        for incident in incidents.iter().filter(|incident| incident.cluster == role) {
            note(known::of_text(&incident.detail), 1);
        }
        advice.extend(seen.into_values().map(|(known, count)| Advice {
            cluster: role,
            failure: known.name.into(),
            count,
            cause: known.cause.into(),
            cure: known.cure.into(),
        }));
    }
    advice
}

fn blind_windows(account: &Account) -> Vec<BlindWindowReport> {
    let Some((start, _)) = account.publishing() else { return Vec::new() };
    let since = |at: RunTime| (at.0 as f64 - start.0 as f64) / 1e9;
    let of = |(role, _, known): (ClusterRole, _, &ClusterAccount)| {
        let windows = known.windows.iter().map(|window| BlindWindowReport {
            cluster: role,
            witness: window.witness.0,
            from: since(window.from),
            until: window.until.map(since),
            cause: window.cause,
        });
        windows.collect::<Vec<_>>()
    };
    account.clusters().flat_map(of).collect()
}

fn timeline(account: &Account) -> TimelineReport {
    let Some((first, last)) = account.publishing() else { return TimelineReport::default() };
    let timeline = account.timeline();
    let slot = |slot: &Slot| {
        let mut latencies = Latencies::default();
        latencies.add(&slot.latencies);
        SlotReport {
            sent: slot.sent,
            unaccepted: slot.unaccepted,
            arrived: slot.arrived,
            p50: latencies.rank_ms(latencies.count().div_ceil(2)),
            p90: latencies.rank_ms((latencies.count() * 9).div_ceil(10)),
            max: latencies.max_ms(),
        }
    };
    let slots = |role: ClusterRole| timeline.slots(role).iter().map(slot).collect();
    let tainted = account.tainted().within(first.second()..=last.second());
    TimelineReport {
        slot_seconds: seconds(timeline.width()),
        clusters: account.clusters().map(|(role, ..)| (role, slots(role))).collect(),
        tainted: tainted.map(|(second, _)| second - first.second()).collect(),
    }
}
