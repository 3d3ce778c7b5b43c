use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::pusher::rest;
use crate::scenario::file::{Clusters, Surroundings, read};

struct Nothing;

impl Surroundings for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("no files here".to_owned())
    }
}

const RUN: RunId = RunId(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_dead_beef));

/// What a run of this keeps in memory at most.
fn memory(canary: &str, duration: Option<Duration>) -> Memory {
    let overrides = Overrides { duration, ..Overrides::default() };
    Plan::unbilled(&scenario(&format!("[canary]\n{canary}")), overrides, RUN, 7).memory()
}

#[test]
fn memory_follows_from_the_rate_and_who_listens_and_never_from_the_duration() {
    let lasting = |days: u64| Some(Duration::from_secs(days * 24 * 3_600));
    assert_eq!(memory("rate = 100.0", lasting(1)), memory("rate = 100.0", lasting(7)));
    let least = memory("rate = 100.0", None);
    let faster = memory("rate = 1000.0", None);
    assert!(faster.books > least.books && faster.ledgers > least.ledgers);
    let more = memory("rate = 100.0\nwitnesses = 4", None);
    assert_eq!((more.books, more.ledgers), (least.books, 2 * least.ledgers));
    assert!(more.connections > least.connections);
    let shorter = memory("rate = 100.0\ndeadline = \"100ms\"\nhorizon = \"200ms\"", None);
    assert!(shorter.books < least.books && shorter.histograms < least.histograms);
}

fn scenario(canary: &str) -> Scenario {
    let source = format!(
        "[scenario]\nduration = \"10s\"\n[clusters.old]\nws_url = \"ws://a:1\"\nhttp_url = \
         \"http://a:1\"\napp_id = \"1\"\nplaintext = true\nkey = \"k\"\nsecret = \"s\"\n[clusters.new]\ncluster = \
         \"mt1\"\napp_id = \"2\"\nkey = \"l\"\nsecret = \"t\"\n{canary}"
    );
    read("test.toml", &source, Clusters::Read, &Nothing).unwrap()
}

fn plan(canary: &str) -> Plan {
    Plan::new(&scenario(canary), Overrides::default(), RUN, 7).unwrap()
}

fn all(mut schedule: Schedule) -> Vec<Due> {
    std::iter::from_fn(|| schedule.pop()).collect()
}

#[test]
fn the_schedule_asks_for_as_many_events_as_it_says_in_the_order_of_time() {
    for canary in [
        "[canary]\nrate = 50",
        "[canary]\nrate = 33.3\nroutes = [\"batch\"]",
        "[canary]\nrate = 450\nroutes = [\"trigger\", \"batch\", \"client\"]\nclient_rate = 7",
        "[canary]\nrate = 0.5\nroutes = [\"batch\", \"client\"]",
    ] {
        let plan = plan(canary);
        let due = all(plan.schedule.clone());
        let events: usize = due.iter().map(|d| d.streams.len()).sum();
        assert_eq!(events as u64, plan.schedule.events(), "{canary}");
        assert_eq!(plan.bill().events, plan.schedule.events());
        assert!(due.windows(2).all(|w| w[0].at <= w[1].at), "{canary}");
        assert!(due.iter().all(|d| d.at < Duration::from_secs(10)));
    }
}

#[test]
fn every_stream_of_a_route_gets_its_even_share_and_a_batch_never_has_one_twice() {
    let plan = plan("[canary]\nrate = 400\nroutes = [\"trigger\", \"batch\"]");
    let mut counts = BTreeMap::<StreamIx, u64>::new();
    for due in all(plan.schedule.clone()) {
        let distinct: BTreeSet<_> = due.streams.iter().collect();
        assert_eq!(distinct.len(), due.streams.len());
        assert!(due.streams.len() <= rest::BATCH_EVENTS_MAX);
        for stream in due.streams {
            assert_eq!(plan.streams[stream.0 as usize].route, due.route);
            *counts.entry(stream).or_default() += 1;
        }
    }
    assert_eq!(counts.len(), plan.streams.len(), "every stream publishes");
    let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
    assert!(most - least <= 1 + rest::BATCH_EVENTS_MAX as u64, "{counts:?}");
}

#[test]
fn each_channel_has_the_asked_number_of_distinct_witnesses() {
    let plan = plan(
        "[canary]\nchannels = { public = 7, private = 5 }\nwitnesses = 3\n\
         channels_per_connection = 4",
    );
    assert_eq!(plan.channels.len(), 12);
    assert_eq!(plan.witnesses.len(), 9, "three connections of four channels, thrice");
    for channel in 0..plan.channels.len() {
        let witnesses: BTreeSet<_> = plan.witnesses_of(channel).map(|w| w.witness).collect();
        assert_eq!(witnesses.len(), 3);
    }
    let replicas: BTreeSet<_> = plan.witnesses.iter().map(|w| w.replica).collect();
    assert_eq!(replicas.len(), 3, "so that they can reconnect in turn");
}

#[test]
fn client_events_have_channels_of_their_own_beside_http_routes() {
    let plan = plan(
        "[canary]\nchannels = { public = 1, private = 2, presence = 1 }\n\
         routes = [\"trigger\", \"client\"]\nclient_rate = 9",
    );
    for stream in &plan.streams {
        let channel = &plan.channels[stream.channel];
        assert_eq!(stream.route == Route::Client, channel.for_client_events);
    }
    let client = plan.channels.iter().filter(|c| c.for_client_events).count();
    assert_eq!(client, 2, "one private, one presence");
    assert_eq!(plan.senders.len(), 2, "no connection sends more than five a second");
    let sent: BTreeSet<_> = plan.senders.iter().flat_map(|s| s.streams.clone()).collect();
    assert_eq!(sent.len(), 2, "each stream has one sender");
}

#[test]
fn without_http_routes_only_channels_that_carry_client_events_are_used() {
    let plan = plan("[canary]\nroutes = [\"client\"]\nrate = 1");
    assert!(plan.channels.iter().all(|c| c.kind.carries_client_events()));
    assert_eq!(plan.streams.len(), plan.channels.len());
}

#[test]
fn the_bill_counts_a_publication_and_each_of_its_deliveries() {
    let plan = plan("[canary]\nrate = 10\nwitnesses = 3");
    assert_eq!((plan.bill().events, plan.bill().messages), (100, 442));
}

#[test]
fn what_exceeds_the_budget_is_refused_with_every_reason() {
    let scenario = scenario("[budget]\nmessages_max = 100\nconnections_max = 1");
    let error = Plan::new(&scenario, Overrides::default(), RUN, 7).unwrap_err().to_string();
    assert!(
        error.contains("1542 messages per app where budget.messages_max allows 100"),
        "{error}"
    );
    assert!(error.contains("4 connections per app where budget.connections_max"), "{error}");
}

#[test]
fn overrides_replace_what_the_scenario_says() {
    let overrides = Overrides {
        duration: Some(Duration::from_secs(70)),
        rate: Some(500.0),
        seed: Some(3),
        ..Overrides::default()
    };
    let plan = Plan::new(&scenario(""), overrides, RUN, 7).unwrap();
    assert_eq!((plan.bill().events, plan.seed), (35_000, 3));
    assert!(plan.reaches_proof(), "35,000 events rule out 0.01 % at 95 %");
    assert_eq!(plan.trials_needed(), 29_956);
}

#[test]
fn clusters_are_dialled_where_the_protocol_says() {
    let plan = plan("");
    let urls: Vec<_> =
        plan.clusters.iter().map(|c| (c.socket_url.as_str(), c.http_url.as_str())).collect();
    let query = concat!("?protocol=7&client=pusher-canary&version=", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        urls,
        [
            (format!("ws://a:1/app/k{query}").as_str(), "http://a:1/"),
            (
                format!("wss://ws-mt1.pusher.com/app/l{query}").as_str(),
                "https://api-mt1.pusher.com/"
            ),
        ]
    );
}

#[test]
fn a_book_remembers_a_publication_until_its_last_obligation_has_ended() {
    let plan = plan("[canary]\nrate = 1000\nchannels = { public = 1 }\nhorizon = \"30s\"");
    // Past the horizon, a connection proves alive or dead within another deadline and horizon.
    let needed = 1000 * (30 + 30 + 5 + 10);
    assert!(plan.streams[0].book_events >= needed, "{}", plan.streams[0].book_events);
}

fn plan_of(canary: &str, role: MemberRole, region: &str) -> Plan {
    let shard = Shard { index: 0, of: 2 };
    let member = Member { shard, role, region: region.to_owned() };
    Plan::new(&scenario(canary), Overrides { member, ..Overrides::default() }, RUN, 7).unwrap()
}

#[test]
fn who_publishes_and_who_witnesses_have_what_one_process_would_have_but_for_its_own_controls() {
    let canary = "[canary]\nroutes = [\"trigger\", \"client\"]\nclient_rate = 4\n[sample]\nprefixes = [\"x\"]\n";
    let whole = plan_of(canary, MemberRole::Both, "");
    let publish = plan_of(canary, MemberRole::Publish, "");
    let [here, there] =
        ["here", "there"].map(|region| plan_of(canary, MemberRole::Witness, region));
    let names = |plan: &Plan| plan.channels.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    for plan in [&publish, &here, &there] {
        assert_eq!(names(plan), names(&whole));
        assert_eq!(all(plan.schedule.clone()), all(whole.schedule.clone()));
    }
    assert_eq!((publish.witnesses.len(), publish.senders.len()), (0, whole.senders.len()));
    assert_eq!((here.witnesses.len(), here.senders.len()), (whole.witnesses.len(), 0));
    assert!(publish.sample.is_some() && here.sample.is_none(), "one of them watches the app");
    // They tell each other, by a key that neither cluster has, and nobody else's channel.
    let markers = publish.markers.as_ref().unwrap();
    assert_eq!(markers.channel.as_str(), "pc-deadbeef-s0-markers");
    assert_eq!(here.markers.as_ref().unwrap().channel, markers.channel);
    assert_eq!(here.markers.as_ref().unwrap().key.expose(), markers.key.expose());
    assert!(!["s", "t"].contains(&markers.key.expose()) && whole.markers.is_none());
    let own: BTreeSet<_> = [&here, &there, &whole].map(|plan| &plan.controls.channel).into();
    assert_eq!(own.len(), 3, "{own:?}");
    assert!(!publish.has_controls_on(ClusterRole::New) && here.has_controls_on(ClusterRole::New));
}

#[test]
fn a_publisher_and_a_witness_share_one_bill() {
    let canary = "[canary]\nrate = 10\nwitnesses = 3";
    let bill = |role| plan_of(canary, role, "").bill();
    let (publish, witness) = (bill(MemberRole::Publish), bill(MemberRole::Witness));
    let whole = bill(MemberRole::Both);
    // Markers: one a second and those of the end, sent and received.
    let markers = marker::bulletins_max(whole.events, Duration::from_secs(10));
    assert_eq!((publish.events, witness.events), (whole.events, 0));
    assert_eq!(publish.messages, whole.events + markers);
    assert_eq!(publish.messages + witness.messages, whole.messages + 2 * markers);
    assert_eq!(witness.connections, whole.connections + 1);
    let allows = |messages: u64| {
        let dear = format!("{canary}\n[budget]\nmessages_max = {messages}");
        let roles = [MemberRole::Publish, MemberRole::Witness];
        roles.map(|role| {
            let member = Member { shard: Shard::WHOLE, role, region: String::new() };
            let overrides = Overrides { member, ..Overrides::default() };
            Plan::new(&scenario(&dear), overrides, RUN, 7).is_ok()
        })
    };
    let markers = marker::bulletins_max(100, Duration::from_secs(10));
    assert_eq!(allows(442 + 2 * markers), [true; 2]);
    assert_eq!(allows(441 + 2 * markers), [false; 2], "each knows what the other costs");
}
