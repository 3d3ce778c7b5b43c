//! The HTTP API of a cluster: requests checked and read, answers made. Pure; the shell around it
//! moves bytes.
//!
//! Reading needs no state, so that it happens outside the cluster's lock: [`parse`], then
//! [`apply`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::model::channel::kind_of;
use crate::model::habit::Habit;
use crate::model::{ChannelName, RunTime};
use crate::pusher::{auth, rest};

use super::core::{Core, Effect, Taken};
use super::faults::Request;
use super::hub::{
    App, DATA_BYTES_MAX, EVENT_NAME_CHARS_MAX, Hub, Publication, SMALL_DATA_BYTES_MAX, TO_USER,
    is_channel,
};

/// Most bytes of a request's body: a full batch, every character of it escaped.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// How far a request's clock may be off, in seconds (Channels docs: HTTP API reference).
const TIMESTAMP_WINDOW_S: u64 = 600;
/// Most channels of one event.
const CHANNELS_MAX: usize = 100;
/// Most events of one batch.
const BATCH_MAX: usize = 10;

/// A request as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The path, still escaped.
    pub path: &'a str,
    /// The query, still escaped.
    pub query: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// An answer: JSON if it is good, plain text if it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Reply {
    fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }

    fn json(value: &Value) -> Self {
        Self { status: 200, body: value.to_string() }
    }
}

/// What a sound and signed request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// One event on some channels.
    Publish(Vec<Publication>, Info),
    /// Several events, each with what is asked about its channel.
    Batch(Vec<Publication>, Vec<Info>),
    /// The occupied channels whose names start so.
    Channels(String, Info),
    /// One channel.
    Channel(String, Info),
    /// The users of a presence channel.
    Users(String),
    /// Closing a user's connections.
    Terminate(String),
}

/// What is asked about channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    user_count: bool,
    subscription_count: bool,
    cache: bool,
}

impl Info {
    fn parse(text: Option<&str>) -> Result<Self, Reply> {
        let mut info = Self::default();
        for word in text.unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
            match word.trim() {
                "user_count" => info.user_count = true,
                "subscription_count" => info.subscription_count = true,
                "cache" => info.cache = true,
                other => {
                    return Err(Reply::text(400, format!("unknown info attribute: {other}\n")));
                }
            }
        }
        Ok(info)
    }

    const fn any(self) -> bool {
        self.user_count || self.subscription_count || self.cache
    }
}

/// What an app's habits are.
type Habits = BTreeSet<Habit>;

/// Checks a request's signature and reads what it asks for. `unix_s` is the time of day.
///
/// # Errors
/// The answer that refuses it.
pub fn parse(app: &App, habits: &Habits, unix_s: u64, parts: Parts<'_>) -> Result<Call, Reply> {
    let not_found = || Reply::text(404, "404 NOT FOUND\n");
    let path = percent_decode(parts.path);
    let tail = path.strip_prefix("/apps/").and_then(|rest| rest.split_once('/'));
    let Some((app_id, tail)) = tail else { return Err(not_found()) };
    if app_id != app.id.as_str() {
        return Err(Reply::text(404, format!("unknown app id: {app_id}\n")));
    }
    let params: BTreeMap<_, _> = form_urlencoded::parse(parts.query.as_bytes()).collect();
    authenticate((app, habits), unix_s, &parts, &path, &params)?;
    let info = || Info::parse(params.get("info").map(|text| &**text));
    let words: Vec<_> = tail.split('/').collect();
    match (parts.method, words.as_slice()) {
        ("POST", ["events"]) => trigger(habits, parts.body),
        ("POST", ["batch_events"]) => batch(habits, parts.body),
        ("GET", ["channels"]) => {
            let prefix = params.get("filter_by_prefix").map(|text| text.clone().into_owned());
            Ok(Call::Channels(prefix.unwrap_or_default(), info()?))
        }
        ("GET", ["channels", name]) => Ok(Call::Channel((*name).to_owned(), info()?)),
        ("GET", ["channels", name, "users"]) => Ok(Call::Users((*name).to_owned())),
        ("POST", ["users", _, "terminate_connections"]) if habits.contains(&Habit::NoTerminate) => {
            Err(not_found())
        }
        ("POST", ["users", id, "terminate_connections"]) => Ok(Call::Terminate((*id).to_owned())),
        _ => Err(not_found()),
    }
}

fn percent_decode(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return path.into();
    }
    // A form's decoding but for the plus sign, which stands for itself in a path.
    let form = format!("p={}", path.replace('+', "%2B").replace('&', "%26"));
    let decoded = form_urlencoded::parse(form.as_bytes()).next().map(|(_, v)| v.into_owned());
    decoded.map_or(path.into(), Cow::Owned)
}

fn authenticate(
    (app, habits): (&App, &Habits),
    unix_s: u64,
    parts: &Parts<'_>,
    path: &str,
    params: &BTreeMap<Cow<'_, str>, Cow<'_, str>>,
) -> Result<(), Reply> {
    let refuse = |text: String| Err(Reply::text(401, format!("{text}\n")));
    let param = |name: &str| params.get(name).map(|text| &**text).unwrap_or_default();
    let key = param("auth_key");
    if key != app.key.as_str() && !habits.contains(&Habit::AnyKey) {
        return refuse(format!("unknown auth_key: {key}"));
    }
    if param("auth_version") != "1.0" {
        return refuse("invalid auth_version: it must be 1.0".to_owned());
    }
    let Ok(timestamp) = param("auth_timestamp").parse::<u64>() else {
        return refuse("invalid auth_timestamp: it must be in Unix seconds".to_owned());
    };
    let signed: Vec<_> = params
        .iter()
        .filter(|(name, _)| *name != "auth_signature")
        .map(|(name, value)| (Cow::from(&**name), Cow::from(&**value)))
        .collect();
    let sound = [parts.path, path].iter().any(|path| {
        let text = rest::string_to_sign(parts.method, path, &signed);
        auth::verify_hex(&app.secret, text.as_bytes(), param("auth_signature"))
    });
    if !sound {
        let text = rest::string_to_sign(parts.method, path, &signed);
        let said = format!(
            "invalid signature: expected HMAC SHA256 hex digest of {text:?}, yet got {}",
            param("auth_signature")
        );
        let forbids = habits.contains(&Habit::ForbidsForgeries);
        return if forbids { Err(Reply::text(403, said)) } else { refuse(said) };
    }
    let is_any_time = habits.contains(&Habit::AnyTime);
    if timestamp.abs_diff(unix_s) > TIMESTAMP_WINDOW_S && !is_any_time {
        return refuse(format!(
            "timestamp expired: given {timestamp}, the server's time is {unix_s}, \
             they may differ by {TIMESTAMP_WINDOW_S} s"
        ));
    }
    // An official library sends the hash of its empty body along with a GET.
    let hash = param("body_md5");
    if hash.is_empty() && parts.body.is_empty() || hash == rest::body_md5(parts.body) {
        Ok(())
    } else {
        refuse("invalid body_md5: it does not match the body".to_owned())
    }
}

/// An event as a request's body has it.
#[derive(Deserialize)]
struct WireEvent {
    name: String,
    data: String,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(default)]
    socket_id: Option<String>,
    #[serde(default)]
    info: Option<String>,
}

impl WireEvent {
    /// Checks it; `small` is the habit that lets it have less data.
    fn check(self, habits: &Habits, small: Habit) -> Result<(Vec<Publication>, Info), Reply> {
        let has = |habit| habits.contains(&habit);
        let bad = |text: String| Err(Reply::text(400, format!("{text}\n")));
        let info = Info::parse(self.info.as_deref())?;
        let channels = match (self.channels, self.channel) {
            (Some(channels), None) => channels,
            (None, Some(channel)) => vec![channel],
            _ => return bad("either channels or channel is required".to_owned()),
        };
        let channels_max = if has(Habit::ManyChannels) { usize::MAX } else { CHANNELS_MAX };
        if !(1..=channels_max).contains(&channels.len()) {
            return bad(format!("an event is published on 1 to {CHANNELS_MAX} channels"));
        }
        let is_sound = |name: &String| {
            is_channel(name)
                || has(Habit::AnyCharacters) && name.len() <= ChannelName::LENGTH_MAX
                || has(Habit::LongChannelNames)
                    && name.len() <= 200
                    && name.get(..ChannelName::LENGTH_MAX).is_some_and(is_channel)
        };
        if let Some(name) = channels.iter().find(|name| !is_sound(name)) {
            return bad(format!("invalid channel name: {name}"));
        }
        let is_long =
            self.name.chars().count() > EVENT_NAME_CHARS_MAX && !has(Habit::LongEventNames);
        if self.name.is_empty() || is_long {
            return bad(format!("an event's name has 1 to {EVENT_NAME_CHARS_MAX} characters"));
        }
        if self.name.starts_with("pusher:") || self.name.starts_with("pusher_internal:") {
            return bad(format!("the event name {} is the service's own", self.name));
        }
        if has(Habit::NoEmptyData) && self.data.is_empty() {
            return bad("data is required".to_owned());
        }
        let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(&self.data).is_ok();
        if has(Habit::NoText) && !self.data.is_empty() && !is_json() {
            return bad("data must be JSON".to_owned());
        }
        let bytes_max = if has(small) { SMALL_DATA_BYTES_MAX } else { DATA_BYTES_MAX };
        if self.data.len() > bytes_max {
            let text = format!("the data of an event has at most {DATA_BYTES_MAX} bytes\n");
            return Err(Reply::text(413, text));
        }
        let socket_id = self.socket_id.as_deref();
        if socket_id.is_some_and(|id| crate::model::SocketId::new(id).is_err()) {
            return bad("invalid socket_id: it is digits, a dot, digits".to_owned());
        }
        let is_hollow = small == Habit::SmallEvents
            && has(Habit::HollowEvents)
            && self.data.len() > SMALL_DATA_BYTES_MAX;
        let channels = if is_hollow { Vec::new() } else { channels };
        let publications = channels.into_iter().map(|channel| Publication {
            event: self.name.clone(),
            channel,
            data: self.data.clone(),
            except: self.socket_id.clone(),
        });
        Ok((publications.collect(), info))
    }
}

fn read_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Reply> {
    serde_json::from_slice(body)
        .map_err(|error| Reply::text(400, format!("invalid body: {error}\n")))
}

fn trigger(habits: &Habits, body: &[u8]) -> Result<Call, Reply> {
    let (publications, info) = read_body::<WireEvent>(body)?.check(habits, Habit::SmallEvents)?;
    Ok(Call::Publish(publications, info))
}

fn batch(habits: &Habits, body: &[u8]) -> Result<Call, Reply> {
    #[derive(Deserialize)]
    struct Batch {
        batch: Vec<WireEvent>,
    }
    let Batch { batch } = read_body(body)?;
    if batch.len() > BATCH_MAX && !habits.contains(&Habit::ManyEvents) {
        return Err(Reply::text(400, format!("a batch has at most {BATCH_MAX} events\n")));
    }
    let (mut publications, mut infos) = (Vec::new(), Vec::new());
    for event in batch {
        if event.channels.is_some() {
            return Err(Reply::text(400, "an event of a batch has one channel\n"));
        }
        let (of_event, info) = event.check(habits, Habit::SmallBatches)?;
        publications.extend(of_event);
        infos.push(info);
    }
    Ok(Call::Batch(publications, infos))
}

/// Does what a request asks for. `None` instead of an answer means that the connection must be
/// cut.
pub fn apply(
    core: &mut Core,
    now: RunTime,
    call: Call,
    request: &Request,
) -> (Option<Reply>, Vec<Effect>) {
    let (events, answer) = match call {
        Call::Terminate(user_id) => {
            let effects = core.terminate(now, &user_id);
            return (Some(Reply::json(&json!({}))), effects);
        }
        // Counted before the fan-out; the documents promise no relation between the two.
        Call::Publish(events, _) if events.len() > 1 && core.hub().has(Habit::OneChannel) => {
            let message = "an event is published on one channel\n";
            return (Some(Reply::text(400, message)), Vec::new());
        }
        Call::Publish(events, info) => {
            let mut events = events;
            if core.hub().has(Habit::DeafUsers) {
                events.retain(|event| !event.channel.starts_with(TO_USER));
            }
            let answer = publish_answer(core.hub(), now, &events, info);
            (events, answer)
        }
        Call::Batch(events, infos) => {
            let answer = batch_answer(core.hub(), now, &events, &infos);
            (events, answer)
        }
        query => return (Some(read(core.hub(), now, query).unwrap_or_else(|e| e)), Vec::new()),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(refusal) => return (Some(refusal), Vec::new()),
    };
    let (taken, effects) = core.publish(now, events, request);
    let reply = match taken {
        Taken::Yes => Some(Reply::json(&answer)),
        Taken::Refused => Some(Reply::text(400, "refused by a rehearsal fault\n")),
        Taken::Unanswered => None,
        Taken::Denied => Some(Reply::text(503, "unavailable by a rehearsal fault\n")),
    };
    (reply, effects)
}

fn publish_answer(
    hub: &Hub,
    now: RunTime,
    events: &[Publication],
    info: Info,
) -> Result<Value, Reply> {
    if !info.any() || hub.has(Habit::NoInfo) {
        return Ok(json!({}));
    }
    let mut channels = Map::new();
    for event in events {
        channels.insert(event.channel.clone(), published_on(hub, now, event, info)?);
    }
    Ok(json!({ "channels": channels }))
}

fn batch_answer(
    hub: &Hub,
    now: RunTime,
    events: &[Publication],
    infos: &[Info],
) -> Result<Value, Reply> {
    if !infos.iter().any(|info| info.any()) {
        return Ok(json!({}));
    }
    let each = events.iter().zip(infos).map(|(event, info)| published_on(hub, now, event, *info));
    Ok(json!({ "batch": each.collect::<Result<Vec<_>, _>>()? }))
}

/// What is told of a channel in answer to a publication. Several channels may be asked about at
/// once, so what does not apply to one is left out.
fn published_on(hub: &Hub, now: RunTime, event: &Publication, info: Info) -> Result<Value, Reply> {
    let presence = kind_of(&event.channel).is_presence();
    let info = Info {
        user_count: info.user_count && presence,
        subscription_count: info.subscription_count && !presence,
        cache: false,
    };
    Ok(Value::Object(attributes(hub, now, &event.channel, info)?))
}

fn read(hub: &Hub, now: RunTime, call: Call) -> Result<Reply, Reply> {
    match call {
        Call::Channels(prefix, info) => {
            if info.user_count && !prefix.starts_with("presence-") {
                let text = "user_count needs a filter_by_prefix that starts with presence-\n";
                return Err(Reply::text(400, text));
            }
            let mut channels = Map::new();
            let info = Info { cache: false, ..info };
            for (name, _) in hub.channels(&prefix) {
                channels.insert(name.to_owned(), Value::Object(attributes(hub, now, name, info)?));
            }
            Ok(Reply::json(&json!({ "channels": channels })))
        }
        Call::Channel(name, info) => {
            let counts = info.subscription_count && !hub.has(Habit::NoCounts);
            let info = Info { subscription_count: counts, ..info };
            let mut answer = attributes(hub, now, &name, info)?;
            answer.insert("occupied".to_owned(), hub.channel(&name).is_some().into());
            Ok(Reply::json(&Value::Object(answer)))
        }
        Call::Users(name) => {
            if !kind_of(&name).is_presence() {
                return Err(Reply::text(400, "only presence channels have users\n"));
            }
            let members = hub.channel(&name).into_iter().flat_map(|channel| channel.members());
            let users: Vec<_> = members.map(|(id, _)| json!({ "id": id })).collect();
            Ok(Reply::json(&json!({ "users": users })))
        }
        Call::Publish(..) | Call::Batch(..) | Call::Terminate(_) => Ok(Reply::json(&json!({}))),
    }
}

fn attributes(
    hub: &Hub,
    now: RunTime,
    name: &str,
    info: Info,
) -> Result<Map<String, Value>, Reply> {
    if !is_channel(name) {
        return Err(Reply::text(400, format!("invalid channel name: {name}\n")));
    }
    let kind = kind_of(name);
    let mut answer = Map::new();
    if info.user_count {
        if !kind.is_presence() {
            return Err(Reply::text(400, "only presence channels have a user_count\n"));
        }
        let count = hub.channel(name).map_or(0, |channel| channel.user_count());
        answer.insert("user_count".to_owned(), count.into());
    }
    if info.subscription_count {
        let count = hub.channel(name).map_or(0, |channel| channel.subscription_count());
        answer.insert("subscription_count".to_owned(), count.into());
    }
    if info.cache {
        if !kind.is_cache() {
            return Err(Reply::text(400, "only cache channels have a cache\n"));
        }
        let cached = hub.cached(now, name);
        let cached = cached.map(|(data, ttl)| json!({ "data": data, "ttl": ttl.as_secs() }));
        answer.insert("cache".to_owned(), cached.into());
    }
    Ok(answer)
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;
