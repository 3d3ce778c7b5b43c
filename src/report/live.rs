//! What is shown while a run without an end goes on: its verdict as an answer to another program,
//! and what the page of a watch draws.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{ClusterRole, RunId, RunTime};
use crate::verify::account::Account;
use crate::verify::checks::{self, Phase};
use crate::verify::figures::ClusterFigures;
use crate::verify::latency::{Latencies, Sparse};
use crate::verify::record::{Begin, IncidentNote, PlacedIncident, Second};
use crate::verify::tally::BlindCause;
use crate::verify::verdict::{Finding, Verdict};

use super::build::{incident, rfc3339, seconds};
use super::reason::Grounds;
use super::{IncidentReport, SCHEMA, form};

/// The length of a point of the course.
const STEP: Duration = Duration::from_secs(15);
/// Points that are kept: an hour.
const POINTS_MAX: usize = 240;
/// Incidents that are kept, the newest.
const INCIDENTS_MAX: usize = 100;
/// For how long what was last added stands for now; seconds come about once a second.
const CURRENT_FOR: Duration = Duration::from_secs(15);
/// For how long an incident is shown.
const INCIDENTS_FOR: Duration = Duration::from_secs(3_600);

/// One cluster in one step of the course.
#[derive(Clone, Debug, Default)]
struct Step {
    sent: u64,
    arrived: u64,
    lost: u64,
    unaccepted: u64,
    /// Seconds for which witnesses were blind, all together, but for reconnects on purpose.
    blind: f64,
    latencies: Sparse,
}

/// One step of the course.
#[derive(Clone, Debug)]
struct Point {
    from: RunTime,
    verdict: Option<Verdict>,
    tainted: u64,
    clusters: BTreeMap<ClusterRole, Step>,
}

/// How a run went in its last hour.
#[derive(Clone, Debug)]
pub struct Course {
    points: VecDeque<Point>,
    incidents: VecDeque<PlacedIncident>,
    /// Incidents of the last hour for which there was no room.
    more: u64,
    last: RunTime,
    verdict: Option<(Verdict, RunTime)>,
}

impl Default for Course {
    fn default() -> Self {
        let (points, incidents) = (VecDeque::new(), VecDeque::new());
        Self { points, incidents, more: 0, last: RunTime::ZERO, verdict: None }
    }
}

impl Course {
    /// Takes in a second, and what the window came to with it.
    pub fn note(&mut self, second: &Second, window: &Account, verdict: Verdict) {
        let (before, at) = (std::mem::replace(&mut self.last, second.at), second.at);
        if self.verdict.is_none_or(|(known, _)| known != verdict) {
            self.verdict = Some((verdict, at));
        }
        if self.points.back().is_none_or(|point| at.since(point.from) >= STEP) {
            // Steps follow each other without a gap, whatever was late.
            let from = match self.points.back() {
                Some(last) => {
                    let steps = at.since(last.from).as_nanos() / STEP.as_nanos();
                    last.from.after(STEP * u32::try_from(steps).unwrap_or(u32::MAX))
                }
                None => at,
            };
            let (tainted, clusters) = (0, BTreeMap::new());
            self.points.push_back(Point { from, verdict: None, tainted, clusters });
            if self.points.len() > POINTS_MAX {
                self.points.pop_front();
            }
        }
        for (tainted, _) in second.tainted.within(0..=u64::MAX) {
            let of = self.points.iter_mut().rev().find(|point| point.from.second() <= tainted);
            if let Some(point) = of {
                point.tainted += 1;
            }
        }
        self.note_incidents(second);
        let Some(point) = self.points.back_mut() else { return };
        // The worst of a step is what must not be overlooked.
        let worst = |one: Verdict, other: Verdict| match (one, other) {
            (Verdict::NoGo, _) | (_, Verdict::NoGo) => Verdict::NoGo,
            (Verdict::Inconclusive, _) | (_, Verdict::Inconclusive) => Verdict::Inconclusive,
            (Verdict::Go, Verdict::Go) => Verdict::Go,
        };
        point.verdict = Some(point.verdict.map_or(verdict, |known| worst(known, verdict)));
        for (role, cluster, _) in window.clusters() {
            let step = point.clusters.entry(role).or_default();
            let others = cluster.blind.iter().filter(|(cause, _)| **cause != BlindCause::Agent);
            let blind: u64 = others.map(|(_, witnesses)| witnesses).sum();
            step.blind += blind as f64 * seconds(at.since(before));
            let Some(second) = second.clusters.get(&role) else { continue };
            for publications in second.publications.values() {
                step.sent += publications.sent;
                step.unaccepted += publications.rejected + publications.unknown;
            }
            for obligations in second.obligations.values() {
                step.arrived += obligations.delivered + obligations.late;
                step.lost += obligations.lost;
            }
            step.latencies.merge(&second.latencies);
        }
    }

    fn note_incidents(&mut self, second: &Second) {
        for note in &second.incidents {
            match note {
                // What we do ourselves, on purpose, is nothing that anybody must hear of.
                IncidentNote::New(PlacedIncident { cause: Some(BlindCause::Agent), .. }) => {}
                IncidentNote::New(incident) => self.incidents.push_front(incident.clone()),
                // Its witnesses are counted in the report; here it is there already.
                IncidentNote::Again { .. } => {}
            }
        }
        self.more += second.incidents_dropped;
        while self.incidents.len() > INCIDENTS_MAX {
            self.incidents.pop_back();
            self.more += 1;
        }
        while self.incidents.back().is_some_and(|i| second.at.since(i.at) > INCIDENTS_FOR) {
            self.incidents.pop_back();
            self.more = 0;
        }
        if self.incidents.is_empty() {
            self.more = 0;
        }
    }

    /// Since when the verdict is what it is.
    fn since(&self) -> Option<RunTime> {
        self.verdict.map(|(_, since)| since)
    }
}

/// The verdict on the window of a watch, as it is now.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VerdictNow {
    /// The version of this form.
    #[schemars(extend("const" = SCHEMA))]
    schema: u32,
    /// The verdict.
    verdict: Verdict,
    /// Whether it is a proof: it never is.
    proof: bool,
    /// The length of the window, at least, in seconds.
    window_seconds: f64,
    /// The run.
    run: RunId,
    /// The scenario's name.
    scenario: String,
    /// What it is for.
    phase: Phase,
    /// When the last fact was in: RFC 3339.
    #[schemars(with = "form::Instant")]
    at: String,
    /// What the verdict rests on, in words.
    reasons: Vec<String>,
    /// Every check.
    checks: Vec<Finding>,
}

impl VerdictNow {
    /// Judges a window of this length, to which nothing was added for `age`. What is stale is never
    /// GO.
    pub fn of(window: &Account, length: Duration, age: Duration) -> Self {
        let begin = window.begin();
        let (judged, mut reasons, checks) = judge(window);
        let verdict = current(judged, age);
        if verdict != judged {
            reasons = vec![format!("nothing was added for {} s", age.as_secs())];
        }
        Self {
            schema: SCHEMA,
            verdict,
            proof: false,
            window_seconds: seconds(length),
            run: begin.run,
            scenario: begin.scenario.clone(),
            phase: begin.requirements.phase,
            at: rfc3339(begin, window.at()),
            reasons,
            checks,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        super::json::pretty(self)
    }
}

/// What a verdict of so long ago stands for.
fn current(verdict: Verdict, age: Duration) -> Verdict {
    if verdict == Verdict::Go && age > CURRENT_FOR { Verdict::Inconclusive } else { verdict }
}

fn judge(window: &Account) -> (Verdict, Vec<String>, Vec<Finding>) {
    let (figures, asked) = (window.figures(), &window.begin().requirements);
    let findings = checks::judge(figures, asked);
    let verdict = Verdict::of(&findings);
    let grounds = Grounds { verdict, findings: &findings, figures, asked };
    let reasons = match verdict {
        Verdict::Go => vec![grounds.in_favour()],
        Verdict::NoGo | Verdict::Inconclusive => grounds.against(),
    };
    (verdict, reasons, findings)
}

/// What the page of a watch shows, as `/api/live` has it.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    schema: u32,
    version: String,
    run: String,
    scenario: String,
    phase: Phase,
    now: String,
    started_at: Option<String>,
    window_seconds: f64,
    verdict: Verdict,
    verdict_since: Option<String>,
    reasons: Vec<String>,
    checks: Vec<Finding>,
    clusters: BTreeMap<ClusterRole, LiveCluster>,
    events: LiveEvents,
    tainted_seconds: u64,
    series: Series,
    incidents: Vec<IncidentReport>,
    incidents_more: u64,
    reload: Reload,
}

#[derive(Clone, Debug, Serialize)]
struct LiveCluster {
    connections: LiveConnections,
    window: Counts,
    pending: u64,
    overdue: u64,
    loss_upper_bound: f64,
    latency_ms: Quantiles,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct LiveConnections {
    ready: u64,
    lost: u64,
    blind_witnesses: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Counts {
    sent: u64,
    accepted: u64,
    rejected: u64,
    unknown: u64,
    unsent: u64,
    delivered: u64,
    late: u64,
    lost: u64,
    missed_offline: u64,
    duplicates: u64,
    reordered: u64,
    corrupt: u64,
    misrouted: u64,
    unexpected: u64,
    trials: u64,
    publications_lost: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Quantiles {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct LiveEvents {
    covered: u64,
    uncovered: u64,
    covered_since: Option<String>,
    covered_until: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Series {
    from: Option<String>,
    step_seconds: f64,
    points: Vec<SeriesPoint>,
}

#[derive(Clone, Debug, Serialize)]
struct SeriesPoint {
    verdict: Option<Verdict>,
    tainted: u64,
    clusters: BTreeMap<ClusterRole, SeriesCluster>,
}

#[derive(Clone, Debug, Serialize)]
struct SeriesCluster {
    sent: u64,
    arrived: u64,
    lost: u64,
    unaccepted: u64,
    blind_seconds: f64,
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
}

/// How the last try to read the scenario anew came out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Reload {
    /// When it was read last, and taken: RFC 3339; `None` if only at the start.
    pub at: Option<String>,
    /// What was wrong with it since; `None` if nothing.
    pub error: Option<String>,
}

impl Live {
    /// Everything as it is now. `started` is when publishing began, `ready` how many connections
    /// each cluster has.
    pub fn of(
        window: &Account,
        length: Duration,
        course: &Course,
        started: Option<RunTime>,
        ready: &BTreeMap<ClusterRole, u64>,
        reload: Reload,
    ) -> Self {
        let begin = window.begin();
        let at = |at: RunTime| rfc3339(begin, at);
        let (verdict, reasons, checks) = judge(window);
        let clusters = window.clusters().map(|(role, figures, _)| {
            let ready = ready.get(&role).copied().unwrap_or_default();
            (role, live_cluster(window, figures, ready))
        });
        let events = &window.figures().events;
        Self {
            schema: SCHEMA,
            version: begin.version.clone(),
            run: begin.run.to_string(),
            scenario: begin.scenario.clone(),
            phase: begin.requirements.phase,
            now: at(window.at()),
            started_at: started.map(at),
            window_seconds: seconds(length),
            verdict,
            verdict_since: course.since().map(at),
            reasons,
            checks,
            clusters: clusters.collect(),
            events: LiveEvents {
                covered: events.covered,
                uncovered: events.uncovered_total(),
                covered_since: events.covered_since.map(at),
                covered_until: events.covered_until.map(at),
            },
            tainted_seconds: window.figures().tainted_seconds,
            series: series(course, begin),
            incidents: course.incidents.iter().map(|i| incident(window, i)).collect(),
            incidents_more: course.more,
            reload,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        super::json::compact(self)
    }
}

fn live_cluster(window: &Account, figures: &ClusterFigures, ready: u64) -> LiveCluster {
    let asked = &window.begin().requirements;
    let (sent, owed) = (figures.publications_total(), figures.obligations_total());
    let (beside, trials) = (figures.beside, figures.trials);
    LiveCluster {
        connections: LiveConnections {
            ready,
            lost: figures.closed_by_code.values().sum::<u64>() + figures.given_up,
            blind_witnesses: figures.blind.values().sum(),
        },
        window: Counts {
            sent: sent.sent,
            accepted: sent.accepted,
            rejected: sent.rejected,
            unknown: sent.unknown,
            unsent: sent.unsent,
            delivered: owed.delivered,
            late: owed.late,
            lost: owed.lost,
            missed_offline: owed.missed_offline,
            duplicates: beside.duplicates,
            reordered: beside.reordered,
            corrupt: beside.corrupt,
            misrouted: beside.misrouted,
            unexpected: beside.unexpected,
            trials: trials.trials,
            publications_lost: trials.failures(),
        },
        pending: figures.pending,
        overdue: figures.overdue,
        loss_upper_bound: asked.upper_bound(trials.failures(), trials.trials),
        latency_ms: Quantiles {
            p50: figures.latencies.quantile_ms(0.5),
            p90: figures.latencies.quantile_ms(0.9),
            p99: figures.latencies.quantile_ms(0.99),
            max: figures.latencies.max_ms(),
        },
    }
}

fn series(course: &Course, begin: &Begin) -> Series {
    let point = |point: &Point| SeriesPoint {
        verdict: point.verdict,
        tainted: point.tainted,
        clusters: point.clusters.iter().map(|(role, step)| (*role, series_cluster(step))).collect(),
    };
    Series {
        from: course.points.front().map(|point| rfc3339(begin, point.from)),
        step_seconds: seconds(STEP),
        points: course.points.iter().map(point).collect(),
    }
}

fn series_cluster(step: &Step) -> SeriesCluster {
    let mut latencies = Latencies::default();
    latencies.add(&step.latencies);
    let n = latencies.count();
    // Of as few as there are: it is drawn, and nothing is concluded from it.
    let at = |hundredths: u64| latencies.rank_ms((n * hundredths).div_ceil(100));
    SeriesCluster {
        sent: step.sent,
        arrived: step.arrived,
        lost: step.lost,
        unaccepted: step.unaccepted,
        blind_seconds: step.blind,
        p50: at(50),
        p90: at(90),
        p99: at(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_that_is_stale_is_never_go() {
        let go = |seconds| current(Verdict::Go, Duration::from_secs(seconds));
        assert_eq!([go(0), go(15), go(16)], [Verdict::Go, Verdict::Go, Verdict::Inconclusive]);
        assert_eq!(current(Verdict::NoGo, Duration::from_secs(99)), Verdict::NoGo);
    }
}
