//! The report as JUnit XML, for what shows test results: each check is a test case, and so is the
//! verdict. A suite is green exactly if the verdict is GO. The form is that of Jenkins' schema
//! (junit-4.xsd), which the readers of other CI systems take as well.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::ClusterRole;
use crate::verify::verdict::{Finding, Status, Verdict};

use super::markup::entity;
use super::outcome::Outcome;
use super::text::{figure, on, printable, word};
use super::{Matrix, Pool, Report};

/// How a test case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Passed,
    Failed,
    /// It could not be decided. CI systems show an error as red, as they do a failure.
    Error,
    /// The verdict does not rest on it, and it did not pass.
    Skipped,
}

impl Ended {
    fn of(finding: &Finding) -> Self {
        match (finding.status, finding.required) {
            (Status::Pass, _) => Self::Passed,
            (Status::Fail, true) => Self::Failed,
            (Status::Inconclusive, true) => Self::Error,
            (Status::Fail | Status::Inconclusive, false) => Self::Skipped,
        }
    }

    const fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Go => Self::Passed,
            Verdict::NoGo => Self::Failed,
            Verdict::Inconclusive => Self::Error,
        }
    }

    /// The element within the test case; what passed has none.
    const fn element(self) -> Option<&'static str> {
        match self {
            Self::Passed => None,
            Self::Failed => Some("failure"),
            Self::Error => Some("error"),
            Self::Skipped => Some("skipped"),
        }
    }
}

/// One test case.
struct Case {
    name: String,
    about: &'static str,
    ended: Ended,
    /// The status in a word.
    kind: &'static str,
    message: String,
    text: String,
}

impl Case {
    fn of_verdict(outcome: Outcome<'_>) -> Self {
        Self {
            name: "verdict".to_owned(),
            about: "both",
            ended: Ended::of_verdict(outcome.verdict),
            kind: match outcome.verdict {
                Verdict::Inconclusive => Status::Inconclusive.as_str(),
                _ => outcome.word,
            },
            message: outcome.reason.to_owned(),
            text: outcome.reason.to_owned(),
        }
    }

    fn of(finding: &Finding) -> Self {
        let Finding { name, cluster, required, status, detail, unit, evidence, .. } = finding;
        let mut text = format!("{detail}\nstatus: {}", status.as_str());
        if !required {
            text.push_str(", not required");
        }
        for (what, value) in
            [("compared", finding.observed), ("limit", finding.limit), ("target", finding.target)]
        {
            if let Some(value) = value {
                let _ = write!(text, "\n{what}: {}", figure(value, unit));
            }
        }
        let _ = write!(text, "\nevidence: {evidence}");
        let not_required = if *required { "" } else { " (not required)" };
        Self {
            name: name.to_string(),
            about: on(*cluster),
            ended: Ended::of(finding),
            kind: status.as_str(),
            message: format!("{}: {detail}{not_required}", word(*status)),
            text,
        }
    }
}

impl Report {
    /// The report as JUnit XML, with a newline at its end.
    pub fn to_junit(&self) -> String {
        let run = self.run.to_string();
        let suite = Suite {
            outcome: self.outcome(),
            seconds: self.publishing_seconds.max(0.0),
            timestamp: &self.started_at,
            clusters: &self.addresses(),
            properties: &[
                ("run", &run),
                ("phase", self.phase.as_str()),
                ("version", &self.tool.version),
            ],
            table: &self.to_text(),
        };
        suite.to_junit()
    }
}

impl Pool {
    /// The outcome as JUnit XML, with a newline at its end.
    pub fn to_junit(&self) -> String {
        let mut runs: Vec<_> = self.runs.iter().map(|run| run.run.to_string()).collect();
        // Agents are all of one run.
        runs.extend(self.agents.first().map(|agent| agent.run.to_string()));
        let ended = self.runs.iter().map(|run| &run.ended_at);
        let ended = ended.chain(self.agents.iter().map(|agent| &agent.ended_at)).max();
        let suite = Suite {
            outcome: self.outcome(),
            seconds: 0.0,
            timestamp: ended.map_or("", String::as_str),
            clusters: &self.clusters,
            properties: &[("runs", &runs.join(" ")), ("phase", self.phase.as_str())],
            table: &self.to_text(),
        };
        suite.to_junit()
    }
}

impl Matrix {
    /// The matrix as JUnit XML, with a newline at its end: each row is a test case.
    pub fn to_junit(&self) -> String {
        let findings = self.findings();
        let suite = Suite {
            outcome: self.outcome(&findings),
            seconds: self.seconds,
            timestamp: &self.started_at,
            clusters: &self.clusters,
            properties: &[("version", &self.tool.version)],
            table: &self.to_text(),
        };
        suite.to_junit()
    }
}

/// What a test suite is made of.
struct Suite<'a> {
    outcome: Outcome<'a>,
    /// How long it took.
    seconds: f64,
    /// RFC 3339; empty if there is none.
    timestamp: &'a str,
    /// What each cluster is.
    clusters: &'a BTreeMap<ClusterRole, String>,
    /// Besides those of the outcome.
    properties: &'a [(&'static str, &'a str)],
    /// What a terminal shows.
    table: &'a str,
}

impl Suite<'_> {
    fn to_junit(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Outcome { word, scenario, reason, checks, .. } = self.outcome;
        // The verdict may rest on more than the checks: a record without its end, an agent that
        // failed. Were it no test case of its own, such a run would be green.
        let of_verdict = Case::of_verdict(self.outcome);
        let cases: Vec<_> =
            std::iter::once(of_verdict).chain(checks.iter().map(Case::of)).collect();
        let count = |ended| cases.iter().filter(|case| case.ended == ended).count();
        let (failures, errors) = (count(Ended::Failed), count(Ended::Error));
        let suite = escape(&format!("pusher-canary.{scenario}"));
        let counts =
            format!("tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\"", cases.len(),);
        let time = format!("time=\"{:.3}\"", self.seconds);
        writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
        writeln!(out, "<testsuites name=\"pusher-canary\" {counts} {time}>")?;
        write!(out, "  <testsuite name=\"{suite}\" {counts}")?;
        write!(out, " skipped=\"{}\" {time}", count(Ended::Skipped))?;
        if !self.timestamp.is_empty() {
            write!(out, " timestamp=\"{}\"", escape(self.timestamp))?;
        }
        writeln!(out, ">\n    <properties>")?;
        let mut properties = vec![("verdict", word), ("reason", reason)];
        properties.extend(self.clusters.iter().map(|(role, of)| (role.as_str(), of.as_str())));
        properties.extend(self.properties);
        for (name, value) in properties {
            writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escape(value))?;
        }
        writeln!(out, "    </properties>")?;
        for case in &cases {
            let (name, about) = (escape(&case.name), case.about);
            write!(out, "    <testcase name=\"{name}\" classname=\"{suite}.{about}\"")?;
            let Some(element) = case.ended.element() else {
                writeln!(out, "/>")?;
                continue;
            };
            let (message, text) = (escape(&case.message), escape(&case.text));
            // What is skipped has no attributes in the schema.
            let told = match case.ended {
                Ended::Skipped => String::new(),
                _ => format!(" type=\"{}\" message=\"{message}\"", case.kind),
            };
            writeln!(out, ">\n      <{element}{told}>{text}</{element}>")?;
            writeln!(out, "    </testcase>")?;
        }
        let table = anstream::adapter::strip_str(self.table).to_string();
        writeln!(out, "    <system-out>{}</system-out>", escape(&table).replace("&#10;", "\n"))?;
        writeln!(out, "  </testsuite>\n</testsuites>")
    }
}

/// A text for XML 1.0, within elements and attributes alike. What XML forbids, most control
/// characters, is shown as the character that stands for an unknown one.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Written out, a parser would make blanks of them in an attribute.
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => match entity(c) {
                Some(entity) => out.push_str(entity),
                None => out.push(printable(c)),
            },
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, finding};
    use super::*;

    /// The test cases as name, class and element, by the lines that begin them.
    fn cases(xml: &str) -> Vec<(String, String, String)> {
        let lines: Vec<_> = xml.lines().collect();
        let of = |(at, line): (usize, &&str)| {
            let name = line.strip_prefix("    <testcase name=\"")?.split('"').next()?;
            let class = line.split("classname=\"").nth(1)?.split('"').next()?;
            let element = if line.ends_with("/>") {
                ""
            } else {
                lines.get(at + 1)?.trim().strip_prefix('<')?.split([' ', '>']).next()?
            };
            Some((name.to_owned(), class.to_owned(), element.to_owned()))
        };
        lines.iter().enumerate().filter_map(of).collect()
    }

    fn case(name: &str, about: &str, element: &str) -> (String, String, String) {
        (name.to_owned(), format!("pusher-canary.cutover.{about}"), element.to_owned())
    }

    #[test]
    fn each_check_is_a_case_and_only_what_passed_or_is_not_required_is_not_red() {
        let mut report = testing::report();
        report.verdict = Verdict::NoGo;
        report.checks = vec![
            finding("loss", "new", true, Status::Fail),
            finding("evidence", "old", true, Status::Inconclusive),
            finding("duplicates", "new", true, Status::Pass),
            finding("connect", "old", false, Status::Fail),
            finding("coverage", "both", false, Status::Inconclusive),
        ];
        let xml = report.to_junit();
        let expected = [
            case("verdict", "both", "failure"),
            case("loss", "new", "failure"),
            case("evidence", "old", "error"),
            case("duplicates", "new", ""),
            case("connect", "old", "skipped"),
            case("coverage", "both", "skipped"),
        ];
        assert_eq!(cases(&xml), expected, "{xml}");
        let counts = "tests=\"6\" failures=\"2\" errors=\"1\" skipped=\"2\" time=\"11.400\"";
        assert!(xml.contains(counts), "{xml}");
        assert!(xml.contains("<error type=\"inconclusive\" message=\"open: "), "{xml}");
    }

    #[test]
    fn a_suite_is_green_exactly_if_the_verdict_is_go() {
        for verdict in [Verdict::Go, Verdict::NoGo, Verdict::Inconclusive] {
            let mut report = testing::report();
            report.verdict = verdict;
            let xml = report.to_junit();
            let is_green = xml.contains("failures=\"0\" errors=\"0\"");
            assert_eq!(is_green, verdict == Verdict::Go, "{xml}");
            assert!(xml.contains(&format!("name=\"verdict\" value=\"{}\"", verdict.as_str())));
        }
    }

    #[test]
    fn runs_that_are_judged_together_are_one_suite() {
        let mut pool = testing::pool(&testing::report(), 2);
        pool.verdict = Verdict::Inconclusive;
        let xml = pool.to_junit();
        assert_eq!(cases(&xml).len(), 1 + pool.checks.len(), "{xml}");
        assert_eq!(cases(&xml)[0], case("verdict", "both", "error"));
        let run = pool.runs[0].run;
        assert!(xml.contains(&format!("name=\"runs\" value=\"{run} {run}\"")), "{xml}");
        assert!(xml.contains(&format!("left out {run}: ")), "{xml}");
    }

    #[test]
    fn hostile_text_stays_text() {
        let report = testing::hostile();
        for xml in [report.to_junit(), testing::pool(&report, 2).to_junit()] {
            assert!(!xml.contains("<script"), "{xml}");
            assert!(!xml.contains("]]>"), "{xml}");
            let is_allowed = |c: char| !c.is_control() || c == '\n';
            assert!(xml.chars().all(is_allowed), "a control character is left");
        }
        assert!(escape("a\u{0}\u{1b}\u{ffff}b") == "a\u{fffd}\u{fffd}\u{fffd}b");
        assert_eq!(escape("\"a'\n<&>"), "&quot;a&#39;&#10;&lt;&amp;&gt;");
    }

    #[test]
    fn a_run_without_anything_is_still_a_suite() {
        let report = testing::empty();
        let xml = report.to_junit();
        assert!(xml.contains("tests=\"2\" failures=\"0\" errors=\"2\""), "{xml}");
        assert!(!xml.contains("timestamp"), "{xml}");
    }
}
