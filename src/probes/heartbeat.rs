//! How a connection shows that it lives.

use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site};

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let value = |text: &str| Reading::Value(text.to_owned());
    let mut client = Client::connect(site).await?;
    let told = client.activity_timeout.map_or("none".to_owned(), |seconds| format!("{seconds} s"));
    found.push((Row::ActivityTimeout, Reading::Value(told)));
    found.push((
        Row::PingEvent,
        match client.settle().await {
            Ok(_) => value("answered"),
            Err(Fault::Silent(_)) => value("not answered"),
            Err(fault) => return Err(fault),
        },
    ));
    let is_answered = client.answers_ping_frame().await?;
    found.push((Row::PingFrame, value(if is_answered { "answered" } else { "not answered" })));
    client.leave().await;
    Ok(())
}
