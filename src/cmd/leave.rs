//! What a run leaves for Prometheus when it has ended: its figures in a Pushgateway, in a file for
//! the node exporter's textfile collector, and for some time where it serves them itself.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::cli::LeaveArgs;
use crate::exit::Exit;
use crate::model::{Clock, Secret};
use crate::net::dial::Target;
use crate::net::{http, tls};
use crate::pusher::rest::Request;

use super::{Stop, complain};

/// What the figures' group is called beside the scenario.
const JOB: &str = "pusher-canary";
/// Longest wait for a Pushgateway to be reached, and for its answer.
const GATEWAY_TIMEOUT: Duration = Duration::from_secs(10);
/// What the node exporter reads.
const EXTENSION: &str = "prom";

/// See the module's documentation.
pub(super) struct Leave {
    gateway: Option<Gateway>,
    file: Option<Place>,
}

impl Leave {
    /// Looks whether there will be somewhere to leave anything.
    ///
    /// # Errors
    /// A file cannot be written, or an address is none.
    pub(super) fn new(args: &LeaveArgs, scenario: &str) -> Result<Self, Stop> {
        let gateway = args.pushgateway.as_ref().map(|url| Gateway::new(url, args, scenario));
        let file = args.metrics_file.as_deref().map(Place::new);
        Ok(Self { gateway: gateway.transpose()?, file: file.transpose()? })
    }

    /// Takes away what an earlier run left in the Pushgateway, where that is asked.
    ///
    /// # Errors
    /// It cannot be reached, or refuses.
    pub(super) async fn clear(&self, clock: Clock) -> Result<(), Stop> {
        match &self.gateway {
            Some(gateway) if gateway.clears => {
                gateway.send("DELETE", String::new(), clock).await.map_err(|why| {
                    Stop::new(Exit::Inconclusive, format!("--pushgateway-delete: {why}"))
                })
            }
            _ => Ok(()),
        }
    }

    /// Leaves a page of metrics.
    ///
    /// # Errors
    /// It could not be left somewhere; whatever could be is.
    pub(super) async fn leave(self, page: &str, clock: Clock) -> Result<(), Stop> {
        let Self { gateway, file } = self;
        let written = match file {
            None => Ok(()),
            Some(place) => place
                .fill(page)
                .map_err(|error| Stop::new(Exit::Failed, format!("--metrics-file: {error}"))),
        };
        if let Some(gateway) = gateway {
            let pushed = gateway.send("PUT", page.to_owned(), clock).await;
            pushed.map_err(|why| Stop::new(Exit::Failed, format!("--pushgateway: {why}")))?;
        }
        written
    }
}

/// A Pushgateway, and the group of a scenario's figures in it.
struct Gateway {
    target: Target,
    shown: String,
    path: String,
    authorization: Option<Secret>,
    clears: bool,
}

impl Gateway {
    fn new(url: &Url, args: &LeaveArgs, scenario: &str) -> Result<Self, Stop> {
        let usage =
            |why: &dyn std::fmt::Display| Stop::new(Exit::Usage, format!("--pushgateway: {why}"));
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(usage(&"must be a URL such as http://127.0.0.1:9091"));
        }
        let mut address = url.clone();
        let authorization = (!url.username().is_empty()).then(|| {
            let password = decoded(url.password().unwrap_or_default());
            let pair = format!("{}:{password}", decoded(url.username()));
            Secret::new(format!("Basic {}", STANDARD.encode(pair)))
        });
        // Neither is part of where it is.
        let _ = address.set_username("").and_then(|()| address.set_password(None));
        let tls = tls::client_config(None).map_err(|error| usage(&error))?;
        let mut path = format!("/metrics/job/{JOB}{}", grouped("scenario", scenario));
        for (key, value) in &args.pushgateway_group {
            path.push_str(&grouped(key, value));
        }
        let shown = address.to_string();
        let target = Target::new(address, &tls);
        let clears = args.pushgateway_delete;
        Ok(Self { target, shown, path, authorization, clears })
    }

    async fn send(&self, method: &'static str, body: String, clock: Clock) -> Result<(), String> {
        let Self { target, shown, path, authorization, .. } = self;
        let unreached = |error: &dyn std::fmt::Display| format!("{shown}: {error}");
        let tracker = TaskTracker::new();
        let connection = http::connect(target, clock, GATEWAY_TIMEOUT, &tracker).await;
        let connection = connection.map_err(|error| unreached(&error))?;
        let headers = authorization.iter().map(|of| ("authorization".to_owned(), of.clone()));
        let request = Request {
            method,
            target: path.clone(),
            body,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            headers: headers.collect(),
        };
        let (answer, _) = connection.send(target, &request, GATEWAY_TIMEOUT).await;
        let answer = answer.map_err(|error| unreached(&error))?;
        if !(200..300).contains(&answer.status) {
            let said: String = answer.body.trim().chars().take(200).collect();
            return Err(format!("{shown} answered with HTTP {}: {said}", answer.status));
        }
        tracing::info!(gateway = shown, method, "figures in the Pushgateway");
        Ok(())
    }
}

/// A part of a URL as it is meant.
fn decoded(part: &str) -> String {
    // As a name of a form, but for the characters that mean something there.
    let form = part.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let mut names = url::form_urlencoded::parse(form.as_bytes());
    names.next().map_or(String::new(), |(name, _)| name.into_owned())
}

/// A grouping label as part of a path. What a path cannot hold is written in base64.
fn grouped(key: &str, value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !value.is_empty() && value.chars().all(is_plain) {
        format!("/{key}/{value}")
    } else {
        // Nothing at all is written as padding alone.
        let encoded = URL_SAFE.encode(value);
        format!("/{key}@base64/{}", if encoded.is_empty() { "=" } else { &encoded })
    }
}

/// A file that is replaced as a whole: whoever reads it sees the old one or the new one.
struct Place {
    path: PathBuf,
    /// Beside it, so that it can take its name; it is gone if nothing came of it.
    beside: PathBuf,
    file: File,
}

impl Place {
    fn new(path: &Path) -> Result<Self, Stop> {
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            complain(&format!(
                "warning: --metrics-file {}: the node exporter reads files that end in .{EXTENSION}",
                path.display()
            ));
        }
        let unwritable = |error: &dyn std::fmt::Display| {
            let message = format!("--metrics-file: cannot write {}: {error}", path.display());
            Stop::new(Exit::Usage, message)
        };
        let name = path.file_name().ok_or_else(|| unwritable(&"it names no file"))?;
        if path.is_dir() {
            return Err(unwritable(&"it is a folder"));
        }
        let name = format!(".{}.{}", name.to_string_lossy(), std::process::id());
        let beside = path.with_file_name(name);
        let file = File::create(&beside).map_err(|error| unwritable(&error))?;
        Ok(Self { path: path.to_owned(), beside, file })
    }

    fn fill(mut self, text: &str) -> std::io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        std::fs::rename(&self.beside, &self.path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It has another name now, or nothing came of it.
        let _ = std::fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_must_escape_is_meant_as_it_was() {
        for (part, meant) in [("", ""), ("p%40ss", "p@ss"), ("a+b&c=d", "a+b&c=d"), ("%25", "%")] {
            assert_eq!(decoded(part), meant);
        }
    }

    #[test]
    fn a_grouping_label_may_be_anything() {
        for (value, path) in [
            ("cutover", "/scenario/cutover"),
            ("eu-1.b_c", "/scenario/eu-1.b_c"),
            ("", "/scenario@base64/="),
            ("a/b", "/scenario@base64/YS9i"),
            ("ä b", "/scenario@base64/w6QgYg=="),
        ] {
            assert_eq!(grouped("scenario", value), path);
        }
    }
}
