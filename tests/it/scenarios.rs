//! Scenarios as files: each mistake with the exact text that a user reads, and every scenario that
//! comes with the project at work.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::faults::moved;
use crate::util::{Canary, Clusters, Folder, Outcome, Report, canary, rehearse, scenario, turn};

/// What must never be read anywhere: every secret in the fixtures and in their variables.
const SECRETS: [&str; 2] = ["hunter2", "76543210"];

/// Fixture → what is said about it, line by line.
const INVALID: &[(&str, &[&str])] = &[
    (
        "invalid-unknown-key.toml",
        &[
            "5: canary.payload_byte: is not a known key; did you mean payload_bytes?",
            "7: canary.witneses: is not a known key; did you mean witnesses?",
            "8: canary.colour: is not a known key; known here: channels, channels_per_connection, \
             client_rate, connect_rate, deadline, horizon, open_requests_max, payload_bytes, rate, \
             recycle, routes, slow_down, witnesses",
        ],
    ),
    (
        "invalid-unknown-section.toml",
        &[
            "4: cannary: is not a known key; did you mean canary?",
            "7: surprises: is not a known key; known here: budget, canary, clusters, drain, \
             gate, handover, instrument, load, parity, rehearsal, sample, scenario, status_page, \
             webhooks",
        ],
    ),
    (
        "invalid-section-type.toml",
        &["1: canary: must be a table, not an integer", "2: gate: must be a table, not a string"],
    ),
    (
        "invalid-types.toml",
        &[
            "2: scenario.name: must be a string, not an integer",
            "3: scenario.duration: must be a duration, not an integer; write it as \"5s\", \
             \"250ms\" or \"15m\"",
            "6: canary.channels: must be a table, not an integer",
            "7: canary.rate: must be a number, not a string",
            "8: canary.payload_bytes: must be a whole number, not a float",
            "9: canary.witnesses: must be a whole number, not a boolean",
            "10: canary.routes: must be a list of strings",
            "11: canary.recycle: must be a duration, not an integer; write it as \"5s\", \
             \"250ms\" or \"15m\"",
            "12: canary.slow_down: must be true or false, not a string",
            "15: gate.duplicates_max: must be a whole number of 0 or more",
            "16: gate.confidence: must be a number, not an array",
            "19: rehearsal.faults: must be a list of strings",
        ],
    ),
    (
        "invalid-durations.toml",
        &[
            "2: scenario.duration: \"ten minutes\" is no duration; write \"5s\", \"250ms\" or \
             \"15m\"",
            "5: canary.deadline: \"5\" is no duration; write \"5s\", \"250ms\" or \"15m\"",
            "6: canary.horizon: \"\" is no duration; write \"5s\", \"250ms\" or \"15m\"",
            "7: canary.recycle: \"never\" is no duration; write \"5s\", \"250ms\" or \"15m\"",
            "10: gate.latency_slack: \"-5ms\" is no duration; write \"5s\", \"250ms\" or \"15m\"",
        ],
    ),
    (
        "invalid-ranges.toml",
        &[
            "2: scenario.duration: must be between 1s and 7days",
            "5: canary.rate: must be between 0.01 and 100000",
            "6: canary.client_rate: must be between 0.01 and 1000",
            "7: canary.payload_bytes: must be a whole number between 192 and 10240",
            "8: canary.witnesses: must be a whole number between 1 and 10000",
            "9: canary.deadline: must be between 50ms and 10m",
            "10: canary.horizon: must be between 100ms and 1h",
            "11: canary.recycle: must be between 1s and 1day",
            "14: gate.loss_rate_max: must be between 0.000000001 and 0.5",
            "15: gate.confidence: must be between 0.5 and 0.999999",
            "16: gate.late_ratio_max: must be between 0 and 1",
            "19: budget.messages_max: must be a whole number of 1 or more",
        ],
    ),
    (
        "invalid-urls.toml",
        &[
            "2: clusters.old.ws_url: must be a URL such as wss://host or ws://host:6001",
            "3: clusters.old.http_url: must be a URL such as https://host or http://host:6001",
            "9: clusters.new.ws_url: must be a URL such as wss://host or ws://host:6001",
            "10: clusters.new.http_url: must be a URL such as https://host or http://host:6001",
        ],
    ),
    (
        "invalid-plaintext.toml",
        &[
            "2: clusters.old.ws_url: leads to another machine without TLS; use wss://, or set \
             plaintext = true",
            "3: clusters.old.http_url: leads to another machine without TLS; use https://, or set \
             plaintext = true",
        ],
    ),
    (
        "invalid-hosted-name.toml",
        &[
            "2: clusters.old.cluster: must be a cluster's name, such as \"mt1\" or \"eu\"",
            "8: clusters.new.cluster: must be a cluster's name, such as \"mt1\" or \"eu\"",
        ],
    ),
    (
        "invalid-hosted-and-urls.toml",
        &[
            "2: clusters.old.cluster: names a hosted cluster; drop it or the two URLs",
            "8: clusters.new.cluster: is missing; give cluster = \"mt1\", or both ws_url and \
             http_url",
        ],
    ),
    (
        "invalid-missing-variable.toml",
        &[
            "3: clusters.old.app_id: the environment variable PC_NOT_SET is not set; export it",
            "4: clusters.old.key: the environment variable PC_NOT_SET_EITHER is not set; export it",
            "5: clusters.old.secret: the environment variable PC_EMPTY is empty; give it a value",
            "10: clusters.new.key: ${ without its }; write ${NAME}",
        ],
    ),
    (
        "invalid-missing-identity.toml",
        &[
            "1: clusters.old.app_id: is missing; the app's settings page shows it",
            "1: clusters.old.key: is missing; the app's settings page shows it",
            "1: clusters.old.secret: is missing; give secret = \"${NAME}\", or secret_file",
            "4: clusters.new.cluster: is missing; give cluster = \"mt1\", or both ws_url and \
             http_url",
            "6: clusters.new.key: an app key must be 1 to 128 letters, digits, '-', '_' or '.'",
            "7: clusters.new.secret: is empty; give secret = \"${NAME}\", or secret_file",
        ],
    ),
    (
        "invalid-missing-clusters.toml",
        &["1: clusters: both [clusters.old] and [clusters.new] must be given; only steady runs \
           on one"],
    ),
    (
        "invalid-missing-cluster.toml",
        &["1: clusters: both [clusters.old] and [clusters.new] must be given; only steady runs \
           on one"],
    ),
    (
        "invalid-secrets.toml",
        &[
            "5: clusters.old.secret: is given twice; keep secret or secret_file",
            "12: clusters.new.secret_file: cannot be read: No such file or directory (os error 2)",
        ],
    ),
    (
        "invalid-secret-type.toml",
        &[
            "5: clusters.old.secret: must be a string, not an integer",
            "11: clusters.new.secret: must be a string, not an array",
            "12: clusters.new.encryption_master_key: must be 32 bytes in base64",
        ],
    ),
    (
        "invalid-secret-empty.toml",
        &["11: clusters.new.secret: is empty; give secret = \"${NAME}\", or secret_file"],
    ),
    (
        "invalid-secret-as-file.toml",
        &[
            "6: clusters.old.secret_file: cannot be read: No such file or directory (os error 2)",
            "12: clusters.new.secret_file: cannot be read: No such file or directory (os error 2)",
        ],
    ),
    ("invalid-secret-file-empty.toml", &["11: clusters.new.secret_file: names an empty file"]),
    (
        "invalid-auth-endpoint.toml",
        &[
            "11: clusters.old.auth_endpoint.url: must be a URL such as https://host or \
             http://host:6001",
            "12: clusters.old.auth_endpoint.body: \"xml\" is no form of a body; use form or json",
            "13: clusters.old.auth_endpoint.headers: number 1 must be of the form \"Name: value\"",
            "13: clusters.old.auth_endpoint.headers: number 2 must be of the form \"Name: value\"",
            "14: clusters.old.auth_endpoint.bearer: is given twice; keep bearer or bearer_file",
            "15: clusters.old.auth_endpoint.bearer_file: cannot be read: No such file or directory \
             (os error 2)",
            "16: clusters.old.auth_endpoint.params: number 1 must be of the form \"name=value\"",
            "17: clusters.old.auth_endpoint.channel: must be the name of a channel that needs a \
             signature: \"private-…\"",
            "18: clusters.old.auth_endpoint.colour: is not a known key; known here: bearer, \
             bearer_file, body, channel, cookie, cookie_file, forbidden, headers, params, tls, url",
            "26: clusters.new.auth_endpoint.channel: is missing; name a channel that it lets whoever \
             asks subscribe to: \"private-orders-1\"",
            "29: clusters.new.user_auth_endpoint.url: is missing; give its address: \
             \"https://app.example.com/pusher/auth\"",
            "30: clusters.new.user_auth_endpoint.channel: is not a known key; known here: bearer, \
             bearer_file, body, cookie, cookie_file, headers, params, tls, url",
        ],
    ),
    (
        "invalid-handover.toml",
        &[
            "5: handover.ways: \"teleport\" is no way to move; use reload, switch, overlap",
            "6: handover.clients: must be at most 97 where channels are presence channels",
            "7: handover.channels: must be a whole number between 1 and 1000",
            "8: handover.begin: \"soon\" is no duration; write \"5s\", \"250ms\" or \"15m\"",
            "9: handover.ramp: \"steep\" is no ramp; use one of at-once, linear, steps",
            "10: handover.over: must be a duration, not an integer; write it as \"5s\", \"250ms\" \
             or \"15m\"",
            "11: handover.overlap: must be between 100ms and 1h",
            "12: handover.steps: must be a whole number between 1 and 1000",
            "13: handover.colour: is not a known key; known here: begin, channels, clients, fleet, \
             over, overlap, ramp, steps, ways",
            "15: handover.fleet.clients: is missing; say how many real clients will move",
            "19: gate.handover_missed_max: must be between 0 and 1000000000",
        ],
    ),
    (
        "invalid-handover-in-a-preflight.toml",
        &["4: handover: clients move while events go to both clusters: dual-publish or cutover \
           alone; remove [handover]"],
    ),
    (
        "invalid-load.toml",
        &[
            "2: load.connections: must be a whole number between 1 and 20000",
            "3: load.ramp: \"steep\" is no duration; write \"5s\", \"250ms\" or \"15m\"",
            "4: load.colour: is not a known key; known here: connections, ramp",
            "7: gate.load_connected_min: must be between 0 and 1",
            "8: gate.load_delivered_min: must be a number, not a string",
        ],
    ),
    (
        "invalid-load-in-a-drain.toml",
        &["4: load: simulated clients need events over a time: dual-publish, cutover or steady \
           alone; remove [load]"],
    ),
    (
        "invalid-load-of-presence.toml",
        &["4: load: its clients subscribe to any channel but presence channels, and \
           canary.channels has no other; add one, or remove [load]"],
    ),
    (
        "invalid-load-of-client-events.toml",
        &["5: load: its clients hear what is published over HTTP; add trigger or batch to \
           canary.routes, or remove [load]"],
    ),
    (
        "invalid-parity.toml",
        &[
            "2: parity.probes: \"weather\" is no probe; use kinds, data, sizes, batches, names, refusals, clock, heartbeat, heartbeats, idle, presence, presence-silent, members, member-limit, cache, client-events, publication, counts, users, transport, addresses, origins, endpoints, webhooks",
            "3: parity.accept: \"cache-mis: wanted\" names no row; did you mean cache-miss?",
            "3: parity.accept: \"cache-miss\" gives no reason in one line; write \"cache-miss: why\"",
            "3: parity.accept: \"cache-miss: \" gives no reason in one line; write \"cache-miss: why\"",
            "3: parity.accept: \"temperature: hot\" names no row; docs/parity.md lists them",
            "4: parity.colour: is not a known key; known here: accept, origins, probes",
            "7: rehearsal.habits: \"new:shout\": is no habit; docs/parity.md lists them",
            "7: rehearsal.habits: \"echo\": write CLUSTER:HABIT: new:no-cache",
        ],
    ),
    (
        "invalid-parity-in-a-drain.toml",
        &["4: parity: two apps are compared where a run is on both: preflight, dual-publish \
           or cutover alone; remove [parity]"],
    ),
    (
        "invalid-webhooks.toml",
        &[
            "2: webhooks.listen: \"everywhere\" is no IP address with a port; write \"127.0.0.1:9185\"",
            "3: webhooks.path: must be a path such as \"/webhooks\"",
            "4: webhooks.colour: is not a known key; known here: listen, lost_after, path, path_new, path_old, redact_channels, refresh, tls",
        ],
    ),
    (
        "invalid-webhooks-at-any-port.toml",
        &[
            "2: webhooks.listen: port 0 is whichever is free, and no app could be told of it; name a \
             port",
        ],
    ),
    (
        "invalid-sample.toml",
        &[
            "5: sample.prefixes: \"a:b\": a channel name has only letters, digits and _ - = @ , . ;",
            "6: sample.channels: must be a whole number between 1 and 1000",
            "7: sample.refresh: must be between 1s and 1h",
            "8: sample.id_pointer: must be a JSON pointer to the event's id, such as \"/id\" or \
             \"/order/id\"",
            "9: sample.window: must be between 2s and 1m",
            "10: sample.requests_per_second: must be between 0.1 and 1000",
            "11: sample.redact_channels: must be true or false, not a string",
            "12: sample.colour: is not a known key; known here: channels, id_pointer, \
             join_presence, prefixes, redact_channels, refresh, requests_per_second, window",
            "15: rehearsal.application.channels: must be a whole number between 1 and 10000",
            "16: rehearsal.application.skips: must be between 0 and 1",
        ],
    ),
    (
        "invalid-sample-in-a-drain.toml",
        &[
            "4: sample: a drain must not subscribe to the application's channels on old; \
             remove [sample]",
            "4: sample.prefixes: is missing; name what the channels begin with: \
             [\"private-orders-\"], or [\"\"] for all of them",
        ],
    ),
    (
        "invalid-status-page.toml",
        &[
            "12: status_page.both: is not a known key; did you mean old?",
            "14: status_page.old: is of a cluster that is missing: there is no [clusters.old]",
            "15: status_page.old.url: must be a URL such as https://host or http://host:6001",
            "17: status_page.new.url: is missing; give the page's address: \
             \"https://status.pusher.com\"",
            "18: status_page.new.components: must name at least one; leave it out to watch all of \
             the page",
            "19: status_page.new.refresh: must be between 10s and 1h",
            "20: status_page.new.colour: is not a known key; known here: components, refresh, tls, \
             url",
            "21: status_page.new.tls.ca_file: cannot read absent.pem: No such file or directory \
             (os error 2)",
        ],
    ),
    ("invalid-horizon.toml", &["6: canary.horizon: must be longer than the deadline"]),
    (
        "invalid-client-route.toml",
        &["3: canary.routes: client needs at least one private or presence channel"],
    ),
    (
        "invalid-client-rate.toml",
        &["5: canary.client_rate: must be at most 10, which is 5 for each of the 2 channels that \
           carry client events; a cluster allows a connection 10 per second"],
    ),
    (
        "invalid-channels.toml",
        &[
            "2: canary.channels: must name at least one channel, such as { public = 1 }",
            "2: canary.channels.secret: is not a known key; known here: cache, encrypted, \
             encrypted_cache, presence, presence_cache, private, private_cache, public",
            "3: canary.routes: must name at least one of trigger, batch, client",
        ],
    ),
    (
        "invalid-channel-limits.toml",
        &[
            "3: canary.witnesses: must be at most 99 where channels are presence channels",
            "4: canary.payload_bytes: must be at most 7500 where channels are encrypted",
        ],
    ),
    (
        "invalid-phase-and-route.toml",
        &[
            "2: scenario.phase: \"cut-over\" is no phase; use one of preflight, dual-publish, \
             cutover, drain, steady",
            "5: canary.routes: \"websocket\" is no route; use trigger, batch, client",
        ],
    ),
    (
        "invalid-drained-for.toml",
        &["8: gate.drained_for: must be at least 2m, which is four times drain.refresh"],
    ),
    (
        "invalid-drain.toml",
        &[
            "5: drain.refresh: must be between 1s and 1h",
            "6: drain.interval: is not a known key; known here: mirror_age_max, \
             mirror_report, refresh",
            "9: gate.drained_for: must be between 1s and 7days",
            "9: gate.drained_for: must be at least 8h, which is four times drain.refresh",
        ],
    ),
    (
        "invalid-faults.toml",
        &[
            "2: rehearsal.faults: \"new:lose=1\": `lose` is no kind of fault: it is drop, \
             duplicate, delay, reorder, corrupt, refuse, lose-answer, error-after, lose-webhook, \
             close or silent",
            "2: rehearsal.faults: \"drop\": `drop` is no fault: write CLUSTER:KIND=PROBABILITY, \
             such as new:drop=0.01",
            "2: rehearsal.faults: the delivery faults of new have probabilities of 1.4 in all: at \
             most 1",
        ],
    ),
    (
        "invalid-several.toml",
        &[
            "3: scenario.phase: \"cutovr\" is no phase; use one of preflight, dual-publish, \
             cutover, drain, steady",
            "4: scenario.duratoin: is not a known key; did you mean duration?",
            "11: clusters.old.tls.ca_fil: is not a known key; did you mean ca_file?",
            "18: clusters.new.secret_file: cannot be read: No such file or directory (os error 2)",
            "19: clusters.new.tls.ca_file: cannot read absent.pem: No such file or directory (os \
             error 2)",
            "21: canary.horizon: must be longer than the deadline",
            "22: canary.rate: must be a number, not a string",
            "25: alerts: is not a known key; known here: budget, canary, clusters, drain, \
             gate, handover, instrument, load, parity, rehearsal, sample, scenario, status_page, \
             webhooks",
        ],
    ),
    (
        "invalid-recycle.toml",
        &[
            "2: scenario.name: must be one line of readable characters: it heads the report",
            "6: canary.recycle: must be at least 50s with this deadline and 2 witnesses: what \
             falls beside a reconnect cannot be seen to be lost",
        ],
    ),
    (
        "invalid-recycle-alone.toml",
        &["3: canary.recycle: must be \"off\" with one witness: nobody sees in its stead"],
    ),
    (
        "invalid-same-app.toml",
        &["8: clusters.new: names the same app as [clusters.old]; a migration needs two"],
    ),
    ("invalid-syntax.toml", &["8: string values must be quoted, expected literal string"]),
    ("invalid-syntax-secret.toml", &["3: invalid basic string, expected `\"`"]),
    ("invalid-key-twice.toml", &["3: duplicate key", "17: duplicate key"]),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scenarios")
}

fn about(args: &[&str]) -> Outcome {
    let canary: Canary = canary(args.iter()).within(&fixtures());
    let canary = canary.env("PC_OLD_SECRET", "old-hunter2").env("PC_NEW_SECRET", "new-hunter2");
    canary.env("PC_EMPTY", "").run()
}

#[track_caller]
fn assert_no_secret(outcome: &Outcome) {
    for secret in SECRETS {
        let said = outcome.stdout.contains(secret) || outcome.stderr.contains(secret);
        assert!(!said, "{secret} is printed");
    }
}

#[test]
fn each_mistake_is_told_with_its_line_its_key_and_what_to_do() {
    for (fixture, lines) in INVALID {
        for args in [&["check", fixture][..], &["run", fixture]] {
            let outcome = about(args);
            assert_no_secret(&outcome);
            let things = match lines.len() {
                1 => "one thing".to_owned(),
                count => format!("{count} things"),
            };
            let said: String = lines.iter().map(|line| format!("{fixture}:{line}\n")).collect();
            let expected = format!("pusher-canary: {things} to change in the scenario\n{said}");
            assert_eq!(outcome.stderr, expected, "{fixture}");
            assert_eq!(outcome.stdout, "");
            outcome.assert_code(2);
        }
    }
}

#[test]
fn every_invalid_fixture_is_held_to_its_text() {
    let names = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let invalid: BTreeSet<_> = names.filter(|name| name.starts_with("invalid-")).collect();
    let held: BTreeSet<_> = INVALID.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(invalid, held);
}

#[test]
fn a_sound_scenario_is_accepted_without_a_word() {
    let outcome = about(&["check", "valid.toml"]);
    outcome.assert_code(0);
    assert_eq!(outcome.stderr, "");
    assert!(outcome.stdout.contains("wss://ws-mt1.pusher.com and https://api-mt1.pusher.com"));
    assert!(outcome.stdout.contains("wss://ws.example.com and https://api.example.com"));
    assert_no_secret(&outcome);
}

#[test]
fn a_secret_that_is_written_out_is_accepted_and_warned_of() {
    let outcome = about(&["check", "warned-literal-secret.toml"]);
    outcome.assert_code(0);
    let warning = "pusher-canary: warning: warned-literal-secret.toml: clusters.old.secret is \
                   written out in the scenario; use \"${NAME}\" or secret_file\n";
    assert_eq!(outcome.stderr, warning);
    assert_no_secret(&outcome);
}

#[test]
fn a_secret_file_that_everybody_can_read_or_change_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let scenario = fs::read_to_string(fixtures().join("valid.toml")).unwrap();
    let secret = scenario.lines().find(|line| line.starts_with("secret = ")).unwrap();
    folder.write("scenario.toml", &scenario.replacen(secret, "secret_file = \"secret\"", 1));
    let file = folder.write("secret", "file-hunter2\n");
    for (mode, is_open) in [(0o600, false), (0o440, false), (0o604, true), (0o602, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let canary = canary(["check", "scenario.toml"]).within(folder.path());
        let canary = canary.env("PC_OLD_SECRET", "old-hunter2").env("PC_NEW_SECRET", "new-hunter2");
        let outcome = canary.run();
        let warning = "secret_file can be read or changed by every user of this machine";
        assert_eq!(outcome.stderr.contains(warning), is_open, "{mode:o}: {outcome}");
        assert!(!outcome.stderr.contains("file-hunter2") && !outcome.stdout.contains("hunter2"));
        outcome.assert_code(0);
    }
}

#[test]
fn a_difference_that_is_wanted_and_not_looked_for_is_warned_of() {
    let outcome = about(&["check", "warned-parity.toml"]);
    outcome.assert_code(0);
    let warning = "pusher-canary: warning: warned-parity.toml: parity.accept names presence-silent, \
                   which nothing here tries; add \"presence-silent\" to parity.probes, or remove it\n";
    assert_eq!(outcome.stderr, warning);
}

// The project's own scenarios.

/// What moved that must not. At a high rate, on a busy machine, requests of a stream overlap: that
/// their events have no order is no anomaly, by the model's own words.
fn anomalies(report: &Report, cluster: &str) -> BTreeMap<&'static str, u64> {
    let mut figures = moved(report, cluster);
    figures.remove("unordered");
    figures
}

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(!files.is_empty());
    files
}

/// The names in `${NAME}`.
fn variables(text: &str) -> BTreeSet<&str> {
    text.split("${").skip(1).map(|rest| rest.split('}').next().unwrap()).collect()
}

/// Clusters for a scenario that is meant to be rehearsed and names none.
const ANY_CLUSTERS: &str = r#"
[clusters]
old = { cluster = "mt1", app_id = "1", key = "k", secret = "${PC_SECRET}" }
new = { cluster = "eu", app_id = "2", key = "k", secret = "${PC_SECRET}" }
"#;

#[test]
fn every_scenario_of_the_project_is_accepted() {
    for path in shipped() {
        let mut text = fs::read_to_string(&path).unwrap();
        if !text.contains("[clusters") {
            text.push_str(ANY_CLUSTERS);
        }
        let folder = Folder::new();
        let name = path.file_name().unwrap().to_str().unwrap();
        folder.write(name, &text);
        let mut canary = canary(["check", name]).within(folder.path());
        for variable in variables(&text) {
            let value = match variable {
                v if v.ends_with("WS_URL") => "wss://127.0.0.1:1",
                v if v.ends_with("HTTP_URL") => "https://127.0.0.1:1",
                v if v.starts_with("NEW") => "2",
                _ => "1",
            };
            canary = canary.env(variable, value);
        }
        let outcome = canary.run();
        outcome.assert_code(0);
        assert_eq!(outcome.stderr, "");
    }
}

#[test]
fn every_scenario_of_the_project_can_be_rehearsed_without_its_variables() {
    for shipped in shipped() {
        // As they are but for their patience: nobody waits half a minute for loopback.
        let text = fs::read_to_string(&shipped).unwrap();
        let own = |line: &&str| !line.starts_with("deadline") && !line.starts_with("horizon");
        let text = text.lines().filter(own).collect::<Vec<_>>().join("\n");
        let patience = "[canary]\ndeadline = \"1s\"\nhorizon = \"3s\"";
        let text = match text.contains("[canary]") {
            true => text.replacen("[canary]", patience, 1),
            false => format!("{text}\n{patience}\n"),
        };
        let folder = Folder::new();
        let path = folder.write(shipped.file_name().unwrap().to_str().unwrap(), &text);
        let _turn = turn();
        let outcome = rehearse(&path, 1, &["--duration", "2s"]).run();
        assert!(matches!(outcome.code(), Some(0 | 3)));
        let report = outcome.judged();
        let drains = report.0["phase"] == "drain";
        for cluster in ["old", "new"] {
            assert_eq!(anomalies(&report, cluster), [].into(), "figures of {cluster} moved");
            let moved = if drains { "occupancy.readings" } else { "publications.accepted" };
            assert!(report.figure(cluster, moved) > 0);
        }
        assert_eq!(report.0["events"]["uncovered"], 0);
    }
}

#[test]
fn a_rehearsal_without_a_scenario_runs_the_built_in_one() {
    let folder = Folder::new();
    let _turn = turn();
    let args = ["rehearse", "--duration", "1s", "--report-json", "-", "--seed", "3"];
    let outcome = canary(args).within(folder.path()).run();
    let report = outcome.judged();
    outcome.assert_code(3);
    assert_eq!(report.0["scenario"], "rehearsal");
    assert_eq!(report.0["seed"], 3);
    for cluster in ["old", "new"] {
        assert_eq!(anomalies(&report, cluster), [].into(), "figures of {cluster} moved");
    }
    assert_eq!(folder.names(), [] as [&str; 0], "something was written into the current folder");
}

#[test]
fn what_the_built_in_rehearsal_drops_is_lost_to_the_unit_and_nothing_is_written_anywhere() {
    let folder = Folder::new();
    let _turn = turn();
    let args = ["rehearse", "--fault", "new:drop=0.02", "--report-json", "-", "--seed", "3"];
    let home = folder.path().to_str().unwrap();
    let mut canary = canary(args).within(folder.path());
    canary = canary.env("HOME", home).env("TMPDIR", home);
    for kind in ["CACHE", "CONFIG", "DATA", "STATE"] {
        canary = canary.env(&format!("XDG_{kind}_HOME"), home);
    }
    let outcome = canary.run();
    let report = outcome.judged();
    outcome.assert_code(1);
    assert!(report.done("new", "dropped") > 100);
    assert_eq!(report.figure("new", "obligations.lost"), report.done("new", "dropped"));
    assert_eq!(anomalies(&report, "old"), [].into());
    assert_eq!(folder.names(), [] as [&str; 0], "something was written");
}

#[test]
fn one_cluster_alone_is_judged_by_itself() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let text = clusters.scenario(&[("phase", "\"steady\"")]).replace(&clusters.sections[0], "");
    let path = folder.write("scenario.toml", &text);
    let args = ["run", path.to_str().unwrap(), "--report-json", "-"];
    let _turn = turn();
    let outcome = canary(args).envs(clusters.variables()).run();
    let report = outcome.judged();
    outcome.assert_code(0);
    let roles: Vec<_> = report.0["clusters"].as_object().unwrap().keys().collect();
    assert_eq!(roles, ["new"]);
    assert_eq!(anomalies(&report, "new"), [].into());
    assert!(!outcome.stderr.contains("old"), "there is no old cluster");
    assert!(outcome.stderr.contains("GO  new: 0 of 400 publications lost"));
}

#[test]
fn a_preflight_proves_nothing_but_what_it_shows_to_be_broken_is_no_go() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[("phase", "\"preflight\"")]));
    for (fault, broken) in
        [("new:drop=0.3", "loss"), ("new:refuse=0.5", "publish"), ("new:duplicate=1", "duplicates")]
    {
        let _turn = turn();
        let outcome = rehearse(&path, 1, &["--fault", fault]).run();
        let report = outcome.judged();
        assert_eq!(report.status(broken, "new"), "fail", "{fault}");
        assert_eq!(report.verdict(), "NO-GO", "{fault}");
    }
}

#[test]
fn a_rehearsal_asks_nothing_of_the_clusters_section() {
    let folder = Folder::new();
    let clusters = fs::read_to_string(fixtures().join("invalid-missing-variable.toml")).unwrap();
    let path = folder.write("scenario.toml", &(scenario(&[]) + &clusters));
    let _turn = turn();
    let outcome = rehearse(&path, 1, &["--duration", "1s"]).run();
    outcome.assert_code(3);
    assert_eq!(anomalies(&outcome.judged(), "new"), [].into());
}
