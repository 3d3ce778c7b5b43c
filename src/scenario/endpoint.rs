//! `[clusters.….auth_endpoint]` and `[clusters.….user_auth_endpoint]`: where the application signs
//! for this cluster, and how it knows who is asking.

use std::collections::BTreeSet;

use serde_json::json;
use url::Url;

use crate::model::{ChannelName, Secret};
use crate::pusher::endpoint::BodyForm;
use crate::verify::endpoint::{EndpointKind, EndpointTrial};

use super::Problem;
use super::clusters::{is_private, read_ca_file, read_secret_file, url};
use super::reader::{Given, Section};

/// `Name: value`, both as HTTP has them.
const HEADER: &str = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+:[\t -~]*$";
/// What can stand in a header.
const VISIBLE: &str = "^[ -~]*$";
/// `name=value`.
const PARAM: &str = r"^[^=]+=[\s\S]*$";
/// A channel that needs a signature.
const SIGNED_CHANNEL: &str = r"^(private|presence)-[A-Za-z0-9_=@,.;-]*$";

/// An auth endpoint, as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Its address.
    pub url: Url,
    /// How it is asked.
    pub form: BodyForm,
    /// What shows who is asking.
    pub headers: Vec<(String, Secret)>,
    /// What it wants beside the documented fields.
    pub params: Vec<(String, Secret)>,
    /// A channel that it must sign for; `None` for an endpoint that signs users in.
    pub channel: Option<ChannelName>,
    /// A channel that it must not sign for.
    pub forbidden: Option<ChannelName>,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_pem: Option<String>,
}

impl Endpoint {
    /// What is tried on it; `is_crossed` says whether there is another cluster that must refuse
    /// what it signs.
    pub(super) fn trials(&self, kind: EndpointKind, is_crossed: bool) -> BTreeSet<EndpointTrial> {
        let signs_channels = kind == EndpointKind::AuthEndpoint;
        let all = [
            (EndpointTrial::Forbidden, self.forbidden.is_some()),
            (EndpointTrial::Crossed, signs_channels && is_crossed),
            (EndpointTrial::SignedIn, !signs_channels),
        ];
        all.into_iter().filter(|(_, is_tried)| *is_tried).map(|(trial, _)| trial).collect()
    }

    /// Whether nobody in between can read along: HTTPS, or this machine.
    pub fn is_private(&self) -> bool {
        is_private(&self.url)
    }
}

/// Reads the section, if it is there. `signs_channels` tells one kind from the other.
pub(super) fn read(
    mut table: Section<'_>,
    signs_channels: bool,
    warnings: &mut Vec<Problem>,
) -> Option<Endpoint> {
    if !table.is_present() {
        return None;
    }
    if !table.requires("url") {
        table.problem(
            "url",
            "is missing; give its address: \"https://app.example.com/pusher/auth\"",
        );
    }
    let address = url(&mut table, "url", ["http", "https"]);
    let form = read_form(&mut table);
    let mut headers = read_pairs(&mut table, "headers", HEADER, ':', "\"Name: value\"");
    for (key, file, name, before) in [
        ("bearer", "bearer_file", "Authorization", "Bearer "),
        ("cookie", "cookie_file", "Cookie", ""),
    ] {
        if let Some(value) = read_credential(&mut table, key, file, warnings) {
            let value = Secret::new(format!("{before}{}", value.expose()));
            headers.push((name.to_owned(), value));
        }
    }
    let params = read_pairs(&mut table, "params", PARAM, '=', "\"name=value\"");
    let (mut channel, mut forbidden) = (None, None);
    if signs_channels {
        if !table.requires("channel") {
            let message = "is missing; name a channel that it lets whoever asks subscribe to: \
                           \"private-orders-1\"";
            table.problem("channel", message);
        }
        channel = read_channel(&mut table, "channel");
        forbidden = read_channel(&mut table, "forbidden");
    }
    let ca_pem = read_ca_file(&mut table);
    table.finish();
    Some(Endpoint { url: address?, form, headers, params, channel, forbidden, ca_pem })
}

fn read_form(table: &mut Section<'_>) -> BodyForm {
    match table.word("body", "form", &["form", "json"]).as_deref() {
        Some("form") | None => BodyForm::Form,
        Some("json") => BodyForm::Json,
        Some(other) => {
            table.problem("body", format!("{other:?} is no form of a body; use form or json"));
            BodyForm::Form
        }
    }
}

fn read_channel(table: &mut Section<'_>, key: &'static str) -> Option<ChannelName> {
    let text = table.text_like(key, SIGNED_CHANNEL, None)?;
    let name = ChannelName::new(text).ok().filter(|name| name.kind().needs_auth());
    if name.is_none() {
        table.problem(key, "must be the name of a channel that needs a signature: \"private-…\"");
    }
    name
}

/// Texts in two parts. What is wrong with one is said without quoting it: it may be a secret.
fn read_pairs(
    table: &mut Section<'_>,
    key: &'static str,
    pattern: &str,
    between: char,
    form: &str,
) -> Vec<(String, Secret)> {
    let item = || json!({ "type": "array", "items": super::form::text_like(pattern, None), "default": [] });
    let mut pairs = Vec::new();
    for (at, text) in table.expanded_texts(key, item).into_iter().flatten().enumerate() {
        let is_header = between == ':';
        // A token of HTTP (RFC 9110, section 5.6.2).
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let is_name = |name: &str| !name.is_empty() && (!is_header || name.chars().all(is_token));
        let is_value = |value: &str| {
            !is_header || value.chars().all(|c| c == '\t' || (' '..='~').contains(&c))
        };
        let pair = text.split_once(between).filter(|(n, v)| is_name(n) && is_value(v));
        match pair {
            Some((name, value)) => {
                let value = if is_header { value.trim() } else { value };
                pairs.push((name.to_owned(), Secret::new(value)));
            }
            None => table.problem(key, format!("number {} must be of the form {form}", at + 1)),
        }
    }
    pairs
}

/// A credential, written or in a file.
fn read_credential(
    table: &mut Section<'_>,
    key: &'static str,
    file_key: &'static str,
    warnings: &mut Vec<Problem>,
) -> Option<Secret> {
    let is_literal = table.is_literal(key);
    let (inline, file) = (table.text_like(key, VISIBLE, None), table.text(file_key));
    if table.at_most_one(&[&[key], &[file_key]]) == Given::Several {
        table.problem(key, format!("is given twice; keep {key} or {file_key}"));
    }
    if is_literal {
        let message = format!("is written out in the scenario; use \"${{NAME}}\" or {file_key}");
        warnings.push(Problem { line: 0, key: table.key(key), message });
    }
    let text = match file {
        Some(path) => read_secret_file(table, file_key, &path, warnings),
        None => inline.map(Secret::new),
    };
    let is_visible = |text: &Secret| text.expose().chars().all(|c| (' '..='~').contains(&c));
    if text.as_ref().is_some_and(|text| !is_visible(text)) {
        table.problem(key, "must be one line of ASCII");
        return None;
    }
    text
}
