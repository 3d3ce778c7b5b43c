//! The report for a terminal: 80 columns, old and new side by side, the verdict at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::model::{ClusterRole, RunTime};
use crate::verify::account::{Account, ClusterAccount};
use crate::verify::figures::ClusterFigures;
use crate::verify::parity::Likeness;
use crate::verify::tally::BlindCause;
use crate::verify::verdict::{Finding, Status, Verdict};

use super::build::rfc3339;
use super::providers::ProviderReport;
use super::{Advice, EventsReport, IncidentReport, ParityRow, Report};

/// Columns of a line.
const WIDTH: usize = 80;
/// Incidents that are shown one by one.
const INCIDENTS_SHOWN: usize = 5;
/// Channels and events of the application that are shown one by one.
const DEFECTS_SHOWN: usize = 5;
/// Incidents and maintenances of providers that are shown one by one.
const SPANS_SHOWN: usize = 5;

const fn coloured(color: AnsiColor) -> Style {
    Style::new().bold().fg_color(Some(anstyle::Color::Ansi(color)))
}

pub(super) fn status_style(status: Status) -> Style {
    match status {
        Status::Pass => coloured(AnsiColor::Green),
        Status::Inconclusive => coloured(AnsiColor::Yellow),
        Status::Fail => coloured(AnsiColor::Red),
    }
}

pub(super) fn verdict_style(verdict: Verdict) -> Style {
    status_style(match verdict {
        Verdict::Go => Status::Pass,
        Verdict::NoGo => Status::Fail,
        Verdict::Inconclusive => Status::Inconclusive,
    })
}

/// A count with its thousands apart.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Milliseconds, or a dash where they are not known.
pub(super) fn millis(ms: Option<f64>) -> String {
    ms.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"))
}

/// What stands for a character in a text of one line: blanks for breaks, and the sign for an
/// unknown one for what has no shape of its own or changes the direction of writing.
pub(super) fn printable(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// What a check observed or asked, in its unit: to four digits, so that a bound which was rounded
/// up in words is not contradicted.
pub(super) fn figure(value: f64, unit: &str) -> String {
    let (value, suffix) = match unit {
        "ratio" => (value * 100.0, " %"),
        "ms" => (value, " ms"),
        _ => (value, ""),
    };
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        return format!("{}{suffix}", grouped(value as u64));
    }
    let decimals = (3.0 - value.abs().log10().floor()).clamp(0.0, 12.0);
    let text = format!("{:.*}", decimals as usize, value);
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &*text };
    format!("{text}{suffix}")
}

/// What each cluster is, a line each.
pub(super) fn write_addresses(
    out: &mut String,
    addresses: &BTreeMap<ClusterRole, String>,
) -> std::fmt::Result {
    for (role, address) in addresses {
        writeln!(out, "{:<4} {}", role.as_str(), shown(address))?;
    }
    Ok(())
}

/// What each of these clusters is by a run's settings: its socket's address and its app.
pub(super) fn addresses<'a>(
    settings: &serde_json::Value,
    roles: impl IntoIterator<Item = &'a ClusterRole>,
) -> BTreeMap<ClusterRole, String> {
    let of = |role: &ClusterRole| {
        let cluster = settings.get("clusters")?.get(role.as_str())?;
        let said = |key| cluster.get(key).and_then(serde_json::Value::as_str);
        Some((*role, format!("{}, app {}", said("ws_url")?, said("app_id")?)))
    };
    roles.into_iter().filter_map(of).collect()
}

impl Report {
    /// What each cluster is. Empty for a rehearsal's own.
    pub(super) fn addresses(&self) -> BTreeMap<ClusterRole, String> {
        addresses(&self.settings, self.clusters.keys())
    }

    /// The report as text. Styled; whoever prints it strips that where colour is not wanted.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_table(&mut out);
        let _ = write_checks(&mut out, &self.checks);
        let _ = self.write_mirror(&mut out);
        let _ = self.write_parity(&mut out);
        let _ = self.write_handover(&mut out);
        let _ = self.write_incidents(&mut out);
        let _ = self.write_providers(&mut out);
        let _ = self.write_advice(&mut out);
        let _ = write_verdict(&mut out, self.verdict, &self.reason);
        out
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        let rehearsed = if self.is_rehearsed() { " rehearsed" } else { "" };
        let phase = self.phase.as_str();
        writeln!(out, "{} ({phase}){rehearsed}, run {}", shown(&self.scenario), self.run)?;
        write_addresses(out, &self.addresses())?;
        if !self.proof {
            let window = Duration::try_from_secs_f64(self.planned_seconds.max(0.0));
            let window = window.unwrap_or(Duration::MAX);
            let window = humantime::format_duration(window);
            writeln!(out, "the last {window} of a watch: an alarm, no proof")?;
        }
        if let Some(others) = self.member.others() {
            writeln!(out, "{} alone: {others}", shown(&self.member.to_string()))?;
        }
        if self.cut_short {
            let seconds = self.publishing_seconds;
            writeln!(out, "cut short by a signal after {seconds:.1} s of publishing")?;
        }
        writeln!(out)?;
        let roles: Vec<_> = self.clusters.keys().copied().collect();
        write!(out, "{:<34}", "")?;
        for role in &roles {
            write!(out, "{:>18}", role.as_str())?;
        }
        writeln!(out)?;
        for (label, cells) in self.rows() {
            write!(out, "{label:<34}")?;
            for cell in cells {
                write!(out, "{cell:>18}")?;
            }
            writeln!(out)?;
        }
        if let Some((label, covered)) = self.covered() {
            writeln!(out, "{label:<34}{covered:>36}")?;
        }
        let Self { events, .. } = self;
        if let Some(mark) = watermark(events.covered_since.as_ref(), events.covered_until.as_ref())
        {
            writeln!(out, "{:<34}{mark:>36}", "watermark (UTC)")?;
        }
        if let Some(rehearsal) = &self.rehearsal {
            for (role, counts) in rehearsal {
                let done = faults_done(counts);
                if done.is_empty() {
                    continue;
                }
                let line = format!("faults done by {role}: {}", done.join(", "));
                write_wrapped(out, &line, ("", "  "))?;
            }
        }
        writeln!(out)
    }

    /// The table's last row, about both clusters; one cluster alone has none.
    pub(super) fn covered(&self) -> Option<(&'static str, String)> {
        let EventsReport { covered, total, unsent, .. } = self.events;
        let mut text = format!("{} of {}", grouped(covered), grouped(total));
        if unsent > 0 {
            text.push_str(&format!(", {} unsent", grouped(unsent)));
        }
        let joins = self.clusters.len() > 1 && self.phase.publishes();
        let joins = joins && self.member.role.witnesses();
        joins.then_some(("events covered on both", text))
    }

    /// What the application did, as both clusters carried it.
    fn write_mirror(&self, out: &mut String) -> std::fmt::Result {
        let Some(mirror) = &self.mirror else { return Ok(()) };
        writeln!(out, "real events")?;
        let mut lines = mirror.sentences();
        let one_sided = mirror.one_sided.iter().take(DEFECTS_SHOWN);
        lines.extend(one_sided.map(|(name, role)| format!("published to {role} only: {name}")));
        let telling = self.telling_defects(DEFECTS_SHOWN);
        lines.extend(telling.iter().map(|defect| defect.line()));
        for line in lines {
            write_wrapped(out, &line, ("  ", "    "))?;
        }
        let of_one_sided = |name: &String| mirror.one_sided.contains_key(name);
        let others = mirror.defects.iter().filter(|defect| !of_one_sided(&defect.channel)).count();
        let more = (others - telling.len()) as u64
            + mirror.one_sided.len().saturating_sub(DEFECTS_SHOWN) as u64;
        if more > 0 {
            writeln!(out, "  and {} more; --report-json names them", grouped(more))?;
        }
        writeln!(out)
    }

    /// How both apps behave.
    fn write_parity(&self, out: &mut String) -> std::fmt::Result {
        if self.parity.is_empty() {
            return Ok(());
        }
        writeln!(out, "how both apps behave")?;
        let is_same = |row: &&ParityRow| row.likeness == Likeness::Same;
        match self.parity.iter().filter(is_same).count() {
            0 => {}
            1 => writeln!(out, "  1 row is the same; every other form of the report has it")?,
            n => writeln!(out, "  {n} rows are the same; every other form of the report has them")?,
        }
        for row in self.parity.iter().filter(|row| !is_same(row)) {
            write_wrapped(out, &row.sentence(), ("  ", "    "))?;
        }
        writeln!(out)
    }

    /// What moving from old to new cost the virtual clients.
    fn write_handover(&self, out: &mut String) -> std::fmt::Result {
        let Some(handover) = &self.handover else { return Ok(()) };
        writeln!(out, "handover")?;
        for line in handover.sentences() {
            write_wrapped(out, &line, ("  ", "    "))?;
        }
        writeln!(out)
    }

    fn write_incidents(&self, out: &mut String) -> std::fmt::Result {
        if self.incidents.is_empty() {
            return Ok(());
        }
        for incident in self.telling_incidents(INCIDENTS_SHOWN) {
            let time = incident.time();
            let which = match (&incident.channel, incident.seq) {
                (Some(channel), Some(seq)) => format!(" {channel} #{seq}"),
                _ => String::new(),
            };
            let witnesses = match incident.witnesses {
                n if n > 1 => format!(" at {n} witnesses"),
                _ => String::new(),
            };
            let why = match incident.why() {
                "" => String::new(),
                why => format!(": {why}"),
            };
            let (cluster, kind) = (incident.cluster, incident.kind);
            let line = format!("{time} {cluster} {}{which}{witnesses}{why}", kind.as_str());
            write_wrapped(out, &line, ("", "  "))?;
        }
        let shown = self.incidents.len().min(INCIDENTS_SHOWN) as u64;
        let more = self.incidents.len() as u64 - shown + self.incidents_dropped;
        if more > 0 {
            let named = if self.incidents_dropped > 0 {
                format!("the first {}", grouped(self.incidents.len() as u64))
            } else {
                "them".to_owned()
            };
            let incidents = if more == 1 { "incident" } else { "incidents" };
            let more = grouped(more);
            writeln!(out, "and {more} more {incidents}; --report-json names {named}")?;
        }
        writeln!(out)
    }

    /// What the providers announced; first what is held against their clusters.
    fn write_providers(&self, out: &mut String) -> std::fmt::Result {
        let of = |(role, page): (&ClusterRole, &ProviderReport)| {
            let spans = page.spans.iter().map(|span| (!span.counts, span.line(*role)));
            spans.collect::<Vec<_>>()
        };
        let mut lines: Vec<_> = self.providers.iter().flat_map(of).collect();
        lines.sort_by_key(|(is_beside, _)| *is_beside);
        for (_, line) in lines.iter().take(SPANS_SHOWN) {
            write_wrapped(out, line, ("", "  "))?;
        }
        if lines.len() > SPANS_SHOWN {
            let more = lines.len() - SPANS_SHOWN;
            writeln!(out, "and {more} more announcements; --report-json names them")?;
        }
        if lines.is_empty() { Ok(()) } else { writeln!(out) }
    }

    /// What is known of the failures that were seen.
    fn write_advice(&self, out: &mut String) -> std::fmt::Result {
        for Advice { cluster, failure, count, cause, cure } in &self.advice {
            let line = format!("{cluster} {failure} ({} times): {cause} {cure}", grouped(*count));
            write_wrapped(out, &line, ("", "  "))?;
        }
        if self.advice.is_empty() { Ok(()) } else { writeln!(out) }
    }

    /// The first incident of each kind on each cluster, then others, in the order of time. What the
    /// agent did on purpose must not push out what happened to it, nor one kind another.
    pub(super) fn telling_incidents(&self, at_most: usize) -> Vec<&IncidentReport> {
        let (own, others): (Vec<_>, Vec<_>) =
            self.incidents.iter().partition(|i| i.cause == Some(BlindCause::Agent));
        let mut kinds = BTreeSet::new();
        let (first, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|i| kinds.insert((i.cluster, i.kind)));
        let mut telling: Vec<_> = first.into_iter().chain(rest).chain(own).take(at_most).collect();
        telling.sort_by(|a, b| a.at.cmp(&b.at));
        telling
    }
}

/// Failed and open checks with their details, what passed by name only.
pub(super) fn write_checks(out: &mut String, checks: &[Finding]) -> std::fmt::Result {
    for finding in checks.iter().filter(|f| f.status != Status::Pass) {
        let Finding { name, cluster, required, status, detail, .. } = finding;
        let required = if *required { "" } else { " (not required)" };
        let head = format!("{:<5}{name:<19}", on(*cluster));
        write_check(out, *status, &head, &format!("{detail}{required}"))?;
    }
    let mut passed = BTreeMap::<&str, Vec<&str>>::new();
    for finding in checks.iter().filter(|f| f.status == Status::Pass) {
        passed.entry(on(finding.cluster)).or_default().push(&finding.name);
    }
    for on in ["old", "new", "both"] {
        if let Some(names) = passed.get(on) {
            write_check(out, Status::Pass, &format!("{on:<5}"), &names.join(", "))?;
        }
    }
    writeln!(out)
}

/// The verdict with its reasons.
pub(super) fn write_verdict(out: &mut String, verdict: Verdict, reason: &str) -> std::fmt::Result {
    let style = verdict_style(verdict);
    let word = verdict.as_str();
    let mut lines = wrap(reason, WIDTH - word.len() - 2).into_iter();
    writeln!(out, "{style}{word}{style:#}  {}", lines.next().unwrap_or_default())?;
    for line in lines {
        writeln!(out, "{:indent$}{line}", "", indent = word.len() + 2)?;
    }
    Ok(())
}

impl IncidentReport {
    /// The time of its day.
    pub(super) fn time(&self) -> &str {
        self.at.get(11..23).unwrap_or(&self.at)
    }

    /// Why, in words; empty if that is not known.
    pub(super) fn why(&self) -> &str {
        match (self.detail.as_str(), self.cause) {
            ("", cause) => cause.map_or("", BlindCause::meaning),
            (detail, _) => detail,
        }
    }
}

/// What a check is about.
pub(super) fn on(cluster: Option<ClusterRole>) -> &'static str {
    cluster.map_or("both", ClusterRole::as_str)
}

/// How a check ended, in the words of the table.
pub(super) const fn word(status: Status) -> &'static str {
    match status {
        Status::Inconclusive => "open",
        other => other.as_str(),
    }
}

/// Whether what a rehearsal counted is a fault: of what its application did, this is all of it.
pub(super) fn is_fault(what: &str) -> bool {
    what != "application_published"
}

/// The faults that a cluster counted, but for those that it did not do.
pub(super) fn faults_done(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let done = counts.iter().filter(|(what, n)| **n > 0 && is_fault(what));
    done.map(|(what, n)| format!("{} {}", grouped(*n), what.replace('_', " "))).collect()
}

/// One check, or several that passed: status, what it is about, and a text that is wrapped.
fn write_check(out: &mut String, status: Status, head: &str, text: &str) -> std::fmt::Result {
    let style = status_style(status);
    let word = word(status);
    let indent = 6 + head.chars().count();
    let mut lines = wrap(text, WIDTH.saturating_sub(indent)).into_iter();
    let first = lines.next().unwrap_or_default();
    writeln!(out, "{style}{word:<5}{style:#} {head}{first}")?;
    for line in lines {
        writeln!(out, "{:indent$}{line}", "")?;
    }
    Ok(())
}

/// Writes a text, the first line of it behind one indent and the others behind another.
pub(super) fn write_wrapped(
    out: &mut String,
    text: &str,
    (first, further): (&str, &str),
) -> std::fmt::Result {
    for (at, part) in wrap(text, WIDTH - further.len()).into_iter().enumerate() {
        writeln!(out, "{}{part}", if at == 0 { first } else { further })?;
    }
    Ok(())
}

/// What somebody else may have written, on one line.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(printable).collect()
}

/// Breaks a text, which somebody else may have written, at blanks into lines of at most `width`
/// characters; a percent sign stays with its number.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let glued = shown(text).replace(" %", "\u{a0}%");
    for word in glued.split(' ') {
        let word = word.replace('\u{a0}', " ");
        let line = lines.last().map_or(0, |l| l.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(word);
        } else if let Some(last) = lines.last_mut() {
            if line > 0 {
                last.push(' ');
            }
            last.push_str(&word);
        }
    }
    lines
}

/// From when to when every event was covered; `None` before the first one is settled.
pub(super) fn watermark(since: Option<&String>, until: Option<&String>) -> Option<String> {
    let clock = |at: &String| at.get(11..19).unwrap_or(at).to_owned();
    match (since.map(clock), until.map(clock)) {
        (Some(since), Some(until)) => Some(format!("covered {since} to {until}")),
        (None, Some(until)) => Some(format!("not covered at {until}")),
        (_, None) => None,
    }
}

/// The line of live counts while a run goes on. What is wrong stands out by being there at all: on
/// 80 columns there is no room for noughts.
pub fn live(account: &Account) -> String {
    let cluster = |(role, figures, _): (ClusterRole, &ClusterFigures, &ClusterAccount)| {
        let (all, published) = (figures.obligations_total(), figures.publications_total());
        let mut line = if account.begin().requirements.role.witnesses() {
            format!("{role} {} of {}", grouped(all.delivered + all.late), grouped(all.total))
        } else {
            format!(
                "{role} {} of {} accepted",
                grouped(published.accepted),
                grouped(published.sent)
            )
        };
        for (count, what) in [
            (all.lost, "lost"),
            (all.missed_offline, "missed"),
            (figures.overdue, "overdue"),
            (published.rejected, "rejected"),
        ] {
            if count > 0 {
                line.push_str(&format!(", {} {what}", grouped(count)));
            }
        }
        line
    };
    if !account.begin().requirements.phase.publishes() {
        return live_drain(account);
    }
    let mut parts: Vec<_> = account.clusters().map(cluster).collect();
    let events = &account.figures().events;
    let at = |at: Option<RunTime>| at.map(|at| rfc3339(account.begin(), at));
    parts.extend(watermark(at(events.covered_since).as_ref(), at(events.covered_until).as_ref()));
    parts.join(" · ")
}

/// The same while a drain is watched.
fn live_drain(account: &Account) -> String {
    let cluster = |(role, figures, _): (ClusterRole, &ClusterFigures, &ClusterAccount)| {
        let Some(read) = figures.occupancy.as_ref().filter(|read| read.readings > 0) else {
            return format!("{role} not read yet");
        };
        let failed = if read.is_current() { "" } else { ", and no answer since" };
        let seconds = |length: Duration| Duration::from_secs(length.as_secs());
        let show = |length| humantime::format_duration(seconds(length));
        match (read.last.total(), read.empty_in) {
            (0, _) => format!("{role} empty for {}{failed}", show(read.empty_for)),
            (n, Some(left)) => {
                format!("{role} {} channels, empty in {}{failed}", grouped(n), show(left))
            }
            (n, None) => format!("{role} {} channels{failed}", grouped(n)),
        }
    };
    let parts: Vec<_> = account.clusters().map(cluster).collect();
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_wrote_begins_no_line_and_colours_nothing() {
        let lines = wrap("a\nGO  fine \u{1b}[31mred\u{7}", 80);
        assert_eq!(lines.len(), 1);
        assert!(!lines[0].chars().any(char::is_control), "{lines:?}");
    }

    #[test]
    fn a_figure_has_four_digits_and_its_unit() {
        for (value, unit, shown) in [
            (0.0, "count", "0"),
            (4560.0, "count", "4,560"),
            (0.000_656_78, "ratio", "0.06568 %"),
            (1e-4, "ratio", "0.01 %"),
            (1.0, "ratio", "100 %"),
            (12.3456, "ms", "12.35 ms"),
            (0.4, "ms", "0.4 ms"),
            (0.03125, "probability", "0.03125"),
            (12345.6, "ms", "12346 ms"),
            (-2.5, "ms", "-2.5 ms"),
            (f64::NAN, "ms", "–"),
        ] {
            assert_eq!(figure(value, unit), shown);
        }
    }
}
