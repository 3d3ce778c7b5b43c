//! Several runs of one scenario, judged together: their figures are added up.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::model::{ClusterRole, Member, MemberRole, RunId};
use crate::verify::checks::{self, Looks, Phase, Requirements};
use crate::verify::figures::Figures;
use crate::verify::verdict::{Finding, Verdict};

use super::figures::BrokenHistogram;
use super::reason::of_several;
use super::text::{grouped, shown, write_addresses, write_checks, write_verdict};
use super::{AgentReport, Report, SCHEMA, form};

/// A run may have ended so much later than now: clocks differ.
const CLOCK_SLACK: Duration = Duration::from_secs(300);

/// A run that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Excluded {
    /// Which.
    pub run: RunId,
    /// Why, as whoever left it out said.
    pub reason: String,
}

/// One of the runs that were judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PooledRun {
    /// Which.
    pub run: RunId,
    /// When its publishing began: RFC 3339; empty if it did not.
    #[schemars(with = "form::InstantOrNothing")]
    pub started_at: String,
    /// When it ended: RFC 3339.
    #[schemars(with = "form::Instant")]
    pub ended_at: String,
    /// Its own verdict.
    pub verdict: Verdict,
    /// Whether its clusters were a rehearsal's own.
    pub rehearsed: bool,
    /// Where it is from: a file, or the history.
    pub source: String,
    /// Trials on each cluster.
    pub trials: BTreeMap<ClusterRole, u64>,
}

impl PooledRun {
    /// The trials on each cluster, in words.
    pub(super) fn shown_trials(&self) -> String {
        shown_trials(&self.trials)
    }
}

/// Trials on each cluster, in words.
pub(super) fn shown_trials(trials: &BTreeMap<ClusterRole, u64>) -> String {
    let shown = trials.iter().map(|(role, n)| format!("{} on {role}", grouped(*n)));
    shown.collect::<Vec<_>>().join(", ")
}

/// Why runs cannot be judged together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PoolError {
    /// There is none.
    #[error("there is no run to judge: every one was left out")]
    Nothing,
    /// They are of different scenarios.
    #[error(
        "{0} and {1} are of different scenarios, or of the same with other clusters or limits; \
         judge them apart"
    )]
    OtherScenario(String, String),
    /// One tells of a part of a run.
    #[error(
        "{0} tells of {1} alone, and the others may have lost what it did not; judge the agents of a \
         run together, with --prometheus"
    )]
    Part(String, Member),
    /// None of them is the one to be left out.
    #[error(
        "--exclude {0}: no run that is judged has an id that begins so; history list names them"
    )]
    NoSuchRun(String),
    /// Several of them may be meant.
    #[error("--exclude {0}: several runs have ids that begin so; give more of it")]
    Ambiguous(String),
    /// One says two things of the same run.
    #[error("{0} and {1} tell of the same run, and not the same; one of them was changed")]
    Contradiction(String, String),
    /// A histogram cannot be read.
    #[error("{0}: {1}")]
    Histogram(String, BrokenHistogram),
}

/// What several runs say together, or several agents that did one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pool {
    /// The version of this form.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// The scenario's name.
    pub scenario: String,
    /// Equal for runs of one scenario, whatever their length, rate and seed.
    pub scenario_digest: String,
    /// What it was for.
    pub phase: Phase,
    /// When bounds were looked at: `once` for one run of planned length. Who may run again until it
    /// says GO looks again and again, so several are judged by bounds that hold at all times.
    pub looks: Looks,
    /// The verdict.
    pub verdict: Verdict,
    /// Its reasons, in one paragraph.
    pub reason: String,
    /// What it rests on.
    pub checks: Vec<Finding>,
    /// What each cluster is; empty for clusters that a rehearsal brought along.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<ClusterRole, String>,
    /// The runs, in the order of their end.
    pub runs: Vec<PooledRun>,
    /// The agents that did one run together, by shard and region; none where runs are judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentReport>,
    /// Runs that were left out.
    pub excluded: Vec<Excluded>,
    /// Runs of the last day that the history holds, and that ended too long ago to count. Whoever
    /// saw them has looked all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<PooledRun>,
    /// Whether the runs that the history holds were asked for, and count.
    pub history_counts: bool,
}

/// A report with its source, as people would name it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Whether somebody named it, and it was not found in the history.
    pub is_named: bool,
    /// The report.
    pub report: Report,
}

/// What runs may be judged by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The present time of day: since the Unix epoch.
    pub now: Duration,
    /// Runs that ended longer ago are stale.
    pub max_age: Duration,
    /// Runs that are left out: the beginning of each one's id, and why.
    pub excluded: Vec<(String, String)>,
    /// Whether the runs that the history holds were asked for.
    pub history_counts: bool,
    /// Whether rehearsals are judged as if their clusters were anybody's.
    pub rehearsals_count: bool,
}

impl Report {
    /// Whether its clusters were a rehearsal's own, which is known before it has an end.
    pub fn is_rehearsed(&self) -> bool {
        self.rehearsal.is_some()
            || self.settings.get("clusters").is_some_and(|clusters| clusters == "embedded")
    }

    /// How long before `now` the run ended; `None` if it says no such time, or ended after it.
    pub fn age(&self, now: Duration) -> Option<Duration> {
        let ended = OffsetDateTime::parse(&self.ended_at, &Rfc3339).ok()?;
        let ended = u64::try_from(ended.unix_timestamp_nanos()).ok().map(Duration::from_nanos)?;
        (now + CLOCK_SLACK).checked_sub(ended).map(|age| age.saturating_sub(CLOCK_SLACK))
    }
}

impl Pool {
    /// Judges runs together.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn new(sources: Vec<Source>, rules: &Rules) -> Result<Self, PoolError> {
        if let Some(part) = sources.iter().find(|source| source.report.member.has_others()) {
            return Err(PoolError::Part(part.name.clone(), part.report.member.clone()));
        }
        let mut sources = distinct(sources)?;
        let excluded = excluded(&sources, rules)?;
        sources.retain(|source| excluded.iter().all(|e| e.run != source.report.run));
        let is_outdated = |source: &mut Source| {
            !source.is_named && source.report.age(rules.now).is_some_and(|age| age > rules.max_age)
        };
        let outdated: Vec<_> = sources.extract_if(.., is_outdated).collect();
        // Who looked last knows best, whoever began first.
        sources.sort_by(|a, b| a.report.ended_at.cmp(&b.report.ended_at));
        let Some(first) = sources.first() else { return Err(PoolError::Nothing) };
        if let Some(other) =
            sources.iter().find(|s| s.report.scenario_digest != first.report.scenario_digest)
        {
            return Err(PoolError::OtherScenario(first.name.clone(), other.name.clone()));
        }
        let asked = Requirements {
            phase: first.report.phase,
            // Parts of a run are not judged by their reports.
            role: MemberRole::Both,
            looks: looks(&sources, &outdated, &excluded),
            limits: first.report.gate.clone(),
        };
        let figures = add_up(&sources)?;
        let findings = checks::judge(&figures, &asked);
        let mut unfit = unfit(&sources, rules);
        unfit.extend(outdated.iter().filter_map(outdated_against));
        let (verdict, reason) = of_several(&findings, &figures, &asked, unfit);
        Ok(Self {
            schema: SCHEMA,
            scenario: first.report.scenario.clone(),
            scenario_digest: first.report.scenario_digest.clone(),
            phase: asked.phase,
            looks: asked.looks,
            verdict,
            reason,
            checks: findings,
            clusters: first.report.addresses(),
            runs: sources.iter().map(run).collect(),
            agents: Vec::new(),
            excluded,
            outdated: outdated.iter().map(run).collect(),
            history_counts: rules.history_counts,
        })
    }

    /// The outcome as JSON with a newline at its end.
    pub fn to_json(&self) -> String {
        // Every map key is a string, so this cannot fail.
        super::json::pretty(self)
    }

    /// How many runs or agents are judged, in words.
    pub(super) fn counted(&self) -> String {
        if let [first, ..] = self.agents.as_slice() {
            let several = if self.agents.len() == 1 { "agent" } else { "agents together" };
            return format!("{} {several}, run {}", self.agents.len(), first.run);
        }
        let several = if self.runs.len() == 1 { "run" } else { "runs together" };
        format!("{} {several}", self.runs.len())
    }

    /// On what terms they are judged, where they are not the usual ones.
    pub(super) fn conditions(&self) -> Vec<String> {
        let mut conditions = Vec::new();
        if !self.history_counts && self.agents.is_empty() {
            conditions.push("left out by --no-history: whatever else the history holds".to_owned());
        }
        if self.looks == Looks::Anytime {
            let count = self.runs.len() + self.outdated.len() + self.excluded.len();
            let needed = self.checks.iter().find(|finding| finding.name == "evidence");
            let needed = needed.and_then(|finding| finding.limit).map_or(0, |limit| limit as u64);
            let needed = match needed {
                2.. if self.phase.publishes() => format!(", {}", grouped(needed)),
                _ => String::new(),
            };
            let why = if !self.agents.is_empty() {
                "because other runs of the scenario were seen".to_owned()
            } else if count == 1 {
                "as its run was until proven".to_owned()
            } else {
                format!("because there were {count} runs")
            };
            conditions.push(format!(
                "judged by bounds that hold however often one looks, {why}: they take more trials\
                 {needed}"
            ));
        }
        conditions
    }

    /// The outcome for a terminal.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{} ({}), {}", shown(&self.scenario), self.phase.as_str(), self.counted())?;
        write_addresses(out, &self.clusters)?;
        writeln!(out)?;
        for run in &self.runs {
            let rehearsed = if run.rehearsed { ", rehearsed" } else { "" };
            let (start, run_id, verdict) = (&run.started_at, run.run, run.verdict.as_str());
            writeln!(out, "{start} {run_id} {verdict}{rehearsed}")?;
            writeln!(out, "  trials: {}; from {}", run.shown_trials(), run.source)?;
        }
        for agent in &self.agents {
            let (part, verdict) = (agent.shown_part(), agent.verdict.as_str());
            let colon = if agent.ended_at.is_empty() { ":" } else { "" };
            writeln!(out, "{}{colon} {part} {verdict}", agent.shown_end())?;
            writeln!(out, "  trials: {}; from {}", agent.shown_trials(), agent.instance)?;
        }
        for PooledRun { run, verdict, ended_at, .. } in &self.outdated {
            let verdict = verdict.as_str();
            writeln!(out, "too old to count by --max-age: {run} {verdict}, ended {ended_at}")?;
        }
        for Excluded { run, reason } in &self.excluded {
            writeln!(out, "left out {run}: {reason}")?;
        }
        for condition in self.conditions() {
            writeln!(out, "{condition}")?;
        }
        writeln!(out)?;
        write_checks(out, &self.checks)?;
        write_verdict(out, self.verdict, &self.reason)
    }
}

/// Each run once. Two sources that tell of one run must tell the same.
fn distinct(sources: Vec<Source>) -> Result<Vec<Source>, PoolError> {
    let mut distinct: Vec<Source> = Vec::new();
    for source in sources {
        match distinct.iter().find(|known| known.report.run == source.report.run) {
            None => distinct.push(source),
            Some(known) if tell_the_same(&known.report, &source.report) => {}
            Some(known) => {
                return Err(PoolError::Contradiction(known.name.clone(), source.name));
            }
        }
    }
    Ok(distinct)
}

/// Whether two reports of one run rest on the same figures, and on all else that is judged by.
/// Words may differ: another version may have chosen them.
fn tell_the_same(one: &Report, other: &Report) -> bool {
    let figures = |report: &Report| report.figures().ok();
    let terms = |report: &Report| {
        let Report { phase, looks, complete, .. } = report;
        (*phase, *looks, *complete, report.is_rehearsed(), report.addresses())
    };
    one == other
        || one.scenario_digest == other.scenario_digest
            && one.gate == other.gate
            && one.ended_at == other.ended_at
            && one.instrument.failed == other.instrument.failed
            && terms(one) == terms(other)
            && figures(one).is_some_and(|of_one| Some(of_one) == figures(other))
}

/// What a run that is too old to count says against GO all the same: whoever could choose, after
/// the fact, from when on runs count, would choose a time after those that were not GO.
fn outdated_against(source: &Source) -> Option<String> {
    let Report { run, verdict, .. } = &source.report;
    let verdict = match verdict {
        Verdict::Go => return None,
        verdict => verdict.as_str(),
    };
    Some(format!(
        "{run} of the last day was {verdict} and is older than --max-age allows; judge it as well, \
         or leave it out with --exclude and say why"
    ))
}

/// The runs that are left out, each by the one id that begins so.
fn excluded(sources: &[Source], rules: &Rules) -> Result<Vec<Excluded>, PoolError> {
    let runs: Vec<_> = sources.iter().map(|source| source.report.run).collect();
    left_out(&runs, &rules.excluded)
}

/// Those of these runs that are left out, each by the beginning of its id, and why.
///
/// # Errors
/// There is no such run, or several are.
pub fn left_out(runs: &[RunId], asked: &[(String, String)]) -> Result<Vec<Excluded>, PoolError> {
    let one = |(begins, reason): &(String, String)| {
        let mut meant = runs.iter().filter(|run| run.to_string().starts_with(begins));
        match (meant.next(), meant.next()) {
            (Some(run), None) => Ok(Excluded { run: *run, reason: reason.clone() }),
            (None, _) => Err(PoolError::NoSuchRun(begins.clone())),
            (Some(_), Some(_)) => Err(PoolError::Ambiguous(begins.clone())),
        }
    };
    asked.iter().map(one).collect()
}

/// Who leaves a run out has looked at it.
fn looks(sources: &[Source], outdated: &[Source], excluded: &[Excluded]) -> Looks {
    match (sources, outdated, excluded) {
        ([only], [], []) => only.report.looks,
        _ => Looks::Anytime,
    }
}

fn add_up(sources: &[Source]) -> Result<Figures, PoolError> {
    let mut sum: Option<Figures> = None;
    for source in sources {
        let broken = |error| PoolError::Histogram(source.name.clone(), error);
        let figures = source.report.figures().map_err(broken)?;
        match &mut sum {
            None => sum = Some(figures),
            Some(sum) => sum.merge(&figures),
        }
    }
    sum.ok_or(PoolError::Nothing)
}

/// What keeps runs from being evidence, whatever they say.
fn unfit(sources: &[Source], rules: &Rules) -> Vec<String> {
    let mut unfit = Vec::new();
    let allowed = humantime::format_duration(rules.max_age);
    for Source { name, report, .. } in sources {
        match report.age(rules.now) {
            None => unfit.push(format!(
                "{name} says no time of its end, or one that has not come; check the clocks"
            )),
            Some(age) if age > rules.max_age => {
                let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
                unfit.push(format!(
                    "{name} is stale: it ended {age} ago, at most {allowed} is allowed"
                ));
            }
            Some(_) => {}
        }
        if report.is_rehearsed() && !rules.rehearsals_count {
            unfit.push(format!(
                "{name} was rehearsed, on clusters that the canary brought along: it says nothing \
                 of yours (--rehearsals judges it all the same)"
            ));
        }
        if !report.proof {
            unfit.push(format!(
                "{name} is of a watch: its verdict is an alarm over a window that slides, and no \
                 proof; run the scenario once"
            ));
        }
        if !report.complete {
            unfit.push(format!("{name} has no end: what came after it is not known"));
        }
        if let Some(failed) = &report.instrument.failed {
            unfit.push(format!("{name}: the agent itself failed: {failed}"));
        }
    }
    unfit
}

fn run(source: &Source) -> PooledRun {
    let Source { name, report, .. } = source;
    PooledRun {
        run: report.run,
        started_at: report.started_at.clone(),
        ended_at: report.ended_at.clone(),
        verdict: report.verdict,
        rehearsed: report.is_rehearsed(),
        source: name.clone(),
        trials: report.clusters.iter().map(|(role, cluster)| (*role, cluster.trials)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use crate::verify::fact::Control;
    use crate::verify::verdict::Status;

    #[test]
    fn of_drains_that_overlap_the_one_that_looked_last_counts() {
        let long = Report { started_at: "2026-02-03T04:00:00.000Z".to_owned(), ..testing::drain() };
        let mut short = testing::drain();
        short.run = RunId(uuid::Uuid::from_u128(7));
        short.ended_at = "2026-02-03T04:05:10.000Z".to_owned();
        let old = short.clusters.get_mut(&ClusterRole::Old).unwrap();
        let read = old.occupancy.as_mut().unwrap();
        (read.channels, read.empty_seconds) = (Some(0), 3_600.0);
        read.channels_by_kind.clear();
        for order in [[&long, &short], [&short, &long]] {
            let sources = order.map(|report| Source {
                name: report.run.to_string(),
                is_named: true,
                report: report.clone(),
            });
            let rules = Rules {
                now: Duration::from_secs(1_770_091_600),
                max_age: Duration::from_secs(3_600),
                excluded: Vec::new(),
                history_counts: false,
                rehearsals_count: true,
            };
            let pool = Pool::new(sources.into(), &rules).unwrap();
            let drained = pool.checks.iter().find(|finding| finding.name == "drained").unwrap();
            assert_eq!(drained.status, Status::Fail, "{drained:?}");
        }
    }

    /// A drain that is GO and was named, and one of the history that ended two hours before.
    fn named_and_earlier(verdict: Verdict) -> [Source; 2] {
        let mut named = testing::drain();
        named.verdict = Verdict::Go;
        named.instrument.tainted_seconds = 0;
        named.controls.iter_mut().for_each(|control| control.name = Control::SeesOccupancy);
        let mut read = named.clusters[&ClusterRole::Old].occupancy.clone().unwrap();
        (read.channels, read.empty_seconds) = (Some(0), 3_600.0);
        read.channels_by_kind.clear();
        for cluster in named.clusters.values_mut() {
            cluster.obligations_opened = 0;
            cluster.occupancy = Some(read.clone());
        }
        let mut earlier = Report { verdict, ..named.clone() };
        earlier.run = RunId(uuid::Uuid::from_u128(7));
        earlier.ended_at = "2026-02-03T02:05:10.000Z".to_owned();
        let source = |name: &str, is_named, report| Source { name: name.into(), is_named, report };
        [source("named", true, named), source("the history", false, earlier)]
    }

    #[test]
    fn what_a_shorter_time_leaves_out_is_a_look_and_keeps_from_go_unless_it_was_go() {
        let mut rules = Rules {
            now: Duration::from_secs(1_770_091_600),
            max_age: Duration::from_secs(3_600),
            excluded: Vec::new(),
            history_counts: true,
            rehearsals_count: true,
        };
        for (verdict, expected) in [
            (Verdict::Go, Verdict::Go),
            (Verdict::NoGo, Verdict::Inconclusive),
            (Verdict::Inconclusive, Verdict::Inconclusive),
        ] {
            let pool = Pool::new(named_and_earlier(verdict).into(), &rules).unwrap();
            let found = (pool.verdict, pool.looks);
            assert_eq!(found, (expected, Looks::Anytime), "{verdict:?}: {}", pool.reason);
            assert_eq!((pool.runs.len(), pool.outdated.len()), (1, 1));
            let is_told = pool.reason.contains("is older than --max-age allows");
            assert_eq!(is_told, expected != Verdict::Go, "{}", pool.reason);
        }
        // Whoever excludes it says why, and has looked all the same.
        rules.excluded = vec![("00000000-0000".to_owned(), "a broken proxy".to_owned())];
        let pool = Pool::new(named_and_earlier(Verdict::NoGo).into(), &rules).unwrap();
        assert_eq!((pool.verdict, pool.looks), (Verdict::Go, Looks::Anytime), "{}", pool.reason);
        assert_eq!((pool.excluded.len(), pool.outdated.len()), (1, 0));
    }

    #[test]
    fn a_rehearsal_is_known_as_one_before_it_has_an_end() {
        let [mut source, _] = named_and_earlier(Verdict::Go);
        source.report.rehearsal = None;
        source.report.settings = serde_json::json!({ "clusters": "embedded" });
        let rules = Rules {
            now: Duration::from_secs(1_770_091_600),
            max_age: Duration::from_secs(3_600),
            excluded: Vec::new(),
            history_counts: false,
            rehearsals_count: false,
        };
        let pool = Pool::new(vec![source.clone()], &rules).unwrap();
        assert_eq!(pool.verdict, Verdict::Inconclusive);
        assert!(pool.reason.contains("named was rehearsed"), "{}", pool.reason);
        // Figures make a report's evidence, and not its words.
        let mut other = source.clone();
        other.report.reason.push_str(", as another version says it");
        let rules = Rules { rehearsals_count: true, ..rules };
        assert_eq!(Pool::new(vec![source.clone(), other], &rules).unwrap().runs.len(), 1);
        // So is what they are judged by.
        let changes: [fn(&mut Report); 5] = [
            |report| report.clusters.get_mut(&ClusterRole::New).unwrap().trials += 1,
            |report| report.gate.loss_rate_max *= 2.0,
            |report| report.ended_at = "2026-02-03T04:05:21.000Z".to_owned(),
            |report| report.instrument.failed = Some("its witness panicked".to_owned()),
            |report| report.settings = serde_json::json!({}),
        ];
        for change in changes {
            let mut changed = source.clone();
            change(&mut changed.report);
            let told = Pool::new(vec![source.clone(), changed], &rules);
            assert!(matches!(told, Err(PoolError::Contradiction(..))), "{told:?}");
        }
    }
}
