//! Which kinds of channel there are.

use crate::model::ChannelKind;
use crate::pusher::rest::Publication;
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{Found, Site};

const EVENT: &str = "pc-probe";
/// What an encrypted channel carries: only clients look into it.
const SEALED: &str = r#"{"nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","ciphertext":"AAAA"}"#;

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
        let reading = match works(site, kind).await {
            // Whoever is refused on one kind may still be let in on another.
            Err(Fault::Barred(why) | Fault::Refused(why)) => Reading::Unsupported(why),
            Err(fault @ Fault::Silent(_)) => fault.reading(),
            Err(fault) => return Err(fault),
            Ok(said) => Reading::Value(said.to_owned()),
        };
        found.push((row(kind), reading));
    }
    let mut client = Client::connect(site).await?;
    let channel = site.channel(ChannelKind::Public, "confirmed")?;
    let confirmed = client.subscribe(&channel, "").await?;
    let said = match (confirmed.data.as_str(), confirmed.is_text) {
        ("null", false) => "no data".to_owned(),
        (data, _) => format!("{data} as its data"),
    };
    found.push((Row::Confirmation, Reading::Value(said)));
    client.leave().await;
    Ok(())
}

async fn works(site: &Site, kind: ChannelKind) -> Result<&'static str, Fault> {
    let channel = site.channel(kind, "kind")?;
    let mut client = Client::connect(site).await?;
    client.subscribe(&channel, "pc-one").await?;
    let channels = &[channel.as_str()];
    site.publish(&Publication { name: EVENT, channels, data: SEALED, ..Default::default() })
        .await?;
    site.fence(&channel).await?;
    let heard = client.until_fence(&channel).await?;
    client.leave().await;
    let came = heard.iter().find(|h| h.is(EVENT, &channel));
    Ok(match came {
        Some(came) if came.data == SEALED => "works",
        Some(_) => "alters what it carries",
        None => "delivers nothing",
    })
}
