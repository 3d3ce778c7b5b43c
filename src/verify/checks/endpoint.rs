//! The application's auth endpoints: whether they sign what they must for the cluster that they are
//! for, and nothing else, fast enough and where nobody reads along.

use std::time::Duration;

use crate::verify::endpoint::{Answered, EndpointFigures, EndpointTrial};
use crate::verify::fact::ControlStatus;
use crate::verify::verdict::Status;

use super::{Limits, Seen, millis, ms, ratio, shown};

pub(super) fn check(endpoint: &EndpointFigures, limits: &Limits) -> Seen {
    let all = endpoint.answered.values().sum();
    let signed = endpoint.count(Answered::Signed);
    let (success, observed) = ratio(signed, all, |ratio| ratio >= limits.auth_success_min);
    let mut wrong = Vec::new();
    for answered in [Answered::WrongKey, Answered::WrongSignature] {
        if endpoint.count(answered) > 0 {
            wrong.push(format!("{} {}", endpoint.count(answered), answered.meaning()));
        }
    }
    let failed = endpoint.tried.iter().filter(|(_, status)| **status == ControlStatus::Fail);
    wrong.extend(failed.map(|(trial, _)| trial.failure().to_owned()));
    if !endpoint.begin.is_private {
        let message = "it is asked without TLS, so whoever is in between reads who subscribes";
        wrong.push(message.to_owned());
    }
    let slowest = endpoint.took.quantile_ms(0.99).or_else(|| endpoint.took.max_ms());
    // Of few answers one may be late by our own doing: then the next quantile that they tell.
    let told = endpoint.took.highest_told_ms().map(|(_, told)| told).or(slowest);
    let is_slow = told.is_some_and(|told| told > millis(limits.auth_endpoint_p99_max));
    if is_slow {
        let allowed = humantime::format_duration(limits.auth_endpoint_p99_max);
        wrong.push(format!("too slow, {allowed} allowed"));
    }
    let open: Vec<_> =
        missing(endpoint).map(|trial| format!("not seen: {}", trial.meaning())).collect();
    let status = match success {
        _ if !wrong.is_empty() => Status::Fail,
        Status::Pass if !open.is_empty() => Status::Inconclusive,
        status => status,
    };
    let why = match endpoint.last_failure.as_str() {
        "" => String::new(),
        why => format!("; the last time: {why}"),
    };
    let mut detail = format!(
        "{signed} of {all} requests signed for this cluster{}{why}; answers took up to {} ms",
        shown(observed, success, limits.auth_success_min, "asked"),
        ms(slowest)
    );
    for said in wrong.into_iter().chain(open) {
        detail.push_str("; ");
        detail.push_str(&said);
    }
    Seen {
        status,
        observed,
        limit: Some(limits.auth_success_min),
        unit: "ratio",
        evidence: all,
        detail,
        ..Seen::default()
    }
}

/// What was to be tried, and did not come out.
fn missing(endpoint: &EndpointFigures) -> impl Iterator<Item = EndpointTrial> {
    endpoint.begin.trials.iter().copied().filter(|trial| !endpoint.tried.contains_key(trial))
}

/// The default of the limit on the time that answers take.
pub(in crate::verify) const fn p99_max() -> Duration {
    Duration::from_secs(1)
}
