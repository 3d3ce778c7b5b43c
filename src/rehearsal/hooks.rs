//! What an app's webhooks are to tell. Pure: [`super::webhooks`] sends it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::model::WebhookKind;
use crate::model::habit::Habit;

/// Something that a webhook tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// What happened.
    pub kind: WebhookKind,
    /// The same as an event of a webhook's body.
    pub event: Value,
}

/// What is to be told, in the order in which it happened.
#[derive(Debug, Default)]
pub struct Hooks {
    /// Whether anybody wants to hear it.
    is_on: bool,
    silent: BTreeSet<WebhookKind>,
    nameless: bool,
    told: Vec<Hook>,
}

impl Hooks {
    /// Nothing yet, of an app that has webhooks and these habits.
    pub fn new(habits: &BTreeSet<Habit>) -> Self {
        let silent = [
            (Habit::SilentOccupancy, WebhookKind::ChannelOccupied),
            (Habit::SilentVacancy, WebhookKind::ChannelVacated),
            (Habit::SilentComers, WebhookKind::MemberAdded),
            (Habit::SilentLeavers, WebhookKind::MemberRemoved),
            (Habit::SilentClients, WebhookKind::ClientEvent),
            (Habit::SilentMisses, WebhookKind::CacheMiss),
            (Habit::SilentCounts, WebhookKind::SubscriptionCount),
        ];
        let silent = silent.into_iter().filter(|(habit, _)| habits.contains(habit));
        Self {
            is_on: true,
            silent: silent.map(|(_, kind)| kind).collect(),
            nameless: habits.contains(&Habit::NamelessHooks),
            told: Vec::new(),
        }
    }

    /// Has it told, with these fields beside name and channel.
    pub fn tell<const N: usize>(
        &mut self,
        kind: WebhookKind,
        channel: &str,
        fields: impl FnOnce() -> [(&'static str, Value); N],
    ) {
        // What clients hear of one user's own connections is nobody else's.
        if !self.is_on || self.silent.contains(&kind) || channel.starts_with('#') {
            return;
        }
        let names_user = !(self.nameless && kind == WebhookKind::ClientEvent);
        let fields = fields().into_iter().filter(|(name, _)| names_user || *name != "user_id");
        let common = [("name", kind.as_str().into()), ("channel", channel.into())];
        let event = common.into_iter().chain(fields.filter(|(_, value)| !value.is_null()));
        let event: Map<_, _> = event.map(|(name, value)| (name.to_owned(), value)).collect();
        self.told.push(Hook { kind, event: Value::Object(event) });
    }

    /// Takes what is to be told since the last call.
    pub fn take(&mut self) -> Vec<Hook> {
        std::mem::take(&mut self.told)
    }
}
