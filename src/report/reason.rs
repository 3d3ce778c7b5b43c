//! The verdict's reasons in one paragraph.

use crate::verify::checks::{Phase, percent, percent_above};
use crate::verify::verdict::{Finding, Status, Verdict};

use super::Report;
use super::text::grouped;

impl Report {
    /// The verdict's reasons in one paragraph.
    pub(super) fn reasons(&self) -> String {
        if let Some(failed) = &self.instrument.failed {
            return format!("the agent itself failed: {failed}");
        }
        let worst: Vec<_> =
            self.checks.iter().filter(|f| f.required && f.status != Status::Pass).collect();
        let wanted = match self.verdict {
            Verdict::NoGo => Status::Fail,
            Verdict::Go | Verdict::Inconclusive => Status::Inconclusive,
        };
        // Where evidence is what lacks, bounds without a failure only say so again.
        let lacks = |on| worst.iter().any(|f| f.name == "evidence" && f.cluster == on);
        let says_it_again = |f: &Finding| match (&*f.name, f.cluster) {
            ("loss", Some(role)) => {
                lacks(Some(role)) && self.clusters.get(&role).is_none_or(|c| c.failures() == 0)
            }
            ("coverage", _) => {
                self.events.uncovered == 0 && worst.iter().any(|f| f.name == "evidence")
            }
            _ => false,
        };
        let named: Vec<_> = worst
            .iter()
            .filter(|f| f.status == wanted && !(wanted == Status::Inconclusive && says_it_again(f)))
            .map(|f| {
                let on = f.cluster.map_or(String::new(), |c| format!(" on {c}"));
                format!("{}{on}: {}", f.name, f.detail)
            })
            .collect();
        if !named.is_empty() {
            return named.join("; ");
        }
        if !self.complete {
            return "the record has no end: what came after it is not known".to_owned();
        }
        if self.phase == Phase::Preflight {
            let works = "every kind of channel works on each cluster; a preflight proves no rate \
                         of loss";
            return format!("{works}{}{}", self.proven(), self.not_required());
        }
        format!("{}{}{}", self.bounds(), self.proven(), self.not_required())
    }

    /// That the detector was seen to detect.
    fn proven(&self) -> &'static str {
        let is_proven = self.controls.iter().all(|control| control.status == Status::Pass);
        if is_proven && !self.controls.is_empty() { "; detector proven" } else { "" }
    }

    /// What failed though the verdict does not rest on it: nobody shall say that it was hidden.
    fn not_required(&self) -> String {
        let failed = self.checks.iter().filter(|f| !f.required && f.status == Status::Fail);
        let names: Vec<_> = failed
            .map(|f| {
                let on = f.cluster.map_or(String::new(), |c| format!(" on {c}"));
                format!("{}{on}", f.name)
            })
            .collect();
        if names.is_empty() {
            String::new()
        } else {
            format!("; failed, but not asked of {}: {}", self.phase.as_str(), names.join(", "))
        }
    }

    /// What is ruled out, and how surely.
    fn bounds(&self) -> String {
        let bounds: Vec<_> = self
            .clusters
            .iter()
            .map(|(role, c)| {
                format!(
                    "{role}: {} of {} publications lost, below {}",
                    c.failures(),
                    grouped(c.trials),
                    percent_above(c.loss_upper_bound)
                )
            })
            .collect();
        let confidence = self.clusters.values().next().map_or(0.0, |c| c.confidence);
        let bursts = self
            .clusters
            .values()
            .filter_map(|c| c.incidents_per_hour_upper_bound)
            .fold(None, |worst: Option<f64>, rate| Some(worst.map_or(rate, |w| w.max(rate))));
        let bursts = bursts.map_or(String::new(), |rate| {
            // Rounded up: "below" must stay true.
            let rate = match rate {
                rate if rate < 10.0 => format!("{:.1}", (rate * 10.0).ceil() / 10.0),
                rate => grouped(rate.ceil() as u64),
            };
            format!("; bursts of losses below {rate} an hour")
        });
        format!("{}{bursts}; at {} confidence", bounds.join("; "), percent(confidence))
    }
}
