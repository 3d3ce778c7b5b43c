//! What a run leaves for Prometheus when it has ended: its figures in a Pushgateway, in a file for
//! the node exporter's textfile collector, and for some time where it serves them itself.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use crate::cli::LeaveArgs;
use crate::exit::Exit;
use crate::model::Clock;
use crate::pusher::rest::Request;

use super::remote::Remote;
use super::{Stop, complain};

/// What the figures' group is called beside the scenario.
const JOB: &str = "pusher-canary";
/// Bytes of a Pushgateway's answer.
const ANSWER_BYTES_MAX: usize = 65_536;
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
    remote: Remote,
    path: String,
    clears: bool,
}

impl Gateway {
    fn new(url: &str, args: &LeaveArgs, scenario: &str) -> Result<Self, Stop> {
        let remote = Remote::new("--pushgateway", url, "http://127.0.0.1:9091")?;
        let mut path = format!("/metrics/job/{JOB}{}", grouped("scenario", scenario));
        for (key, value) in &args.pushgateway_group {
            path.push_str(&grouped(key, value));
        }
        Ok(Self { remote, path, clears: args.pushgateway_delete })
    }

    async fn send(&self, method: &'static str, body: String, clock: Clock) -> Result<(), String> {
        let request = Request {
            method,
            target: self.path.clone(),
            body,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            headers: Vec::new(),
        };
        let answer = self.remote.ask(request, ANSWER_BYTES_MAX, clock).await;
        answer.map_err(|unanswered| unanswered.why)?;
        tracing::info!(gateway = self.remote.shown(), method, "figures in the Pushgateway");
        Ok(())
    }
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
