//! Identities, validated when they are made.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Which of the two clusters of a migration is meant.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ClusterRole {
    /// The cluster that clients leave.
    Old,
    /// The cluster that clients move to.
    New,
}

impl ClusterRole {
    /// Both roles, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::Old, Self::New];

    /// `old` or `new`: as written in scenarios, reports and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }

    /// The other cluster.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }
}

impl fmt::Display for ClusterRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ClusterRole {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(())
    }
}

/// One execution of a scenario: a UUID v7.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// The last eight hexadecimal digits: short, and random even for runs started together.
    pub fn short(self) -> String {
        let text = self.0.simple().to_string();
        text.get(24..).unwrap_or(&text).to_owned()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no identity of the asked kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what} must be {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
}

fn is_token(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes 1 to 128 ASCII letters, digits, `-`, `_` or `.`: what fits a URL path and an
            /// `auth` value unescaped.
            ///
            /// # Errors
            /// Anything else.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                if is_token(&text) {
                    Ok(Self(text))
                } else {
                    let rule = "1 to 128 letters, digits, '-', '_' or '.'";
                    Err(InvalidId { what: $what, rule })
                }
            }

            /// The identity as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

token! {
    /// An app's id: part of the HTTP API's path.
    AppId, "an app id"
}
token! {
    /// An app's key: part of the WebSocket's path, and public.
    AppKey, "an app key"
}

/// A connection's id as the cluster assigned it: digits, a dot, digits. New on every connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SocketId(String);

impl SocketId {
    /// Takes what all SDKs take: `^\d+\.\d+$`, here at most 64 characters.
    ///
    /// # Errors
    /// Anything else.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        match text.split_once('.') {
            Some((a, b)) if text.len() <= 64 && digits(a) && digits(b) => Ok(Self(text.to_owned())),
            _ => Err(InvalidId { what: "a socket id", rule: "digits, a dot, digits" }),
        }
    }

    /// The id as the cluster wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A canary event's place in its stream, counted from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream's index in the plan, the same on both clusters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StreamIx(pub u32);

/// A witness's index in the plan, counted per cluster.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WitnessIx(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_id_is_digits_dot_digits() {
        assert!(SocketId::new("5621.9034127").is_ok());
        for bad in ["", ".", "1.", ".1", "1.2.3", "a.1", "1 .1", &"1".repeat(80)] {
            assert!(SocketId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_app_key_has_no_character_that_would_need_escaping() {
        assert!(AppKey::new("old-app-key-1001").is_ok());
        for bad in ["", "a b", "a/b", "a:b", "a?b", "é", &"k".repeat(129)] {
            assert!(AppKey::new(bad).is_err(), "{bad:?}");
        }
    }
}
