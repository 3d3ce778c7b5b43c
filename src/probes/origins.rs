//! Whether pages of other origins may connect.

use crate::net::dial::Phase;
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site};

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let mut said = Vec::new();
    for origin in &site.origins {
        let Some(target) = site.socket.with_origin(origin) else {
            return Err(Fault::Silent(format!("{origin:?} can be no Origin header")));
        };
        let fate = match Client::try_open(site, &target).await {
            Ok(mut client) => {
                let is_in = |event: &str| event == "pusher:connection_established";
                let fate = client.fate_of_a_stranger(|h| is_in(&h.event)).await?;
                client.leave().await;
                fate.said()
            }
            Err(error) if error.phase == Phase::Upgrade && !error.is_late => {
                // Where it is there without an origin, that is an answer.
                Client::connect(site).await?.leave().await;
                "no WebSocket".to_owned()
            }
            Err(error) => return Err(Fault::Lost(error.to_string())),
        };
        said.push(format!("{origin}: {fate}"));
    }
    found.push((Row::Origin, Reading::Value(said.join("; "))));
    Ok(())
}
