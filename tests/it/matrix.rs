//! Two apps compared by the program itself: its outcome, its forms, what earlier ones said.

use pusher_canary::model::ClusterRole;
use pusher_canary::model::habit::{Habit, HabitOf};
use pusher_canary::rehearsal::pair::PairConfig;
use pusher_canary::verify::parity::Probe;
use serde_json::{Value, json};

use crate::outages::Door;
use crate::util::{Clusters, Folder, Outcome, canary, section};

/// A pair whose new cluster has these habits.
fn pair(habits: &[Habit]) -> Clusters {
    let habits = habits.iter().map(|habit| HabitOf(ClusterRole::New, *habit)).collect();
    Clusters::with(PairConfig { habits, ..PairConfig::default() }, None)
}

/// Compares; `parity` is what the scenario says of it.
fn compare(clusters: &Clusters, folder: &Folder, parity: &str, more: &[&str]) -> Outcome {
    let text = format!("{}{parity}", clusters.scenario(&[]));
    folder.write("scenario.toml", &text);
    let args = ["parity", "scenario.toml"].into_iter().chain(more.iter().copied());
    canary(args).envs(clusters.variables()).within(folder.path()).run()
}

fn matrix(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// The names of the rows that came to this.
fn rows<'a>(matrix: &'a Value, likeness: &str) -> Vec<&'a str> {
    let rows = matrix["rows"].as_array().unwrap().iter();
    rows.filter(|row| row["likeness"] == likeness).map(|row| row["row"].as_str().unwrap()).collect()
}

const JSON: [&str; 3] = ["-q", "--report-json", "-"];
/// The same without the probe that watches a connection do nothing for forty seconds.
const BRIEF: [&str; 5] = ["-q", "--report-json", "-", "--skip", "idle"];

#[test]
fn apps_that_agree_are_the_same_and_those_that_do_not_differ_in_the_row_that_says_so() {
    let folder = Folder::new();
    let outcome = compare(&pair(&[]), &folder, "", &BRIEF);
    outcome.assert_code(0);
    let same = matrix(&outcome);
    assert_eq!(same["outcome"], "same");
    let all = same["rows"].as_array().unwrap().len();
    assert_eq!(rows(&same, "same").len(), all, "{same}");
    let slow = ["heartbeats", "idle", "presence-silent", "member-limit"];
    let needy = ["origins", "endpoints", "webhooks"];
    assert_eq!(same["left_out"], json!([&slow[..], &needy[..]].concat()));

    let outcome = compare(&pair(&[Habit::NoCache]), &folder, "", &BRIEF);
    outcome.assert_code(1);
    let differs = matrix(&outcome);
    assert_eq!(
        (&differs["outcome"], rows(&differs, "differs")),
        (&"differs".into(), vec!["cache-replay"])
    );
    assert_eq!(rows(&differs, "same").len(), all - 1);
    let said = format!("both apps behave alike in {} of {all} rows; differ: cache-replay", all - 1);
    assert_eq!(differs["reason"], said);
}

#[test]
fn a_difference_that_is_accepted_is_none_of_which_anybody_must_know() {
    let folder = Folder::new();
    let accept = "[parity]\naccept = [\"cache-replay: our clients fetch their state\"]\n";
    let outcome = compare(&pair(&[Habit::NoCache]), &folder, accept, &["--only", "cache"]);
    outcome.assert_code(0);
    assert!(outcome.stdout.contains("accepted\n  cache-replay"), "{outcome}");
    assert!(outcome.stdout.contains("our clients fetch their state"), "{outcome}");
    assert!(
        outcome.stdout.ends_with(
            "SAME  both apps behave alike in 1 of 2 rows; wanted to differ: cache-replay\n"
        ),
        "{outcome}"
    );
}

#[test]
fn probes_can_be_chosen_and_left_out() {
    let (folder, clusters) = (Folder::new(), pair(&[]));
    let outcome =
        compare(&clusters, &folder, "", &[&JSON[..], &["--only", "cache,publication"]].concat());
    outcome.assert_code(0);
    let chosen = matrix(&outcome);
    let left_out = chosen["left_out"].as_array().unwrap();
    assert_eq!(left_out.len(), Probe::ALL.len() - 2, "{chosen}");
    let skipped = [&JSON[..], &["--skip", "cache", "--skip", "presence"]].concat();
    let parity = "[parity]\nprobes = [\"cache\", \"publication\"]\n";
    let outcome = compare(&clusters, &folder, parity, &skipped);
    assert_eq!(
        rows(&matrix(&outcome), "same"),
        ["sender-exclusion", "several-channels", "publication-info"]
    );
    let nothing = compare(&clusters, &folder, "", &["--only", "cache", "--skip", "cache"]);
    nothing.assert_code(2);
    assert_eq!(nothing.sentence(), "--skip leaves nothing to try; name less there");
    let unknown = compare(&clusters, &folder, "", &["--only", "weather"]);
    unknown.assert_code(2);
    assert!(unknown.stderr.contains("no such probe; use one of kinds, data"), "{unknown}");
}

#[test]
fn a_cluster_that_goes_away_in_between_leaves_the_rest_untested() {
    let (outcome, matrix) = compare_with_a_door(5, false);
    outcome.assert_code(3);
    assert_eq!(matrix["outcome"], "not-tested");
    assert_eq!(rows(&matrix, "differs"), [""; 0]);
    // What the API alone tells was still to be had.
    assert!(rows(&matrix, "same").contains(&"timestamp-window"), "{matrix}");
    let untested = rows(&matrix, "not-tested");
    assert!(untested.contains(&"cache-replay") && untested.contains(&"key-unknown"), "{matrix}");
    for row in matrix["rows"].as_array().unwrap() {
        if row["likeness"] == "not-tested" {
            let why = row["readings"]["new"]["not_tested"].as_str().unwrap();
            assert!(why.starts_with("cluster unreachable: "), "{row}");
        }
    }
}

#[test]
fn a_cluster_that_dies_with_its_api_leaves_what_was_found_and_no_more() {
    let (outcome, matrix) = compare_with_a_door(40, true);
    outcome.assert_code(3);
    assert_eq!(rows(&matrix, "differs"), [""; 0]);
    let (same, untested) = (rows(&matrix, "same"), rows(&matrix, "not-tested"));
    assert!(same.len() > 3 && untested.len() > 20, "{matrix}");
    for row in matrix["rows"].as_array().unwrap() {
        if row["likeness"] == "not-tested" {
            let why = row["readings"]["new"]["not_tested"].as_str().unwrap();
            assert!(why.starts_with("cluster unreachable: "), "{row}");
        }
    }
}

/// Two apps are compared, of which new is there for so many connections alone, with its API or
/// without.
fn compare_with_a_door(many: usize, has_api: bool) -> (Outcome, Value) {
    let (folder, clusters) = (Folder::new(), pair(&[]));
    let mut endpoint = clusters.pair.endpoint(ClusterRole::New);
    let target = endpoint.ws_url.strip_prefix("ws://").unwrap().to_owned();
    let door = Door::for_so_many(target, many);
    endpoint.ws_url = format!("ws://{}", door.address());
    if has_api {
        endpoint.http_url = format!("http://{}", door.address());
    }
    let text = clusters.scenario(&[]);
    let text = text.replace(&clusters.sections[1], &section(ClusterRole::New, &endpoint, None));
    folder.write("scenario.toml", &text);
    let args = ["parity", "scenario.toml"].into_iter().chain(BRIEF);
    let outcome = canary(args).envs(clusters.variables()).within(folder.path()).run();
    let matrix = matrix(&outcome);
    (outcome, matrix)
}

#[test]
fn what_keeps_it_from_starting_is_said_in_one_sentence() {
    let (folder, clusters) = (Folder::new(), pair(&[]));
    let text = clusters.scenario(&[]);
    folder.write("scenario.toml", &text);
    let wrong = [("PC_OLD_SECRET", "wrong"), ("PC_NEW_SECRET", "wrong")];
    let outcome = canary(["parity", "scenario.toml"]).envs(wrong).within(folder.path()).run();
    outcome.assert_code(2);
    assert!(outcome.sentence().contains("belong together and to this cluster"), "{outcome}");
    let budget =
        format!("{text}[budget]\nmessages_max = 600\n").replace("rate = 160.0", "rate = 16.0");
    folder.write("scenario.toml", &budget);
    let outcome =
        canary(["parity", "scenario.toml"]).envs(clusters.variables()).within(folder.path()).run();
    outcome.assert_code(2);
    assert!(outcome.sentence().contains("leave probes out or raise the budget"), "{outcome}");
    let one = text.replace(&clusters.sections[0], "").replace("dual-publish", "steady");
    folder.write("scenario.toml", &one);
    let outcome =
        canary(["parity", "scenario.toml"]).envs(clusters.variables()).within(folder.path()).run();
    outcome.assert_code(2);
    assert_eq!(
        outcome.sentence(),
        "parity compares two apps, and the scenario has one; add the other cluster"
    );
}

#[test]
fn what_is_not_as_it_was_is_drift() {
    let folder = Folder::new();
    let before = [&["-q", "--report-json", "then.json"], &["--only", "cache"][..]].concat();
    compare(&pair(&[Habit::NoCache]), &folder, "", &before).assert_code(1);
    let now = [&JSON[..], &["--only", "cache", "--baseline", "then.json"]].concat();
    let outcome = compare(&pair(&[]), &folder, "", &now);
    outcome.assert_code(1);
    let drifted = matrix(&outcome);
    assert_eq!(rows(&drifted, "same").len(), 2);
    assert_eq!(
        drifted["drift"],
        json!([{
            "baseline": "then.json",
            "row": "cache-replay",
            "cluster": "new",
            "then": { "value": "nothing (it says so)" },
            "now": { "value": "the last event" },
        }])
    );
    let accept = "[parity]\naccept = [\"cache-replay: it was turned on\"]\n";
    compare(&pair(&[]), &folder, accept, &now).assert_code(0);
    let foreign = compare(&pair(&[]), &folder, "", &["--baseline", "scenario.toml"]);
    foreign.assert_code(2);
    assert!(foreign.sentence().ends_with("name what parity --report-json wrote"), "{foreign}");
}

#[test]
fn every_form_says_the_same() {
    let folder = Folder::new();
    let forms = [
        "--report-html",
        "m.html",
        "--report-junit",
        "m.xml",
        "--report-markdown",
        "m.md",
        "--only",
        "cache",
    ];
    let outcome = compare(&pair(&[Habit::NoCache]), &folder, "", &forms);
    outcome.assert_code(1);
    let advice = "clients must fetch the last state themselves, or the server must cache";
    for text in
        [&outcome.stdout, &folder.read("m.html"), &folder.read("m.xml"), &folder.read("m.md")]
    {
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for said in ["DIFFERS", "cache-replay", "cache-miss", "the last event", advice] {
            assert!(flat.contains(said), "{said} is missing in\n{text}");
        }
    }
    let xml = folder.read("m.xml");
    assert!(xml.contains("tests=\"3\" failures=\"2\" errors=\"0\""), "{xml}");
}
