//! The schemas, held to what is written and read: every report that these tests make, every scenario
//! of the project, and the reader itself, key by key. The validator is somebody else's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonschema::Validator;
use pusher_canary::scenario::file::{self, Clusters, Surroundings};
use pusher_canary::{report, scenario};
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use crate::util::canary;

static REPORT: LazyLock<Validator> = LazyLock::new(|| validator(&report::schema::report().into()));
static GATE: LazyLock<Validator> = LazyLock::new(|| validator(&report::schema::gate().into()));
static PARITY: LazyLock<Validator> = LazyLock::new(|| validator(&report::schema::parity().into()));
static BENCH: LazyLock<Validator> = LazyLock::new(|| validator(&report::schema::bench().into()));
static VERDICT: LazyLock<Validator> =
    LazyLock::new(|| validator(&report::schema::verdict().into()));
static SCENARIO: LazyLock<Validator> = LazyLock::new(|| validator(&scenario::schema::scenario()));

fn validator(schema: &Value) -> Validator {
    let options = jsonschema::draft202012::options();
    options.should_validate_formats(true).build(schema).expect("a sound schema")
}

fn errors(validator: &Validator, value: &Value) -> Vec<String> {
    let said = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path()));
    said.collect()
}

/// Whatever `--report-json` wrote keeps its schema.
#[track_caller]
pub fn assert_report(text: &str, is_of_gate: bool) {
    assert_keeps(if is_of_gate { &GATE } else { &REPORT }, text);
}

/// So does what `parity --report-json` wrote.
#[track_caller]
pub fn assert_matrix(text: &str) {
    assert_keeps(&PARITY, text);
}

/// So does what `bench --report-json` wrote.
#[track_caller]
pub fn assert_bench(text: &str) {
    assert_keeps(&BENCH, text);
}

/// So does what a watch serves at `/api/verdict`.
#[track_caller]
pub fn assert_verdict(text: &str) {
    assert_keeps(&VERDICT, text);
}

#[track_caller]
fn assert_keeps(schema: &Validator, text: &str) {
    let value: Value = serde_json::from_str(text).expect("a JSON report");
    let errors = errors(schema, &value);
    assert!(errors.is_empty(), "the report breaks its schema: {}", errors.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn what_is_printed_is_a_schema_by_the_standard_it_names() {
    for (name, schema) in [
        ("scenario", scenario::schema::scenario()),
        ("report", report::schema::report().into()),
        ("gate", report::schema::gate().into()),
        ("parity", report::schema::parity().into()),
        ("verdict", report::schema::verdict().into()),
    ] {
        let outcome = canary(["schema", name]).run();
        outcome.assert_code(0);
        let printed: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(printed, schema, "{name}");
        assert_eq!(printed["$schema"], "https://json-schema.org/draft/2020-12/schema");
        jsonschema::meta::validate(&printed).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

// Reports.

fn reports() -> Vec<Value> {
    let texts = files("tests/fixtures/reports").into_iter().map(|path| fs::read(path).unwrap());
    texts.map(|text| serde_json::from_slice(&text).unwrap()).collect()
}

#[test]
fn reports_of_earlier_versions_keep_the_schema() {
    for report in reports() {
        assert_eq!(errors(&REPORT, &report), [] as [&str; 0]);
    }
}

/// Where keys are names of things, each of which may be missing, or free.
const MAPS: [&str; 11] = [
    "/clusters",
    "/rehearsal",
    "/settings",
    "strata",
    "/http_responses",
    "_by_route",
    "_by_cause",
    "/by_cause",
    "_by_code",
    "/connect_steps_ms",
    "/unwatched",
];
/// Keys that a report may lack.
const OPTIONAL: [&str; 10] = [
    "/advice",
    "/rehearsal",
    "/unwatched",
    "/failed",
    "/channel",
    "/stream",
    "/seq",
    "/cause",
    "/detail",
    "/target",
];

/// The report with one key taken away, and with one value replaced, for each of them.
fn mutations(report: &Value, at: &str, found: &mut Vec<(String, Value)>) {
    let Some(value) = report.pointer(at) else { return };
    let replaced = |mutation: Value| {
        let mut report = report.clone();
        *report.pointer_mut(at).unwrap() = mutation;
        report
    };
    match value {
        Value::Object(keys) => {
            for key in keys.keys() {
                let path = format!("{at}/{}", key.replace('/', "~1"));
                let is_optional = OPTIONAL.iter().any(|end| path.ends_with(end))
                    || path.contains("/checks/") && key == "cluster";
                if !MAPS.iter().any(|map| at.ends_with(map)) && !is_optional {
                    let mut fewer = keys.clone();
                    fewer.remove(key);
                    found.push((format!("without {path}"), replaced(fewer.into())));
                }
                mutations(report, &path, found);
            }
        }
        Value::Array(items) => {
            // Items have one form: the first and the last are enough.
            for at_item in [0, items.len().saturating_sub(1)] {
                mutations(report, &format!("{at}/{at_item}"), found);
            }
            found.push((format!("{at} = {{}}"), replaced(json!({}))));
        }
        _ => found.push((format!("{at} = [false]"), replaced(json!([false])))),
    }
}

#[test]
fn a_report_without_a_key_or_with_a_wrong_value_breaks_the_schema() {
    let is_free = |what: &str| what.contains("/settings/");
    for report in reports() {
        let mut mutated = Vec::new();
        mutations(&report, "", &mut mutated);
        mutated.retain(|(what, _)| !is_free(what));
        assert!(mutated.len() > 500, "{} mutations", mutated.len());
        for (what, report) in &mutated {
            assert!(!REPORT.is_valid(report), "the schema allows a report {what}");
        }
    }
}

#[test]
fn texts_of_a_report_have_their_form() {
    let report = reports().swap_remove(0);
    for (at, wrong) in [
        ("/schema", json!(2)),
        ("/run", json!("01a20437")),
        ("/phase", json!("cut-over")),
        ("/verdict", json!("go")),
        ("/started_at", json!("yesterday")),
        ("/ended_at", json!("")),
        ("/gate/latency_slack", json!("5")),
        ("/clusters/new/latency_ms/histogram", json!("not base64")),
        ("/clusters/new/trials", json!(-1)),
    ] {
        let mut mutated = report.clone();
        *mutated.pointer_mut(at).unwrap() = wrong.clone();
        assert!(!REPORT.is_valid(&mutated), "{at} = {wrong}");
    }
    // A run in which nothing was published has no beginning; a later version may add keys.
    let mut fine = report;
    fine["started_at"] = json!("");
    fine["clusters"]["new"]["a_later_key"] = json!(1);
    assert_eq!(errors(&REPORT, &fine), [] as [&str; 0]);
}

// Scenarios.

/// TOML as JSON, as an editor hands it to a validator.
fn from_toml(text: &str) -> Option<Value> {
    fn value(toml: &DeValue<'_>) -> Value {
        let plain = |number: &str| number.replace('_', "");
        match toml {
            DeValue::String(text) => json!(text),
            DeValue::Integer(number) => plain(number.as_str()).parse::<i64>().unwrap().into(),
            DeValue::Float(number) => plain(number.as_str()).parse::<f64>().unwrap().into(),
            DeValue::Boolean(flag) => json!(flag),
            DeValue::Datetime(time) => json!(time.to_string()),
            DeValue::Array(items) => items.iter().map(|item| value(item.get_ref())).collect(),
            DeValue::Table(keys) => table(keys),
        }
    }
    fn table(keys: &DeTable<'_>) -> Value {
        let entry = |(key, toml): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            (AsRef::<str>::as_ref(key.get_ref()).to_owned(), value(toml.get_ref()))
        };
        Value::Object(keys.iter().map(entry).collect())
    }
    DeTable::parse(text).ok().map(|keys| table(keys.get_ref()))
}

/// Mistakes that are none of form, and why a schema cannot see them.
const UNSEEN: [(&str, &str); 14] = [
    ("channel-limits", "a limit that depends on other keys"),
    ("client-rate", "a limit that depends on other keys"),
    ("client-route", "a route that needs certain kinds of channels"),
    ("drained-for", "a duration against another"),
    ("horizon", "a duration against another"),
    ("load-of-client-events", "a section that depends on other keys"),
    ("load-of-presence", "a section that depends on other keys"),
    ("missing-clusters", "a rehearsal needs none"),
    ("plaintext", "a URL that depends on another key"),
    ("recycle-alone", "a duration that depends on other keys"),
    ("same-app", "two keys against two others"),
    ("secret-as-file", "a file that is not there"),
    ("secret-file-empty", "a file without content"),
    ("webhooks-at-any-port", "a port that a rehearsal may leave open"),
];

#[test]
fn every_sound_scenario_keeps_the_schema_and_every_mistake_of_form_breaks_it() {
    let fixtures = files("tests/fixtures/scenarios");
    let mut unseen: BTreeMap<&'static str, &'static str> = UNSEEN.into();
    for path in fixtures.into_iter().chain(files("scenarios")) {
        let shown = path.display();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let name = name.as_str();
        let Some(value) = from_toml(&fs::read_to_string(&path).unwrap()) else {
            let is_none = ["invalid-syntax", "invalid-syntax-secret", "invalid-key-twice"];
            assert!(is_none.contains(&name), "{shown} is no TOML");
            continue;
        };
        let errors = errors(&SCENARIO, &value);
        let mistake =
            name.strip_prefix("invalid-").filter(|name| unseen.remove::<str>(name).is_none());
        assert_eq!(errors.is_empty(), mistake.is_none(), "{shown}: {}", errors.join("\n"));
    }
    assert!(unseen.is_empty(), "no fixture of {unseen:?}");
}

/// A sound scenario, key by key. Any key is tried in place of what stands here.
const SOUND: [(&str, &str); 15] = [
    ("clusters.old.cluster", "\"mt1\""),
    ("clusters.old.app_id", "\"1\""),
    ("clusters.old.key", "\"old-key\""),
    ("clusters.old.secret", "\"s\""),
    ("clusters.new.ws_url", "\"wss://ws.example.com\""),
    ("clusters.new.http_url", "\"https://api.example.com\""),
    ("clusters.new.app_id", "\"2\""),
    ("clusters.new.key", "\"new-key\""),
    ("clusters.new.secret_file", "\"a file\""),
    ("clusters.new.auth_endpoint.url", "\"https://app.example.com/pusher/auth\""),
    ("clusters.new.auth_endpoint.channel", "\"private-orders-1\""),
    ("clusters.new.user_auth_endpoint.url", "\"https://app.example.com/pusher/user-auth\""),
    ("sample.prefixes", "[\"private-\"]"),
    ("handover.fleet.clients", "1000"),
    ("webhooks.listen", "\"127.0.0.1:9185\""),
];

/// What each key is given, beside its own bounds and words.
const VALUES: [&str; 68] = [
    "true",
    "false",
    "0",
    "1",
    "-1",
    "3",
    "0x10",
    "1_000",
    "0.5",
    "2.5",
    "1e12",
    "-0.5",
    "\"\"",
    "\"x\"",
    "\"a b\"",
    "\"two\\nlines\"",
    "\"é\"",
    "\"$\"",
    "\"a$b$$\"",
    "\"${open\"",
    "\"${}\"",
    "\"${V}\"",
    "\"$${V}\"",
    "\"${V}${\"",
    "\"0\"",
    "\"5\"",
    "\"5s\"",
    "\"250 ms\"",
    "\"1h 30m\"",
    "\"1h30min\"",
    "\"1.5s\"",
    "\"1.s\"",
    "\"-5ms\"",
    "\"5 parsecs\"",
    "\"90days\"",
    "\"off\"",
    "\"mt1\"",
    "\"ws-mt1.pusher.com\"",
    "\"wss://h\"",
    "\"ws://h:6001/p/q\"",
    "\"https://h\"",
    "\"http://[::1]:80\"",
    "\"https://\"",
    "\"https://h?q\"",
    "\"wss://u@h\"",
    "\"wss://u:p@h/\"",
    "\"http\"",
    "[]",
    "[\"trigger\"]",
    "[\"trigger\", \"trigger\"]",
    "[\"websocket\"]",
    "[1]",
    "[\"new:drop=0.1\", \"old:close@4100\", \"old:delay=1e-3@800ms\"]",
    "[\"drop\"]",
    "[\"both:drop=1\"]",
    "[\"\"]",
    "[\"private-a;b\"]",
    "[\"a:b\"]",
    "\"/order/~0id~1\"",
    "\"/a~2\"",
    "\"private-a;b\"",
    "\"presence-a b\"",
    "[\"X-Token: a b\", \"X-Empty:\"]",
    "[\"name=value\", \"x=\"]",
    "\"127.0.0.1:0\"",
    "\"[::1]:9185\"",
    "\"/hooks/a?b\"",
    "{ no_key_is_called_so = 1 }",
];

/// What the reader may refuse where the schema does not: what depends on other keys, on a variable's
/// value, on the length of a duration or on a number's type in TOML.
const BEYOND: [&str; 26] = [
    "leads to another machine without TLS",
    "port 0 is whichever is free",
    "must be longer than",
    "must be at least",
    "must be at most",
    "must be \"off\" with one witness",
    "must name at least one channel",
    "client needs at least one private",
    "must be between 1s and 7days",
    "must be between 50ms and 10m",
    "must be between 100ms and 1h",
    "must be between 1s and 1day",
    "must be between 1s and 1h",
    "must be between 1s and 30days",
    "must be between 0s and 7days",
    "must be between 10s and 1h",
    "must be between 1s and 10m",
    "must be between 2s and 1m",
    "must be a whole number, not a float",
    "both [clusters.old] and [clusters.new] must be given",
    "[clusters.new] must be given",
    "names the same app",
    "both apps have one key",
    "names \"origins\", which needs",
    "names \"endpoints\", which needs",
    "names \"webhooks\", which needs",
];

/// Where one variable is set, and every file is there.
struct Somewhere;

impl Surroundings for Somewhere {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "V").then(|| "v".to_owned())
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Ok("content".to_owned())
    }
}

/// Every key of the schema with its form, sections included.
fn keys(form: &Value, at: &str, found: &mut Vec<(String, Value)>) {
    for (key, form) in form["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        keys(form, &path, found);
        found.push((path, form.clone()));
    }
}

/// Values at the edge of what a form allows.
fn edges(form: &Value) -> Vec<String> {
    let mut edges = Vec::new();
    for bound in [&form["minimum"], &form["maximum"]] {
        match (bound.as_u64(), bound.as_f64()) {
            (Some(bound), _) => {
                edges.extend([bound.wrapping_sub(1), bound, bound + 1].map(|n| n.to_string()));
            }
            (None, Some(bound)) => {
                let step = bound * 1e-6;
                edges.extend([bound - step, bound, bound + step].map(|n| format!("{n:?}")));
            }
            _ => {}
        }
    }
    let words = form.pointer("/anyOf/0/enum").or_else(|| form.pointer("/items/enum"));
    for word in words.and_then(Value::as_array).into_iter().flatten() {
        edges.extend([format!("{word}"), format!("[{word}]")]);
    }
    edges.retain(|edge| edge != &u64::MAX.to_string());
    edges
}

/// The sound scenario with one key given so, and nothing that excludes it.
fn with_key(key: &str, value: &str) -> String {
    let excluded = |other: &str| {
        let sibling = |name: &str| key.rsplit_once('.').map(|(table, _)| format!("{table}.{name}"));
        let is = |name: &str| sibling(name).as_deref() == Some(other);
        match key.rsplit('.').next().unwrap() {
            "secret" => is("secret_file"),
            "secret_file" => is("secret"),
            "cluster" => is("ws_url") || is("http_url"),
            "ws_url" | "http_url" => is("cluster"),
            _ => false,
        }
    };
    let below = |other: &str| other == key || other.starts_with(&format!("{key}."));
    let kept = SOUND.iter().filter(|(other, _)| !below(other) && !excluded(other));
    let mut lines: Vec<_> = kept.map(|(key, value)| format!("{key} = {value}")).collect();
    let other_url = match key {
        "clusters.old.ws_url" => "clusters.old.http_url = \"https://h\"",
        "clusters.old.http_url" => "clusters.old.ws_url = \"wss://h\"",
        _ => "",
    };
    lines.extend([other_url.to_owned(), format!("{key} = {value}")]);
    lines.join("\n")
}

#[test]
fn the_schema_allows_of_each_key_what_the_reader_takes() {
    let mut all = Vec::new();
    keys(&scenario::schema::scenario(), "", &mut all);
    assert!(all.len() > 60, "{} keys", all.len());
    let mut taken = 0;
    for (key, form) in &all {
        for value in VALUES.map(str::to_owned).into_iter().chain(edges(form)) {
            let source = with_key(key, &value);
            let read = file::read("", &source, Clusters::Read, &Somewhere);
            let errors = errors(&SCENARIO, &from_toml(&source).unwrap());
            taken += u32::from(read.is_ok());
            match read {
                Ok(_) => assert_eq!(errors, [] as [&str; 0], "the reader takes\n{source}"),
                Err(problems) if errors.is_empty() => {
                    let is_beyond = |message: &str| {
                        value.contains("${V}") || BEYOND.iter().any(|m| message.starts_with(m))
                    };
                    let seen = problems.list.iter().find(|p| !is_beyond(&p.message));
                    assert!(seen.is_none(), "the schema takes {key} = {value}, but {seen:?}");
                }
                Err(_) => {}
            }
        }
        // What is not known is neither read nor allowed.
        if form["type"] == "object" {
            let source = with_key(&format!("{key}.no_key_is_called_so"), "1");
            assert!(file::read("", &source, Clusters::Read, &Somewhere).is_err());
            assert!(!SCENARIO.is_valid(&from_toml(&source).unwrap()), "{source}");
        }
    }
    assert!(taken > 500, "only {taken} values were taken");
}

#[test]
fn each_phase_needs_its_clusters() {
    let sound: Vec<_> = SOUND.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let form = scenario::schema::scenario();
    let phases = form.pointer("/properties/scenario/properties/phase/anyOf/0/enum").unwrap();
    for phase in phases.as_array().unwrap() {
        for gone in ["none", "clusters.old", "clusters.new"] {
            let kept = sound.iter().filter(|line| !line.starts_with(gone)).cloned();
            let lines: Vec<_> = kept.chain([format!("scenario.phase = {phase}")]).collect();
            let source = lines.join("\n");
            let read = file::read("", &source, Clusters::Read, &Somewhere);
            let is_valid = SCENARIO.is_valid(&from_toml(&source).unwrap());
            assert_eq!(is_valid, read.is_ok(), "{phase} without {gone}");
        }
    }
}

#[test]
fn every_key_and_every_section_is_described() {
    let mut all = Vec::new();
    keys(&scenario::schema::scenario(), "", &mut all);
    for (key, form) in all {
        match form["properties"].as_object() {
            Some(keys) => assert!(!keys.is_empty(), "[{key}] has no keys"),
            None => assert!(form["description"].is_string(), "docs/scenario.md lacks {key}"),
        }
    }
}
