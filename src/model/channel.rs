//! Channel names, their naming rules, and the kind that follows from the prefix.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a channel is, as its prefix says (Channels docs: channels, cache channels, encrypted
/// channels, presence channels).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// No prefix: anybody may subscribe.
    Public,
    /// `private-`: subscribing needs a signature.
    Private,
    /// `presence-`: private, with a list of members.
    Presence,
    /// `private-encrypted-`: private, and the payload is a secretbox.
    Encrypted,
    /// `cache-`: public, and the last event is replayed to each new subscriber.
    Cache,
    /// `private-cache-`.
    PrivateCache,
    /// `presence-cache-`.
    PresenceCache,
    /// `private-encrypted-cache-`.
    EncryptedCache,
}

impl ChannelKind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Public,
        Self::Private,
        Self::Presence,
        Self::Encrypted,
        Self::Cache,
        Self::PrivateCache,
        Self::PresenceCache,
        Self::EncryptedCache,
    ];

    /// The kind's name in scenarios and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Presence => "presence",
            Self::Encrypted => "encrypted",
            Self::Cache => "cache",
            Self::PrivateCache => "private_cache",
            Self::PresenceCache => "presence_cache",
            Self::EncryptedCache => "encrypted_cache",
        }
    }

    /// The prefix that makes a channel of this kind.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Public => "",
            Self::Private => "private-",
            Self::Presence => "presence-",
            Self::Encrypted => "private-encrypted-",
            Self::Cache => "cache-",
            Self::PrivateCache => "private-cache-",
            Self::PresenceCache => "presence-cache-",
            Self::EncryptedCache => "private-encrypted-cache-",
        }
    }

    /// Whether a subscription must be signed.
    pub const fn needs_auth(self) -> bool {
        !matches!(self, Self::Public | Self::Cache)
    }

    /// Whether the channel has members, and `channel_data` is signed along.
    pub const fn is_presence(self) -> bool {
        matches!(self, Self::Presence | Self::PresenceCache)
    }

    /// Whether events are secretboxes.
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Encrypted | Self::EncryptedCache)
    }

    /// Whether the last event is replayed after each subscription.
    pub const fn is_cache(self) -> bool {
        matches!(
            self,
            Self::Cache | Self::PrivateCache | Self::PresenceCache | Self::EncryptedCache
        )
    }

    /// Whether the agent sends client events there: private and presence channels. SDKs refuse
    /// them on encrypted channels, and servers differ on cache channels.
    pub const fn carries_client_events(self) -> bool {
        matches!(self, Self::Private | Self::Presence)
    }
}

/// What the names of all presence channels start with.
pub const PRESENCE_PREFIX: &str = ChannelKind::Presence.prefix();

impl std::str::FromStr for ChannelKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A channel's name: 1 to 164 of the documented characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelName(String);

impl TryFrom<String> for ChannelName {
    type Error = InvalidChannelName;

    fn try_from(text: String) -> Result<Self, InvalidChannelName> {
        Self::new(text)
    }
}

impl From<ChannelName> for String {
    fn from(name: ChannelName) -> Self {
        name.0
    }
}

/// Why a text is no channel name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidChannelName {
    /// Nothing, or more than 164 characters with the prefix.
    #[error("a channel name has 1 to {} characters", ChannelName::LENGTH_MAX)]
    Length,
    /// A character outside the documented set.
    #[error("a channel name has only letters, digits and _ - = @ , . ;")]
    Character,
}

impl ChannelName {
    /// Longest name with its prefix, in characters (Channels docs: channels).
    pub const LENGTH_MAX: usize = 164;

    /// Checks length and characters.
    ///
    /// # Errors
    /// See [`InvalidChannelName`].
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidChannelName> {
        let text = text.into();
        let allowed = |b: u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'=' | b'@' | b',' | b'.' | b';')
        };
        if text.is_empty() || text.len() > Self::LENGTH_MAX {
            Err(InvalidChannelName::Length)
        } else if !text.bytes().all(allowed) {
            Err(InvalidChannelName::Character)
        } else {
            Ok(Self(text))
        }
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind that the prefix makes it.
    pub fn kind(&self) -> ChannelKind {
        kind_of(&self.0)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The kind that a name's prefix makes it, whether or not the name is valid otherwise.
pub fn kind_of(name: &str) -> ChannelKind {
    // The longest prefix wins, so that `private-encrypted-cache-` is not taken for `private-`.
    ChannelKind::ALL
        .into_iter()
        .filter(|kind| name.starts_with(kind.prefix()))
        .max_by_key(|kind| kind.prefix().len())
        .unwrap_or(ChannelKind::Public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides_the_kind() {
        for (name, kind) in [
            ("orders", ChannelKind::Public),
            ("my-private-x", ChannelKind::Public),
            ("privateer", ChannelKind::Public),
            ("private-x", ChannelKind::Private),
            ("presence-x", ChannelKind::Presence),
            ("private-encrypted-x", ChannelKind::Encrypted),
            ("cache-x", ChannelKind::Cache),
            ("x-cache-y", ChannelKind::Public),
            ("private-cache-x", ChannelKind::PrivateCache),
            ("presence-cache-x", ChannelKind::PresenceCache),
            ("private-encrypted-cache-x", ChannelKind::EncryptedCache),
        ] {
            assert_eq!(kind_of(name), kind, "{name}");
        }
    }

    #[test]
    fn names_keep_to_the_documented_length_and_characters() {
        assert!(ChannelName::new("private-A-z_0=9@x,y.z;w").is_ok());
        assert!(ChannelName::new("x".repeat(164)).is_ok());
        assert_eq!(ChannelName::new("x".repeat(165)), Err(InvalidChannelName::Length));
        assert_eq!(ChannelName::new(""), Err(InvalidChannelName::Length));
        for bad in ["a b", "a/b", "#a", "a:b", "é"] {
            assert_eq!(ChannelName::new(bad), Err(InvalidChannelName::Character), "{bad}");
        }
    }
}
