//! How long names may be, and of what characters.

use crate::pusher::rest::Publication;
use crate::verify::parity::{Reading, Row};

use super::client::Fault;
use super::largest::Largest;
use super::{Found, Site};

const EVENT: &str = "pc-probe";
/// Lengths that are tried, in characters. Documents say 164 for channels, and servers 200.
const CHANNEL_LENGTHS: [usize; 4] = [100, 164, 200, 255];
const EVENT_LENGTHS: [usize; 3] = [100, 200, 255];
/// Characters that documents allow in a channel's name, beside letters and digits, and others.
const ALLOWED: [char; 7] = ['_', '-', '=', '@', ',', '.', ';'];
const OTHERS: [char; 8] = [':', '#', '!', ' ', '/', '+', '*', 'é'];

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let mut largest = Largest::of(&CHANNEL_LENGTHS);
    while let Some(length) = largest.next() {
        let is_taken = takes(site, &format!("{:x<length$}", site.tail), EVENT).await?;
        largest.note(length, is_taken);
    }
    found.push((Row::ChannelNameLength, Reading::Value(largest.said(" characters"))));
    let mut largest = Largest::of(&EVENT_LENGTHS);
    while let Some(length) = largest.next() {
        let is_taken = takes(site, &site.tail, &format!("{EVENT:x<length$}")).await?;
        largest.note(length, is_taken);
    }
    found.push((Row::EventNameLength, Reading::Value(largest.said(" characters"))));
    let mut taken = String::new();
    for c in ALLOWED.into_iter().chain(OTHERS) {
        if takes(site, &format!("{}-{c}-", site.tail), EVENT).await? {
            taken.push(c);
        }
    }
    found.push((Row::ChannelNameCharacters, Reading::Value(taken)));
    Ok(())
}

async fn takes(site: &Site, channel: &str, event: &str) -> Result<bool, Fault> {
    let channels = &[channel];
    let publication = Publication { name: event, channels, data: "{}", ..Publication::default() };
    site.takes(&site.signer.publish(&publication, site.now())).await
}
