//! What `parity` found: in what two apps behave alike, row by row, and what is not as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use anstyle::Style;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ClusterRole;
use crate::verify::parity::{Likeness, ParityFigures, Probe, Reading, Row};
use crate::verify::verdict::{Finding, Status, Verdict};

use super::build::rfc3339_of;
use super::json::ReadError;
use super::outcome::Outcome;
use super::parity::ParityRow;
use super::text::{addresses, shown, status_style, wrap, write_addresses, write_wrapped};
use super::{SCHEMA, Tool, form};

/// Columns of a row's name, and of each cell behind it.
const NAME_WIDTH: usize = 28;
const CELL_WIDTH: usize = 26;
/// Rows that the outcome's reason names of each likeness.
const NAMED_MAX: usize = 8;
/// So many rows that were not tested for one reason are shown together.
const TOGETHER_MIN: usize = 3;

/// Two apps compared from outside: what `parity --report-json` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Matrix {
    /// The form of this document.
    pub schema: u32,
    /// What compared.
    pub tool: Tool,
    /// The scenario's name.
    pub scenario: String,
    /// When it began: RFC 3339.
    #[schemars(with = "form::Instant")]
    pub started_at: String,
    /// When it ended: RFC 3339.
    #[schemars(with = "form::Instant")]
    pub ended_at: String,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
    /// What each cluster is.
    pub clusters: BTreeMap<ClusterRole, String>,
    /// The worst of all rows and of all drift.
    pub outcome: Likeness,
    /// The outcome in one paragraph.
    pub reason: String,
    /// Row by row.
    pub rows: Vec<ParityRow>,
    /// What was not tried, as somebody wanted it or because it takes minutes.
    pub left_out: Vec<Probe>,
    /// Earlier matrices that it was compared with, as they were named.
    #[serde(default)]
    pub baselines: Vec<String>,
    /// What an app does otherwise than in one of them.
    pub drift: Vec<Drift>,
}

/// A reading that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// The earlier matrix, as it was named.
    pub baseline: String,
    /// What is compared.
    pub row: Row,
    /// On which cluster.
    pub cluster: ClusterRole,
    /// What was found then.
    pub then: Reading,
    /// What is found now.
    pub now: Reading,
    /// Why a difference is wanted, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

impl Drift {
    /// In one sentence.
    pub(super) fn sentence(&self) -> String {
        let Self { baseline, row, cluster, then, now, accepted } = self;
        let (then, now) = (then.shown(), now.shown());
        let because = accepted.as_ref().map_or(String::new(), |why| format!(" (accepted: {why})"));
        format!("{} on {cluster}: {then} in {baseline}, {now} now{because}", row.as_str())
    }
}

/// What a matrix is made of, besides its readings.
#[derive(Clone, Debug)]
pub struct MatrixHead {
    /// The version that compared.
    pub version: String,
    /// The scenario's name.
    pub scenario: String,
    /// When it began, since 1970 in UTC.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// The scenario's settings, without its secrets.
    pub settings: serde_json::Value,
    /// What was not tried.
    pub left_out: Vec<Probe>,
}

impl Matrix {
    /// Judges what was found; `baselines` are earlier matrices, each by its name.
    pub fn new(head: MatrixHead, figures: &ParityFigures, baselines: &[(String, Self)]) -> Self {
        let rows = ParityRow::all(figures);
        let drift: Vec<_> =
            baselines.iter().flat_map(|(name, then)| then.drift(name, &rows)).collect();
        let MatrixHead { version, scenario, began, ended, settings, left_out } = head;
        let of_drift = |drift: &Drift| match drift.accepted {
            Some(_) => Likeness::Accepted,
            None => Likeness::Differs,
        };
        let worst = rows.iter().map(|row| row.likeness).chain(drift.iter().map(of_drift)).max();
        let mut matrix = Self {
            schema: SCHEMA,
            tool: Tool::of(version),
            scenario,
            started_at: instant(began),
            ended_at: instant(ended),
            seconds: ended.saturating_sub(began).as_secs_f64(),
            clusters: addresses(&settings, &ClusterRole::ALL),
            // Nothing was compared.
            outcome: worst.unwrap_or(Likeness::NotTested),
            reason: String::new(),
            rows,
            left_out,
            baselines: baselines.iter().map(|(name, _)| name.clone()).collect(),
            drift,
        };
        matrix.reason = matrix.said();
        matrix
    }

    /// Why an earlier matrix says less of this one than it seems to.
    pub fn unlike(&self, then: &Self) -> Vec<String> {
        let mut why = Vec::new();
        for (role, now) in &self.clusters {
            if let Some(was) = then.clusters.get(role).filter(|was| *was != now) {
                why.push(format!("is of another {role} cluster: {was}, where it is {now} now"));
            }
        }
        let is_tested = |row: &&ParityRow| row.likeness != Likeness::NotTested;
        let known =
            |row: &&ParityRow| then.rows.iter().filter(is_tested).any(|was| was.row == row.row);
        let unknown = self.rows.iter().filter(|row| !known(row)).count();
        if unknown > 0 {
            let all = self.rows.len();
            why.push(format!("says nothing of {unknown} of {all} rows, which it did not test"));
        }
        why
    }

    /// In what later rows are otherwise.
    fn drift(&self, name: &str, later: &[ParityRow]) -> Vec<Drift> {
        let mut drift = Vec::new();
        for now in later {
            let Some(then) = self.rows.iter().find(|then| then.row == now.row) else { continue };
            for cluster in ClusterRole::ALL {
                let pair = then.readings.get(&cluster).zip(now.readings.get(&cluster));
                let Some((then, reading)) = pair else { continue };
                if then.compared(reading, now.row.slack()) == Likeness::Differs {
                    drift.push(Drift {
                        baseline: name.to_owned(),
                        row: now.row,
                        cluster,
                        then: then.clone(),
                        now: reading.clone(),
                        accepted: now.accepted.clone(),
                    });
                }
            }
        }
        drift
    }

    /// The rows that came to this.
    pub(super) fn of(&self, likeness: Likeness) -> impl Iterator<Item = &ParityRow> {
        self.rows.iter().filter(move |row| row.likeness == likeness)
    }

    fn said(&self) -> String {
        let (same, all) = (self.of(Likeness::Same).count(), self.rows.len());
        let mut said = format!("both apps behave alike in {same} of {all} rows");
        for (likeness, what) in [
            (Likeness::Differs, "differ"),
            (Likeness::NotTested, "not tested"),
            (Likeness::Accepted, "wanted to differ"),
        ] {
            let names: Vec<_> = self.of(likeness).map(|row| row.row.as_str()).collect();
            if !names.is_empty() {
                let _ = write!(said, "; {what}: {}", some(&names));
            }
        }
        let drifted: BTreeSet<_> = self.drift.iter().map(|drift| drift.row.as_str()).collect();
        if !drifted.is_empty() {
            let names: Vec<_> = drifted.into_iter().collect();
            let _ = write!(said, "; not what it was: {}", some(&names));
        }
        said
    }

    /// Each row as what a verdict rests on.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let of = |row: &ParityRow| Finding {
            name: row.row.as_str().into(),
            cluster: None,
            required: true,
            status: status(row.likeness),
            observed: None,
            limit: None,
            target: None,
            unit: "".into(),
            evidence: row.readings.len() as u64,
            detail: row.sentence(),
        };
        self.rows.iter().map(of).collect()
    }

    /// The outcome, with what it rests on.
    pub(super) fn outcome<'a>(&'a self, findings: &'a [Finding]) -> Outcome<'a> {
        let verdict = match status(self.outcome) {
            Status::Pass => Verdict::Go,
            Status::Inconclusive => Verdict::Inconclusive,
            Status::Fail => Verdict::NoGo,
        };
        let (word, scenario, reason) = (self.word(), &self.scenario, &self.reason);
        Outcome { verdict, word, scenario, reason, checks: findings, noun: "Rows" }
    }

    /// The outcome in a word.
    const fn word(&self) -> &'static str {
        match self.outcome {
            Likeness::Same | Likeness::Accepted => "SAME",
            Likeness::NotTested => "INCONCLUSIVE",
            Likeness::Differs => "DIFFERS",
        }
    }

    /// The matrix as text, for a terminal.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "parity of {}", shown(&self.scenario))?;
        write_addresses(out, &self.clusters)?;
        writeln!(out, "\n{:NAME_WIDTH$}{:CELL_WIDTH$}new", "", "old")?;
        for likeness in [Likeness::Differs, Likeness::NotTested, Likeness::Accepted, Likeness::Same]
        {
            let mut rows = self.of(likeness).peekable();
            if rows.peek().is_none() {
                continue;
            }
            let style = if likeness == Likeness::Same {
                Style::new().bold()
            } else {
                status_style(status(likeness))
            };
            writeln!(out, "{style}{}{style:#}", likeness.as_str())?;
            let rows: Vec<_> = rows.collect();
            match likeness {
                Likeness::NotTested => write_open(out, &rows)?,
                _ => rows.iter().try_for_each(|row| row.write_cells(out))?,
            }
        }
        writeln!(out)?;
        for drift in &self.drift {
            write_wrapped(out, &drift.sentence(), ("", "  "))?;
        }
        for name in &self.baselines {
            if !self.drift.iter().any(|drift| drift.baseline == *name) {
                write_wrapped(out, &format!("everything is as it was in {name}"), ("", "  "))?;
            }
        }
        if !self.left_out.is_empty() {
            let names: Vec<_> = self.left_out.iter().map(|probe| probe.as_str()).collect();
            write_wrapped(out, &format!("not tried: {}", names.join(", ")), ("", "  "))?;
        }
        let (style, word) = (status_style(status(self.outcome)), self.word());
        let mut lines = wrap(&self.reason, 80 - word.len() - 2).into_iter();
        writeln!(out, "{style}{word}{style:#}  {}", lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| writeln!(out, "{:indent$}{line}", "", indent = word.len() + 2))
    }

    /// The matrix as JSON with a newline at its end.
    pub fn to_json(&self) -> String {
        // Every map key is a string, so this cannot fail.
        super::json::pretty(self)
    }

    /// Reads what [`Matrix::to_json`] wrote.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        super::json::read(text)
    }
}

/// The first of many names.
fn some(names: &[&str]) -> String {
    match names.get(..NAMED_MAX) {
        Some(first) if names.len() > NAMED_MAX => {
            format!("{} and {} more", first.join(", "), names.len() - NAMED_MAX)
        }
        _ => names.join(", "),
    }
}

fn instant(since_epoch: Duration) -> String {
    rfc3339_of(i128::try_from(since_epoch.as_nanos()).unwrap_or_default())
}

/// Rows that were not tested; many for one reason together.
fn write_open(out: &mut String, rows: &[&ParityRow]) -> std::fmt::Result {
    let cells = |row: &ParityRow| ClusterRole::ALL.map(|role| row.shown(role));
    let mut left: Vec<_> = rows.to_vec();
    while let Some(first) = left.first().copied() {
        let (alike, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|row| cells(row) == cells(first));
        left = others;
        if alike.len() < TOGETHER_MIN {
            alike.iter().try_for_each(|row| row.write_cells(out))?;
            continue;
        }
        let names: Vec<_> = alike.iter().map(|row| row.row.as_str()).collect();
        write_wrapped(out, &names.join(", "), ("  ", "  "))?;
        let [old, new] = cells(first);
        let why = match old == new {
            true => old,
            false => format!("old: {old}; new: {new}"),
        };
        write_wrapped(out, &why, ("    ", "    "))?;
    }
    Ok(())
}

/// The status that looks like what a row came to.
pub(super) const fn status(likeness: Likeness) -> Status {
    match likeness {
        Likeness::Same | Likeness::Accepted => Status::Pass,
        Likeness::NotTested => Status::Inconclusive,
        Likeness::Differs => Status::Fail,
    }
}

impl ParityRow {
    /// Why it is not the same, or what helps.
    pub(super) fn why(&self) -> &str {
        match (&self.accepted, self.likeness) {
            (Some(why), Likeness::Accepted) => why,
            _ => &self.advice,
        }
    }

    /// Name, old and new beside each other; what is the same, once.
    fn write_cells(&self, out: &mut String) -> std::fmt::Result {
        let [old, new] = ClusterRole::ALL.map(|role| self.shown(role));
        let (name, is_one) = (self.row.as_str(), old == new);
        let width = if is_one { 2 * CELL_WIDTH } else { CELL_WIDTH } - 1;
        let (old, new) = (wrap(&old, width), if is_one { Vec::new() } else { wrap(&new, width) });
        for at in 0..old.len().max(new.len()) {
            let of = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
            let name = if at == 0 { name } else { "" };
            let line =
                format!("  {name:<0$}{1:<CELL_WIDTH$}{2}", NAME_WIDTH - 2, of(&old), of(&new));
            writeln!(out, "{}", line.trim_end())?;
        }
        let meaning = match (self.likeness, self.why()) {
            (Likeness::Same, _) => return Ok(()),
            (_, "") => self.row.meaning().to_owned(),
            (_, why) => format!("{}; {why}", self.row.meaning()),
        };
        write_wrapped(out, &meaning, ("    ", "    "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn head() -> MatrixHead {
        let of = |url: &str| serde_json::json!({ "ws_url": url, "app_id": "7" });
        MatrixHead {
            version: "0.1.0".to_owned(),
            scenario: "cutover".to_owned(),
            began: Duration::from_secs(1_780_000_000),
            ended: Duration::from_secs(1_780_000_042),
            settings: serde_json::json!({
                "clusters": { "old": of("wss://old.example"), "new": of("wss://new.example") }
            }),
            left_out: vec![Probe::PresenceSilent],
        }
    }

    /// A matrix of every likeness.
    fn matrix(text: &str) -> Matrix {
        Matrix::new(head(), &ParityRow::figures(&testing::parity(text)), &[])
    }

    #[test]
    fn the_worst_row_comes_first_and_what_is_the_same_is_said_once() {
        let text = anstream::adapter::strip_str(&matrix("wanted so").to_text()).to_string();
        let expected = "\
parity of cutover
old  wss://old.example, app 7
new  wss://new.example, app 7

                            old                       new
differs
  client-events             private, presence         unsupported (4301)
    client events are delivered on; let the same kinds of channel have client
    events on both, where the server allows it
not tested
  several-channels          once on each              not tested
    a publication to three channels arrives
accepted
  client-events-user-id     yes                       no
    a client event names its sender; wanted so
same
  cache-miss                yes

not tried: presence-silent
DIFFERS  both apps behave alike in 1 of 4 rows; differ: client-events; not
         tested: several-channels; wanted to differ: client-events-user-id
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let matrix = matrix("wanted so");
        assert_eq!(Matrix::from_json(&matrix.to_json()).unwrap(), matrix);
        let other = matrix.to_json().replace("\"schema\": 1", "\"schema\": 2");
        assert!(Matrix::from_json(&other).unwrap_err().to_string().contains("has schema 2"));
    }

    #[test]
    fn the_outcome_is_the_worst_of_rows_and_of_drift() {
        let rows = |likeness: Likeness| {
            let mut rows = testing::parity("wanted so");
            rows.retain(|row| row.likeness == likeness);
            ParityRow::figures(&rows)
        };
        for (likeness, word) in [
            (Likeness::Same, "SAME"),
            (Likeness::Accepted, "SAME"),
            (Likeness::NotTested, "INCONCLUSIVE"),
            (Likeness::Differs, "DIFFERS"),
        ] {
            let matrix = Matrix::new(head(), &rows(likeness), &[]);
            assert_eq!((matrix.outcome, matrix.word()), (likeness, word));
        }
        let nothing = Matrix::new(head(), &ParityFigures::default(), &[]);
        assert_eq!(nothing.outcome, Likeness::NotTested);
        // What was otherwise on both is the same, and drift on each.
        let mut then = Matrix::new(head(), &rows(Likeness::Same), &[]);
        for row in &mut then.rows {
            row.readings.values_mut().for_each(|of| *of = Reading::Value("no".to_owned()));
        }
        let matrix = Matrix::new(head(), &rows(Likeness::Same), &[("then.json".to_owned(), then)]);
        assert_eq!((matrix.outcome, matrix.drift.len()), (Likeness::Differs, 2));
        assert_eq!(matrix.drift[0].sentence(), "cache-miss on old: no in then.json, yes now");
        assert!(matrix.reason.ends_with("in 1 of 1 rows; not what it was: cache-miss"));
    }

    #[test]
    fn hostile_text_stays_text_in_every_form() {
        let mut matrix = matrix(testing::HOSTILE);
        matrix.scenario = testing::HOSTILE.to_owned();
        matrix.clusters.insert(ClusterRole::New, testing::HOSTILE.to_owned());
        for form in [matrix.to_html(), matrix.to_junit(), matrix.to_markdown()] {
            assert!(!form.contains("<script"), "{form}");
        }
        let text = anstream::adapter::strip_str(&matrix.to_text()).to_string();
        assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{text}");
    }
}
