//! A scenario's settings as they are shown: every default filled in, and no secret.

use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::file::{Cluster, Scenario};
use super::status_page::StatusPage;

/// Settings that tell one scenario from another: runs that differ in others may be judged together.
const IDENTITY: [&str; 10] = [
    "scenario.name",
    "scenario.phase",
    "clusters",
    "gate",
    "canary.channels",
    "canary.routes",
    "canary.witnesses",
    "canary.payload_bytes",
    "canary.deadline",
    "canary.horizon",
];
/// Those of them that older versions did not know: they tell scenarios apart where they are given.
const IDENTITY_LATER: [&str; 15] = [
    "parity.probes",
    "parity.accept",
    "handover.ways",
    "handover.channels",
    "handover.overlap",
    "load.connections",
    "load.ramp",
    "sample.prefixes",
    "sample.channels",
    "sample.id_pointer",
    "sample.window",
    "status_page.old.url",
    "status_page.old.components",
    "status_page.new.url",
    "status_page.new.components",
];

/// The settings of a scenario, with what the command line changed.
pub(super) fn of(scenario: &Scenario, duration: Duration, rate: f64, seed: u64) -> Value {
    let mut canary = value(&scenario.canary);
    if let Some(canary) = canary.as_object_mut() {
        canary.insert("rate".to_owned(), json!(rate));
    }
    let clusters = if scenario.clusters_are_embedded {
        json!("embedded")
    } else {
        let clusters = scenario.clusters.iter();
        Value::Object(clusters.map(|(r, c)| (r.as_str().to_owned(), cluster(c))).collect())
    };
    let mut gate = value(&scenario.limits);
    if let Some(gate) = gate.as_object_mut() {
        // It is no key of a scenario.
        gate.remove("tainted_ratio_max");
        // Nor does it tell apart scenarios that drain nothing.
        if scenario.phase.publishes() {
            gate.remove("drained_for");
            gate.remove("unseen");
        }
        if scenario.sampling.is_none() {
            gate.remove("mirror_ratio_max");
        }
        if scenario.handover.is_none() {
            gate.remove("handover_missed_max");
        }
        if scenario.load.is_none() {
            gate.remove("load_connected_min");
            gate.remove("load_delivered_min");
        }
    }
    let mut settings = json!({
        "scenario": {
            "name": scenario.name,
            "phase": scenario.phase,
            "duration": humantime::format_duration(duration).to_string(),
            "seed": seed,
        },
        "clusters": clusters,
        "canary": canary,
        "gate": gate,
        "instrument": value(&scenario.instrument),
        "budget": value(&scenario.budget),
    });
    if !scenario.phase.publishes()
        && let Some(settings) = settings.as_object_mut()
    {
        let refresh = humantime::format_duration(scenario.refresh).to_string();
        settings.insert("drain".to_owned(), json!({"refresh": refresh}));
    }
    if let (Some(sampling), Some(settings)) = (&scenario.sampling, settings.as_object_mut()) {
        settings.insert("sample".to_owned(), value(sampling));
    }
    if let (Some(handover), Some(settings)) = (&scenario.handover, settings.as_object_mut()) {
        settings.insert("handover".to_owned(), value(handover));
    }
    if let (Some(load), Some(settings)) = (&scenario.load, settings.as_object_mut()) {
        settings.insert("load".to_owned(), value(load));
    }
    if let (Some(webhooks), Some(settings)) = (&scenario.webhooks, settings.as_object_mut()) {
        settings.insert("webhooks".to_owned(), value(webhooks));
    }
    if let (Some(parity), Some(settings)) = (&scenario.parity, settings.as_object_mut()) {
        settings.insert("parity".to_owned(), value(parity));
    }
    if let (false, Some(settings)) = (scenario.status_pages.is_empty(), settings.as_object_mut()) {
        let pages = scenario.status_pages.iter();
        let pages = pages.map(|(role, page)| (role.as_str().to_owned(), status_page(page)));
        settings.insert("status_page".to_owned(), Value::Object(pages.collect()));
    }
    settings
}

/// What all settings here are made of can be written as JSON.
fn value(settings: &impl serde::Serialize) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

fn status_page(page: &StatusPage) -> Value {
    let mut shown = json!({
        "url": page.address(),
        "components": page.components,
        "refresh": humantime::format_duration(page.refresh).to_string(),
    });
    if let (Some(shown), Some(_)) = (shown.as_object_mut(), &page.ca_pem) {
        shown.insert("tls.ca_file".to_owned(), json!("given"));
    }
    shown
}

fn cluster(cluster: &Cluster) -> Value {
    let mut shown = Map::new();
    let mut show = |key: &str, value: String| shown.insert(key.to_owned(), Value::String(value));
    show("ws_url", cluster.ws_url.to_string());
    show("http_url", cluster.http_url.to_string());
    show("app_id", cluster.app_id.to_string());
    show("key", cluster.key.to_string());
    if cluster.ca_pem.is_some() {
        show("tls.ca_file", "given".to_owned());
    }
    for (key, endpoint) in [
        ("auth_endpoint", &cluster.auth_endpoint),
        ("user_auth_endpoint", &cluster.user_auth_endpoint),
    ] {
        let Some(endpoint) = endpoint else { continue };
        show(&format!("{key}.url"), endpoint.url.to_string());
        for (name, channel) in [("channel", &endpoint.channel), ("forbidden", &endpoint.forbidden)]
        {
            if let Some(channel) = channel {
                show(&format!("{key}.{name}"), channel.to_string());
            }
        }
    }
    Value::Object(shown)
}

/// A short text that is the same for runs of one scenario, whatever their length, rate and seed.
pub fn digest(settings: &Value) -> String {
    let mut identity = Sha256::new();
    let find = |path: &str| path.split('.').try_fold(settings, |value, key| value.get(key));
    for path in IDENTITY {
        // Keys of an object are in order: the same settings are the same text.
        identity.update(format!("{path}={}\n", find(path).unwrap_or(&Value::Null)));
    }
    for path in IDENTITY_LATER {
        if let Some(found) = find(path) {
            identity.update(format!("{path}={found}\n"));
        }
    }
    let mut digest = hex::encode(identity.finalize());
    digest.truncate(16);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_page_tells_scenarios_apart_and_none_changes_nothing() {
        let without = json!({"scenario": {"name": "a"}});
        let with = |url: &str, refresh: &str| {
            let page = json!({"url": url, "components": [], "refresh": refresh});
            json!({"scenario": {"name": "a"}, "status_page": {"new": page}})
        };
        // As versions reckoned it that did not know of pages.
        assert_eq!(digest(&without), "ff0d516f179aedfa");
        assert_ne!(digest(&with("https://a", "60s")), digest(&without));
        assert_ne!(digest(&with("https://a", "60s")), digest(&with("https://b", "60s")));
        assert_eq!(digest(&with("https://a", "60s")), digest(&with("https://a", "10s")));
    }
}
