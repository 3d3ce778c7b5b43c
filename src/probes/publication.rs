//! What a publication may ask for: to leave a connection out, to go to several channels, and to be
//! told who is there.

use serde_json::Value;

use crate::model::{ChannelKind, ChannelName};
use crate::pusher::rest::Publication;
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site, shown};

const EVENT: &str = "pc-probe";
const INSTEAD: &str = " instead of 2";

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let value = |text: &str| Reading::Value(text.to_owned());
    let names = ["a", "b", "c"];
    let channels = names.map(|name| site.channel(ChannelKind::Public, name));
    let [first, second, third] = channels;
    let channels = [first?, second?, third?];
    let [first, ..] = &channels;
    let (mut left_out, mut other) = (Client::connect(site).await?, Client::connect(site).await?);
    left_out.subscribe(first, "").await?;
    for channel in &channels {
        other.subscribe(channel, "").await?;
    }

    let except = left_out.id.to_string();
    site.publish(&Publication {
        name: EVENT,
        channels: &[first.as_str()],
        data: "{}",
        except: Some(&except),
        ..Publication::default()
    })
    .await?;
    site.fence(first).await?;
    let is_left_out = !left_out.until_fence(first).await?.iter().any(|h| h.is(EVENT, first));
    let is_got = other.until_fence(first).await?.iter().any(|h| h.is(EVENT, first));
    let said = match (is_left_out, is_got) {
        (true, true) => "is left out",
        (false, true) => "is not left out",
        (_, false) => "is not alone: nobody gets it",
    };
    found.push((Row::SenderExclusion, value(said)));

    let names = channels.each_ref().map(ChannelName::as_str);
    let several = Publication { name: EVENT, channels: &names, data: "{}", ..Default::default() };
    found.push((
        Row::SeveralChannels,
        match site.publish(&several).await {
            Err(fault @ Fault::Refused(_)) => fault.reading(),
            Err(fault) => return Err(fault),
            Ok(_) => {
                let mut heard = Vec::new();
                for channel in &channels {
                    site.fence(channel).await?;
                    heard.extend(other.until_fence(channel).await?);
                }
                let counts = channels
                    .each_ref()
                    .map(|channel| heard.iter().filter(|h| h.is(EVENT, channel)).count());
                match counts {
                    [1, 1, 1] => value("once on each"),
                    [a, b, c] => value(&format!("{a}, {b} and {c} times")),
                }
            }
        },
    ));

    left_out.leave().await;
    other.leave().await;
    found.push((Row::PublicationInfo, info(site).await?));
    Ok(())
}

/// Asks of a channel with two subscriptions, and of one with two members, how many there are.
async fn info(site: &Site) -> Result<Reading, Fault> {
    let public = site.channel(ChannelKind::Public, "counted")?;
    let presence = site.channel(ChannelKind::Presence, "counted")?;
    let (mut one, mut two) = (Client::connect(site).await?, Client::connect(site).await?);
    for (client, user) in [(&mut one, "pc-one"), (&mut two, "pc-two")] {
        client.subscribe(&public, user).await?;
        client.subscribe(&presence, user).await?;
    }
    let mut said = told(site, [&public, &presence]).await?;
    if said.contains(INSTEAD) {
        // It may be counted anew every other second.
        tokio::time::sleep(site.news_within).await;
        said = told(site, [&public, &presence]).await?;
    }
    one.leave().await;
    two.leave().await;
    Ok(Reading::Value(said))
}

/// What the answers to two publications tell of who is there.
async fn told(site: &Site, [public, presence]: [&ChannelName; 2]) -> Result<String, Fault> {
    let mut right = Vec::new();
    for (channel, attribute) in [(public, "subscription_count"), (presence, "user_count")] {
        let publication = Publication {
            name: EVENT,
            channels: &[channel.as_str()],
            data: "{}",
            info: Some(attribute),
            ..Publication::default()
        };
        match site.publish(&publication).await {
            Ok(body) => {
                let answer = serde_json::from_str::<Value>(&body).unwrap_or_default();
                let of = answer.get("channels").and_then(|of| of.get(channel.as_str()));
                match of.and_then(|of| of.get(attribute)) {
                    None | Some(Value::Null) => {}
                    Some(count) if count.as_u64() == Some(2) => right.push(attribute.to_owned()),
                    Some(wrong) => {
                        let wrong = shown(&wrong.to_string());
                        right.push(format!("{attribute} as {wrong}{INSTEAD}"));
                    }
                }
            }
            Err(Fault::Refused(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(if right.is_empty() { "nothing".to_owned() } else { right.join(", ") })
}
