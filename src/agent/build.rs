//! Builds a run's tasks from its plan: everything that is decided before the first connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::model::{ChannelKind, ChannelName, Clock, ClusterRole, RunTime, StreamIx, WitnessIx};
use crate::net::dial::Target;
use crate::net::tls;
use crate::probes::webhooks::Arrived;
use crate::pusher::encrypt::SharedSecret;
use crate::pusher::session;
use crate::scenario::plan::{ClientPlan, ClusterPlan, MoverPlan, Plan, StreamPlan, WitnessPlan};
use crate::verify::book::Book;
use crate::verify::control;
use crate::verify::coverage::{SideSpec, StreamInfo};
use crate::verify::endpoint::EndpointKind;
use crate::verify::envelope;
use crate::verify::fact::Fact;
use crate::verify::gather::Gatherer;
use crate::verify::handover::Way;
use crate::verify::handover::crossing::{Carried, Crossing};
use crate::verify::ledger::{self, Ledger, StreamSpec};
use crate::verify::marker::Announcements;
use crate::verify::mirror::identity::Identifier;
use crate::verify::tally::Route;

use super::announcer::{Announcer, Courier};
use super::comparison;
use super::controls::Controls;
use super::endpoint::Endpoint;
use super::follower::{Followed, Follower, Heard, Listener};
use super::link::{ConnectGate, Link, LinkTarget};
use super::load::Client;
use super::mover::{Mover, MoverSide};
use super::outbox::Outbox;
use super::pace::Outlet;
use super::prober::Prober;
use super::publisher::{self, StreamTarget, Wire};
use super::sender::{ClientJob, Sender};
use super::watcher::{Order, Watcher};
use super::witness::{RunChannel, RunChannels, Witness};
use super::{CONNECT_TIMEOUT, RunError};

/// Longest wait for a subscription's confirmation.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence after a ping, as pusher-js has it; shorter where the horizon is.
const PONG_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// From one try to the next, where a run has no end and a cluster refuses what no client would try
/// again: an app that is set up anew is found.
const RETRY_REFUSED: Duration = Duration::from_secs(60);

/// Orders to a watcher that may wait.
const ORDERS_QUEUED_MAX: usize = 64;

/// What the ids of a run's watchers begin with, where they join presence channels.
pub(super) fn watchers_user(plan: &Plan) -> String {
    format!("pc-{}-watch-", plan.run.short())
}

/// How long a silent connection may take to answer a ping.
pub(super) fn pong_timeout_of(horizon: Duration) -> Duration {
    horizon.min(PONG_TIMEOUT_MAX)
}

/// That of a plan.
pub(super) fn pong_timeout(plan: &Plan) -> Duration {
    pong_timeout_of(plan.horizon)
}

/// One cluster's part of a run, as far as it must outlive the building of its tasks.
pub(super) struct ClusterParts {
    pub(super) outlet: Outlet,
    pub(super) wire: Arc<Wire>,
    pub(super) outbox: Outbox,
    pub(super) jobs: mpsc::Receiver<publisher::Job>,
    pub(super) watchers: Vec<(Watcher, mpsc::Sender<Order>)>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub(super) prober: Option<Prober>,
}

/// Every stream's book on each cluster, in the order of the streams.
pub(super) type Books = HashMap<ClusterRole, Vec<Arc<Book>>>;

pub(super) fn make_books(plan: &Plan) -> Books {
    let books = || plan.streams.iter().map(|s| Arc::new(Book::new(s.book_events))).collect();
    plan.clusters.iter().map(|c| (c.role, books())).collect()
}

pub(super) fn make_gatherer(plan: &Plan, books: &Books) -> Gatherer {
    let roles: Vec<_> = plan.clusters.iter().map(|c| c.role).collect();
    let side = |role: &ClusterRole, at: usize, channel: usize| {
        let book = books.get(role).and_then(|b| b.get(at))?;
        let witnesses = plan.witnesses_of(channel).map(|w| w.witness).collect();
        Some(SideSpec { role: *role, book: Arc::clone(book), witnesses })
    };
    let streams = plan.streams.iter().enumerate().filter_map(|(at, stream)| {
        let channel = plan.channels.get(stream.channel)?.name.clone();
        // What others witness, they join.
        let roles = roles.iter().filter(|_| plan.member.role.witnesses());
        let sides = roles.filter_map(|role| side(role, at, stream.channel)).collect();
        Some(StreamInfo { channel, route: stream.route, sides })
    });
    Gatherer::new(&roles, streams.collect(), plan.first_witnesses())
        .mirroring(plan.sample.as_ref().map(|sample| sample.rules))
        .endless(plan.window.is_some())
}

/// Builds one cluster's part of a run.
pub(super) struct Builder<'a> {
    pub(super) plan: &'a Plan,
    pub(super) cluster: &'a ClusterPlan,
    pub(super) clock: Clock,
    pub(super) books: &'a Books,
    /// What is the same for all of the cluster's witnesses.
    pub(super) reader: envelope::Reader,
    /// What real events are known by.
    pub(super) identifier: &'a Arc<Identifier>,
    pub(super) facts: &'a mpsc::Sender<Fact>,
    /// Where markers of another process go.
    pub(super) bulletins: &'a mpsc::Sender<Heard>,
}

/// Those of a cluster's tasks that hold connections.
pub(super) struct Watchers {
    pub(super) witnesses: Vec<Witness>,
    pub(super) clients: Vec<Client>,
    pub(super) senders: Vec<(Sender, mpsc::Receiver<ClientJob>)>,
    pub(super) controls: Controls,
    pub(super) listener: Option<Listener>,
    /// The virtual clients' connections to this cluster, in the order of the plan.
    pub(super) movers: MoverSides,
}

/// Connections of virtual clients to one cluster, and when they may be dialled.
pub(super) struct MoverSides {
    role: ClusterRole,
    gate: Arc<ConnectGate>,
    sides: Vec<MoverSide>,
}

impl Builder<'_> {
    pub(super) fn build(
        &self,
        tracker: &TaskTracker,
        arrivals: Option<mpsc::Receiver<Arrived>>,
    ) -> Result<(ClusterParts, Watchers), RunError> {
        let (plan, cluster, role) = (self.plan, self.cluster, self.cluster.role);
        let tls = tls::client_config(cluster.ca_pem.as_deref());
        let tls = tls.map_err(|error| RunError::Tls(role, error))?;
        let gate = || Arc::new(ConnectGate::new(self.clock, plan.connect_rate));
        let (gate, of_clients) = (gate(), gate());
        let books = self.books.get(&role).cloned().unwrap_or_default();
        let wire = Arc::new(Wire {
            clock: self.clock,
            run: plan.run,
            role,
            target: Target::new(cluster.http_url.clone(), &tls),
            signer: cluster.signer.clone(),
            streams: self.stream_targets(&books),
            payload_bytes: plan.payload_bytes,
            timeout: plan.publish_timeout,
            idle_max: plan.open_requests_max / 4 + publisher::IDLE_MIN,
            lag_max: plan.instrument.schedule_lag_max,
            facts: self.facts.clone(),
            tasks: tracker.clone(),
        });
        let socket = Target::new(cluster.socket_url.clone(), &tls);
        let socket = socket.shared_by(plan.bill().connections);
        let endpoints = Endpoint::all(plan, cluster, self.clock, tracker)?;
        let link_by = |gate: &Arc<ConnectGate>, names, user, config, endpoint| {
            let target = LinkTarget {
                endpoint,
                target: socket.clone(),
                signer: cluster.signer.clone(),
                gate: Arc::clone(gate),
                user_id: user,
                dial_timeout: CONNECT_TIMEOUT,
            };
            Link::new(self.clock, Arc::new(target), config, names)
        };
        let link_to = |names: Vec<ChannelName>, user: String, config: session::Config| {
            link_by(&gate, names, user, config, None)
        };
        let link = |channels: &[usize], user: String, seed: u64| {
            let names = channels.iter().filter_map(|at| Some(plan.channels.get(*at)?.name.clone()));
            link_to(names.collect(), user, self.session_config(seed))
        };
        let short = plan.run.short();
        let witnesses = plan
            .witnesses
            .iter()
            .map(|w| {
                let user = format!("pc-{short}-w{}", w.witness.0);
                self.witness(w, link(&w.channels, user, u64::from(w.witness.0)), &books)
            })
            .collect();
        let planned = plan.load.iter().flat_map(|load| &load.clients);
        let client = |(at, planned): (u32, &ClientPlan)| {
            let names = plan.channels.get(planned.channel).map(|c| c.name.clone());
            let config = self.session_config(6 << 32 | u64::from(at));
            let names = names.into_iter().collect();
            let link = link_by(&of_clients, names, String::new(), config, None);
            self.client(at, planned, (link, &of_clients), &books)
        };
        let clients = (0..).zip(planned).map(client).collect();
        let mut senders = Vec::new();
        let mut sender_jobs = Vec::new();
        let mut sender_of = vec![None; plan.streams.len()];
        for (at, planned) in plan.senders.iter().enumerate() {
            let (jobs, jobs_in) = mpsc::channel(plan.open_requests_max);
            for stream in &planned.streams {
                if let Some(slot) = sender_of.get_mut(stream.0 as usize) {
                    *slot = Some(at);
                }
            }
            let sender = Sender {
                role,
                link: link(&planned.channels, format!("pc-{short}-s{at}"), 1 << 32 | at as u64),
                wire: Arc::clone(&wire),
                outbox: self.outbox(&books),
                facts: self.facts.clone(),
            };
            senders.push((sender, jobs_in));
            sender_jobs.push(jobs);
        }
        let (publisher, jobs) = mpsc::channel(plan.open_requests_max);
        let outbox = self.outbox(&books);
        let permits = Arc::new(Semaphore::new(plan.open_requests_max));
        let outlet = Outlet {
            role,
            books,
            publisher,
            senders: sender_jobs,
            sender_of,
            permits,
            lag_max: plan.instrument.schedule_lag_max,
        };
        let watcher = |at: u64| {
            let user = format!("{}{at}", watchers_user(plan));
            let config =
                session::Config { tolerates_refusals: true, ..self.session_config(3 << 32 | at) };
            let mut by = endpoints.iter();
            let by = by.find(|endpoint| endpoint.kind() == EndpointKind::AuthEndpoint).cloned();
            self.watcher(link_by(&gate, Vec::new(), user, config, by))
        };
        let connections = plan.sample.as_ref().map_or(0, |sample| sample.connections as u64);
        let real = (0..connections).map(watcher).collect();
        let movers = plan.handover.iter().flat_map(|handover| &handover.movers);
        let sides = (0_u64..).zip(movers).map(|(at, mover)| {
            let subscribes_later = role == ClusterRole::New && mover.way == Way::Switch;
            let channels = if subscribes_later { &[][..] } else { &mover.channels };
            MoverSide {
                link: link(channels, format!("pc-{short}-m{at}"), 4 << 32 | at),
                channels: self.run_channels(&mover.channels),
            }
        });
        let movers = MoverSides { role, gate: Arc::clone(&gate), sides: sides.collect() };
        let listener =
            self.listener(|channel, config| link_to(vec![channel], String::new(), config));
        let names = vec![plan.controls.channel.clone(), plan.controls.guard.clone()];
        let link = link_to(names, String::new(), self.session_config(2 << 32));
        let prober = self.prober(&socket, &wire, arrivals)?;
        let controls = self.controls(link, socket, &wire);
        let watchers = Watchers { witnesses, clients, senders, controls, listener, movers };
        let parts = ClusterParts { outlet, wire, outbox, jobs, watchers: real, endpoints, prober };
        Ok((parts, watchers))
    }

    /// Who hears the markers of this cluster, where another process publishes.
    fn listener(
        &self,
        link_to: impl FnOnce(ChannelName, session::Config) -> Link,
    ) -> Option<Listener> {
        let publishes = self.plan.member.role.publishes();
        let markers = self.plan.markers.clone().filter(|_| !publishes)?;
        Some(Listener {
            role: self.cluster.role,
            clock: self.clock,
            link: link_to(markers.channel.clone(), self.session_config(5 << 32)),
            markers,
            bulletins: self.bulletins.clone(),
            facts: self.facts.clone(),
        })
    }

    fn prober(
        &self,
        socket: &Target,
        wire: &Wire,
        arrivals: Option<mpsc::Receiver<Arrived>>,
    ) -> Result<Option<Prober>, RunError> {
        let Some(parity) = &self.plan.parity else { return Ok(None) };
        let targets = (socket.clone(), wire.target.clone());
        let (plan, tasks) = (self.plan, &wire.tasks);
        let site = comparison::site(plan, self.cluster, targets, self.clock, tasks, arrivals)?;
        let (role, probes, facts) = (wire.role, parity.probes.clone(), self.facts.clone());
        Ok(Some(Prober { role, site, probes, facts }))
    }

    fn watcher(&self, link: Link) -> (Watcher, mpsc::Sender<Order>) {
        let (orders_out, orders) = mpsc::channel(ORDERS_QUEUED_MAX);
        let (plan, cluster) = (self.plan, self.cluster);
        let watcher = Watcher {
            role: cluster.role,
            clock: self.clock,
            link,
            identifier: Arc::clone(self.identifier),
            redacts: plan.sample.as_ref().is_some_and(|sample| sample.sampling.redact_channels),
            master_key: Some(cluster.master_key.clone()).filter(|_| cluster.knows_master_key),
            backlog_max: plan.instrument.receive_backlog_max,
            orders,
            facts: self.facts.clone(),
        };
        (watcher, orders_out)
    }

    fn controls(&self, link: Link, socket: Target, wire: &Arc<Wire>) -> Controls {
        let plan = self.plan;
        let rounds =
            usize::try_from(control::ROUNDS_MAX * control::ROUND_EVENTS).unwrap_or(usize::MAX);
        let book = Arc::new(Book::new(rounds));
        let witness = WitnessIx(u32::try_from(plan.witnesses.len()).unwrap_or(u32::MAX));
        let spec = StreamSpec {
            stream: control::STREAM,
            channel: 0,
            route: Route::Trigger,
            book: Arc::clone(&book),
        };
        let kinds = [ChannelKind::Public; 2];
        Controls {
            role: self.cluster.role,
            clock: self.clock,
            link,
            ledger: Ledger::new(self.ledger_config(witness, false), &kinds, vec![spec]),
            book,
            channel: plan.controls.channel.clone(),
            refused: plan.controls.refused.clone(),
            socket,
            wire: Arc::clone(wire),
            deadline: plan.deadline,
            horizon: plan.horizon,
            is_endless: plan.window.is_some(),
            facts: self.facts.clone(),
        }
    }

    fn run_channels(&self, places: &[usize]) -> RunChannels {
        let channels = places.iter().filter_map(|at| {
            let name = self.plan.channels.get(*at)?.name.as_str().to_owned();
            Some(RunChannel { name, shared_secret: self.shared_secret(*at) })
        });
        RunChannels::new(channels.collect(), self.reader.clone())
    }

    const fn ledger_config(&self, witness: WitnessIx, follows: bool) -> ledger::Config {
        ledger::Config {
            run: self.plan.run,
            cluster: self.cluster.role,
            witness,
            deadline: self.plan.deadline,
            horizon: self.plan.horizon,
            follows,
        }
    }

    fn shared_secret(&self, channel: usize) -> Option<SharedSecret> {
        let channel = self.plan.channels.get(channel)?;
        let key = self.cluster.master_key.expose();
        channel.kind.is_encrypted().then(|| SharedSecret::derive(channel.name.as_str(), key))
    }

    fn stream_targets(&self, books: &[Arc<Book>]) -> Vec<StreamTarget> {
        let target = |(stream, book): (&StreamPlan, &Arc<Book>)| {
            let channel = self.plan.channels.get(stream.channel)?.name.clone();
            let shared_secret = self.shared_secret(stream.channel);
            Some(StreamTarget { channel, shared_secret, book: Arc::clone(book) })
        };
        self.plan.streams.iter().zip(books).filter_map(target).collect()
    }

    fn session_config(&self, seed: u64) -> session::Config {
        session::Config {
            ping_after: self.plan.deadline,
            pong_timeout: pong_timeout(self.plan),
            connect_timeout: CONNECT_TIMEOUT * 2,
            subscribe_timeout: SUBSCRIBE_TIMEOUT,
            tolerates_refusals: false,
            retries_refused_after: self.plan.window.map(|_| RETRY_REFUSED),
            // Neighbouring seeds must not make neighbouring jitter.
            seed: (self.plan.seed ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
                .wrapping_add(self.cluster.role as u64),
        }
    }

    fn outbox(&self, books: &[Arc<Book>]) -> Outbox {
        let witnesses =
            self.plan.streams.iter().map(|s| self.plan.witnesses_of(s.channel).count() as u64);
        Outbox::new(
            self.cluster.role,
            self.plan.horizon,
            books.to_vec(),
            witnesses.collect(),
            self.facts.clone(),
        )
    }

    /// A ledger of who subscribes to these channels, and the streams that they carry.
    fn ledger(
        &self,
        witness: WitnessIx,
        channels: &[usize],
        books: &[Arc<Book>],
    ) -> (Ledger, Vec<StreamSpec>) {
        let plan = self.plan;
        let kinds: Vec<ChannelKind> =
            channels.iter().filter_map(|at| plan.channels.get(*at).map(|c| c.kind)).collect();
        let streams =
            (0..).zip(plan.streams.iter().zip(books)).filter_map(|(ix, (stream, book))| {
                let channel = channels.iter().position(|c| *c == stream.channel)?;
                let (route, book) = (stream.route, Arc::clone(book));
                Some(StreamSpec { stream: StreamIx(ix), channel, route, book })
            });
        let streams: Vec<_> = streams.collect();
        let follows = !plan.member.role.publishes();
        let config = self.ledger_config(witness, follows);
        (Ledger::new(config, &kinds, streams.clone()), streams)
    }

    fn client(
        &self,
        client: u32,
        planned: &ClientPlan,
        (link, gate): (Link, &Arc<ConnectGate>),
        books: &[Arc<Book>],
    ) -> Client {
        let channels = [planned.channel];
        // It is no witness: nobody asks its ledger which one.
        let (ledger, streams) = self.ledger(WitnessIx(u32::MAX), &channels, books);
        Client {
            role: self.cluster.role,
            client,
            clock: self.clock,
            link,
            gate: Arc::clone(gate),
            ledger,
            channels: self.run_channels(&channels),
            books: streams.into_iter().map(|spec| (spec.stream, spec.book)).collect(),
            after: planned.after,
            backlog_max: self.plan.instrument.receive_backlog_max,
            facts: self.facts.clone(),
        }
    }

    fn witness(&self, planned: &WitnessPlan, link: Link, books: &[Arc<Book>]) -> Witness {
        let plan = self.plan;
        let (ledger, _) = self.ledger(planned.witness, &planned.channels, books);
        // One witness of each channel after the other, so that the others go on seeing.
        let replicas = plan.witnesses.iter().map(|w| w.replica).max().unwrap_or(0) + 1;
        let recycle = plan.recycle.map(|every| (every * (planned.replica + 1), every * replicas));
        Witness {
            role: self.cluster.role,
            clock: self.clock,
            link,
            ledger,
            channels: self.run_channels(&planned.channels),
            recycle,
            backlog_max: plan.instrument.receive_backlog_max,
            facts: self.facts.clone(),
        }
    }
}

/// The books of each stream of this process, by cluster.
fn own_streams(
    plan: &Plan,
    books: &Books,
) -> impl Iterator<Item = (StreamIx, Route, BTreeMap<ClusterRole, Arc<Book>>)> {
    let streams = (0..).zip(&plan.streams);
    let own = streams.filter(|(_, stream)| plan.member.shard.has(stream.channel));
    own.map(|(ix, stream)| {
        let of = |(role, books): (&ClusterRole, &Vec<Arc<Book>>)| {
            Some((*role, Arc::clone(books.get(ix as usize)?)))
        };
        (StreamIx(ix), stream.route, books.iter().filter_map(of).collect())
    })
}

/// Who tells others what became of publications, where others witness them.
pub(super) fn announcer(
    plan: &Plan,
    clock: Clock,
    books: &Books,
    wires: &[Arc<Wire>],
) -> Option<(Announcer, Vec<Courier>)> {
    let markers = plan.markers.as_ref().filter(|_| plan.member.role.publishes())?;
    let streams = own_streams(plan, books).map(|(stream, _, books)| (stream, books));
    Some(Announcer::new(clock, markers, Announcements::new(plan.run, streams), wires))
}

/// Who follows what another process publishes. `ready` is when every witness was.
pub(super) fn follower(
    plan: &Plan,
    clock: Clock,
    books: &Books,
    outboxes: BTreeMap<ClusterRole, Outbox>,
    (ready, bulletins): (RunTime, mpsc::Receiver<Heard>),
    facts: mpsc::Sender<Fact>,
) -> Follower {
    let streams = own_streams(plan, books)
        .map(|(stream, route, books)| (stream, Followed::new(stream, route, books)));
    let (run, horizon, streams) = (plan.run, plan.horizon, streams.collect());
    Follower { clock, run, streams, outboxes, ready, horizon, bulletins, facts }
}

/// The virtual clients of a run that has both clusters.
pub(super) fn movers(
    plan: &Plan,
    clock: Clock,
    books: &Books,
    sides: Vec<MoverSides>,
    facts: &mpsc::Sender<Fact>,
) -> Vec<Mover> {
    let Some(handover) = &plan.handover else { return Vec::new() };
    let (mut old, mut new) = (None, None);
    for side in sides {
        match side.role {
            ClusterRole::Old => old = Some(side),
            ClusterRole::New => new = Some(side),
        }
    }
    let (Some(old), Some(new)) = (old, new) else { return Vec::new() };
    let gate = new.gate;
    let of_streams = |channels: &[usize]| {
        let streams = (0..).zip(&plan.streams).filter(|(_, s)| channels.contains(&s.channel));
        let carried = streams.filter_map(|(ix, _)| {
            let book = |role| books.get(&role).and_then(|b| b.get(ix as usize)).cloned();
            let (old, new) = (book(ClusterRole::Old)?, book(ClusterRole::New)?);
            Some(Carried { stream: StreamIx(ix), old, new })
        });
        Crossing::new(plan.run, plan.deadline, carried.collect())
    };
    let planned = handover.movers.iter().zip(old.sides.into_iter().zip(new.sides));
    let mover = |(planned, (old, new)): (&MoverPlan, (MoverSide, MoverSide))| Mover {
        clock,
        way: planned.way,
        after: planned.after,
        overlap: handover.moves.overlap,
        horizon: plan.horizon,
        backlog_max: plan.instrument.receive_backlog_max,
        names: planned
            .channels
            .iter()
            .filter_map(|at| Some(plan.channels.get(*at)?.name.clone()))
            .collect(),
        gate: Arc::clone(&gate),
        old: Some(old),
        new,
        crossing: of_streams(&planned.channels),
        published: None,
        facts: facts.clone(),
    };
    planned.map(mover).collect()
}
