//! What several processes say of one run that they did together. Rates of loss, duplicates and
//! order are those of the sum; all else each must keep by itself.
//!
//! Where some publish and others witness, those that witness from one region are a view: together
//! they see each publication once. Each view is a sum of its own, and every one must pass.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{ClusterRole, Member, MemberRole, RunId, Shard};

use super::checks::{self, Limits, Looks, Phase, Requirements};
use super::figures::Figures;
use super::verdict::{Finding, Status, Verdict};

/// Checks of the sum: no part of it can say for all.
const OF_THE_SUM: [&str; 6] =
    ["evidence", "loss", "duplicates", "order", "coverage", "loss-new-vs-old"];
/// Checks that not every shard has: those of what the first does alone, and those of channels of
/// which it may have none.
const OF_SOME: [&str; 5] = ["auth", "handover", "mirror", "parity", "webhooks"];
/// A process may have ended so much later than now: clocks differ.
const CLOCK_SLACK: Duration = Duration::from_secs(300);
/// Places that are named of a check that several did not pass.
const NAMED_MAX: usize = 4;

/// A check of one process, as far as its metrics have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The check's name.
    pub name: String,
    /// The cluster that it is about; `None` if about both.
    pub cluster: Option<ClusterRole>,
    /// Whether the verdict rests on it.
    pub required: bool,
    /// How it ended.
    pub status: Status,
    /// What was held against the limit, in the check's unit.
    pub observed: Option<f64>,
    /// The limit.
    pub limit: Option<f64>,
}

/// One process, as its metrics were at the last scrape.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Where it was scraped.
    pub instance: String,
    /// Its part.
    pub member: Member,
    /// The run.
    pub run: RunId,
    /// The scenario's name.
    pub scenario: String,
    /// Equal for runs of one scenario.
    pub scenario_digest: String,
    /// What it was for.
    pub phase: Phase,
    /// When it was scraped last: time of day since the Unix epoch.
    pub scraped: Duration,
    /// When it ended, as well; `None` if it was not seen to.
    pub ended: Option<Duration>,
    /// How often it was started again in the course of its run; `None` where nothing tells.
    pub restarts: Option<u64>,
    /// Whether it failed itself.
    pub has_failed: bool,
    /// Whether it watches without an end.
    pub is_watch: bool,
    /// Whether its clusters were a rehearsal's own.
    pub is_rehearsed: bool,
    /// Its verdict on its part.
    pub verdict: Verdict,
    /// The confidence that its scenario asks for.
    pub confidence: f64,
    /// Its checks.
    pub checks: Vec<Checked>,
    /// Its figures, as far as they are part of a sum.
    pub figures: Figures,
    /// For how long it published, tainted seconds left out.
    pub observed: Duration,
}

impl Agent {
    /// Its part and where it was scraped, in words.
    pub fn name(&self) -> String {
        format!("{} ({})", self.member, self.instance)
    }

    /// The worst of its required checks.
    fn verdict_of_checks(&self) -> Verdict {
        match self.checks.iter().filter(|of| of.required).map(|of| of.status).max() {
            Some(Status::Pass) => Verdict::Go,
            Some(Status::Fail) => Verdict::NoGo,
            Some(Status::Inconclusive) | None => Verdict::Inconclusive,
        }
    }

    const fn role(&self) -> MemberRole {
        self.member.role
    }

    fn limit(&self, check: &str) -> Option<f64> {
        self.checks.iter().filter(|of| of.name == check).find_map(|of| of.limit)
    }
}

/// What agents are held to beside their scenario.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The present time of day: since the Unix epoch.
    pub now: Duration,
    /// Agents that ended longer ago are stale.
    pub max_age: Duration,
    /// How many there must be.
    pub agents: usize,
    /// Whether rehearsals are judged as if their clusters were anybody's.
    pub rehearsals_count: bool,
    /// Other runs of the scenario that agents did lately, and whether somebody said why they do not
    /// count. Whoever may run again until it says GO looks again and again.
    pub others: &'a [(RunId, bool)],
}

/// What they say together.
#[derive(Clone, Debug)]
pub struct Together {
    /// What the sum is judged by.
    pub asked: Requirements,
    /// The sum; of several views that which rests on the fewest trials.
    pub figures: Figures,
    /// How many views there are.
    pub views: usize,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What keeps them from being evidence, whatever they found.
    pub unfit: Vec<String>,
}

/// Judges agents of one run together; `None` if there is none.
pub fn judge(agents: &[Agent], rules: &Rules<'_>) -> Option<Together> {
    let first = agents.first()?;
    // Where a limit is not known, nothing keeps it.
    let limit = |check: &str| agents.iter().find_map(|of| of.limit(check)).unwrap_or(0.0);
    let count = |check: &str| limit(check) as u64;
    let limits =
        Limits::of_sums(limit("loss"), first.confidence, count("duplicates"), count("order"));
    let looks = if rules.others.is_empty() { Looks::Once } else { Looks::Anytime };
    let role = if agents.iter().any(|of| of.role() != MemberRole::Both) {
        MemberRole::Witness
    } else {
        MemberRole::Both
    };
    let asked = Requirements { phase: first.phase, role, looks, limits };
    let views = views(agents);
    let mut sums: Vec<_> = views.values().map(|of| sum(of)).collect();
    let mut seen: Vec<Vec<(&str, Finding)>> = Vec::new();
    for (region, figures) in views.keys().zip(&sums) {
        let found = checks::judge(figures, &asked).into_iter();
        for finding in found.filter(|of| OF_THE_SUM.contains(&&*of.name)) {
            let is_it = |(_, of): &(&str, Finding)| {
                of.name == finding.name && of.cluster == finding.cluster
            };
            match seen.iter_mut().find(|all| all.iter().any(is_it)) {
                Some(all) => all.push((region, finding)),
                None => seen.push(vec![(region, finding)]),
            }
        }
    }
    let mut findings: Vec<_> = seen.into_iter().filter_map(worst).collect();
    findings.extend(of_each(agents));
    let trials = |of: &Figures| of.clusters.values().map(|c| c.trials.trials).min();
    sums.sort_by_key(trials);
    let (views, figures) = (sums.len(), sums.into_iter().next().unwrap_or_default());
    Some(Together { asked, figures, views, findings, unfit: unfit(agents, rules) })
}

/// Those that witness, by where they are; where each witnesses its own, all are one view.
fn views(agents: &[Agent]) -> BTreeMap<&str, Vec<&Agent>> {
    let mut views: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for agent in agents {
        match agent.role() {
            MemberRole::Both => views.entry("").or_default().push(agent),
            MemberRole::Witness => {
                views.entry(agent.member.region.as_str()).or_default().push(agent);
            }
            MemberRole::Publish => {}
        }
    }
    if views.is_empty() {
        views.insert("", Vec::new());
    }
    views
}

fn sum(agents: &[&Agent]) -> Figures {
    let mut all = agents.iter();
    let mut figures = all.next().map_or_else(Figures::default, |first| first.figures.clone());
    all.for_each(|agent| figures.merge(&agent.figures));
    // They publish side by side.
    figures.published_for = agents.iter().map(|agent| agent.observed).min().unwrap_or_default();
    figures
}

/// The worst of what regions found by one check, and of equals that which rests on least. It says
/// from where it was seen, and where it was seen as well.
fn worst(all: Vec<(&str, Finding)>) -> Option<Finding> {
    let status = all.iter().map(|(_, of)| of.status).max()?;
    let is_one_view = all.len() == 1;
    let alike: Vec<_> = all.into_iter().filter(|(_, of)| of.status == status).collect();
    let regions: Vec<_> = alike.iter().map(|(region, _)| format!("{region:?}")).collect();
    let (region, mut worst) = alike.into_iter().min_by_key(|(_, of)| of.evidence)?;
    if !is_one_view {
        let others = match regions.len() {
            1 => String::new(),
            _ => format!(", of {} alike", regions.join(", ")),
        };
        worst.detail = format!("from {region:?}{others}: {}", worst.detail);
    }
    Some(worst)
}

/// The checks that each must pass by itself.
fn of_each(agents: &[Agent]) -> Vec<Finding> {
    let all = agents.iter().flat_map(|agent| &agent.checks);
    let all = all.filter(|of| !OF_THE_SUM.contains(&&*of.name));
    let known: BTreeSet<_> = all.map(|of| (of.name.as_str(), of.cluster)).collect();
    let finding = |(name, cluster): (&str, Option<ClusterRole>)| {
        let of = |agent: &'_ Agent| {
            agent.checks.iter().find(|of| of.name == name && of.cluster == cluster).cloned()
        };
        let said: Vec<_> = agents.iter().filter_map(|a| Some((a, of(a)?))).collect();
        let required = said.iter().any(|(_, of)| of.required);
        // Where the verdict of none rests on it, that of all does not.
        let counts = said.iter().filter(|(_, of)| of.required || !required);
        let status = counts.map(|(_, of)| of.status).max().unwrap_or(Status::Inconclusive);
        let mut others: Vec<_> = said.iter().filter(|(_, of)| of.status != Status::Pass).collect();
        others.sort_by_key(|(_, of)| std::cmp::Reverse(of.status));
        let detail = match others.len() {
            0 => format!("passed by each of {}", said.len()),
            count => {
                let shown = others.iter().take(NAMED_MAX).map(|(agent, of)| told(agent, of));
                let shown = shown.collect::<Vec<_>>().join(", ");
                match count.saturating_sub(NAMED_MAX) {
                    0 => shown,
                    more => format!("{shown}, and {more} more"),
                }
            }
        };
        Finding {
            name: name.to_owned().into(),
            cluster,
            required,
            status,
            observed: None,
            limit: None,
            target: None,
            unit: "count".into(),
            evidence: said.len() as u64,
            detail,
        }
    };
    known.into_iter().map(finding).collect()
}

/// How one agent came out of a check that it did not pass.
fn told(agent: &Agent, of: &Checked) -> String {
    let why = match (of.observed, of.limit) {
        // What it would have come to, nobody knows.
        _ if of.status == Status::Inconclusive && agent.ended.is_none() => {
            ", which was not seen to end".to_owned()
        }
        (Some(observed), Some(limit)) => format!(": {}, limit {}", short(observed), short(limit)),
        _ => String::new(),
    };
    format!("{} on {}{why}", of.status.as_str(), agent.name())
}

/// A figure to four significant digits.
fn short(value: f64) -> String {
    let decimals = if value == 0.0 { 0.0 } else { (3.0 - value.abs().log10().floor()).max(0.0) };
    let text = format!("{value:.*}", decimals.min(12.0) as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// What keeps agents from being evidence, whatever they found.
fn unfit(agents: &[Agent], rules: &Rules<'_>) -> Vec<String> {
    let mut unfit = Vec::new();
    if agents.len() != rules.agents {
        let known = match agents.len() {
            1 => "1 agent is known".to_owned(),
            count => format!("{count} agents are known"),
        };
        unfit.push(format!("{known} where --agents says {}", rules.agents));
    }
    let of: BTreeSet<_> = agents.iter().map(|agent| agent.member.shard.of).collect();
    if of.len() > 1 {
        let of: Vec<_> = of.iter().map(u32::to_string).collect();
        unfit.push(format!("shards of {} do not make one run", of.join(" and of ")));
    } else {
        unfit.extend(shards(agents, of.first().copied().unwrap_or(1)));
    }
    for (run, is_excused) in rules.others {
        if !is_excused {
            unfit.push(format!(
                "run {run} is of the same scenario, and whoever runs until it says GO proves \
                 nothing: leave it out with --exclude {run}=REASON"
            ));
        }
    }
    let Some(first) = agents.first() else { return unfit };
    let allowed = humantime::format_duration(rules.max_age);
    for agent in agents {
        let name = agent.name();
        let like = agents.iter().find(|of| of.role() == agent.role()).unwrap_or(first);
        let scraped = rules.now.saturating_sub(agent.scraped);
        let scraped = humantime::format_duration(Duration::from_secs(scraped.as_secs()));
        match agent.ended {
            _ if agent.is_watch => unfit.push(format!("{name} watches without an end")),
            None => unfit.push(format!(
                "{name} was not seen to end: it was killed, or is not scraped after its end \
                 (--linger); last scraped {scraped} ago"
            )),
            Some(ended) if ended > rules.now + CLOCK_SLACK => {
                unfit.push(format!("{name} ended at a time that has not come; check the clocks"));
            }
            Some(ended) if rules.now.saturating_sub(ended) > rules.max_age => {
                unfit.push(format!("{name} is stale: it ended more than {allowed} ago"));
            }
            Some(_) => {}
        }
        match agent.restarts {
            Some(0) => {}
            Some(_) => unfit.push(format!(
                "{name} was started again in the course of the run, and what it saw before is not \
                 known"
            )),
            None => unfit.push(format!("nothing tells whether {name} was started again")),
        }
        if agent.has_failed {
            unfit.push(format!("{name} itself failed: see its log"));
        }
        if !agent.member.has_others() {
            unfit.push(format!("{name} did its run alone: judge its report"));
        }
        if clusters_of(agent) != clusters_of(like) {
            unfit.push(format!("{name} and {} tell of other clusters", like.name()));
        }
        unfit.extend(lacking(agent, agents));
        let clusters = agent.figures.clusters.iter().filter(|_| agent.role().witnesses());
        for (role, _) in clusters.filter(|(_, cluster)| cluster.trials.trials == 0) {
            unfit.push(format!("{name} tried nothing on {role}"));
        }
        // What was a fault of the agent itself is none of its checks.
        if agent.ended.is_some() && agent.verdict != agent.verdict_of_checks() {
            let verdict = agent.verdict.as_str();
            unfit.push(format!("{name} ended in {verdict} for none of its checks: see its log"));
        }
        if agent.is_rehearsed && !rules.rehearsals_count {
            unfit.push(format!("{name} was rehearsed, which proves nothing of your clusters"));
        }
    }
    unfit
}

fn clusters_of(agent: &Agent) -> Vec<ClusterRole> {
    agent.figures.clusters.keys().copied().collect()
}

/// Checks that others have and this one should.
fn lacking(agent: &Agent, agents: &[Agent]) -> Option<String> {
    let alike = agents.iter().filter(|of| of.role() == agent.role());
    let all = alike.flat_map(|agent| &agent.checks);
    let known: BTreeSet<_> = all.map(|of| (of.name.as_str(), of.cluster)).collect();
    let has = |(name, cluster): &(&str, Option<ClusterRole>)| {
        agent.checks.iter().any(|of| of.name == *name && of.cluster == *cluster)
    };
    let lacks = known.iter().filter(|(name, _)| !OF_SOME.contains(name)).filter(|of| !has(of));
    let lacks: BTreeSet<_> = lacks.map(|(name, _)| *name).collect();
    let lacks: Vec<_> = lacks.into_iter().collect();
    (!lacks.is_empty()).then(|| format!("{} says nothing of {}", agent.name(), lacks.join(", ")))
}

/// Shards that are missing, and those that were done twice: among those that publish, and in each
/// view among those that witness.
fn shards(agents: &[Agent], of: u32) -> Vec<String> {
    let role = |role| agents.iter().filter(|a| a.role() == role).collect::<Vec<_>>();
    let (both, publish, witness) =
        (role(MemberRole::Both), role(MemberRole::Publish), role(MemberRole::Witness));
    if publish.is_empty() && witness.is_empty() {
        return each_shard(&both, of, |shard| format!("shard {shard}"));
    }
    let mut unfit: Vec<_> =
        both.iter().map(|of| format!("nobody can witness what {} published", of.name())).collect();
    unfit.extend(each_shard(&publish, of, |shard| format!("publisher of shard {shard}")));
    for (region, agents) in views(agents) {
        let place = if region.is_empty() { String::new() } else { format!(" in {region}") };
        let witnesses: Vec<_> =
            agents.into_iter().filter(|a| a.role() == MemberRole::Witness).collect();
        let name = |shard: Shard| format!("witness of shard {shard}{place}");
        unfit.extend(each_shard(&witnesses, of, name));
    }
    unfit
}

fn each_shard(agents: &[&Agent], of: u32, name: impl Fn(Shard) -> String) -> Vec<String> {
    let mut unfit = Vec::new();
    for shard in (0..of).map(|index| Shard { index, of }) {
        let done: Vec<_> =
            agents.iter().filter(|a| a.member.shard == shard).map(|a| &*a.instance).collect();
        let name = name(shard);
        match done.as_slice() {
            [] => unfit.push(format!("{name} is missing")),
            [_] => {}
            several => unfit.push(format!("{name} was done by several: {}", several.join(", "))),
        }
    }
    unfit
}

#[cfg(test)]
mod tests;
