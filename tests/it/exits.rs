//! How it ends: exit codes, the one sentence of each failed start, signals, a cluster that dies in
//! mid-run, a task that panics.

use std::net::SocketAddr;
use std::time::Duration;

use pusher_canary::model::{AppId, AppKey, ClusterRole, Secret};
use pusher_canary::rehearsal::{Endpoint, Pair, PairConfig};
use rustix::process::Signal;

use crate::util::{
    Canary, Clusters, Doorbell, Folder, Outcome, Report, Running, canary, deserted, rehearse,
    scenario, section, turn,
};

/// Longest time until a cluster that cannot be used is named.
const START_BOUND: Duration = Duration::from_secs(15);
/// How much longer than the horizon an orderly end may take.
const END_MARGIN: Duration = Duration::from_secs(5);

// Starts that fail.

/// Replaces the endpoint of one cluster in a scenario against a sound pair.
fn with_endpoint(
    clusters: &Clusters,
    role: ClusterRole,
    ca_file: Option<&str>,
    change: impl FnOnce(&mut Endpoint),
) -> String {
    let mut endpoint = clusters.pair.endpoint(role);
    change(&mut endpoint);
    let sound = &clusters.sections[usize::from(role == ClusterRole::New)];
    clusters.scenario(&[]).replace(sound, &section(role, &endpoint, ca_file))
}

/// Runs a scenario that cannot start, by `run` and by `check --connect`.
fn fails(folder: &Folder, clusters: &Clusters, text: &str, code: i32, words: &[&str]) {
    let path = folder.write("scenario.toml", text);
    let path = path.to_str().unwrap();
    for args in [vec!["run", path], vec!["check", "--connect", path]] {
        let _turn = turn();
        let outcome = trusting_nobody(folder, canary(args)).envs(clusters.variables()).run();
        outcome.assert_code(code);
        assert_sentence(&outcome, words);
        assert!(outcome.took < START_BOUND, "it took {:?}", outcome.took);
        for (_, secret) in clusters.variables() {
            assert!(!outcome.stderr.contains(secret), "a secret is printed");
        }
    }
}

#[track_caller]
fn assert_sentence(outcome: &Outcome, words: &[&str]) {
    let sentence = outcome.sentence();
    for word in words {
        assert!(sentence.contains(word), "{word:?} is missing in: {sentence}");
    }
}

/// The system's roots are a certificate that nobody here has; what a machine trusts must not decide
/// a test.
fn trusting_nobody(folder: &Folder, canary: Canary) -> Canary {
    let stranger = Pair::start(PairConfig::default()).unwrap();
    let roots = folder.write("roots.pem", stranger.ca_pem());
    canary.env("SSL_CERT_FILE", roots.to_str().unwrap())
}

#[test]
fn a_wrong_secret_is_for_the_user_to_change() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    for role in ClusterRole::ALL {
        let text = clusters
            .scenario(&[])
            .replace(&format!("${{PC_{}_SECRET}}", role.as_str().to_uppercase()), "wrong");
        let path = folder.write("scenario.toml", &text);
        for args in [vec!["run"], vec!["check", "--connect"]] {
            let _turn = turn();
            let args = args.into_iter().chain([path.to_str().unwrap()]);
            let outcome = canary(args).envs(clusters.variables()).run();
            outcome.assert_code(2);
            let said: Vec<_> = outcome.stderr.lines().collect();
            let [warning, sentence] = said[..] else { panic!("two lines: {said:?}") };
            assert!(warning.contains(&format!("clusters.{role}.secret is written out")));
            for word in [&format!("{role} cluster: "), "refused", "check", "secret"] {
                assert!(sentence.contains(word), "{word:?} is missing in: {sentence}");
            }
            assert_eq!(signature(sentence), None, "a signature is printed");
        }
    }
}

/// 64 hexadecimal digits in a row: an HMAC-SHA256.
pub fn signature(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit());
    words.into_iter().find(|word| word.len() >= 64)
}

#[test]
fn a_wrong_key_is_for_the_user_to_change() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let text = with_endpoint(&clusters, ClusterRole::New, None, |endpoint| {
        endpoint.key = AppKey::new("wrong-key").unwrap();
    });
    fails(&folder, &clusters, &text, 2, &["new cluster: ", "check", "clusters.new", "key"]);
}

#[test]
fn a_wrong_app_id_is_for_the_user_to_change() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let text = with_endpoint(&clusters, ClusterRole::Old, None, |endpoint| {
        endpoint.app_id = AppId::new("12345").unwrap();
    });
    let words =
        ["old cluster: ", "HTTP 404", "unknown app id: 12345", "check", "clusters.old.app_id"];
    fails(&folder, &clusters, &text, 2, &words);
}

fn at(endpoint: &mut Endpoint, authority: &str) {
    endpoint.ws_url = format!("ws://{authority}");
    endpoint.http_url = format!("http://{authority}");
    endpoint.wss_url = format!("wss://{authority}");
    endpoint.https_url = format!("https://{authority}");
}

#[test]
fn an_absent_server_is_named() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let nobody = deserted().to_string();
    for role in ClusterRole::ALL {
        let text = with_endpoint(&clusters, role, None, |endpoint| at(endpoint, &nobody));
        let named = format!("{role} cluster: ");
        let words = [&*named, &*nobody, "cannot be reached", "check that the server runs there"];
        fails(&folder, &clusters, &text, 3, &words);
    }
}

#[test]
fn a_name_that_does_not_resolve_is_named() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    // RFC 6761: this top-level domain never resolves.
    let text = with_endpoint(&clusters, ClusterRole::New, None, |endpoint| {
        at(endpoint, "sockets.invalid:6001");
    });
    let text = text.replace("app_id", "plaintext = true\napp_id");
    fails(&folder, &clusters, &text, 3, &["new cluster: ", "sockets.invalid", "check"]);
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let Endpoint { wss_url, https_url, .. } = clusters.pair.endpoint(ClusterRole::Old);
    let text = with_endpoint(&clusters, ClusterRole::Old, None, |endpoint| {
        (endpoint.ws_url, endpoint.http_url) = (wss_url, https_url);
    });
    let words = ["old cluster: ", "certificate", "is refused", "set tls.ca_file"];
    fails(&folder, &clusters, &text, 3, &words);
}

#[test]
fn a_port_without_tls_given_as_one_with_it_is_told_apart() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    folder.write("ca.pem", clusters.pair.ca_pem());
    let plain = |url: &str| url.split("//").nth(1).unwrap().to_owned();
    let Endpoint { ws_url, .. } = clusters.pair.endpoint(ClusterRole::New);
    let text = with_endpoint(&clusters, ClusterRole::New, Some("ca.pem"), |endpoint| {
        at(endpoint, &plain(&ws_url));
    });
    let words =
        ["new cluster: ", "TLS", "check that the port speaks TLS, or use ws:// and http://"];
    fails(&folder, &clusters, &text, 3, &words);
}

#[test]
fn a_port_with_tls_given_as_one_without_it_is_named() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let Endpoint { wss_url, .. } = clusters.pair.endpoint(ClusterRole::New);
    let text = with_endpoint(&clusters, ClusterRole::New, None, |endpoint| {
        at(endpoint, wss_url.trim_start_matches("wss://"));
    });
    fails(&folder, &clusters, &text, 3, &["new cluster: ", "check"]);
}

#[test]
fn a_server_that_upgrades_and_says_nothing_is_named() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let accept = |stream| tokio_tungstenite::tungstenite::accept(stream).ok();
        // Kept open, and silent.
        let _sockets: Vec<_> = listener.incoming().map_while(Result::ok).map(accept).collect();
    });
    let change = |endpoint: &mut Endpoint| endpoint.ws_url = format!("ws://{authority}");
    let text = with_endpoint(&clusters, ClusterRole::New, None, change);
    fails(&folder, &clusters, &text, 3, &["new cluster: ", "pusher:connection_established"]);
}

#[test]
fn a_plan_that_needs_more_memory_than_there_is_is_refused_before_it_is_taken() {
    let folder = Folder::new();
    let clusters = Clusters::start();
    let long = [("rate", "100000.0"), ("horizon", "\"1h\""), ("witnesses", "90")];
    let text = clusters.scenario(&long)
        + "[budget]\nconnections_max = 10_000\nmessages_max = 1_000_000_000\n\
                                           account_messages_max = 2_000_000_000\n";
    let path = folder.write("scenario.toml", &text);
    let outcome = canary(["run", path.to_str().unwrap()]).envs(clusters.variables()).run();
    outcome.assert_code(2);
    let words = ["the plan keeps up to", "MiB are available; lower the rate, shorten the horizon"];
    for words in words {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
}

#[test]
fn a_live_pair_passes_the_check() {
    let folder = Folder::new();
    let clusters = Clusters::start_tls(&folder);
    let path = folder.write("scenario.toml", &clusters.scenario(&[]));
    let path = path.to_str().unwrap();
    let _turn = turn();
    let plan = canary(["check", path]).envs(clusters.variables()).run();
    plan.assert_code(0);
    assert_eq!(plan.stderr, "");
    for line in [
        "scenario       it (dual-publish)",
        "channels       8 public, 8 private, 4 presence, 8 encrypted",
        "events         400 in 2s 500ms, 160.0 per second, to each cluster",
        "messages       1242 billed to each app, 2484 together",
        "MiB at most: 1 for publications, 1 for what witnesses are owed, ",
        "proof          a loss rate below 1.0 % at 95 % confidence, if nothing is lost, takes",
        "this run as planned: 299 events, 939 messages to each app, 2s; the duration suffices",
        "--until-proven:      377 events, 1173 messages to each app, 3s; the duration suffices",
    ] {
        assert!(plan.stdout.contains(line), "{line:?} is missing in the plan");
    }
    assert!(!plan.stdout.contains("tried"));
    let tried = canary(["check", "--connect", path]).envs(clusters.variables()).run();
    tried.assert_code(0);
    assert_eq!(tried.stderr, "");
    let more = tried.stdout.strip_prefix(&*plan.stdout).expect("the plan comes first");
    assert_eq!(more, "tried          old and new: reached and authorised\n");
}

// Mistakes of usage: nobody is contacted.

/// Sound but for what a test changes; whoever contacts these clusters is noticed.
pub struct Untouched {
    pub folder: Folder,
    doors: [Doorbell; 2],
    clusters: String,
}

impl Untouched {
    pub fn new() -> Self {
        let doors = [Doorbell::new(), Doorbell::new()];
        let endpoint = |door: &Doorbell| {
            let mut endpoint = Endpoint {
                ws_url: String::new(),
                wss_url: String::new(),
                http_url: String::new(),
                https_url: String::new(),
                app_id: AppId::new("1").unwrap(),
                key: AppKey::new("key").unwrap(),
                secret: Secret::new(""),
            };
            at(&mut endpoint, &door.address().to_string());
            endpoint
        };
        let [old, new] = [endpoint(&doors[0]), endpoint(&doors[1])];
        let clusters =
            section(ClusterRole::Old, &old, None) + &section(ClusterRole::New, &new, None);
        Self { folder: Folder::new(), doors, clusters }
    }

    /// `run` on [`scenario`] with these clusters.
    pub fn canary(&self, changes: &[(&str, &str)], more: &[&str]) -> Canary {
        let text = format!("{}\n{}", scenario(changes), self.clusters);
        let path = self.folder.write("scenario.toml", &text);
        let args = ["run", path.to_str().unwrap()];
        let canary = canary(args.iter().chain(more)).within(self.folder.path());
        canary.env("PC_OLD_SECRET", "s").env("PC_NEW_SECRET", "s")
    }

    pub fn start(&self, changes: &[(&str, &str)], more: &[&str]) -> Running {
        self.canary(changes, more).start()
    }

    pub fn run(&self, changes: &[(&str, &str)], more: &[&str]) -> Outcome {
        let outcome = self.start(changes, more).finish();
        assert!(self.doors.iter().all(|door| !door.rang()), "a cluster was contacted");
        outcome
    }
}

#[test]
fn a_plan_above_its_budget_is_refused_and_nobody_contacted() {
    let untouched = Untouched::new();
    let budget = ("receive_backlog_max", "\"2s\"\n[budget]\nmessages_max = 1_000");
    let outcome = untouched.run(&[budget], &[]);
    outcome.assert_code(2);
    assert_eq!(
        outcome.sentence(),
        "the plan exceeds its budget: 1242 messages per app where budget.messages_max allows 1000; \
         shorten the run, lower the rate or raise the budget"
    );
    // The default budget, and a long run.
    let outcome = untouched.run(&[], &["--duration", "2h"]);
    outcome.assert_code(2);
    let sentence = outcome.sentence();
    for word in ["3456042 messages per app", "6912084 messages together"] {
        assert!(sentence.contains(word), "{word:?} is missing in: {sentence}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_known_before_the_first_connection() {
    let untouched = Untouched::new();
    let outcome = untouched.run(&[], &["--report-json", "missing/report.json"]);
    outcome.assert_code(2);
    let sentence = outcome.sentence();
    assert!(sentence.starts_with("cannot write missing/report.json: "), "{sentence}");
}

#[test]
fn an_address_that_cannot_be_listened_on_is_known_before_the_first_connection() {
    let untouched = Untouched::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let outcome = untouched.run(&[], &["--listen", &taken]);
    drop(held);
    outcome.assert_code(2);
    assert!(outcome.sentence().starts_with(&format!("cannot listen on {taken}: ")));
}

#[test]
fn a_report_of_before_is_kept_until_there_is_another() {
    let folder = Folder::new();
    folder.write("report.json", "of before");
    let args = ["rehearse", "--report-json", "report.json", "--listen", "203.0.113.1:1"];
    let outcome = canary(args).within(folder.path()).run();
    outcome.assert_code(2);
    assert_eq!(folder.read("report.json"), "of before");
}

#[test]
fn a_full_disk_costs_the_file_and_not_the_outcome() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[]));
    let path = path.to_str().unwrap();
    for full in [
        &["--report-json", "/dev/full"][..],
        &["--report-json", "-", "--fault-log", "/dev/full", "--fault", "new:drop=0.05"],
    ] {
        let _turn = turn();
        let outcome = canary(["rehearse", path].iter().chain(full)).run();
        outcome.assert_code(4);
        let table = if full.len() == 2 { &outcome.stdout } else { &outcome.stderr };
        assert!(table.contains("loss rate below"), "the table is missing");
        assert!(outcome.stderr.contains("No space left on device"));
        if full.len() > 2 {
            assert!(outcome.report().figure("new", "obligations.lost") > 0);
        }
    }
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let mistakes: &[(&[&str], &str)] = &[
        (&[], "Usage: pusher-canary [OPTIONS] <COMMAND>"),
        (&["observe"], "unrecognized subcommand 'observe'"),
        (&["run"], "<SCENARIO>"),
        (&["rehearse", "--rate", "0"], "must be between 0.01 and 100000 events per second"),
        (&["rehearse", "--duration", "soon"], "invalid value 'soon' for '--duration"),
        (&["rehearse", "--fault", "new:lose=1"], "`lose` is no kind of fault"),
        (
            &["rehearse", "--fault", "new:drop=0.6", "--fault", "new:corrupt=0.6"],
            "the delivery faults of new have probabilities of 1.2 in all: at most 1",
        ),
        (&["rehearse", "--hold", "--report-json", "-"], "cannot be used with"),
        (&["rehearse", "--ca-file", "ca.pem"], "--hold"),
        (&["rehearse", "--listen", "9184"], "invalid value '9184' for '--listen"),
        (&["run", "absent.toml"], "cannot read the scenario absent.toml"),
        (&["check", "absent.toml"], "cannot read the scenario absent.toml"),
    ];
    let folder = Folder::new();
    for (args, message) in mistakes {
        let outcome = canary(args.iter()).within(folder.path()).run();
        outcome.assert_code(2);
        assert!(outcome.stderr.contains(message), "{message:?} is missing");
        assert_eq!(outcome.stdout, "");
    }
    assert_eq!(folder.names(), [] as [&str; 0]);
}

#[test]
fn help_and_version_are_no_mistakes() {
    let help = canary(["--help"]).run();
    help.assert_code(0);
    for line in ["0  GO", "1  NO-GO", "2  ", "3  INCONCLUSIVE", "4  the agent itself failed"] {
        assert!(help.stdout.contains(line), "{line:?} is missing");
    }
    let version = canary(["--version"]).run();
    version.assert_code(0);
    assert_eq!(version.stdout, format!("pusher-canary {}\n", env!("CARGO_PKG_VERSION")));
}

// Ends in mid-run.

#[test]
fn a_cluster_that_dies_in_mid_run_is_blindness_and_rejections_and_never_go() {
    for role in ClusterRole::ALL {
        let folder = Folder::new();
        let clusters = Clusters::start_tls(&folder);
        let path = folder.write("scenario.toml", &clusters.scenario(&[]));
        let args = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
        let _turn = turn();
        let mut running = canary(args).envs(clusters.variables()).start();
        running.deliveries();
        clusters.pair.kill(role);
        let outcome = running.finish();
        let report = outcome.judged();
        assert!(matches!(outcome.code(), Some(1 | 3)));
        let (dead, alive) = match role {
            ClusterRole::Old => ("old", "new"),
            ClusterRole::New => ("new", "old"),
        };
        // Each of the two witnesses has one connection for all channels.
        assert_eq!(report.figure(dead, "blind.windows"), 2);
        assert_eq!(report.figure(dead, "blind.ended"), 0);
        // And the negative controls have one of their own.
        assert_eq!(report.closed(dead), 3);
        assert!(report.figure(dead, "publications.rejected") > 0);
        assert_eq!(report.figure(dead, "obligations.lost"), 0, "a dead connection loses nothing");
        assert_eq!(report.status("publish", dead), "fail");
        assert_eq!(report.figure(alive, "blind.windows"), 0);
        let sent = report.figure(alive, "publications.sent");
        assert_eq!(report.figure(alive, "publications.accepted"), sent);
        assert_eq!(report.figure(alive, "obligations.delivered"), 2 * sent);
    }
}

#[test]
fn a_cluster_that_stops_in_order_is_blindness_too() {
    let (folder, mut clusters) = (Folder::new(), Clusters::start());
    let path = folder.write("scenario.toml", &clusters.scenario(&[]));
    let args = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
    let _turn = turn();
    let mut running = canary(args).envs(clusters.variables()).start();
    running.deliveries();
    clusters.pair.stop().unwrap();
    let outcome = running.finish();
    let report = outcome.judged();
    for cluster in ["old", "new"] {
        let codes = &report.0["clusters"][cluster]["connections"]["closed_by_code"];
        assert_eq!(*codes, serde_json::json!({ "4200": 3 }));
        assert_eq!(report.figure(cluster, "obligations.lost"), 0);
    }
    outcome.assert_code(1);
}

fn panics_in(task: &str) -> Outcome {
    let folder = Folder::new();
    let routes = [("routes", r#"["trigger", "client"]"#)];
    let path = folder.write("scenario.toml", &scenario(&routes));
    let _turn = turn();
    let outcome = rehearse(&path, 1, &["--panic-in", task]).run();
    outcome.assert_code(4);
    outcome
}

/// The report of a run whose task panicked: kept, and never GO.
fn kept(outcome: &Outcome, task: &str) -> Report {
    let report = outcome.report();
    assert_ne!(report.verdict(), "GO");
    let failed = format!("its {task} panicked; please report this");
    assert_eq!(report.0["instrument"]["failed"], failed);
    let reason = format!("the agent itself failed: {failed}");
    let said: Vec<_> = outcome.stderr.split_whitespace().collect();
    assert!(said.join(" ").contains(&reason), "the table does not say so");
    report
}

#[test]
fn a_panic_in_a_watching_task_keeps_the_report_and_is_never_go() {
    for task in ["witness", "vitals", "sender"] {
        let outcome = panics_in(task);
        kept(&outcome, task);
    }
}

#[test]
fn a_panic_in_a_publishing_task_keeps_the_report_and_is_never_go() {
    for task in ["publisher", "pacer"] {
        let outcome = panics_in(task);
        kept(&outcome, task);
    }
}

#[test]
fn a_panic_in_a_task_that_nobody_waits_for_keeps_the_report_and_is_never_go() {
    kept(&panics_in("driver"), "background task");
}

#[test]
fn a_panic_of_the_collector_leaves_nothing_to_keep_and_is_told() {
    let outcome = panics_in("collector");
    assert_eq!(outcome.stdout, "");
    let sentence =
        "pusher-canary: the agent itself failed: its collector panicked; please report this";
    assert_eq!(outcome.stderr.lines().last(), Some(sentence));
}

/// Starts a rehearsal that would publish for long, and waits until it is in full swing.
fn in_full_swing(folder: &Folder, horizon: &str) -> Running {
    let path = folder.write("scenario.toml", &scenario(&[("horizon", horizon)]));
    let more = ["--duration", "5m", "--listen", "127.0.0.1:0"];
    let mut running = rehearse(&path, 1, &more).start();
    running.deliveries();
    running
}

fn stops_in_order(signal: Signal) {
    let folder = Folder::new();
    let _turn = turn();
    let mut running = in_full_swing(&folder, "\"2500ms\"");
    let clock = pusher_canary::model::Clock::start();
    running.signal(signal);
    running.line("stopping: waiting up to 2s 500ms for what is under way; once more ends at once");
    let outcome = running.finish();
    let took = clock.now().since(pusher_canary::model::RunTime::ZERO);
    assert!(took < Duration::from_millis(2500) + END_MARGIN, "the end took {took:?}");
    let report = outcome.judged();
    assert_eq!(report.0["cut_short"], true);
    for cluster in ["old", "new"] {
        let sent = report.figure(cluster, "publications.sent");
        assert!(sent > 0 && sent < 160 * 60, "{sent} publications were sent");
        assert_eq!(report.figure(cluster, "obligations.delivered"), 2 * sent);
    }
}

#[test]
fn sigint_ends_publishing_and_the_verdict_is_on_what_was_gathered() {
    stops_in_order(Signal::INT);
}

#[test]
fn sigterm_ends_publishing_and_the_verdict_is_on_what_was_gathered() {
    stops_in_order(Signal::TERM);
}

fn ends_at_once(first: Signal, second: Signal) {
    let folder = Folder::new();
    let _turn = turn();
    // A horizon that would outlast the patience of the test.
    let mut running = in_full_swing(&folder, "\"10m\"");
    running.signal(first);
    running.line("stopping: waiting up to 10m for what is under way");
    running.signal(second);
    let outcome = running.finish();
    outcome.assert_code(3);
    assert_eq!(outcome.stdout, "");
    let last = outcome.stderr.lines().last();
    assert_eq!(last, Some("pusher-canary: ended at once; nothing is concluded"));
}

#[test]
fn a_second_signal_ends_at_once() {
    ends_at_once(Signal::INT, Signal::INT);
    ends_at_once(Signal::TERM, Signal::INT);
}

#[test]
fn a_signal_before_the_first_event_measures_nothing() {
    // It accepts connections and says nothing: the start waits for it.
    let silent: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let silent = std::net::TcpListener::bind(silent).unwrap();
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let authority = silent.local_addr().unwrap().to_string();
    let text =
        with_endpoint(&clusters, ClusterRole::New, None, |endpoint| at(endpoint, &authority));
    let path = folder.write("scenario.toml", &text);
    let running = canary(["run", path.to_str().unwrap()]).envs(clusters.variables()).start();
    let (_stream, _) = silent.accept().unwrap();
    running.signal(Signal::INT);
    let outcome = running.finish();
    outcome.assert_code(3);
    let last = outcome.stderr.lines().last();
    let sentence = "pusher-canary: stopped before publishing began; nothing was measured";
    assert_eq!(last, Some(sentence));
}
