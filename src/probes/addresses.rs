//! Over which kinds of addresses an app is reached.

use std::net::SocketAddr;

use tokio::net::UdpSocket;

use crate::net::dial::{self, Family};
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site};

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    for (row, family) in [(Row::Ipv4, Family::V4), (Row::Ipv6, Family::V6)] {
        found.push((row, reached(site, family).await?));
    }
    Ok(())
}

async fn reached(site: &Site, family: Family) -> Result<Reading, Fault> {
    let value = |said: &str| Ok(Reading::Value(said.to_owned()));
    let target = site.socket.over(family);
    let address = dial::address(&target).await;
    let address = address.map_err(|error| Fault::Lost(error.to_string()))?;
    let Some(address) = address else { return value("no address") };
    if !has_way_to(address).await {
        let why = format!("this machine has no way to {} addresses", family.as_str());
        return Ok(Reading::NotTested(why));
    }
    match Client::connect_to(site, &target).await {
        Ok(client) => {
            client.leave().await;
            value("reached")
        }
        Err(fault) => {
            // Where it is there at all, that is an answer; but it may be the way from here that
            // leads nowhere.
            Client::connect(site).await?.leave().await;
            Ok(Reading::Failed(match fault {
                Fault::Lost(why) => why,
                _ => "an address, but nobody there".to_owned(),
            }))
        }
    }
}

/// Whether there is a route. Nothing is sent.
async fn has_way_to(address: SocketAddr) -> bool {
    let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    match UdpSocket::bind(own).await {
        Ok(socket) => socket.connect(address).await.is_ok(),
        Err(_) => false,
    }
}
