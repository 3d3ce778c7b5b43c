//! The state of one channel: who listens, who is present, what was last said. Pure; owned by the
//! hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::RunTime;
use crate::model::habit::Habit;

use super::hub::Conn;
use super::wire::Data;

/// Most users of a presence channel (Channels docs: presence channels).
pub const MEMBERS_MAX: usize = 100;
/// Most characters of a member's id (Channels docs: presence channels).
pub const USER_ID_CHARS_MAX: usize = 128;
/// Most bytes of what is told of a member (Channels docs: presence channels).
pub const USER_INFO_BYTES_MAX: usize = 1024;
/// How long a cache channel keeps its last event (Channels docs: cache channels).
pub const CACHE_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Most channels whose last event is kept. The documents let a cached event end early, so the
/// oldest one makes room.
const CACHED_CHANNELS_MAX: usize = 4096;

/// Who a subscriber of a presence channel is.
#[derive(Clone, Debug)]
pub struct Member {
    /// The user's id.
    pub id: String,
    /// What the application tells of the user, as it wrote it.
    pub info: Option<Box<RawValue>>,
}

impl Member {
    /// Reads `channel_data`, or the user data of a sign-in, which has `id` instead of `user_id`.
    ///
    /// # Errors
    /// A sentence for a `pusher:error`.
    pub fn parse(text: &str, habits: &BTreeSet<Habit>) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(alias = "id")]
            user_id: serde_json::Value,
            #[serde(default)]
            user_info: Option<Box<RawValue>>,
        }
        let wire: Wire = serde_json::from_str(text)
            .map_err(|_| "channel_data must be JSON with a user_id".to_owned())?;
        // The documents' own example has a number here, so the service takes one.
        let id = match wire.user_id {
            serde_json::Value::String(id) => id,
            serde_json::Value::Number(id) if !habits.contains(&Habit::TextIds) => id.to_string(),
            _ => return Err("the user_id in channel_data must be a string".to_owned()),
        };
        let is_long = id.chars().count() > USER_ID_CHARS_MAX && !habits.contains(&Habit::LongIds);
        if id.is_empty() || is_long {
            return Err(format!("a user_id has 1 to {USER_ID_CHARS_MAX} characters"));
        }
        let bytes_max = match habits.contains(&Habit::LargeInfo) {
            true => 2 * USER_INFO_BYTES_MAX,
            false => USER_INFO_BYTES_MAX,
        };
        if wire.user_info.as_ref().is_some_and(|info| info.get().len() > bytes_max) {
            return Err(format!("user_info has at most {bytes_max} bytes"));
        }
        let info = wire.user_info.filter(|_| !habits.contains(&Habit::SilentInfo));
        Ok(Self { id, info })
    }
}

struct Present {
    info: Option<Box<RawValue>>,
    connections: usize,
}

/// One occupied channel.
#[derive(Default)]
pub struct Channel {
    /// Each subscriber, with its user's id on presence channels.
    subscribers: BTreeMap<Conn, Option<Arc<str>>>,
    /// The users present. A user of two connections is here once.
    present: BTreeMap<Arc<str>, Present>,
}

impl Channel {
    /// Whether this connection is subscribed.
    pub fn has(&self, conn: Conn) -> bool {
        self.subscribers.contains_key(&conn)
    }

    /// Every subscriber but one.
    pub fn subscribers_except(&self, except: Option<Conn>) -> Vec<Conn> {
        self.subscribers.keys().copied().filter(|conn| Some(*conn) != except).collect()
    }

    /// How many connections are subscribed.
    pub fn subscription_count(&self) -> usize {
        self.subscribers.len()
    }

    /// How many users are present.
    pub fn user_count(&self) -> usize {
        self.present.len()
    }

    /// The users present, in the order of their ids.
    pub fn members(&self) -> impl Iterator<Item = (&str, Option<&RawValue>)> {
        self.present.iter().map(|(id, present)| (&**id, present.info.as_deref()))
    }

    /// The user that this connection subscribed as.
    pub fn user_of(&self, conn: Conn) -> Option<&Arc<str>> {
        self.subscribers.get(&conn)?.as_ref()
    }

    /// Whether a user, not being present yet, would be one too many.
    pub fn is_full_for(&self, id: &str) -> bool {
        self.present.len() >= MEMBERS_MAX && !self.present.contains_key(id)
    }

    /// Adds a subscriber; says whether its user came with it.
    pub fn join(&mut self, conn: Conn, member: Option<Member>) -> bool {
        let Some(member) = member else {
            self.subscribers.insert(conn, None);
            return false;
        };
        let id: Arc<str> = member.id.into();
        self.subscribers.insert(conn, Some(Arc::clone(&id)));
        let present =
            self.present.entry(id).or_insert(Present { info: member.info, connections: 0 });
        present.connections += 1;
        present.connections == 1
    }

    /// Removes a subscriber; gives the user that left with it, if this was the user's last one.
    pub fn leave(&mut self, conn: Conn) -> Option<Arc<str>> {
        let id = self.subscribers.remove(&conn)??;
        let present = self.present.get_mut(&id)?;
        present.connections -= 1;
        if present.connections > 0 {
            return None;
        }
        self.present.remove(&id);
        Some(id)
    }

    /// Whether nobody is subscribed.
    pub fn is_vacant(&self) -> bool {
        self.subscribers.is_empty()
    }
}

/// What cache channels keep: the last event that was published on each through the HTTP API. It
/// outlives the channel's last subscriber.
#[derive(Default)]
pub struct Caches {
    last: BTreeMap<Arc<str>, Cached>,
}

/// A cached event.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The event's name.
    pub event: String,
    /// Its data.
    pub data: Data,
    at: RunTime,
}

impl Caches {
    /// Keeps an event in place of the channel's last one.
    pub fn put(&mut self, now: RunTime, channel: &Arc<str>, event: &str, data: &Data) {
        if self.last.len() >= CACHED_CHANNELS_MAX && !self.last.contains_key(channel) {
            let oldest = self.last.iter().min_by_key(|(_, c)| c.at).map(|(k, _)| Arc::clone(k));
            oldest.and_then(|oldest| self.last.remove(&oldest));
        }
        let cached = Cached { event: event.to_owned(), data: data.clone(), at: now };
        self.last.insert(Arc::clone(channel), cached);
    }

    /// The channel's last event and for how long it will be kept, unless it is too old.
    pub fn get(&self, now: RunTime, channel: &str) -> Option<(&Cached, Duration)> {
        let cached = self.last.get(channel)?;
        let left = CACHE_LIFETIME.checked_sub(now.since(cached.at))?;
        (!left.is_zero()).then_some((cached, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Member, String> {
        Member::parse(text, &BTreeSet::new())
    }

    fn member(id: &str) -> Option<Member> {
        Some(Member { id: id.to_owned(), info: None })
    }

    #[test]
    fn a_user_comes_with_the_first_connection_and_leaves_with_the_last() {
        let mut channel = Channel::default();
        assert!(channel.join(Conn(1), member("a")));
        assert!(!channel.join(Conn(2), member("a")));
        assert_eq!((channel.user_count(), channel.subscription_count()), (1, 2));
        assert_eq!(channel.leave(Conn(1)), None);
        assert_eq!(channel.leave(Conn(1)), None);
        assert_eq!(channel.leave(Conn(2)).as_deref(), Some("a"));
        assert!(channel.is_vacant());
    }

    #[test]
    fn channel_data_is_held_to_the_documented_limits() {
        assert_eq!(parse(r#"{"user_id":"a","user_info":{"n": 1}}"#).unwrap().id, "a");
        assert_eq!(parse(r#"{"user_id":10}"#).unwrap().id, "10");
        assert_eq!(parse(r#"{"id":"a","watchlist":[]}"#).unwrap().id, "a");
        assert!(parse(&format!(r#"{{"user_id":"{}"}}"#, "é".repeat(128))).is_ok());
        assert!(parse(&format!(r#"{{"user_id":"{}"}}"#, "e".repeat(129))).is_err());
        let info = |n| format!(r#"{{"user_id":"a","user_info":"{}"}}"#, "i".repeat(n));
        assert!(parse(&info(1022)).is_ok());
        for bad in ["", "{}", r#"{"user_id":""}"#, r#"{"user_id":null}"#, &info(1023)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cached_event_lasts_half_an_hour_and_the_oldest_makes_room() {
        let mut caches = Caches::default();
        let data = Data::Text("1".to_owned());
        caches.put(RunTime::ZERO, &"cache-a".into(), "e", &data);
        let minutes = |n: u64| RunTime::from_millis(n * 60_000);
        assert_eq!(caches.get(minutes(29), "cache-a").unwrap().1, Duration::from_secs(60));
        assert!(caches.get(minutes(30), "cache-a").is_none());
        for i in 0..CACHED_CHANNELS_MAX {
            caches.put(minutes(1), &format!("cache-{i}").into(), "e", &data);
        }
        assert_eq!(caches.last.len(), CACHED_CHANNELS_MAX);
        assert!(caches.get(minutes(1), "cache-a").is_none());
    }
}
