//! Who is present: a user of two connections, one who is cut off, one who says nothing any more.

use std::time::Duration;

use serde::Deserialize;

use crate::model::{ChannelKind, ChannelName};
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault, Heard};
use super::{Found, Site, WAIT};

/// Longest wait for the news that a member has left.
const LEAVING_MAX: Duration = Duration::from_secs(10);
/// Longest wait for a member to be gone that says nothing: a server may take 150 s.
const SILENT_MAX: Duration = Duration::from_secs(240);
/// Every so often whoever watches shows that it lives.
const BEAT: Duration = Duration::from_secs(20);
/// Longest wait for a member to be gone whose connection is gone.
const CUT_MAX: Duration = Duration::from_secs(10);

const ADDED: &str = "pusher_internal:member_added";
const REMOVED: &str = "pusher_internal:member_removed";

#[derive(Deserialize)]
struct Confirmed {
    presence: Members,
}

#[derive(Deserialize)]
struct Members {
    count: u64,
}

/// How often a user was told to come or go.
fn told(heard: &[Heard], event: &str, channel: &ChannelName, user: &str) -> usize {
    heard.iter().filter(|h| h.is(event, channel) && h.is_about(user)).count()
}

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let channel = site.channel(ChannelKind::Presence, "members")?;
    let mut observer = Client::connect(site).await?;
    observer.subscribe(&channel, "pc-observer").await?;
    found.push((Row::PresenceUser, one_user(site, &channel, &mut observer).await?));
    found.push((Row::PresenceCut, cut(site, &channel, &mut observer).await?));
    observer.leave().await;
    Ok(())
}

/// Two connections of one user come and go, one after the other.
async fn one_user(
    site: &Site,
    channel: &ChannelName,
    observer: &mut Client<'_>,
) -> Result<Reading, Fault> {
    const USER: &str = "pc-user";
    let (mut one, mut two) = (Client::connect(site).await?, Client::connect(site).await?);
    one.subscribe(channel, USER).await?;
    let confirmed = two.subscribe(channel, USER).await?;
    let members = serde_json::from_str(&confirmed.data);
    let members = members.map_or(0, |confirmed: Confirmed| confirmed.presence.count);
    one.unsubscribe(channel).await?;
    let mut heard = observer.hear_for(site.news_within).await?;
    let early = told(&heard, REMOVED, channel, USER);
    two.unsubscribe(channel).await?;
    let is_removed = |h: &Heard| h.is(REMOVED, channel) && h.is_about(USER);
    match observer.hear(LEAVING_MAX, is_removed).await {
        Ok(more) => heard.extend(more),
        // It was told before its time, or never.
        Err(Fault::Silent(_)) => {}
        Err(fault) => return Err(fault),
    }
    site.fence(channel).await?;
    heard.extend(observer.until_fence(channel).await?);
    one.leave().await;
    two.leave().await;
    let (joins, leaves) =
        (told(&heard, ADDED, channel, USER), told(&heard, REMOVED, channel, USER));
    Ok(Reading::Value(match (members, joins, early, leaves) {
        (2, 1, 0, 1) => "one member, who comes once and leaves with the last".to_owned(),
        _ => format!(
            "{members} members with the observer; {joins} joins, {leaves} leaves, {early} of them \
             while one is left"
        ),
    }))
}

/// A member's connection is gone without a close.
async fn cut(
    site: &Site,
    channel: &ChannelName,
    observer: &mut Client<'_>,
) -> Result<Reading, Fault> {
    const USER: &str = "pc-cut";
    let mut ghost = Client::connect(site).await?;
    ghost.subscribe(channel, USER).await?;
    observer.hear(WAIT, |h| h.is(ADDED, channel) && h.is_about(USER)).await?;
    drop(ghost);
    until_removed(site, channel, observer, (USER, CUT_MAX)).await
}

pub(super) async fn probe_silent(site: &Site, found: &mut Found) -> Result<(), Fault> {
    const USER: &str = "pc-silent";
    let channel = site.channel(ChannelKind::Presence, "silent")?;
    let mut observer = Client::connect(site).await?;
    observer.subscribe(&channel, "pc-observer").await?;
    let mut ghost = Client::connect(site).await?;
    ghost.subscribe(&channel, USER).await?;
    observer.hear(WAIT, |h| h.is(ADDED, &channel) && h.is_about(USER)).await?;
    // It is there, and answers nothing.
    let reading = until_removed(site, &channel, &mut observer, (USER, SILENT_MAX)).await?;
    found.push((Row::PresenceSilent, reading));
    drop(ghost);
    observer.leave().await;
    Ok(())
}

async fn until_removed(
    site: &Site,
    channel: &ChannelName,
    observer: &mut Client<'_>,
    (user, most): (&str, Duration),
) -> Result<Reading, Fault> {
    let begun = site.clock.now();
    // Whoever watches answers pings and sends some: he is not to be the silent one.
    while site.clock.now().since(begun) < most {
        let every = site.beat.unwrap_or(BEAT);
        let left = most.saturating_sub(site.clock.now().since(begun)).min(every);
        match observer.hear(left, |h| h.is(REMOVED, channel) && h.is_about(user)).await {
            Ok(_) => {
                let took = site.clock.now().since(begun);
                return Ok(Reading::Millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
            }
            Err(Fault::Silent(_)) => {
                let heard = observer.settle().await?;
                if told(&heard, REMOVED, channel, user) > 0 {
                    let took = site.clock.now().since(begun);
                    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                    return Ok(Reading::Millis(millis));
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(Reading::Longer(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)))
}
