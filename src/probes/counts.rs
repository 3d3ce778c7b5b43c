//! Whether the app counts subscriptions, and whom it tells.

use crate::model::{ChannelKind, ChannelName};
use crate::pusher::rest;
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site};

const COUNT: &str = "pusher_internal:subscription_count";

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let channel = site.channel(ChannelKind::Public, "counts")?;
    let (mut one, mut two) = (Client::connect(site).await?, Client::connect(site).await?);
    one.subscribe(&channel, "").await?;
    two.subscribe(&channel, "").await?;
    let told = one.news(|h| h.is(COUNT, &channel) && h.data.contains('2')).await?;
    let told = if told.is_some() { "yes" } else { "no" };
    found.push((Row::CountEvent, Reading::Value(told.to_owned())));
    let mut counted = count(site, &channel).await?;
    if matches!(counted, Some(wrong) if wrong != 2) {
        // It may be counted anew every other second.
        tokio::time::sleep(site.news_within).await;
        counted = count(site, &channel).await?;
    }
    let said = match counted {
        Some(2) => "right".to_owned(),
        Some(wrong) => format!("{wrong} instead of 2"),
        None => "not told".to_owned(),
    };
    found.push((Row::CountApi, Reading::Value(said)));
    one.leave().await;
    two.leave().await;
    Ok(())
}

/// What the API says of how many there are.
async fn count(site: &Site, channel: &ChannelName) -> Result<Option<u64>, Fault> {
    let answer = site.ask(&site.signer.subscription_count(channel, site.now())).await?;
    if matches!(answer.status, 401 | 403) {
        return Err(Fault::Barred(format!("HTTP {} to GET /channels", answer.status)));
    }
    Ok(rest::counted(answer.status, &answer.body))
}
