//! Habits of a rehearsal cluster that are not those of the documents: the written form, and nothing
//! else.
//!
//! A habit is written `CLUSTER:HABIT`, such as `new:no-cache`.

use std::fmt;
use std::str::FromStr;

use super::ClusterRole;

/// Makes the habits of one table: each with what it is and its written form.
macro_rules! habits {
    ($($(#[$what:meta])* $habit:ident $name:literal)+) => {
        /// What a cluster does otherwise than documented, always.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Habit {
            $($(#[$what])* $habit,)+
        }

        impl Habit {
            /// Every habit.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$habit),+];

            /// Its written form.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$habit => $name,)+
                }
            }
        }
    };
}

habits! {
    /// A member's user is announced for each of its connections.
    MemberPerConnection "member-per-connection"
    /// A member stays whose connection is cut without a close.
    Ghosts "ghosts"
    /// Cache channels do not tell that they have nothing to repeat.
    SilentMiss "silent-miss"
    /// Cache channels keep nothing.
    NoCache "no-cache"
    /// Client events are refused.
    NoClientEvents "no-client-events"
    /// Client events go to their sender as well.
    Echo "echo"
    /// Client events do not name their sender.
    Anonymous "anonymous"
    /// Client events have no limit.
    Unlimited "unlimited"
    /// A connection that a publication excludes gets it all the same.
    NoExclusion "no-exclusion"
    /// A publication goes to one channel.
    OneChannel "one-channel"
    /// The answer to a publication says nothing of its channels.
    NoInfo "no-info"
    /// Encrypted channels are refused.
    NoEncrypted "no-encrypted"
    /// Cache channels are refused.
    NoCacheChannels "no-cache-channels"
    /// Data published to private channels gets a blank at its end.
    PadsPrivate "pads-private"
    /// Data published to presence channels gets a blank at its end.
    PadsPresence "pads-presence"
    /// Private cache channels are refused.
    NoPrivateCache "no-private-cache"
    /// Presence cache channels are refused.
    NoPresenceCache "no-presence-cache"
    /// Encrypted cache channels are refused.
    NoEncryptedCache "no-encrypted-cache"
    /// Data that is no JSON is refused.
    NoText "no-text"
    /// Blanks behind the colons of data are taken out.
    Compact "compact"
    /// Data that is a number loses the zeroes at its end.
    ShortNumbers "short-numbers"
    /// Data that is null becomes empty.
    NoNull "no-null"
    /// Empty data is refused.
    NoEmptyData "no-empty-data"
    /// What is not ASCII in data is escaped.
    EscapesUnicode "escapes-unicode"
    /// What is escaped in data without need is not any more.
    Unescapes "unescapes"
    /// Large integers in data are rounded.
    Doubles "doubles"
    /// Events published by themselves have at most 10,000 bytes of data.
    SmallEvents "small-events"
    /// Events published in a batch have at most 10,000 bytes of data.
    SmallBatches "small-batches"
    /// Events of more than 10,000 bytes are accepted and delivered to nobody, but for those in
    /// batches.
    HollowEvents "hollow-events"
    /// Client events have at most 10,000 bytes of data.
    SmallClientEvents "small-client-events"
    /// A publication goes to any number of channels.
    ManyChannels "many-channels"
    /// A batch has any number of events.
    ManyEvents "many-events"
    /// The API takes channel names of 200 characters.
    LongChannelNames "long-channel-names"
    /// The API takes event names of any length.
    LongEventNames "long-event-names"
    /// The API takes any character in a channel's name.
    AnyCharacters "any-characters"
    /// Who connects with an unknown key is cut off without a word.
    WordlessStrangers "wordless-strangers"
    /// The API does not look at the key of a request, but at its signature alone.
    AnyKey "any-key"
    /// A request with a wrong signature is answered with 403.
    ForbidsForgeries "forbids-forgeries"
    /// A refused signature has an error code.
    CodedRefusals "coded-refusals"
    /// Channels may be subscribed to by a name with blanks in it.
    AnyName "any-name"
    /// Subscriptions may name channels of up to 200 characters.
    LongSubscriptions "long-subscriptions"
    /// Subscriptions may name channels with colons.
    Colons "colons"
    /// Whoever has a wrong signature is let into private cache channels.
    OpenCaches "open-caches"
    /// A frame that is no JSON is not answered.
    SilentMalformed "silent-malformed"
    /// A second subscription to a channel is confirmed.
    Twice "twice"
    /// A confirmed subscription bears no data.
    BareConfirmations "bare-confirmations"
    /// The API closes a connection behind each answer.
    ClosesHttp "closes-http"
    /// The API's answers bear a date in the future.
    ClockAhead "clock-ahead"
    /// The API does not look at the timestamp of a request.
    AnyTime "any-time"
    /// Clients are told to ping after 30 seconds.
    Activity30 "activity-30"
    /// A connection that neither subscribes nor signs in is closed soon.
    Talkers "talkers"
    /// The same after ten seconds, not one.
    PatientTalkers "patient-talkers"
    /// Who sends a ping frame is closed.
    NoFramePings "no-frame-pings"
    /// A client that is silent for a second is asked by `pusher:ping` whether it is there.
    PusherPings "pusher-pings"
    /// A connection is closed from which no message came for two seconds.
    WantsMessages "wants-messages"
    /// A connection is closed on which no message came or went for two seconds.
    WantsTraffic "wants-traffic"
    /// Every connection is closed after two seconds.
    ShortLived "short-lived"
    /// Subscribers are told how many they are.
    TellsCounts "tells-counts"
    /// The API does not count subscriptions.
    NoCounts "no-counts"
    /// Nobody can sign in.
    NoSignIn "no-sign-in"
    /// Signing in with a wrong signature closes the connection.
    ShutsForgersOut "shuts-forgers-out"
    /// Events for a user are taken and not delivered.
    DeafUsers "deaf-users"
    /// Watchlists are not looked at.
    NoWatchlist "no-watchlist"
    /// Nobody's connections can be terminated.
    NoTerminate "no-terminate"
    /// What is told of a member is not passed on.
    SilentInfo "silent-info"
    /// A user's id must be a text.
    TextIds "text-ids"
    /// A user's id may have any length.
    LongIds "long-ids"
    /// Of a user twice as much may be told.
    LargeInfo "large-info"
    /// A presence channel has any number of members.
    Crowds "crowds"
    /// TLS is spoken in version 1.3 alone.
    Tls13 "tls-1.3"
    /// The certificate expires in ten days.
    BriefCertificate "brief-certificate"
    /// The certificate's key is of a kind that older clients do not know.
    Ed25519 "ed25519"
    /// The port with TLS takes connections without it, too.
    PlainToo "plain-too"
    /// The same, and they are told to use TLS.
    ForcesTls "forces-tls"
    /// A WebSocket's upgrade takes a second.
    SlowUpgrade "slow-upgrade"
    /// It listens on the loopback address of IPv6 as well.
    Ipv6 "ipv6"
    /// Of pages only those of `https://app.example.com` may connect.
    OwnOrigins "own-origins"
    /// No webhook tells that a channel was occupied.
    SilentOccupancy "silent-occupancy"
    /// No webhook tells that a channel was vacated.
    SilentVacancy "silent-vacancy"
    /// No webhook tells of a member who comes.
    SilentComers "silent-comers"
    /// No webhook tells of a member who leaves.
    SilentLeavers "silent-leavers"
    /// No webhook tells of a client event.
    SilentClients "silent-clients"
    /// No webhook tells that a cache channel had nothing to repeat.
    SilentMisses "silent-misses"
    /// No webhook tells how many subscriptions there are.
    SilentCounts "silent-counts"
    /// The webhook of a client event does not name the sender's user.
    NamelessHooks "nameless-hooks"
    /// No webhook is sent.
    NoHooks "no-hooks"
    /// Webhooks come three seconds late, but for those of who leaves.
    LateHooks "late-hooks"
    /// Webhooks that a channel was vacated or a member left come three seconds late.
    LateLeavings "late-leavings"
    /// Each event has a webhook of its own.
    SingleHooks "single-hooks"
    /// What webhooks tell of one channel comes in the wrong order.
    ShuffledHooks "shuffled-hooks"
    /// Each webhook is sent twice.
    DoubledHooks "doubled-hooks"
    /// Webhooks have a wrong signature.
    ForgedHooks "forged-hooks"
    /// Webhooks have no signature.
    UnsignedHooks "unsigned-hooks"
}

/// A habit of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HabitOf(pub ClusterRole, pub Habit);

impl fmt::Display for HabitOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1.as_str())
    }
}

impl FromStr for HabitOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (cluster, habit) = text.split_once(':').ok_or("write CLUSTER:HABIT: new:no-cache")?;
        let cluster = cluster.parse().map_err(|_| format!("`{cluster}` is neither old nor new"))?;
        let habit = Habit::ALL.into_iter().find(|known| known.as_str() == habit);
        let habit = habit.ok_or("is no habit; docs/parity.md lists them")?;
        Ok(Self(cluster, habit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for habit in Habit::ALL {
            let of = HabitOf(ClusterRole::New, habit);
            assert_eq!(of.to_string().parse(), Ok(of));
        }
        for bad in ["", "new", "both:echo", "new:shout", "new:"] {
            assert!(bad.parse::<HabitOf>().is_err(), "{bad}");
        }
    }
}
