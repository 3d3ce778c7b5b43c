//! What ought to be refused: with which words and codes it is, and whether the connection stays.
//!
//! No subscription without a channel's name is among them: it kills every version of soketi.

use crate::model::{AppKey, ChannelKind, Secret};
use crate::pusher::rest::{Publication, Signer};
use crate::pusher::{self, auth, frame};
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fate, Fault, MEMBER, SUBSCRIBED};
use super::{FENCE, Found, Site};

/// Kinds that need a signature, but for the simplest one.
const SIGNED: [ChannelKind; 5] = [
    ChannelKind::Presence,
    ChannelKind::Encrypted,
    ChannelKind::PrivateCache,
    ChannelKind::PresenceCache,
    ChannelKind::EncryptedCache,
];
/// A secret that no app has.
const WRONG: &str = "pc-not-the-secret";

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let said = |fate: &Fate| Reading::Value(fate.said());
    let another = AppKey::new("pc-no-such-key").map_err(|error| Fault::Lost(error.to_string()))?;

    found.push((Row::KeyUnknown, stranger(site, &another).await?));

    let nowhere = format!("{}-forged", site.tail);
    let channels = &[nowhere.as_str()];
    let publication = Publication { name: FENCE, channels, data: "{}", ..Publication::default() };
    let forged = |signer: &Signer| signer.publish(&publication, site.now());
    let signer = Signer { key: another, ..site.signer.clone() };
    found.push((Row::HttpKeyUnknown, Reading::Value(site.status(&forged(&signer)).await?)));
    let signer = Signer { secret: Secret::new(WRONG), ..site.signer.clone() };
    found.push((Row::HttpSignature, Reading::Value(site.status(&forged(&signer)).await?)));

    let channel = site.channel(ChannelKind::Private, "refused")?;
    let mut client = Client::connect(site).await?;
    let wrong = Secret::new(WRONG);
    let auth = auth::channel(&site.signer.key, &wrong, &client.id, channel.as_str(), None);
    client.send(frame::subscribe(channel.as_str(), &auth, None)).await?;
    let fate = client.fate(|h| h.is(SUBSCRIBED, &channel)).await?;
    found.push((Row::ChannelSignature, said(&fate)));
    client.leave().await;

    let mut open = Vec::new();
    let mut client = Client::connect(site).await?;
    for kind in SIGNED {
        let channel = site.channel(kind, "refused")?;
        let data = kind.is_presence().then_some(MEMBER);
        let auth = auth::channel(&site.signer.key, &wrong, &client.id, channel.as_str(), data);
        if client.may_join(channel.as_str(), &auth).await? {
            open.push(kind.prefix());
        }
    }
    client.leave().await;
    let open = if open.is_empty() { "none".to_owned() } else { open.join(", ") };
    found.push((Row::OpenKinds, Reading::Value(open)));

    let name = format!("{}-bad name!", site.tail);
    let mut client = Client::connect(site).await?;
    client.send(frame::subscribe(&name, "", None)).await?;
    let fate = client.fate(|h| h.event == SUBSCRIBED).await?;
    found.push((Row::ChannelName, said(&fate)));
    client.leave().await;

    let mut client = Client::connect(site).await?;
    client.send("{".to_owned()).await?;
    found.push((Row::FrameMalformed, said(&client.fate(|_| false).await?)));
    client.leave().await;

    let channel = site.channel(ChannelKind::Public, "twice")?;
    let mut client = Client::connect(site).await?;
    client.subscribe(&channel, "").await?;
    client.send(frame::subscribe(channel.as_str(), "", None)).await?;
    let fate = client.fate(|h| h.is(SUBSCRIBED, &channel)).await?;
    found.push((Row::SubscriptionTwice, said(&fate)));
    client.leave().await;
    Ok(())
}

/// Who connects with a key that no app has.
async fn stranger(site: &Site, key: &AppKey) -> Result<Reading, Fault> {
    let target = site.socket.at(&pusher::socket_target(key));
    let Ok(mut stranger) = Client::open(site, &target).await else {
        // A cluster that is not there lets nobody connect.
        Client::connect(site).await?.leave().await;
        return Ok(Reading::Value("no WebSocket".to_owned()));
    };
    let fate = stranger.fate_of_a_stranger(|h| h.event == "pusher:connection_established").await;
    stranger.leave().await;
    match fate {
        Ok(fate) => Ok(Reading::Value(fate.said())),
        Err(fault @ Fault::Silent(_)) => Ok(fault.reading()),
        Err(fault) => Err(fault),
    }
}
