//! The auth endpoints of the rehearsal's application, with the mistakes that such endpoints make.
//! Each cluster serves them under `/pusher/`, where nothing of the protocol is. Pure.
//!
//! `/pusher/auth` signs subscriptions, `/pusher/user-auth` sign-ins. A word behind either says what
//! it does otherwise: `everybody`, `members`, `wrong-key`, `wrong-secret`, `error` or `slow`.

use std::time::Duration;

use serde_json::{Value, json};
use url::form_urlencoded;

use crate::model::channel::kind_of;
use crate::model::{Secret, SocketId};
use crate::pusher::auth;
use crate::pusher::encrypt::SharedSecret;

use super::hub::App;
use super::rest::Reply;

/// The master key of the application's encrypted channels.
pub const MASTER_KEY: [u8; 32] = *b"the rehearsal application's keys";
/// Channels with this in their names are for nobody.
const FORBIDDEN: &str = "forbidden";
/// What members show, as a bearer or as the cookie `session`.
const MEMBERS_TOKEN: &str = "let-me-in";
/// The user that everybody is.
const USER: &str = "rehearsal-user";
/// How long a slow one takes.
const SLOW: Duration = Duration::from_millis(1_500);

/// How an endpoint behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// As it must: nobody gets a forbidden channel.
    Sound,
    /// Whoever asks gets whatever he wants.
    Everybody,
    /// Only who shows a token gets anything.
    Members,
    /// It gives its signatures out for another app's.
    WrongKey,
    /// It signs with another secret.
    WrongSecret,
    /// It is broken.
    Error,
    /// It takes its time.
    Slow,
}

impl Manner {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "" => Self::Sound,
            "everybody" => Self::Everybody,
            "members" => Self::Members,
            "wrong-key" => Self::WrongKey,
            "wrong-secret" => Self::WrongSecret,
            "error" => Self::Error,
            "slow" => Self::Slow,
            _ => return None,
        })
    }
}

/// A request as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Its path.
    pub path: &'a str,
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `Authorization`.
    pub authorization: &'a str,
    /// `Cookie`.
    pub cookie: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

/// Whether a path is one of an endpoint.
pub fn is_endpoint(path: &str) -> bool {
    path.starts_with("/pusher/")
}

/// What an endpoint answers, and after how long.
pub fn answer(app: &App, question: Question<'_>) -> (Reply, Duration) {
    let reply = |status, body: &str| Reply { status, body: body.to_owned() };
    let mut words = question.path.trim_start_matches("/pusher/").splitn(2, '/');
    let (what, word) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some(manner) = Manner::of(word) else { return (reply(404, "not found\n"), Duration::ZERO) };
    let delay = if manner == Manner::Slow { SLOW } else { Duration::ZERO };
    let field = |name: &str| field(question, name).unwrap_or_default();
    let Ok(socket_id) = SocketId::new(&field("socket_id")) else {
        return (reply(400, "socket_id is missing\n"), delay);
    };
    let is_member = question.authorization == format!("Bearer {MEMBERS_TOKEN}")
        || question.cookie == format!("session={MEMBERS_TOKEN}");
    let signer = signer(app, manner);
    let channel = field("channel_name");
    let answer = match (what, manner) {
        (_, Manner::Error) => reply(500, "Internal Server Error\n"),
        (_, Manner::Members) if !is_member => reply(403, "Forbidden\n"),
        ("auth", _) if channel.contains(FORBIDDEN) && manner != Manner::Everybody => {
            reply(403, "Forbidden\n")
        }
        ("auth", _) if !channel.is_empty() => {
            Reply { status: 200, body: signed_channel(&signer, &socket_id, &channel).to_string() }
        }
        ("user-auth", _) => {
            let user_data = json!({ "id": USER }).to_string();
            let auth = auth::user(&signer.key, &signer.secret, &socket_id, &user_data);
            Reply { status: 200, body: json!({ "auth": auth, "user_data": user_data }).to_string() }
        }
        _ => reply(404, "not found\n"),
    };
    (answer, delay)
}

/// The app in whose name is signed.
fn signer(app: &App, manner: Manner) -> App {
    let mut signer = app.clone();
    match manner {
        Manner::WrongSecret => signer.secret = Secret::new("no app has this secret"),
        Manner::WrongKey => {
            let other: String = app.key.as_str().chars().rev().collect();
            if let Ok(key) = crate::model::AppKey::new(other) {
                signer.key = key;
            }
        }
        _ => {}
    }
    signer
}

fn signed_channel(signer: &App, socket_id: &SocketId, channel: &str) -> Value {
    let kind = kind_of(channel);
    let data = kind.is_presence().then(|| json!({ "user_id": USER }).to_string());
    let auth = auth::channel(&signer.key, &signer.secret, socket_id, channel, data.as_deref());
    let mut answer = json!({ "auth": auth });
    if let (Some(answer), Some(data)) = (answer.as_object_mut(), data) {
        answer.insert("channel_data".to_owned(), data.into());
    }
    if let (Some(answer), true) = (answer.as_object_mut(), kind.is_encrypted()) {
        let secret = SharedSecret::derive(channel, &MASTER_KEY).to_base64();
        answer.insert("shared_secret".to_owned(), secret.into());
    }
    answer
}

fn field(question: Question<'_>, name: &str) -> Option<String> {
    if question.content_type.starts_with("application/json") {
        let body: Value = serde_json::from_slice(question.body).ok()?;
        return body.get(name)?.as_str().map(str::to_owned);
    }
    let mut fields = form_urlencoded::parse(question.body);
    fields.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, AppKey};

    fn app() -> App {
        App {
            id: AppId::new("1").unwrap(),
            key: AppKey::new("key").unwrap(),
            secret: Secret::new("secret"),
        }
    }

    fn ask(path: &str, channel: &str, authorization: &str) -> (u16, Value, Duration) {
        let body = format!("socket_id=1.2&channel_name={channel}");
        let question = Question {
            path,
            content_type: "application/x-www-form-urlencoded",
            authorization,
            cookie: "",
            body: body.as_bytes(),
        };
        let (reply, delay) = answer(&app(), question);
        (reply.status, serde_json::from_str(&reply.body).unwrap_or_default(), delay)
    }

    #[test]
    fn each_manner_does_what_it_is_called() {
        let id = SocketId::new("1.2").unwrap();
        let sound = auth::channel(&app().key, &app().secret, &id, "private-a", None);
        for (word, channel, status, is_sound) in [
            ("", "private-a", 200, true),
            ("", "private-forbidden", 403, false),
            ("/everybody", "private-forbidden", 200, false),
            ("/members", "private-a", 403, false),
            ("/wrong-key", "private-a", 200, false),
            ("/wrong-secret", "private-a", 200, false),
            ("/error", "private-a", 500, false),
            ("/slow", "private-a", 200, true),
            ("/unheard-of", "private-a", 404, false),
        ] {
            let (code, answer, delay) = ask(&format!("/pusher/auth{word}"), channel, "");
            assert_eq!((code, answer["auth"] == sound.as_str()), (status, is_sound), "{word}");
            assert_eq!(delay.is_zero(), word != "/slow");
        }
        assert_eq!(ask("/pusher/auth/members", "private-a", "Bearer let-me-in").0, 200);
        let (_, presence, _) = ask("/pusher/auth", "presence-a", "");
        assert_eq!(presence["channel_data"], r#"{"user_id":"rehearsal-user"}"#);
        let (_, encrypted, _) = ask("/pusher/auth", "private-encrypted-a", "");
        assert!(encrypted["shared_secret"].is_string());
        let (_, user, _) = ask("/pusher/user-auth", "", "");
        let data = user["user_data"].as_str().unwrap();
        assert_eq!(user["auth"], auth::user(&app().key, &app().secret, &id, data).as_str());
    }

    #[test]
    fn the_body_may_be_json() {
        let body = br#"{"socket_id":"1.2","channel_name":"private-a"}"#;
        let question = Question {
            path: "/pusher/auth",
            content_type: "application/json",
            authorization: "",
            cookie: "",
            body,
        };
        assert_eq!(answer(&app(), question).0.status, 200);
        assert_eq!(answer(&app(), Question { content_type: "", ..question }).0.status, 400);
    }
}
