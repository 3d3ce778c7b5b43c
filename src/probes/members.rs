//! What is told of the members of a presence channel, and how much of it, and how many there may
//! be.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{ChannelKind, ChannelName};
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault, SUBSCRIBED};
use super::largest::Largest;
use super::{Found, Site};

const ADDED: &str = "pusher_internal:member_added";
/// Characters of a user's id; a hosted cluster takes 128.
const ID_CHARS: &[usize] = &[64, 128, 256, 1_024];
/// Bytes of what is told of a user; a hosted cluster takes 1,024, others twice that.
const INFO_BYTES: &[usize] = &[512, 1_024, 2_048, 10_240];
/// Members of one channel; a hosted cluster takes 100.
const MEMBERS_MAX: usize = 100;

#[derive(Deserialize)]
struct Confirmed {
    presence: Members,
}

#[derive(Deserialize)]
struct Members {
    #[serde(default)]
    hash: BTreeMap<String, Value>,
}

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let channel = site.channel(ChannelKind::Presence, "described")?;
    let mut observer = Client::connect(site).await?;
    observer.subscribe(&channel, "pc-observer").await?;
    found.push((Row::MemberInfo, info(site, &channel, &mut observer).await?));
    found.push((Row::MemberIdNumber, number(site, &channel).await?));
    let of_id = |chars: usize| json!({ "user_id": "i".repeat(chars) });
    let id = longest(site, &channel, ID_CHARS, of_id).await?;
    found.push((Row::MemberIdLength, Reading::Value(id.said(" characters"))));
    let of_info = |bytes: usize| {
        // As JSON it has two quotes more.
        json!({ "user_id": "pc-info", "user_info": "i".repeat(bytes - 2) })
    };
    let size = longest(site, &channel, INFO_BYTES, of_info).await?;
    found.push((Row::MemberInfoSize, Reading::Value(size.said(" bytes"))));
    observer.leave().await;
    Ok(())
}

/// Whether what is told of a member arrives, at itself and at others.
async fn info(
    site: &Site,
    channel: &ChannelName,
    observer: &mut Client<'_>,
) -> Result<Reading, Fault> {
    const USER: &str = "pc-described";
    let told = json!({ "name": "Zoë", "n": [1, null, true], "deep": { "a": "b" } });
    let mut member = Client::connect(site).await?;
    let data = json!({ "user_id": USER, "user_info": told }).to_string();
    let confirmed = member.subscribe_as(channel, &data).await?;
    let confirmed: Option<Confirmed> = serde_json::from_str(&confirmed.data).ok();
    let in_list = confirmed.and_then(|mut of| of.presence.hash.remove(USER));
    let added = observer.awaited(|h| h.is(ADDED, channel) && h.is_about(USER)).await?;
    let in_event = added.and_then(|h| {
        let data: Value = serde_json::from_str(&h.data).ok()?;
        data.get("user_info").cloned()
    });
    member.leave().await;
    let said = |of: Option<Value>| match of {
        Some(value) if value == told => "as told",
        None | Some(Value::Null) => "nothing",
        Some(_) => "something else",
    };
    Ok(Reading::Value(match (said(in_list), said(in_event)) {
        (list, event) if list == event => list.to_owned(),
        (list, event) => format!("{list} in the list, {event} in member_added"),
    }))
}

/// What becomes of a user whose id is no text.
async fn number(site: &Site, channel: &ChannelName) -> Result<Reading, Fault> {
    let mut member = Client::connect(site).await?;
    member.ask_as(channel, &json!({ "user_id": 7 }).to_string()).await?;
    let fate = member.fate(|h| h.is(SUBSCRIBED, channel)).await?;
    member.leave().await;
    Ok(Reading::Value(fate.said()))
}

/// The largest of something about a member with which it is let in.
async fn longest(
    site: &Site,
    channel: &ChannelName,
    tried: &'static [usize],
    data: impl Fn(usize) -> Value,
) -> Result<Largest, Fault> {
    let mut largest = Largest::of(tried);
    while let Some(number) = largest.next() {
        let mut member = Client::connect(site).await?;
        member.ask_as(channel, &data(number).to_string()).await?;
        let fate = member.fate(|h| h.is(SUBSCRIBED, channel)).await?;
        // An answer of neither kind is none.
        if !fate.is_taken && fate.refusal.is_none() && fate.closed.is_none() {
            return Err(Fault::Silent("a subscription was not answered".to_owned()));
        }
        largest.note(number, fate.is_taken && fate.refusal.is_none());
        member.leave().await;
    }
    Ok(largest)
}

pub(super) async fn probe_limit(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let channel = site.channel(ChannelKind::Presence, "crowded")?;
    let mut members = Vec::new();
    let mut refused = None;
    while members.len() <= MEMBERS_MAX && refused.is_none() {
        let mut member = Client::connect(site).await?;
        match member.subscribe(&channel, &format!("pc-{}", members.len())).await {
            Ok(_) => members.push(member),
            Err(Fault::Barred(why)) => {
                member.leave().await;
                // It may be too many at a time, and not too many at all.
                tokio::time::sleep(site.news_within).await;
                let mut again = Client::connect(site).await?;
                match again.subscribe(&channel, &format!("pc-{}", members.len())).await {
                    Ok(_) => members.push(again),
                    Err(Fault::Barred(_)) => refused = Some(why),
                    Err(fault) => return Err(fault),
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    let said = match (members.len(), refused) {
        (0, Some(why)) => Reading::Unsupported(why),
        (0, None) => Reading::NotTested("nobody was let in".to_owned()),
        (count, Some(_)) => Reading::Value(count.to_string()),
        (count, None) => Reading::Value(format!("{count} and more")),
    };
    found.push((Row::MembersPerChannel, said));
    for member in members {
        member.leave().await;
    }
    Ok(())
}
