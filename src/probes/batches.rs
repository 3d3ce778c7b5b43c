//! How many channels a publication may have, and how many events a batch.

use crate::model::{ChannelKind, ChannelName};
use crate::pusher::rest::{Event, Publication};
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::largest::Largest;
use super::{Found, Site};

const EVENT: &str = "pc-probe";
/// What is tried: several, what documents allow, and one more. Each channel is billed.
const CHANNELS: [usize; 3] = [3, 100, 101];
const EVENTS: [usize; 3] = [1, 10, 11];

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let mut client = Client::connect(site).await?;
    let mut largest = Largest::of(&CHANNELS);
    while let Some(count) = largest.next() {
        let all = (1..=count).map(|n| site.channel(ChannelKind::Public, &format!("c{n}")));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let Some(last) = all.last() else { break };
        client.subscribe(last, "").await?;
        let channels: Vec<_> = all.iter().map(ChannelName::as_str).collect();
        let publication =
            Publication { name: EVENT, channels: &channels, data: "{}", ..Publication::default() };
        let request = site.signer.publish(&publication, site.now());
        // An answer proves nothing.
        let is_taken = site.takes(&request).await? && client.gets(EVENT, last).await?;
        largest.note(count, is_taken);
        client.unsubscribe(last).await?;
    }
    found.push((
        Row::ChannelsPerEvent,
        match largest.is_several() {
            true => Reading::Value(largest.said("")),
            false => Reading::NotApplicable("a publication goes to one channel".to_owned()),
        },
    ));
    let channel = site.channel(ChannelKind::Public, "batch")?;
    client.subscribe(&channel, "").await?;
    let mut largest = Largest::of(&EVENTS);
    while let Some(count) = largest.next() {
        let last = format!("{EVENT}-{count}");
        let event = |name| Event { name, channel: channel.as_str(), data: "{}" };
        let mut events = vec![event(EVENT); count - 1];
        events.push(event(&last));
        let request = site.signer.batch(&events, site.now());
        largest.note(count, site.takes(&request).await? && client.gets(&last, &channel).await?);
    }
    found.push((Row::EventsPerBatch, Reading::Value(largest.said(""))));
    client.leave().await;
    Ok(())
}
