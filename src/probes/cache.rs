//! What a cache channel says when it has nothing to repeat, and what it repeats when it has.

use crate::model::ChannelKind;
use crate::pusher::rest::Publication;
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault, Heard};
use super::{Found, Site, WAIT};

const CACHED: &str = "pc-cached";
const MISS: &str = "pusher:cache_miss";

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let channel = site.channel(ChannelKind::Cache, "last")?;
    let mut first = Client::connect(site).await?;
    match first.subscribe(&channel, "").await {
        Ok(_) => {}
        Err(Fault::Barred(_)) => {
            let none = || Reading::NotApplicable("there are no cache channels".to_owned());
            found.extend([Row::CacheMiss, Row::CacheReplay].map(|row| (row, none())));
            first.leave().await;
            return Ok(());
        }
        Err(fault) => return Err(fault),
    }
    let mut missed = first.settle().await?;
    let channels = &[channel.as_str()];
    for data in ["1", "2"] {
        site.publish(&Publication { name: CACHED, channels, data, ..Publication::default() })
            .await?;
        missed.extend(first.hear(WAIT, |h| h.is(CACHED, &channel)).await?);
    }
    let is_told = missed.iter().any(|h| h.is(MISS, &channel));
    let told = if is_told { "yes" } else { "no" };
    found.push((Row::CacheMiss, Reading::Value(told.to_owned())));
    let mut second = Client::connect(site).await?;
    second.subscribe(&channel, "").await?;
    let is_answer = |h: &Heard| h.is(CACHED, &channel) || h.is(MISS, &channel);
    let replayed = match second.awaited(is_answer).await? {
        Some(answer) if answer.is(MISS, &channel) => "nothing (it says so)",
        Some(answer) if answer.data == "2" => "the last event",
        Some(_) => "another event than the last",
        None => "nothing",
    };
    found.push((Row::CacheReplay, Reading::Value(replayed.to_owned())));
    first.leave().await;
    second.leave().await;
    Ok(())
}
