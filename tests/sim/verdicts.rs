//! Rates of GO over thousands of runs, held to what was promised.

use pusher_canary::model::ClusterRole;
use pusher_canary::verify::account::Account;
use pusher_canary::verify::checks::{self, Looks, Proof, Requirements};
use pusher_canary::verify::coverage::UncoveredCause;
use pusher_canary::verify::figures::Figures;
use pusher_canary::verify::stats;
use pusher_canary::verify::verdict::{Finding, Status, Verdict};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::run::{CONFIDENCE, LIMIT, World, asked};

use ClusterRole::{New, Old};

const RUNS: u64 = 5_000;

/// Deliveries so fast that the slack of the latency checks covers them: what decides is loss.
const FAST_MS: f64 = 0.4;

fn judged(account: &Account) -> (Verdict, Vec<Finding>) {
    let asked = &account.begin().requirements;
    let findings = checks::judge(account.figures(), asked);
    (Verdict::of(&findings), findings)
}

/// Whether so many of [`RUNS`] lie within the two-sided 99.9 % band of a rate.
#[track_caller]
fn assert_within_band(seen: u64, rate: f64, what: &str) {
    let runs = Binomial::new(rate, RUNS).unwrap();
    let (low, high) = (runs.inverse_cdf(0.000_5), runs.inverse_cdf(0.999_5));
    println!("{what}: {seen} of {RUNS} GO; {low} to {high} for {rate:.5}");
    assert!((low..=high).contains(&seen), "{what}: {seen} of {RUNS}, not {low} to {high}");
}

#[test]
fn a_run_of_planned_length_is_go_as_rarely_as_promised() {
    let planned = stats::trials_needed(LIMIT, CONFIDENCE);
    let mut rng = SmallRng::seed_from_u64(1);
    for (times, promised) in [(1.0, 0.05), (2.0, 0.0025)] {
        let loss = |role| if role == New { times * LIMIT } else { 0.0 };
        let mut go = 0;
        for _ in 0..RUNS {
            let account = World::new(&mut rng, FAST_MS).run(planned, loss, Looks::Once);
            go += u64::from(judged(&account).0 == Verdict::Go);
        }
        // Of so many trials none may fail.
        let exact = (1.0 - times * LIMIT).powi(i32::try_from(planned).unwrap());
        assert!(exact <= promised, "{exact}");
        assert_within_band(go, exact, &format!("planned length, {times} times the limit"));
    }
}

/// When the loss check says something, by the number of losses: it passes from so many trials on,
/// and fails up to so many.
fn turns(asked: &Requirements, lost: u64, longest: u64) -> (u64, u64) {
    let first = |holds: &dyn Fn(u64) -> bool| {
        let (mut low, mut high) = (lost.max(1), longest + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(middle) { high = middle } else { low = middle + 1 }
        }
        low
    };
    let passes = first(&|n| asked.upper_bound(lost, n) <= LIMIT);
    let fails = first(&|n| asked.lower_bound(lost, n) <= LIMIT) - 1;
    (passes, fails)
}

/// A run that is looked at after every event, and ended as soon as the proof stands or has failed.
/// Only what loss changes is changed from run to run.
fn until_proven(
    figures: &mut Figures,
    turns: &[(u64, u64)],
    (rng, rate): (&mut SmallRng, f64),
    longest: u64,
) -> Verdict {
    let asked = asked(Looks::Anytime);
    let mut lost = 0;
    for trials in 1..=longest {
        lost += u64::from(rng.random_bool(rate));
        // Only where the loss check says something need the others be asked.
        let (passes, fails) = turns[lost as usize];
        if trials < passes && trials > fails {
            continue;
        }
        for role in ClusterRole::ALL {
            let cluster = figures.clusters.get_mut(&role).unwrap();
            cluster.trials.trials = trials;
            cluster.trials.publications_lost = if role == New { lost } else { 0 };
        }
        figures.events.trials = trials;
        figures.events.failures = [(UncoveredCause::Lost, lost)].into();
        if checks::proof(figures, &asked) != Proof::Open {
            return Verdict::of(&checks::judge(figures, &asked));
        }
    }
    Verdict::Inconclusive
}

#[test]
fn a_run_until_proven_is_go_at_most_as_often_as_promised_however_often_it_is_looked_at() {
    let needed = stats::trials_needed_anytime(LIMIT, CONFIDENCE);
    let mut rng = SmallRng::seed_from_u64(2);
    let clean = World::new(&mut rng, FAST_MS).run(10 * needed, |_| 0.0, Looks::Anytime);
    let mut figures = clean.figures().clone();
    let longest = 10 * needed;
    let asked = asked(Looks::Anytime);
    let turns: Vec<_> = (0..500).map(|lost| turns(&asked, lost, longest)).collect();
    for (times, promised) in [(1.0, 0.05), (2.0, 0.0025)] {
        let mut verdicts = [0_u64; 3];
        for _ in 0..RUNS {
            let verdict = until_proven(&mut figures, &turns, (&mut rng, times * LIMIT), longest);
            verdicts[verdict as usize] += 1;
        }
        let [go, no_go, open] = verdicts;
        let most = Binomial::new(promised, RUNS).unwrap().inverse_cdf(0.999_5);
        println!("until proven, {times} times the limit: {go} GO, {no_go} NO-GO, {open} open");
        assert!(go <= most, "{go} of {RUNS} GO at {times} times the limit, at most {most}");
        // It is no bound that never lets anything pass.
        assert!(times > 1.0 || go > RUNS / 50, "{go}");
    }
    // What loses nothing is proven as soon as it can be.
    assert_eq!(until_proven(&mut figures, &turns, (&mut rng, 0.0), longest), Verdict::Go);
    assert_eq!(
        until_proven(&mut figures, &turns, (&mut rng, 0.0), needed - 1),
        Verdict::Inconclusive
    );
}

#[test]
fn a_clean_run_of_planned_length_is_go_but_for_what_the_latency_checks_leave_open() {
    let planned = stats::trials_needed(LIMIT, CONFIDENCE);
    let mut rng = SmallRng::seed_from_u64(3);
    // Where the slack covers the spread of latencies, nothing is left open.
    for _ in 0..200 {
        let account = World::new(&mut rng, FAST_MS).run(planned, |_| 0.0, Looks::Once);
        assert_eq!(judged(&account).0, Verdict::Go);
    }
    // Where it does not, few deliveries leave p99 open, and many do not.
    for (events, most) in [(planned, 0.95), (30_000, 0.02)] {
        let (runs, mut open) = (100, 0);
        for _ in 0..runs {
            let account = World::new(&mut rng, 40.0).run(events, |_| 0.0, Looks::Once);
            let (verdict, findings) = judged(&account);
            let in_the_way = findings.iter().filter(|f| f.required && f.status != Status::Pass);
            for finding in in_the_way {
                assert!(finding.name.starts_with("latency"), "{finding:?}");
                assert_eq!(finding.status, Status::Inconclusive, "{finding:?}");
            }
            open += u32::from(verdict != Verdict::Go);
        }
        let share = f64::from(open) / f64::from(runs);
        println!("clean runs of {events} events at 40 ms: {share:.2} left open by latency");
        assert!(share <= most, "{share} of the runs of {events} events are open");
    }
}

#[test]
fn loss_on_either_cluster_is_never_go_for_long() {
    let planned = stats::trials_needed(LIMIT, CONFIDENCE);
    let mut rng = SmallRng::seed_from_u64(4);
    for lossy in [Old, New] {
        let loss = |role| if role == lossy { 10.0 * LIMIT } else { 0.0 };
        for _ in 0..100 {
            let account = World::new(&mut rng, FAST_MS).run(planned, loss, Looks::Once);
            let (verdict, findings) = judged(&account);
            assert_eq!(verdict, Verdict::NoGo);
            let failed = |f: &&Finding| f.name == "loss" && f.status == Status::Fail;
            assert_eq!(findings.iter().find(failed).unwrap().cluster, Some(lossy));
        }
    }
}
