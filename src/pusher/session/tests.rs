//! A session and its driver on virtual time: no socket, no sleeping.

use super::*;

mod handshake;
mod liveness;
mod reconnects;
mod subscriptions;

const SOCKET: &str = "1.1";
const PONG_TIMEOUT: u64 = 30_000;
const SUBSCRIBE_TIMEOUT: u64 = 10_000;

/// A driver that does at once what the session asks, and remembers it.
struct Driver {
    session: Session,
    now: RunTime,
    /// Instants of all dials.
    dials: Vec<RunTime>,
    /// Whether a dial succeeded and nothing closed the socket since.
    socket: bool,
    /// What was sent on the present socket.
    sent: Vec<String>,
    /// Whose authorisation was asked for on the present socket.
    asked: Vec<(usize, String)>,
    events: Vec<Event>,
}

impl Driver {
    fn new(channels: &[&str]) -> Self {
        Self::with(channels, 120_000)
    }

    fn with(channels: &[&str], ping_after_millis: u64) -> Self {
        Self::of(channels, ping_after_millis, false)
    }

    /// One that lives with a subscription that is refused.
    fn tolerant(channels: &[&str]) -> Self {
        Self::of(channels, 120_000, true)
    }

    fn of(channels: &[&str], ping_after_millis: u64, tolerates_refusals: bool) -> Self {
        let config = Config {
            ping_after: Duration::from_millis(ping_after_millis),
            pong_timeout: Duration::from_millis(PONG_TIMEOUT),
            connect_timeout: Duration::from_secs(5),
            subscribe_timeout: Duration::from_millis(SUBSCRIBE_TIMEOUT),
            tolerates_refusals,
            retries_refused_after: None,
            seed: 7,
        };
        let channels = channels.iter().map(|name| ChannelName::new(*name).unwrap());
        let mut driver = Self {
            session: Session::new(config, channels),
            now: RunTime::ZERO,
            dials: Vec::new(),
            socket: false,
            sent: Vec::new(),
            asked: Vec::new(),
            events: Vec::new(),
        };
        driver.session.start(driver.now);
        driver.drive();
        driver
    }

    /// Does what is asked and hears what is known, until the session is still.
    fn drive(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect => {
                    assert!(!self.socket, "a second socket");
                    self.dials.push(self.now);
                    self.sent.clear();
                    self.asked.clear();
                }
                Action::Authorize(at, socket) => self.asked.push((at, socket.to_string())),
                Action::Send(text) => {
                    assert!(self.socket, "{text} is sent without a socket");
                    self.sent.push(text);
                }
                Action::Close => self.socket = false,
            }
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
    }

    /// Lets time pass, and calls at each deadline on the way.
    fn pass(&mut self, millis: u64) {
        let until = self.now.after(Duration::from_millis(millis));
        for _ in 0..1000 {
            match self.session.next_deadline().filter(|at| *at <= until) {
                Some(at) => self.now = self.now.max(at),
                None => {
                    self.now = until;
                    return;
                }
            }
            self.session.handle_timeout(self.now);
            self.drive();
        }
        panic!("the session never came to rest");
    }

    fn connected(&mut self) {
        self.socket = true;
        self.session.handle_connected(self.now);
        self.drive();
    }

    fn frame(&mut self, text: &str) {
        self.session.handle_frame(&ServerFrame::parse(text).unwrap(), self.now);
        self.drive();
    }

    fn closed(&mut self, code: CloseCode) {
        self.socket = false;
        self.session.handle_closed(code, self.now);
        self.drive();
    }

    fn established(&mut self, socket: &str, activity_timeout: &str) {
        self.connected();
        let data = format!(r#"{{\"socket_id\":\"{socket}\"{activity_timeout}}}"#);
        self.frame(&format!(r#"{{"event":"pusher:connection_established","data":"{data}"}}"#));
    }

    fn authorized(&mut self, at: usize, answer: Result<(&str, Option<&str>), &str>) {
        let answer = answer
            .map(|(auth, data)| (auth.to_owned(), data.map(str::to_owned)))
            .map_err(str::to_owned);
        self.session.handle_authorized(at, answer, self.now);
        self.drive();
    }

    fn subscribe(&mut self, channel: &str) -> usize {
        let at = self.session.subscribe(ChannelName::new(channel).unwrap(), self.now);
        self.drive();
        at
    }

    fn unsubscribe(&mut self, at: usize) {
        self.session.unsubscribe(at);
        self.drive();
    }

    fn confirmed(&mut self, channel: &str) {
        let event = "pusher_internal:subscription_succeeded";
        self.frame(&format!(r#"{{"event":"{event}","channel":"{channel}","data":"{{}}"}}"#));
    }

    /// Dialled, established and every channel confirmed, on a new socket.
    fn open(&mut self) {
        self.established(&format!("{}.1", self.dials.len()), "");
        for (at, _) in self.asked.clone() {
            self.authorized(at, Ok(("key:signature", None)));
        }
        for at in 0..self.session.subscriptions.len() {
            let name = self.session.channel(at).unwrap().to_string();
            self.confirmed(&name);
        }
        assert!(self.session.is_ready());
        self.forget();
    }

    fn opened(channels: &[&str]) -> Self {
        let mut driver = Self::new(channels);
        driver.open();
        driver
    }

    fn forget(&mut self) {
        self.sent.clear();
        self.events.clear();
    }

    fn lost(&mut self) -> Disconnect {
        let lost: Vec<_> = std::mem::take(&mut self.events)
            .into_iter()
            .filter_map(|event| match event {
                Event::Disconnected(disconnect) => Some(disconnect),
                _ => None,
            })
            .collect();
        assert_eq!(lost.len(), 1, "{lost:?}");
        lost.into_iter().next().unwrap()
    }

    /// How long the session waits before its next dial.
    fn wait_millis(&self) -> u128 {
        self.session.next_deadline().unwrap().since(self.now).as_millis()
    }

    /// Waits as long as asked, and counts that as the next dial.
    fn redial(&mut self) {
        let before = self.dials.len();
        self.pass(u64::try_from(self.wait_millis()).unwrap() + 1);
        assert_eq!(self.dials.len(), before + 1);
    }
}

fn error(code: Option<i64>, message: &str) -> ErrorData {
    ErrorData { code, message: message.to_owned() }
}

fn error_frame(code: &str, message: &str) -> String {
    format!(r#"{{"event":"pusher:error","data":{{"code":{code},"message":"{message}"}}}}"#)
}

const MIXED: [&str; 3] = ["open", "private-a", "presence-b"];
