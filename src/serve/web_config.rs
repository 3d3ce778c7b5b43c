//! Who may read what is served, and how: the file format that Prometheus' exporters share
//! (exporter-toolkit, web configuration). What of it is not known here is an error: a restriction
//! that is not kept must not be taken for one that is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::ServerConfig;

use crate::model::Secret;
use crate::net::tls::{self, Clients, TlsError};

/// Credentials that are remembered, right ones and wrong ones: checking one takes tens of
/// milliseconds on purpose.
const REMEMBERED_MAX: usize = 100;
/// What is checked where there is no such user, so that it takes as long: bcrypt of nothing that
/// anybody knows.
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    tls_server_config: Option<WrittenTls>,
    http_server_config: WrittenHttp,
    basic_auth_users: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTls {
    cert_file: String,
    key_file: String,
    #[serde(default)]
    client_auth_type: ClientAuth,
    client_ca_file: Option<String>,
    #[serde(default)]
    min_version: MinVersion,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum ClientAuth {
    #[default]
    NoClientCert,
    RequireAndVerifyClientCert,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum MinVersion {
    #[default]
    TLS12,
    TLS13,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenHttp {
    /// There is HTTP/1.1 alone, whatever is written.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: BTreeMap<String, String>,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {
    /// It is no YAML of this form.
    #[error("{0}")]
    Form(String),
    /// A file that it names cannot be read.
    #[error("cannot read {0}: {1}")]
    File(String, String),
    /// A certificate or key is of no use.
    #[error("tls_server_config: {0}")]
    Tls(#[from] TlsError),
    /// Clients are to show certificates, and nobody vouches for them.
    #[error("tls_server_config: client_auth_type needs client_ca_file, and the other way round")]
    ClientCa,
    /// What stands beside a user is no hash.
    #[error(
        "basic_auth_users: what stands beside {0} is no bcrypt hash; make one by htpasswd -nBC 10"
    )]
    Hash(String),
    /// A header cannot be sent.
    #[error("http_server_config: {0} cannot be a header, or its value cannot")]
    Header(String),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// TLS; `None`: without.
    pub tls: Option<Arc<ServerConfig>>,
    /// Headers of each answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who may read, each with the bcrypt hash of a password; none: anybody.
    users: BTreeMap<String, String>,
    /// Digests of credentials that were checked, and what came out.
    checked: Mutex<HashMap<[u8; 32], bool>>,
    /// Held by who checks: whoever tries many must not take the processor from what is measured.
    checking: Mutex<()>,
}

impl WebConfig {
    /// Takes a file's text; `read` reads the files that it names.
    ///
    /// # Errors
    /// See [`WebConfigError`].
    pub fn new(
        text: &str,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, WebConfigError> {
        let written: Written = if text.trim().is_empty() {
            Written::default()
        } else {
            // It quotes no line: one may hold a hash.
            serde_saphyr::from_str(text).map_err(|error| {
                let error = error.to_string();
                let first = error.lines().next().unwrap_or_default();
                WebConfigError::Form(first.trim_start_matches("error: ").to_owned())
            })?
        };
        let file =
            |path: &String| read(path).map_err(|error| WebConfigError::File(path.clone(), error));
        let tls = match &written.tls_server_config {
            None => None,
            Some(tls) => {
                let must_show = tls.client_auth_type == ClientAuth::RequireAndVerifyClientCert;
                if must_show != tls.client_ca_file.is_some() {
                    return Err(WebConfigError::ClientCa);
                }
                let ca_pem = tls.client_ca_file.as_ref().map(file).transpose()?;
                let clients = Clients {
                    ca_pem: ca_pem.as_deref(),
                    is_tls13_only: tls.min_version == MinVersion::TLS13,
                };
                let key = Secret::new(&file(&tls.key_file)?);
                Some(tls::server_config_for(&file(&tls.cert_file)?, &key, clients)?)
            }
        };
        for (user, hash) in &written.basic_auth_users {
            // It is a hash if it can be compared with anything.
            hash.parse::<bcrypt::HashParts>().map_err(|_| WebConfigError::Hash(user.clone()))?;
        }
        let headers = written.http_server_config.headers.iter().map(|(name, value)| {
            let header = HeaderName::from_bytes(name.as_bytes()).ok();
            let header = header.zip(HeaderValue::from_str(value).ok());
            header.ok_or_else(|| WebConfigError::Header(name.clone()))
        });
        let headers = headers.collect::<Result<_, _>>()?;
        Ok(Self { tls, headers, users: written.basic_auth_users, ..Self::default() })
    }

    /// Whether not everybody may read.
    pub fn asks_for_password(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether whoever sends this `Authorization` may read. It may take tens of milliseconds.
    pub fn admits(&self, authorization: Option<&str>) -> bool {
        if !self.asks_for_password() {
            return true;
        }
        let Some((user, password)) = authorization.and_then(credentials) else { return false };
        let digest = Sha256::digest(format!("{}:{user}{}", user.len(), password.expose()));
        let digest: [u8; 32] = digest.into();
        let lock = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&digest) {
            return *known;
        }
        let _alone = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = self.users.get(&user);
        let is_right = bcrypt::verify(password.expose(), hash.map_or(NOBODY, String::as_str));
        let admits = is_right.unwrap_or(false) && hash.is_some();
        let mut checked = lock();
        if checked.len() >= REMEMBERED_MAX {
            // Whoever was right is not forgotten for those who guess.
            checked.retain(|_, admits| *admits);
        }
        checked.insert(digest, admits);
        admits
    }
}

/// User and password of a `Basic` authorisation.
fn credentials(authorization: &str) -> Option<(String, Secret)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (user.to_owned(), Secret::new(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<WebConfig, WebConfigError> {
        WebConfig::new(text, |path| Err(format!("there is no {path}")))
    }

    /// `secret`, as htpasswd hashes it.
    fn hash() -> String {
        bcrypt::hash("secret", 4).unwrap()
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn who_is_not_named_or_gives_another_password_may_not_read() {
        let config = config(&format!("basic_auth_users:\n  prometheus: \"{}\"\n", hash())).unwrap();
        assert!(config.asks_for_password() && config.tls.is_none());
        // Twice: what was checked once is remembered.
        for _ in 0..2 {
            assert!(config.admits(Some(&basic("prometheus:secret"))));
            for wrong in [
                None,
                Some(basic("prometheus:Secret")),
                Some(basic("prometheus:")),
                Some(basic("prometheus")),
                Some(basic("nobody:secret")),
                Some(basic("")),
                Some("Basic §".to_owned()),
                Some(basic("prometheus:secret").replace("Basic", "Bearer")),
            ] {
                assert!(!config.admits(wrong.as_deref()), "{wrong:?}");
            }
        }
    }

    #[test]
    fn an_empty_file_lets_everybody_read() {
        for text in ["", "\n", "basic_auth_users: {}\n"] {
            let config = config(text).unwrap();
            assert!(config.admits(None) && config.admits(Some("Basic nonsense")), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_kept_is_refused_and_no_hash_is_quoted() {
        let hash = hash();
        for (text, said) in [
            ("tls_server_config: {}", "cert_file"),
            ("basic_auth_users: [a]", "line 1 column 19"),
            ("basic_auth_users:\n  a: secret", "is no bcrypt hash"),
            ("rate_limit: {burst: 1}", "rate_limit"),
            ("http_server_config: {headers: {\"a b\": c}}", "a b cannot be a header"),
            ("tls_server_config: {cert_file: a, key_file: b}", "cannot read b: there is no b"),
            (
                "tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}",
                "client_auth_type needs client_ca_file",
            ),
            ("tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}", "TLS10"),
            (&format!("basic_auth_users:\n  - \"{hash}\""), ""),
        ] {
            let error = config(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains(&hash) && !error.contains('\n'), "{error}");
        }
    }
}
