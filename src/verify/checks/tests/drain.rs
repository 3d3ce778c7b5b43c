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

/// Two channels, and then none in so many readings.
fn emptied(readings: usize) -> Vec<Reading> {
    std::iter::once(seen(2)).chain(vec![seen(0); readings]).collect()
}

fn failed() -> Reading {
    Reading::Failed("HTTP 503 and no list of channels".to_owned())
}

/// A drain of which old told this, every ten seconds, and new that three channels are occupied.
struct Drain(Story);

impl Drain {
    fn told(old: &[Reading]) -> Self {
        Self::of(&vec![seen(3); old.len()], old, None)
    }

    /// The same, but that one control did not fire.
    fn without(control: Control, old: &[Reading]) -> Self {
        Self::of(&vec![seen(3); old.len()], old, Some(control))
    }

    fn of(new: &[Reading], old: &[Reading], silent: Option<Control>) -> Self {
        let mut drain = Self(Story::of_drain(&ClusterRole::ALL, REFRESH));
        drain.0.apply(Fact::Begun(RunTime::ZERO));
        for control in Control::OF_DELIVERY.into_iter().chain([Control::SeesOccupancy]) {
            if Some(control) != silent {
                drain.0.apply(Fact::Control(New, control, ControlStatus::Pass));
            }
        }
        drain.0.apply(Fact::LeftBehind(New, Some(0)));
        for at in 0..old.len().max(new.len()) {
            for (role, readings) in [(Old, old), (New, new)] {
                if let Some(reading) = readings.get(at) {
                    drain.read(10 * at as u64, role, reading.clone());
                }
            }
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
    let found = Drain::told(&emptied(7)).drained(70);
    let detail = "no channel occupied for 1m, 1m asked";
    assert_eq!(found, finding(Pass, Some(60.0), 8, detail));
    // One reading less.
    let found = Drain::told(&emptied(6)).drained(69);
    let detail = "no channel occupied for 50s only, 1m asked";
    assert_eq!(found, finding(Inconclusive, Some(50.0), 7, detail));
}

#[test]
fn an_api_that_never_showed_anybody_proves_nothing_unless_it_is_said_how_that_is_known() {
    let found = Drain::told(&vec![seen(0); 7]).drained(60);
    let detail = "no channel occupied for 1m, 1m asked, but nobody was ever seen there: begin \
                  while somebody is, or say in gate.unseen how it is known that this is the app \
                  that users were on";
    assert_eq!(found, finding(Inconclusive, Some(60.0), 7, detail));
    let mut drain = Drain::told(&vec![seen(0); 7]);
    drain.judged(60);
    let mut known = asked(Phase::Drain);
    known.limits.unseen = Some("the dashboard showed 3 connections yesterday".to_owned());
    let found = judge(drain.0.account.figures(), &known);
    let detail = "no channel occupied for 1m, 1m asked; nobody was ever seen there, but it is known: the \
                  dashboard showed 3 connections yesterday";
    assert!(found.contains(&finding(Pass, Some(60.0), 7, detail)), "{found:?}");
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
    let mut story = emptied(7);
    story.extend(vec![failed(); 3]);
    let found = Drain::told(&story).drained(101);
    let detail = "the API has not said who is there for 31s: HTTP 503 and no list of channels";
    assert_eq!(found, finding(Inconclusive, Some(60.0), 8, detail));
    let found = Drain::told(&story).drained(100);
    let detail = "no channel occupied for 1m, 1m asked";
    assert_eq!(found, finding(Pass, Some(60.0), 8, detail));
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
    let names: Vec<_> = Drain::told(&emptied(7))
        .judged(70)
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

    assert_eq!(Drain::told(&emptied(7)).verdict(70), Verdict::Go);
    assert_eq!(Drain::told(&[5, 4, 3, 2, 1, 1, 1].map(seen)).verdict(60), Verdict::NoGo);
    assert_eq!(Drain::told(&emptied(4)).verdict(40), Verdict::Inconclusive);
    assert_eq!(Drain::told(&[]).verdict(60), Verdict::Inconclusive);
}

#[test]
fn one_thing_that_is_not_seen_leaves_a_drain_open() {
    type Spoil = (&'static str, Option<ClusterRole>, fn(&mut Drain));
    let spoilt: [Spoil; 5] = [
        ("controls", Some(New), |drain| {
            // As if it had never been stated: a story cannot be untold.
            *drain = Drain::without(Control::SeesOccupancy, &emptied(7));
        }),
        ("instrument", None, |drain| drain.0.apply(Fact::Taint(3, TaintReason::ClockStep))),
        ("instrument", None, |drain| {
            for second in 0..10 {
                drain.0.apply(Fact::Taint(second, TaintReason::RuntimeStall));
            }
        }),
        ("left-behind", Some(New), |drain| drain.0.apply(Fact::LeftBehind(New, None))),
        ("evidence", Some(New), |drain| {
            *drain = Drain::of(&[seen(3)], &emptied(7), None);
        }),
    ];
    for (check, on, spoil) in spoilt {
        let mut drain = Drain::told(&emptied(7));
        spoil(&mut drain);
        let found = drain.judged(70);
        assert_eq!(Verdict::of(&found), Verdict::Inconclusive, "{check}");
        let open: Vec<_> = found.iter().filter(|finding| finding.status != Pass).collect();
        assert_eq!(open.len(), 1, "{check}: {open:?}");
        assert_eq!((&*open[0].name, open[0].cluster), (check, on));
    }
    // A run without old.
    let mut alone = Story::of_drain(&[New], REFRESH);
    alone.advance(RunTime::from_millis(60_000), true);
    let found = judge(alone.account.figures(), &asked(Phase::Drain));
    let evidence = found.iter().find(|f| f.name == "evidence" && f.cluster == Some(Old));
    assert_eq!(evidence.unwrap().detail, "the cluster was not part of the run");
    assert_eq!(Verdict::of(&found), Verdict::Inconclusive);
}

#[test]
fn what_its_provider_says_of_old_keeps_nobody_on_it() {
    let drain = asked(Phase::Drain);
    let seen = Seen { status: Fail, limit: Some(1.0), ..Seen::default() };
    assert!(!drain.requires("status-page", Some(Old), &seen));
    assert!(drain.requires("status-page", Some(New), &seen));
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

#[test]
fn where_webhooks_are_received_they_must_say_the_same() {
    use crate::verify::webhook::WebhookFigures;
    let told = |vacated, open, empty_seconds| WebhookFigures {
        genuine: 3,
        vacated,
        open,
        empty_for: Duration::from_secs(empty_seconds),
        ..WebhookFigures::default()
    };
    let drain = Drain::told(&emptied(8));
    let mut cluster = drain.0.figures(Old).clone();
    let mut check = |webhooks: WebhookFigures, unseen: Option<&str>| {
        cluster.webhooks = Some(webhooks);
        let limits = Limits { unseen: unseen.map(str::to_owned), ..limits() };
        let seen = crate::verify::checks::drained::check(&cluster, &limits);
        (seen.status, seen.detail)
    };
    let by_api = "no channel occupied for 1m 10s, 1m asked";
    for (webhooks, unseen, status, said) in [
        (told(3, 0, 65), None, Pass, "; by its webhooks for 1m 5s, 1m asked"),
        (
            told(3, 2, 0),
            None,
            Inconclusive,
            ", but by its webhooks 2 channels were occupied and not vacated: a channel_vacated did \
             not come",
        ),
        (told(3, 0, 59), None, Inconclusive, ", but by its webhooks for 59s only"),
        // Somebody was seen to leave: however it is known, a webhook was due.
        (
            told(0, 0, 65),
            Some("known"),
            Inconclusive,
            ", but no webhook of its app told of that: have it tell of channel existence, and name \
             its oldest key in the scenario",
        ),
    ] {
        assert_eq!(check(webhooks, unseen), (status, format!("{by_api}{said}")));
    }
}

#[test]
fn an_earlier_run_must_have_seen_no_real_event_on_new_only() {
    use crate::verify::published::MirrorEvidence;
    let hours = |hours: u64| Duration::from_secs(3_600 * hours);
    let evidence = |observed, only_on_new, age, problem: &str| MirrorEvidence {
        run: "7".to_owned(),
        age: hours(age),
        age_max: hours(24),
        observed,
        only_on_new,
        problem: problem.to_owned(),
    };
    for (evidence, status, said) in [
        (evidence(9, 0, 3, ""), Pass, "none of 9 real events on new only, as run 7 saw 3h ago"),
        (
            evidence(9, 2, 3, ""),
            Fail,
            "run 7 saw 2 of 9 real events on new only: whoever is on old misses them",
        ),
        (evidence(0, 0, 3, ""), Inconclusive, "run 7 saw no real event"),
        (evidence(9, 0, 25, ""), Inconclusive, "run 7 ended 1day 1h ago, 1day allowed"),
        (evidence(9, 0, 3, "was not finished"), Inconclusive, "run 7 was not finished"),
    ] {
        let seen = crate::verify::checks::published::check(&evidence, Duration::ZERO);
        assert_eq!((seen.status, &*seen.detail), (status, said));
        let figures = Figures { published: Some(evidence), ..Figures::default() };
        let found = judge(&figures, &asked(Phase::Drain));
        let found = found.iter().find(|finding| finding.name == "published").unwrap();
        assert!(found.required, "a drain rests on it");
    }
}
