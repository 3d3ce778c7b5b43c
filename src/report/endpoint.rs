//! The application's auth endpoints: from figures to the report, and back.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verify::endpoint::{Answered, EndpointBegin, EndpointFigures, EndpointTrial};
use crate::verify::fact::ControlStatus;
use crate::verify::verdict::Status;

use super::Summary;
use super::figures::BrokenHistogram;

/// One of the application's auth endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointReport {
    /// Its address.
    pub url: String,
    /// Whether nobody in between can read along: HTTPS, or this machine.
    pub private: bool,
    /// Answers by sort.
    pub answered: BTreeMap<Answered, u64>,
    /// From asking to the answer, a dial included.
    pub took_ms: Summary,
    /// Why it did not sign, the last time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_failure: String,
    /// What was tried on it: `inconclusive` where nothing came of it.
    pub trials: BTreeMap<EndpointTrial, Status>,
}

impl EndpointReport {
    pub(super) fn of(figures: &EndpointFigures) -> Self {
        let trials = figures.begin.trials.iter();
        let status = |trial| figures.tried.get(trial).map_or(Status::Inconclusive, |s| (*s).into());
        Self {
            url: figures.begin.url.clone(),
            private: figures.begin.is_private,
            answered: figures.answered.clone(),
            took_ms: Summary::of(&figures.took),
            last_failure: figures.last_failure.clone(),
            trials: trials.map(|trial| (*trial, status(trial))).collect(),
        }
    }

    /// The figures that it was made of.
    pub(super) fn figures(&self) -> Result<EndpointFigures, BrokenHistogram> {
        let tried = self.trials.iter().filter_map(|(trial, status)| {
            let status = match status {
                Status::Pass => ControlStatus::Pass,
                Status::Fail => ControlStatus::Fail,
                Status::Inconclusive => return None,
            };
            Some((*trial, status))
        });
        Ok(EndpointFigures {
            begin: EndpointBegin {
                url: self.url.clone(),
                is_private: self.private,
                trials: self.trials.keys().copied().collect::<BTreeSet<_>>(),
            },
            took: self.took_ms.latencies("endpoints.took_ms")?,
            answered: self.answered.clone(),
            last_failure: self.last_failure.clone(),
            tried: tried.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn what_is_judged_again_is_what_was_judged() {
        let report = testing::endpoint("https://app.example.com/pusher/auth");
        let figures = report.figures().unwrap();
        assert_eq!(EndpointReport::of(&figures).figures().unwrap(), figures);
        assert_eq!(EndpointReport::of(&figures).trials, report.trials);
        assert_eq!(
            figures.tried,
            BTreeMap::from([(EndpointTrial::Forbidden, ControlStatus::Fail)])
        );
        let broken = Summary { count: 7, ..report.took_ms.clone() };
        assert!(EndpointReport { took_ms: broken, ..report }.figures().is_err());
    }
}
