//! Authorisations, confirmations, refusals, and errors that are none.

use super::*;

#[test]
fn an_authorisation_may_be_late_and_answers_only_for_its_own_socket() {
    let mut driver = Driver::new(&["private-a"]);
    driver.established(SOCKET, "");
    driver.pass(SUBSCRIBE_TIMEOUT - 1);
    driver.authorized(0, Ok(("k:s", None)));
    assert_eq!(driver.sent.len(), 1);
    // The cluster has the whole time to confirm.
    driver.pass(SUBSCRIBE_TIMEOUT - 1);
    assert!(driver.session.is_open());
    driver.closed(CloseCode::Dropped);
    assert_eq!(driver.session.socket_id(), None);
    // Between two sockets an answer is for neither.
    driver.authorized(0, Ok(("k:late", None)));
    driver.redial();
    driver.established("2.2", "");
    assert_eq!(driver.asked, [(0, "2.2".to_owned())]);
    assert_eq!(driver.sent, [""; 0]);
    // The driver's part: on the next socket it can tell by the id.
    assert_ne!(driver.session.socket_id().map(SocketId::as_str), Some(SOCKET));
    driver.authorized(0, Ok(("k:new", None)));
    driver.authorized(0, Ok(("k:twice", None)));
    assert_eq!(driver.sent.len(), 1);
    assert!(driver.sent[0].contains("k:new"), "{}", driver.sent[0]);
    driver.authorized(9, Ok(("k:nobody", None)));

    let mut driver = Driver::new(&["private-a"]);
    driver.established(SOCKET, "");
    driver.closed(CloseCode::Dropped);
    driver.authorized(0, Ok(("k:late", None)));
    driver.authorized(0, Err("late"));
    assert_eq!(driver.lost().cause, Cause::Closed(CloseCode::Dropped));
}

#[test]
fn a_failed_or_missing_authorisation_loses_the_connection() {
    let mut driver = Driver::new(&["private-a", "open"]);
    driver.established(SOCKET, "");
    driver.authorized(0, Err("403"));
    let refused = Event::SubscriptionRefused(Some(0), error(None, "403"));
    assert!(driver.events.contains(&refused), "{:?}", driver.events);
    assert_eq!(driver.lost().cause, Cause::Subscription);
    assert!(!driver.socket && driver.wait_millis() >= 1000);

    driver.redial();
    driver.established("2.2", "");
    driver.confirmed("open");
    driver.pass(SUBSCRIBE_TIMEOUT);
    assert_eq!(driver.lost().cause, Cause::Subscription);
}

#[test]
fn a_named_refusal_is_of_that_channel() {
    for frame in [
        // soketi
        concat!(
            r#"{"event":"pusher:subscription_error","channel":"private-a","#,
            r#""data":{"type":"AuthError","error":"no","status":401}}"#
        ),
        // a text that names it, whatever stands around
        r#"{"event":"pusher:error","data":{"code":401,"message":"1.1:private-a, no"}}"#,
        r#"{"event":"pusher:error","data":"{\"code\":401,\"message\":\"no \\\"private-a\\\".\"}"}"#,
    ] {
        let mut driver = Driver::new(&["private-ab", "private-a", "private-a.b", "x-private-a"]);
        driver.established(SOCKET, "");
        for at in [0, 1, 2] {
            driver.authorized(at, Ok(("k:s", None)));
        }
        driver.forget();
        driver.frame(frame);
        match driver.events.first() {
            Some(Event::SubscriptionRefused(Some(1), error)) => assert_eq!(error.code, Some(401)),
            other => panic!("{frame}: {other:?}"),
        }
        assert_eq!(driver.lost().cause, Cause::Subscription);
    }
}

#[test]
fn a_text_names_whole_names_only() {
    for (text, channel, named) in [
        ("channel a-b refused", "a-b", true),
        ("channel a-b", "a", false),
        ("channel a-b", "b", false),
        ("no a.b.", "a.b", true),
        ("no a.b.", "a", false),
        ("no a.b.", "b", false),
        ("no a.", "a.", true),
        ("no a,b", "a,b", true),
        ("a, b", "a", true),
        ("1.1:presence-x:{}", "presence-x", true),
        ("'a'", "a", true),
        ("", "a", false),
    ] {
        assert_eq!(names(text, channel), named, "{channel} in {text}");
    }
}

#[test]
fn an_unnamed_refusal_is_of_the_only_outstanding_one() {
    for (code, read) in [("null", None), ("4009", Some(4009)), ("4100", Some(4100))] {
        let mut driver = Driver::new(&["a", "b"]);
        driver.established(SOCKET, "");
        driver.confirmed("a");
        driver.forget();
        driver.frame(&error_frame(code, "Invalid signature"));
        let refused = Event::SubscriptionRefused(Some(1), error(read, "Invalid signature"));
        assert_eq!(driver.events[0], refused);
        assert_eq!(driver.lost().cause, Cause::Subscription);
    }
}

#[test]
fn an_unnamed_refusal_of_one_of_several_ends_in_a_timeout() {
    let mut driver = Driver::new(&["a", "b"]);
    driver.established(SOCKET, "");
    driver.forget();
    driver.pass(4_000);
    driver.frame(&error_frame("null", "Invalid signature"));
    let refused = Event::SubscriptionRefused(None, error(None, "Invalid signature"));
    assert_eq!(driver.events, [refused]);
    assert!(driver.session.is_open());
    driver.confirmed("b");
    driver.forget();
    driver.pass(SUBSCRIBE_TIMEOUT - 4_001);
    assert!(driver.session.is_open());
    driver.pass(1);
    assert_eq!(driver.lost().cause, Cause::Subscription);
    // Nothing was subscribed a second time on that socket.
    assert_eq!((driver.sent.len(), driver.socket), (0, false));
    driver.redial();
    driver.established("2.2", "");
    assert_eq!(driver.sent.len(), 2);
}

#[test]
fn errors_about_other_things_refuse_no_outstanding_subscription() {
    for frame in [
        &*error_frame("4301", "rate limit"),
        &error_frame("4302", "watchlist"),
        // What announces a close, or is Reverb's answer to what it cannot read.
        r#"{"event":"pusher:error","data":"{\"code\":4200,\"message\":\"Invalid message\"}"}"#,
        // About a confirmed channel, or one that is not ours.
        &error_frame("null", "Existing subscription to channel confirmed"),
        r#"{"event":"pusher:error","channel":"confirmed","data":{"code":4009,"message":"no"}}"#,
        r#"{"event":"pusher:subscription_error","channel":"stranger","data":{"status":401}}"#,
    ] {
        let mut driver = Driver::new(&["confirmed", "outstanding"]);
        driver.established(SOCKET, "");
        driver.confirmed("confirmed");
        driver.forget();
        driver.frame(frame);
        assert!(matches!(driver.events[..], [Event::Error(_)]), "{frame}: {:?}", driver.events);
        driver.confirmed("outstanding");
        assert!(driver.session.is_ready());
    }
}

#[test]
fn errors_on_a_ready_connection_leave_it_alone() {
    let mut driver = Driver::opened(&["private-a"]);
    let reverb = r#"{"event":"pusher:error","data":"{\"code\":4200,\"message\":\"bad\"}"}"#;
    driver.frame(reverb);
    driver.frame(&error_frame("4301", "slow down"));
    driver.frame(r#"{"event":"pusher:error"}"#);
    let expected = [error(Some(4200), "bad"), error(Some(4301), "slow down"), error(None, "")];
    assert_eq!(driver.events, expected.map(Event::Error));
    assert!(driver.session.is_ready());
    assert_eq!(driver.dials.len(), 1);
}

#[test]
fn a_channel_that_is_wanted_later_is_asked_for_at_once_and_on_every_connection() {
    let mut driver = Driver::new(&["open"]);
    // Before there is a connection there is nobody to ask.
    assert_eq!(driver.subscribe("first"), 1);
    assert_eq!(driver.sent, [""; 0]);
    driver.established(SOCKET, "");
    assert_eq!(driver.sent.len(), 2);
    driver.confirmed("open");
    driver.confirmed("first");
    assert!(driver.session.is_ready());
    driver.forget();
    assert_eq!((driver.subscribe("later"), driver.subscribe("private-later")), (2, 3));
    assert_eq!(driver.sent, [frame::subscribe("later", "", None)]);
    assert_eq!(driver.asked, [(3, SOCKET.to_owned())]);
    assert!(!driver.session.is_ready());
    driver.authorized(3, Ok(("k:s", None)));
    driver.confirmed("private-later");
    driver.confirmed("later");
    assert_eq!(driver.events, [Event::Subscribed(3), Event::Subscribed(2)]);
    assert!(driver.session.is_ready());
    driver.closed(CloseCode::Dropped);
    driver.redial();
    driver.established("2.2", "");
    assert_eq!((driver.sent.len(), driver.asked.len()), (3, 1));
    // One that is never confirmed is refused like any other.
    driver.pass(SUBSCRIBE_TIMEOUT);
    assert!(!driver.session.is_open());
}

#[test]
fn a_channel_that_is_not_wanted_any_more_is_left_and_never_asked_for_again() {
    let mut driver = Driver::opened(&["a", "b", "private-c"]);
    driver.unsubscribe(1);
    assert_eq!(driver.sent, [frame::unsubscribe("b")]);
    assert!(driver.session.is_ready());
    driver.unsubscribe(9);
    // What still comes of it means nothing.
    driver.confirmed("b");
    assert_eq!(driver.events, []);
    // Its number is free, and so is the name.
    assert_eq!(driver.subscribe("b"), 1);
    driver.confirmed("b");
    assert_eq!(driver.events, [Event::Subscribed(1)]);
    driver.unsubscribe(1);
    driver.closed(CloseCode::Dropped);
    driver.redial();
    driver.established("2.2", "");
    assert_eq!(driver.sent, [frame::subscribe("a", "", None)]);
    // One that waits for its authorisation keeps its number: the answer would be taken for another.
    driver.unsubscribe(2);
    assert_eq!(driver.subscribe("private-d"), 1);
    assert_eq!(driver.subscribe("private-e"), 3);
    driver.authorized(2, Ok(("k:of-c", None)));
    assert_eq!(driver.sent.len(), 1, "{:?}", driver.sent);
    driver.closed(CloseCode::Dropped);
    assert_eq!(driver.subscribe("f"), 2);
}

#[test]
fn where_refusals_are_tolerated_the_others_stay_and_the_next_connection_tries_again() {
    let mut driver = Driver::tolerant(&["a", "private-b", "private-c"]);
    driver.established(SOCKET, "");
    driver.confirmed("a");
    driver.authorized(1, Err("403"));
    driver.authorized(2, Ok(("k:s", None)));
    assert!(driver.session.is_open() && !driver.session.is_ready());
    driver.pass(SUBSCRIBE_TIMEOUT);
    let refused = |at, why| Event::SubscriptionRefused(Some(at), error(None, why));
    assert!(driver.events.contains(&refused(1, "403")), "{:?}", driver.events);
    assert!(driver.events.contains(&refused(2, "no answer in time")), "{:?}", driver.events);
    assert!(driver.session.is_ready());
    driver.closed(CloseCode::Dropped);
    driver.redial();
    driver.established("2.2", "");
    assert_eq!(driver.asked.len(), 2);
}
