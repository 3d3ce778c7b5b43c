//! The application's auth endpoints: what is wrong with one is found before anything is measured, and
//! what it does while a run goes on is held against it.

use pusher_canary::model::ClusterRole;
use pusher_canary::model::application::Behaviour;
use pusher_canary::rehearsal::PairConfig;
use serde_json::Value;

use crate::util::{Clusters, Folder, Outcome, canary, number, turn};

const CHANNELS: &str = "channel = \"private-orders-1\"\nforbidden = \"private-forbidden\"\n";

/// A scenario against the pair, each cluster with an endpoint at this path, or at none, and these
/// keys.
fn scenario(
    clusters: &Clusters,
    [old, new]: [&str; 2],
    keys: &str,
    changes: &[(&str, &str)],
) -> String {
    let mut text = clusters.scenario(changes);
    for (role, path) in [(ClusterRole::Old, old), (ClusterRole::New, new)] {
        if path.is_empty() {
            continue;
        }
        let url = match path.strip_prefix("old:") {
            Some(path) => format!("{}{path}", clusters.pair.endpoint(ClusterRole::Old).http_url),
            None => format!("{}{path}", clusters.pair.endpoint(role).http_url),
        };
        text.push_str(&format!("\n[clusters.{role}.auth_endpoint]\nurl = \"{url}\"\n{keys}"));
    }
    text
}

fn run(clusters: &Clusters, text: &str, command: &[&str]) -> Outcome {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", text);
    let _turn = turn();
    let args = command.iter().copied().chain([path.to_str().unwrap()]);
    let args: Vec<_> = args.chain(["--report-json", "-"]).collect();
    let args = if command[0] == "check" { &args[..args.len() - 2] } else { &args };
    canary(args).envs(clusters.variables()).run()
}

#[test]
fn an_endpoint_that_signs_for_the_wrong_cluster_is_found_before_any_traffic() {
    let clusters = Clusters::start();
    for (paths, code, said) in [
        (
            ["/pusher/auth", "old:/pusher/auth"],
            2,
            "new cluster: auth-endpoint URL: it signs with the key of old's app for clients of new \
             for private-orders-1; give it key and secret of new's app for those clients",
        ),
        (
            ["/pusher/auth", "/pusher/auth/wrong-secret"],
            2,
            "new cluster: auth-endpoint URL: its signature is not that of new's app for \
             private-orders-1; give it key and secret of new's app for those clients",
        ),
        (
            ["/pusher/auth/wrong-key", ""],
            2,
            "old cluster: auth-endpoint URL: it signs with a key that is not that of old's app for \
             private-orders-1; give it key and secret of old's app for those clients",
        ),
        (
            ["", "/pusher/auth/members"],
            2,
            "new cluster: auth-endpoint URL: it answered HTTP 403 for private-orders-1; check who is \
             asking by clusters.new.auth_endpoint.headers, .bearer or .cookie",
        ),
        (
            ["", "/pusher/auth/error"],
            3,
            "new cluster: auth-endpoint URL: it answered HTTP 500 for private-orders-1; check its \
             address and the server's log",
        ),
    ] {
        let text = scenario(&clusters, paths, CHANNELS, &[]);
        for command in [&["run"][..], &["check", "--connect"]] {
            let outcome = run(&clusters, &text, command);
            outcome.assert_code(code);
            let sentence = outcome.sentence();
            let parts: Vec<_> = said.split("URL").collect();
            assert!(
                sentence.contains(parts[0]) && sentence.ends_with(parts[1]),
                "{sentence}\nis not\n{said}"
            );
        }
    }
}

#[test]
fn a_sound_endpoint_passes_and_one_that_signs_for_everybody_or_slowly_fails() {
    for (path, keys, status, said) in [
        ("/pusher/auth", "", "pass", ""),
        ("/pusher/auth/members", "bearer = \"${PC_TOKEN}\"\n", "pass", ""),
        ("/pusher/auth/members", "cookie_file = \"cookie\"\nbody = \"json\"\n", "pass", ""),
        ("/pusher/auth/members", "headers = [\"Authorization: Bearer ${PC_TOKEN}\"]\n", "pass", ""),
        ("/pusher/auth/everybody", "", "fail", "it signs the forbidden channel"),
        ("/pusher/auth/slow", "", "fail", "too slow, 1s allowed"),
    ] {
        let (folder, clusters) = (Folder::new(), Clusters::start());
        folder.write("cookie", "session=let-me-in\n");
        let keys = format!("{CHANNELS}{keys}");
        let text = scenario(&clusters, ["", path], &keys, &[]);
        let scenario = folder.write("scenario.toml", &text);
        let _turn = turn();
        let args = ["run", scenario.to_str().unwrap(), "--report-json", "-"];
        let canary = canary(args).envs(clusters.variables()).env("PC_TOKEN", "let-me-in");
        let outcome = canary.run();
        let report = outcome.judged();
        assert_eq!(report.status("auth-endpoint", "new"), status, "{path} {keys}\n{outcome}");
        let detail = report.check("auth-endpoint", "new")["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(said), "{detail}");
        let endpoint = &report.0["clusters"]["new"]["endpoints"]["auth-endpoint"];
        assert_eq!(endpoint["trials"]["crossed"], "pass", "{endpoint}");
        assert!(number(endpoint, "answered.signed") >= 1, "{endpoint}");
        assert_eq!(report.0["clusters"]["old"].get("endpoints"), None);
        for text in [&outcome.stdout, &outcome.stderr] {
            assert!(!text.contains("let-me-in"), "a credential is shown: {text}");
        }
        outcome.assert_code(i32::from(status == "fail"));
    }
}

#[test]
fn users_are_signed_in_by_what_the_endpoint_signed() {
    for (path, status, code) in
        [("/pusher/user-auth", "pass", 0), ("/pusher/user-auth/wrong-secret", "", 2)]
    {
        let clusters = Clusters::start();
        let url = format!("{}{path}", clusters.pair.endpoint(ClusterRole::New).http_url);
        let text = clusters.scenario(&[]);
        let text = format!("{text}\n[clusters.new.user_auth_endpoint]\nurl = \"{url}\"\n");
        let outcome = run(&clusters, &text, &["run"]);
        outcome.assert_code(code);
        if code == 0 {
            let report = outcome.judged();
            assert_eq!(report.status("user-auth-endpoint", "new"), status);
            let endpoint = &report.0["clusters"]["new"]["endpoints"]["user-auth-endpoint"];
            assert_eq!(endpoint["trials"], serde_json::json!({ "signed_in": "pass" }));
        }
    }
}

/// Half of the application's channels are encrypted, and it alters some events there as well.
#[test]
fn real_channels_are_watched_by_what_the_endpoints_sign_and_encrypted_ones_opened() {
    let behaviour = Behaviour {
        channels: 20,
        encrypted: 10,
        rate: 200.0,
        skips: 0.0,
        doubles: 0.0,
        alters: 0.02,
        forgets: 0,
        rooms: 0,
        caches: 0,
    };
    let config = || PairConfig { application: Some(behaviour), ..PairConfig::default() };
    let sample = "\n[sample]\nprefixes = [\"private-\"]\nchannels = 50\nid_pointer = \"/id\"\n\
                  window = \"2s\"\nrefresh = \"3s\"\nrequests_per_second = 1000\n";
    // With endpoints there is a way to the keys; without them, and without the master key, none.
    for (paths, watched) in [(["/pusher/auth"; 2], 20), ([""; 2], 10)] {
        let clusters = Clusters::with(config(), None);
        let changes = [("duration", "\"7s\""), ("rate", "60.0")];
        let text = scenario(&clusters, paths, CHANNELS, &changes);
        let outcome = run(&clusters, &format!("{text}{sample}"), &["run"]);
        let report = outcome.judged();
        let mirror = &report.0["mirror"];
        assert_eq!(number(mirror, "sample.watched"), watched, "{outcome}");
        let encrypted = |d: &&Value| d["channel"].as_str().unwrap().contains("encrypted");
        let defects = mirror["defects"].as_array().unwrap();
        let altered = defects.iter().filter(encrypted).count();
        assert_eq!(altered > 0, watched == 20, "{defects:?}");
        assert!(defects.iter().all(|d| d["outcome"] == "altered"), "{defects:?}");
        assert!(number(mirror, "events.mirrored") > 200, "{mirror}");
        assert_eq!(mirror.get("unreadable"), None);
        let left_out = &mirror["sample"]["left_out"];
        let expected = (watched == 10).then(|| serde_json::json!({ "encrypted": 10 }));
        assert_eq!(left_out, &expected.unwrap_or_default(), "{mirror}");
        if watched == 20 {
            for role in ["old", "new"] {
                let endpoint = &report.0["clusters"][role]["endpoints"]["auth-endpoint"];
                assert!(number(endpoint, "answered.signed") >= 20, "{endpoint}");
                assert_eq!(report.status("auth-endpoint", role), "pass");
                assert_eq!(report.status("auth", role), "pass");
            }
        }
    }
}
