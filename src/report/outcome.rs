//! A verdict with what it rests on: what every form begins with, of a run as of several.

use crate::verify::verdict::{Finding, Status, Verdict};

use super::reason::named;
use super::{Pool, Report};

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome<'a> {
    /// The verdict.
    pub(super) verdict: Verdict,
    /// The verdict in a word.
    pub(super) word: &'static str,
    /// The scenario's name.
    pub(super) scenario: &'a str,
    /// The verdict's reasons, in one paragraph.
    pub(super) reason: &'a str,
    /// What it rests on.
    pub(super) checks: &'a [Finding],
    /// What those are called.
    pub(super) noun: &'static str,
}

impl Report {
    pub(super) fn outcome(&self) -> Outcome<'_> {
        let Self { verdict, scenario, reason, checks, .. } = self;
        let (verdict, word) = (*verdict, verdict.as_str());
        Outcome { verdict, word, scenario, reason, checks, noun: "Checks" }
    }
}

impl Pool {
    pub(super) fn outcome(&self) -> Outcome<'_> {
        let Self { verdict, scenario, reason, checks, .. } = self;
        let (verdict, word) = (*verdict, verdict.as_str());
        Outcome { verdict, word, scenario, reason, checks, noun: "Checks" }
    }
}

impl<'a> Outcome<'a> {
    /// The status that looks like the verdict.
    pub(super) const fn status(&self) -> Status {
        match self.verdict {
            Verdict::Go => Status::Pass,
            Verdict::NoGo => Status::Fail,
            Verdict::Inconclusive => Status::Inconclusive,
        }
    }

    /// The checks that passed.
    pub(super) fn passed(&self) -> Vec<&'a Finding> {
        self.checks.iter().filter(|f| f.status == Status::Pass).collect()
    }

    /// The others: what the verdict rests on first, and of that the worst.
    pub(super) fn failed_or_open(&self) -> Vec<&'a Finding> {
        let mut open: Vec<_> = self.checks.iter().filter(|f| f.status != Status::Pass).collect();
        open.sort_by_key(|f| (!f.required, std::cmp::Reverse(f.status)));
        open
    }

    /// The findings of which the reason consists, where it consists of findings.
    pub(super) fn reasons(&self) -> Option<Vec<&'a Finding>> {
        let (mut rest, mut found) = (self.reason, Vec::new());
        for finding in self.checks.iter().filter(|f| f.required && f.status != Status::Pass) {
            let Some(after) = rest.strip_prefix(&format!("{}: {}", named(finding), finding.detail))
            else {
                continue;
            };
            found.push(finding);
            rest = match after.strip_prefix("; ") {
                Some(after) => after,
                None if after.is_empty() => return Some(found),
                None => return None,
            };
        }
        None
    }
}
