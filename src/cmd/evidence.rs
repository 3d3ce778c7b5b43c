//! What an earlier run's report says of the application, for a drain to rest on.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::exit::Exit;
use crate::model::ClusterRole;
use crate::report::Report;
use crate::scenario::file::{MirrorSource, Scenario};
use crate::scenario::plan::Plan;
use crate::verify::mirror::Outcome;
use crate::verify::published::MirrorEvidence;
use crate::verify::verdict::Status;

use super::Stop;

/// A run may have ended so much later than now: clocks differ.
const CLOCK_SLACK: Duration = Duration::from_secs(300);

/// What the report that the scenario names says of the plan's clusters; `None` if it names none.
pub(super) fn of(scenario: &Scenario, plan: &Plan) -> Result<Option<MirrorEvidence>, Stop> {
    let Some(MirrorSource { path, text, age_max }) = &scenario.mirror_source else {
        return Ok(None);
    };
    let unusable =
        |why: String| Stop::new(Exit::Usage, format!("drain.mirror_report: {path} {why}"));
    let report = Report::from_json(text).map_err(|error| unusable(error.to_string()))?;
    let ended = OffsetDateTime::parse(&report.ended_at, &Rfc3339);
    let ended = ended.map_err(|_| unusable("does not say when the run ended".to_owned()))?;
    let age = OffsetDateTime::now_utc() - ended;
    let mirror = report.mirror.as_ref();
    let only_on_new = mirror.and_then(|mirror| mirror.events.get(&Outcome::OnlyOnNew));
    Ok(Some(MirrorEvidence {
        run: report.run.to_string(),
        age: Duration::try_from(age).unwrap_or_default(),
        age_max: *age_max,
        observed: mirror.map_or(0, |mirror| mirror.observed),
        only_on_new: only_on_new.copied().unwrap_or_default(),
        problem: match Duration::try_from(-age) {
            Ok(ahead) if ahead > CLOCK_SLACK => "ended in the future".to_owned(),
            _ => problem(&report, plan),
        },
    }))
}

/// Why a report says nothing of these clusters; empty if it does.
fn problem(report: &Report, plan: &Plan) -> String {
    let is_of = |role: ClusterRole| {
        let told = |settings: &serde_json::Value| {
            let of = settings.pointer(&format!("/clusters/{role}"))?;
            Some(["app_id", "key", "http_url"].map(|key| of.get(key).cloned()))
        };
        told(&report.settings).is_some_and(|of| Some(of) == told(&plan.settings))
    };
    let other = ClusterRole::ALL.into_iter().find(|role| !is_of(*role));
    let is_sound = report.complete && report.instrument.failed.is_none();
    let mirror = report.checks.iter().find(|check| check.name == "mirror");
    let is_judged = mirror.is_some_and(|check| check.status != Status::Inconclusive);
    match (other, &report.mirror, is_sound) {
        (Some(role), ..) => format!("was of another app on {role}, or of a rehearsal"),
        (None, None, _) => "watched no real channel: it had no [sample]".to_owned(),
        (None, Some(_), false) => "was not finished, or failed".to_owned(),
        (None, Some(_), true) if !is_judged => "could not judge real events".to_owned(),
        (None, Some(_), true) => String::new(),
    }
}
