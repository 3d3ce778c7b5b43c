//! A drain: whether anybody is left on old, and whether whoever reads can see.

use super::*;
use crate::verify::occupancy::{Occupancy, Reading};

const REFRESH: Duration = Duration::from_secs(10);

/// So many private channels, with one subscription each.
fn seen(channels: u64) -> Reading {
    let of_kind = (channels > 0).then_some((ChannelKind::Private, channels));
    Reading::Seen(Occupancy {
        channels: of_kind.into_iter().collect(),
        subscriptions: Some(channels),
        members: Some(0),
        own: 0,
    })
}

fn failed() -> Reading {
    Reading::Failed("HTTP 503 and no list of channels".to_owned())
}

/// A drain of which old told this, every ten seconds, and new that three channels are occupied.
struct Drain(Story);

impl Drain {
    fn told(old: &[Reading]) -> Self {
        let mut drain = Self(Story::of_drain(&ClusterRole::ALL, REFRESH));
        drain.0.apply(Fact::Begun(RunTime::ZERO));
        for control in Control::OF_DELIVERY.into_iter().chain([Control::SeesOccupancy]) {
            drain.0.apply(Fact::Control(New, control, ControlStatus::Pass));
        }
        drain.0.apply(Fact::LeftBehind(New, Some(0)));
        for (at, reading) in (0..).zip(old) {
            drain.read(at * 10, Old, reading.clone());
            drain.read(at * 10, New, seen(3));
        }
        drain
    }

    fn read(&mut self, second: u64, role: ClusterRole, reading: Reading) {
        let at = RunTime::from_millis(second * 1_000);
        self.0.advance(at, false);
        self.0.apply(Fact::Occupancy(role, at, reading));
    }

    /// Ends it in this second.
    fn judged(&mut self, second: u64) -> Vec<Finding> {
        let at = RunTime::from_millis(second * 1_000);
        self.0.apply(Fact::Published(at));
        self.0.advance(at, true);
        judge(self.0.account.figures(), &asked(Phase::Drain))
    }

    fn verdict(&mut self, second: u64) -> Verdict {
        Verdict::of(&self.judged(second))
    }

    fn drained(&mut self, second: u64) -> Finding {
        let found = self.judged(second).into_iter().find(|finding| finding.name == "drained");
        found.unwrap()
    }
}

fn finding(status: Status, empty_seconds: Option<f64>, evidence: u64, detail: &str) -> Finding {
    Finding {
        name: "drained".into(),
        cluster: Some(Old),
        required: true,
        status,
        observed: empty_seconds,
        limit: Some(60.0),
        target: None,
        unit: "s".into(),
        evidence,
        detail: detail.to_owned(),
    }
}

#[test]
fn old_is_drained_once_nobody_was_there_for_as_long_as_was_asked() {
    let empty = |readings| vec![seen(0); readings];
    let found = Drain::told(&empty(7)).drained(60);
    let detail = "no channel occupied for 1m, 1m asked";
    assert_eq!(found, finding(Pass, Some(60.0), 7, detail));
    // One reading less.
    let found = Drain::told(&empty(6)).drained(59);
    let detail = "no channel occupied for 50s only, 1m asked";
    assert_eq!(found, finding(Inconclusive, Some(50.0), 6, detail));
}

#[test]
fn whoever_is_left_on_old_fails_it() {
    let mut story = vec![seen(0); 9];
    story.push(seen(2));
    let found = Drain::told(&story).drained(90);
    let detail = "2 channels are still occupied (2 subscriptions), and they do not become fewer";
    assert_eq!(found, finding(Fail, Some(0.0), 10, detail));
    let story = [5, 4, 3, 2, 1].map(seen);
    let found = Drain::told(&story).drained(45);
    let detail = "1 channel is still occupied (1 subscriptions), at this pace empty in 10s";
    assert_eq!(found, finding(Fail, Some(0.0), 5, detail));
}

#[test]
fn silence_of_the_api_is_no_empty_cluster() {
    let found = Drain::told(&[]).drained(60);
    assert_eq!(found, finding(Inconclusive, None, 0, "nobody looked who is there"));
    let found = Drain::told(&vec![failed(); 7]).drained(60);
    let detail = "the API never said who is there: HTTP 503 and no list of channels";
    assert_eq!(found, finding(Inconclusive, None, 0, detail));
    // It was empty for long enough, and then it fell silent.
    let mut story = vec![seen(0); 7];
    story.extend(vec![failed(); 4]);
    let found = Drain::told(&story).drained(96);
    let detail = "the API has not said who is there for 36s: HTTP 503 and no list of channels";
    assert_eq!(found, finding(Inconclusive, Some(60.0), 7, detail));
    let found = Drain::told(&story).drained(95);
    let detail = "no channel occupied for 1m, 1m asked";
    assert_eq!(found, finding(Pass, Some(60.0), 7, detail));
}

#[test]
fn canary_channels_are_nobody_and_are_named() {
    let canaries = Reading::Seen(Occupancy { own: 4, members: None, ..Occupancy::default() });
    let found = Drain::told(&vec![canaries; 7]).drained(60);
    let detail = "no channel occupied for 1m, 1m asked; 4 canary channels left out";
    assert_eq!(found, finding(Pass, Some(60.0), 7, detail));
}

#[test]
fn a_drain_rests_on_old_being_empty_and_on_eyes_that_were_proven_on_new() {
    let names: Vec<_> = Drain::told(&vec![seen(0); 7])
        .judged(60)
        .into_iter()
        .map(|finding| (finding.name.into_owned(), finding.cluster, finding.status))
        .collect();
    let expected = [
        ("evidence", Some(Old)),
        ("drained", Some(Old)),
        ("evidence", Some(New)),
        ("controls", Some(New)),
        ("left-behind", Some(New)),
        ("instrument", None),
    ];
    assert_eq!(names, expected.map(|(name, on)| (name.to_owned(), on, Pass)));

    assert_eq!(Drain::told(&vec![seen(0); 7]).verdict(60), Verdict::Go);
    assert_eq!(Drain::told(&[5, 4, 3, 2, 1, 1, 1].map(seen)).verdict(60), Verdict::NoGo);
    assert_eq!(Drain::told(&vec![seen(0); 4]).verdict(30), Verdict::Inconclusive);
    assert_eq!(Drain::told(&[]).verdict(60), Verdict::Inconclusive);
}

#[test]
fn a_drain_that_cannot_see_is_never_go() {
    type Spoil = (&'static str, fn(&mut Story));
    let spoilt: [Spoil; 4] = [
        ("a control that did not fire", |story| {
            *story = Story::of_drain(&ClusterRole::ALL, REFRESH);
            story.apply(Fact::Begun(RunTime::ZERO));
        }),
        ("a stepped clock", |story| story.apply(Fact::Taint(3, TaintReason::ClockStep))),
        ("too many tainted seconds", |story| {
            for second in 0..10 {
                story.apply(Fact::Taint(second, TaintReason::RuntimeStall));
            }
        }),
        ("new left behind something", |story| story.apply(Fact::LeftBehind(New, Some(1)))),
    ];
    for (what, spoil) in spoilt {
        let mut drain = Drain::told(&[]);
        spoil(&mut drain.0);
        for second in 0..7 {
            drain.read(second * 10, Old, seen(0));
            drain.read(second * 10, New, seen(0));
        }
        assert_ne!(drain.verdict(60), Verdict::Go, "{what}");
    }
    // A new cluster that says nothing.
    let mut drain = Drain::told(&[]);
    for second in 0..7 {
        drain.read(second * 10, Old, seen(0));
        drain.read(second * 10, New, failed());
    }
    assert_eq!(drain.verdict(60), Verdict::Inconclusive);
    // A run without old.
    let mut alone = Story::of_drain(&[New], REFRESH);
    alone.advance(RunTime::from_millis(60_000), true);
    let found = judge(alone.account.figures(), &asked(Phase::Drain));
    assert_eq!(Verdict::of(&found), Verdict::Inconclusive);
}

#[test]
fn a_drain_that_ends_as_soon_as_it_can_waits_until_old_is_empty() {
    let looks = Requirements { looks: Looks::Anytime, ..asked(Phase::Drain) };
    let stands = |drain: &Drain| proof(drain.0.account.figures(), &looks);
    let mut drain = Drain::told(&[2, 1, 0, 0, 0, 0, 0, 0].map(seen));
    assert_eq!(stands(&drain), Proof::Open);
    drain.read(80, New, seen(3));
    drain.read(80, Old, seen(0));
    assert_eq!(stands(&drain), Proof::Stands);
    // Who is still there may yet leave.
    assert_eq!(stands(&Drain::told(&[2, 1, 2, 1, 2, 1].map(seen))), Proof::Open);
}
