//! The verdict and its reasons, and what was run.

use std::fmt::Write;

use crate::report::Report;
use crate::report::markup::clipped;
use crate::report::outcome::Outcome;
use crate::report::reason::named;
use crate::report::text::{grouped, millis, word};
use crate::verify::checks::Looks;
use crate::verify::verdict::{Status, Verdict};

use super::{NAME_MAX, REASON_MAX, addresses, instant, plural, sign, write_facts};

impl Outcome<'_> {
    pub(super) fn html_verdict(&self, out: &mut String) -> std::fmt::Result {
        let class = match self.verdict {
            Verdict::Go => "go",
            Verdict::NoGo => "no-go",
            Verdict::Inconclusive => "inconclusive",
        };
        let (sign, verdict) = (sign(self.status()), self.word);
        let name = clipped(self.scenario, NAME_MAX);
        writeln!(
            out,
            "<div class=\"verdict {class}\">\n<h1><span class=\"word\"><span aria-hidden=\"true\">\
             {sign}</span> {verdict}</span> <span class=\"name\">{name}</span></h1>"
        )?;
        match self.reasons() {
            Some(findings) => {
                writeln!(out, "<ul class=\"reasons\">")?;
                for finding in findings {
                    let (check, detail) = (named(finding), clipped(&finding.detail, REASON_MAX));
                    writeln!(out, "<li><b>{}</b>: {detail}</li>", clipped(&check, NAME_MAX))?;
                }
                writeln!(out, "</ul>")?;
            }
            None => {
                writeln!(out, "<p class=\"reasons\">{}</p>", clipped(self.reason, REASON_MAX))?;
            }
        }
        let count = |status| {
            let of = self.checks.iter().filter(|f| f.status == status && f.required);
            format!("{} {}", grouped(of.count() as u64), word(status))
        };
        let [fail, open, pass] = [Status::Fail, Status::Inconclusive, Status::Pass].map(count);
        writeln!(
            out,
            "<p class=\"quiet\">{} that it rests on: {fail}, {open}, {pass}</p>\n</div>",
            self.noun
        )
    }
}

/// When the bounds were looked at.
pub(super) const fn looked(looks: Looks) -> &'static str {
    match looks {
        Looks::Once => "looked at once, at the end",
        Looks::Anytime => "hold at all times: they may be looked at again and again",
        Looks::Rolling => "looked at again and again over a window that slides",
    }
}

impl Report {
    pub(super) fn html_facts(&self, out: &mut String) -> std::fmt::Result {
        let (phase, name) = (self.phase.as_str(), clipped(&self.scenario, NAME_MAX));
        let phase = if self.is_rehearsed() {
            format!("{phase}, <b>rehearsed</b> on clusters that the canary brought along")
        } else {
            phase.to_owned()
        };
        let doing = if self.phase.publishes() { "publishing" } else { "reading" };
        let mut facts = vec![
            ("scenario", name),
            ("phase", phase),
            ("run", format!("<code>{}</code>", self.run)),
            ("began", instant(&self.started_at)),
            ("ended", instant(&self.ended_at)),
            (doing, self.publishing()),
            ("bounds", self.bounds().to_owned()),
            ("detector", self.detector()),
            ("instrument", self.vital_signs()),
        ];
        facts.splice(2..2, addresses(&self.addresses()));
        if self.member.has_others() {
            facts.insert(2, ("part", clipped(&self.member.to_string(), NAME_MAX)));
        }
        write_facts(out, &facts)
    }

    fn publishing(&self) -> String {
        let Self { publishing_seconds, planned_seconds, .. } = self;
        let mut text = format!("{publishing_seconds:.1} s of {planned_seconds:.1} s planned");
        if self.cut_short {
            text.push_str(", <b>cut short by a signal</b>");
        }
        if !self.complete {
            text.push_str("; <b>the record has no end</b>");
        }
        text
    }

    /// What the verdict is, and when the bounds were looked at.
    const fn bounds(&self) -> &'static str {
        if self.proof { looked(self.looks) } else { "<b>an alarm, no proof</b>" }
    }

    fn detector(&self) -> String {
        let of = self.controls.len();
        let fired = self.controls.iter().filter(|c| c.status == Status::Pass).count();
        match (of, fired) {
            (0, _) => "<b>not proven</b>: there were no controls".to_owned(),
            _ if fired == of => format!("proven: {of} of {of} controls fired"),
            _ => format!("<b>not proven</b>: {fired} of {of} controls fired"),
        }
    }

    /// Whether the canary itself could be relied on.
    fn vital_signs(&self) -> String {
        let instrument = &self.instrument;
        let (tainted, seconds) = (grouped(instrument.tainted_seconds), grouped(instrument.seconds));
        let mut text = format!("{tainted} of {seconds} seconds tainted");
        let reasons = instrument.reasons.iter();
        let reasons = reasons.map(|t| format!("{} {}", t.reason.as_str(), grouped(t.seconds)));
        let reasons: Vec<_> = reasons.collect();
        if !reasons.is_empty() {
            let _ = write!(text, " ({})", reasons.join(", "));
        }
        let (lag, stall) = (&instrument.schedule_lag_ms, Some(instrument.runtime_stall_ms_max));
        let _ = write!(text, "; schedule lag at most {}", millis(lag.max));
        let _ = write!(text, ", longest stall {}", millis(stall));
        let unwatched: u64 = instrument.unwatched.values().fold(0, |sum, n| sum.saturating_add(*n));
        if unwatched > 0 {
            let _ = write!(text, "; <b>{} that nobody watches</b>", plural(unwatched, "stream"));
        }
        if let Some(failed) = &instrument.failed {
            let failed = clipped(failed, NAME_MAX);
            let _ = write!(text, "; <b>the agent itself failed</b>: {failed}");
        }
        text
    }
}
