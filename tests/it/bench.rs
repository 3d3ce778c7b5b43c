//! `bench`: that it measures, and says so in the documented form. What it measures is no test's.

use serde_json::Value;

use crate::util::{Folder, canary, canary_with_files};

#[test]
fn every_figure_is_measured_and_is_part_of_the_documented_form() {
    let folder = Folder::new();
    let path = folder.file("bench.json");
    let outcome = canary(["bench", "--brief", "--report-json", path.to_str().unwrap()]).run();
    outcome.assert_code(0);
    let text = folder.read("bench.json");
    let found: Value = serde_json::from_str(&text).unwrap();
    for figure in [
        "/ratio_to_raw",
        "/ratio_to_borrowed",
        "/ratio_to_owned",
        "/verified_per_second",
        "/raw_per_second",
        "/added_latency_ms/p99",
        "/added_latency_busy_ms/p99",
        "/bytes_per_connection/ws",
        "/bytes_per_connection/wss",
        "/connections_per_second/ws",
        "/connections_per_second/wss",
        "/publish_per_second/trigger",
        "/publish_per_second/batch",
        "/machine/memory_bytes",
    ] {
        let value = found.pointer(figure).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{figure}: {found:#}");
    }
    assert_eq!(found["brief"], true);
    for said in [
        "these figures are of no use",
        "verified deliveries",
        "memory of each",
        "by trigger",
        "limit on open files",
    ] {
        assert!(outcome.stdout.contains(said), "{said}: {outcome}");
    }
}

#[test]
fn too_few_open_files_are_said_before_anything_is_measured() {
    let outcome = canary_with_files(200, ["bench", "--brief"]).run();
    outcome.assert_code(2);
    let said = "bench: it takes a limit of 214 open files and this process has one of 200; raise it \
                (ulimit -n 214)";
    assert_eq!(outcome.sentence(), said);
}
