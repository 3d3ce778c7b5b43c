//! How large an event may be, by each way to publish it.

use crate::model::{ChannelKind, ChannelName};
use crate::pusher::frame;
use crate::pusher::rest::{Event, Publication};
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::largest::Largest;
use super::{Found, Site};

const EVENT: &str = "pc-probe";
const CLIENT_EVENT: &str = "client-pc-size";
/// What is tried, in bytes of data. Documents say 10 kB; servers made 10,000 of it, 10,240, twice
/// that, and ten times as much.
const SIZES: [usize; 4] = [10_000, 10_240, 20_480, 102_400];

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let channel = site.channel(ChannelKind::Public, "sizes")?;
    let name = channel.as_str();
    let mut client = Client::connect(site).await?;
    client.subscribe(&channel, "").await?;
    for (row, is_batch) in [(Row::SizeTrigger, false), (Row::SizeBatch, true)] {
        let mut largest = Largest::of(&SIZES);
        while let Some(size) = largest.next() {
            let (channels, data) = (&[name], text(size));
            let event_name = format!("{EVENT}-{size}-{}", row.as_str());
            let request = if is_batch {
                let event = Event { name: &event_name, channel: name, data: &data };
                site.signer.batch(&[event], site.now())
            } else {
                let publication = Publication {
                    name: &event_name,
                    channels,
                    data: &data,
                    ..Publication::default()
                };
                site.signer.publish(&publication, site.now())
            };
            // An answer proves nothing.
            let is_taken =
                site.takes(&request).await? && client.gets(&event_name, &channel).await?;
            largest.note(size, is_taken);
        }
        found.push((row, Reading::Value(largest.said(" bytes"))));
    }
    client.leave().await;
    Ok(())
}

/// The same of client events, where they are delivered.
pub(super) async fn client_event(site: &Site) -> Result<Reading, Fault> {
    let channel = site.channel(ChannelKind::Private, "client-sizes")?;
    let mut other = Client::connect(site).await?;
    other.subscribe(&channel, "").await?;
    let mut largest = search(site, &channel, &mut other).await?;
    if let Some(size) = largest.refused() {
        // It may have been refused for being one more in a short time.
        tokio::time::sleep(site.soon() * 5).await;
        if arrives(site, &channel, &mut other, size).await? {
            largest = search(site, &channel, &mut other).await?;
        }
    }
    other.leave().await;
    Ok(Reading::Value(largest.said(" bytes")))
}

/// The largest client event that arrives.
async fn search(
    site: &Site,
    channel: &ChannelName,
    other: &mut Client<'_>,
) -> Result<Largest, Fault> {
    let mut largest = Largest::of(&SIZES);
    while let Some(size) = largest.next() {
        largest.note(size, arrives(site, channel, other, size).await?);
    }
    Ok(largest)
}

/// Whether a client event of so many bytes arrives.
async fn arrives(
    site: &Site,
    channel: &ChannelName,
    other: &mut Client<'_>,
    size: usize,
) -> Result<bool, Fault> {
    let event = format!("{CLIENT_EVENT}-{size}");
    let mut sender = Client::connect(site).await?;
    sender.subscribe(channel, "").await?;
    sender.send(frame::client_event(&event, channel.as_str(), &text(size))).await?;
    let is_refused = match sender.settle().await {
        Ok(heard) => heard.iter().any(|h| h.error().is_some()),
        Err(Fault::Closed(_)) => {
            // A cluster that goes away closes connections, too: that is no answer.
            Client::connect(site).await?.leave().await;
            true
        }
        Err(fault) => return Err(fault),
    };
    sender.leave().await;
    Ok(!is_refused && other.gets(&event, channel).await?)
}

/// A JSON text of so many bytes.
fn text(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes.saturating_sub(2)))
}
