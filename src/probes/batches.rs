//! How many channels a publication may have, and how many events a batch.

use crate::pusher::rest::{Event, Publication};
use crate::verify::parity::{Reading, Row};

use super::client::Fault;
use super::largest::Largest;
use super::{Found, Site};

const EVENT: &str = "pc-probe";
/// What is tried: several, what documents allow, and one more. Each channel is billed.
const CHANNELS: [usize; 3] = [3, 100, 101];
const EVENTS: [usize; 3] = [1, 10, 11];

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let mut largest = Largest::of(&CHANNELS);
    while let Some(count) = largest.next() {
        let names: Vec<_> = (0..count).map(|n| format!("{}-c{n}", site.tail)).collect();
        let channels: Vec<_> = names.iter().map(String::as_str).collect();
        let publication =
            Publication { name: EVENT, channels: &channels, data: "{}", ..Publication::default() };
        let request = site.signer.publish(&publication, site.now());
        largest.note(count, site.takes(&request).await?);
    }
    found.push((
        Row::ChannelsPerEvent,
        match largest.is_none() {
            true => Reading::NotApplicable("a publication goes to one channel".to_owned()),
            false => Reading::Value(largest.said("")),
        },
    ));
    let channel = format!("{}-batch", site.tail);
    let mut largest = Largest::of(&EVENTS);
    while let Some(count) = largest.next() {
        let events = vec![Event { name: EVENT, channel: &channel, data: "{}" }; count];
        let request = site.signer.batch(&events, site.now());
        largest.note(count, site.takes(&request).await?);
    }
    found.push((Row::EventsPerBatch, Reading::Value(largest.said(""))));
    Ok(())
}
