//! No output holds a secret, a signature or a key of an encrypted channel; only `--hold` prints
//! secrets, which is what it is for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pusher_canary::model::RunId;
use pusher_canary::pusher::encrypt::SharedSecret;
use pusher_canary::scenario::plan::own_master_key;

use crate::exits::signature;
use crate::util::{Clusters, Folder, Outcome, canary, rehearse, scenario, turn};

/// Everything that a run wrote, by where.
type Outputs<'a> = Vec<(&'a str, String)>;

fn assert_none(outputs: &Outputs<'_>, secrets: &[String]) {
    for (name, text) in outputs {
        for secret in secrets {
            assert!(!text.contains(secret), "{name} holds the secret {secret}");
        }
        for word in ["auth_signature", "shared_secret", "auth="] {
            assert!(!text.contains(word), "{name} holds {word}");
        }
        assert_eq!(signature(text), None, "{name} holds a signature");
    }
}

/// The keys of a run's encrypted channels: the master key, and what is derived from it.
fn keys(outcome: &Outcome) -> Vec<String> {
    let report = outcome.report();
    let run = RunId(report.0["run"].as_str().unwrap().parse().unwrap());
    let master = *own_master_key(run).expose();
    let mut keys = vec![hex::encode(master), BASE64.encode(master)];
    for kind in ["private-encrypted-", "private-encrypted-cache-"] {
        let derived = (0..8).map(|at| format!("{kind}pc-{}-{at}", run.short()));
        keys.extend(derived.map(|channel| SharedSecret::derive(&channel, &master).to_base64()));
    }
    keys
}

#[test]
fn a_run_prints_no_secret_whatever_it_is_asked_to_print() {
    for format in ["text", "json"] {
        let folder = Folder::new();
        let clusters = Clusters::start_tls(&folder);
        let path = folder.write("scenario.toml", &clusters.scenario(&[]));
        let args = ["run", path.to_str().unwrap(), "--report-json", "-", "-vv"];
        let more = ["--listen", "127.0.0.1:0", "--log-format", format];
        let _turn = turn();
        let canary = canary(args.iter().chain(&more)).envs(clusters.variables());
        let mut running = canary.env("RUST_LOG", "trace").start();
        let first = running.page(|page| !page.is_empty());
        running.deliveries();
        let page = running.page(|page| page.contains("verdict"));
        let outcome = running.finish();
        outcome.assert_code(0);
        assert!(outcome.stderr.contains("run begins"), "nothing was logged");
        let mut secrets = keys(&outcome);
        secrets.extend(clusters.variables().map(|(_, secret)| secret.to_owned()));
        let outputs = vec![
            ("stdout", outcome.stdout.clone()),
            ("stderr", outcome.stderr.clone()),
            ("the first page", first),
            ("a later page", page),
        ];
        assert_none(&outputs, &secrets);
    }
}

/// What `--hold` prints about an app.
fn held(text: &str, name: &str) -> String {
    let start = format!("export {name}=");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("--hold prints no {name}")).to_owned()
}

#[test]
fn a_rehearsal_prints_no_secret_and_hold_prints_them_because_it_is_asked_to() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[]));
    let mut hold = canary(["rehearse", "--hold", "--seed", "11"]).start();
    hold.printed("NEW_APP_SECRET=");
    hold.signal(rustix::process::Signal::TERM);
    let hold = hold.finish();
    hold.assert_code(0);
    let mut secrets: Vec<_> =
        ["OLD_APP_SECRET", "NEW_APP_SECRET"].map(|name| held(&hold.stdout, name)).into();

    let log = folder.file("faults.jsonl");
    let mut args = vec!["-vv", "--fault-log", log.to_str().unwrap()];
    // Every fault that makes the agent say something about what it sent or got.
    let faults = ["new:corrupt=0.05", "new:refuse=0.05", "new:lose-answer=0.05", "new:close=0.5"];
    args.extend(faults.iter().flat_map(|fault| ["--fault", fault]));
    let _turn = turn();
    let outcome = rehearse(&path, 11, &args).run();
    outcome.assert_code(1);
    secrets.extend(keys(&outcome));
    let outputs = vec![
        ("stdout", outcome.stdout.clone()),
        ("stderr", outcome.stderr.clone()),
        ("the fault log", folder.read("faults.jsonl")),
    ];
    assert!(!outputs[2].1.is_empty());
    assert_none(&outputs, &secrets);
}

#[test]
fn an_error_about_a_secret_shows_neither_it_nor_what_was_signed_with_it() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let path = folder.write("scenario.toml", &clusters.scenario(&[]));
    for command in [vec!["run", "-vv"], vec!["check", "--connect", "-vv"]] {
        let _turn = turn();
        let args = command.into_iter().chain([path.to_str().unwrap()]);
        let [old, _] = clusters.variables();
        let outcome = canary(args).envs([old, ("PC_NEW_SECRET", "mistyped-secret")]).run();
        outcome.assert_code(2);
        let secrets = [old.1.to_owned(), "mistyped-secret".to_owned()];
        let outputs = vec![("stdout", outcome.stdout.clone()), ("stderr", outcome.stderr.clone())];
        for (name, text) in &outputs {
            for secret in &secrets {
                assert!(!text.contains(secret), "{name} holds a secret");
            }
            assert_eq!(signature(text), None, "{name} holds a signature");
        }
    }
}
