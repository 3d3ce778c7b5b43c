//! Faults that a rehearsal cluster commits on purpose: the written form, and nothing else.
//!
//! A fault is written `CLUSTER:KIND[=P][@DURATION|@CODE]`, such as `new:drop=0.001`,
//! `old:delay=0.1@800ms` or `new:close@4100`. What each does stands beside [`FaultKind`]; doing it
//! is the rehearsal's part.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::ClusterRole;

/// How late a delayed copy is unless the fault says otherwise.
pub const DELAY_DEFAULT: Duration = Duration::from_millis(1500);
/// The code that a connection is closed with unless the fault says otherwise.
pub const CLOSE_CODE_DEFAULT: u16 = 4200;
/// Slack on sums of probabilities: ten times 0.1 must count as 1.
const SUM_SLACK: f64 = 1e-9;

/// One kind of fault on one cluster, and how often it strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// The cluster that commits it.
    pub cluster: ClusterRole,
    /// What is done.
    pub kind: FaultKind,
    /// Chance per draw, 0 to 1.
    pub probability: f64,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A witness delivery is not sent.
    Drop,
    /// A witness delivery is sent twice, back to back.
    Duplicate,
    /// A witness delivery is sent so much later.
    Delay(Duration),
    /// A witness delivery is held until a later event of its stream was sent on its socket.
    Reorder,
    /// A witness delivery is sent with one letter or digit of its data replaced.
    Corrupt,
    /// A publish request is answered 400 and not taken.
    Refuse,
    /// A publish request is taken; its connection is cut without an answer.
    LoseAnswer,
    /// A publish request is taken and answered 503.
    ErrorAfter,
    /// An event is left out of the webhooks.
    LoseWebhook,
    /// A connection is closed with this code, some time after it was established.
    Close(u16),
    /// A connection falls silent without closing, for so long or for good.
    Silent(Option<Duration>),
}

/// What a fault's draw is made for. Each thing drawn for suffers at most one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultScope {
    /// Each copy of a canary event on its way to one socket.
    Delivery,
    /// Each publish request with canary events.
    Publish,
    /// Each event that a webhook is to tell of.
    Webhook,
    /// Each established connection.
    Connection,
}

impl FaultScope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Delivery, Self::Publish, Self::Webhook, Self::Connection];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Publish => "publish",
            Self::Webhook => "webhook",
            Self::Connection => "connection",
        }
    }
}

impl FaultKind {
    /// Every kind with its default argument, in the order in which they are documented.
    pub const ALL: [Self; 11] = [
        Self::Drop,
        Self::Duplicate,
        Self::Delay(DELAY_DEFAULT),
        Self::Reorder,
        Self::Corrupt,
        Self::Refuse,
        Self::LoseAnswer,
        Self::ErrorAfter,
        Self::LoseWebhook,
        Self::Close(CLOSE_CODE_DEFAULT),
        Self::Silent(None),
    ];

    /// The kind's name in the written form and in the fault log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::Delay(_) => "delay",
            Self::Reorder => "reorder",
            Self::Corrupt => "corrupt",
            Self::Refuse => "refuse",
            Self::LoseAnswer => "lose-answer",
            Self::ErrorAfter => "error-after",
            Self::LoseWebhook => "lose-webhook",
            Self::Close(_) => "close",
            Self::Silent(_) => "silent",
        }
    }

    /// What the draw is made for.
    pub const fn scope(self) -> FaultScope {
        match self {
            Self::Drop | Self::Duplicate | Self::Delay(_) | Self::Reorder | Self::Corrupt => {
                FaultScope::Delivery
            }
            Self::Refuse | Self::LoseAnswer | Self::ErrorAfter => FaultScope::Publish,
            Self::LoseWebhook => FaultScope::Webhook,
            Self::Close(_) | Self::Silent(_) => FaultScope::Connection,
        }
    }

    fn with_argument(self, text: &str) -> Result<Self, InvalidFault> {
        let duration = || {
            humantime::parse_duration(text)
                .map_err(|_| InvalidFault::Duration { kind: self.as_str(), text: text.to_owned() })
        };
        match self {
            Self::Delay(_) => duration().map(Self::Delay),
            Self::Silent(_) => duration().map(|d| Self::Silent(Some(d))),
            Self::Close(_) => match text.parse() {
                Ok(code) if may_close_with(code) => Ok(Self::Close(code)),
                _ => Err(InvalidFault::Code(text.to_owned())),
            },
            _ => Err(InvalidFault::Argument { kind: self.as_str(), text: text.to_owned() }),
        }
    }
}

/// Whether RFC 6455 (section 7.4) lets an endpoint put this code into a close frame.
const fn may_close_with(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Why a text is no fault, or a list of faults cannot be drawn from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidFault {
    /// No colon.
    #[error("`{0}` is no fault: write CLUSTER:KIND=PROBABILITY, such as new:drop=0.01")]
    Form(String),
    /// What stands before the colon.
    #[error("`{0}` is no cluster: a fault begins with old: or new:")]
    Cluster(String),
    /// What stands after the colon.
    #[error(
        "`{0}` is no kind of fault: it is drop, duplicate, delay, reorder, corrupt, refuse, \
         lose-answer, error-after, lose-webhook, close or silent"
    )]
    Kind(String),
    /// A kind that says nothing without a probability.
    #[error("`{0}` needs a probability from 0 to 1, such as {0}=0.01")]
    NoProbability(&'static str),
    /// What stands after the equals sign.
    #[error("`{0}` is no probability: it is a number from 0 to 1")]
    Probability(String),
    /// What stands after the at sign of `delay` and `silent`.
    #[error("`{text}` is no duration for {kind}: write it like 800ms or 5s")]
    Duration {
        /// The fault's kind.
        kind: &'static str,
        /// What stood there.
        text: String,
    },
    /// What stands after the at sign of `close`.
    #[error("`{0}` is no close code: it is 1000 to 1003, 1007 to 1014 or 3000 to 4999")]
    Code(String),
    /// An at sign after any other kind.
    #[error("`{kind}` takes nothing after `@`, yet `{text}` stands there")]
    Argument {
        /// The fault's kind.
        kind: &'static str,
        /// What stood there.
        text: String,
    },
    /// More than one fault would strike at once.
    #[error("the {scope} faults of {cluster} have probabilities of {sum} in all: at most 1")]
    Sum {
        /// The cluster.
        cluster: ClusterRole,
        /// `delivery`, `publish`, `webhook` or `connection`.
        scope: &'static str,
        /// What they add up to.
        sum: f64,
    },
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let (cluster, rest) =
            text.split_once(':').ok_or_else(|| InvalidFault::Form(text.to_owned()))?;
        let cluster = cluster.parse().map_err(|()| InvalidFault::Cluster(cluster.to_owned()))?;
        let (rest, argument) = match rest.split_once('@') {
            Some((rest, argument)) => (rest, Some(argument)),
            None => (rest, None),
        };
        let (name, probability) = match rest.split_once('=') {
            Some((name, probability)) => (name, Some(probability)),
            None => (rest, None),
        };
        let kind = FaultKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| InvalidFault::Kind(name.to_owned()))?;
        let probability = match probability {
            Some(text) => match text.parse::<f64>() {
                Ok(p) if (0.0..=1.0).contains(&p) => p,
                _ => return Err(InvalidFault::Probability(text.to_owned())),
            },
            None if kind.scope() == FaultScope::Connection => 1.0,
            None => return Err(InvalidFault::NoProbability(kind.as_str())),
        };
        let kind = match argument {
            Some(argument) => kind.with_argument(argument)?,
            None => kind,
        };
        Ok(Self { cluster, kind, probability })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}", self.cluster, self.kind.as_str(), self.probability)?;
        match self.kind {
            FaultKind::Delay(by) | FaultKind::Silent(Some(by)) => {
                // Without the blanks between its parts, so that a fault stays one shell word.
                let text = humantime::format_duration(by).to_string();
                write!(f, "@{}", text.replace(' ', ""))
            }
            FaultKind::Close(code) => write!(f, "@{code}"),
            _ => Ok(()),
        }
    }
}

/// Checks that the faults of each cluster which share a draw leave it a chance to strike none:
/// their probabilities add up to at most 1.
///
/// # Errors
/// [`InvalidFault::Sum`] for the first cluster and scope above it.
pub fn check_sums(faults: &[Fault]) -> Result<(), InvalidFault> {
    for cluster in ClusterRole::ALL {
        for scope in FaultScope::ALL {
            let of_scope =
                faults.iter().filter(|f| f.cluster == cluster && f.kind.scope() == scope);
            let sum: f64 = of_scope.map(|fault| fault.probability).sum();
            if sum > 1.0 + SUM_SLACK {
                return Err(InvalidFault::Sum { cluster, scope: scope.as_str(), sum });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_with_its_defaults_and_written_back() {
        let ms = Duration::from_millis;
        let close = |code| FaultKind::Close(code);
        for (text, cluster, kind, probability, written) in [
            ("new:drop=0.001", "new", FaultKind::Drop, 0.001, "new:drop=0.001"),
            ("old:duplicate=1", "old", FaultKind::Duplicate, 1.0, "old:duplicate=1"),
            ("new:delay=0.1", "new", FaultKind::Delay(ms(1500)), 0.1, "new:delay=0.1@1s500ms"),
            ("new:delay=0.1@80ms", "new", FaultKind::Delay(ms(80)), 0.1, "new:delay=0.1@80ms"),
            ("old:reorder=0", "old", FaultKind::Reorder, 0.0, "old:reorder=0"),
            ("new:corrupt=1e-3", "new", FaultKind::Corrupt, 0.001, "new:corrupt=0.001"),
            ("new:refuse=.5", "new", FaultKind::Refuse, 0.5, "new:refuse=0.5"),
            ("new:lose-answer=0.5", "new", FaultKind::LoseAnswer, 0.5, "new:lose-answer=0.5"),
            ("new:error-after=0.5", "new", FaultKind::ErrorAfter, 0.5, "new:error-after=0.5"),
            ("new:close", "new", close(4200), 1.0, "new:close=1@4200"),
            ("new:close@4100", "new", close(4100), 1.0, "new:close=1@4100"),
            ("new:close=0.5@1001", "new", close(1001), 0.5, "new:close=0.5@1001"),
            ("new:silent", "new", FaultKind::Silent(None), 1.0, "new:silent=1"),
            (
                "old:silent=0.2@3s",
                "old",
                FaultKind::Silent(Some(ms(3000))),
                0.2,
                "old:silent=0.2@3s",
            ),
        ] {
            let cluster = cluster.parse().unwrap();
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault, Fault { cluster, kind, probability }, "{text}");
            assert_eq!(fault.to_string(), written);
            assert_eq!(written.parse(), Ok(fault), "{written}");
        }
    }

    #[test]
    fn each_mistake_has_a_sentence_of_its_own() {
        for (text, sentence) in [
            (
                "drop=0.1",
                "`drop=0.1` is no fault: write CLUSTER:KIND=PROBABILITY, such as new:drop=0.01",
            ),
            ("both:drop=1", "`both` is no cluster: a fault begins with old: or new:"),
            (
                "new:lose=1",
                "`lose` is no kind of fault: it is drop, duplicate, delay, reorder, corrupt, \
                 refuse, lose-answer, error-after, lose-webhook, close or silent",
            ),
            ("new:drop", "`drop` needs a probability from 0 to 1, such as drop=0.01"),
            ("new:drop@1s", "`drop` needs a probability from 0 to 1, such as drop=0.01"),
            ("new:drop=2", "`2` is no probability: it is a number from 0 to 1"),
            ("new:drop=-0.1", "`-0.1` is no probability: it is a number from 0 to 1"),
            ("new:drop=NaN", "`NaN` is no probability: it is a number from 0 to 1"),
            ("new:drop=", "`` is no probability: it is a number from 0 to 1"),
            ("new:delay=0.1@soon", "`soon` is no duration for delay: write it like 800ms or 5s"),
            ("new:silent@4200", "`4200` is no duration for silent: write it like 800ms or 5s"),
            (
                "new:close@1006",
                "`1006` is no close code: it is 1000 to 1003, 1007 to 1014 or 3000 to 4999",
            ),
            ("new:drop=0.1@1s", "`drop` takes nothing after `@`, yet `1s` stands there"),
        ] {
            assert_eq!(text.parse::<Fault>().unwrap_err().to_string(), sentence, "{text}");
        }
    }

    #[test]
    fn faults_that_share_a_draw_add_up_to_one_at_most() {
        let list = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>();
        let tenths = ["new:drop=0.1"; 10];
        assert_eq!(check_sums(&list(&tenths)), Ok(()));
        assert_eq!(check_sums(&list(&["new:drop=0.6", "old:drop=0.6", "new:refuse=0.6"])), Ok(()));
        for (faults, sentence) in [
            (
                ["new:drop=0.75", "new:corrupt=0.5"],
                "the delivery faults of new have probabilities of 1.25 in all: at most 1",
            ),
            (
                ["old:refuse=1", "old:error-after=1"],
                "the publish faults of old have probabilities of 2 in all: at most 1",
            ),
            (
                ["new:close", "new:silent"],
                "the connection faults of new have probabilities of 2 in all: at most 1",
            ),
        ] {
            assert_eq!(check_sums(&list(&faults)).unwrap_err().to_string(), sentence);
        }
    }
}
