//! The verdict's reasons, in words.

use crate::model::ClusterRole;
use crate::verify::checks::{Phase, Requirements, percent, percent_above};
use crate::verify::fact::ControlStatus;
use crate::verify::figures::Figures;
use crate::verify::record::End;
use crate::verify::stats;
use crate::verify::verdict::{Finding, Status, Verdict};

use super::text::grouped;

/// What a verdict rests on.
pub(super) struct Grounds<'a> {
    pub(super) verdict: Verdict,
    pub(super) findings: &'a [Finding],
    pub(super) figures: &'a Figures,
    pub(super) asked: &'a Requirements,
}

/// The verdict on several that are judged together, and its reasons; `unfit` is what keeps them
/// from being evidence, whatever was found.
pub(super) fn of_several(
    findings: &[Finding],
    figures: &Figures,
    asked: &Requirements,
    unfit: Vec<String>,
) -> (Verdict, String) {
    let verdict = match Verdict::of(findings) {
        Verdict::Go if !unfit.is_empty() => Verdict::Inconclusive,
        verdict => verdict,
    };
    let grounds = Grounds { verdict, findings, figures, asked };
    let found = grounds.against();
    // What failed is said first. What is open may only follow from what somebody lacks.
    let against = match verdict {
        Verdict::NoGo => [found, unfit].concat(),
        Verdict::Go | Verdict::Inconclusive => [unfit, found].concat(),
    };
    let reason = match against.as_slice() {
        [] => grounds.in_favour(),
        against => against.join("; "),
    };
    (verdict, reason)
}

/// A check by its name, and the cluster that it is about.
pub(super) fn named(finding: &Finding) -> String {
    let on = finding.cluster.map_or(String::new(), |c| format!(" on {c}"));
    format!("{}{on}", finding.name)
}

impl Grounds<'_> {
    /// The reasons of one run, in one paragraph.
    pub(super) fn of_run(&self, end: Option<&End>) -> String {
        if let Some(failed) = end.and_then(|end| end.failed.as_ref()) {
            return format!("the agent itself failed: {failed}");
        }
        if end.is_none() && self.figures.seconds == 0 {
            return "the record ends before anything was measured".to_owned();
        }
        let against = self.against();
        if !against.is_empty() {
            return against.join("; ");
        }
        if end.is_none() {
            return "the record has no end: what came after it is not known".to_owned();
        }
        self.in_favour()
    }

    /// What speaks against GO: the required checks that brought the verdict about.
    pub(super) fn against(&self) -> Vec<String> {
        let worst: Vec<_> =
            self.findings.iter().filter(|f| f.required && f.status != Status::Pass).collect();
        let wanted = match self.verdict {
            Verdict::NoGo => Status::Fail,
            Verdict::Go | Verdict::Inconclusive => Status::Inconclusive,
        };
        // Where evidence is what lacks, bounds without a failure only say so again.
        let lacks = |on| worst.iter().any(|f| f.name == "evidence" && f.cluster == on);
        let loses = |role: ClusterRole| {
            self.figures.clusters.get(&role).is_some_and(|c| c.trials.failures() > 0)
        };
        let says_it_again = |f: &Finding| match (&*f.name, f.cluster) {
            ("loss", Some(role)) => lacks(Some(role)) && !loses(role),
            ("coverage", _) => {
                let lacks_some = worst.iter().any(|f| f.name == "evidence");
                self.figures.events.uncovered_total() == 0 && lacks_some
            }
            _ => false,
        };
        worst
            .iter()
            .filter(|f| f.status == wanted && !(wanted == Status::Inconclusive && says_it_again(f)))
            .map(|f| format!("{}: {}", named(f), f.detail))
            .collect()
    }

    /// What speaks for it.
    pub(super) fn in_favour(&self) -> String {
        let claim = match self.asked.phase {
            Phase::Preflight => {
                "every kind of channel works on each cluster; a preflight proves no rate of loss"
                    .to_owned()
            }
            Phase::Drain => self.drained(),
            Phase::DualPublish | Phase::Cutover | Phase::Steady => self.bounds(),
        };
        format!("{claim}{}{}{}", self.rests_on_more(), self.proven(), self.not_required())
    }

    /// What was seen of real events and of the apps' habits, where the verdict rests on it.
    fn rests_on_more(&self) -> String {
        let of = |name| move |finding: &&Finding| finding.required && finding.name == name;
        let found = ["mirror", "parity"].map(|name| self.findings.iter().find(of(name)));
        found.iter().flatten().map(|finding| format!("; {}", finding.detail)).collect()
    }

    /// That the detector was seen to detect.
    fn proven(&self) -> &'static str {
        let Figures { clusters, controls, .. } = self.figures;
        let tried = clusters.iter().filter(|(role, _)| self.asked.phase.subscribes_on(**role));
        let is_proven = tried.map(|(_, cluster)| cluster).all(|cluster| {
            controls.iter().all(|c| cluster.controls.get(c) == Some(&ControlStatus::Pass))
        });
        match (is_proven && !controls.is_empty(), self.asked.phase) {
            (false, _) => "",
            (true, Phase::Drain) => "; detector proven on new",
            (true, _) => "; detector proven",
        }
    }

    /// What failed though the verdict does not rest on it: nobody shall say that it was hidden.
    fn not_required(&self) -> String {
        let failed = self.findings.iter().filter(|f| !f.required && f.status == Status::Fail);
        let names: Vec<_> = failed.map(named).collect();
        if names.is_empty() {
            return String::new();
        }
        format!("; failed, but not asked of {}: {}", self.asked.phase.as_str(), names.join(", "))
    }

    /// For how long nobody was on old, and what that rests on.
    fn drained(&self) -> String {
        let drained = self.findings.iter().find(|finding| finding.name == "drained");
        drained.map_or(String::new(), |finding| {
            let Finding { detail, evidence, .. } = finding;
            format!(
                "{}: {detail}, by {evidence} readings; who is connected and subscribes to nothing \
                 is not seen",
                ClusterRole::Old
            )
        })
    }

    /// What is ruled out, and how surely.
    fn bounds(&self) -> String {
        let confidence = self.asked.limits.confidence;
        let hours = self.figures.observed().as_secs_f64() / 3_600.0;
        let clusters = &self.figures.clusters;
        let bounds: Vec<_> = clusters
            .iter()
            .map(|(role, cluster)| {
                let (k, n) = (cluster.trials.failures(), cluster.trials.trials);
                let below = percent_above(self.asked.upper_bound(k, n));
                format!("{role}: {k} of {} publications lost, below {below}", grouped(n))
            })
            .collect();
        let bursts = clusters.values().filter(|c| hours > 0.0 && c.trials.trials > 0);
        let bursts = bursts
            .map(|c| stats::poisson_upper_bound(c.trials.incidents, confidence) / hours)
            .reduce(f64::max);
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
