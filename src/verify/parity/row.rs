//! What is compared of two apps, and which experiment finds it: one table.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes the rows and the probes of one table: each probe with its name, how long it takes and how
/// many messages, and under it each of its rows with its name, what is compared, and what to change
/// where new differs.
macro_rules! rows {
    ($(
        $(#[$of_probe:meta])*
        $probe:ident $probe_name:literal $time:ident $messages:literal {
            $($row:ident $name:literal $meaning:literal $advice:literal)+
        }
    )+) => {
        /// One setting or habit of an app that shows from outside.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
            JsonSchema,
        )]
        pub enum Row {
            $($(
                #[doc = $meaning]
                #[serde(rename = $name)]
                $row,
            )+)+
        }

        impl Row {
            /// Every row, in the order in which they are shown.
            pub const ALL: [Self; [$($($name),+),+].len()] = [$($(Self::$row),+),+];

            /// Its name in scenarios and reports.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($(Self::$row => $name,)+)+
                }
            }

            /// For people: what is compared.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $($(Self::$row => $meaning,)+)+
                }
            }

            /// For people: what to change where the new app differs.
            pub const fn advice(self) -> &'static str {
                match self {
                    $($(Self::$row => $advice,)+)+
                }
            }

            /// What finds it.
            pub const fn probe(self) -> Probe {
                match self {
                    $($(Self::$row => Probe::$probe,)+)+
                }
            }
        }

        /// What finds rows: one connected experiment.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
            JsonSchema,
        )]
        pub enum Probe {
            $(
                $(#[$of_probe])*
                #[serde(rename = $probe_name)]
                $probe,
            )+
        }

        impl Probe {
            /// Every probe.
            pub const ALL: [Self; [$($probe_name),+].len()] = [$(Self::$probe),+];

            /// Its name in scenarios.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$probe => $probe_name,)+
                }
            }

            /// What it finds.
            pub const fn rows(self) -> &'static [Row] {
                match self {
                    $(Self::$probe => &[$(Row::$row),+],)+
                }
            }

            const fn time(self) -> Time {
                match self {
                    $(Self::$probe => Time::$time,)+
                }
            }

            /// Messages that it is billed for on each app, at most.
            pub const fn messages(self) -> u64 {
                match self {
                    $(Self::$probe => $messages,)+
                }
            }
        }
    };
}

/// How long a probe takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Time {
    /// Seconds.
    Seconds,
    /// Most of a minute.
    Minute,
    /// So long that it must be asked for.
    Minutes,
}

impl Row {
    /// The rows that say whether there is what this one is about.
    pub const fn rests_on(self) -> &'static [Self] {
        match self {
            Self::ChannelsPerEvent => &[Self::SeveralChannels],
            Self::SizeClientEvent
            | Self::ClientEventsEcho
            | Self::ClientEventsUserId
            | Self::ClientEventsRate => &[Self::ClientEvents],
            Self::SignInForged | Self::ToUser | Self::Watchlist | Self::Terminate => {
                &[Self::SignIn]
            }
            Self::IdleTime => &[Self::Idle],
            Self::AuthEndpointForbidden => &[Self::AuthEndpoint],
            Self::CertificateTrust | Self::CertificateKey | Self::CertificateExpiry => {
                &[Self::TlsVersions]
            }
            Self::WebhookDelay
            | Self::WebhookLeavingDelay
            | Self::WebhookOccupied
            | Self::WebhookVacated
            | Self::WebhookMemberAdded
            | Self::WebhookMemberRemoved
            | Self::WebhookCount
            | Self::WebhookBatches
            | Self::WebhookOrder
            | Self::WebhookSignature
            | Self::WebhookDoubles => &[Self::WebhookArrival],
            Self::CacheMiss | Self::CacheReplay => &[Self::KindCache],
            Self::WebhookCacheMiss => &[Self::WebhookArrival, Self::KindCache],
            Self::WebhookClientEvent => &[Self::WebhookArrival, Self::ClientEvents],
            Self::WebhookSender => {
                &[Self::WebhookArrival, Self::ClientEvents, Self::WebhookClientEvent]
            }
            _ => &[],
        }
    }
}

impl Row {
    /// By how much longer than twice the other's a time may be.
    pub const fn slack(self) -> Duration {
        Duration::from_millis(match self {
            Self::ConnectTime => 250,
            Self::WebhookDelay | Self::WebhookLeavingDelay => 1_000,
            _ => 5_000,
        })
    }
}

impl Probe {
    /// Those that are tried if nobody says which, beside a run, where there is what they need.
    pub fn brief() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|probe| probe.time() == Time::Seconds)
    }

    /// The key of the scenario without which it cannot be tried.
    pub const fn needs(self) -> Option<&'static str> {
        match self {
            Self::Webhooks => Some("webhooks"),
            Self::Origins => Some("parity.origins"),
            Self::Endpoints => Some("auth_endpoint"),
            _ => None,
        }
    }

    /// Whether it takes so long that it must be asked for.
    pub const fn is_slow(self) -> bool {
        matches!(self.time(), Time::Minutes)
    }

    /// Connections that it has to each app at a time, at most.
    pub const fn connections(self) -> usize {
        match self {
            Self::MemberLimit => 102,
            Self::Heartbeats => 5,
            _ => 3,
        }
    }

    /// How long it takes as a rule, on a cluster of which an answer takes a tenth of a second.
    pub const fn takes(self) -> Duration {
        Duration::from_secs(match self.time() {
            Time::Seconds => 6,
            Time::Minute => 45,
            Time::Minutes => 320,
        })
    }
}

rows! {
    /// Which kinds of channel there are.
    Kinds "kinds" Seconds 60 {
        KindPublic "kind-public"
            "public channels"
            "find out why the new app lets nobody in; every app has public channels"
        KindPrivate "kind-private"
            "private channels"
            "enable private channels, or see why the signature is refused"
        KindPresence "kind-presence"
            "presence channels"
            "enable presence channels, or see why the signature is refused"
        KindEncrypted "kind-encrypted"
            "encrypted channels"
            "clients of private-encrypted- channels must be able to do without them"
        KindCache "kind-cache"
            "cache channels"
            "clients of cache- channels must be able to do without them"
        KindPrivateCache "kind-private-cache"
            "private cache channels"
            "clients of private-cache- channels must be able to do without them"
        KindPresenceCache "kind-presence-cache"
            "presence cache channels"
            "clients of presence-cache- channels must be able to do without them"
        KindEncryptedCache "kind-encrypted-cache"
            "encrypted cache channels"
            "clients of private-encrypted-cache- channels must be able to do without them"
        Confirmation "confirmation"
            "a confirmed subscription to a public channel bears"
            "official clients take either; one of your own must, too"
    }
    /// What data looks like on arrival.
    Data "data" Seconds 40 {
        DataText "data-text"
            "data that is no JSON arrives"
            "publish JSON texts alone"
        DataObject "data-object"
            "an object's JSON text arrives"
            "let no client rely on the bytes of the data, such as for a signature"
        DataNumber "data-number"
            "a number's JSON text arrives"
            "let no client rely on how a number is written"
        DataNull "data-null"
            "null arrives"
            "publish an object that says that there is nothing"
        DataEmpty "data-empty"
            "empty data arrives"
            "publish {} where there is nothing to say"
        DataUnicode "data-unicode"
            "letters beyond ASCII arrive"
            "escape them in the JSON text that is published"
        DataEscapes "data-escapes"
            "escaped letters arrive"
            "let no client rely on how a letter is escaped"
        DataIntegers "data-integers"
            "large integers arrive"
            "publish large integers as strings"
    }
    /// How large an event may be.
    Sizes "sizes" Seconds 90 {
        SizeTrigger "size-trigger"
            "the data of an event may have"
            "publish no larger events than both of them deliver, or raise the lower limit"
        SizeBatch "size-batch"
            "the data of an event in a batch may have"
            "publish no larger events than both of them deliver, or raise the lower limit"
    }
    /// How many channels and events a request may have. A publication to 101 channels is billed as
    /// so many.
    Batches "batches" Seconds 680 {
        ChannelsPerEvent "channels-per-event"
            "the channels of a publication may be"
            "publish to no more channels at a time than both of them take"
        EventsPerBatch "events-per-batch"
            "the events of a batch may be"
            "publish no larger batches than both of them take"
    }
    /// What names may be.
    Names "names" Seconds 50 {
        ChannelNameLength "channel-name-length"
            "the name of a channel that is published to may have"
            "use no longer names than both of them take"
        EventNameLength "event-name-length"
            "an event's name may have"
            "use no longer names than both of them take"
        ChannelNameCharacters "channel-name-characters"
            "the name of a channel that is published to may have, beside letters and digits"
            "use none of the characters that one of them refuses"
        SubscriptionLength "subscription-length"
            "the name of a channel that is subscribed to may have"
            "use no longer names than both of them take"
        SubscriptionCharacters "subscription-characters"
            "the name of a channel that is subscribed to may have, beside letters and digits"
            "use none of the characters that one of them refuses"
    }
    /// What ought to be refused.
    Refusals "refusals" Seconds 10 {
        KeyUnknown "key-unknown"
            "who connects with an unknown key is told"
            "a client with a mistyped key will see something else; look for that in its logs"
        HttpKeyUnknown "http-key-unknown"
            "a request with an unknown key is answered"
            "let the backend's error handling know both answers"
        HttpSignature "http-signature"
            "a request with a wrong signature is answered"
            "let the backend's error handling know both answers; a 200 may bear an error"
        ChannelSignature "channel-signature"
            "a subscription with a wrong signature is answered"
            "let clients treat both answers as a failed subscription"
        OpenKinds "open-kinds"
            "kinds of channel, beside private ones, that let in who has a wrong signature"
            "whoever is let in without a right hears everything; use no such kind on that app"
        ChannelName "channel-name"
            "a subscription to a malformed name is answered"
            "use no such names; what one lets through the other may not"
        FrameMalformed "frame-malformed"
            "a frame that is no JSON is answered"
            "only clients of your own making will notice"
        SubscriptionTwice "subscription-twice"
            "a second subscription to the same channel is answered"
            "let clients subscribe once, or take both answers"
    }
    /// What time it is there, and how requests are taken.
    Clock "clock" Seconds 1 {
        Clock "clock"
            "the server's clock is"
            "let the new server's clock be set by NTP"
        TimestampWindow "timestamp-window"
            "a request's timestamp may differ by"
            "let the backend's clock be set by NTP: what one takes the other may refuse"
        KeepAlive "keep-alive"
            "the API keeps a connection open behind an answer"
            "let the backend reckon with a new connection for each request"
    }
    /// How a connection shows that it lives.
    Heartbeat "heartbeat" Seconds 0 {
        ActivityTimeout "activity-timeout"
            "clients are told to ping after"
            "dead connections are noticed sooner or later; set it as old has it"
        PingEvent "ping-event"
            "pusher:ping is"
            "clients that do not hear a pong reconnect all the time"
        PingFrame "ping-frame"
            "a ping frame of the WebSocket protocol is"
            "let what stands before the new server pass ping frames on"
    }
    /// What keeps a connection alive, for longer than twice its timeout.
    Heartbeats "heartbeats" Minutes 60 {
        QuietPingEvent "quiet-ping-event"
            "a quiet connection whose client sends pusher:ping is"
            "find out what ends it: a balancer in between has a timeout of its own"
        QuietPingFrame "quiet-ping-frame"
            "a quiet connection whose client sends ping frames alone is"
            "let clients send pusher:ping, as official ones do"
        BusyPingEvent "busy-ping-event"
            "a connection that receives, whose client sends pusher:ping, is"
            "find out what ends it: a balancer in between has a timeout of its own"
        BusyPingFrame "busy-ping-frame"
            "a connection that receives, whose client sends ping frames alone, is"
            "let clients send pusher:ping, as official ones do"
        ServerPing "server-ping"
            "a client that only answers hears"
            "clients that rely on the server's pings must ping by themselves"
    }
    /// What becomes of a connection that does nothing.
    Idle "idle" Minute 0 {
        Idle "idle"
            "a connection that neither subscribes nor signs in is"
            "set the new app's requirement that connections authorise as old has it"
        IdleTime "idle-time"
            "it is closed after"
            "set the new app's requirement that connections authorise as old has it"
    }
    /// Who is present.
    Presence "presence" Seconds 30 {
        PresenceUser "presence-user"
            "a user of two connections"
            "member lists and their events will differ; count users by id in the application"
        PresenceCut "presence-cut"
            "a member whose connection is cut leaves after"
            "members will seem present for longer or shorter; see the server's activity timeout"
    }
    /// Who is present without a word.
    PresenceSilent "presence-silent" Minutes 10 {
        PresenceSilent "presence-silent"
            "a member whose connection falls silent leaves after"
            "members will seem present for longer or shorter; see the server's activity timeout"
    }
    /// What is told of members.
    Members "members" Seconds 250 {
        MemberInfo "member-info"
            "what a user_info tells arrives"
            "let clients ask the application for what they must know of a user"
        MemberIdNumber "member-id-number"
            "a user_id that is a number is"
            "make each user_id a string before it is signed"
        MemberIdLength "member-id-length"
            "a user_id may have"
            "use no longer ids than both of them take"
        MemberInfoSize "member-info-size"
            "a user_info may have"
            "tell no more of a user than both of them take"
    }
    /// How many members a channel may have.
    MemberLimit "member-limit" Minutes 6_000 {
        MembersPerChannel "members-per-channel"
            "members of one channel"
            "let no channel grow larger than both of them allow"
    }
    /// What cache channels keep.
    Cache "cache" Seconds 20 {
        CacheMiss "cache-miss"
            "a cache channel without an event tells of it"
            "clients that load their state on pusher:cache_miss must not wait for it"
        CacheReplay "cache-replay"
            "a cache channel repeats"
            "clients must fetch the last state themselves, or the server must cache"
    }
    /// What clients send each other.
    ClientEvents "client-events" Seconds 150 {
        ClientEvents "client-events"
            "client events are delivered on"
            "let the same kinds of channel have client events on both, where the server allows it"
        ClientEventsEcho "client-events-echo"
            "a client event goes to its sender"
            "senders must be ready to get, or not to get, their own events"
        ClientEventsUserId "client-events-user-id"
            "a client event names its sender"
            "put the sender's id into the event's data"
        SizeClientEvent "size-client-event"
            "the data of a client event may have"
            "send no larger client events than both of them deliver"
        ClientEventsRate "client-events-rate"
            "of 20 client events at once are delivered"
            "set the new app's limit on client events as old has it"
    }
    /// What a publication may ask for.
    Publication "publication" Seconds 30 {
        SenderExclusion "sender-exclusion"
            "a connection that a publication excludes"
            "clients must know their own events by an id and drop them"
        SeveralChannels "several-channels"
            "a publication to three channels arrives"
            "publish to each channel by a request of its own"
        PublicationInfo "publication-info"
            "a publication's answer counts rightly"
            "what reads counts from the answer must ask the channel instead, or both apps must have \
             subscription counts enabled"
    }
    /// Who is told how many subscriptions there are.
    Counts "counts" Seconds 0 {
        CountEvent "count-event"
            "subscribers are told how many they are"
            "set the new app's subscription counting as old has it"
        CountApi "count-api"
            "the API's count of subscriptions is"
            "set the new app's subscription counting as old has it"
    }
    /// Users who sign in.
    Users "users" Seconds 10 {
        SignIn "sign-in"
            "signing in"
            "enable user authentication for both apps, or rely on it on neither"
        SignInForged "sign-in-forged"
            "signing in with a wrong signature is answered"
            "let clients treat both answers as a failed sign-in"
        ToUser "to-user"
            "an event for a user"
            "publish to a private channel of each user instead"
        Watchlist "watchlist"
            "a watchlist"
            "enable watchlist events for both apps, or use a presence channel"
        Terminate "terminate"
            "a user whose connections the backend terminates"
            "let the backend shut users out by refusing to authorise them as well"
    }
    /// How connections are secured, and how long they take.
    Transport "transport" Seconds 0 {
        TlsVersions "tls-versions"
            "connections are secured by"
            "let what ends TLS for the new app speak what the old one's does, for old clients' sake"
        CertificateTrust "certificate-trust"
            "the certificate is trusted for"
            "use a certificate that browsers and phones trust, with what lies between it and its root"
        CertificateKey "certificate-key"
            "the certificate's key is"
            "see that the oldest clients can do with that kind of key"
        CertificateExpiry "certificate-expiry"
            "the certificate expires in"
            "renew it before the migration, and let that happen by itself"
        PlainWebSocket "plain-websocket"
            "who connects without TLS is"
            "let clients use TLS, or the new server do as the old one"
        ConnectTime "connect-time"
            "from a name to an established connection it takes"
            "see which step takes longer: DNS, TCP, TLS, the upgrade or the cluster itself"
    }
    /// Over which addresses it is reached.
    Addresses "addresses" Seconds 0 {
        Ipv4 "ipv4"
            "over IPv4 it is"
            "give the new app an address of that kind, or take the one away that nobody serves"
        Ipv6 "ipv6"
            "over IPv6 it is"
            "give the new app an address of that kind, or take the one away that nobody serves"
    }
    /// Which pages may connect.
    Origins "origins" Seconds 0 {
        Origin "origin"
            "a page of one of parity.origins that connects is"
            "allow the same origins in the new app's settings"
    }
    /// What the application signs.
    Endpoints "endpoints" Seconds 0 {
        AuthEndpoint "auth-endpoint"
            "of the auth endpoint for its clients"
            "give it key and secret of the app that those clients use"
        UserAuthEndpoint "user-auth-endpoint"
            "of the user auth endpoint for its clients"
            "give it key and secret of the app that those clients use"
        AuthEndpointForbidden "auth-endpoint-forbidden"
            "a channel that the auth endpoint must forbid is"
            "let it ask the same who may have what for either app"
    }
    /// What webhooks tell.
    Webhooks "webhooks" Seconds 30 {
        WebhookArrival "webhook-arrival"
            "webhooks of the app are"
            "set the new app's webhooks as old has them, and let their URL be the same receiver's"
        WebhookDelay "webhook-delay"
            "webhooks come after"
            "the backend learns sooner or later of what happened; see what lies between"
        WebhookLeavingDelay "webhook-leaving-delay"
            "webhooks of who leaves come after"
            "the backend learns sooner or later that somebody left; let it wait for no fixed time"
        WebhookOccupied "webhook-occupied"
            "that a channel is occupied is"
            "turn channel existence webhooks on for both apps, or for neither"
        WebhookVacated "webhook-vacated"
            "that a channel is vacated is"
            "turn channel existence webhooks on for both apps, or for neither"
        WebhookMemberAdded "webhook-member-added"
            "that a member comes is"
            "turn presence webhooks on for both apps, or for neither"
        WebhookMemberRemoved "webhook-member-removed"
            "that a member leaves is"
            "turn presence webhooks on for both apps, or for neither"
        WebhookClientEvent "webhook-client-event"
            "that a client sends an event is"
            "turn client event webhooks on for both apps, or for neither"
        WebhookCacheMiss "webhook-cache-miss"
            "that a cache channel has nothing to repeat is"
            "turn cache channel webhooks on for both apps, or for neither"
        WebhookCount "webhook-count"
            "how many subscriptions a channel has is"
            "turn subscription count webhooks on for both apps, or for neither"
        WebhookSender "webhook-sender"
            "the webhook of a client event names its sender by"
            "put the sender's id into the event's data"
        WebhookBatches "webhook-batches"
            "one webhook tells of"
            "let the receiver take webhooks apart; set batching as old has it"
        WebhookOrder "webhook-order"
            "what happens on one channel is told"
            "let the receiver go by time_ms; nobody promises an order"
        WebhookSignature "webhook-signature"
            "the signature of a webhook is"
            "let the receiver know the secret that belongs to X-Pusher-Key, which is the app's oldest"
        WebhookDoubles "webhook-doubles"
            "a webhook that is answered with 200 comes"
            "let the receiver forget what it has had already"
    }
}
