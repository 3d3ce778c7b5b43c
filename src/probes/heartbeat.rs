//! How a connection shows that it lives.

use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site};

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let value = |text: &str| Reading::Value(text.to_owned());
    let mut client = Client::connect(site).await?;
    let told = client.activity_timeout.map_or("none".to_owned(), |seconds| format!("{seconds} s"));
    found.push((Row::ActivityTimeout, Reading::Value(told)));
    let hears_event = match client.settle().await {
        Ok(_) => true,
        Err(Fault::Silent(_)) => false,
        Err(fault) => return Err(fault),
    };
    let frame = match client.answers_ping_frame().await {
        Ok(true) => "answered".to_owned(),
        Ok(false) => "not answered".to_owned(),
        Err(Fault::Closed(code)) => format!("closed with {code}"),
        Err(fault) => return Err(fault),
    };
    // That nothing came says something only of a cluster that is still there.
    Client::connect(site).await?.leave().await;
    found.push((Row::PingEvent, value(if hears_event { "answered" } else { "not answered" })));
    found.push((Row::PingFrame, value(&frame)));
    client.leave().await;
    Ok(())
}
