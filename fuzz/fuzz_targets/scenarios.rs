#![no_main]
//! Scenarios: any text is read or refused with a reason for each line, and what is accepted is
//! planned as `check` does it.

use std::hint::black_box;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pusher_canary::agent::check_receiver;
use pusher_canary::journal::{self, Encoder};
use pusher_canary::model::{ChannelKind, RunId};
use pusher_canary::report::Report;
use pusher_canary::scenario::Problems;
use pusher_canary::scenario::file::{self, Clusters, Scenario, Surroundings};
use pusher_canary::scenario::plan::{Overrides, Plan};
use pusher_canary::verify::checks::{Looks, Phase, Requirements};
use pusher_canary::verify::record::Record;
use pusher_canary::verify::tally::Route;
use pusher_canary_fuzz::check_report;
use uuid::Uuid;

const RUN: RunId = RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ab));
/// The time of day at which a run begins: since the Unix epoch.
const ORIGIN: Duration = Duration::from_secs(1_795_500_000);

/// What the environment holds: the variables of the shipped scenarios, and of the fixtures.
const VARIABLES: [(&str, &str); 14] = [
    ("OLD_WS_URL", "wss://old.example"),
    ("OLD_HTTP_URL", "https://old.example"),
    ("OLD_APP_ID", "1001"),
    ("OLD_APP_KEY", "old-app-key"),
    ("OLD_APP_SECRET", "old-app-secret"),
    ("OLD_MASTER", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ("NEW_WS_URL", "wss://new.example"),
    ("NEW_HTTP_URL", "https://new.example"),
    ("NEW_APP_ID", "1002"),
    ("NEW_APP_KEY", "new-app-key"),
    ("NEW_APP_SECRET", "new-app-secret"),
    ("PC_OLD_SECRET", "old-secret"),
    ("PC_NEW_SECRET", "new-secret"),
    ("PC_EMPTY", ""),
];

/// Surroundings without files.
struct Outside;

impl Surroundings for Outside {
    fn variable(&self, name: &str) -> Option<String> {
        VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("there are no files here".to_owned())
    }
}

fuzz_target!(|input: &[u8]| {
    let source = String::from_utf8_lossy(input);
    for clusters in [Clusters::Read, Clusters::Ignored] {
        match file::read("scenario.toml", &source, clusters, &Outside) {
            Ok(scenario) if clusters == Clusters::Read => check(&scenario),
            Ok(_) => {}
            Err(problems) => check_problems(&problems, &source),
        }
    }
});

/// Each problem is of a line that there is.
fn check_problems(problems: &Problems, source: &str) {
    let lines = source.matches('\n').count() + 1;
    assert!(!problems.list.is_empty() && !problems.to_string().is_empty());
    for problem in &problems.list {
        assert!((1..=lines).contains(&problem.line), "{problem:?} of {lines} lines");
    }
}

/// Whether there are more witnesses than the budget has connections. That is an error, which comes
/// behind a plan of them all: for some texts, one of gigabytes.
fn has_too_many_witnesses(scenario: &Scenario) -> bool {
    let canary = &scenario.canary;
    let has_http = canary.routes.iter().any(|route| *route != Route::Client);
    let is_used = |kind: &ChannelKind| has_http || kind.carries_client_events();
    let used = canary.channels.iter().filter(|of| is_used(of.0));
    let channels: u64 = used.map(|(_, count)| u64::from(*count)).sum();
    let each = channels.div_ceil(canary.channels_per_connection as u64);
    let witnesses = u64::from(canary.witnesses) * each;
    scenario.phase.publishes() && witnesses > scenario.budget.connections_max
}

/// Plans a run, and reckons all that `check` says of it.
fn check(scenario: &Scenario) {
    let overrides = Overrides { looks: Looks::Once, ..Overrides::default() };
    if has_too_many_witnesses(scenario) {
        return;
    }
    let Ok(plan) = Plan::new(scenario, overrides, RUN, 7) else { return };
    black_box((check_receiver(&plan).is_ok(), plan.bill(), plan.memory().total()));
    black_box((plan.reaches_proof(), plan.trials_needed(), plan.schedule.next_at()));
    let said = [
        plan.cannot_move(),
        plan.cannot_come(),
        plan.cannot_probe(),
        plan.cannot_lose(),
        plan.ramps_otherwise(),
    ];
    assert!(said.iter().flatten().all(|why| !why.is_empty()));
    if plan.watching.is_none() && plan.requirements.phase != Phase::Preflight {
        reckon_proof(&plan);
    }
    record(&plan);
}

/// What the asked proof takes, by either way of looking at it.
fn reckon_proof(plan: &Plan) {
    let rate = plan.schedule.rate();
    for looks in [Looks::Once, Looks::Anytime] {
        let needed = Requirements { looks, ..plan.requirements.clone() }.trials_needed();
        let time = Duration::from_secs_f64((needed as f64 / rate).ceil());
        let waits = plan.reconnects_after().filter(|wait| *wait > time);
        let events = waits.map_or(needed, |wait| (wait.as_secs_f64() * rate).ceil() as u64);
        black_box(plan.messages(events, waits.unwrap_or(time)));
    }
}

/// What is recorded of a plan before anything has happened is read again, and judged.
fn record(plan: &Plan) {
    let begin = plan.begin(ORIGIN);
    let line = Encoder::default().line(&Record::Begin(Box::new(begin.clone())));
    let recorded = journal::read(line.as_bytes()).expect("what was recorded is a journal");
    assert_eq!(*recorded.account.begin(), begin);
    check_report(&Report::new(&recorded.account, None));
}
