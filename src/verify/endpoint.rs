//! The application's auth endpoints: what they answered, and what was tried on them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fact::ControlStatus;
use super::figures::add_all;
use super::latency::{Latencies, Sparse};

/// What an endpoint signs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointKind {
    /// Subscriptions to channels.
    AuthEndpoint,
    /// Sign-ins of users.
    UserAuthEndpoint,
}

impl EndpointKind {
    /// Its name in scenarios, and that of its check.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthEndpoint => "auth-endpoint",
            Self::UserAuthEndpoint => "user-auth-endpoint",
        }
    }
}

/// What an endpoint answered to somebody who may have what he asks for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// A signature that the cluster must take.
    Signed,
    /// One of another app.
    WrongKey,
    /// One by another secret.
    WrongSignature,
    /// Anything but 200, or what a client cannot use.
    Refused,
    /// Nothing in time.
    Nothing,
}

impl Answered {
    /// For people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::WrongKey => "with another app's key",
            Self::WrongSignature => "signed with another secret",
            Self::Refused => "refused",
            Self::Nothing => "not answered",
        }
    }
}

/// What is tried on an endpoint, or with what it signed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EndpointTrial {
    /// Asking for a channel that must not be had: it must refuse.
    Forbidden,
    /// Using its signature on the other cluster, which must refuse.
    Crossed,
    /// Signing in on its cluster with what it signed, which must be taken.
    SignedIn,
}

impl EndpointTrial {
    /// For people: what must happen.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Forbidden => "refuses the forbidden channel",
            Self::Crossed => "its signature is refused by the other cluster",
            Self::SignedIn => "its signature signs in",
        }
    }

    /// For people: what happened instead.
    pub const fn failure(self) -> &'static str {
        match self {
            Self::Forbidden => "it signs the forbidden channel, and so for everybody",
            Self::Crossed => "the other cluster takes its signature: both apps have one secret",
            Self::SignedIn => "the cluster refuses a sign-in that it signed",
        }
    }
}

/// How an endpoint is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointBegin {
    /// Its address, without what is secret in it.
    pub url: String,
    /// Whether nobody in between can read along: HTTPS, or this machine.
    pub is_private: bool,
    /// What is tried on it.
    pub trials: BTreeSet<EndpointTrial>,
}

/// Something about an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointFact {
    /// It was asked for what must be had.
    Asked {
        /// How long it took, a dial included; `None` where that says nothing of it.
        took: Option<Duration>,
        /// What came of it.
        answered: Answered,
        /// Why, in a few words, if it did not sign.
        why: String,
    },
    /// Something was tried.
    Tried(EndpointTrial, ControlStatus),
}

/// What a second added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSecond {
    /// From asking to the answer, where one came.
    pub took: Sparse,
    /// Answers.
    pub answered: BTreeMap<Answered, u64>,
    /// Why it did not sign, the last time; empty if it always did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_failure: String,
    /// What was tried.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tried: BTreeMap<EndpointTrial, ControlStatus>,
}

impl EndpointSecond {
    /// Takes in a fact.
    pub fn note(&mut self, fact: EndpointFact) {
        match fact {
            EndpointFact::Asked { took, answered, why } => {
                if let Some(took) = took.filter(|_| answered != Answered::Nothing) {
                    self.took.record(took);
                }
                *self.answered.entry(answered).or_default() += 1;
                if answered != Answered::Signed {
                    self.last_failure = why;
                }
            }
            EndpointFact::Tried(trial, status) => {
                let known = self.tried.entry(trial).or_insert(status);
                *known = (*known).max(status);
            }
        }
    }
}

/// What is known of an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointFigures {
    /// How it is looked at.
    pub begin: EndpointBegin,
    /// From asking to the answer.
    pub took: Latencies,
    /// Answers.
    pub answered: BTreeMap<Answered, u64>,
    /// Why it did not sign, the last time; empty if it always did.
    pub last_failure: String,
    /// What was tried.
    pub tried: BTreeMap<EndpointTrial, ControlStatus>,
}

impl EndpointFigures {
    /// Those of an endpoint that was not asked yet.
    pub fn new(begin: EndpointBegin) -> Self {
        Self {
            begin,
            took: Latencies::default(),
            answered: BTreeMap::new(),
            last_failure: String::new(),
            tried: BTreeMap::new(),
        }
    }

    /// Adds a second.
    pub fn add(&mut self, second: &EndpointSecond) {
        self.took.add(&second.took);
        add_all(&mut self.answered, &second.answered);
        self.note_tried(&second.tried);
        if !second.last_failure.is_empty() {
            self.last_failure.clone_from(&second.last_failure);
        }
    }

    /// Adds those of a run that ended later.
    pub fn merge(&mut self, later: &Self) {
        self.begin.is_private &= later.begin.is_private;
        self.begin.trials.extend(&later.begin.trials);
        self.took.merge(&later.took);
        add_all(&mut self.answered, &later.answered);
        self.note_tried(&later.tried);
        if !later.last_failure.is_empty() {
            self.last_failure.clone_from(&later.last_failure);
        }
    }

    fn note_tried(&mut self, tried: &BTreeMap<EndpointTrial, ControlStatus>) {
        for (trial, status) in tried {
            let known = self.tried.entry(*trial).or_insert(*status);
            *known = (*known).max(*status);
        }
    }

    /// Answers of one sort.
    pub fn count(&self, answered: Answered) -> u64 {
        self.answered.get(&answered).copied().unwrap_or_default()
    }
}
