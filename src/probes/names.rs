//! How long names may be, and of what characters.

use crate::model::ChannelKind;
use crate::pusher::rest::Publication;
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::largest::Largest;
use super::{Found, Site};

const EVENT: &str = "pc-probe";
/// Lengths that are tried, in characters. Documents say 164 for channels, and servers 200.
const CHANNEL_LENGTHS: [usize; 4] = [100, 164, 200, 255];
const EVENT_LENGTHS: [usize; 3] = [100, 200, 255];
/// Characters that documents allow in a channel's name, beside letters and digits, and others.
const ALLOWED: [char; 7] = ['_', '-', '=', '@', ',', '.', ';'];
const OTHERS: [char; 8] = [':', '#', '!', ' ', '/', '+', '*', 'é'];
/// Those that a subscription has not tried that is to be refused.
const OTHERS_JOINED: [char; 6] = [':', '#', '/', '+', '*', 'é'];

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let mut largest = Largest::of(&CHANNEL_LENGTHS);
    while let Some(length) = largest.next() {
        let is_taken = takes(site, &format!("{:x<length$}", site.tail), EVENT).await?;
        largest.note(length, is_taken);
    }
    found.push((Row::ChannelNameLength, Reading::Value(largest.said(" characters"))));
    let mut client = Client::connect(site).await?;
    let channel = site.channel(ChannelKind::Public, "names")?;
    client.subscribe(&channel, "").await?;
    let mut largest = Largest::of(&EVENT_LENGTHS);
    while let Some(length) = largest.next() {
        let event: String = format!("{EVENT:x<length$}").chars().take(length).collect();
        // An answer proves nothing.
        let is_taken =
            takes(site, channel.as_str(), &event).await? && client.gets(&event, &channel).await?;
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

    let mut largest = Largest::of(&CHANNEL_LENGTHS);
    while let Some(length) = largest.next() {
        let name = format!("{:x<length$}", format!("{}-joined", site.tail));
        largest.note(length, client.may_join(&name, "").await?);
    }
    found.push((Row::SubscriptionLength, Reading::Value(largest.said(" characters"))));
    let mut taken = String::new();
    for c in ALLOWED.into_iter().chain(OTHERS_JOINED) {
        if client.may_join(&format!("{}-{c}-", site.tail), "").await? {
            taken.push(c);
        }
    }
    found.push((Row::SubscriptionCharacters, Reading::Value(taken)));
    client.leave().await;
    Ok(())
}

async fn takes(site: &Site, channel: &str, event: &str) -> Result<bool, Fault> {
    let channels = &[channel];
    let publication = Publication { name: event, channels, data: "{}", ..Publication::default() };
    site.takes(&site.signer.publish(&publication, site.now())).await
}
