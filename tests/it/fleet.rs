//! Several processes that do one run: each has its part, and Prometheus' figures of all are judged
//! together. A real Prometheus is asked in `tests/interop/prometheus.rs`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use pusher_canary::model::ClusterRole;

use crate::util::{Clusters, Folder, Outcome, canary, number, turn};

const RUN: &str = "01900000-0000-4000-8000-0000000000ab";

/// The run's channels that a journal names.
fn channels(journal: &str) -> BTreeSet<&str> {
    journal.split('"').filter(|text| text.contains("pc-000000ab-s")).collect()
}

#[test]
fn shards_share_out_what_one_process_would_do_and_keep_no_history() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let path = folder.write("scenario.toml", &clusters.scenario(&[]));
    let state = folder.file("state");
    let run = |shard: &'static str, more: &[&str]| {
        let journal = folder.file(&format!("journal-{}", shard.replace('/', "-of-")));
        let fixed = ["run", path.to_str().unwrap(), "--report-json", "-", "--shard", shard];
        let args = fixed.into_iter().chain(["--journal", journal.to_str().unwrap()]);
        let state = [("XDG_STATE_HOME", state.to_str().unwrap())];
        canary(args.chain(more.iter().copied())).envs(clusters.variables()).envs(state).start()
    };
    let _turn = turn();
    let running = ["0/2", "1/2"].map(|shard| run(shard, &["--run", RUN, "--region", "eu"]));
    let outcomes = running.map(|running| running.finish());
    let sent = |outcome: &Outcome, role: ClusterRole| {
        let report = outcome.report();
        assert_eq!(report.0["run"], RUN);
        assert_eq!(report.0["member"]["region"], "eu");
        number(&report.0["clusters"][role.as_str()]["publications"], "sent")
    };
    for role in ClusterRole::ALL {
        let both = outcomes.iter().map(|outcome| sent(outcome, role)).collect::<Vec<_>>();
        // 160 a second for two and a half of them: half of the streams are each one's.
        assert_eq!(both, [200, 200], "{role}");
    }
    for outcome in &outcomes {
        let report = outcome.report();
        // Others watch channels of the same run while it leaves.
        assert_eq!(report.status("left-behind", "new"), "pass", "{outcome}");
        assert_eq!(report.status("strata", "new"), "pass", "{outcome}");
        assert!(outcome.stderr.contains("its own verdict is on this part alone"), "{outcome}");
    }
    assert!(!state.exists(), "a shard is no run that is kept");
    let journals = ["journal-0-of-2", "journal-1-of-2"].map(|name| folder.read(name));
    let [first, second] = [channels(&journals[0]), channels(&journals[1])];
    assert_eq!(first, second, "all number all channels alike");
    let of = |shard: &str| first.iter().filter(|name| name.contains(shard)).count();
    assert_eq!((first.len(), of("-s0-"), of("-s1-")), (40, 20, 20), "{first:?}");

    // What one part says is not to be taken for the whole.
    let report = folder.write("part.json", &outcomes[0].report().0.to_string());
    let gate = canary(["gate", "--no-history", "--report", report.to_str().unwrap()]).run();
    gate.assert_code(2);
    assert!(gate.stderr.contains("tells of shard 0/2 in eu alone"), "{gate}");
}

#[test]
fn a_part_that_there_is_not_is_named_with_what_to_do() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let path = folder.write("scenario.toml", &clusters.scenario(&[]));
    let drain = clusters.scenario(&[("phase", "\"drain\"")]);
    let drain = folder.write("drain.toml", &drain);
    let moves = clusters.scenario(&[]) + "[handover]\nways = [\"reload\"]\n";
    let moves = folder.write("moves.toml", &moves);
    // Each has its own connections.
    let dear = clusters.scenario(&[]) + "[budget]\nconnections_max = 7\n";
    let dear = folder.write("dear.toml", &dear);
    let many = clusters.scenario(&[]) + "[budget]\nconnections_max = 1000\n";
    let many = folder.write("many.toml", &many);
    let whole = ["--run", RUN];
    for (scenario, args, index, said) in [
        (&path, vec!["--shard", "2/2"], None, "shards count from 0: the last of 2 is 1"),
        (&path, vec!["--shard", "1"], None, "must be I/N, such as 0/4"),
        (&path, vec!["--shard", "0/2"], None, "give each the same --run UUID"),
        (&path, vec!["--shards", "2"], None, "JOB_COMPLETION_INDEX must say"),
        (&path, vec!["--shards", "2"], Some("2"), "JOB_COMPLETION_INDEX=2: shards count from 0"),
        (&path, vec!["--shards", "2"], Some("x"), "JOB_COMPLETION_INDEX must say"),
        (&many, [&whole[..], &["--shard", "99/100"]].concat(), None, "there are 40 channels to"),
        (&path, [&whole[..], &["--shard", "0/2", "--until-proven"]].concat(), None, "leave it out"),
        (
            &path,
            [&whole[..], &["--shard", "0/2", "--history", "x"]].concat(),
            None,
            "is kept in none",
        ),
        (&drain, [&whole[..], &["--shard", "0/2"]].concat(), None, "drain publishes nothing"),
        (&path, whole.to_vec(), None, "only the parts of a run need its id"),
        (
            &path,
            vec!["--shard", "0/2", "--run", "00000000-0000-1000-8000-0000000000ab"],
            None,
            "of version 4 or 7",
        ),
        (&moves, [&whole[..], &["--shard", "0/2"]].concat(), None, "cannot be shared out"),
        (&dear, [&whole[..], &["--shard", "0/2"]].concat(), None, "8 connections per app where"),
    ] {
        let args = ["run", scenario.to_str().unwrap()].into_iter().chain(args);
        let command = canary(args).envs(clusters.variables());
        let command = command.envs(index.map(|index| ("JOB_COMPLETION_INDEX", index)));
        let outcome = command.run();
        outcome.assert_code(2);
        assert!(outcome.stderr.contains(said), "{said}: {outcome}");
    }
    let args = ["watch", many.to_str().unwrap(), "--shard", "99/100"];
    let outcome = canary(args).envs(clusters.variables()).run();
    outcome.assert_code(2);
    assert!(outcome.stderr.contains("there are 40 channels"), "{outcome}");
}

/// Answers whatever it is asked with this, once for each; returns where.
fn answers(all: Vec<(u16, String)>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for ((status, body), stream) in all.into_iter().zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let length = body.len();
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    address
}

/// A series of `run_info`, with its last sample.
fn info(run: &str, instance: &str, shards: u32) -> String {
    format!(
        r#"{{"metric":{{"run":"{run}","instance":"{instance}","shards":"{shards}","shard":"0"}},"values":[[1,"1"]]}}"#
    )
}

fn matrix(series: &[String]) -> String {
    let series = series.join(",");
    format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}}}"#)
}

#[test]
fn what_a_prometheus_does_not_say_is_never_go_and_says_what_to_do() {
    let other = "01900000-0000-4000-8000-0000000000cd";
    let two = matrix(&[info(RUN, "a:1", 2), info(other, "b:1", 2)]);
    let empty = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let refused = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
    for (all, more, code, said) in [
        (vec![(401, "who are you")], vec![], 2, "answered with HTTP 401: who are you"),
        (vec![(503, "not now")], vec![], 3, "answered with HTTP 503: not now"),
        (vec![(200, "<html>")], vec![], 3, "is not one of Prometheus"),
        (vec![(200, refused)], vec![], 3, "parse error"),
        (vec![(200, &matrix(&[]))], vec![], 3, "knows no run that several agents did"),
        (vec![(200, &matrix(&[info(RUN, "a:1", 1)]))], vec![], 3, "knows no run that several"),
        (vec![(200, &two)], vec![], 2, "ab, last scraped 1970-01-01T00:00:01.000Z; 0"),
        (vec![(200, &matrix(&[]))], vec!["--run", RUN], 3, "knows nothing of run"),
        (
            vec![(200, &two), (200, empty), (200, empty)],
            vec!["--run", RUN],
            3,
            "a:1: run_info has no phase",
        ),
    ] {
        let all = all.into_iter().map(|(status, body)| (status, body.to_owned())).collect();
        let url = format!("http://me:hidden@{}", answers(all));
        let args = ["gate", "--prometheus", &url, "--agents", "2"];
        let outcome = canary(args.into_iter().chain(more)).run();
        outcome.assert_code(code);
        assert!(outcome.stderr.contains(said), "{said}: {outcome}");
        assert!(!outcome.stderr.contains("hidden"), "{outcome}");
    }
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}");
    canary(["gate", "--prometheus", &url, "--agents", "2"]).run().assert_code(3);
    for (args, said) in [
        (vec!["--prometheus", "ftp://a", "--agents", "2"], "such as http://127.0.0.1:9090"),
        (vec!["--prometheus", "http://me:hidden@", "--agents", "2"], "must be a URL such as"),
        (vec!["--prometheus", "http://a/?hidden", "--agents", "2"], "must be a URL such as"),
        (vec!["--prometheus", &url], "--agents <N>"),
        (vec!["--prometheus", &url, "--agents", "0"], "0 is not in 1.."),
        (vec!["--agents", "2"], "--prometheus <URL>"),
    ] {
        let outcome = canary(["gate"].into_iter().chain(args)).run();
        outcome.assert_code(2);
        assert!(outcome.stderr.contains(said), "{said}: {outcome}");
        assert!(!outcome.stderr.contains("hidden"), "{outcome}");
    }
}
