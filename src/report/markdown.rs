//! The report as Markdown, for a comment on a pull request or a job's summary on GitHub: the
//! verdict and its reasons first, what can wait folded away. Everything in it is bounded, so that
//! it always fits.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::ClusterRole;
use crate::verify::parity::Likeness;
use crate::verify::verdict::{Finding, Status, Verdict};

use super::matrix::status;
use super::outcome::Outcome;
use super::text::{faults_done, grouped, millis, on, printable, word};
use super::{Excluded, IncidentReport, Matrix, Pool, PooledRun, Report};

/// GitHub takes 65,536 characters; below this there is room for what others write around it. The
/// bounds below add up to less.
#[cfg(test)]
const CHARS_MAX: usize = 60_000;
/// Characters of the scenario's name, and of any other short text.
const NAME_MAX: usize = 200;
/// Characters of the verdict's reasons.
const REASON_MAX: usize = 6_000;
/// Characters of a check's detail, or an incident's.
const DETAIL_MAX: usize = 400;
/// Failed and open checks.
const CHECKS_MAX: usize = 40;
/// Checks that passed.
const PASSED_MAX: usize = 40;
/// Runs that are judged together, and runs that are left out.
const RUNS_MAX: usize = 20;
/// Agents that are judged together.
const AGENTS_MAX: usize = 20;
/// Readings that are not what they were.
const DRIFT_MAX: usize = 20;
/// Characters of a cell of a matrix, of which there is a row for each setting.
const CELL_MAX: usize = 120;
/// Incidents.
const INCIDENTS_MAX: usize = 10;
/// Characters of what the clusters of a rehearsal counted.
const FAULTS_MAX: usize = 1_000;
/// Characters of the configuration.
const SETTINGS_MAX: usize = 8_000;

const fn sign(status: Status) -> &'static str {
    match status {
        Status::Pass => "✅",
        Status::Inconclusive => "⚠️",
        Status::Fail => "❌",
    }
}

impl Report {
    /// The report as Markdown, with a newline at its end and never more than 60,000 characters.
    pub fn to_markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let outcome = self.outcome();
        let _ = outcome.write_head(&mut out, &self.facts());
        let _ = self.write_comparison(&mut out);
        let _ = outcome.write_open_checks(&mut out);
        let _ = self.write_real_events(&mut out);
        let _ = self.write_rows(&mut out);
        let _ = self.write_moves(&mut out);
        let _ = self.write_telling_incidents(&mut out);
        let _ = outcome.write_passed_checks(&mut out);
        let _ = self.write_vital_signs(&mut out);
        let _ = self.write_settings(&mut out);
        out
    }

    fn facts(&self) -> Vec<String> {
        let mut facts = vec![self.phase.as_str().to_owned()];
        if self.member.has_others() {
            facts.push(format!("**{}** alone", inline(&self.member.to_string(), NAME_MAX)));
        }
        if self.is_rehearsed() {
            facts.push("**rehearsed**, on clusters that the canary brought along".to_owned());
        }
        if !self.proof {
            facts.push("**an alarm, no proof**".to_owned());
        }
        let doing = if self.phase.publishes() { "publishing" } else { "reading" };
        facts.push(format!("{:.1} s of {doing}", self.publishing_seconds));
        if self.cut_short {
            facts.push("**cut short by a signal**".to_owned());
        }
        if !self.complete {
            facts.push("**the record has no end**".to_owned());
        }
        if !self.started_at.is_empty() {
            facts.push(inline(&self.started_at, NAME_MAX));
        }
        facts.push(format!("run `{}`", self.run));
        facts.extend(addresses(&self.addresses()));
        facts
    }

    fn write_comparison(&self, out: &mut String) -> std::fmt::Result {
        if self.clusters.is_empty() {
            return writeln!(out, "Nothing was measured on any cluster.\n");
        }
        let roles: Vec<_> = self.clusters.keys().map(|role| role.as_str()).collect();
        writeln!(out, "| | {} |", roles.join(" | "))?;
        writeln!(out, "|:--|{}", "--:|".repeat(roles.len()))?;
        for (label, cells) in self.rows() {
            let bare = label.trim_start();
            let indent = "&emsp;".repeat((label.len() - bare.len()) / 2);
            writeln!(out, "| {indent}{bare} | {} |", cells.join(" | "))?;
        }
        if let Some((label, covered)) = self.covered() {
            writeln!(out, "| {label} | | {covered} |")?;
        }
        writeln!(out)
    }

    fn write_real_events(&self, out: &mut String) -> std::fmt::Result {
        let Some(mirror) = &self.mirror else { return Ok(()) };
        writeln!(out, "### Real events\n")?;
        for said in mirror.sentences() {
            writeln!(out, "- {}", inline(&said, DETAIL_MAX))?;
        }
        for (name, role) in mirror.one_sided.iter().take(INCIDENTS_MAX) {
            writeln!(out, "- published to {role} only: {}", inline(name, NAME_MAX))?;
        }
        for defect in self.telling_defects(INCIDENTS_MAX) {
            writeln!(out, "- {}", inline(&defect.line(), DETAIL_MAX))?;
        }
        writeln!(out)
    }

    fn write_rows(&self, out: &mut String) -> std::fmt::Result {
        if self.parity.is_empty() {
            return Ok(());
        }
        writeln!(out, "### How both apps behave\n")?;
        for row in &self.parity {
            writeln!(out, "- {}", inline(&row.sentence(), DETAIL_MAX))?;
        }
        writeln!(out)
    }

    fn write_moves(&self, out: &mut String) -> std::fmt::Result {
        let Some(handover) = &self.handover else { return Ok(()) };
        writeln!(out, "### Clients that move\n")?;
        for said in handover.sentences() {
            writeln!(out, "- {}", inline(said.trim_start(), DETAIL_MAX))?;
        }
        writeln!(out)
    }

    fn write_telling_incidents(&self, out: &mut String) -> std::fmt::Result {
        if self.incidents.is_empty() {
            return Ok(());
        }
        writeln!(out, "### Incidents\n")?;
        for incident in self.telling_incidents(INCIDENTS_MAX) {
            writeln!(out, "- {}", line(incident))?;
        }
        let all = self.incidents.len() as u64 + self.incidents_dropped;
        let more = all - self.incidents.len().min(INCIDENTS_MAX) as u64;
        if more > 0 {
            writeln!(out, "\nand {} more incidents", grouped(more))?;
        }
        writeln!(out)
    }

    fn write_vital_signs(&self, out: &mut String) -> std::fmt::Result {
        let instrument = &self.instrument;
        writeln!(out, "<details><summary>Instrument and negative controls</summary>\n")?;
        if let Some(failed) = &instrument.failed {
            writeln!(out, "- the agent itself failed: {}", inline(failed, DETAIL_MAX))?;
        }
        let (tainted, seconds) = (grouped(instrument.tainted_seconds), grouped(instrument.seconds));
        writeln!(out, "- tainted seconds: {tainted} of {seconds}")?;
        for taint in &instrument.reasons {
            writeln!(out, "  - {}: {}", taint.reason.as_str(), grouped(taint.seconds))?;
        }
        let lag = &instrument.schedule_lag_ms;
        let (p99, max) = (millis(lag.p99), millis(lag.max));
        writeln!(out, "- schedule lag: p99 {p99}, at most {max}")?;
        let stall = millis(Some(instrument.runtime_stall_ms_max));
        writeln!(out, "- longest stall of the runtime: {stall}")?;
        let fired = self.controls.iter().filter(|c| c.status == Status::Pass).count();
        writeln!(out, "- negative controls: {fired} of {} fired", self.controls.len())?;
        for (role, counts) in self.rehearsal.iter().flatten() {
            let done = faults_done(counts);
            let done = if done.is_empty() { "none".to_owned() } else { done.join(", ") };
            writeln!(out, "- faults done by {role}: {}", inline(&done, FAULTS_MAX))?;
        }
        writeln!(out, "\n</details>\n")
    }

    fn write_settings(&self, out: &mut String) -> std::fmt::Result {
        // What comes from outside stands in quotes here, behind the indent: no line of JSON can end
        // the block.
        let json = serde_json::to_string_pretty(&self.settings).unwrap_or_default();
        let mut shown: String = json.chars().take(SETTINGS_MAX).map(printable_line).collect();
        if shown.len() < json.len() {
            shown.push_str("\n…");
        }
        writeln!(out, "<details><summary>Configuration</summary>\n")?;
        writeln!(out, "```json\n{shown}\n```\n\n</details>")
    }
}

impl Pool {
    /// The outcome as Markdown, with a newline at its end and never more than 60,000 characters.
    pub fn to_markdown(&self) -> String {
        let mut out = String::new();
        let mut facts = vec![self.phase.as_str().to_owned(), self.counted()];
        facts.extend(addresses(&self.clusters));
        facts.extend(self.conditions().into_iter().map(|said| inline(&said, NAME_MAX)));
        // Writing to a String cannot fail.
        let outcome = self.outcome();
        let _ = outcome.write_head(&mut out, &facts);
        let _ = if self.agents.is_empty() {
            self.write_runs(&mut out)
        } else {
            self.write_agents(&mut out)
        };
        let _ = outcome.write_open_checks(&mut out);
        let _ = outcome.write_passed_checks(&mut out);
        out
    }

    fn write_agents(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "| part | ended | its verdict | trials | from |\n|:--|:--|:--|:--|:--|")?;
        for agent in self.agents.iter().take(AGENTS_MAX) {
            let (part, verdict) = (inline(&agent.shown_part(), NAME_MAX), agent.verdict.as_str());
            let (trials, instance) = (agent.shown_trials(), inline(&agent.instance, NAME_MAX));
            writeln!(
                out,
                "| {part} | {} | {verdict} | {trials} | {instance} |",
                agent.shown_end()
            )?;
        }
        write_more(out, self.agents.len(), AGENTS_MAX, "agents")
    }

    fn write_runs(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "| run | began | its verdict | trials | from |\n|:--|:--|:--|:--|:--|")?;
        // Which ran last is what one looks for first, where they are many.
        for run in self.runs.iter().rev().take(RUNS_MAX) {
            let rehearsed = if run.rehearsed { ", **rehearsed**" } else { "" };
            let (began, verdict) = (inline(&run.started_at, NAME_MAX), run.verdict.as_str());
            let (trials, source) = (run.shown_trials(), inline(&run.source, NAME_MAX));
            writeln!(
                out,
                "| `{}` | {began} | {verdict}{rehearsed} | {trials} | {source} |",
                run.run
            )?;
        }
        write_more(out, self.runs.len(), RUNS_MAX, "runs")?;
        for PooledRun { run, verdict, .. } in self.outdated.iter().rev().take(RUNS_MAX) {
            writeln!(out, "- too old to count by --max-age: `{run}`, {}", verdict.as_str())?;
        }
        if self.outdated.len() > RUNS_MAX {
            write_more(out, self.outdated.len(), RUNS_MAX, "too old")?;
        }
        for Excluded { run, reason } in self.excluded.iter().take(RUNS_MAX) {
            writeln!(out, "- left out `{run}`: {}", inline(reason, DETAIL_MAX))?;
        }
        match self.excluded.len() {
            0 if self.outdated.is_empty() => Ok(()),
            0 => writeln!(out),
            count => write_more(out, count, RUNS_MAX, "left out"),
        }
    }
}

impl Matrix {
    /// The matrix as Markdown, with a newline at its end and never more than 60,000 characters.
    pub fn to_markdown(&self) -> String {
        let mut out = String::new();
        let facts: Vec<_> = addresses(&self.clusters).collect();
        // Writing to a String cannot fail.
        let _ = self.outcome(&[]).write_head(&mut out, &facts);
        let _ = self.write_cells(&mut out);
        out
    }

    fn write_cells(&self, out: &mut String) -> std::fmt::Result {
        for drift in self.drift.iter().take(DRIFT_MAX) {
            writeln!(out, "- not what it was: {}", inline(&drift.sentence(), DETAIL_MAX))?;
        }
        if !self.drift.is_empty() {
            write_more(out, self.drift.len(), DRIFT_MAX, "such")?;
        } else if !self.baselines.is_empty() {
            let names: Vec<_> = self.baselines.iter().map(|name| inline(name, NAME_MAX)).collect();
            writeln!(out, "Everything is as it was in {}\n", names.join(", "))?;
        }
        let (same, others): (Vec<_>, Vec<_>) =
            self.rows.iter().partition(|row| row.likeness == Likeness::Same);
        if !others.is_empty() {
            writeln!(out, "| | row | old | new | why, or what helps |\n|:--|:--|:--|:--|:--|")?;
            for row in others {
                let (sign, word) = (sign(status(row.likeness)), row.likeness.as_str());
                let [old, new] = ClusterRole::ALL.map(|on| inline(&row.shown(on), CELL_MAX));
                let (name, meaning) = (row.row.as_str(), row.row.meaning());
                let why = inline(row.why(), CELL_MAX);
                writeln!(out, "| {sign} {word} | {name}: {meaning} | {old} | {new} | {why} |")?;
            }
            writeln!(out)?;
        }
        let rows = if same.len() == 1 { "row is" } else { "rows are" };
        writeln!(out, "<details><summary>{} {rows} the same</summary>\n", same.len())?;
        writeln!(out, "| row | old | new |\n|:--|:--|:--|")?;
        for row in same {
            let [old, new] = ClusterRole::ALL.map(|on| inline(&row.shown(on), CELL_MAX));
            writeln!(out, "| {} | {old} | {new} |", row.row.as_str())?;
        }
        writeln!(out, "\n</details>\n")?;
        if !self.left_out.is_empty() {
            let names: Vec<_> = self.left_out.iter().map(|probe| probe.as_str()).collect();
            writeln!(out, "Not tried: {}\n", names.join(", "))?;
        }
        Ok(())
    }
}

impl Outcome<'_> {
    fn write_head(&self, out: &mut String, facts: &[String]) -> std::fmt::Result {
        let (sign, name) = (sign(self.status()), inline(self.scenario, NAME_MAX));
        writeln!(out, "## {sign} {}: {name}\n", self.word)?;
        writeln!(out, "{}\n", inline(self.reason, REASON_MAX))?;
        writeln!(out, "{}\n", facts.join(" · "))
    }

    fn write_open_checks(&self, out: &mut String) -> std::fmt::Result {
        let open = self.failed_or_open();
        if open.is_empty() {
            return Ok(());
        }
        // Under a GO nothing of it matters: it must not look as if it did.
        let heading = match self.verdict {
            Verdict::Go => "Failed or open, and not required",
            Verdict::NoGo | Verdict::Inconclusive => "Failed and open checks",
        };
        writeln!(out, "### {heading}\n")?;
        writeln!(out, "| | check | on | what was seen |\n|:--|:--|:--|:--|")?;
        for finding in open.iter().take(CHECKS_MAX) {
            let sign = sign(finding.status);
            let not_required = if finding.required { "" } else { " (not required)" };
            let row = row(finding);
            writeln!(out, "| {sign} {} | {row}{not_required} |", word(finding.status))?;
        }
        write_more(out, open.len(), CHECKS_MAX, "checks")
    }

    fn write_passed_checks(&self, out: &mut String) -> std::fmt::Result {
        let passed = self.passed();
        if passed.is_empty() {
            return Ok(());
        }
        let count = passed.len();
        let checks = if count == 1 { "check" } else { "checks" };
        writeln!(out, "<details><summary>{count} {checks} passed</summary>\n")?;
        writeln!(out, "| check | on | what was seen |\n|:--|:--|:--|")?;
        for finding in passed.iter().take(PASSED_MAX) {
            let not_required = if finding.required { "" } else { " (not required)" };
            writeln!(out, "| {}{not_required} |", row(finding))?;
        }
        write_more(out, count, PASSED_MAX, "checks")?;
        writeln!(out, "</details>\n")
    }
}

/// What each cluster is.
fn addresses(of: &BTreeMap<ClusterRole, String>) -> impl Iterator<Item = String> {
    of.iter().map(|(role, address)| format!("{role}: {}", inline(address, NAME_MAX)))
}

fn printable_line(c: char) -> char {
    if c == '\n' { c } else { printable(c) }
}

/// A check as the cells of a row, the last one still open.
fn row(finding: &Finding) -> String {
    let name = inline(&finding.name, NAME_MAX);
    format!("{name} | {} | {}", on(finding.cluster), inline(&finding.detail, DETAIL_MAX))
}

fn write_more(out: &mut String, all: usize, shown: usize, what: &str) -> std::fmt::Result {
    if all > shown {
        writeln!(out, "\nand {} more {what}", grouped((all - shown) as u64))?;
    }
    writeln!(out)
}

/// One incident. Its number is not written with a hash: GitHub would link an issue.
fn line(incident: &IncidentReport) -> String {
    let time = inline(incident.time(), NAME_MAX);
    let mut line = format!("{time} {} {}", incident.cluster, incident.kind.as_str());
    line = line.replace('_', " ");
    if let Some(channel) = &incident.channel {
        let _ = write!(line, " on {}", inline(channel, NAME_MAX));
    }
    if let Some(seq) = incident.seq {
        let _ = write!(line, " seq {seq}");
    }
    if incident.witnesses > 1 {
        let _ = write!(line, " at {} witnesses", grouped(incident.witnesses));
    }
    match incident.why() {
        "" => line,
        why => line + ": " + &inline(why, DETAIL_MAX),
    }
}

/// A text within a line, of at most `chars_max` characters and an ellipsis: nothing in it is
/// markup, a mention, a reference, a link or a formula.
fn inline(text: &str, chars_max: usize) -> String {
    let (mut out, mut left) = (String::new(), chars_max);
    let mut before = ' ';
    for c in text.chars().map(printable) {
        let mut buffer = [0; 4];
        // An empty comment parts what GitHub looks for in the text: `@name`, `#1`, `://`, `www.`.
        let written: &str = match c {
            '@' => "@<!-- -->",
            '#' => "\\#<!-- -->",
            '/' if before == ':' => "<!-- -->/",
            '.' if matches!(before, 'w' | 'W') => "<!-- -->.",
            // The way that GitHub's documentation has for a dollar that begins no formula.
            '$' => "<span>$</span>",
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '|' | '~' | '!' => {
                out.push('\\');
                left = left.saturating_sub(1);
                c.encode_utf8(&mut buffer)
            }
            // What begins a list, a quotation or a rule begins it only at a line's start.
            '+' | '-' | '=' if out.is_empty() => {
                out.push('\\');
                c.encode_utf8(&mut buffer)
            }
            _ => c.encode_utf8(&mut buffer),
        };
        let length = written.chars().count();
        if length > left {
            out.push('…');
            return out;
        }
        left -= length;
        out.push_str(written);
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn the_verdict_comes_first_as_a_word_and_then_its_reasons() {
        for (verdict, heading) in [
            (Verdict::Go, "## ✅ GO: cutover"),
            (Verdict::NoGo, "## ❌ NO-GO: cutover"),
            (Verdict::Inconclusive, "## ⚠️ INCONCLUSIVE: cutover"),
        ] {
            let report = Report { verdict, ..testing::report() };
            let text = report.to_markdown();
            let lines: Vec<_> = text.lines().take(5).collect();
            let reason = "old: 0 of 1,000 publications lost, below 0.30 %";
            assert_eq!(lines[..3], [heading, "", reason], "{text}");
            assert!(lines[4].contains("**rehearsed**"), "{text}");
        }
    }

    #[test]
    fn old_and_new_stand_side_by_side_with_the_labels_of_the_table() {
        let text = testing::report().to_markdown();
        assert!(text.contains("| | old | new |\n|:--|--:|--:|\n"), "{text}");
        assert!(text.contains("| publications sent | 1,000 | 1,000 |"), "{text}");
        assert!(text.contains("| &emsp;lost | 0 | 3 |"), "{text}");
        assert!(text.contains("| events covered on both | | 997 of 1,000 |"), "{text}");
        let text = testing::steady().to_markdown();
        assert!(text.contains("| | new |\n|:--|--:|\n"), "{text}");
        assert!(!text.contains("covered on both"), "{text}");
    }

    #[test]
    fn failed_and_open_checks_are_shown_and_the_required_ones_first() {
        let mut report = testing::report();
        report.checks = vec![
            testing::finding("connect", "old", false, Status::Fail),
            testing::finding("loss", "new", true, Status::Inconclusive),
            testing::finding("coverage", "both", true, Status::Fail),
            testing::finding("late", "new", true, Status::Pass),
        ];
        let text = report.to_markdown();
        let rows: Vec<_> = text.lines().filter(|l| l.contains(" what ")).collect();
        let expected = [
            "| | check | on | what was seen |",
            "| ❌ fail | coverage | both | what coverage saw on both |",
            "| ⚠️ open | loss | new | what loss saw on new |",
            "| ❌ fail | connect | old | what connect saw on old (not required) |",
            "| check | on | what was seen |",
            "| late | new | what late saw on new |",
        ];
        assert_eq!(rows, expected, "{text}");
    }

    #[test]
    fn ten_incidents_are_named_and_the_others_counted() {
        let mut report = testing::report();
        report.incidents_dropped = 5;
        let first = report.incidents[0].clone();
        report.incidents.extend(vec![first; 20]);
        let text = report.to_markdown();
        let named = text.lines().filter(|l| l.starts_with("- 04:00:")).count();
        assert_eq!(named, INCIDENTS_MAX, "{text}");
        assert!(text.contains("\nand 18 more incidents\n"), "{text}");
        let one = "- 04:00:02.500 new lost on private-pc-1 seq 77 at 2 witnesses\n";
        assert!(text.contains(one), "{text}");
    }

    #[test]
    fn hostile_text_is_no_markup() {
        let text = inline(testing::HOSTILE, usize::MAX);
        assert!(!text.contains('\n') && !text.contains('\u{1b}') && !text.contains('\u{202e}'));
        for markup in ["<script", "<img", "@everyone", "://", "www.", "#1", " $x$", "<!-- \u{fffd}"]
        {
            assert!(!text.contains(markup), "{markup} in {text}");
        }
        let is_escaped = |c: char| {
            let at = text.match_indices(c);
            at.into_iter().all(|(at, _)| text[..at].ends_with('\\'))
        };
        assert!("`|*_[]~".chars().all(is_escaped), "{text}");
        assert_eq!(inline("- a", 9), "\\- a");
        assert_eq!(inline("abc", 2), "ab…");
        // A table keeps its columns.
        let hostile = testing::hostile();
        let pool = testing::pool(&hostile, 2).to_markdown();
        for (text, begins, columns) in
            [(&hostile.to_markdown(), "| ❌ ", 4), (&pool, "| ❌ ", 4), (&pool, "| `", 5)]
        {
            let rows: Vec<_> = text.lines().filter(|line| line.starts_with(begins)).collect();
            assert!(!rows.is_empty(), "{text}");
            for row in rows {
                assert_eq!(row.replace("\\|", "").matches('|').count(), columns + 1, "{row}");
            }
        }
    }

    #[test]
    fn runs_that_are_judged_together_are_named_and_so_are_those_that_are_left_out() {
        let text = testing::pool(&testing::report(), 2).to_markdown();
        let reason = "old: 0 of 1,000 publications lost, below 0.30 %";
        let lines: Vec<_> = text.lines().take(5).collect();
        assert_eq!(lines[..3], ["## ✅ GO: cutover", "", reason], "{text}");
        for said in ["2 runs together", "left out by --no-history", "however often one looks"] {
            assert!(lines[4].contains(said), "{text}");
        }
        assert_eq!(text.matches("\n| `01a20437-").count(), 2, "{text}");
        assert!(text.contains("| 1,000 on old, 1,000 on new | cutover |\n"), "{text}");
        assert_eq!(text.matches("\n- left out `01a20437-").count(), 1, "{text}");
    }

    #[test]
    fn it_always_fits_a_comment() {
        let text = testing::monstrous().to_markdown();
        let count = text.chars().count();
        assert!(count < CHARS_MAX && count > CHARS_MAX / 3, "{count} characters");
        assert!(text.contains("and 1,960 more checks"), "{text}");
        assert!(text.contains("and 17,335 more incidents"), "{text}");
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
        let text = testing::pool(&testing::monstrous(), 1_000).to_markdown();
        let count = text.chars().count();
        assert!(count < CHARS_MAX && count > CHARS_MAX / 3, "{count} characters");
        assert!(text.contains("and 980 more runs"), "{text}");
        assert!(text.contains("and 480 more left out"), "{text}");
    }

    #[test]
    fn a_run_without_anything_says_so() {
        let text = testing::empty().to_markdown();
        assert!(text.contains("Nothing was measured on any cluster."), "{text}");
        assert!(text.contains("**the record has no end**"), "{text}");
    }
}
