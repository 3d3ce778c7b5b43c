//! What probes find of two apps, each in every way in which an app can differ.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use pusher_canary::model::habit::{Habit, HabitOf};
use pusher_canary::model::{Clock, ClusterRole, Secret};
use pusher_canary::net::dial::Target;
use pusher_canary::net::tls;
use pusher_canary::probes::{self, Site, Turns};
use pusher_canary::pusher::{self, rest::Signer};
use pusher_canary::rehearsal::pair::{Pair, PairConfig};
use pusher_canary::verify::parity::{Likeness, ParityBegin, ParityFigures, Probe, Reading, Row};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::transport::HABITS as HABITS_OF_TRANSPORT;
use crate::util::{Clusters, Folder, canary, rehearse, scenario, turn};
use crate::webhooks::HABITS as HABITS_OF_WEBHOOKS;

/// Every probe that does not take minutes and needs nothing but two apps.
fn quick() -> impl Iterator<Item = Probe> {
    Probe::ALL.into_iter().filter(|probe| !probe.is_slow() && probe.needs().is_none())
}

fn site(pair: &Pair, role: ClusterRole) -> Site {
    let endpoint = pair.endpoint(role);
    let socket = format!("{}{}", endpoint.ws_url, pusher::socket_target(&endpoint.key));
    let tls = tls::client_config(None).unwrap();
    let target = |url: &str| Target::new(Url::parse(url).unwrap(), &tls);
    Site {
        socket: target(&socket),
        api: target(&endpoint.http_url),
        ca_pem: None,
        origins: Vec::new(),
        endpoints: Default::default(),
        beat: Some(Duration::from_secs(1)),
        signer: Signer { app_id: endpoint.app_id, key: endpoint.key, secret: endpoint.secret },
        clock: Clock::start(),
        tasks: TaskTracker::new(),
        news_within: Duration::from_millis(100),
        // Who waits for a habit ends when it strikes.
        idle_for: Duration::from_millis(50),
        arrivals: None,
        told_within: Duration::from_secs(1),
        turns: Turns::new(Clock::start(), f64::INFINITY),
        tail: "pc-12345678-parity".to_owned(),
    }
}

/// What is found of a cluster with this habit.
fn read(habit: Option<Habit>) -> Vec<(Row, Reading)> {
    let habits = habit.map(|habit| HabitOf(ClusterRole::New, habit)).into_iter().collect();
    let pair = Pair::start(PairConfig { habits, ..PairConfig::default() }).unwrap();
    let mut site = site(&pair, ClusterRole::New);
    if habit == Some(Habit::Talkers) {
        site.idle_for = Duration::from_secs(5);
    }
    let (probes, stop) = (quick().collect::<Vec<_>>(), CancellationToken::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found: Vec<_> = runtime.block_on(probes::all(&site, &probes, 4, &stop).collect());
    let rows: BTreeSet<_> = found.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows.len(), found.len(), "a row was found twice: {found:?}");
    found
}

/// What two such readings come to.
fn compared(old: &[(Row, Reading)], new: &[(Row, Reading)]) -> ParityFigures {
    let rows = quick().flat_map(|probe| probe.rows()).copied().collect();
    let mut figures = ParityFigures::new(&ParityBegin { rows, accept: BTreeMap::new() });
    for (role, found) in [(ClusterRole::Old, old), (ClusterRole::New, new)] {
        found.iter().for_each(|(row, reading)| figures.note(role, *row, reading));
    }
    figures
}

fn differing(figures: &ParityFigures) -> BTreeSet<Row> {
    let rows = figures.rows.iter().filter(|(_, row)| row.likeness != Likeness::Same);
    rows.map(|(row, _)| *row).collect()
}

#[test]
fn a_pair_that_agrees_is_the_same_in_every_row_and_as_documented() {
    let figures = compared(&read(None), &read(None));
    assert_eq!(differing(&figures), BTreeSet::new(), "{figures:?}");
    let value = |row: Row| figures.rows[&row].readings[&ClusterRole::New].shown();
    for (row, documented) in [
        (Row::PresenceUser, "one member, who comes once and leaves with the last"),
        (Row::MemberInfo, "as told"),
        (Row::MemberIdNumber, "taken"),
        (Row::MemberIdLength, "128 characters"),
        (Row::MemberInfoSize, "1024 bytes"),
        (Row::TlsVersions, "none"),
        (Row::CertificateTrust, "not applicable (no TLS)"),
        (Row::PlainWebSocket, "taken"),
        (Row::Ipv4, "reached"),
        (Row::Ipv6, "no address"),
        (Row::CacheMiss, "yes"),
        (Row::CacheReplay, "the last event"),
        (Row::ClientEvents, "private, presence"),
        (Row::ClientEventsEcho, "no"),
        (Row::ClientEventsUserId, "yes"),
        (Row::ClientEventsRate, "some"),
        (Row::SenderExclusion, "is left out"),
        (Row::SeveralChannels, "once on each"),
        (Row::PublicationInfo, "subscription_count, user_count"),
        (Row::KindPublic, "works"),
        (Row::KindPrivate, "works"),
        (Row::KindPresence, "works"),
        (Row::KindEncrypted, "works"),
        (Row::KindCache, "works"),
        (Row::KindPrivateCache, "works"),
        (Row::KindPresenceCache, "works"),
        (Row::KindEncryptedCache, "works"),
        (Row::DataText, "as published"),
        (Row::DataObject, "as published"),
        (Row::DataNumber, "as published"),
        (Row::DataNull, "as published"),
        (Row::DataEmpty, "as published"),
        (Row::DataUnicode, "as published"),
        (Row::DataEscapes, "as published"),
        (Row::DataIntegers, "as published"),
        (Row::SizeTrigger, "10240 bytes"),
        (Row::SizeBatch, "10240 bytes"),
        (Row::SizeClientEvent, "10240 bytes"),
        (Row::ChannelsPerEvent, "100"),
        (Row::EventsPerBatch, "10"),
        (Row::ChannelNameLength, "164 characters"),
        (Row::EventNameLength, "200 characters"),
        (Row::ChannelNameCharacters, "_-=@,.;"),
        (Row::SubscriptionLength, "164 characters"),
        (Row::SubscriptionCharacters, "_-=@,.;"),
        (Row::OpenKinds, "none"),
        (Row::KeyUnknown, "pusher:error 4001, closed with 4001"),
        (Row::HttpKeyUnknown, "HTTP 401"),
        (Row::HttpSignature, "HTTP 401"),
        (Row::ChannelSignature, "pusher:error"),
        (Row::ChannelName, "pusher:error"),
        (Row::FrameMalformed, "pusher:error"),
        (Row::SubscriptionTwice, "pusher:error"),
        (Row::Clock, "right"),
        (Row::Confirmation, "{} as its data"),
        (Row::KeepAlive, "yes"),
        (Row::TimestampWindow, "600 s either way"),
        (Row::ActivityTimeout, "120 s"),
        (Row::PingEvent, "answered"),
        (Row::PingFrame, "answered"),
        (Row::Idle, "kept for 50ms"),
        (Row::IdleTime, "not applicable (kept for 50ms)"),
        (Row::CountEvent, "no"),
        (Row::CountApi, "right"),
        (Row::SignIn, "works"),
        (Row::SignInForged, "pusher:error"),
        (Row::ToUser, "arrives"),
        (Row::Watchlist, "tells who comes"),
        (Row::Terminate, "closed with 4009 without a word"),
    ] {
        assert_eq!(value(row), documented, "{row:?}");
    }
}

/// Each habit with the row that it makes differ.
const HABITS: &[(Habit, Row)] = &[
    (Habit::MemberPerConnection, Row::PresenceUser),
    (Habit::Ghosts, Row::PresenceCut),
    (Habit::SilentInfo, Row::MemberInfo),
    (Habit::TextIds, Row::MemberIdNumber),
    (Habit::LongIds, Row::MemberIdLength),
    (Habit::LargeInfo, Row::MemberInfoSize),
    (Habit::SlowUpgrade, Row::ConnectTime),
    (Habit::SilentMiss, Row::CacheMiss),
    (Habit::NoCache, Row::CacheReplay),
    (Habit::NoClientEvents, Row::ClientEvents),
    (Habit::Echo, Row::ClientEventsEcho),
    (Habit::Anonymous, Row::ClientEventsUserId),
    (Habit::Unlimited, Row::ClientEventsRate),
    (Habit::NoExclusion, Row::SenderExclusion),
    (Habit::OneChannel, Row::SeveralChannels),
    (Habit::NoInfo, Row::PublicationInfo),
    (Habit::NoEncrypted, Row::KindEncrypted),
    (Habit::NoCacheChannels, Row::KindCache),
    (Habit::PadsPrivate, Row::KindPrivate),
    (Habit::PadsPresence, Row::KindPresence),
    (Habit::NoPrivateCache, Row::KindPrivateCache),
    (Habit::NoPresenceCache, Row::KindPresenceCache),
    (Habit::NoEncryptedCache, Row::KindEncryptedCache),
    (Habit::NoText, Row::DataText),
    (Habit::Compact, Row::DataObject),
    (Habit::ShortNumbers, Row::DataNumber),
    (Habit::NoNull, Row::DataNull),
    (Habit::NoEmptyData, Row::DataEmpty),
    (Habit::EscapesUnicode, Row::DataUnicode),
    (Habit::Unescapes, Row::DataEscapes),
    (Habit::Doubles, Row::DataIntegers),
    (Habit::SmallEvents, Row::SizeTrigger),
    (Habit::SmallBatches, Row::SizeBatch),
    (Habit::HollowEvents, Row::SizeTrigger),
    (Habit::SmallClientEvents, Row::SizeClientEvent),
    (Habit::ManyChannels, Row::ChannelsPerEvent),
    (Habit::ManyEvents, Row::EventsPerBatch),
    (Habit::LongChannelNames, Row::ChannelNameLength),
    (Habit::LongEventNames, Row::EventNameLength),
    (Habit::AnyCharacters, Row::ChannelNameCharacters),
    (Habit::WordlessStrangers, Row::KeyUnknown),
    (Habit::AnyKey, Row::HttpKeyUnknown),
    (Habit::ForbidsForgeries, Row::HttpSignature),
    (Habit::CodedRefusals, Row::ChannelSignature),
    (Habit::AnyName, Row::ChannelName),
    (Habit::LongSubscriptions, Row::SubscriptionLength),
    (Habit::Colons, Row::SubscriptionCharacters),
    (Habit::OpenCaches, Row::OpenKinds),
    (Habit::SilentMalformed, Row::FrameMalformed),
    (Habit::Twice, Row::SubscriptionTwice),
    (Habit::ClockAhead, Row::Clock),
    (Habit::BareConfirmations, Row::Confirmation),
    (Habit::ClosesHttp, Row::KeepAlive),
    (Habit::AnyTime, Row::TimestampWindow),
    (Habit::Activity30, Row::ActivityTimeout),
    (Habit::Talkers, Row::Idle),
    (Habit::NoFramePings, Row::PingFrame),
    (Habit::TellsCounts, Row::CountEvent),
    (Habit::NoCounts, Row::CountApi),
    (Habit::NoSignIn, Row::SignIn),
    (Habit::ShutsForgersOut, Row::SignInForged),
    (Habit::DeafUsers, Row::ToUser),
    (Habit::NoWatchlist, Row::Watchlist),
    (Habit::NoTerminate, Row::Terminate),
];

#[test]
fn a_pair_that_differs_in_one_habit_differs_in_that_row_alone() {
    let documented = read(None);
    let (mut tried, mut rows) = (BTreeSet::new(), BTreeSet::from(Row::ALL));
    // Most of the time is waited for what may still come.
    for some in HABITS.chunks(6) {
        let reading =
            |(habit, row): (Habit, Row)| (habit, row, thread::spawn(move || read(Some(habit))));
        for (habit, row, read) in some.iter().copied().map(reading).collect::<Vec<_>>() {
            let figures = compared(&documented, &read.join().unwrap());
            let differing = differing(&figures);
            assert_eq!(differing, BTreeSet::from([row]), "{habit:?}: {:?}", figures.rows[&row]);
            assert_eq!(figures.rows[&row].likeness, Likeness::Differs, "{habit:?}");
            tried.insert(habit);
            rows.remove(&row);
        }
    }
    tried.extend(HABITS_OF_WEBHOOKS.map(|(habit, _)| habit));
    tried.extend(HABITS_OF_TRANSPORT.map(|(habit, _)| habit));
    tried.extend(HABITS_OF_HEARTBEATS.map(|(habit, _)| habit));
    tried.extend([Habit::Crowds, Habit::Ipv6, Habit::PatientTalkers]);
    assert_eq!(tried.into_iter().collect::<Vec<_>>(), Habit::ALL);
    // Without these there is no app, or no way to tell; and some take minutes.
    let never = [
        Row::KindPublic,
        Row::PingEvent,
        Row::PresenceSilent,
        // Where it is kept, there is none.
        Row::IdleTime,
    ];
    // These have tests of their own.
    let others = [
        Probe::Heartbeats,
        Probe::MemberLimit,
        Probe::Transport,
        Probe::Addresses,
        Probe::Origins,
        Probe::Endpoints,
        Probe::Webhooks,
    ];
    let others = others.iter().flat_map(|probe| probe.rows()).copied();
    let never = never.into_iter().chain(others.filter(|row| *row != Row::ConnectTime));
    assert_eq!(rows, never.collect());
}

/// What one probe finds of a cluster with these habits.
fn read_by(probe: Probe, habits: &[Habit]) -> BTreeMap<Row, String> {
    let found = readings_by(probe, habits);
    found.into_iter().map(|(row, reading)| (row, reading.shown())).collect()
}

fn readings_by(probe: Probe, habits: &[Habit]) -> Vec<(Row, Reading)> {
    readings_of(probe, habits, Duration::from_millis(50))
}

/// The same where a connection that does nothing is watched for so long.
fn readings_of(probe: Probe, habits: &[Habit], idle_for: Duration) -> Vec<(Row, Reading)> {
    let habits = habits.iter().map(|habit| HabitOf(ClusterRole::New, *habit)).collect();
    let pair = Pair::start(PairConfig { habits, ..PairConfig::default() }).unwrap();
    let mut site = site(&pair, ClusterRole::New);
    site.idle_for = idle_for;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(probes::probe(&site, probe))
}

/// Each habit that shows only after a while, with the rows that it makes differ.
const HABITS_OF_HEARTBEATS: [(Habit, &[(Row, &str)]); 4] = [
    (Habit::PusherPings, &[(Row::ServerPing, "pusher:ping, and is kept")]),
    (
        Habit::WantsTraffic,
        &[
            (Row::QuietPingFrame, "closed with 4201"),
            (Row::ServerPing, "nothing, and is closed with 4201"),
        ],
    ),
    (
        Habit::WantsMessages,
        &[
            (Row::QuietPingFrame, "closed with 4201"),
            (Row::BusyPingFrame, "closed with 4201"),
            (Row::ServerPing, "nothing, and is closed with 4201"),
        ],
    ),
    (
        Habit::ShortLived,
        &[
            (Row::QuietPingEvent, "closed with 4201"),
            (Row::QuietPingFrame, "closed with 4201"),
            (Row::BusyPingEvent, "closed with 4201"),
            (Row::BusyPingFrame, "closed with 4201"),
            (Row::ServerPing, "nothing, and is closed with 4201"),
        ],
    ),
];

#[test]
fn what_keeps_a_connection_alive_shows_after_more_than_twice_its_timeout() {
    // Most of the time is waited for what may still come.
    let reading =
        |habit: Option<Habit>| thread::spawn(move || read_by(Probe::Heartbeats, habit.as_slice()));
    let documented = reading(None);
    let found = HABITS_OF_HEARTBEATS.map(|(habit, rows)| (habit, rows, reading(Some(habit))));
    let documented = documented.join().unwrap();
    for (row, said) in &documented {
        let kept = if *row == Row::ServerPing { "nothing, and is kept" } else { "kept" };
        assert_eq!(said, kept, "{row:?}");
    }
    for (habit, rows, found) in found {
        let found = found.join().unwrap();
        let otherwise = found.iter().filter(|(row, said)| documented[row] != **said);
        let otherwise: Vec<_> = otherwise.map(|(row, said)| (*row, said.as_str())).collect();
        assert_eq!(otherwise, rows, "{habit:?}");
    }
}

#[test]
fn who_says_nothing_any_more_leaves_sooner_or_later() {
    let reading = |habit: Option<Habit>| {
        let found = readings_by(Probe::PresenceSilent, habit.as_slice());
        found.into_iter().next().unwrap()
    };
    let (row, soon) = reading(Some(Habit::WantsTraffic));
    assert_eq!(row, Row::PresenceSilent);
    let Reading::Millis(millis) = soon else { panic!("{soon:?}") };
    assert!(millis < 10_000, "{millis}");
    // A documented cluster takes two and a half minutes.
    let late = Reading::Millis(150_000);
    assert_eq!(soon.compared(&late, row.slack()), Likeness::Differs);
    assert_eq!(soon.compared(&soon, row.slack()), Likeness::Same);
}

#[test]
fn two_apps_that_close_who_does_nothing_do_it_after_the_same_time_or_not() {
    let read = |habit: Habit| {
        thread::spawn(move || {
            let mut found = readings_of(Probe::Idle, &[habit], Duration::from_secs(20));
            found.sort_by_key(|(row, _)| *row);
            found
        })
    };
    let [soon, again, late] = [Habit::Talkers, Habit::Talkers, Habit::PatientTalkers]
        .map(read)
        .map(|r| r.join().unwrap());
    let rows = BTreeSet::from([Row::Idle, Row::IdleTime]);
    let compared = |other: &[(Row, Reading)]| {
        let begin = ParityBegin { rows: rows.clone(), accept: BTreeMap::new() };
        let mut figures = ParityFigures::new(&begin);
        soon.iter().for_each(|(row, reading)| figures.note(ClusterRole::Old, *row, reading));
        other.iter().for_each(|(row, reading)| figures.note(ClusterRole::New, *row, reading));
        differing(&figures)
    };
    assert_eq!(compared(&again), BTreeSet::new());
    assert_eq!(compared(&late), BTreeSet::from([Row::IdleTime]));
}

#[test]
fn how_many_members_a_channel_may_have_is_found() {
    assert_eq!(read_by(Probe::MemberLimit, &[])[&Row::MembersPerChannel], "100");
    let crowded = read_by(Probe::MemberLimit, &[Habit::Crowds]);
    assert_eq!(crowded[&Row::MembersPerChannel], "101 and more");
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

/// Where every request is answered so; where nothing is said, nobody ever answers.
fn always(answer: &'static str) -> Target {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut held = Vec::new();
        for client in listener.incoming() {
            let mut client = client.unwrap();
            if answer.is_empty() {
                held.push(client);
                continue;
            }
            // One read has the head, if not all of it; who sends more does not mind.
            let _ = client.read(&mut [0; 1 << 16]);
            let _ = client.write_all(answer.as_bytes());
        }
    });
    Target::new(Url::parse(&url).unwrap(), &tls::client_config(None).unwrap())
}

#[test]
fn what_a_cluster_says_that_fails_throttles_or_hangs_is_no_value() {
    let documented = read(None);
    for answer in [
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>",
        "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "",
    ] {
        let pair = Pair::start(PairConfig::default()).unwrap();
        let found = |site: &Site| {
            let (probes, stop) = (quick().collect::<Vec<_>>(), CancellationToken::new());
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(probes::all(site, &probes, probes.len(), &stop).collect::<Vec<_>>())
        };
        let mut api = site(&pair, ClusterRole::New);
        api.api = always(answer);
        let mut socket = site(&pair, ClusterRole::New);
        socket.socket = always(answer).at("/app/key");
        let (of_api, of_socket) = (
            &[Row::DataText, Row::SizeTrigger, Row::CountApi, Row::Clock],
            &[
                Row::KindPublic,
                Row::KindEncrypted,
                Row::PresenceUser,
                Row::ClientEvents,
                Row::ActivityTimeout,
                Row::SubscriptionTwice,
            ],
        );
        for (site, untested) in [(api, &of_api[..]), (socket, &of_socket[..])] {
            let figures = compared(&documented, &found(&site));
            let differing = differing(&figures);
            assert!(
                untested.iter().all(|row| differing.contains(row)),
                "{answer:?}: {differing:?}"
            );
            for row in differing {
                let reading = &figures.rows[&row].readings[&ClusterRole::New];
                assert!(
                    matches!(reading, Reading::NotTested(_)),
                    "{answer:?}: {row:?}: {reading:?}"
                );
            }
        }
    }
}

#[test]
fn an_app_that_lets_nobody_in_is_not_tested() {
    let pair = Pair::start(PairConfig::default()).unwrap();
    let mut site = site(&pair, ClusterRole::New);
    site.signer.secret = Secret::new("another");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for probe in [
        Probe::Kinds,
        Probe::Data,
        Probe::Sizes,
        Probe::Batches,
        Probe::Presence,
        Probe::Cache,
        Probe::Publication,
        Probe::Members,
    ] {
        for (row, reading) in runtime.block_on(probes::probe(&site, probe)) {
            // Whoever connects and subscribes to a public channel needs no secret.
            if row == Row::KindPublic {
                continue;
            }
            let Reading::NotTested(why) = reading else { panic!("{row:?}: {reading:?}") };
            assert!(why.starts_with("refused: "), "{row:?}: {why}");
        }
    }
}

/// Probes that a run of a few seconds has time for.
const FOUR: &str =
    "[parity]\nprobes = [\"presence\", \"cache\", \"client-events\", \"publication\"]\n";
const TIMES: [(&str, &str); 2] = [("duration", "\"5s\""), ("rate", "100.0")];

#[test]
fn a_run_rests_on_what_its_probes_find() {
    let folder = Folder::new();
    let text = format!("{}[rehearsal]\nhabits = [\"new:no-cache\"]\n{FOUR}", scenario(&TIMES));
    let path = folder.write("scenario.toml", &text);
    let outcome = rehearse(&path, 7, &[]).run();
    outcome.assert_code(1);
    let report = outcome.judged();
    let check = report.check("parity", "both");
    assert_eq!(check["status"], "fail");
    assert_eq!(
        check["detail"],
        "both behave alike in 11 of 12 rows; cache-replay differs: the last event on old, nothing \
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
    assert!(detail.contains("it was ended before"), "{detail}");
    outcome.assert_code(3);
}
