//! `[clusters]` of a scenario: where they are, and what proves that we may use them.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::json;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::model::{AppId, AppKey, ClusterRole, MasterKey, Secret};
use crate::verify::checks::Phase;

use super::Problem;
use super::endpoint::{self, Endpoint};
use super::reader::{Given, Section};

/// What [`AppId`] and [`AppKey`] take.
const TOKEN: &str = "^[A-Za-z0-9._-]{1,128}$";
/// 32 bytes in base64: the last digit but the padding holds four bits of them.
const MASTER_KEY: &str = r"^\s*[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\s*$";

/// One cluster, as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Where WebSockets connect; `ws` or `wss`, with a path prefix where the server has one.
    pub ws_url: Url,
    /// Where the HTTP API is; `http` or `https`.
    pub http_url: Url,
    /// The app's id.
    pub app_id: AppId,
    /// The app's key.
    pub key: AppKey,
    /// The app's secret.
    pub secret: Secret,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_pem: Option<String>,
    /// The key of encrypted channels; the run makes one of its own where it is missing.
    pub master_key: Option<MasterKey>,
    /// Where the application signs subscriptions.
    pub auth_endpoint: Option<Endpoint>,
    /// Where it signs users in.
    pub user_auth_endpoint: Option<Endpoint>,
}

/// How many clusters a phase needs.
const fn clusters_needed(phase: Phase) -> usize {
    match phase {
        Phase::Steady => 1,
        Phase::Preflight | Phase::DualPublish | Phase::Cutover | Phase::Drain => 2,
    }
}

/// States how many clusters must be given, where any are: a rehearsal needs none.
fn describe_clusters(section: &Section<'_>) {
    let Some(forms) = section.context.forms() else { return };
    let both = Phase::ALL.into_iter().filter(|phase| clusters_needed(*phase) == 2);
    let both: Vec<_> = both.map(Phase::as_str).collect();
    forms.set("clusters", "minProperties", json!(1));
    forms.set(
        "",
        "if",
        json!({ "properties": {
            "scenario": { "properties": { "phase": { "enum": both } } },
        }}),
    );
    let both = ClusterRole::ALL.map(ClusterRole::as_str);
    forms.set("", "then", json!({ "properties": { "clusters": { "required": both } } }));
}

/// Reads `[clusters]`.
pub(super) fn read_clusters(
    section: &mut Section<'_>,
    phase: Phase,
    warnings: &mut Vec<Problem>,
) -> BTreeMap<ClusterRole, Cluster> {
    let mut clusters = BTreeMap::new();
    let mut written = 0;
    for (role, key) in [(ClusterRole::Old, "old"), (ClusterRole::New, "new")] {
        let mut table = section.section(key);
        if !table.is_present() {
            continue;
        }
        written += 1;
        if let Some(cluster) = read_cluster(&mut table, warnings) {
            clusters.insert(role, cluster);
        }
        table.finish();
    }
    if let (Some(old), Some(new)) =
        (clusters.get(&ClusterRole::Old), clusters.get(&ClusterRole::New))
        && old.key == new.key
        && old.http_url == new.http_url
    {
        let message = "names the same app as [clusters.old]; a migration needs two";
        section.problem("new", message);
    }
    describe_clusters(section);
    let needed = clusters_needed(phase);
    if written < needed {
        let message = if needed == 2 {
            "both [clusters.old] and [clusters.new] must be given; only steady runs on one"
        } else {
            "[clusters.new] must be given"
        };
        section.context.problem(section.span_of("clusters"), "clusters", message);
    }
    clusters
}

fn read_cluster(table: &mut Section<'_>, warnings: &mut Vec<Problem>) -> Option<Cluster> {
    let urls = read_urls(table);
    let app_id = identity(table, "app_id", AppId::new);
    let key = identity(table, "key", AppKey::new);
    let secret = read_secret(table, warnings);
    let master_key = read_master_key(table);
    let ca_pem = read_ca_file(table);
    let auth_endpoint = endpoint::read(table.section("auth_endpoint"), true, warnings);
    let user_auth_endpoint = endpoint::read(table.section("user_auth_endpoint"), false, warnings);
    let (ws_url, http_url) = urls?;
    Some(Cluster {
        ws_url,
        http_url,
        app_id: app_id?,
        key: key?,
        secret: secret?,
        ca_pem,
        master_key,
        auth_endpoint,
        user_auth_endpoint,
    })
}

/// The certificates of `tls.ca_file`.
pub(super) fn read_ca_file(table: &mut Section<'_>) -> Option<String> {
    let mut tls = table.section("tls");
    let ca_pem = tls.text("ca_file").and_then(|path| {
        let read = tls.context.surroundings.file(&path);
        read.map_err(|why| tls.problem("ca_file", format!("cannot read {path}: {why}"))).ok()
    });
    tls.finish();
    ca_pem
}

fn identity<T, E: std::fmt::Display>(
    table: &mut Section<'_>,
    key: &'static str,
    make: impl FnOnce(String) -> Result<T, E>,
) -> Option<T> {
    if !table.requires(key) {
        table.problem(key, "is missing; the app's settings page shows it");
    }
    let text = table.text_like(key, TOKEN, None)?;
    make(text).map_err(|error| table.problem(key, error.to_string())).ok()
}

/// Whether nobody in between can read along: TLS, or this machine.
pub(super) fn is_private(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    is_here || matches!(url.scheme(), "https" | "wss")
}

fn read_urls(table: &mut Section<'_>) -> Option<(Url, Url)> {
    let name = table.text_like("cluster", "^[A-Za-z0-9-]+$", None);
    let ws = url(table, "ws_url", ["ws", "wss"]);
    let http = url(table, "http_url", ["http", "https"]);
    let may_be_read = table.boolean("plaintext", false);
    for (key, tls, url) in [("ws_url", "wss://", &ws), ("http_url", "https://", &http)] {
        if !may_be_read && url.as_ref().is_some_and(|url| !is_private(url)) {
            let message =
                format!("leads to another machine without TLS; use {tls}, or set plaintext = true");
            table.problem(key, message);
        }
    }
    match table.alternative(&[&["cluster"], &["ws_url", "http_url"]]) {
        Given::Several => {
            table.problem("cluster", "names a hosted cluster; drop it or the two URLs");
            None
        }
        Given::One(0) => {
            let name = name?;
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if name.is_empty() || !name.chars().all(plain) {
                table.problem("cluster", "must be a cluster's name, such as \"mt1\" or \"eu\"");
                return None;
            }
            let ws = Url::parse(&format!("wss://ws-{name}.pusher.com")).ok()?;
            Some((ws, Url::parse(&format!("https://api-{name}.pusher.com")).ok()?))
        }
        Given::One(_) => Some((ws?, http?)),
        Given::Nothing => {
            let message = "is missing; give cluster = \"mt1\", or both ws_url and http_url";
            table.problem("cluster", message);
            None
        }
    }
}

pub(super) fn url(table: &mut Section<'_>, key: &'static str, schemes: [&str; 2]) -> Option<Url> {
    let [plain, tls] = schemes;
    // No name or password, and nothing behind the path.
    let form = format!(r"^({plain}|{tls})://[^\s/?#@\\]+(/[^\s?]*)?$");
    let text = table.text_like(key, &form, None)?;
    let parsed = Url::parse(&text).ok().filter(|url| {
        schemes.contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && url.query().is_none()
    });
    if parsed.is_none() {
        table.problem(key, format!("must be a URL such as {tls}://host or {plain}://host:6001"));
    }
    parsed
}

fn read_secret(table: &mut Section<'_>, warnings: &mut Vec<Problem>) -> Option<Secret> {
    let is_literal = table.is_literal("secret");
    let inline = table.text_like("secret", r"^[\s\S]", None);
    let file = table.text("secret_file");
    let given = table.alternative(&[&["secret"], &["secret_file"]]);
    if given == Given::Several {
        table.problem("secret", "is given twice; keep secret or secret_file");
        return None;
    }
    if let Some(path) = file {
        let secret = read_secret_file(table, "secret_file", &path, warnings);
        if secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
            table.problem("secret_file", "names an empty file");
        }
        return secret;
    }
    if given == Given::Nothing {
        table.problem("secret", "is missing; give secret = \"${NAME}\", or secret_file");
    }
    if is_literal {
        warnings.push(Problem {
            line: 0,
            key: table.key("secret"),
            message: "is written out in the scenario; use \"${NAME}\" or secret_file".to_owned(),
        });
    }
    if inline.as_deref() == Some("") {
        table.problem("secret", "is empty; give secret = \"${NAME}\", or secret_file");
        return None;
    }
    inline.map(Secret::new)
}

/// What a file holds that is nobody else's business, without the blanks around it.
pub(super) fn read_secret_file(
    table: &mut Section<'_>,
    key: &'static str,
    path: &str,
    warnings: &mut Vec<Problem>,
) -> Option<Secret> {
    let surroundings = table.context.surroundings;
    if surroundings.is_open_to_others(path) {
        let message = "can be read or changed by every user of this machine; chmod 600 it";
        let warning = Problem { line: 0, key: table.key(key), message: message.to_owned() };
        warnings.push(warning);
    }
    // The name is not quoted: it may be the secret itself, put into the wrong key.
    let text = surroundings.file(path).map(Zeroizing::new);
    let text = text.map_err(|why| table.problem(key, format!("cannot be read: {why}"))).ok()?;
    Some(Secret::new(text.trim()))
}

fn read_master_key(table: &mut Section<'_>) -> Option<MasterKey> {
    let text = table.text_like("encryption_master_key", MASTER_KEY, None)?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text.trim());
    let key = decoded.map(Zeroizing::new).ok();
    let key = key.and_then(|bytes| bytes.as_slice().try_into().ok());
    if key.is_none() {
        table.problem("encryption_master_key", "must be 32 bytes in base64");
    }
    key.map(MasterKey::new)
}
