//! What befalls the agent and what is around it, and nobody's cluster is to blame: each must be said
//! as what it was, nothing may be counted as lost that was not, and none of it may end as GO.
//!
//! Networks are cut in namespaces of the tests' own, and clocks are stepped for one process alone.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use pusher_canary::model::ClusterRole;
use rustix::process::Signal;

use crate::outages::Door;
use crate::util::{Clusters, Folder, Outcome, Report, Running, canary, section, turn};

/// Steps the clock of one process, as Debian has it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// Set where a test runs in a network of its own.
const APART: &str = "PUSHER_CANARY_TEST_APART";

/// Whether there is what a test needs. Where not, that is said aloud and nothing is tried, but where
/// `PUSHER_CANARY_INTEROP=required` asks for it.
fn has(needed: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = fs::exists(needed).unwrap()
        || std::env::split_paths(&path).any(|folder| folder.join(needed).is_file());
    let is_required = std::env::var_os("PUSHER_CANARY_INTEROP").is_some_and(|v| v == "required");
    assert!(is_there || !is_required, "{needed} is missing; tests/interop/install network");
    if !is_there {
        let why = "is missing; `tests/interop/install network` installs it";
        // Not by a macro: what these print is kept to itself where a test passes.
        let _ = writeln!(io::stderr(), "around: IGNORED: {needed} {why}");
    }
    is_there
}

/// Runs this test again in a network that nobody else is in, and where it may do what it likes.
/// Whether it is there already; not where one of the tools is missing that it needs there.
fn is_apart(name: &str, tools: &[&str]) -> bool {
    if std::env::var_os(APART).is_some() {
        return true;
    }
    if !["ip", "unshare"].iter().chain(tools).all(|tool| has(tool)) {
        return false;
    }
    let _turn = turn();
    let this = std::env::current_exe().unwrap();
    let script = "ip link set lo up && exec \"$@\"";
    let mut apart = Command::new("unshare");
    apart.args(["--map-root-user", "--net", "sh", "-c", script, "sh"]).arg(this);
    apart.args([name, "--exact", "--nocapture"]).env(APART, "1");
    let Output { status, stdout, stderr } = apart.output().expect("unshare is missing");
    let said = String::from_utf8_lossy(&stdout);
    // What it said is kept by this test's harness.
    println!("{said}\n{}", String::from_utf8_lossy(&stderr));
    assert!(status.success(), "it failed in its network");
    assert!(said.contains("1 passed"), "there is no test {name}");
    false
}

/// Runs a tool that a test needs.
#[track_caller]
fn tool(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

/// What the network does with everything to and from a cluster.
fn network(clusters: &Clusters, does: &str) {
    let url = clusters.pair.endpoint(ClusterRole::New).ws_url;
    let port = url.rsplit(':').next().unwrap();
    for rule in [
        "add table inet apart".to_owned(),
        "add chain inet apart way { type filter hook input priority 0; }".to_owned(),
        // What tells a peer that its packet was rejected must reach it; where all is dropped, there
        // is none.
        "add rule inet apart way tcp flags & rst == rst accept".to_owned(),
        format!("add rule inet apart way tcp dport {port} {does}"),
        format!("add rule inet apart way tcp sport {port} {does}"),
    ] {
        tool("nft", &[rule.as_str()]);
    }
}

/// Cuts every connection to new that there is.
fn cut(clusters: &Clusters) {
    let url = clusters.pair.endpoint(ClusterRole::New).ws_url;
    let port = format!(":{}", url.rsplit(':').next().unwrap());
    tool("ss", &["--kill", "--no-header", "dst", "127.0.0.1", "dport", "=", &port]);
}

fn heal() {
    tool("nft", &["delete table inet apart"]);
}

/// A run whose publishing lasts so many seconds, in full swing.
fn running(
    folder: &Folder,
    clusters: &Clusters,
    seconds: u64,
    changes: &[(&str, &str)],
) -> Running {
    let duration = format!("\"{seconds}s\"");
    let changes = [&[("duration", duration.as_str())], changes].concat();
    let path = folder.write("scenario.toml", &clusters.scenario(&changes));
    start(&path, clusters)
}

fn start(path: &Path, clusters: &Clusters) -> Running {
    let args = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
    let mut running = canary(args).envs(clusters.variables()).start();
    running.deliveries();
    running
}

/// Waits until a line of the page with all of these texts has another value than 0.
fn shows(running: &mut Running, texts: &[&str]) {
    running.page(|page| {
        let is = |line: &&str| texts.iter().all(|text| line.contains(text));
        page.lines().filter(is).any(|line| !line.ends_with(" 0"))
    });
}

/// Holds a run to what is true of each of these: it accuses nobody of a loss, and it is not GO.
#[track_caller]
fn assert_sound(outcome: &Outcome) -> Report {
    let report = outcome.judged();
    for role in ["old", "new"] {
        // What a stalled agent reads too late to know better stays in tainted seconds.
        for figure in ["publications_lost", "publications_partially_lost"] {
            assert_eq!(report.figure(role, figure), 0, "{figure} of {role}");
        }
        for figure in ["corrupt", "duplicates", "misrouted"] {
            assert_eq!(report.figure(role, figure), 0, "{figure} of {role}");
        }
    }
    assert_ne!(report.verdict(), "GO");
    report
}

/// The same where the cluster, or what is before it, was at fault: nothing ended as lost at all.
#[track_caller]
fn assert_loses_nothing(outcome: &Outcome) -> Report {
    let report = assert_sound(outcome);
    for role in ["old", "new"] {
        assert_eq!(report.figure(role, "obligations.lost"), 0, "lost on {role}");
    }
    report
}

/// The same where the agent was at fault: nobody is accused of anything.
#[track_caller]
fn assert_accuses_nobody(outcome: &Outcome) -> Report {
    let report = assert_sound(outcome);
    assert_eq!(report.verdict(), "INCONCLUSIVE");
    outcome.assert_code(3);
    report
}

/// Why seconds of the run are tainted.
fn taints(report: &Report) -> Vec<String> {
    let reasons = report.0["instrument"]["reasons"].as_array().unwrap().iter();
    reasons.map(|taint| taint["reason"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_network_that_is_cut_and_healed_is_missed_never_lost() {
    if !is_apart("around::a_network_that_is_cut_and_healed_is_missed_never_lost", &["nft"]) {
        return;
    }
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let mut running = running(&folder, &clusters, 9, &[]);
    network(&clusters, "drop");
    // Silence is noticed after a deadline and an unanswered ping.
    shows(&mut running, &["pusher_canary_blind_witnesses{", "\"new\""]);
    heal();
    running.page(|page| {
        page.lines().any(|l| l.starts_with(r#"pusher_canary_blind_witnesses{cluster="new"} 0"#))
    });
    let outcome = running.finish();
    let report = assert_loses_nothing(&outcome);
    assert!(report.figure("new", "obligations.missed_offline") > 0);
    assert_eq!(report.figure("new", "blind.windows"), report.figure("new", "blind.ended"));
    assert_eq!(report.figure("old", "obligations.missed_offline"), 0);
    assert_eq!(report.verdict(), "NO-GO");
}

#[test]
fn packets_that_are_lost_now_and_then_lose_no_message() {
    if !is_apart("around::packets_that_are_lost_now_and_then_lose_no_message", &["nft"]) {
        return;
    }
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let running = running(&folder, &clusters, 5, &[]);
    network(&clusters, "numgen random mod 100 < 5 drop");
    let outcome = running.finish();
    let report = outcome.judged();
    for figure in ["obligations.lost", "corrupt", "duplicates", "misrouted", "unexpected"] {
        assert_eq!(report.figure("new", figure), 0, "{figure}");
    }
    assert_eq!(report.figure("old", "obligations.missed_offline"), 0);
}

#[test]
fn connections_that_are_reset_are_blindness_and_rejections() {
    if !is_apart("around::connections_that_are_reset_are_blindness_and_rejections", &["nft"]) {
        return;
    }
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let mut running = running(&folder, &clusters, 7, &[]);
    network(&clusters, "reject with tcp reset");
    shows(&mut running, &["pusher_canary_blind_witnesses{", "\"new\""]);
    shows(&mut running, &["pusher_canary_publications_total{", "\"new\"", "\"rejected\""]);
    heal();
    let outcome = running.finish();
    let report = assert_loses_nothing(&outcome);
    assert_eq!(report.verdict(), "NO-GO");
    assert_eq!(report.figure("new", "blind.windows"), report.figure("new", "blind.ended"));
}

#[test]
fn connections_that_are_cut_are_made_again() {
    if !is_apart("around::connections_that_are_cut_are_made_again", &["ss"]) {
        return;
    }
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let mut running = running(&folder, &clusters, 4, &[]);
    cut(&clusters);
    shows(&mut running, &["pusher_canary_disconnects_total{", "\"new\""]);
    let outcome = running.finish();
    let report = outcome.judged();
    // Two witnesses and the controls.
    assert_eq!(report.closed("new"), 3);
    assert_eq!(report.figure("new", "blind.windows"), 2);
    assert_eq!(report.figure("new", "blind.ended"), 2);
    assert_eq!(report.figure("new", "obligations.lost"), 0);
    assert_eq!(report.closed("old"), 0);
}

#[test]
fn an_agent_that_was_stopped_accuses_nobody() {
    let seconds = if std::env::var_os("PUSHER_CANARY_LONG").is_some() { 30 } else { 4 };
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let _turn = turn();
    let running = running(&folder, &clusters, seconds + 3, &[]);
    running.signal(Signal::STOP);
    // Nothing tells that a process that is stopped has been stopped for long enough.
    thread::sleep(Duration::from_secs(seconds));
    running.signal(Signal::CONT);
    let outcome = running.finish();
    let report = assert_accuses_nobody(&outcome);
    assert!(taints(&report).contains(&"runtime_stall".to_owned()), "{:?}", taints(&report));
}

#[test]
fn a_clock_that_is_stepped_is_told_and_accuses_nobody() {
    if !has(FAKETIME) {
        return;
    }
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let _turn = turn();
    let clock = folder.write("clock", "+0");
    let path = folder.write("scenario.toml", &clusters.scenario(&[("duration", "\"5s\"")]));
    let args = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
    let canary = canary(args).envs(clusters.variables());
    let canary = canary.env("LD_PRELOAD", FAKETIME).env("FAKETIME_NO_CACHE", "1");
    let canary = canary.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut running = canary.env("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()).start();
    running.deliveries();
    folder.write("clock", "+1h");
    let outcome = running.finish();
    let report = assert_accuses_nobody(&outcome);
    assert!(taints(&report).contains(&"clock_step".to_owned()), "{:?}", taints(&report));
}

#[test]
fn a_name_that_does_not_resolve_any_more_is_blindness_and_named() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let _turn = turn();
    let mut endpoint = clusters.pair.endpoint(ClusterRole::New);
    let door = Door::before(endpoint.ws_url.strip_prefix("ws://").unwrap().to_owned());
    endpoint.ws_url = format!("ws://new.test:{}", door.address().port());
    let new = format!("{}plaintext = true\n\n", section(ClusterRole::New, &endpoint, None));
    let text = clusters.scenario(&[("duration", "\"5s\"")]).replace(&clusters.sections[1], &new);
    let path = folder.write("scenario.toml", &text);
    let hosts = folder.write("hosts", "127.0.0.1 new.test\n");
    let args = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
    let mut running = canary(args).envs(clusters.variables()).resolving(&hosts).start();
    running.deliveries();
    fs::write(&hosts, "127.0.0.1 old.test\n").unwrap();
    door.empty();
    shows(&mut running, &["pusher_canary_errors_total{", "\"new\"", "\"connect\""]);
    fs::write(&hosts, "127.0.0.1 new.test\n").unwrap();
    let outcome = running.finish();
    let report = assert_loses_nothing(&outcome);
    assert!(report.figure("new", "connections.failed") > 0);
    assert_eq!(report.figure("new", "blind.ended"), 2);
    assert!(outcome.stderr.contains("new.test"), "the name is not told");
}

#[test]
fn an_agent_that_may_open_no_more_files_accuses_nobody() {
    if !is_apart("around::an_agent_that_may_open_no_more_files_accuses_nobody", &["ss"]) {
        return;
    }
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let mut running = running(&folder, &clusters, 5, &[]);
    let page = running.page(|page| page.contains("process_open_fds"));
    let open = page.lines().find_map(|line| line.strip_prefix("process_open_fds ")).unwrap();
    // What it closes it cannot open again.
    running.limit_files(open.parse::<u64>().unwrap() - 5);
    cut(&clusters);
    let outcome = running.finish();
    let report = assert_accuses_nobody(&outcome);
    assert!(taints(&report).contains(&"file_descriptors".to_owned()), "{:?}", taints(&report));
}
