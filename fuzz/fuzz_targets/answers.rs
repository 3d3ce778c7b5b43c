#![no_main]
//! HTTP answers: of the API, of auth endpoints and of status pages, by whatever stands between.
//!
//! The input's first two bytes choose the status, the rest is the body.

use libfuzzer_sys::fuzz_target;
use pusher_canary::model::secret::without_signatures;
use pusher_canary::model::{AppId, AppKey, ChannelName, Secret, SocketId};
use pusher_canary::provider::Watch;
use pusher_canary::pusher::endpoint::{self, Subject};
use pusher_canary::pusher::rest::{self, Answer, Probe, Signer};
use pusher_canary::verify::status_page::{COMPONENTS_MAX, SPANS_MAX};

/// Characters of a name on a status page at most.
const NAME_CHARS_MAX: usize = 200;
/// Hexadecimal digits of a signature.
const SIGNATURE_DIGITS: usize = 64;
/// When a status page is read, and since when what it tells counts: 2026-02-03 and the day before,
/// in milliseconds since the Unix epoch.
const READ_AT: i64 = 1_770_091_200_000;
const SINCE: i64 = READ_AT - 86_400_000;

fuzz_target!(|input: &[u8]| {
    let Some((status, body)) = input.split_first_chunk::<2>() else { return };
    let status = 100 + u16::from_be_bytes(*status) % 500;
    // As the client has it that reads answers.
    let body = String::from_utf8_lossy(body);
    check_api(status, &body);
    check_endpoint(status, &body);
    check_page(&body);
    let shown = without_signatures(&body);
    let mut digits = shown.split(|c: char| !c.is_ascii_hexdigit()).map(str::len);
    assert!(digits.all(|count| count < SIGNATURE_DIGITS), "a signature is left: {shown}");
    assert_eq!(without_signatures(&shown), shown);
});

/// What several ask of one answer does not contradict itself.
fn check_api(status: u16, body: &str) {
    let (answer, probe) = (rest::classify(status, body), rest::probe(status, body));
    if answer == Answer::Accepted {
        assert!((200..300).contains(&status) && !rest::bears_error(body), "{status} {body}");
    }
    if rest::error_in(body).is_some() {
        assert!(rest::bears_error(body), "{body}");
    }
    if rest::is_throttled(status, body) {
        assert_eq!(probe, Probe::Passing, "{status} {body}");
        assert_ne!(answer, Answer::Accepted, "{status} {body}");
    }
    if rest::listed(status, body).is_some() {
        assert_eq!(probe, Probe::Sound, "{status} {body}");
    }
    let is_told = rest::counted(status, body).is_some() || rest::cached(status, body).is_some();
    assert!(status == 200 || !is_told);
    assert!(matches!(status, 200 | 404) || rest::users(status, body).is_none());
}

/// What is taken for signed has what a client needs, and is by none who does not know the secret.
fn check_endpoint(status: u16, body: &str) {
    let signer = |key: &str, secret: &str| Signer {
        app_id: AppId::new("1").expect("an app id"),
        key: AppKey::new(key).expect("a key"),
        secret: Secret::new(secret),
    };
    let (app, other) = (signer("k", "nobody knows it"), signer("other", "nor this one"));
    let socket_id = SocketId::new("1234.5678").expect("a socket id");
    let names = ["public", "private-a", "presence-a", "private-encrypted-a", "presence-cache-a"];
    let channels = names.map(|name| ChannelName::new(name).expect("a channel's name"));
    for subject in channels.iter().map(Subject::Channel).chain([Subject::User]) {
        let signed = match endpoint::read(subject, status, body) {
            Ok(signed) => signed,
            Err(unusable) => {
                assert!(!unusable.to_string().is_empty());
                continue;
            }
        };
        assert!(status == 200 && signed.auth.contains(':'), "{status} {body}");
        assert!(match subject {
            Subject::User => signed.user_data.is_some(),
            Subject::Channel(channel) => {
                let kind = channel.kind();
                (signed.channel_data.is_some() || !kind.is_presence())
                    && (signed.shared_secret.is_some() || !kind.is_encrypted())
            }
        });
        assert_eq!(format!("{signed:?}"), "<signed>");
        assert!(signed.verify(&socket_id, subject, &app, Some(&other)).is_err(), "{body}");
    }
    endpoint::has_auth(body);
}

/// Whatever a page says, of it is kept no more than there is room for, on one line.
fn check_page(body: &str) {
    let named = ["Channels", "gtd0nyr3pf0k", "not there"].map(str::to_owned);
    let is_line =
        |text: &str| text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control);
    for components in [&[] as &[String], &named] {
        for incidents in [None, Some(body)] {
            let watch = Watch { components, since: SINCE };
            let Ok(reading) = watch.read(body, incidents, READ_AT) else { continue };
            assert!(reading.components.len() <= COMPONENTS_MAX);
            assert!(reading.spans.len() <= 2 * SPANS_MAX);
            assert!(reading.components.iter().all(|component| is_line(&component.name)));
            assert!(reading.spans.iter().all(|span| is_line(&span.name)));
            let is_over = |until: i64| until <= SINCE;
            assert!(!reading.spans.iter().any(|span| span.until.is_some_and(is_over)));
        }
    }
}
