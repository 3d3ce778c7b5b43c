//! For whom the application's auth endpoints sign.

use crate::model::{ChannelName, Secret, SocketId};
use crate::net::dial::Target;
use crate::net::http;
use crate::pusher::endpoint::{self, BodyForm, Subject, Wrong};
use crate::verify::parity::{Reading, Row};

use super::client::Fault;
use super::{Found, Site, WAIT};

/// A connection that nobody has: what is signed for it is of no use to anybody.
const NOBODYS_SOCKET: &str = "1.1";

/// An auth endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is.
    pub target: Target,
    /// How it is asked.
    pub form: BodyForm,
    /// What shows who is asking.
    pub headers: Vec<(String, Secret)>,
    /// What it wants beside the documented fields.
    pub params: Vec<(String, Secret)>,
    /// What it must sign for; `None` for users.
    pub channel: Option<ChannelName>,
    /// A channel that it must not sign for.
    pub forbidden: Option<ChannelName>,
}

/// The endpoints for one app.
#[derive(Debug, Default)]
pub struct Endpoints {
    /// Signs subscriptions.
    pub channels: Option<Endpoint>,
    /// Signs users in.
    pub users: Option<Endpoint>,
}

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let Endpoints { channels, users } = &site.endpoints;
    let none = |why: &str| Reading::NotApplicable(why.to_owned());
    for (row, endpoint) in [(Row::AuthEndpoint, channels), (Row::UserAuthEndpoint, users)] {
        let reading = match endpoint {
            Some(endpoint) => signs(site, endpoint).await?,
            None => none("the scenario names none"),
        };
        found.push((row, reading));
    }
    // Who signs nothing at all forbids nothing.
    let signs = found
        .iter()
        .any(|(row, reading)| *row == Row::AuthEndpoint && matches!(reading, Reading::Value(_)));
    let forbidden = channels.as_ref().and_then(|of| Some((of, of.forbidden.as_ref()?)));
    let reading = match forbidden {
        Some(_) if !signs => none("it signs nothing"),
        Some((endpoint, channel)) => {
            let answer = ask(site, endpoint, Subject::Channel(channel)).await?;
            let is_signed = answer.status == 200 && endpoint::has_auth(&answer.body);
            Reading::Value(if is_signed { "signed" } else { "refused" }.to_owned())
        }
        None => none("the scenario names none"),
    };
    found.push((Row::AuthEndpointForbidden, reading));
    Ok(())
}

/// With what it signs.
async fn signs(site: &Site, endpoint: &Endpoint) -> Result<Reading, Fault> {
    let subject = endpoint.channel.as_ref().map_or(Subject::User, Subject::Channel);
    let answer = ask(site, endpoint, subject).await?;
    let signed = match endpoint::read(subject, answer.status, &answer.body) {
        Ok(signed) => signed,
        // Who asks may be the one who is wrong.
        Err(unusable) => return Ok(Reading::Failed(unusable.to_string())),
    };
    let said = match signed.verify(&nobodys_socket(), subject, &site.signer, None) {
        Ok(()) => "it signs for this app",
        Err(Wrong::Key { .. }) => "it signs with another app's key",
        Err(Wrong::Signature { .. }) => "it signs with another secret",
    };
    Ok(Reading::Value(said.to_owned()))
}

async fn ask(
    site: &Site,
    endpoint: &Endpoint,
    subject: Subject<'_>,
) -> Result<http::Response, Fault> {
    let Endpoint { target, form, headers, params, .. } = endpoint;
    let request = endpoint::request(&nobodys_socket(), subject, *form, params, headers);
    let lost = |why: String| Fault::Silent(format!("the endpoint does not answer: {why}"));
    site.turns.next().await;
    let connection = http::connect(target, site.clock, WAIT, &site.tasks).await;
    let connection = connection.map_err(|error| lost(error.to_string()))?;
    let (answer, _) = connection.send(target, &request, WAIT).await;
    let answer = answer.map_err(|error| lost(error.to_string()))?;
    if answer.status >= 500 || answer.status == 429 {
        return Err(lost(format!("HTTP {}", answer.status)));
    }
    Ok(answer)
}

fn nobodys_socket() -> SocketId {
    #[expect(clippy::expect_used, reason = "digits, a dot, digits: always a socket id")]
    SocketId::new(NOBODYS_SOCKET).expect("a socket id")
}
