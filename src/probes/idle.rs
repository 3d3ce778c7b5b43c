//! What becomes of a connection that neither subscribes nor signs in.

use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site};

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let mut client = Client::connect(site).await?;
    let begun = site.clock.now();
    let fate = client.fate_within(site.idle_for).await?;
    let took = site.clock.now().since(begun);
    let took = Reading::Millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    let kept = format!("kept for {}", humantime::format_duration(site.idle_for));
    let (fate, took) = match fate.closed {
        Some(_) => (fate.said(), took),
        None => (kept.clone(), Reading::NotApplicable(kept)),
    };
    found.push((Row::Idle, Reading::Value(fate)));
    found.push((Row::IdleTime, took));
    client.leave().await;
    Ok(())
}
