//! What clients send each other: where it is delivered, to whom, and how much of it.

use crate::model::{ChannelKind, ChannelName};
use crate::pusher::frame;
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault, Heard};
use super::{Found, Site, sizes};

const EVENT: &str = "client-pc-probe";
/// Events of a burst. A hosted cluster takes ten a second.
const BURST: usize = 20;
const SENDER: &str = "pc-sender";

/// What came of a client event.
struct Sent {
    /// What the other client got of it.
    delivered: Vec<Heard>,
    /// What its sender got.
    back: Vec<Heard>,
}

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let value = |text: &str| Reading::Value(text.to_owned());
    let (mut kinds, mut echoes, mut named, mut refused) = (Vec::new(), 0, None, None);
    for kind in [ChannelKind::Public, ChannelKind::Private, ChannelKind::Presence] {
        let channel = site.channel(kind, "clients")?;
        let Sent { delivered, back } = send(site, &channel, 1).await?;
        refused = back.iter().find_map(|h| h.error().map(str::to_owned)).or(refused);
        echoes += back.iter().filter(|h| h.is(EVENT, &channel)).count();
        if let Some(copy) = delivered.first() {
            kinds.push(kind.to_string());
            if kind == ChannelKind::Presence {
                named = Some(copy.user_id.as_deref() == Some(SENDER));
            }
        }
    }
    let delivered = match (kinds.is_empty(), refused) {
        (true, Some(why)) => Reading::Unsupported(why),
        (true, None) => value("nothing"),
        (false, _) => value(&kinds.join(", ")),
    };
    if kinds.is_empty() {
        for row in [
            Row::ClientEventsEcho,
            Row::ClientEventsUserId,
            Row::ClientEventsRate,
            Row::SizeClientEvent,
        ] {
            let why = "client events are not delivered".to_owned();
            found.push((row, Reading::NotApplicable(why)));
        }
        found.push((Row::ClientEvents, delivered));
        return Ok(());
    }
    found.push((Row::ClientEvents, delivered));
    found.push((Row::ClientEventsEcho, value(if echoes > 0 { "yes" } else { "no" })));
    found.push((
        Row::ClientEventsUserId,
        match named {
            Some(true) => value("yes"),
            Some(false) => value("no"),
            None => Reading::NotApplicable("not delivered on presence channels".to_owned()),
        },
    ));
    found.push((Row::SizeClientEvent, sizes::client_event(site).await?));
    let channel = site.channel(ChannelKind::Private, "burst")?;
    let burst = send(site, &channel, BURST).await?.delivered.len();
    // By how much it is limited depends on where in a second the burst falls.
    let limited = if burst < BURST { "some" } else { "all" };
    found.push((Row::ClientEventsRate, value(limited)));
    Ok(())
}

/// Two clients on a channel, of which one sends so many events at once.
async fn send(site: &Site, channel: &ChannelName, count: usize) -> Result<Sent, Fault> {
    let (mut sender, mut other) = (Client::connect(site).await?, Client::connect(site).await?);
    other.subscribe(channel, "pc-other").await?;
    sender.subscribe(channel, SENDER).await?;
    for n in 0..count {
        let data = format!("{{\"n\":{n}}}");
        sender.send(frame::client_event(EVENT, channel.as_str(), &data)).await?;
    }
    let mut back = sender.settle().await?;
    site.fence(channel).await?;
    back.extend(sender.until_fence(channel).await?);
    let mut heard = other.until_fence(channel).await?;
    // Some servers deliver a publication before a client event that they took earlier.
    site.fence(channel).await?;
    heard.extend(other.until_fence(channel).await?);
    sender.leave().await;
    other.leave().await;
    let delivered = heard.into_iter().filter(|h| h.is(EVENT, channel)).collect();
    Ok(Sent { delivered, back })
}
