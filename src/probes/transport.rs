//! How connections are secured, and how long it takes until one stands.

use std::time::Duration;

use rustls::version::{TLS12, TLS13};

use crate::net::dial::{self, DialError, Phase, Target};
use crate::net::tls;
use crate::verify::parity::{ConnectTime, Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site, WAIT};

/// Connections whose times are taken.
const TIMED: usize = 5;
const DAY_S: i64 = 24 * 60 * 60;

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let mut times = Vec::new();
    for _ in 0..TIMED {
        let client = Client::connect(site).await?;
        times.push((client.phases, client.greeted));
        client.leave().await;
    }
    found.push((Row::ConnectTime, Reading::ConnectTime(median(&times))));
    let socket = versions(site, &site.socket).await?;
    let api = versions(site, &site.api).await?;
    found.push((Row::TlsVersions, Reading::Value(joined(&socket, &api))));
    match certificates(site).await? {
        Some((trust, key, left)) => {
            found.push((Row::CertificateTrust, Reading::Value(trust)));
            found.push((Row::CertificateKey, Reading::Value(key)));
            found.push((Row::CertificateExpiry, Reading::Days(left)));
        }
        None => {
            for row in [Row::CertificateTrust, Row::CertificateKey, Row::CertificateExpiry] {
                found.push((row, Reading::NotApplicable("no TLS".to_owned())));
            }
        }
    }
    found.push((Row::PlainWebSocket, plain(site).await?));
    Ok(())
}

/// Of each step the one in the middle.
fn median(times: &[(dial::Phases, Duration)]) -> ConnectTime {
    let middle = |of: fn(&(dial::Phases, Duration)) -> Duration| {
        let mut all: Vec<_> = times.iter().map(of).collect();
        all.sort();
        let middle = all.get(all.len() / 2).copied().unwrap_or_default();
        u64::try_from(middle.as_millis()).unwrap_or(u64::MAX)
    };
    ConnectTime {
        resolve_ms: middle(|(phases, _)| phases.resolve),
        connect_ms: middle(|(phases, _)| phases.connect),
        tls_ms: middle(|(phases, _)| phases.tls),
        upgrade_ms: middle(|(phases, _)| phases.upgrade),
        established_ms: middle(|(_, greeted)| *greeted),
    }
}

/// What is true of the WebSocket's address and of the API's.
fn joined(socket: &str, api: &str) -> String {
    if socket == api { socket.to_owned() } else { format!("{socket}; the API: {api}") }
}

/// The versions of TLS that are taken. Older ones are no longer safe, and nobody here speaks them.
async fn versions(site: &Site, target: &Target) -> Result<String, Fault> {
    if !target.is_secure() {
        return Ok("none".to_owned());
    }
    let mut taken = Vec::new();
    for (name, version) in [("1.2", &TLS12), ("1.3", &TLS13)] {
        let config = tls::client_config_of(site.ca_pem.as_deref(), &[version]);
        let config = config.map_err(|error| Fault::Lost(error.to_string()))?;
        // A handshake that fails once may have been cut.
        for _ in 0..2 {
            site.turns.next().await;
            match dial::stream(&target.clone().with_tls(&config), site.clock, WAIT).await {
                Ok(_) => {
                    taken.push(name);
                    break;
                }
                Err(error) if error.phase == Phase::Tls && !error.is_late => {}
                Err(error) => return Err(Fault::Lost(error.to_string())),
            }
        }
    }
    if taken.is_empty() {
        // It was there before: now it is not any more.
        return Err(Fault::Lost("TLS failed in every version".to_owned()));
    }
    Ok(format!("TLS {}", taken.join(" and ")))
}

/// Who trusts the certificates, their kinds of key, and the days that the first of them to expire
/// has left; `None` without TLS.
async fn certificates(site: &Site) -> Result<Option<(String, String, i64)>, Fault> {
    let mut all = Vec::new();
    for target in [&site.socket, &site.api] {
        if target.is_secure() {
            all.push(certificate(site, target).await?);
        }
    }
    let (Some((trust, key, one)), Some((api_trust, api_key, other))) = (all.first(), all.last())
    else {
        return Ok(None);
    };
    Ok(Some((joined(trust, api_trust), joined(key, api_key), *one.min(other))))
}

async fn certificate(
    site: &Site,
    target: &Target,
) -> Result<(&'static str, &'static str, i64), Fault> {
    let lost = |error: DialError| Fault::Lost(error.to_string());
    site.turns.next().await;
    let (transport, ..) = dial::stream(target, site.clock, WAIT).await.map_err(lost)?;
    let shown = transport.certificates().first().and_then(tls::read_certificate);
    let Some(shown) = shown else {
        return Err(Fault::Silent("the certificate cannot be read".to_owned()));
    };
    drop(transport);
    // Whoever trusts the system's roots is a user's client.
    let is_trusted = match (&site.ca_pem, tls::client_config(None)) {
        (None, _) => true,
        (Some(_), Err(_)) => false,
        (Some(_), Ok(roots)) => {
            site.turns.next().await;
            match dial::stream(&target.clone().with_tls(&roots), site.clock, WAIT).await {
                Ok(_) => true,
                // Nothing but the certificate is wrong with it.
                Err(error) if error.phase == Phase::Tls && !error.may_pass => false,
                Err(error) => return Err(lost(error)),
            }
        }
    };
    let trust = if is_trusted { "a root of this system" } else { "tls.ca_file alone" };
    let now = i64::try_from(site.now()).unwrap_or(i64::MAX);
    let left = shown.not_after.saturating_sub(now).div_euclid(DAY_S);
    Ok((trust, shown.key, left))
}

/// What becomes of who connects without TLS.
async fn plain(site: &Site) -> Result<Reading, Fault> {
    let value = |said: &str| Reading::Value(said.to_owned());
    if !site.socket.is_secure() {
        return Ok(value("taken"));
    }
    let mut client = match Client::try_open(site, &site.socket.clone().plain()).await {
        Ok(client) => client,
        Err(error) => {
            // Where it is there with TLS, that is an answer.
            Client::connect(site).await?.leave().await;
            return Ok(match error.is_late {
                true => Reading::Failed("nobody answers there".to_owned()),
                false => value("no WebSocket"),
            });
        }
    };
    let fate = client.fate_of_a_stranger(|h| h.event == "pusher:connection_established").await;
    client.leave().await;
    match fate {
        Ok(fate) => Ok(Reading::Value(fate.said())),
        Err(fault @ Fault::Silent(_)) => Ok(fault.reading()),
        Err(fault) => Err(fault),
    }
}
