//! The application's own auth endpoints, which sign a client's subscriptions and its sign-in
//! (Channels docs: authorizing users, authenticating users): what they are asked, and what their
//! answers are worth.

use serde::Deserialize;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::model::{ChannelName, Secret, SocketId};

use super::auth;
use super::encrypt::SharedSecret;
use super::rest::{Request, Signer};

/// What an endpoint is asked to sign.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A subscription to this channel.
    Channel(&'a ChannelName),
    /// The user's sign-in.
    User,
}

/// How the body of a request is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyForm {
    /// `application/x-www-form-urlencoded`, as pusher-js writes it.
    #[default]
    Form,
    /// `application/json`.
    Json,
}

/// A request to an endpoint's own path.
///
/// `params` are what the application wants beside the documented fields, `headers` what shows who
/// is asking.
pub fn request(
    socket_id: &SocketId,
    subject: Subject<'_>,
    form: BodyForm,
    params: &[(String, Secret)],
    headers: &[(String, Secret)],
) -> Request {
    let mut fields = vec![("socket_id", socket_id.as_str())];
    if let Subject::Channel(channel) = subject {
        fields.push(("channel_name", channel.as_str()));
    }
    fields.extend(params.iter().map(|(name, value)| (name.as_str(), value.expose())));
    let body = match form {
        BodyForm::Form => {
            form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
        }
        BodyForm::Json => {
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
            Value::Object(fields.collect::<Map<_, _>>()).to_string()
        }
    };
    let content_type = match form {
        BodyForm::Form => "application/x-www-form-urlencoded",
        BodyForm::Json => "application/json",
    };
    let (target, headers) = (String::new(), headers.to_vec());
    Request { method: "POST", target, body, content_type, headers }
}

/// What an endpoint signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// `key:signature`.
    pub auth: String,
    /// Who subscribes to a presence channel: the very text that was signed.
    pub channel_data: Option<String>,
    /// The key of an encrypted channel.
    pub shared_secret: Option<SharedSecret>,
    /// Who signs in: the very text that was signed.
    pub user_data: Option<String>,
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<signed>")
    }
}

/// Why an answer is of no use to a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The endpoint does not allow it; clients take 200 alone for a yes.
    #[error("it answered HTTP {0}")]
    Refused(u16),
    /// The answer lacks something.
    #[error("its answer {0}")]
    Unsound(&'static str),
}

/// Reads an endpoint's answer.
///
/// # Errors
/// See [`Unusable`].
pub fn read(subject: Subject<'_>, status: u16, body: &str) -> Result<Signed, Unusable> {
    #[derive(Deserialize)]
    struct Wire {
        auth: Option<String>,
        channel_data: Option<String>,
        shared_secret: Option<String>,
        user_data: Option<String>,
    }
    if status != 200 {
        return Err(Unusable::Refused(status));
    }
    let unsound = |what| Err(Unusable::Unsound(what));
    let Ok(wire) = serde_json::from_str::<Wire>(body) else {
        return unsound("is no JSON object with texts in it");
    };
    let Some(auth) = wire.auth.filter(|auth| auth.contains(':')) else {
        return unsound("has no auth of the form key:signature");
    };
    let shared_secret = wire.shared_secret.as_deref().and_then(SharedSecret::from_base64);
    match subject {
        Subject::User if wire.user_data.is_none() => return unsound("has no user_data"),
        Subject::Channel(channel)
            if channel.kind().is_presence() && wire.channel_data.is_none() =>
        {
            return unsound("has no channel_data, which a presence channel needs");
        }
        Subject::Channel(channel) if channel.kind().is_encrypted() && shared_secret.is_none() => {
            return unsound("has no shared_secret of 32 bytes, which an encrypted channel needs");
        }
        Subject::Channel(_) | Subject::User => {}
    }
    let Wire { channel_data, user_data, .. } = wire;
    Ok(Signed { auth, channel_data, shared_secret, user_data })
}

/// Whether an answer has a signature in it, whatever else it lacks.
pub fn has_auth(body: &str) -> bool {
    // What else stands there need not be anything that this program would write.
    #[derive(Deserialize)]
    struct Wire {
        auth: String,
    }
    serde_json::from_str::<Wire>(body).is_ok_and(|wire| !wire.auth.is_empty())
}

/// What is wrong with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is given out for another app's.
    Key {
        /// Whether for that of the other cluster.
        is_the_others: bool,
    },
    /// It was made with another secret, or over another text.
    Signature {
        /// Whether with that of the other cluster's app.
        is_the_others: bool,
    },
}

impl Signed {
    /// Holds the signature against the app of the cluster that it is for, and names the other
    /// cluster's app where it is that one's.
    ///
    /// # Errors
    /// See [`Wrong`].
    pub fn verify(
        &self,
        socket_id: &SocketId,
        subject: Subject<'_>,
        app: &Signer,
        other: Option<&Signer>,
    ) -> Result<(), Wrong> {
        let text = match subject {
            Subject::Channel(channel) => {
                auth::channel_string(socket_id, channel.as_str(), self.channel_data.as_deref())
            }
            Subject::User => {
                auth::user_string(socket_id, self.user_data.as_deref().unwrap_or_default())
            }
        };
        let (key, signature) = self.auth.split_once(':').unwrap_or_default();
        let is_signed_by =
            |signer: &Signer| auth::verify_hex(&signer.secret, text.as_bytes(), signature);
        if key != app.key.as_str() {
            let is_the_others = other.is_some_and(|other| other.key.as_str() == key);
            return Err(Wrong::Key { is_the_others });
        }
        if is_signed_by(app) {
            return Ok(());
        }
        Err(Wrong::Signature { is_the_others: other.is_some_and(is_signed_by) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, AppKey};

    fn signer(key: &str, secret: &str) -> Signer {
        Signer {
            app_id: AppId::new("1").unwrap(),
            key: AppKey::new(key).unwrap(),
            secret: Secret::new(secret),
        }
    }

    fn socket() -> SocketId {
        SocketId::new("1234.5678").unwrap()
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::new(name).unwrap()
    }

    #[test]
    fn the_body_is_as_pusher_js_writes_it_or_json() {
        let (name, params) = (channel("private-a;b"), [("csrf".to_owned(), Secret::new("x y"))]);
        let headers = [("Cookie".to_owned(), Secret::new("s=1"))];
        let subject = Subject::Channel(&name);
        let form = request(&socket(), subject, BodyForm::Form, &params, &headers);
        assert_eq!(form.body, "socket_id=1234.5678&channel_name=private-a%3Bb&csrf=x+y");
        assert_eq!(form.content_type, "application/x-www-form-urlencoded");
        assert_eq!((form.method, form.target.as_str(), form.headers.len()), ("POST", "", 1));
        let json = request(&socket(), Subject::User, BodyForm::Json, &[], &[]);
        assert_eq!(json.body, r#"{"socket_id":"1234.5678"}"#);
    }

    #[test]
    fn an_answer_must_have_what_a_client_needs() {
        let secret = "A".repeat(43) + "=";
        for (name, status, body, wrong) in [
            ("private-a", 200, r#"{"auth":"k:s"}"#.to_owned(), ""),
            ("private-a", 201, r#"{"auth":"k:s"}"#.to_owned(), "it answered HTTP 201"),
            ("private-a", 403, "Forbidden".to_owned(), "it answered HTTP 403"),
            ("private-a", 200, "<html>".to_owned(), "its answer is no JSON object"),
            ("private-a", 200, r#"{"auth":7}"#.to_owned(), "its answer is no JSON object"),
            ("private-a", 200, "{}".to_owned(), "its answer has no auth"),
            ("private-a", 200, r#"{"auth":"ks"}"#.to_owned(), "its answer has no auth"),
            ("presence-a", 200, r#"{"auth":"k:s"}"#.to_owned(), "its answer has no channel_data"),
            ("presence-a", 200, r#"{"auth":"k:s","channel_data":"{}"}"#.to_owned(), ""),
            (
                "private-encrypted-a",
                200,
                r#"{"auth":"k:s"}"#.to_owned(),
                "its answer has no shared",
            ),
            (
                "private-encrypted-a",
                200,
                format!(r#"{{"auth":"k:s","shared_secret":"{secret}"}}"#),
                "",
            ),
        ] {
            let name = channel(name);
            let read = read(Subject::Channel(&name), status, &body);
            let said = read.err().map_or(String::new(), |error| error.to_string());
            assert!(said.starts_with(wrong) && said.is_empty() == wrong.is_empty(), "{said}");
        }
        assert!(has_auth(r#"{"auth":"k:s"}"#) && !has_auth(r#"{"auth":""}"#) && !has_auth("no"));
        let user = |body| read(Subject::User, 200, body).is_ok();
        assert!(user(r#"{"auth":"k:s","user_data":"{\"id\":\"1\"}"}"#));
        assert!(!user(r#"{"auth":"k:s"}"#));
    }

    #[test]
    fn a_signature_that_is_the_other_clusters_is_told_from_one_that_is_nobodys() {
        let (old, new) = (signer("old-key", "old-secret"), signer("new-key", "new-secret"));
        let (name, data) = (channel("presence-a"), Some(r#"{"user_id":"1"}"#));
        let by = |key: &Signer, secret: &Signer| {
            let auth = auth::channel(&key.key, &secret.secret, &socket(), name.as_str(), data);
            let channel_data = data.map(str::to_owned);
            let signed = Signed { auth, channel_data, shared_secret: None, user_data: None };
            signed.verify(&socket(), Subject::Channel(&name), &new, Some(&old))
        };
        assert_eq!(by(&new, &new), Ok(()));
        assert_eq!(by(&old, &old), Err(Wrong::Key { is_the_others: true }));
        assert_eq!(by(&new, &old), Err(Wrong::Signature { is_the_others: true }));
        let stranger = signer("stranger", "s");
        assert_eq!(by(&stranger, &new), Err(Wrong::Key { is_the_others: false }));
        assert_eq!(by(&new, &stranger), Err(Wrong::Signature { is_the_others: false }));
    }

    #[test]
    fn a_sign_in_is_verified_as_the_published_vector_has_it() {
        let app = signer("278d425bdf160c739803", "7ad3773142a6692b25b8");
        let user_data = r#"{"id":"12345"}"#;
        let auth = auth::user(&app.key, &app.secret, &socket(), user_data);
        let (channel_data, shared_secret) = (None, None);
        let user_data = Some(user_data.to_owned());
        let signed = Signed { auth, channel_data, shared_secret, user_data };
        assert_eq!(signed.verify(&socket(), Subject::User, &app, None), Ok(()));
        assert_eq!(format!("{signed:?}"), "<signed>");
    }
}
