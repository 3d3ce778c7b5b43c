//! What probes find of two apps, each in every way in which an app can differ.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pusher_canary::model::habit::{Habit, HabitOf};
use pusher_canary::model::{Clock, ClusterRole, Secret};
use pusher_canary::net::dial::Target;
use pusher_canary::net::tls;
use pusher_canary::probes::{self, Site};
use pusher_canary::pusher::{self, rest::Signer};
use pusher_canary::rehearsal::pair::{Pair, PairConfig};
use pusher_canary::verify::parity::{Likeness, ParityBegin, ParityFigures, Probe, Reading, Row};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::util::{Clusters, Folder, canary, rehearse, scenario, turn};

/// Every probe that does not take minutes.
fn quick() -> impl Iterator<Item = Probe> {
    Probe::ALL.into_iter().filter(|probe| !probe.is_slow())
}

fn site(pair: &Pair, role: ClusterRole) -> Site {
    let endpoint = pair.endpoint(role);
    let socket = format!("{}{}", endpoint.ws_url, pusher::socket_target(&endpoint.key));
    let tls = tls::client_config(None).unwrap();
    let target = |url: &str| Target::new(Url::parse(url).unwrap(), &tls);
    Site {
        socket: target(&socket),
        api: target(&endpoint.http_url),
        signer: Signer { app_id: endpoint.app_id, key: endpoint.key, secret: endpoint.secret },
        clock: Clock::start(),
        tasks: TaskTracker::new(),
        news_within: Duration::from_millis(100),
        tail: "pc-12345678-parity".to_owned(),
    }
}

/// What is found of a pair whose new cluster has this habit.
fn found(habit: Option<Habit>) -> ParityFigures {
    let habits = habit.map(|habit| HabitOf(ClusterRole::New, habit)).into_iter().collect();
    let pair = Pair::start(PairConfig { habits, ..PairConfig::default() }).unwrap();
    let rows = quick().flat_map(|probe| probe.rows()).copied().collect();
    let mut figures = ParityFigures::new(&ParityBegin { rows, accept: BTreeMap::new() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for role in ClusterRole::ALL {
        let site = site(&pair, role);
        for probe in quick() {
            let found = runtime.block_on(probes::probe(&site, probe));
            assert_eq!(found.len(), probe.rows().len(), "{found:?}");
            found.iter().for_each(|(row, reading)| figures.note(role, *row, reading));
        }
    }
    figures
}

fn differing(figures: &ParityFigures) -> BTreeSet<Row> {
    let rows = figures.rows.iter().filter(|(_, row)| row.likeness != Likeness::Same);
    rows.map(|(row, _)| *row).collect()
}

#[test]
fn a_pair_that_agrees_is_the_same_in_every_row_and_as_documented() {
    let figures = found(None);
    assert_eq!(differing(&figures), BTreeSet::new(), "{figures:?}");
    let value = |row: Row| figures.rows[&row].readings[&ClusterRole::New].shown();
    for (row, documented) in [
        (Row::PresenceUser, "one member, who comes once and leaves with the last"),
        (Row::CacheMiss, "yes"),
        (Row::CacheReplay, "the last event"),
        (Row::ClientEvents, "private, presence"),
        (Row::ClientEventsEcho, "no"),
        (Row::ClientEventsUserId, "yes"),
        (Row::ClientEventsRate, "some"),
        (Row::SenderExclusion, "is left out"),
        (Row::SeveralChannels, "once on each"),
        (Row::PublicationInfo, "subscription_count, user_count"),
    ] {
        assert_eq!(value(row), documented, "{row:?}");
    }
}

#[test]
fn a_pair_that_differs_in_one_habit_differs_in_that_row_alone() {
    for (habit, row) in [
        (Habit::MemberPerConnection, Row::PresenceUser),
        (Habit::Ghosts, Row::PresenceCut),
        (Habit::SilentMiss, Row::CacheMiss),
        (Habit::NoCache, Row::CacheReplay),
        (Habit::NoClientEvents, Row::ClientEvents),
        (Habit::Echo, Row::ClientEventsEcho),
        (Habit::Anonymous, Row::ClientEventsUserId),
        (Habit::Unlimited, Row::ClientEventsRate),
        (Habit::NoExclusion, Row::SenderExclusion),
        (Habit::OneChannel, Row::SeveralChannels),
        (Habit::NoInfo, Row::PublicationInfo),
    ] {
        let figures = found(Some(habit));
        assert_eq!(differing(&figures), BTreeSet::from([row]), "{habit:?}: {figures:?}");
        assert_eq!(figures.rows[&row].likeness, Likeness::Differs, "{habit:?}");
    }
}

#[test]
fn a_cluster_that_is_gone_is_not_tested_and_says_so() {
    let pair = Pair::start(PairConfig::default()).unwrap();
    let site = site(&pair, ClusterRole::New);
    pair.kill(ClusterRole::New);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for probe in quick() {
        for (row, reading) in runtime.block_on(probes::probe(&site, probe)) {
            let Reading::NotTested(why) = reading else { panic!("{row:?}: {reading:?}") };
            assert!(why.starts_with("cluster unreachable: "), "{row:?}: {why}");
        }
    }
}

#[test]
fn an_app_that_lets_nobody_in_is_not_tested() {
    let pair = Pair::start(PairConfig::default()).unwrap();
    let mut site = site(&pair, ClusterRole::New);
    site.signer.secret = Secret::new("another");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (_, reading) in runtime.block_on(probes::probe(&site, Probe::Presence)) {
        let Reading::NotTested(why) = reading else { panic!("{reading:?}") };
        assert!(why.starts_with("refused: "), "{why}");
    }
}

const TIMES: [(&str, &str); 2] = [("duration", "\"5s\""), ("rate", "100.0")];

#[test]
fn a_run_rests_on_what_its_probes_find() {
    let folder = Folder::new();
    let text = format!("{}[rehearsal]\nhabits = [\"new:no-cache\"]\n[parity]\n", scenario(&TIMES));
    let path = folder.write("scenario.toml", &text);
    let outcome = rehearse(&path, 7, &[]).run();
    outcome.assert_code(1);
    let report = outcome.judged();
    let check = report.check("parity", "both");
    assert_eq!(check["status"], "fail");
    assert_eq!(
        check["detail"],
        "both behave alike in 10 of 11 rows; cache-replay differs: the last event on old, nothing \
         (it says so) on new"
    );
    // Its channels are gone when it ends.
    assert_eq!(report.status("left-behind", "new"), "pass");
    assert_eq!(report.verdict(), "NO-GO");
}

#[test]
fn a_difference_that_is_accepted_is_shown_and_fails_nothing() {
    let folder = Folder::new();
    let accept = "[rehearsal]\nhabits = [\"new:no-cache\"]\n[parity]\nprobes = [\"cache\"]\n\
                  accept = [\"cache-replay: clients fetch their state\"]\n";
    let path = folder.write("scenario.toml", &format!("{}{accept}", scenario(&TIMES)));
    let report = rehearse(&path, 7, &[]).run().judged();
    assert_eq!(report.status("parity", "both"), "pass");
    let said = "both behave alike in 1 of 2 rows; wanted to differ: cache-replay";
    assert_eq!(report.check("parity", "both")["detail"], said);
    let rows = &report.0["parity"];
    assert_eq!(rows[1]["likeness"], "accepted");
    assert_eq!(rows[1]["accepted"], "clients fetch their state");
}

#[test]
fn a_run_that_ends_before_its_probes_proves_nothing_of_them() {
    let folder = Folder::new();
    let clusters = Clusters::start();
    let text = clusters.scenario(&[("duration", "\"2s\"")]);
    let path =
        folder.write("scenario.toml", &format!("{text}[parity]\nprobes = [\"presence-silent\"]\n"));
    let _turn = turn();
    let args = ["run", path.to_str().unwrap(), "--report-json", "-"];
    let outcome = canary(args).envs(clusters.variables()).start().finish();
    let report = outcome.judged();
    assert_eq!(report.status("parity", "both"), "inconclusive");
    let detail = report.check("parity", "both")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("presence-silent was not tested on both"), "{detail}");
    assert!(detail.contains("the run ended before"), "{detail}");
    outcome.assert_code(3);
}
