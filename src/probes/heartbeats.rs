//! What keeps a connection alive, for longer than twice its timeout: quiet ones and such that
//! receive, in both dialects of pinging.

use std::time::Duration;

use crate::model::{ChannelKind, ChannelName};
use crate::pusher::rest::Publication;
use crate::verify::parity::{Reading, Row};

use super::client::{Beat, Client, Fault, Stay};
use super::{Found, Site};

/// The timeout of a cluster that tells of none.
const TIMEOUT: Duration = Duration::from_secs(120);
/// No cluster can mean a shorter one.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// A connection is watched for its timeout times this.
const TIMES: f64 = 2.6;
/// It is watched for so long at least: two minutes are a usual limit of servers and balancers.
const WATCH_MIN: Duration = Duration::from_secs(160);
/// Longest time for which one is watched.
const WATCH_MAX: Duration = Duration::from_secs(320);
/// What is received within a timeout.
const EVENTS: u32 = 4;
/// What is received at most: a tiny timeout is no reason for a large bill.
const EVENTS_MAX: u32 = 20;
const EVENT: &str = "pc-beat";

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let quiet = site.channel(ChannelKind::Public, "quiet")?;
    let busy = site.channel(ChannelKind::Public, "busy")?;
    let first = on(site, &quiet).await?;
    let told = first.activity_timeout.map(Duration::from_secs);
    first.leave().await;
    let beat = site.beat.or(told).unwrap_or(TIMEOUT);
    // It is the cluster that says so: it may say anything.
    if beat > WATCH_MAX.div_f64(TIMES) || beat < TIMEOUT_MIN {
        let timeout = humantime::format_duration(beat);
        return Err(Fault::Silent(format!("its timeout of {timeout} cannot be waited for")));
    }
    // Some close only much later than the timeout that they tell of.
    let least = if site.beat.is_none() { WATCH_MIN } else { Duration::ZERO };
    let watch = beat.mul_f64(TIMES).max(least);
    let stay = async |channel: &ChannelName, manner: Beat| {
        let mut client = on(site, channel).await?;
        let stay = client.stay(watch, (manner, beat)).await?;
        client.leave().await;
        Ok::<Stay, Fault>(stay)
    };
    let (quiet_event, quiet_frame, busy_event, busy_frame, answering, ()) = tokio::try_join!(
        stay(&quiet, Beat::Event),
        stay(&quiet, Beat::Frame),
        stay(&busy, Beat::Event),
        stay(&busy, Beat::Frame),
        stay(&quiet, Beat::None),
        publish(site, &busy, (watch, (beat / EVENTS).max(watch / EVENTS_MAX))),
    )?;
    for (row, stay) in [
        (Row::QuietPingEvent, quiet_event),
        (Row::QuietPingFrame, quiet_frame),
        (Row::BusyPingEvent, busy_event),
        (Row::BusyPingFrame, busy_frame),
    ] {
        found.push((row, Reading::Value(fate(stay))));
    }
    let heard = match (answering.hears_event, answering.hears_frame) {
        (true, true) => "pusher:ping and ping frames",
        (true, false) => "pusher:ping",
        (false, true) => "ping frames",
        (false, false) => "nothing",
    };
    found.push((Row::ServerPing, Reading::Value(format!("{heard}, and is {}", fate(answering)))));
    Ok(())
}

fn fate(stay: Stay) -> String {
    stay.closed.map_or("kept".to_owned(), |code| format!("closed with {code}"))
}

/// A client that has asked for something, so that nobody closes it for that it did not.
async fn on<'a>(site: &'a Site, channel: &ChannelName) -> Result<Client<'a>, Fault> {
    let mut client = Client::connect(site).await?;
    client.subscribe(channel, "").await?;
    Ok(client)
}

async fn publish(
    site: &Site,
    channel: &ChannelName,
    (time, every): (Duration, Duration),
) -> Result<(), Fault> {
    let channels = &[channel.as_str()];
    let end = site.clock.now().after(time);
    while site.clock.now() < end {
        let publication = Publication { name: EVENT, channels, data: "{}", ..Default::default() };
        site.publish(&publication).await?;
        tokio::time::sleep(every).await;
    }
    Ok(())
}
