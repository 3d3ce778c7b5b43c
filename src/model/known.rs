//! Failures that users of Pusher know, each with its cause and its cure.

/// How a failure shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A WebSocket's close code, or the code of a `pusher:error`.
    Code(u16),
    /// A part of what the cluster said, in lower case.
    Text(&'static str),
    /// The status of an HTTP answer.
    Status(u16),
    /// A part of what the agent itself says of a dial, in lower case.
    Dial(&'static str),
}

/// A known failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How it shows.
    pub sign: Sign,
    /// A name for it.
    pub name: &'static str,
    /// Why it comes about: one sentence.
    pub cause: &'static str,
    /// What to do about it: one sentence.
    pub cure: &'static str,
}

const fn known(sign: Sign, name: &'static str, cause: &'static str, cure: &'static str) -> Known {
    Known { sign, name, cause, cure }
}

/// Every known failure. Where several fit, the first does.
pub const ALL: &[Known] = &[
    known(
        Sign::Text("invalid key in subscription auth data"),
        "Invalid key in subscription auth data",
        "The subscription was signed for another app: the key before the colon is not this app's.",
        "Let the auth endpoint answer with the key and secret of the cluster that the client is on; \
         each cluster has its own.",
    ),
    known(
        Sign::Text("invalid signature"),
        "Invalid signature: Expected HMAC SHA256 …",
        "The signature was made with another secret, or over another text than the cluster expects.",
        "Check that key and secret belong together, and that nothing in between changes the socket \
         id, the channel's name or its data.",
    ),
    known(
        Sign::Text("timestamp expired"),
        "Timestamp expired",
        "The clock of whoever signed the request differs from the cluster's by more than ten minutes.",
        "Set the clock by NTP, on containers' hosts too.",
    ),
    known(
        Sign::Code(4000),
        "4000",
        "The app takes connections over TLS only.",
        "Use a wss:// URL.",
    ),
    known(
        Sign::Code(4001),
        "4001",
        "The app's key does not exist in this cluster: an app lives in exactly one.",
        "Check the key, and the cluster's name or host.",
    ),
    known(Sign::Code(4003), "4003", "The app is disabled.", "Enable it in its settings."),
    known(
        Sign::Code(4004),
        "4004",
        "The account, or the app, is over its quota of connections.",
        "Raise the plan's quota, or plan fewer witnesses; during a migration both apps count.",
    ),
    known(
        Sign::Code(4009),
        "4009",
        "The connection was not authorised in time, or a subscription's signature was wrong.",
        "Check that key and secret belong together, and the auth endpoint's answer time.",
    ),
    known(
        Sign::Code(4100),
        "4100",
        "The cluster is over its capacity.",
        "It passes by itself where it is rare; otherwise ask the provider, or add servers.",
    ),
    known(
        Sign::Code(4200),
        "4200",
        "The cluster asked to reconnect at once, as it does when a server is taken out.",
        "Nothing, where it is rare; where it repeats, look at the cluster's deployments and at its \
         status page.",
    ),
    known(
        Sign::Code(4201),
        "4201",
        "The cluster got no pong in time: the connection was dead, or something held it up.",
        "Look for proxies and firewalls that drop idle connections.",
    ),
    known(
        Sign::Code(1006),
        "1006",
        "The connection was cut without a close frame: by a crash, a proxy or the network.",
        "Look at the server's log, and at the idle timeout of every proxy and load balancer in \
         between.",
    ),
    known(
        Sign::Status(413),
        "413",
        "The event, or the request, is larger than the cluster takes: 10,240 bytes of data on hosted \
         clusters.",
        "Send less, or raise the server's limit; old and new may differ in it.",
    ),
    known(
        Sign::Status(429),
        "429",
        "The app is over its rate of messages.",
        "Publish more slowly (canary.rate, canary.slow_down), or raise the limit; on soketi and \
         sockudo it is a setting of the app.",
    ),
    known(
        Sign::Status(401),
        "401",
        "The HTTP API does not accept the signature: a wrong app id, key or secret, or a wrong clock.",
        "Check that the three belong together and to this cluster, and set the clock by NTP.",
    ),
    known(
        Sign::Status(403),
        "403",
        "The app is disabled, or over its quota of messages.",
        "Look at the app's settings and at the account's usage.",
    ),
    known(
        Sign::Dial("certificate"),
        "certificate refused",
        "The server's certificate is not signed by an authority that this machine trusts, has \
         expired, or is for another name.",
        "Renew it, use the name that it is for, or name its authority with tls.ca_file.",
    ),
    known(
        Sign::Dial("resolve"),
        "name not resolved",
        "The host's name has no address here.",
        "Check its spelling, and this machine's resolver.",
    ),
];

/// The failure behind a close code.
pub fn of_code(code: u16) -> Option<&'static Known> {
    ALL.iter().find(|known| known.sign == Sign::Code(code))
}

/// The failure behind the status of an HTTP answer.
pub fn of_status(status: u16) -> Option<&'static Known> {
    ALL.iter().find(|known| known.sign == Sign::Status(status))
}

/// The failure behind what a cluster said.
pub fn of_text(text: &str) -> Option<&'static Known> {
    let text = text.to_lowercase();
    let is_said = |known: &&Known| matches!(known.sign, Sign::Text(part) if text.contains(part));
    ALL.iter().find(is_said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clusters_say_is_recognised() {
        for (text, name) in [
            (
                "Invalid key in subscription auth data: 'abc'",
                "Invalid key in subscription auth data",
            ),
            (
                "Invalid signature: Expected HMAC SHA256 hex digest of …",
                "Invalid signature: Expected HMAC SHA256 …",
            ),
            ("HTTP 401: Timestamp expired: Given timestamp (…)", "Timestamp expired"),
        ] {
            assert_eq!(of_text(text).map(|known| known.name), Some(name), "{text}");
        }
        assert_eq!(of_text("all is well"), None);
        assert_eq!(of_code(4001).map(|known| known.name), Some("4001"));
        assert_eq!((of_code(4999), of_status(200)), (None, None));
    }

    #[test]
    fn cause_and_cure_are_one_sentence_each() {
        for known in ALL {
            for sentence in [known.cause, known.cure] {
                assert!(
                    sentence.ends_with('.') && sentence.matches(". ").count() == 0,
                    "{sentence}"
                );
                assert!(sentence.starts_with(|c: char| c.is_uppercase()), "{sentence}");
            }
        }
    }
}
