//! Several agents that did one run together, judged as one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ClusterRole, Member, MemberRole, RunId, Shard};
use crate::verify::fleet::{self, Agent, Together};
use crate::verify::verdict::Verdict;

use super::pool::shown_trials;
use super::reason::of_several;
use super::{Excluded, Pool, PoolError, SCHEMA, form, time_of_day};

/// One of the processes that did a run together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentReport {
    /// The run.
    pub run: RunId,
    /// Which part of its channels it had, counted from 0.
    pub shard: u32,
    /// How many parts there were.
    pub shards: u32,
    /// What it did with its part.
    pub role: MemberRole,
    /// Where it was, as it was told; may be empty.
    pub region: String,
    /// Where Prometheus scraped it.
    pub instance: String,
    /// When it was scraped last: RFC 3339.
    #[schemars(with = "form::Instant")]
    pub scraped_at: String,
    /// When it ended: RFC 3339; empty if it was not seen to.
    #[schemars(with = "form::InstantOrNothing")]
    pub ended_at: String,
    /// Its verdict on its own part.
    pub verdict: Verdict,
    /// Trials on each cluster.
    pub trials: BTreeMap<ClusterRole, u64>,
}

impl AgentReport {
    fn of(agent: &Agent) -> Self {
        let clusters = &agent.figures.clusters;
        Self {
            run: agent.run,
            shard: agent.member.shard.index,
            shards: agent.member.shard.of,
            role: agent.member.role,
            region: agent.member.region.clone(),
            instance: agent.instance.clone(),
            scraped_at: time_of_day(agent.scraped),
            ended_at: agent.ended.map_or(String::new(), time_of_day),
            verdict: agent.verdict,
            trials: clusters.iter().map(|(role, of)| (*role, of.trials.trials)).collect(),
        }
    }

    /// Its part of the run.
    pub(super) fn shown_part(&self) -> String {
        let shard = Shard { index: self.shard, of: self.shards };
        Member { shard, role: self.role, region: self.region.clone() }.to_string()
    }

    /// The trials on each cluster, in words.
    pub(super) fn shown_trials(&self) -> String {
        if self.role.witnesses() {
            shown_trials(&self.trials)
        } else {
            "its witnesses have them".to_owned()
        }
    }

    /// When it ended, or that it was not seen to.
    pub(super) fn shown_end(&self) -> &str {
        if self.ended_at.is_empty() { "not seen to end" } else { &self.ended_at }
    }
}

impl Pool {
    /// Judges the agents of one run together; `excluded` are the other runs of which somebody said
    /// why they do not count.
    ///
    /// # Errors
    /// There is none, or they are of different runs or scenarios.
    pub fn of_fleet(
        agents: &[Agent],
        rules: &fleet::Rules<'_>,
        excluded: Vec<Excluded>,
    ) -> Result<Self, PoolError> {
        let first = agents.first().ok_or(PoolError::Nothing)?;
        let terms = |agent: &Agent| (agent.run, agent.scenario_digest.clone(), agent.phase);
        if let Some(other) = agents.iter().find(|agent| terms(agent) != terms(first)) {
            return Err(PoolError::OtherScenario(first.name(), other.name()));
        }
        let together = fleet::judge(agents, rules).ok_or(PoolError::Nothing)?;
        let Together { asked, figures, views, findings, unfit } = together;
        let (verdict, mut reason) = of_several(&findings, &figures, &asked, unfit);
        if verdict == Verdict::Go && views > 1 {
            reason.push_str(&format!("; seen from {views} regions, each by itself"));
        }
        let mut agents: Vec<_> = agents.iter().map(AgentReport::of).collect();
        agents.sort_by(|a, b| (a.shard, a.role, &a.region).cmp(&(b.shard, b.role, &b.region)));
        Ok(Self {
            schema: SCHEMA,
            scenario: first.scenario.clone(),
            scenario_digest: first.scenario_digest.clone(),
            phase: asked.phase,
            looks: asked.looks,
            verdict,
            reason,
            checks: findings,
            clusters: BTreeMap::new(),
            runs: Vec::new(),
            agents,
            excluded,
            outdated: Vec::new(),
            history_counts: false,
        })
    }
}
