//! The application's auth endpoints, as a check.

use std::collections::BTreeSet;

use super::*;
use crate::verify::endpoint::{
    Answered, EndpointBegin, EndpointFact, EndpointFigures, EndpointKind, EndpointSecond,
    EndpointTrial,
};
use crate::verify::record::Second;

use EndpointTrial::{Crossed, Forbidden};

fn begin(is_private: bool, trials: &[EndpointTrial]) -> EndpointBegin {
    let url = "https://app.example.com/pusher/auth".to_owned();
    EndpointBegin { url, is_private, trials: trials.iter().copied().collect() }
}

/// An endpoint that signed ten times in a millisecond, and did this besides.
fn endpoint(begin: EndpointBegin, facts: Vec<EndpointFact>) -> EndpointFigures {
    let (mut figures, mut second) = (EndpointFigures::new(begin), EndpointSecond::default());
    for _ in 0..10 {
        second.note(asked(Answered::Signed, 1, ""));
    }
    facts.into_iter().for_each(|fact| second.note(fact));
    figures.add(&second);
    figures
}

fn asked(answered: Answered, ms: u64, why: &str) -> EndpointFact {
    let took = Some(Duration::from_millis(ms));
    EndpointFact::Asked { took, answered, why: why.to_owned() }
}

fn tried(trial: EndpointTrial, status: ControlStatus) -> EndpointFact {
    EndpointFact::Tried(trial, status)
}

fn check(figures: &EndpointFigures) -> Seen {
    crate::verify::checks::endpoint::check(figures, &limits())
}

#[test]
fn it_passes_where_all_is_as_it_must_be_and_says_what_is_not() {
    use ControlStatus::{Fail as Broken, Pass as Sound};
    let both = [Forbidden, Crossed];
    let fine = || vec![tried(Forbidden, Sound), tried(Crossed, Sound)];
    let with = |fact| fine().into_iter().chain([fact]).collect();
    for (is_private, facts, status, said) in [
        (true, fine(), Pass, "10 of 10 requests signed for this cluster (100 %); answers took"),
        (true, vec![tried(Crossed, Sound)], Inconclusive, "; not seen: refuses the forbidden"),
        (true, with(tried(Forbidden, Broken)), Fail, "; it signs the forbidden channel"),
        (true, with(tried(Crossed, Broken)), Fail, "; the other cluster takes its signature"),
        (true, with(asked(Answered::WrongKey, 1, "old's")), Fail, "; 1 with another app's key"),
        (
            true,
            with(asked(Answered::WrongSignature, 1, "")),
            Fail,
            "; 1 signed with another secret",
        ),
        // One of eleven may be late by our own doing.
        (true, with(asked(Answered::Signed, 1_200, "")), Pass, "answers took up to 1199.1 ms"),
        // Nine in ten are asked for, and ten of eleven were.
        (true, with(asked(Answered::Refused, 1, "HTTP 403")), Pass, "; the last time: HTTP 403"),
        (false, fine(), Fail, "; it is asked without TLS"),
    ] {
        let seen = check(&endpoint(begin(is_private, &both), facts));
        assert_eq!(seen.status, status, "{}", seen.detail);
        assert!(seen.detail.contains(said), "{}", seen.detail);
    }
    let slow = vec![asked(Answered::Signed, 1_200, ""); 30];
    let seen = check(&endpoint(begin(true, &[]), slow));
    assert_eq!(seen.status, Fail);
    assert!(seen.detail.ends_with("; too slow, 1s allowed"), "{}", seen.detail);
    let broken = vec![asked(Answered::Nothing, 5_000, "no answer within 5s"); 3];
    let seen = check(&endpoint(begin(true, &[]), broken));
    assert_eq!((seen.status, seen.evidence), (Fail, 13));
    assert!(seen.detail.contains("answers took up to 1.0 ms"), "{}", seen.detail);
    let seen = check(&EndpointFigures::new(begin(true, &[])));
    assert_eq!((seen.status, seen.observed), (Inconclusive, None));
}

#[test]
fn a_trial_that_failed_once_has_failed_and_runs_add_up() {
    let one = endpoint(begin(true, &[Crossed]), vec![tried(Crossed, ControlStatus::Fail)]);
    let mut both = endpoint(begin(true, &[Forbidden]), vec![tried(Crossed, ControlStatus::Pass)]);
    both.merge(&one);
    assert_eq!(both.count(Answered::Signed), 20);
    assert_eq!(both.begin.trials, BTreeSet::from([Forbidden, Crossed]));
    assert_eq!(both.tried[&Crossed], ControlStatus::Fail);
    assert_eq!(both.took.count(), 20);
}

#[test]
fn each_cluster_with_an_endpoint_has_its_check() {
    let mut begun = crate::verify::testing::begin(&ClusterRole::ALL, &[]);
    let kinds = BTreeMap::from([(EndpointKind::AuthEndpoint, begin(true, &[]))]);
    begun.endpoints = BTreeMap::from([(New, kinds)]);
    let mut account = crate::verify::account::Account::new(begun);
    let mut second = Second::default();
    let mut added = EndpointSecond::default();
    added.note(asked(Answered::Signed, 3, ""));
    let of_new = second.clusters.entry(New).or_default();
    of_new.endpoints.insert(EndpointKind::AuthEndpoint, added);
    account.apply(&second);
    let findings = judge(account.figures(), &asked_for(Phase::Preflight));
    let of = |role| findings.iter().find(|f| f.name == "auth-endpoint" && f.cluster == Some(role));
    assert_eq!(of(Old), None);
    assert!(of(New).is_some_and(|finding| finding.status == Pass && finding.required));
}

fn asked_for(phase: Phase) -> Requirements {
    super::asked(phase)
}
