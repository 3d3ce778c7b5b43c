//! Findings, the lattice they merge in, and the verdict.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ClusterRole;

/// How a check ended. Merging takes the worst: pass < inconclusive < fail.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// What was seen keeps the limit, on enough evidence.
    Pass,
    /// The evidence does not decide.
    Inconclusive,
    /// What was seen breaks the limit.
    Fail,
}

impl Status {
    /// The status's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The check's name.
    pub name: Cow<'static, str>,
    /// The cluster that it is about; left out if about both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterRole>,
    /// Whether the verdict rests on it.
    pub required: bool,
    /// How it ended.
    pub status: Status,
    /// What is held against the limit, in `unit`: what was seen, or, where a check infers, the
    /// bound that its evidence allows.
    pub observed: Option<f64>,
    /// What was asked, in `unit`.
    pub limit: Option<f64>,
    /// The published guidance, where there is some, in `unit`: shown, and nothing rests on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// The unit of all three: `ratio`, `count`, `ms`, `probability`.
    pub unit: Cow<'static, str>,
    /// On how many samples it rests.
    pub evidence: u64,
    /// The same in words.
    pub detail: String,
}

/// What may be concluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Every required check passed.
    #[serde(rename = "GO")]
    Go,
    /// A required check failed.
    #[serde(rename = "NO-GO")]
    NoGo,
    /// None failed, but not all could be decided.
    #[serde(rename = "INCONCLUSIVE")]
    Inconclusive,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Go, Self::NoGo, Self::Inconclusive];

    /// The verdict's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Go => "GO",
            Self::NoGo => "NO-GO",
            Self::Inconclusive => "INCONCLUSIVE",
        }
    }

    /// The verdict on findings: the worst of the required ones. Without a required finding there
    /// is nothing to conclude from.
    pub fn of(findings: &[Finding]) -> Self {
        match findings.iter().filter(|f| f.required).map(|f| f.status).max() {
            Some(Status::Pass) => Self::Go,
            Some(Status::Fail) => Self::NoGo,
            Some(Status::Inconclusive) | None => Self::Inconclusive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(required: bool, status: Status) -> Finding {
        Finding {
            name: "loss".into(),
            cluster: None,
            required,
            status,
            observed: None,
            limit: None,
            target: None,
            unit: "ratio".into(),
            evidence: 0,
            detail: String::new(),
        }
    }

    #[test]
    fn the_worst_required_finding_decides() {
        use Status::{Fail, Inconclusive, Pass};
        for (findings, verdict) in [
            (vec![], Verdict::Inconclusive),
            (vec![(false, Pass)], Verdict::Inconclusive),
            (vec![(true, Pass)], Verdict::Go),
            (vec![(true, Pass), (false, Fail)], Verdict::Go),
            (vec![(true, Pass), (true, Inconclusive)], Verdict::Inconclusive),
            (vec![(true, Inconclusive), (true, Fail), (true, Pass)], Verdict::NoGo),
        ] {
            let findings: Vec<_> = findings.into_iter().map(|(r, s)| finding(r, s)).collect();
            assert_eq!(Verdict::of(&findings), verdict, "{findings:?}");
        }
    }
}
