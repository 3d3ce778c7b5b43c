//! Users who sign in: what is sent to them, who watches them, and how they are shut out.

use serde_json::json;

use crate::model::Secret;
use crate::pusher::rest::Publication;
use crate::pusher::{auth, frame};
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fate, Fault, Heard};
use super::{Found, Site};

const EVENT: &str = "pc-probe";
const SUCCESS: &str = "pusher:signin_success";
const WATCHLIST: &str = "pusher_internal:watchlist_events";

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let value = |text: &str| Reading::Value(text.to_owned());
    let (watcher, watched) = (format!("{}-watcher", site.tail), format!("{}-watched", site.tail));
    let mut one = Client::connect(site).await?;
    let data = json!({ "id": watcher, "watchlist": [watched] }).to_string();
    let fate = sign_in(site, &mut one, &data, &site.signer.secret).await?;
    if !fate.is_taken {
        found.push((Row::SignIn, Reading::Unsupported(fate.said())));
        for row in [Row::SignInForged, Row::ToUser, Row::Watchlist, Row::Terminate] {
            found.push((row, Reading::NotApplicable("nobody can sign in".to_owned())));
        }
        one.leave().await;
        return Ok(());
    }
    found.push((Row::SignIn, value("works")));

    let mut forger = Client::connect(site).await?;
    let forged = json!({ "id": watched }).to_string();
    let fate = sign_in(site, &mut forger, &forged, &Secret::new("pc-not-the-secret")).await?;
    found.push((Row::SignInForged, Reading::Value(fate.said())));
    forger.leave().await;

    let channel = format!("#server-to-user-{watcher}");
    // As pusher-js does it, once it has signed in.
    one.send(frame::subscribe(&channel, "", None)).await?;
    one.settle().await?;
    let channels = &[channel.as_str()];
    let publication = Publication { name: EVENT, channels, data: "{}", ..Default::default() };
    found.push((
        Row::ToUser,
        match site.publish(&publication).await {
            Err(fault @ Fault::Refused(_)) => fault.reading(),
            Err(fault) => return Err(fault),
            Ok(_) => match one.news(|h| h.event == EVENT).await? {
                Some(_) => value("arrives"),
                None => value("does not arrive"),
            },
        },
    ));

    let mut other = Client::connect(site).await?;
    // Some tell of nobody who does not watch somebody himself.
    let data = json!({ "id": watched, "watchlist": [watcher] }).to_string();
    if !sign_in(site, &mut other, &data, &site.signer.secret).await?.is_taken {
        return Err(Fault::Barred("a second user could not sign in".to_owned()));
    }
    // Whom nobody knows yet is offline first.
    let tells = |h: &Heard| {
        h.data.contains(&watched) && (h.data.contains("online") || h.event.contains("online"))
    };
    found.push((
        Row::Watchlist,
        match one.news(tells).await? {
            Some(h) if h.event == WATCHLIST => value("tells who comes"),
            Some(_) => value("tells who comes, by frames that pusher-js does not know"),
            None => value("tells nothing"),
        },
    ));

    found.push((
        Row::Terminate,
        match site.accepted(&site.signer.terminate(&watched, site.now())).await {
            Err(fault @ Fault::Refused(_)) => fault.reading(),
            Err(fault) => return Err(fault),
            Ok(_) => {
                let mut fate = other.fate(|_| false).await?;
                if fate.closed.is_none() {
                    fate = other.fate_within(site.news_within).await?;
                }
                match fate.closed {
                    Some(_) => Reading::Value(fate.said()),
                    None => value("stays"),
                }
            }
        },
    ));
    one.leave().await;
    other.leave().await;
    Ok(())
}

async fn sign_in(
    site: &Site,
    client: &mut Client<'_>,
    data: &str,
    secret: &Secret,
) -> Result<Fate, Fault> {
    let auth = auth::user(&site.signer.key, secret, &client.id, data);
    client.send(frame::signin(&auth, data)).await?;
    client.fate(|h| h.event == SUCCESS).await
}
