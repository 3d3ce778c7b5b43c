//! One process publishes, another witnesses: what it says of deliveries is what the clusters did to
//! them, though it knows of publications only what it is told.

use pusher_canary::model::ClusterRole;
use pusher_canary::rehearsal::PairConfig;
use rustix::process::Signal;

use crate::util::{Canary, Clusters, EVENTS, Folder, Outcome, canary, number, turn};

const RUN: &str = "01900000-0000-4000-8000-0000000000ab";

/// A process of the run in this role, on these clusters.
fn member(folder: &Folder, clusters: &Clusters, role: &str, more: &[&str]) -> Canary {
    let path = folder.write("scenario.toml", &clusters.scenario(&[]));
    let fixed = ["run", path.to_str().unwrap(), "--report-json", "-", "--run", RUN];
    let args = fixed.into_iter().chain(["--role", role]).chain(more.iter().copied());
    canary(args).envs(clusters.variables())
}

/// The whole run: who publishes is started first, for it waits.
fn both(folder: &Folder, clusters: &Clusters) -> [Outcome; 2] {
    let _turn = turn();
    let publisher = member(folder, clusters, "publish", &[]).start();
    let journal = folder.file("journal");
    let more = ["--journal", journal.to_str().unwrap()];
    let witness = member(folder, clusters, "witness", &more).start();
    [publisher.finish(), witness.finish()]
}

fn faulty(faults: &[&str]) -> Clusters {
    let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    Clusters::with(PairConfig { seed: 7, faults, ..PairConfig::default() }, None)
}

#[test]
fn a_witness_elsewhere_sees_all_that_was_published_and_proves_it() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let [publisher, witness] = both(&folder, &clusters);
    // Nobody takes a publisher's word for deliveries.
    publisher.assert_code(3);
    let (sent, seen) = (publisher.report(), witness.judged_apart());
    assert_eq!(witness.code(), Some(0), "{witness}");
    for role in ["old", "new"] {
        assert_eq!(sent.figure(role, "publications.accepted"), EVENTS, "{publisher}");
        assert_eq!(sent.figure(role, "obligations.total"), 0);
        assert_eq!(sent.figure(role, "trials"), 0);
        assert_eq!(seen.figure(role, "publications.accepted"), EVENTS, "{witness}");
        assert_eq!(seen.figure(role, "trials"), EVENTS);
        assert_eq!(seen.figure(role, "obligations.delivered"), 2 * EVENTS);
        assert_eq!(seen.status("controls", role), "pass");
        assert!(seen.0["clusters"][role]["latency_ms"]["p50"].is_null(), "clocks differ");
    }
    assert_eq!(number(&seen.0["events"], "covered"), EVENTS);
    assert_eq!(seen.0["member"]["role"], "witness");
    // Its record says the same.
    let journal = folder.file("journal");
    let again = canary(["report", journal.to_str().unwrap(), "--report-json", "-"]).run();
    assert_eq!(again.report().0, seen.0);
    // Nobody is shown what is not his.
    let again = canary(["report", journal.to_str().unwrap()]).run();
    let shown = &again.stdout;
    assert!(shown.contains("alone: another agent published what it saw"), "{shown}");
    assert!(shown.contains("\nobligations  "), "{shown}");
    for row in ["  late  ", "delivery p", "publish answer"] {
        assert!(!shown.contains(row), "{row}: {shown}");
    }
    assert!(witness.stderr.contains("the publisher is heard"), "{witness}");
    assert!(publisher.stderr.contains("a witness listens: publishing begins"), "{publisher}");
    assert!(publisher.stderr.contains("its own verdict is never GO"), "{publisher}");
}

#[test]
fn a_witness_elsewhere_counts_to_the_unit_what_the_clusters_did() {
    let folder = Folder::new();
    let clusters = faulty(&[
        "new:drop=0.04",
        "new:duplicate=0.04",
        "new:corrupt=0.03",
        "new:refuse=0.05",
        "old:lose-answer=0.05",
        "old:error-after=0.05",
    ]);
    let [_, witness] = both(&folder, &clusters);
    let report = witness.judged_apart();
    let [old, new] = ClusterRole::ALL.map(|role| clusters.pair.counts(role));
    assert_eq!(report.figure("new", "obligations.lost"), new.dropped + new.corrupted, "{witness}");
    assert_eq!(report.figure("new", "duplicates"), new.duplicated);
    assert_eq!(report.figure("new", "corrupt"), new.corrupted);
    assert_eq!(report.figure("new", "publications.rejected"), new.refused);
    assert_eq!(report.figure("new", "obligations.void"), 2 * new.refused);
    // What its publisher does not know it has seen.
    let unsure = old.answers_lost + old.errors_after;
    assert_eq!(report.figure("old", "publications.unknown"), unsure);
    assert_eq!(report.figure("old", "publications.recovered"), unsure);
    assert_eq!(report.figure("old", "obligations.delivered"), 2 * EVENTS);
    assert!(new.dropped > 10 && new.refused > 5 && unsure > 10, "{new:?} {old:?}");
    assert_eq!(report.verdict(), "NO-GO");
}

#[test]
fn a_witness_that_comes_later_proves_what_was_published_when_it_was_there() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let _turn = turn();
    let start = |role, region: &str| {
        let more = ["--duration", "8s", "--region", region, "--listen", "127.0.0.1:0"];
        member(&folder, &clusters, role, &more).start()
    };
    let publisher = start("publish", "here");
    let mut first = start("witness", "here");
    first.deliveries();
    let late = start("witness", "there");
    let [publisher, first, late] = [publisher, first, late].map(|running| running.finish());
    let sent = publisher.report().figure("new", "publications.accepted");
    let reports = [&first, &late].map(|outcome| outcome.judged_apart());
    let trials = reports.each_ref().map(|report| report.figure("new", "trials"));
    assert_eq!(trials[0], sent, "{first}");
    // It takes a moment to connect, and a second more for clocks that differ.
    assert!(trials[1] > 300 && trials[1] + 160 < sent, "{} of {sent}: {late}", trials[1]);
    for (outcome, report) in [&first, &late].into_iter().zip(&reports) {
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        assert_eq!(report.figure("new", "obligations.total"), 2 * report.figure("new", "trials"));
        assert_eq!(report.status("controls", "new"), "pass", "each has its own");
    }
}

#[test]
fn a_publisher_that_is_cut_short_leaves_no_proof_behind() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let _turn = turn();
    let more = ["--duration", "60s", "--listen", "127.0.0.1:0"];
    let publisher = member(&folder, &clusters, "publish", &more).start();
    let mut witness = member(&folder, &clusters, "witness", &more).start();
    witness.deliveries();
    // Killed, it says nothing of its end.
    publisher.signal(Signal::KILL);
    let publisher = publisher.finish();
    assert_eq!(publisher.code(), None);
    // It ends by itself, but that takes longer than a minute.
    if std::env::var_os("PUSHER_CANARY_LONG").is_none() {
        witness.signal(Signal::INT);
    }
    let witness = witness.finish();
    let report = witness.judged_apart();
    assert_eq!(report.verdict(), "INCONCLUSIVE", "{witness}");
    assert_eq!(report.status("evidence", "new"), "inconclusive");
    let reason = report.0["reason"].as_str().unwrap();
    assert!(reason.contains("40 streams that were not followed from first to last"), "{reason}");
    assert_eq!(report.figure("new", "obligations.lost"), 0, "nobody is accused");
}

#[test]
fn who_waits_for_the_others_says_so_and_can_be_stopped() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    for (role, other) in [("publish", "witness"), ("witness", "publisher")] {
        let mut waiting = member(&folder, &clusters, role, &["--listen", "127.0.0.1:0"]).start();
        waiting.line(&format!("it waits up to 5m for its {other}"));
        waiting.page(|page| {
            let ready = page.lines().find(|line| line.starts_with("pusher_canary_connections{"));
            role == "publish" || ready.is_some_and(|line| !line.ends_with(" 0"))
        });
        waiting.signal(Signal::INT);
        let outcome = waiting.finish();
        outcome.assert_code(3);
        // There is nothing that could be reported.
        let sentence = "pusher-canary: stopped before publishing began; nothing was measured";
        assert_eq!((outcome.stderr.lines().last(), &*outcome.stdout), (Some(sentence), ""));
    }
}

#[test]
fn a_role_that_there_is_not_is_named_and_so_is_what_it_needs() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let path = folder.write("scenario.toml", &clusters.scenario(&[]));
    for (args, said) in [
        (vec!["--role", "watch"], "must be publish, witness or both"),
        (vec!["--role", "witness"], "give each the same --run UUID"),
        (vec!["--role", "publish", "--run", RUN, "--until-proven"], "leave it out"),
        (vec!["--role", "both", "--run", RUN], "only the parts of a run need its id"),
        (vec!["--role", "witness", "--run", "abc"], "must be a UUID, as uuidgen makes it"),
        (vec!["--region", "eu "], "must not begin or end with a blank"),
    ] {
        let args = ["run", path.to_str().unwrap()].into_iter().chain(args);
        let outcome = canary(args).envs(clusters.variables()).run();
        outcome.assert_code(2);
        assert!(outcome.stderr.contains(said), "{said}: {outcome}");
    }
}
