//! Several runs, judged together.

use crate::report::markup::clipped;
use crate::report::{Pool, PooledRun};

use super::head::looked;
use super::{DETAIL_MAX, NAME_MAX, addresses, instant, write_cards, write_facts, write_more};

/// Runs that are shown.
const RUNS_MAX: usize = 100;

impl Pool {
    /// The outcome as an HTML page, like that of a run.
    pub fn to_html(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.html_page(&mut out);
        out
    }

    fn html_page(&self, out: &mut String) -> std::fmt::Result {
        let [mut facts, mut runs, mut outdated, mut excluded] = [const { String::new() }; 4];
        self.html_facts(&mut facts)?;
        if !self.runs.is_empty() {
            html_runs(&mut runs, "Runs that count, the latest first", &self.runs)?;
        }
        if !self.outdated.is_empty() {
            html_runs(&mut outdated, "Too old by --max-age, the latest first", &self.outdated)?;
        }
        self.html_excluded(&mut excluded)?;
        let mut agents = String::new();
        self.html_agents(&mut agents)?;
        let sections = vec![
            ("agents", "Agents", agents),
            ("runs", "Runs that count", runs),
            ("outdated", "Runs that are too old to count", outdated),
            ("excluded", "Runs that were left out", excluded),
        ];
        self.outcome().html_page(out, &facts, sections)
    }

    fn html_facts(&self, out: &mut String) -> std::fmt::Result {
        let history = if !self.agents.is_empty() {
            "has no part in it"
        } else if self.history_counts {
            "its runs of this scenario count as well, named or not"
        } else {
            "<b>left out</b>: whatever else it holds does not count"
        };
        let mut facts = vec![
            ("scenario", clipped(&self.scenario, NAME_MAX)),
            ("phase", self.phase.as_str().to_owned()),
            ("judged", self.counted()),
            ("bounds", looked(self.looks).to_owned()),
            ("history", history.to_owned()),
            (
                "scenario's digest",
                format!("<code>{}</code>", clipped(&self.scenario_digest, NAME_MAX)),
            ),
        ];
        facts.splice(2..2, addresses(&self.clusters));
        write_facts(out, &facts)
    }

    fn html_agents(&self, out: &mut String) -> std::fmt::Result {
        if self.agents.is_empty() {
            return Ok(());
        }
        let headings = ["part", "ended", "its verdict", "trials", "from"];
        let rows = self.agents.iter().take(RUNS_MAX).map(|agent| {
            vec![
                clipped(&agent.shown_part(), NAME_MAX),
                match &*agent.ended_at {
                    "" => "<b>not seen to end</b>".to_owned(),
                    ended => instant(ended),
                },
                format!("<b>{}</b>", agent.verdict.as_str()),
                agent.shown_trials(),
                clipped(&agent.instance, NAME_MAX),
            ]
        });
        let rows: Vec<_> = rows.collect();
        write_cards(out, "runs", "The agents that did the run together", &headings, &rows)?;
        write_more(out, self.agents.len() as u64, RUNS_MAX, "agents")
    }

    fn html_excluded(&self, out: &mut String) -> std::fmt::Result {
        if self.excluded.is_empty() {
            return Ok(());
        }
        let excluded = self.excluded.iter().take(RUNS_MAX);
        let rows = excluded
            .map(|e| vec![format!("<code>{}</code>", e.run), clipped(&e.reason, DETAIL_MAX)]);
        let rows: Vec<_> = rows.collect();
        write_cards(out, "runs", "Left out, and why", &["run", "reason"], &rows)?;
        write_more(out, self.excluded.len() as u64, RUNS_MAX, "runs")
    }
}

fn html_runs(out: &mut String, caption: &str, runs: &[PooledRun]) -> std::fmt::Result {
    let headings = ["ended", "run", "its verdict", "trials", "clusters", "from"];
    // Which ran last is what one looks for first, where they are many.
    let shown = runs.iter().rev().take(RUNS_MAX);
    let rows = shown.map(|run| {
        vec![
            instant(&run.ended_at),
            format!("<code>{}</code>", run.run),
            format!("<b>{}</b>", run.verdict.as_str()),
            run.shown_trials(),
            if run.rehearsed { "<b>rehearsed</b>".to_owned() } else { "real".to_owned() },
            clipped(&run.source, NAME_MAX),
        ]
    });
    let rows: Vec<_> = rows.collect();
    write_cards(out, "runs", caption, &headings, &rows)?;
    write_more(out, runs.len() as u64, RUNS_MAX, "runs")
}
