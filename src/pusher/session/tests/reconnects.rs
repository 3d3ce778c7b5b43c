//! When and how the session dials again.

use super::*;

#[test]
fn what_the_cluster_refuses_for_good_is_not_tried_again() {
    for code in [4000, 4001, 4003, 4009, 4099, 4300, 4301, 4999] {
        let mut driver = Driver::opened(&["a"]);
        driver.closed(CloseCode::Code(code));
        assert!(driver.lost().gave_up, "{code}");
        assert_eq!(driver.session.next_deadline(), None, "{code}");
        driver.pass(3_600_000);
        assert_eq!(driver.dials.len(), 1, "{code}");
        // Unless it is told to.
        driver.session.start(driver.now);
        driver.drive();
        driver.open();
    }
}

#[test]
fn over_capacity_waits_longer_each_time_up_to_a_cap() {
    let mut driver = Driver::new(&["a"]);
    let mut waits = Vec::new();
    for _ in 0..9 {
        driver.connected();
        driver.closed(CloseCode::Code(4100));
        waits.push(driver.wait_millis());
        driver.redial();
    }
    for (wait, base) in waits.iter().zip([1, 2, 4, 8, 16, 30, 30, 30, 30]) {
        assert!((base * 1000..base * 1500).contains(wait), "{waits:?}");
    }
    let capped: std::collections::BTreeSet<_> = waits.iter().skip(5).collect();
    assert_eq!(capped.len(), 4, "no jitter: {waits:?}");
    // Once every channel is subscribed it begins anew.
    driver.open();
    driver.closed(CloseCode::Code(4100));
    assert!((1000..1500).contains(&driver.wait_millis()));
}

#[test]
fn jitter_comes_from_the_seed() {
    let wait = || {
        let mut driver = Driver::opened(&[]);
        driver.closed(CloseCode::Dropped);
        driver.wait_millis()
    };
    assert_eq!(wait(), wait());
}

#[test]
fn a_request_to_reconnect_is_followed_at_once_but_not_for_ever() {
    let mut driver = Driver::new(&["a", "b"]);
    for turn in 0..6 {
        driver.established(&format!("{turn}.1"), "");
        // Less than every channel is no success.
        driver.confirmed("a");
        driver.closed(CloseCode::Code(4200));
        assert_eq!(driver.wait_millis() == 0, turn < 3, "turn {turn}");
        driver.redial();
    }
    driver.open();
    driver.closed(CloseCode::Code(4200));
    assert_eq!(driver.wait_millis(), 0);
}

#[test]
fn a_reconnect_subscribes_all_again_with_fresh_authorisation() {
    let mut driver = Driver::opened(&MIXED);
    driver.closed(CloseCode::Dropped);
    assert!(!driver.session.is_ready() && !driver.session.is_open());
    driver.redial();
    driver.established("2.2", "");
    assert_eq!(driver.asked, [(1, "2.2".to_owned()), (2, "2.2".to_owned())]);
    assert_eq!(driver.sent, [frame::subscribe("open", "", None)]);
    // A confirmation that nobody waits for yet is none.
    driver.confirmed("private-a");
    assert!(!driver.session.is_ready());
    driver.authorized(1, Ok(("k:s", None)));
    driver.authorized(2, Ok(("k:s", None)));
    MIXED.iter().for_each(|name| driver.confirmed(name));
    assert!(driver.session.is_ready());
}

#[test]
fn a_recycle_reconnects_at_once_and_is_no_failure() {
    let mut driver = Driver::opened(&["a"]);
    for _ in 0..5 {
        driver.forget();
        driver.session.recycle(driver.now);
        driver.drive();
        // It is left once it has proved alive.
        assert_eq!(
            (driver.sent.last().map(String::as_str), driver.socket),
            (Some(frame::PING), true)
        );
        driver.pass(7);
        driver.frame(r#"{"event":"pusher:pong"}"#);
        let gone = driver.lost();
        assert_eq!((gone.cause, gone.gave_up), (Cause::Agent, false));
        assert_eq!(gone.last_heard, Some(driver.now));
        assert_eq!((driver.socket, driver.wait_millis()), (false, 0));
        driver.pass(0);
        driver.open();
    }
    driver.forget();
    driver.closed(CloseCode::Dropped);
    assert!((1000..1500).contains(&driver.wait_millis()));
    // There is nothing to recycle now, and nothing that could close.
    driver.forget();
    driver.session.recycle(driver.now);
    driver.closed(CloseCode::Code(4001));
    assert_eq!(driver.events, []);
}

#[test]
fn a_recycle_of_a_dead_connection_ends_as_silence_not_as_our_own_doing() {
    let mut driver = Driver::opened(&["a"]);
    let heard = driver.now;
    driver.pass(3_000);
    driver.session.recycle(driver.now);
    driver.pass(PONG_TIMEOUT - 1);
    assert!(driver.session.is_open());
    driver.pass(1);
    let silent = Disconnect { cause: Cause::Silent, last_heard: Some(heard), gave_up: false };
    assert_eq!(driver.lost(), silent);
    // The wish is forgotten with the connection.
    driver.redial();
    driver.open();
    driver.frame(r#"{"event":"canary","channel":"a","data":"x"}"#);
    assert!(driver.session.is_ready());
}

#[test]
fn a_connection_that_is_not_ready_is_not_recycled() {
    let mut driver = Driver::new(&["a"]);
    driver.established(SOCKET, "");
    driver.session.recycle(driver.now);
    driver.confirmed("a");
    driver.frame(r#"{"event":"canary","channel":"a","data":"x"}"#);
    assert!(driver.session.is_ready());
}
