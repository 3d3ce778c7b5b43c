//! `[webhooks]`: where the apps' webhooks arrive.

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::model::time::human;
use crate::model::{ClusterRole, Secret};

use super::file::{HOUR_MS, SECOND_MS, bounded};
use super::reader::{Given, Section};

/// An address and a port.
const ADDRESS: &str = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$";
/// The path of a URL.
const PATH: &str = "^/[!\"$->@-~]*$";

/// `[webhooks]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Webhooks {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The path that each app's are posted to.
    pub paths: BTreeMap<ClusterRole, String>,
    /// What proves who listens, where that is TLS.
    #[serde(serialize_with = "whether")]
    pub tls: Option<Identity>,
    /// From one reading of the API that they are held against to the next.
    #[serde(with = "human")]
    pub refresh: Duration,
    /// For how long both may say different things before a webhook counts as lost.
    #[serde(with = "human")]
    pub lost_after: Duration,
    /// Whether a digest is shown in place of a channel's name.
    pub redact_channels: bool,
}

/// A certificate with its key, both PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The certificate, and those between it and its root.
    pub chain: String,
    /// Its private key.
    pub key: Secret,
}

/// Of TLS it is told whether it is there.
fn whether<S: Serializer>(tls: &Option<Identity>, serializer: S) -> Result<S::Ok, S::Error> {
    tls.is_some().serialize(serializer)
}

impl Webhooks {
    /// Whether each app has a path of its own, which tells them apart.
    pub fn has_two_paths(&self) -> bool {
        self.paths.values().collect::<BTreeSet<_>>().len() > 1
    }
}

/// Reads the section, if it is there.
pub(super) fn read(section: &mut Section<'_>) -> Option<Webhooks> {
    if !section.is_present() {
        return None;
    }
    if !section.requires("listen") {
        let message = "is missing; say where webhooks arrive: \"127.0.0.1:9185\"";
        section.problem("listen", message);
    }
    let listen = section.text_like("listen", ADDRESS, None).and_then(|text| {
        let listen = text.parse();
        if listen.is_err() {
            let message =
                format!("{text:?} is no IP address with a port; write \"127.0.0.1:9185\"");
            section.problem("listen", message);
        }
        listen.ok()
    });
    let common = read_path(section, "path", "/webhooks");
    let old = read_path(section, "path_old", &common);
    let new = read_path(section, "path_new", &common);
    let tls = read_tls(section.section("tls"));
    let refresh = bounded(section, "refresh", "15s", SECOND_MS..HOUR_MS);
    let lost_after = bounded(section, "lost_after", "6m", SECOND_MS..HOUR_MS);
    Some(Webhooks {
        listen: listen.unwrap_or_else(nowhere),
        paths: BTreeMap::from([(ClusterRole::Old, old), (ClusterRole::New, new)]),
        tls,
        refresh,
        lost_after,
        redact_channels: section.boolean("redact_channels", false),
    })
}

fn read_path(section: &mut Section<'_>, key: &'static str, default: &str) -> String {
    let given = (key == "path").then_some(default);
    let Some(path) = section.text_like(key, PATH, given) else { return default.to_owned() };
    let is_path = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    if !path.starts_with('/') || !path.bytes().all(is_path) {
        section.problem(key, "must be a path such as \"/webhooks\"");
    }
    path
}

/// Certificate and key go together.
fn read_tls(mut tls: Section<'_>) -> Option<Identity> {
    let given = tls.alternative(&[&["cert_file", "key_file"]]);
    if tls.is_present() && given == Given::Nothing {
        tls.problem_as_a_whole("needs both cert_file and key_file");
    }
    let chain = read_file(&mut tls, "cert_file");
    let key = read_file(&mut tls, "key_file").map(Secret::new);
    tls.finish();
    Some(Identity { chain: chain?, key: key? })
}

fn read_file(tls: &mut Section<'_>, key: &'static str) -> Option<String> {
    let path = tls.text(key)?;
    let read = tls.context.surroundings.file(&path);
    read.map_err(|why| tls.problem(key, format!("cannot read {path}: {why}"))).ok()
}

/// Where nothing ever listens: the scenario has a problem.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}
