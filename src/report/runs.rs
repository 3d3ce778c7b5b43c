//! Past runs as a list: two lines each, 80 columns.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::ClusterRole;
use crate::verify::verdict::Verdict;

use super::Report;
use super::text::{grouped, verdict_style};

/// Characters of a scenario's name that are shown.
const NAME_CHARS_MAX: usize = 32;

/// A past run, as far as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// The run's id.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// The phase's name.
    pub phase: String,
    /// The verdict's name.
    pub verdict: String,
    /// When it began: RFC 3339.
    pub started_at: String,
    /// Publications lost, of trials; `None` where the report is of a form that cannot be read.
    pub losses: Option<BTreeMap<ClusterRole, (u64, u64)>>,
}

impl PastRun {
    /// Publications lost, of trials, by cluster.
    pub fn losses_of(report: &Report) -> BTreeMap<ClusterRole, (u64, u64)> {
        report.clusters.iter().map(|(role, c)| (*role, (c.failures(), c.trials))).collect()
    }

    fn losses(&self) -> String {
        let Some(losses) = &self.losses else {
            return "its report is of another version".to_owned();
        };
        let of = |(role, (lost, trials)): (&ClusterRole, &(u64, u64))| {
            format!("{role} {}/{}", grouped(*lost), grouped(*trials))
        };
        losses.iter().map(of).collect::<Vec<_>>().join("  ")
    }
}

/// A text of at most so many characters.
fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

/// The list as text, in the order given. Styled; whoever prints it strips that where colour is not
/// wanted.
pub fn to_text(runs: &[PastRun]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_list(runs, &mut out);
    out
}

fn write_list(runs: &[PastRun], out: &mut String) -> std::fmt::Result {
    if runs.is_empty() {
        return writeln!(out, "no runs");
    }
    let wide = NAME_CHARS_MAX;
    writeln!(out, "{:<18}{:<wide$}  {:<14}verdict", "start (UTC)", "scenario", "phase")?;
    writeln!(out, "  {:<38}publications lost/trials", "run")?;
    for run in runs {
        // To the minute.
        let start = run.started_at.get(..16).unwrap_or(&run.started_at).replace('T', " ");
        let name = shortened(&run.scenario, wide);
        let verdict = [Verdict::Go, Verdict::NoGo, Verdict::Inconclusive]
            .into_iter()
            .find(|verdict| verdict.as_str() == run.verdict);
        let style = verdict.map(verdict_style).unwrap_or_default();
        let (phase, verdict) = (&run.phase, &run.verdict);
        writeln!(out, "{start:<18}{name:<wide$}  {phase:<14}{style}{verdict}{style:#}")?;
        writeln!(out, "  {:<38}{}", run.run, run.losses())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(scenario: &str, losses: Option<[(ClusterRole, (u64, u64)); 2]>) -> PastRun {
        PastRun {
            run: "01a20437-b28f-7614-831d-82bb3eff32ce".to_owned(),
            scenario: scenario.to_owned(),
            phase: "dual-publish".to_owned(),
            verdict: "INCONCLUSIVE".to_owned(),
            started_at: "2026-07-21T14:05:09.123Z".to_owned(),
            losses: losses.map(BTreeMap::from),
        }
    }

    #[test]
    fn a_list_has_two_lines_for_a_run_and_at_most_80_columns() {
        let losses = [(ClusterRole::Old, (0, 45_000)), (ClusterRole::New, (1_234, 45_000))];
        let text = to_text(&[run("cutover", Some(losses)), run(&"ü".repeat(60), None)]);
        let plain = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<_> = plain.lines().collect();
        assert_eq!(lines.len(), 2 + 2 * 2);
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{plain}");
        assert_eq!(
            lines[2..4],
            [
                "2026-07-21 14:05  cutover                           dual-publish  INCONCLUSIVE",
                "  01a20437-b28f-7614-831d-82bb3eff32ce  old 0/45,000  new 1,234/45,000",
            ]
        );
        assert!(lines[5].ends_with("another version"), "{plain}");
    }

    #[test]
    fn no_runs_are_said_to_be_none() {
        assert_eq!(to_text(&[]), "no runs\n");
    }
}
