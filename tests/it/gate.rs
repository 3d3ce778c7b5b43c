//! Finished runs, judged together.

use serde_json::Value;

use crate::util::{Clusters, Folder, Outcome, canary, rehearsal, scenario, turn};

/// A folder with runs of one scenario, each as a report and as a journal: a and b too short for the
/// proof, lossy with losses, and one that is of another scenario.
fn runs() -> Folder {
    let folder = Folder::new();
    // 299 trials are needed at one look, and 377 at any.
    let short = scenario(&[("rate", "80.0")]);
    let path = folder.write("scenario.toml", &short);
    let other = folder.write(
        "other.toml",
        &short.replace("loss_rate_max = ", "reordered_max = 1\nloss_rate_max = "),
    );
    let _turn = turn();
    for (name, scenario, seed, fault) in [
        ("a", &path, 1, &[][..]),
        ("b", &path, 2, &[]),
        ("lossy", &path, 3, &["--fault", "new:drop=0.3"]),
        ("other", &other, 4, &[]),
    ] {
        let (report, journal) = (folder.file(&format!("{name}.json")), folder.file(name));
        let files = [
            "-q",
            "--report-json",
            report.to_str().unwrap(),
            "--journal",
            journal.to_str().unwrap(),
        ];
        rehearsal(scenario, seed, &[&files[..], fault].concat()).run();
    }
    folder
}

fn gate(folder: &Folder, reports: &[&str], more: &[&str]) -> Outcome {
    canary([&["gate", "--rehearsals", "--report"], reports, more].concat())
        .within(folder.path())
        .run()
}

fn judged(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn runs_are_judged_together_and_each_of_them_once() {
    let folder = runs();
    // Alone, each has too few trials.
    gate(&folder, &["a.json"], &[]).assert_code(3);
    gate(&folder, &["b"], &[]).assert_code(3);
    // A report and its journal are one run.
    let twice = gate(&folder, &["a.json", "a"], &["--report-json", "-"]);
    twice.assert_code(3);
    let twice = judged(&twice);
    assert_eq!(twice["runs"].as_array().unwrap().len(), 1);
    assert_eq!(twice["looks"], "once");

    let both = gate(&folder, &["a.json", "b"], &["--report-json", "-"]);
    both.assert_code(0);
    let both = judged(&both);
    assert_eq!((&both["verdict"], &both["looks"]), (&"GO".into(), &"anytime".into()));
    let loss = both["checks"].as_array().unwrap().iter().find(|c| c["name"] == "loss").unwrap();
    let trials: u64 =
        both["runs"].as_array().unwrap().iter().map(|r| r["trials"]["old"].as_u64().unwrap()).sum();
    assert_eq!(loss["evidence"], trials);

    // One that lost is not outweighed, as every form says.
    let forms = [
        ["--report-html", "gate.html"],
        ["--report-junit", "gate.xml"],
        ["--report-markdown", "gate.md"],
    ];
    let outcome = gate(&folder, &["a.json", "b", "lossy"], forms.as_flattened());
    outcome.assert_code(1);
    for (file, said) in [
        ("gate.html", "<title>NO-GO: it</title>"),
        ("gate.xml", "<testcase name=\"loss\" classname=\"pusher-canary.it.new\">\n      <failure"),
        ("gate.md", "## ❌ NO-GO: it\n"),
    ] {
        let text = folder.read(file);
        assert!(text.contains(said) && text.contains("lossy"), "{file}: {text}");
    }
    // Leaving it out takes a reason, which is shown.
    let report: Value = serde_json::from_str(&folder.read("lossy.json")).unwrap();
    let run = report["run"].as_str().unwrap();
    let exclusion = format!("{run}=the network was cut on purpose");
    let outcome = gate(&folder, &["a.json", "b", "lossy"], &["--exclude", &exclusion]);
    outcome.assert_code(0);
    let line = format!("left out {run}: the network was cut on purpose");
    assert!(outcome.stdout.contains(&line), "{}", outcome.stdout);
    gate(&folder, &["a.json"], &["--exclude", &format!("{run}= ")]).assert_code(2);
    gate(&folder, &["lossy"], &["--exclude", &exclusion]).assert_code(2);
    // The beginning of an id will do, if it is that of one.
    let begin = format!("{}=the network was cut on purpose", &run[..run.len() - 4]);
    gate(&folder, &["a.json", "b", "lossy"], &["--exclude", &begin]).assert_code(0);
    for (exclusion, said) in [
        ("ffffffff-ffff=no such run", "no run that is judged has an id that begins so"),
        ("0=any of them", "the first 13 characters of one"),
        ("lossy=a file is no run", "must begin with a run's id"),
    ] {
        let outcome = gate(&folder, &["a.json", "b", "lossy"], &["--exclude", exclusion]);
        outcome.assert_code(2);
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
}

#[test]
fn what_proves_nothing_of_today_or_of_this_scenario_is_never_go() {
    let folder = runs();
    let other = gate(&folder, &["a.json", "b", "other"], &[]);
    other.assert_code(2);
    assert!(other.sentence().contains("a.json and other are of different scenarios"), "{other}");

    let stale = gate(&folder, &["a.json", "b"], &["--max-age", "1ms"]);
    stale.assert_code(3);
    assert!(stale.stdout.contains("is stale"), "{}", stale.stdout);

    // One whose clock is not ours, one that lost its end, one that is cut off.
    let report = folder.read("a.json");
    let ended = serde_json::from_str::<Value>(&report).unwrap()["ended_at"].to_string();
    folder.write("future.json", &report.replace(&ended, "\"2999-01-01T00:00:00.000Z\""));
    folder.write("timeless.json", &report.replace(&ended, "\"\""));
    folder.write("cut.json", &report[..report.len() / 2]);
    folder.write("no.json", "{}");
    folder.write("newer.json", &report.replacen("\"schema\": 1", "\"schema\": 2", 1));
    let journal = folder.read("a");
    let last_line = journal.trim_end().rfind('\n').unwrap() + 1;
    folder.write("endless", &journal[..last_line]);
    for (name, said) in [
        ("future.json", "says no time of its end, or one that has not come"),
        ("timeless.json", "says no time of its end"),
        ("endless", "has no end"),
    ] {
        let outcome = gate(&folder, &[name, "b"], &[]);
        outcome.assert_code(3);
        let printed = outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(printed.contains(said), "{name}: {printed}");
    }
    for (name, said) in [
        ("cut.json", "is no report of pusher-canary"),
        ("no.json", "is no report of pusher-canary"),
        ("newer.json", "has schema 2, and this version reads 1"),
    ] {
        let outcome = gate(&folder, &[name, "b"], &[]);
        outcome.assert_code(3);
        assert!(outcome.sentence().contains(said), "{name}: {}", outcome.stderr);
    }
    // What an earlier gate wrote is no outcome of one that cannot judge.
    let junit = ["--report-junit", "gate.xml"];
    gate(&folder, &["a.json", "b"], &junit).assert_code(0);
    assert!(folder.read("gate.xml").contains("value=\"GO\""));
    gate(&folder, &["missing.json"], &junit).assert_code(2);
    assert_eq!(folder.read("gate.xml"), "");

    folder.write("nothing.json", "");
    let outcome = gate(&folder, &["nothing.json"], &[]);
    outcome.assert_code(3);
    assert!(outcome.sentence().contains("is empty: did its run end?"), "{outcome}");

    // What was rehearsed says nothing of anybody's clusters, unless that is asked for.
    let files = ["gate", "--report", "a.json", "b", "--no-history"];
    let outcome = canary(files).within(folder.path()).run();
    outcome.assert_code(3);
    assert!(outcome.stdout.contains("was rehearsed"), "{}", outcome.stdout);

    // Two that tell of one run, and not the same.
    folder.write("changed.json", &report.replacen("\"trials\": ", "\"trials\": 9", 1));
    let outcome = gate(&folder, &["a.json", "changed.json"], &[]);
    outcome.assert_code(3);
    assert!(outcome.sentence().contains("tell of the same run, and not the same"), "{outcome}");

    // A control that did not fire.
    let silent = report.replacen("\"status\": \"pass\"", "\"status\": \"inconclusive\"", 0);
    let mut silent: Value = serde_json::from_str(&silent).unwrap();
    silent["controls"][0]["status"] = "inconclusive".into();
    folder.write("silent.json", &silent.to_string());
    let outcome = gate(&folder, &["silent.json", "b"], &[]);
    outcome.assert_code(3);
    assert!(outcome.stdout.contains("6 of 7 fired"), "{}", outcome.stdout);
}

#[test]
fn a_run_until_proven_ends_when_the_proof_stands_or_has_failed() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[("duration", "\"60s\"")]));
    let _turn = turn();
    let json = ["--until-proven", "--report-json", "-"];
    let stands = rehearsal(&path, 1, &json).run();
    let report = stands.judged();
    assert_eq!((report.verdict(), &report.0["looks"]), ("GO", &"anytime".into()));
    assert_eq!(report.0["cut_short"], false);
    assert!(report.0["publishing_seconds"].as_f64().unwrap() < 20.0);
    let evidence = report.0["clusters"]["new"]["trials"].as_u64().unwrap();
    assert!(evidence >= 377, "{evidence}");
    let failed = rehearsal(&path, 1, &[&json[..], &["--fault", "new:drop=0.3"]].concat()).run();
    let report = failed.judged();
    assert_eq!(report.verdict(), "NO-GO");
    assert!(report.0["publishing_seconds"].as_f64().unwrap() < 20.0);
}

#[test]
fn runs_that_the_history_holds_count_whether_they_are_named_or_not() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let path = folder.write("scenario.toml", &clusters.scenario(&[("rate", "80.0")]));
    let (history, report) = (folder.file("history"), folder.file("report.json"));
    let history = ["--history", history.to_str().unwrap()];
    let files = ["-q", "--report-json", report.to_str().unwrap()];
    {
        let _turn = turn();
        for _ in 0..2 {
            let run = [&["run", path.to_str().unwrap()], &history[..], &files].concat();
            canary(run).envs(clusters.variables()).run().assert_code(3);
        }
    }
    let json = ["--report-json", "-"];
    let outcome = gate(&folder, &["report.json"], &[&history[..], &json].concat());
    outcome.assert_code(0);
    let runs = judged(&outcome)["runs"].as_array().unwrap().clone();
    let sources: Vec<_> = runs.iter().map(|run| run["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["the history", "report.json"]);
    // Left out, it is named; alone, the other has too few trials.
    let exclusion = format!("{}=a rehearsal of the gate", runs[0]["run"].as_str().unwrap());
    let outcome = gate(
        &folder,
        &["report.json"],
        &[&history[..], &json, &["--exclude", &exclusion]].concat(),
    );
    outcome.assert_code(3);
    assert_eq!(judged(&outcome)["excluded"][0]["reason"], "a rehearsal of the gate");
    // What a shorter time leaves out is named, and was looked at all the same.
    let named = [&history[..], &json, &["--max-age", "1ms"]].concat();
    let outcome = gate(&folder, &["report.json"], &named);
    outcome.assert_code(3);
    let pool = judged(&outcome);
    assert_eq!(pool["outdated"][0]["run"], runs[0]["run"], "{pool}");
    assert_eq!((&pool["looks"], pool["runs"].as_array().unwrap().len()), (&"anytime".into(), 1));
    assert!(outcome.stderr.contains("too old to count by --max-age"), "{}", outcome.stderr);
    // Whose clusters were judged is said.
    let address = pool["clusters"]["new"].as_str().unwrap();
    assert!(address.starts_with("ws://127.0.0.1:") && address.contains(", app "), "{address}");
    let alone = gate(&folder, &["report.json"], &["--no-history"]);
    assert!(alone.stdout.contains(&format!("new  {address}\n")), "{}", alone.stdout);
    alone.assert_code(3);
    assert!(alone.stdout.contains("left out by --no-history"), "{}", alone.stdout);
}
