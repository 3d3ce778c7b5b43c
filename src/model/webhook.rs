//! The kinds of events that webhooks tell of (Channels docs: webhooks).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes the kinds of one table: each with what it says and the documents' name.
macro_rules! kinds {
    ($($(#[$what:meta])* $kind:ident $name:literal)+) => {
        /// What a webhook's event tells of.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
            JsonSchema,
        )]
        pub enum WebhookKind {
            $($(#[$what])* #[serde(rename = $name)] $kind,)+
        }

        impl WebhookKind {
            /// Every kind.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$kind),+];

            /// Its name in webhooks.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// Somebody came to be on a channel.
    ChannelOccupied "channel_occupied"
    /// Nobody is on it any more.
    ChannelVacated "channel_vacated"
    /// A user came to be on a presence channel.
    MemberAdded "member_added"
    /// A user left one.
    MemberRemoved "member_removed"
    /// A client sent an event.
    ClientEvent "client_event"
    /// A cache channel had nothing to repeat.
    CacheMiss "cache_miss"
    /// How many subscriptions a channel has.
    SubscriptionCount "subscription_count"
    /// Something that the documents do not name.
    Other "other"
}

impl WebhookKind {
    /// The kind of this name.
    pub fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Other)
    }
}
