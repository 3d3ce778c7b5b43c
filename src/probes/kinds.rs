//! Which kinds of channel there are.

use crate::model::ChannelKind;
use crate::pusher::encrypt::SharedSecret;
use crate::pusher::rest::Publication;
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault, Heard};
use super::{Found, Site};

const EVENT: &str = "pc-probe";
/// Characters of a confirmation's data that are shown.
const SHOWN_MAX: usize = 60;
/// What is published.
const PLAIN: &str = r#"{"pc":"a canary"}"#;
/// What encrypted channels are sealed with: this is no secret of anybody's.
const MASTER_KEY: [u8; 32] = *b"pc: nobody's, only for probes 32";
const NONCE: [u8; 24] = *b"pc: once for one channel";

const fn row(kind: ChannelKind) -> Row {
    match kind {
        ChannelKind::Public => Row::KindPublic,
        ChannelKind::Private => Row::KindPrivate,
        ChannelKind::Presence => Row::KindPresence,
        ChannelKind::Encrypted => Row::KindEncrypted,
        ChannelKind::Cache => Row::KindCache,
        ChannelKind::PrivateCache => Row::KindPrivateCache,
        ChannelKind::PresenceCache => Row::KindPresenceCache,
        ChannelKind::EncryptedCache => Row::KindEncryptedCache,
    }
}

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    for kind in ChannelKind::ALL {
        let mut works = works(site, kind).await?;
        if matches!(works, Reading::Unsupported(_)) {
            // It may have been in a hurry, and not mean it.
            tokio::time::sleep(site.soon()).await;
            works = self::works(site, kind).await?;
        }
        found.push((row(kind), works));
    }
    let mut client = Client::connect(site).await?;
    let channel = site.channel(ChannelKind::Public, "confirmed")?;
    let confirmed = client.subscribe(&channel, "").await?;
    let said = match (confirmed.data.as_str(), confirmed.is_text) {
        ("null", false) => "no data".to_owned(),
        (data, _) => format!("{} as its data", data.chars().take(SHOWN_MAX).collect::<String>()),
    };
    found.push((Row::Confirmation, Reading::Value(said)));
    client.leave().await;
    Ok(())
}

async fn works(site: &Site, kind: ChannelKind) -> Result<Reading, Fault> {
    let channel = site.channel(kind, "kind")?;
    let mut client = Client::connect(site).await?;
    match client.subscribe(&channel, "pc-one").await {
        Ok(_) => {}
        // Every app has public channels: one that lets nobody in says nothing of the others.
        Err(fault) if kind == ChannelKind::Public => return Err(fault),
        Err(Fault::Barred(why)) => return Ok(Reading::Unsupported(why)),
        Err(Fault::Closed(code)) => {
            Client::connect(site).await?.leave().await;
            return Ok(Reading::Unsupported(format!("closed with {code}")));
        }
        Err(fault @ Fault::Silent(_)) => return Ok(fault.reading()),
        Err(fault) => return Err(fault),
    }
    let channels = &[channel.as_str()];
    let secret = SharedSecret::derive(channel.as_str(), &MASTER_KEY);
    let is_sealed = kind.is_encrypted();
    let data = if is_sealed { secret.seal(PLAIN, &NONCE) } else { PLAIN.to_owned() };
    site.publish(&Publication { name: EVENT, channels, data: &data, ..Default::default() }).await?;
    let came = client.awaited(|h| h.is(EVENT, &channel)).await?;
    client.leave().await;
    // Whoever has the key must be able to open it.
    let opened = |came: &Heard| match is_sealed {
        true => secret.open(&came.data).as_deref() == Some(PLAIN),
        false => came.data == PLAIN,
    };
    let said = match came {
        Some(came) if opened(&came) => "works",
        Some(_) => "alters what it carries",
        None => "delivers nothing",
    };
    Ok(Reading::Value(said.to_owned()))
}
