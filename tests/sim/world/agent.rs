//! The agent: its witnesses, as their drivers would drive them, and what it makes of them all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pusher_canary::agent::link::{Ear, LinkEvent};
use pusher_canary::agent::witness::{Eyes, RunChannel, RunChannels, note_sight};
use pusher_canary::model::channel::kind_of;
use pusher_canary::model::{ChannelName, ClusterRole, RunTime, Seq, SocketId, StreamIx, WitnessIx};
use pusher_canary::pusher::auth;
use pusher_canary::pusher::close::CloseCode;
use pusher_canary::pusher::encrypt::SharedSecret;
use pusher_canary::pusher::frame::{ServerFrame, Simple};
use pusher_canary::pusher::session::{self, Action, Session};
use pusher_canary::rehearsal::App;
use pusher_canary::verify::account;
use pusher_canary::verify::book::Outcome;
use pusher_canary::verify::checks::Looks;
use pusher_canary::verify::coverage::{SideSpec, StreamInfo};
use pusher_canary::verify::envelope;
use pusher_canary::verify::fact::{Fact, PublisherReport, Shortfall, WitnessReport};
use pusher_canary::verify::gather::Gatherer;
use pusher_canary::verify::ledger::{self, Ledger, StreamSpec};
use pusher_canary::verify::record::Begin;
use pusher_canary::verify::tally::{BlindCause, Epoch, Route, Stratum, Tally};

use super::clusters::{Cluster, MASTER_KEY};
use super::links::{Item, Link};
use super::options::{ENCRYPTED, Options};
use super::oracle::{Account, ClusterJoint, Joint};
use super::record::{self, End, Line, What};
use super::{Happening, World, run};
use crate::run::{begin, settle_down};

pub struct Witness {
    /// The place of its cluster.
    pub side: usize,
    pub session: Session,
    ledger: Ledger,
    channels: RunChannels,
    pub link: Option<Link>,
    attempt: u64,
    /// The earliest instant at which it will be woken.
    wakes: RunTime,
    pub record: Vec<Line>,
    tally: Tally,
    shortfalls: Vec<(StreamIx, Seq, Shortfall)>,
    pub pending: u64,
}

/// What becomes of all that is stated.
pub struct Agent {
    gatherer: Gatherer,
    account: account::Account,
    publishers: BTreeMap<ClusterRole, PublisherReport>,
    /// On each cluster.
    witnesses: u64,
}

impl Agent {
    pub fn new(options: &Options, streams: &[String], clusters: &[Cluster]) -> Self {
        let witnesses = || (0..u32::try_from(options.witnesses).unwrap()).map(WitnessIx).collect();
        let side = |(cluster, at): (&Cluster, usize)| SideSpec {
            role: cluster.role,
            book: Arc::clone(&cluster.books[at]),
            witnesses: witnesses(),
        };
        let name = |name: &String| ChannelName::new(name).unwrap();
        let info = |(at, channel): (usize, &String)| StreamInfo {
            channel: name(channel),
            route: Route::Trigger,
            sides: clusters.iter().map(|cluster| side((cluster, at))).collect(),
        };
        let infos = streams.iter().enumerate().map(info).collect();
        let stratum = |epoch| Stratum { kind: kind_of(&streams[0]), route: Route::Trigger, epoch };
        let begin = Begin {
            streams: streams.iter().map(|channel| (name(channel), Route::Trigger)).collect(),
            ..begin(Looks::Once, name(&streams[0]), stratum(Epoch::First))
        };
        Self {
            gatherer: Gatherer::new(&ClusterRole::ALL, infos, 1),
            account: account::Account::new(begin),
            publishers: BTreeMap::new(),
            witnesses: options.witnesses as u64,
        }
    }

    pub fn begin(&mut self, now: RunTime) {
        self.gatherer.handle(Fact::Begun(now));
        ClusterRole::ALL.iter().for_each(|role| settle_down(&mut self.gatherer, *role));
    }

    fn witness(&mut self, role: ClusterRole, report: WitnessReport) {
        self.gatherer.handle(Fact::Witness(role, Box::new(report)));
    }

    /// A publication is sent, or is not.
    pub fn sent(&mut self, role: ClusterRole, end: End, at: RunTime) {
        let report = self.publishers.entry(role).or_default();
        let counts = report.publications.entry(Route::Trigger).or_default();
        if end == End::Unsent {
            counts.unsent += 1;
            *report.unsent.entry(at.second()).or_default() += 1;
        } else {
            counts.sent += 1;
            report.obligations_opened += self.witnesses;
        }
    }

    /// How a publication stands now.
    pub fn answered(&mut self, role: ClusterRole, outcome: Outcome) {
        let report = self.publishers.entry(role).or_default();
        let counts = report.publications.entry(Route::Trigger).or_default();
        match outcome {
            Outcome::Accepted => counts.accepted += 1,
            Outcome::Rejected => counts.rejected += 1,
            Outcome::Unknown => counts.unknown += 1,
            Outcome::Recovered => counts.recovered += 1,
            Outcome::Void => counts.void += 1,
            Outcome::InFlight | Outcome::Unsent => {}
        }
    }

    /// A publisher hands on what is new.
    pub fn published(&mut self, role: ClusterRole) {
        let report = self.publishers.remove(&role).unwrap_or_default();
        self.gatherer.handle(Fact::Publisher(role, Box::new(report)));
    }

    pub fn second(&mut self, now: RunTime) {
        self.close(now, false);
    }

    pub fn end(&mut self, now: RunTime) {
        self.gatherer.handle(Fact::Published(now));
        self.close(now, true);
    }

    fn close(&mut self, now: RunTime, is_last: bool) {
        self.gatherer.handle(Fact::Vouched(now, Duration::ZERO));
        self.account.apply(&self.gatherer.close(now, is_last));
    }

    /// What both clusters came to, by the account.
    pub fn joint(&self) -> Joint {
        let figures = self.account.figures();
        let events = &figures.events;
        let pairs = &events.pairs;
        let cluster = |role: &ClusterRole| {
            let of = &figures.clusters[role];
            let counts = of.publications.get(&Route::Trigger).copied().unwrap_or_default();
            let ended = of.obligations.values().map(|counts| counts.total).sum();
            ClusterJoint {
                publications: counts,
                opened: of.obligations_opened,
                total: ended,
                trials: of.trials.trials,
                lost: of.trials.publications_lost,
                partially_lost: of.trials.publications_partially_lost,
            }
        };
        Joint {
            covered: events.covered,
            uncovered: events.uncovered.iter().map(|(cause, n)| (cause.as_str(), *n)).collect(),
            unsent: events.unsent,
            pairs: [pairs.trials, pairs.only_old, pairs.only_new, pairs.both],
            covered_since: events.covered_since,
            covered_until: events.covered_until,
            clusters: ClusterRole::ALL.iter().map(cluster).collect(),
        }
    }
}

impl World {
    /// What a link hands over: first into the record.
    pub fn down(&mut self, witness: usize, number: u64, item: Item) {
        let (now, order) = (self.now, self.order);
        let side = self.witnesses[witness].side;
        let Some(link) = self.link(witness, number) else { return };
        let is_cut = matches!(item, Item::Cut);
        // A close comes even behind the words of the other side; a cut ends a connection that was
        // silent before.
        if now >= link.dead_from && !is_cut {
            return;
        }
        let lines = match &item {
            Item::Text(text) => vec![record::read(text, &self.clusters[side].published)],
            Item::Close(_) => vec![What::Other, What::Gone],
            Item::Cut => vec![What::Gone],
        };
        let Witness { session, ledger, channels, record, .. } = &mut self.witnesses[witness];
        record.extend(lines.into_iter().map(|what| Line { order, at: now, what }));
        let mut eyes = Eyes { ledger, channels };
        match item {
            Item::Text(text) => hear(session, &mut eyes, &text, now),
            Item::Close(code) => {
                eyes.hear(None, now);
                session.handle_closed(CloseCode::Code(code), now);
            }
            Item::Cut => session.handle_closed(CloseCode::Dropped, now),
        }
        self.act(witness);
    }

    pub fn dialled(&mut self, witness: usize, attempt: u64) {
        if self.witnesses[witness].attempt != attempt {
            return;
        }
        let side = self.witnesses[witness].side;
        let chances = self.clusters[side].chances.clone();
        if self.strikes(chances.dial_fails) {
            self.witnesses[witness].session.handle_connect_failed("refused".to_owned(), self.now);
            self.act(witness);
            return;
        }
        let is_mute = self.strikes(chances.mute);
        let (conn, effects) = self.clusters[side].core.handle_connected(self.now);
        self.links += 1;
        let number = self.links;
        let dead_from = if is_mute { self.now } else { RunTime::NEVER };
        let (down, up) = (self.now, self.now);
        let link = Link { number, conn, down, up, dead_from, is_over: false };
        self.witnesses[witness].link = Some(link);
        self.clusters[side].owners.insert(conn, (witness, number));
        self.witnesses[witness].session.handle_connected(self.now);
        self.carry(side, effects);
        self.act(witness);
    }

    pub fn wake(&mut self, at: usize) {
        let witness = &mut self.witnesses[at];
        witness.wakes = RunTime::NEVER;
        if witness.session.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            witness.session.handle_timeout(self.now);
        }
        self.act(at);
    }

    /// Does what a session wants, as the driver of a link does it.
    pub fn act(&mut self, at: usize) {
        loop {
            while let Some(action) = self.witnesses[at].session.poll_action() {
                self.do_action(at, action);
            }
            let witness = &mut self.witnesses[at];
            let Some(event) = witness.session.poll_event() else { break };
            if let session::Event::Disconnected(lost) = &event {
                witness.link = None;
                let what = What::Blame { is_ours: lost.cause == session::Cause::Agent };
                witness.record.push(Line { order: self.order, at: self.now, what });
            }
            let heard = witness.session.last_heard();
            note_sight(&mut witness.ledger, &LinkEvent::Session(event), heard);
        }
        let witness = &mut self.witnesses[at];
        if let Some(deadline) = witness.session.next_deadline()
            && deadline < witness.wakes
        {
            witness.wakes = deadline;
            self.queue_at(deadline.max(self.now), Happening::Wake { witness: at });
        }
    }

    fn do_action(&mut self, at: usize, action: Action) {
        match action {
            Action::Connect => {
                self.witnesses[at].attempt += 1;
                let attempt = self.witnesses[at].attempt;
                let took = self.way() + self.way();
                self.queue(took, Happening::Dialled { witness: at, attempt });
            }
            Action::Authorize(subscription, socket_id) => {
                let (auth, data) = self.authorised(at, subscription, &socket_id);
                let session = &mut self.witnesses[at].session;
                session.handle_authorized(subscription, Ok((auth, data)), self.now);
            }
            Action::Send(text) => {
                let arrives = self.now.after(self.way());
                let Some(link) = &mut self.witnesses[at].link else { return };
                link.up = link.up.max(arrives);
                let (number, arrives) = (link.number, link.up);
                self.queue_at(arrives, Happening::Up { witness: at, link: number, text });
            }
            Action::Close => {
                let witness = &mut self.witnesses[at];
                // A dial that is under way is abandoned.
                witness.attempt += 1;
                let Some(link) = witness.link.take() else { return };
                let (order, now) = (self.order, self.now);
                witness.record.push(Line { order, at: now, what: What::Gone });
                let (side, conn) = (witness.side, link.conn);
                self.clusters[side].owners.remove(&conn);
                let after = self.way();
                self.queue(after, Happening::Left { side, conn });
            }
        }
    }

    fn authorised(
        &self,
        at: usize,
        subscription: usize,
        socket_id: &SocketId,
    ) -> (String, Option<String>) {
        let channel = self.witnesses[at].session.channel(subscription).unwrap().as_str();
        let data = kind_of(channel)
            .is_presence()
            .then(|| serde_json::json!({ "user_id": format!("w{at}") }).to_string());
        let App { key, secret, .. } = &self.clusters[self.witnesses[at].side].app;
        (auth::channel(key, secret, socket_id, channel, data.as_deref()), data)
    }

    pub fn tally(&mut self, at: usize) {
        let witness = &mut self.witnesses[at];
        witness.ledger.advance(self.now);
        let report = witness.ledger.take_report();
        witness.tally.merge(&report.tally);
        witness.shortfalls.extend_from_slice(&report.shortfalls);
        witness.pending = report.pending;
        let counts = witness.tally.obligations();
        let ended =
            counts.delivered + counts.late + counts.lost + counts.missed_offline + counts.void;
        assert_eq!(counts.total, ended + report.pending, "the books do not balance");
        let role = self.clusters[witness.side].role;
        self.agent.witness(role, report);
    }
}

impl Witness {
    /// The `at`-th of a cluster.
    pub fn new(
        (side, at): (usize, usize),
        seed: u64,
        options: &Options,
        streams: &[String],
        cluster: &Cluster,
    ) -> Self {
        let config = session::Config {
            ping_after: options.deadline,
            pong_timeout: options.pong_timeout,
            connect_timeout: Duration::from_secs(3),
            subscribe_timeout: Duration::from_secs(2),
            tolerates_refusals: false,
            retries_refused_after: None,
            seed,
        };
        let names = options.channels.iter().map(|name| ChannelName::new(*name).unwrap());
        let session = Session::new(config, names);
        let config = ledger::Config {
            run: run(),
            cluster: cluster.role,
            witness: WitnessIx(u32::try_from(at).unwrap()),
            deadline: options.deadline,
            horizon: options.horizon,
            follows: false,
        };
        let kinds: Vec<_> = options.channels.iter().map(|name| kind_of(name)).collect();
        let place = |name: &String| options.channels.iter().position(|of| of == name).unwrap();
        let specs =
            (0..).zip(streams.iter().zip(&cluster.books)).map(|(ix, (name, book))| StreamSpec {
                stream: StreamIx(ix),
                channel: place(name),
                route: Route::Trigger,
                book: Arc::clone(book),
            });
        let ledger = Ledger::new(config, &kinds, specs.collect());
        let channel = |name: &&str| RunChannel {
            name: (*name).to_owned(),
            shared_secret: (*name == ENCRYPTED).then(|| SharedSecret::derive(name, &MASTER_KEY)),
        };
        let reader = envelope::Reader::new(run(), cluster.role);
        Self {
            side,
            session,
            ledger,
            channels: RunChannels::new(options.channels.iter().map(channel).collect(), reader),
            link: None,
            attempt: 0,
            wakes: RunTime::NEVER,
            record: Vec::new(),
            tally: Tally::default(),
            shortfalls: Vec::new(),
            pending: 0,
        }
    }

    /// What its ledger has found.
    pub fn found(&self) -> Account {
        let counts = self.tally.obligations();
        let mut account = Account {
            total: counts.total,
            delivered: counts.delivered,
            late: counts.late,
            void: counts.void,
            ..Account::default()
        };
        for beside in self.tally.beside.values() {
            account.beside += *beside;
        }
        for (stream, seq, shortfall) in &self.shortfalls {
            let which = (stream.0 as usize, *seq);
            let known = match shortfall {
                Shortfall::Lost => account.lost.insert(which).then_some(()),
                Shortfall::Missed(cause) | Shortfall::Unsure(cause) => {
                    let is_ours = *cause == BlindCause::Agent;
                    account.missed.insert(which, is_ours).is_none().then_some(())
                }
            };
            assert!(known.is_some(), "{which:?} ended twice");
        }
        assert_eq!(account.lost.len() as u64, counts.lost);
        assert_eq!(account.missed.len() as u64, counts.missed_offline);
        account
    }
}

/// A text frame comes, as the driver of a link takes it.
fn hear(session: &mut Session, eyes: &mut Eyes<'_>, text: &str, at: RunTime) {
    if session.socket_id().is_some()
        && Simple::read(text).is_some_and(|frame| eyes.take(&frame, at))
    {
        session.handle_heartbeat(at);
        return;
    }
    match ServerFrame::parse(text) {
        Ok(frame) => {
            let is_protocol =
                frame.event.starts_with("pusher:") || frame.event.starts_with("pusher_internal:");
            eyes.hear((!is_protocol).then_some(&frame), at);
            session.handle_frame(&frame, at);
        }
        Err(_) => {
            eyes.hear(None, at);
            session.handle_heartbeat(at);
            note_sight(eyes.ledger, &LinkEvent::Malformed(at), at);
        }
    }
}
