//! How apps are reached: TLS, addresses, origins, and who signs for their clients.

use std::fs;

use pusher_canary::model::ClusterRole;
use pusher_canary::model::habit::{Habit, HabitOf};
use pusher_canary::rehearsal::{Endpoint, PairConfig};
use pusher_canary::verify::parity::Row;
use serde_json::{Value, json};

use crate::util::{Clusters, Folder, Outcome, canary, section};

/// Each habit of transport with the row that it makes differ.
pub const HABITS: [(Habit, Row); 6] = [
    (Habit::Tls13, Row::TlsVersions),
    (Habit::BriefCertificate, Row::CertificateExpiry),
    (Habit::Ed25519, Row::CertificateKey),
    (Habit::PlainToo, Row::PlainWebSocket),
    (Habit::ForcesTls, Row::PlainWebSocket),
    (Habit::OwnOrigins, Row::Origin),
];

const ORIGINS: &str =
    "[parity]\norigins = [\"https://app.example.com\", \"https://evil.example\"]\n";
const TRANSPORT: &str = "transport,addresses,origins";

/// A pair with TLS of which new has these habits.
fn pair(habits: &[Habit], folder: &Folder) -> Clusters {
    let habits = habits.iter().map(|habit| HabitOf(ClusterRole::New, *habit)).collect();
    Clusters::with(PairConfig { habits, ..PairConfig::default() }, Some(folder))
}

/// Compares by these probes; the matrix comes back as well.
fn compare(clusters: &Clusters, folder: &Folder, text: &str, only: &str) -> (Outcome, Value) {
    folder.write("scenario.toml", text);
    let args = ["parity", "scenario.toml", "-q", "--report-json", "-", "--only", only];
    let outcome = canary(args).envs(clusters.variables()).within(folder.path()).run();
    let matrix =
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    (outcome, matrix)
}

fn row<'a>(matrix: &'a Value, name: &str) -> &'a Value {
    let mut rows = matrix["rows"].as_array().unwrap().iter();
    rows.find(|row| row["row"] == name).unwrap()
}

/// What was found of old and new, where it is a text.
fn values<'a>(matrix: &'a Value, name: &str) -> [&'a str; 2] {
    let readings = &row(matrix, name)["readings"];
    ["old", "new"].map(|role| readings[role]["value"].as_str().unwrap_or("?"))
}

/// The rows that are not the same.
fn differing(matrix: &Value) -> Vec<&str> {
    let rows = matrix["rows"].as_array().unwrap().iter();
    rows.filter(|row| row["likeness"] != "same").map(|row| row["row"].as_str().unwrap()).collect()
}

#[test]
fn apps_that_are_reached_alike_are_the_same() {
    let folder = Folder::new();
    let clusters = pair(&[], &folder);
    let text = format!("{}{ORIGINS}", clusters.scenario(&[]));
    let (outcome, matrix) = compare(&clusters, &folder, &text, TRANSPORT);
    outcome.assert_code(0);
    assert_eq!(differing(&matrix), [""; 0], "{matrix}");
    for (name, said) in [
        ("tls-versions", "TLS 1.2 and 1.3"),
        ("certificate-trust", "tls.ca_file alone"),
        ("certificate-key", "elliptic curve"),
        ("plain-websocket", "no WebSocket"),
        ("ipv4", "reached"),
        ("ipv6", "no address"),
        ("origin", "https://app.example.com: taken; https://evil.example: taken"),
    ] {
        assert_eq!(values(&matrix, name), [said; 2], "{name}");
    }
    let left = &row(&matrix, "certificate-expiry")["readings"]["new"]["days"];
    assert!(left.as_i64().unwrap() > 365, "{left}");
}

#[test]
fn apps_that_are_reached_otherwise_differ_in_that_row_alone() {
    for (habit, row) in HABITS {
        let folder = Folder::new();
        let clusters = pair(&[habit], &folder);
        let text = format!("{}{ORIGINS}", clusters.scenario(&[]));
        let (outcome, matrix) = compare(&clusters, &folder, &text, TRANSPORT);
        outcome.assert_code(1);
        assert_eq!(differing(&matrix), [row.as_str()], "{habit:?}: {matrix}");
        let said = match habit {
            Habit::Tls13 => "TLS 1.3",
            Habit::Ed25519 => "Ed25519",
            Habit::PlainToo => "taken",
            Habit::ForcesTls => "pusher:error 4000, closed with 4000",
            Habit::OwnOrigins => {
                "https://app.example.com: taken; https://evil.example: pusher:error 4009, closed \
                 with 4009"
            }
            _ => continue,
        };
        assert_eq!(values(&matrix, row.as_str())[1], said, "{habit:?}");
    }
}

#[test]
fn a_certificate_that_this_system_trusts_is_told_from_one_that_a_file_vouches_for() {
    let folder = Folder::new();
    let (trusted, other) = (pair(&[], &folder), pair(&[], &Folder::new()));
    fs::rename(folder.file("ca.pem"), folder.file("trusted.pem")).unwrap();
    folder.write("other.pem", other.pair.ca_pem());
    let sections = |role, clusters: &Clusters, ca_file| {
        section(role, &clusters.pair.endpoint(role), Some(ca_file))
    };
    let text = trusted.scenario(&[]);
    let text = text
        .replace(&trusted.sections[0], &sections(ClusterRole::Old, &trusted, "trusted.pem"))
        .replace(&trusted.sections[1], &sections(ClusterRole::New, &other, "other.pem"));
    folder.write("scenario.toml", &text);
    let args = ["parity", "scenario.toml", "-q", "--report-json", "-", "--only", "transport"];
    let [old, new] = [trusted.variables()[0], other.variables()[1]];
    let roots = folder.file("trusted.pem");
    let run = canary(args).envs([old, new]).env("SSL_CERT_FILE", roots.to_str().unwrap());
    let outcome = run.within(folder.path()).run();
    outcome.assert_code(1);
    let matrix: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(differing(&matrix), ["certificate-trust"]);
    let said = ["a root of this system", "tls.ca_file alone"];
    assert_eq!(values(&matrix, "certificate-trust"), said);
}

#[test]
fn an_app_at_another_kind_of_address_differs_in_both() {
    let folder = Folder::new();
    let habits = vec![HabitOf(ClusterRole::New, Habit::Ipv6)];
    let clusters = Clusters::with(PairConfig { habits, ..PairConfig::default() }, None);
    let mut new: Endpoint = clusters.pair.endpoint(ClusterRole::New);
    new.ws_url = new.ws_url.replace("127.0.0.1", "[::1]");
    let text = clusters.scenario(&[]);
    let text = text.replace(&clusters.sections[1], &section(ClusterRole::New, &new, None));
    let (outcome, matrix) = compare(&clusters, &folder, &text, "addresses");
    outcome.assert_code(1);
    assert_eq!(values(&matrix, "ipv4"), ["reached", "no address"]);
    assert_eq!(values(&matrix, "ipv6"), ["no address", "reached"]);
}

#[test]
fn a_name_of_which_one_address_leads_nowhere_is_reached_by_the_other_and_differs() {
    let folder = Folder::new();
    let habits = vec![HabitOf(ClusterRole::Old, Habit::Ipv6)];
    let clusters = Clusters::with(PairConfig { habits, ..PairConfig::default() }, None);
    let hosts = folder.write("hosts", "127.0.0.1 both.test\n::1 both.test\n");
    let text = clusters.scenario(&[]).replace("127.0.0.1", "both.test");
    let text = text.replace("app_id", "plaintext = true\napp_id");
    folder.write("scenario.toml", &text);
    let args = ["parity", "scenario.toml", "-q", "--report-json", "-", "--only", "addresses"];
    let canary = canary(args).envs(clusters.variables()).within(folder.path());
    let outcome = canary.resolving(&hosts).run();
    outcome.assert_code(1);
    let matrix: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(differing(&matrix), ["ipv6"], "{matrix}");
    assert_eq!(values(&matrix, "ipv4"), ["reached", "reached"]);
    assert_eq!(row(&matrix, "ipv6")["readings"]["old"], json!({ "value": "reached" }));
    assert!(row(&matrix, "ipv6")["readings"]["new"]["failed"].is_string(), "{matrix}");
}

/// A scenario whose application signs for both apps, for new in this manner.
fn with_endpoints(clusters: &Clusters, manner: &str) -> String {
    let mut text = clusters.scenario(&[]);
    for role in ClusterRole::ALL {
        let url = clusters.pair.endpoint(role).http_url;
        let manner = if role == ClusterRole::New { manner } else { "" };
        let endpoints = format!(
            "auth_endpoint.url = \"{url}/pusher/auth{manner}\"\n\
             auth_endpoint.channel = \"private-orders-1\"\n\
             auth_endpoint.forbidden = \"private-forbidden\"\n\
             user_auth_endpoint.url = \"{url}/pusher/user-auth\"\n"
        );
        let head = format!("[clusters.{}]\n", role.as_str());
        text = text.replace(&head, &format!("{head}{endpoints}"));
    }
    text
}

#[test]
fn what_the_application_signs_is_compared_where_it_signs() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    for (manner, differs, said) in [
        ("", None, "it signs for this app"),
        ("/wrong-key", Some("auth-endpoint"), "it signs with another app's key"),
        ("/wrong-secret", Some("auth-endpoint"), "it signs with another secret"),
        ("/members", Some("auth-endpoint"), "it answered HTTP 403"),
        ("/everybody", Some("auth-endpoint-forbidden"), "signed"),
    ] {
        let text = with_endpoints(&clusters, manner);
        let (outcome, matrix) = compare(&clusters, &folder, &text, "endpoints");
        outcome.assert_code(i32::from(differs.is_some()));
        assert_eq!(differing(&matrix), Vec::from_iter(differs), "{manner}: {matrix}");
        let new = &row(&matrix, differs.unwrap_or("auth-endpoint"))["readings"]["new"];
        let shown = new["value"].as_str().or(new["failed"].as_str());
        assert_eq!(shown, Some(said), "{manner}");
    }
    let text = with_endpoints(&clusters, "");
    let url = format!("{}/pusher/user-auth", clusters.pair.endpoint(ClusterRole::New).http_url);
    let text = text.replace(&url, &format!("{url}/wrong-secret"));
    let (outcome, matrix) = compare(&clusters, &folder, &text, "endpoints");
    outcome.assert_code(1);
    assert_eq!(differing(&matrix), ["user-auth-endpoint"], "{matrix}");
    // Where it signs for neither, it may be us whom it does not know.
    let text =
        with_endpoints(&clusters, "/members").replace("/pusher/auth\"", "/pusher/auth/members\"");
    let (outcome, matrix) = compare(&clusters, &folder, &text, "endpoints");
    outcome.assert_code(3);
    assert_eq!(differing(&matrix), ["auth-endpoint", "auth-endpoint-forbidden"]);
    // One that is broken says nothing of what it would sign.
    let text = with_endpoints(&clusters, "/error");
    let (outcome, matrix) = compare(&clusters, &folder, &text, "endpoints");
    outcome.assert_code(3);
    assert!(differing(&matrix).contains(&"auth-endpoint"), "{matrix}");
}

#[test]
fn what_needs_a_key_of_the_scenario_says_which() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    folder.write("scenario.toml", &clusters.scenario(&[]));
    for (probe, needed) in [("origins", "parity.origins"), ("endpoints", "auth_endpoint")] {
        let args = ["parity", "scenario.toml", "--only", probe];
        let outcome = canary(args).envs(clusters.variables()).within(folder.path()).run();
        outcome.assert_code(2);
        let said = format!("--only {probe} needs {needed} in the scenario; see docs/scenario.md");
        assert_eq!(outcome.sentence(), said);
    }
}
