//! What an app's webhooks tell, how soon and in which form: an occupancy dance on channels of its
//! own, and what arrives of it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout_at;

use crate::model::{ChannelKind, ChannelName, RunTime, WebhookKind};
use crate::pusher::frame;
use crate::pusher::webhook::Event;
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site, WAIT};

const USER: &str = "pc-user";
/// Webhooks that are kept: a dance causes a dozen events.
const ARRIVED_MAX: usize = 500;
const EVENT: &str = "client-pc-probe";
/// So close together two webhooks may come in the wrong order.
const OVERTAKING_MAX: Duration = Duration::from_millis(100);

/// Whether a webhook is signed by its app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signature {
    /// It is.
    Right,
    /// It has no signature.
    Missing,
    /// It has another.
    Wrong,
    /// It is, and was posted to where only the other app's are expected.
    Elsewhere,
    /// It is, and says that it was sent minutes ago.
    Stale,
    /// It names the key of neither app.
    Another,
}

/// A webhook that tells of sacrificial channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// When it arrived.
    pub at: RunTime,
    /// Whether it is signed.
    pub signature: Signature,
    /// What no two different ones share.
    pub id: String,
    /// What it tells of sacrificial channels.
    pub events: Vec<Event>,
}

/// Where an app's webhooks come from.
pub type Arrivals = Mutex<mpsc::Receiver<Arrived>>;

/// Something that was done, of which a webhook is to tell.
#[derive(Debug)]
struct Act {
    kind: WebhookKind,
    channel: ChannelName,
    /// The count that it leads to.
    count: Option<u64>,
    /// What a client did at once has no order.
    step: u32,
    at: RunTime,
}

impl Act {
    fn is(&self, event: &Event) -> bool {
        self.kind == event.kind
            && self.channel.as_str() == event.channel
            && (self.count.is_none() || self.count == event.subscription_count)
    }
}

/// What was done, and what came of it.
struct Dance<'a> {
    site: &'a Site,
    step: u32,
    acts: Vec<Act>,
    arrived: Vec<Arrived>,
    /// How many had arrived when the leaving began, which changes counts back.
    before_leaving: usize,
}

impl Dance<'_> {
    /// What comes now comes later than what came before.
    const fn step(&mut self) {
        self.step += 1;
    }

    fn act(&mut self, kind: WebhookKind, channel: &ChannelName) {
        self.act_counting(kind, channel, None);
    }

    fn act_counting(&mut self, kind: WebhookKind, channel: &ChannelName, count: Option<u64>) {
        let (channel, at) = (channel.clone(), self.site.clock.now());
        self.acts.push(Act { kind, channel, count, step: self.step, at });
    }

    fn events(&self) -> impl Iterator<Item = (RunTime, &Event)> {
        self.arrived.iter().flat_map(|a| a.events.iter().map(|event| (a.at, event)))
    }

    /// When an act was told first.
    fn told(&self, act: &Act) -> Option<RunTime> {
        let most = if act.count.is_some() { self.before_leaving } else { usize::MAX };
        let arrived = self.arrived.iter().take(most);
        let mut told = arrived.filter(|a| a.events.iter().any(|event| act.is(event)));
        told.next().map(|arrived| arrived.at)
    }

    fn is_told(&self, act: &Act) -> bool {
        self.told(act).is_some()
    }

    /// Takes in what tells of the channels of this dance.
    fn take(&mut self, mut arrived: Arrived) {
        let is_ours =
            |event: &Event| self.acts.iter().any(|act| act.channel.as_str() == event.channel);
        arrived.events.retain(is_ours);
        if !arrived.events.is_empty() && self.arrived.len() < ARRIVED_MAX {
            self.arrived.push(arrived);
        }
    }

    /// Takes in what comes until everything was told, or nobody waits any longer.
    async fn listen(
        &mut self,
        arrivals: &mut mpsc::Receiver<Arrived>,
        of: fn(WebhookKind) -> bool,
    ) {
        let clock = self.site.clock;
        let end = clock.instant(clock.now().after(self.site.told_within)).into();
        while self.acts.iter().any(|act| of(act.kind) && !self.is_told(act)) {
            match timeout_at(end, arrivals.recv()).await {
                Ok(Some(arrived)) => self.take(arrived),
                Ok(None) | Err(_) => return,
            }
        }
        // What comes again comes soon.
        let soon = clock.instant(clock.now().after(self.site.soon() * 3)).into();
        while let Ok(Some(arrived)) = timeout_at(soon, arrivals.recv()).await {
            self.take(arrived);
        }
    }

    /// The longest that an act of these kinds took to be told.
    fn delay(&self, of: impl Fn(WebhookKind) -> bool) -> Option<Duration> {
        let acts = self.acts.iter().filter(|act| of(act.kind));
        acts.filter_map(|act| self.told(act).map(|at| at.since(act.at))).max()
    }

    /// Whether what was done on a channel was told in that order.
    fn is_in_order(&self) -> bool {
        let channels: BTreeSet<_> = self.acts.iter().map(|act| act.channel.as_str()).collect();
        channels.into_iter().all(|channel| {
            let acts: Vec<_> =
                self.acts.iter().filter(|act| act.channel.as_str() == channel).collect();
            let all = self.arrived.iter().enumerate();
            let events = all.flat_map(|(n, of)| of.events.iter().map(move |e| (n, of.at, e)));
            let mut firsts: Vec<(usize, (u32, usize, RunTime))> = Vec::new();
            for (webhook, at, event) in events {
                let found = acts.iter().enumerate().find(|(_, act)| act.is(event));
                if let Some((place, act)) = found
                    && !firsts.iter().any(|(known, _)| *known == place)
                {
                    firsts.push((place, (act.step, webhook, at)));
                }
            }
            let told: Vec<_> = firsts.into_iter().map(|(_, told)| told).collect();
            told.iter().enumerate().all(|(n, (step, webhook, at))| {
                told.iter().skip(n + 1).all(|(later_step, later_webhook, later_at)| {
                    // Two webhooks on two connections may overtake each other on their way.
                    let is_near = webhook != later_webhook && later_at.since(*at) < OVERTAKING_MAX;
                    step <= later_step || is_near
                })
            })
        })
    }
}

const fn is_leaving(kind: WebhookKind) -> bool {
    matches!(kind, WebhookKind::ChannelVacated | WebhookKind::MemberRemoved)
}

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let Some(arrivals) = &site.arrivals else {
        return Err(Fault::Silent("nobody receives webhooks here".to_owned()));
    };
    let mut arrivals = arrivals.lock().await;
    while arrivals.try_recv().is_ok() {}
    let mut dance =
        Dance { site, step: 0, acts: Vec::new(), arrived: Vec::new(), before_leaving: usize::MAX };
    let private = site.channel(ChannelKind::Private, "told")?;
    let presence = site.channel(ChannelKind::Presence, "told")?;
    let cache = site.channel(ChannelKind::Cache, "told")?;

    let mut one = Client::connect(site).await?;
    wake(site, &mut one, &mut arrivals).await?;
    dance.act(WebhookKind::ChannelOccupied, &private);
    one.subscribe(&private, USER).await?;
    dance.step();
    dance.act(WebhookKind::ChannelOccupied, &presence);
    dance.act(WebhookKind::MemberAdded, &presence);
    one.subscribe(&presence, USER).await?;
    dance.step();
    dance.act(WebhookKind::ClientEvent, &presence);
    one.send(frame::client_event(EVENT, presence.as_str(), "{}")).await?;
    if one.settle().await?.iter().any(|heard| heard.error().is_some()) {
        dance.acts.retain(|act| act.kind != WebhookKind::ClientEvent);
    }
    dance.act(WebhookKind::ChannelOccupied, &cache);
    dance.act(WebhookKind::CacheMiss, &cache);
    match one.subscribe(&cache, USER).await {
        Ok(_) => {}
        Err(Fault::Barred(_)) => dance.acts.retain(|act| act.channel != cache),
        Err(fault) => return Err(fault),
    }
    dance.step();
    let mut two = Client::connect(site).await?;
    dance.act_counting(WebhookKind::SubscriptionCount, &private, Some(2));
    two.subscribe(&private, USER).await?;
    let sender = one.id.to_string();
    dance.listen(&mut arrivals, |kind| !is_leaving(kind)).await;

    dance.step();
    dance.before_leaving = dance.arrived.len();
    let is_cached = dance.acts.iter().any(|act| act.channel == cache);
    two.unsubscribe(&private).await?;
    for channel in [&private, &presence].into_iter().chain(is_cached.then_some(&cache)) {
        if *channel == presence {
            dance.act(WebhookKind::MemberRemoved, channel);
        }
        dance.act(WebhookKind::ChannelVacated, channel);
        one.unsubscribe(channel).await?;
    }
    dance.listen(&mut arrivals, is_leaving).await;
    one.leave().await;
    two.leave().await;
    read(&dance, &sender, found);
    Ok(())
}

/// Waits until a first webhook comes: an app whose earlier ones nobody took may hold back those
/// that follow for seconds, and that is not how it is.
async fn wake(
    site: &Site,
    client: &mut Client<'_>,
    arrivals: &mut mpsc::Receiver<Arrived>,
) -> Result<(), Fault> {
    let channel = site.channel(ChannelKind::Private, "wakes")?;
    client.subscribe(&channel, USER).await?;
    client.unsubscribe(&channel).await?;
    let end = site.clock.instant(site.clock.now().after(site.told_within)).into();
    let is_of_it = |event: &Event| event.channel == channel.as_str();
    while let Ok(Some(arrived)) = timeout_at(end, arrivals.recv()).await {
        if arrived.events.iter().any(is_of_it) {
            break;
        }
    }
    Ok(())
}

/// What the dance shows.
fn read(dance: &Dance<'_>, sender: &str, found: &mut Found) {
    let value = |text: &str| Reading::Value(text.to_owned());
    let none = |why: &str| Reading::NotApplicable(why.to_owned());
    let millis = |took: Duration| Reading::Millis(u64::try_from(took.as_millis()).unwrap_or(0));
    let nothing = dance.arrived.is_empty();
    let delay = |of: fn(WebhookKind) -> bool| match dance.delay(of) {
        Some(took) => millis(took),
        None => none("none of them came"),
    };
    found.push((
        Row::WebhookArrival,
        // Whether they cannot come, or are not sent, nobody knows where neither app's do.
        match nothing {
            true => Reading::Longer(u64::try_from(dance.site.told_within.as_millis()).unwrap_or(0)),
            false => value("received"),
        },
    ));
    if nothing {
        let rest = Row::WebhookArrival.probe().rows().iter();
        let rest = rest.filter(|row| **row != Row::WebhookArrival);
        found.extend(rest.map(|row| (*row, none("no webhook came"))));
        return;
    }
    found.push((Row::WebhookDelay, delay(|kind| !is_leaving(kind))));
    found.push((Row::WebhookLeavingDelay, delay(is_leaving)));
    // What comes so late may come later still.
    let is_late = dance.delay(|_| true).is_some_and(|delay| delay > dance.site.told_within / 2);
    for (row, kind) in [
        (Row::WebhookOccupied, WebhookKind::ChannelOccupied),
        (Row::WebhookVacated, WebhookKind::ChannelVacated),
        (Row::WebhookMemberAdded, WebhookKind::MemberAdded),
        (Row::WebhookMemberRemoved, WebhookKind::MemberRemoved),
        (Row::WebhookClientEvent, WebhookKind::ClientEvent),
        (Row::WebhookCacheMiss, WebhookKind::CacheMiss),
        (Row::WebhookCount, WebhookKind::SubscriptionCount),
    ] {
        let acts: Vec<_> = dance.acts.iter().filter(|act| act.kind == kind).collect();
        let told = acts.iter().filter(|act| dance.is_told(act)).count();
        found.push((
            row,
            match (told, acts.len()) {
                (_, 0) => none("the app does not let it happen"),
                (told, all) if told < all && is_late => {
                    Reading::NotTested("webhooks come so late that more may follow".to_owned())
                }
                (0, _) => value("not told"),
                (told, all) if told == all => value("told"),
                (told, all) => value(&format!("told {told} of {all} times")),
            },
        ));
    }
    let named = dance.events().find(|(_, event)| event.kind == WebhookKind::ClientEvent);
    let named = named.map(|(_, event)| {
        let names_socket = event.socket_id.as_deref() == Some(sender);
        match (names_socket, event.user_id.as_deref() == Some(USER)) {
            (true, true) => "socket_id and user_id",
            (true, false) => "socket_id",
            (false, true) => "user_id",
            (false, false) => "neither socket_id nor user_id",
        }
    });
    found.push((Row::WebhookSender, named.map_or_else(|| none("none came"), value)));
    let batched = dance.arrived.iter().any(|arrived| arrived.events.len() > 1);
    let batches = if batched { "several events" } else { "one event" };
    found.push((Row::WebhookBatches, value(batches)));
    let in_order = dance.is_in_order();
    found.push((Row::WebhookOrder, value(if in_order { "as it happened" } else { "otherwise" })));
    let signature = dance.arrived.iter().map(|arrived| arrived.signature).max();
    // Where both are wrong, the reason may be what the scenario says of the apps.
    let wrong = |what: &str| Reading::Failed(what.to_owned());
    let signature = match signature.unwrap_or(Signature::Right) {
        Signature::Right => value("right"),
        Signature::Missing => wrong("missing"),
        Signature::Wrong => wrong("wrong"),
        Signature::Elsewhere => wrong("right, but posted to the other app's path"),
        Signature::Stale => wrong("right, but with a time that is minutes off"),
        Signature::Another => wrong("with a key that the scenario does not name"),
    };
    found.push((Row::WebhookSignature, signature));
    // What is refused comes again, and has to.
    let taken: Vec<_> =
        dance.arrived.iter().filter(|arrived| arrived.signature == Signature::Right).collect();
    let different: BTreeSet<_> = taken.iter().map(|arrived| &arrived.id).collect();
    let doubles = if taken.len() > different.len() { "more than once" } else { "once" };
    found.push((Row::WebhookDoubles, value(doubles)));
}

/// How long to wait for a webhook: those of who leaves may be held back for three seconds, and all
/// of them be tried again.
pub const TOLD_WITHIN: Duration = WAIT.saturating_mul(2);
