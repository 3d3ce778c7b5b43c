//! A server of Prometheus' family that is asked for something once.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::exit::Exit;
use crate::model::{Clock, Secret};
use crate::net::dial::Target;
use crate::net::{http, tls};
use crate::pusher::rest::Request;

use super::Stop;

/// Longest wait for it to be reached, and for its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of what it says is wrong.
const SAID_MAX: usize = 200;

/// See the module's documentation.
pub(super) struct Remote {
    target: Target,
    shown: String,
    authorization: Option<Secret>,
}

/// Why there is no answer.
pub(super) struct Unanswered {
    /// The status of an answer that is none, where there was one.
    pub(super) status: Option<u16>,
    /// In a few words. It holds no password.
    pub(super) why: String,
}

impl Remote {
    /// The server at a URL, which may hold a user and a password; `flag` is where it was named,
    /// `example` what it should look like. What is no URL is not quoted: it may hold them as well.
    ///
    /// # Errors
    /// It is no such URL.
    pub(super) fn new(flag: &str, url: &str, example: &str) -> Result<Self, Stop> {
        let usage = |why: &dyn std::fmt::Display| Stop::new(Exit::Usage, format!("{flag}: {why}"));
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let is_plain = |url: &Url| url.query().is_none() && url.fragment().is_none();
        let url = url.filter(|url| url.host().is_some() && is_plain(url));
        let url = url.ok_or_else(|| usage(&format!("must be a URL such as {example}")))?;
        let mut address = url.clone();
        let authorization = (!url.username().is_empty()).then(|| {
            let password = decoded(url.password().unwrap_or_default());
            let pair = format!("{}:{password}", decoded(url.username()));
            Secret::new(format!("Basic {}", STANDARD.encode(pair)))
        });
        // Neither is part of where it is.
        let _ = address.set_username("").and_then(|()| address.set_password(None));
        let tls = tls::client_config(None).map_err(|error| usage(&error))?;
        let shown = address.to_string();
        Ok(Self { target: Target::new(address, &tls), shown, authorization })
    }

    /// Where it is, without a password.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Sends one request on a connection of its own. An answer may have so many bytes.
    ///
    /// # Errors
    /// It was not reached, or did not answer with a 2xx.
    pub(super) async fn ask(
        &self,
        mut request: Request,
        bytes_max: usize,
        clock: Clock,
    ) -> Result<String, Unanswered> {
        let Self { target, shown, authorization } = self;
        let unreached = |error: &dyn std::fmt::Display| Unanswered {
            status: None,
            why: format!("{shown}: {error}"),
        };
        let headers = authorization.iter().map(|of| ("authorization".to_owned(), of.clone()));
        request.headers.extend(headers);
        let tracker = TaskTracker::new();
        let connection = http::connect(target, clock, TIMEOUT, &tracker).await;
        let connection = connection.map_err(|error| unreached(&error))?;
        let (answer, _) = connection.send_for(target, &request, TIMEOUT, bytes_max).await;
        let answer = answer.map_err(|error| unreached(&error))?;
        if !(200..300).contains(&answer.status) {
            let said: String = answer.body.trim().chars().take(SAID_MAX).collect();
            let why = format!("{shown} answered with HTTP {}: {said}", answer.status);
            return Err(Unanswered { status: Some(answer.status), why });
        }
        Ok(answer.body)
    }
}

/// A part of a URL as it is meant.
fn decoded(part: &str) -> String {
    // As a name of a form, but for the characters that mean something there.
    let form = part.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let mut names = url::form_urlencoded::parse(form.as_bytes());
    names.next().map_or(String::new(), |(name, _)| name.into_owned())
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
}
