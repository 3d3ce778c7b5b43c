//! Signed requests to the HTTP API, and what their answers mean for a publication
//! (Channels docs: HTTP API reference).

use std::borrow::Cow;
use std::collections::BTreeSet;

use md5::Digest;
use serde::Serialize;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use crate::model::{AppId, AppKey, ChannelName, Secret};

use super::auth;

/// Most events in one batch on shared clusters.
pub const BATCH_EVENTS_MAX: usize = 10;
/// Most bytes in an event's `data`.
pub const DATA_BYTES_MAX: usize = 10_240;

/// A request, ready but for host and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Such as `GET` or `POST`.
    pub method: &'static str,
    /// Path and signed query.
    pub target: String,
    /// The body; empty for `GET`.
    pub body: String,
    /// What the body is.
    pub content_type: &'static str,
    /// Further headers: names, and values that nobody shall see.
    pub headers: Vec<(String, Secret)>,
}

impl Request {
    /// A `GET` of a path, with its query.
    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target.into(), String::new())
    }

    const fn new(method: &'static str, target: String, body: String) -> Self {
        Self { method, target, body, content_type: "application/json", headers: Vec::new() }
    }
}

/// The string that is signed: method, path and sorted unescaped query, each on a line.
pub fn string_to_sign(method: &str, path: &str, params: &[(Cow<'_, str>, Cow<'_, str>)]) -> String {
    let mut sorted: Vec<_> = params.iter().map(|(k, v)| (k.to_ascii_lowercase(), v)).collect();
    sorted.sort();
    let query: Vec<_> = sorted.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("{method}\n{path}\n{}", query.join("&"))
}

/// Lower-case hexadecimal MD5 of a body: 32 characters.
pub fn body_md5(body: &[u8]) -> String {
    hex::encode(md5::Md5::digest(body))
}

/// Whose requests these are.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The app whose API is called.
    pub app_id: AppId,
    /// The app's key.
    pub key: AppKey,
    /// The app's secret.
    pub secret: Secret,
}

impl Signer {
    /// The signed query for a request at `timestamp` (Unix seconds). `body_md5` is added for a
    /// body that is not empty; the extra parameters are escaped on the wire, commas excepted, and
    /// signed unescaped.
    pub fn query(
        &self,
        method: &str,
        path: &str,
        extra: &[(&str, &str)],
        body: &[u8],
        timestamp: u64,
    ) -> String {
        let mut params: Vec<(Cow<'_, str>, Cow<'_, str>)> = vec![
            ("auth_key".into(), self.key.as_str().into()),
            ("auth_timestamp".into(), timestamp.to_string().into()),
            ("auth_version".into(), "1.0".into()),
        ];
        if !body.is_empty() {
            params.push(("body_md5".into(), body_md5(body).into()));
        }
        params.extend(extra.iter().map(|(k, v)| (Cow::from(*k), Cow::from(*v))));
        let text = string_to_sign(method, path, &params);
        let signature = auth::hmac_hex(&self.secret, text.as_bytes());
        params.push(("auth_signature".into(), signature.into()));
        let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let wire: Vec<_> = params
            .iter()
            .map(|(k, v)| format!("{}={}", escaped(k), escaped(v).replace("%2C", ",")))
            .collect();
        wire.join("&")
    }

    fn request(
        &self,
        method: &'static str,
        tail: &str,
        extra: &[(&str, &str)],
        body: String,
        timestamp: u64,
    ) -> Request {
        let path = format!("/apps/{}/{tail}", self.app_id);
        let query = self.query(method, &path, extra, body.as_bytes(), timestamp);
        Request::new(method, format!("{path}?{query}"), body)
    }

    /// `POST /events` with one event for one channel.
    pub fn trigger(&self, event: &Event<'_>, timestamp: u64) -> Request {
        let Event { name, channel, data } = *event;
        let channels = &[channel];
        self.publish(&Publication { name, channels, data, ..Publication::default() }, timestamp)
    }

    /// `POST /events` with all that it may ask for.
    pub fn publish(&self, publication: &Publication<'_>, timestamp: u64) -> Request {
        let body = serde_json::to_string(publication).unwrap_or_default();
        self.request("POST", "events", &[], body, timestamp)
    }

    /// `POST /batch_events` with at most [`BATCH_EVENTS_MAX`] events.
    pub fn batch(&self, events: &[Event<'_>], timestamp: u64) -> Request {
        #[derive(Serialize)]
        struct Body<'a> {
            batch: &'a [Event<'a>],
        }
        let body = serde_json::to_string(&Body { batch: events }).unwrap_or_default();
        self.request("POST", "batch_events", &[], body, timestamp)
    }

    /// `GET /channels`: the occupied channels whose names start with `prefix`.
    pub fn channels(&self, prefix: &str, timestamp: u64) -> Request {
        self.request("GET", "channels", &[("filter_by_prefix", prefix)], String::new(), timestamp)
    }

    /// `GET /channels/NAME`: how many subscriptions one channel has, where that is switched on.
    pub fn subscription_count(&self, channel: &ChannelName, timestamp: u64) -> Request {
        let tail = format!("channels/{channel}");
        let extra = [("info", "subscription_count")];
        self.request("GET", &tail, &extra, String::new(), timestamp)
    }

    /// `GET /channels/NAME`: what a cache channel keeps.
    pub fn cached(&self, channel: &ChannelName, timestamp: u64) -> Request {
        let tail = format!("channels/{channel}");
        self.request("GET", &tail, &[("info", "cache")], String::new(), timestamp)
    }

    /// `POST /users/ID/terminate_connections`: closes every connection of a signed-in user.
    pub fn terminate(&self, user_id: &str, timestamp: u64) -> Request {
        let tail = format!("users/{user_id}/terminate_connections");
        self.request("POST", &tail, &[], "{}".to_owned(), timestamp)
    }

    /// `GET /channels/NAME/users`: the members of a presence channel.
    pub fn users(&self, channel: &ChannelName, timestamp: u64) -> Request {
        let tail = format!("channels/{channel}/users");
        self.request("GET", &tail, &[], String::new(), timestamp)
    }

    /// `GET /channels`: every occupied channel.
    pub fn all_channels(&self, timestamp: u64) -> Request {
        self.request("GET", "channels", &[], String::new(), timestamp)
    }

    /// `GET /channels`: the occupied presence channels whose names start with `prefix`, which
    /// starts with `presence-` itself, each with the number of its members. The API refuses
    /// `user_count` where other channels could be listed.
    pub fn presence_channels(&self, prefix: &str, timestamp: u64) -> Request {
        let extra = [("filter_by_prefix", prefix), ("info", "user_count")];
        self.request("GET", "channels", &extra, String::new(), timestamp)
    }
}

/// One event for one or more channels.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Publication<'a> {
    /// The event's name.
    pub name: &'a str,
    /// The channels' names, 1 to 100.
    pub channels: &'a [&'a str],
    /// The event's `data`, at most [`DATA_BYTES_MAX`] bytes.
    pub data: &'a str,
    /// The id of a connection that shall not get it.
    #[serde(rename = "socket_id", skip_serializing_if = "Option::is_none")]
    pub except: Option<&'a str>,
    /// Attributes of the channels that the answer shall have, comma-separated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<&'a str>,
}

/// One event for one channel.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Event<'a> {
    /// The event's name.
    pub name: &'a str,
    /// The channel's name.
    pub channel: &'a str,
    /// The event's `data`, at most [`DATA_BYTES_MAX`] bytes.
    pub data: &'a str,
}

/// What an answer says about a publication. Never that it was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The cluster took it.
    Accepted,
    /// It is certain that the cluster did not take it.
    Rejected,
    /// It may have been taken.
    Unknown,
}

/// What an HTTP answer means for a publication.
///
/// A 2xx is accepted unless its body bears an error (soketi answers so) or did not come from the
/// API at all. A 4xx in the API's own manner is rejected. 408, a web page from something in
/// between, a redirect and any 5xx leave the publication unknown, and so does a batch of which only
/// some events bear an error.
pub fn classify(status: u16, body: &str) -> Answer {
    let from_in_between = body.trim_start().starts_with('<');
    match status {
        _ if from_in_between => Answer::Unknown,
        200..=299 => classify_success(body),
        407 | 408 => Answer::Unknown,
        400..=499 => Answer::Rejected,
        _ => Answer::Unknown,
    }
}

fn classify_success(body: &str) -> Answer {
    if let Some(status) = error_in(body) {
        return if matches!(status, 408 | 500..=599) { Answer::Unknown } else { Answer::Rejected };
    }
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let items = batch_items(&value);
    match items.iter().filter(|item| is_error(item)).count() {
        0 => Answer::Accepted,
        refused if refused == items.len() => Answer::Rejected,
        _ => Answer::Unknown,
    }
}

/// The status that an answer should have had, where its body bears an error: soketi answers so.
/// 400 stands for a text, or for none at all.
pub fn error_in(body: &str) -> Option<u64> {
    let value: Value = serde_json::from_str(body).ok().filter(is_error)?;
    Some(value.get("code").and_then(Value::as_u64).unwrap_or(400))
}

/// Whether an API answer asks to slow down: soketi says so in the body of a 200.
pub fn is_throttled(status: u16, body: &str) -> bool {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    status == 429 || is_error(&value) && value.get("code").and_then(Value::as_u64) == Some(429)
}

/// Whether an API answer says that the request's signature is not taken, for whatever reason: its
/// timestamp is one.
pub fn is_unauthorised(status: u16, body: &str) -> bool {
    matches!(status, 401 | 403) || matches!(error_in(body), Some(401 | 403))
}

/// What an answer to a first `GET /channels` says of whoever gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It is the API, and it knows the credentials.
    Sound,
    /// It is the API, and it refuses the credentials.
    Refused,
    /// It is something else.
    NoApi,
    /// It may be another answer a moment later.
    Passing,
}

/// Reads an answer to `GET /channels`.
pub fn probe(status: u16, body: &str) -> Probe {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    // A server in PHP writes an empty object as an empty list.
    let lists = |channels: &Value| channels.is_object() || channels.is_array();
    let from_in_between = body.trim_start().starts_with('<');
    match status {
        _ if is_throttled(status, body) => Probe::Passing,
        200..=299 if is_error(&value) => Probe::Refused,
        200..=299 if value.get("channels").is_some_and(lists) => Probe::Sound,
        200..=399 => Probe::NoApi,
        407 | 408 | 500.. => Probe::Passing,
        _ if from_in_between => Probe::NoApi,
        _ => Probe::Refused,
    }
}

/// An occupied channel, as the API lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, as it stands there.
    pub name: String,
    /// Its members, where they were asked for and it is a presence channel.
    pub user_count: Option<u64>,
    /// Its subscriptions, where the server lists them.
    pub subscription_count: Option<u64>,
}

/// The channels that an answer to `GET /channels` lists; `None` if it is no such answer.
pub fn listed(status: u16, body: &str) -> Option<Vec<Listed>> {
    if probe(status, body) != Probe::Sound {
        return None;
    }
    let value: Value = serde_json::from_str(body).ok()?;
    match value.get("channels")? {
        Value::Object(channels) => {
            let count = |of: &Value, key: &str| of.get(key).and_then(Value::as_u64);
            let listed = channels.iter().map(|(name, of)| Listed {
                name: name.clone(),
                user_count: count(of, "user_count"),
                subscription_count: count(of, "subscription_count"),
            });
            Some(listed.collect())
        }
        // A server in PHP writes an empty object as an empty list.
        Value::Array(channels) => channels.is_empty().then(Vec::new),
        _ => None,
    }
}

/// The subscriptions that an answer to `GET /channels/NAME` tells; `None` if it tells none. Servers
/// that do not count them answer with an error, or without that member.
pub fn counted(status: u16, body: &str) -> Option<u64> {
    let value: Value = serde_json::from_str(body).ok().filter(|_| status == 200)?;
    value.get("subscription_count").and_then(Value::as_u64)
}

/// Whether an answer to `GET /channels/NAME` tells that a cache channel keeps an event; `None` if
/// it tells neither.
pub fn cached(status: u16, body: &str) -> Option<bool> {
    let value: Value = serde_json::from_str(body).ok().filter(|_| status == 200)?;
    value.get("cache").map(|cache| !cache.is_null())
}

/// The ids of the members that an answer to `GET /channels/NAME/users` tells; `None` if it tells
/// none. A channel that nobody is on is not found by some servers.
pub fn users(status: u16, body: &str) -> Option<BTreeSet<String>> {
    if status == 404 {
        return Some(BTreeSet::new());
    }
    let value: Value = serde_json::from_str(body).ok().filter(|_| status == 200)?;
    let users = value.get("users")?.as_array()?.iter();
    // Some write numbers.
    let id = |user: &Value| match user.get("id")? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    };
    users.map(id).collect()
}

/// Whether an API answer's body says that the request, or an event of its batch, was refused,
/// whatever its status.
pub fn bears_error(body: &str) -> bool {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    is_error(&value) || batch_items(&value).iter().any(is_error)
}

fn is_error(value: &Value) -> bool {
    !matches!(value.get("error"), None | Some(Value::Null | Value::Bool(false)))
}

/// The answers index for index; none where a server answers a map (Reverb) or nothing.
fn batch_items(value: &Value) -> &[Value] {
    value.get("batch").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_each_server_means() {
        use Answer::{Accepted, Rejected, Unknown};
        let html = "\n<html><body>It works!</body></html>";
        for (server, status, body, answer) in [
            ("hosted", 200, "{}", Accepted),
            ("hosted, with info", 200, r#"{"channels":{"a":{"subscription_count":2}}}"#, Accepted),
            ("hosted, batch", 200, r#"{"batch":[{},{"user_count":1}]}"#, Accepted),
            ("hosted, deprecated publish", 202, "202 ACCEPTED\n", Accepted),
            ("hosted", 400, "invalid event name", Rejected),
            ("hosted", 401, "Timestamp expired", Rejected),
            ("hosted", 403, "app disabled", Rejected),
            ("hosted", 404, "404 NOT FOUND", Rejected),
            ("hosted", 413, "The data content of this event exceeds 10240 bytes", Rejected),
            ("hosted", 503, "", Unknown),
            ("soketi", 200, r#"{"ok":true}"#, Accepted),
            ("soketi", 200, r#"{"error":"The secret authentication failed","code":401}"#, Rejected),
            ("soketi", 200, r#"{"error":"Too many requests.","code":429}"#, Rejected),
            ("soketi", 200, r#"{"error":"A server error has occurred.","code":500}"#, Unknown),
            ("soketi", 404, r#"{"error":"The app 1 could not be found.","code":404}"#, Rejected),
            ("sockudo", 200, r#"{"ok":true}"#, Accepted),
            ("sockudo, batch", 200, r#"{"batch":[]}"#, Accepted),
            ("sockudo", 401, r#"{"error":"no","code":"AUTH_FAILED","status":401}"#, Rejected),
            ("a text as code", 200, r#"{"error":"no","code":"AUTH_FAILED"}"#, Rejected),
            ("Reverb, batch", 200, r#"{"batch":{}}"#, Accepted),
            ("Reverb", 422, r#"{"data":["The data field must be a string."]}"#, Rejected),
            ("no error", 200, r#"{"error":null}"#, Accepted),
            ("no error", 200, r#"{"error":false,"ok":true}"#, Accepted),
            ("batch, all refused", 200, r#"{"batch":[{"error":"a"},{"error":"b"}]}"#, Rejected),
            ("batch, some refused", 200, r#"{"batch":[{},{"error":"b"}]}"#, Unknown),
            ("rate limit", 429, "", Rejected),
            ("no body", 200, "", Accepted),
            ("no body", 204, "", Accepted),
            ("a page in between", 200, html, Unknown),
            ("a page in between", 403, html, Unknown),
            ("a page in between", 502, html, Unknown),
            ("redirect", 301, "", Unknown),
            ("redirect", 307, "{}", Unknown),
            ("proxy", 407, "", Unknown),
            ("timeout", 408, "{}", Unknown),
            ("server", 500, r#"{"error":"Internal server error"}"#, Unknown),
            ("gateway", 504, "upstream request timeout", Unknown),
            ("not final", 100, "", Unknown),
        ] {
            assert_eq!(classify(status, body), answer, "{server}: {status} {body}");
        }
    }

    #[test]
    fn an_error_is_found_in_the_answer_and_in_each_event_of_a_batch() {
        for (body, bears) in [
            (r#"{"error":"no","code":401}"#, true),
            (r#"{"error":""}"#, true),
            (r#"{"batch":[{},{"error":"no"}]}"#, true),
            (r#"{"error":null}"#, false),
            (r#"{"batch":[{}]}"#, false),
            (r#"{"batch":{}}"#, false),
            (r#"{"channels":{"error":{}}}"#, false),
            (r#"["error"]"#, false),
            ("error", false),
            ("", false),
        ] {
            assert_eq!(bears_error(body), bears, "{body}");
        }
    }

    #[test]
    fn a_first_answer_tells_the_api_from_whatever_else_answers() {
        for (status, body, probe) in [
            (200, r#"{"channels":{}}"#, Probe::Sound),
            (200, r#"{"channels":{"a":{}}}"#, Probe::Sound),
            (200, r#"{"channels":[]}"#, Probe::Sound),
            (200, r#"{"error":"The secret authentication failed","code":401}"#, Probe::Refused),
            (401, "Invalid signature", Probe::Refused),
            (404, r#"{"error":"app not found"}"#, Probe::Refused),
            (200, "OK", Probe::NoApi),
            (200, "<html>It works!</html>", Probe::NoApi),
            (301, "", Probe::NoApi),
            (404, "<html>nginx</html>", Probe::NoApi),
            (408, "", Probe::Passing),
            (429, "slow down", Probe::Passing),
            (200, r#"{"error":"Too many requests","code":429}"#, Probe::Passing),
            (502, "<html>Bad Gateway</html>", Probe::Passing),
            (503, "", Probe::Passing),
        ] {
            assert_eq!(super::probe(status, body), probe, "{status} {body}");
        }
    }

    #[test]
    fn occupied_channels_are_listed_in_either_form() {
        let channel = |name: &str, user_count, subscription_count| Listed {
            name: name.to_owned(),
            user_count,
            subscription_count,
        };
        let two = vec![channel("a", None, Some(3)), channel("presence-b", Some(1), None)];
        for (status, body, expected) in [
            (200, r#"{"channels":{}}"#, Some(vec![])),
            (200, r#"{"channels":[]}"#, Some(vec![])),
            (200, r#"{"channels":["a"]}"#, None),
            (
                200,
                r#"{"channels":{"a":{"subscription_count":3,"occupied":true},"presence-b":{"user_count":1}}}"#,
                Some(two),
            ),
            (200, r#"{"channels":{"a":7}}"#, Some(vec![channel("a", None, None)])),
            (200, r#"{"error":"no","code":401}"#, None),
            (500, r#"{"channels":{}}"#, None),
            (200, "{}", None),
        ] {
            assert_eq!(listed(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn subscriptions_are_known_where_the_answer_has_their_number() {
        for (status, body, count) in [
            (200, r#"{"occupied":true,"subscription_count":7}"#, Some(7)),
            (200, r#"{"occupied":false,"subscription_count":0}"#, Some(0)),
            (200, r#"{"occupied":true}"#, None),
            (200, r#"{"subscription_count":"7"}"#, None),
            (400, "Cannot retrieve subscription_count unless it is enabled", None),
            (500, r#"{"subscription_count":7}"#, None),
        ] {
            assert_eq!(counted(status, body), count, "{status} {body}");
        }
    }

    #[test]
    fn members_are_known_where_the_answer_lists_them() {
        let ids = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
        for (status, body, expected) in [
            (200, r#"{"users":[{"id":"a"},{"id":"b","user_info":{}}]}"#, ids(&["a", "b"])),
            (200, r#"{"users":[{"id":7}]}"#, ids(&["7"])),
            (200, r#"{"users":[]}"#, ids(&[])),
            (404, "{}", ids(&[])),
            (400, "not a presence channel", None),
            (200, r#"{"users":[{}]}"#, None),
            (200, "{}", None),
            (500, r#"{"users":[]}"#, None),
        ] {
            assert_eq!(users(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn all_channels_are_asked_for_without_a_prefix_and_members_with_one() {
        let signer = Signer {
            app_id: AppId::new("1").unwrap(),
            key: AppKey::new("k").unwrap(),
            secret: Secret::new("s"),
        };
        assert!(!signer.all_channels(7).target.contains("filter_by_prefix"));
        let members = signer.presence_channels("presence-a-", 7).target;
        assert!(members.contains("&filter_by_prefix=presence-a-&info=user_count&"), "{members}");
        let one = ChannelName::new("private-a;1").unwrap();
        let count = signer.subscription_count(&one, 7).target;
        assert!(count.starts_with("/apps/1/channels/private-a;1?"), "{count}");
        assert!(count.contains("&info=subscription_count&"), "{count}");
    }

    #[test]
    fn parameters_are_signed_as_they_are_and_sent_escaped() {
        let signer = Signer {
            app_id: AppId::new("1").unwrap(),
            key: AppKey::new("k").unwrap(),
            secret: Secret::new("s"),
        };
        let request = signer.channels("presence-a=b, c&", 7);
        assert_eq!((request.method, &*request.body), ("GET", ""));
        let (path, query) = request.target.split_once('?').unwrap();
        assert_eq!(path, "/apps/1/channels");
        assert!(query.contains("&filter_by_prefix=presence-a%3Db,+c%26&"), "{query}");
        let text = "GET\n/apps/1/channels\nauth_key=k&auth_timestamp=7&auth_version=1.0\
                    &filter_by_prefix=presence-a=b, c&";
        let signature = auth::hmac_hex(&signer.secret, text.as_bytes());
        assert!(query.ends_with(&format!("&auth_signature={signature}")), "{query}");
    }

    #[test]
    fn what_a_cache_channel_keeps_is_told_by_its_attribute_alone() {
        assert_eq!(cached(200, r#"{"occupied":true,"cache":{"data":"1","ttl":9}}"#), Some(true));
        assert_eq!(cached(200, r#"{"occupied":true,"cache":null}"#), Some(false));
        assert_eq!(cached(200, r#"{"occupied":true}"#), None);
        assert_eq!(cached(400, r#"{"cache":null}"#), None);
    }

    #[test]
    fn keys_are_sorted_and_signed_in_lower_case() {
        let params = [("b", "2"), ("A", "1"), ("c", "")].map(|(k, v)| (k.into(), v.into()));
        assert_eq!(string_to_sign("GET", "/x", &params), "GET\n/x\na=1&b=2&c=");
    }
}
