//! What becomes of a connection that neither subscribes nor signs in.

use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site};

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let mut client = Client::connect(site).await?;
    let begun = site.clock.now();
    let fate = client.fate_up_to(site.idle_for, |_| false, |_| false).await?;
    let took = site.clock.now().since(begun);
    found.push((
        Row::Idle,
        Reading::Value(match fate.closed {
            // To ten seconds: when a sweep comes by is chance.
            Some(_) => format!("{} within {} s", fate.said(), took.as_secs().div_ceil(10) * 10),
            None => format!("kept for {}", humantime::format_duration(site.idle_for)),
        }),
    ));
    client.leave().await;
    Ok(())
}
