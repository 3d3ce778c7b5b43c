//! How many channels a publication may have, and how many events a batch.

use crate::pusher::rest::{Event, Publication};
use crate::verify::parity::{Reading, Row};

use super::client::Fault;
use super::{ACCEPTED, Found, Site};

const EVENT: &str = "pc-probe";
/// What is tried: what documents allow, and one more.
const CHANNELS: [usize; 2] = [100, 101];
const EVENTS: [usize; 2] = [10, 11];
/// More than one, and far from every limit.
const SEVERAL: usize = 3;

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let publish = async |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("{}-c{n}", site.tail)).collect();
        let channels: Vec<_> = names.iter().map(String::as_str).collect();
        let publication =
            Publication { name: EVENT, channels: &channels, data: "{}", ..Publication::default() };
        site.status(&site.signer.publish(&publication, site.now())).await
    };
    let mut taken = Vec::new();
    if publish(SEVERAL).await? == ACCEPTED {
        for count in CHANNELS {
            taken.push(publish(count).await?);
        }
        found.push((Row::ChannelsPerEvent, reading(CHANNELS, &taken)));
    } else {
        let why = "a publication goes to one channel".to_owned();
        found.push((Row::ChannelsPerEvent, Reading::NotApplicable(why)));
    }
    taken.clear();
    let channel = format!("{}-batch", site.tail);
    for count in EVENTS {
        let events = vec![Event { name: EVENT, channel: &channel, data: "{}" }; count];
        taken.push(site.status(&site.signer.batch(&events, site.now())).await?);
    }
    found.push((Row::EventsPerBatch, reading(EVENTS, &taken)));
    Ok(())
}

fn reading([most, more]: [usize; 2], said: &[String]) -> Reading {
    let taken = |said: &&String| *said == ACCEPTED;
    match (said.first().filter(taken), said.get(1)) {
        (Some(_), Some(said)) if taken(&said) => Reading::Value(format!("{more} and more")),
        (Some(_), _) => Reading::Value(most.to_string()),
        (None, _) => {
            let said = said.first().map_or("", String::as_str);
            Reading::Value(format!("fewer than {most}: {said}"))
        }
    }
}
