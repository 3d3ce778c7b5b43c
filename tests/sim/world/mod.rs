//! A pair of clusters, links and the agent's pure parts on virtual time: the real hubs, sessions,
//! books, ledgers and accounts, with everything between them drawn from a seed.

mod agent;
mod clusters;
mod links;
mod options;
mod oracle;
mod record;

use std::collections::BTreeMap;
use std::time::Duration;

use pusher_canary::model::{ClusterRole, RunId, RunTime};
use pusher_canary::rehearsal::hub::Conn;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use agent::{Agent, Witness};
use clusters::Cluster;
use links::Item;
use options::Options;
pub use oracle::Account;
use oracle::Setting;

const TALLY: Duration = Duration::from_millis(250);
const TROUBLE: Duration = Duration::from_millis(100);

/// What happens at an instant. Clusters and witnesses are named by their places.
enum Happening {
    /// The schedule asks for an event.
    Due(u64),
    /// A request reaches its cluster.
    Request {
        side: usize,
        sent: usize,
        data: String,
    },
    /// Its answer, or that there is none, reaches the publisher.
    Answer {
        side: usize,
        sent: usize,
    },
    Dialled {
        witness: usize,
        attempt: u64,
    },
    /// A frame of a witness reaches its cluster.
    Up {
        witness: usize,
        link: u64,
        text: String,
    },
    /// Something of the cluster reaches a witness.
    Down {
        witness: usize,
        link: u64,
        item: Item,
    },
    /// A cluster learns that a connection is gone.
    Left {
        side: usize,
        conn: Conn,
    },
    Wake {
        witness: usize,
    },
    Tally {
        witness: usize,
    },
    Decide,
    Second,
    Trouble,
}

/// See the module's documentation.
struct World {
    rng: SmallRng,
    options: Options,
    now: RunTime,
    /// Counts what happened.
    order: u64,
    queue: BTreeMap<(RunTime, u64), Happening>,
    queued: u64,
    links: u64,
    /// The channel of each stream.
    streams: Vec<String>,
    clusters: Vec<Cluster>,
    witnesses: Vec<Witness>,
    agent: Agent,
    /// Whether events have begun to be due.
    has_begun: bool,
    /// Until when there is trouble.
    calm_from: RunTime,
}

/// What a world of this seed came to.
pub struct Explored {
    /// What each witness should have found.
    pub accounts: Vec<Account>,
    /// How what was found differs from it.
    pub difference: Option<String>,
}

/// Lets a world run its course.
pub fn explore(seed: u64) -> Explored {
    let mut world = World::new(seed);
    world.run();
    let mut accounts = Vec::new();
    let mut differences = Vec::new();
    let mut sides = Vec::new();
    for (side, cluster) in world.clusters.iter().enumerate() {
        let mine = || world.witnesses.iter().filter(|witness| witness.side == side);
        let records: Vec<_> = mine().map(|witness| witness.record.as_slice()).collect();
        let setting = Setting {
            channels: &world.streams,
            deadline: world.options.deadline,
            horizon: world.options.horizon,
            sent: &cluster.sent,
        };
        let expected = oracle::accounts(&setting, &records);
        for (at, (expected, witness)) in expected.iter().zip(mine()).enumerate() {
            let of = oracle::differing(expected, &witness.found());
            let of = of.into_iter().take(8);
            differences.extend(of.map(|what| format!("  {} {at}: {what}", cluster.role)));
        }
        sides.push((setting, expected));
    }
    let pending: u64 = world.witnesses.iter().map(|witness| witness.pending).sum();
    if pending > 0 {
        differences.push(format!("  {pending} pending"));
    }
    // Who comes late is owed less: of that the model's words about all witnesses say nothing.
    if !world.options.joins_late {
        let (expected, found) = (oracle::joint(&sides), world.agent.joint());
        if expected != found {
            differences.push(format!("  expected {expected:?}\n     found {found:?}"));
        }
    }
    accounts.extend(sides.into_iter().flat_map(|(_, accounts)| accounts));
    let is_equal = differences.is_empty();
    let difference = (!is_equal)
        .then(|| format!("seed {seed}: {:?}\n{}", world.options, differences.join("\n")));
    Explored { accounts, difference }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let options = Options::draw(&mut rng);
        let streams: Vec<String> = (0..options.streams)
            .flat_map(|_| options.channels.iter().map(|name| (*name).to_owned()))
            .collect();
        let clusters: Vec<_> = ClusterRole::ALL
            .iter()
            .map(|role| Cluster::new(*role, rng.random(), &options, streams.len()))
            .collect();
        let mut witnesses = Vec::new();
        for (side, cluster) in clusters.iter().enumerate() {
            for at in 0..options.witnesses {
                let of = (side, at);
                witnesses.push(Witness::new(of, rng.random(), &options, &streams, cluster));
            }
        }
        let agent = Agent::new(&options, &streams, &clusters);
        let mut world = Self {
            rng,
            options,
            now: RunTime::ZERO,
            order: 0,
            queue: BTreeMap::new(),
            queued: 0,
            links: 0,
            streams,
            clusters,
            witnesses,
            agent,
            has_begun: false,
            calm_from: RunTime::NEVER,
        };
        world.queue(TROUBLE, Happening::Trouble);
        world.queue(TALLY, Happening::Decide);
        world.queue(Duration::from_secs(1), Happening::Second);
        for witness in 0..world.witnesses.len() {
            world.witnesses[witness].session.start(RunTime::ZERO);
            world.act(witness);
            world.queue(TALLY, Happening::Tally { witness });
        }
        world.begin_if_ready();
        world
    }

    /// A run begins once all witnesses are there; where some may come late, at once.
    fn begin_if_ready(&mut self) {
        let is_ready = self.witnesses.iter().all(|witness| witness.session.is_ready());
        if self.has_begun || !(is_ready || self.options.joins_late) {
            return;
        }
        self.has_begun = true;
        self.agent.begin(self.now);
        for index in 0..self.options.events {
            let at = self.options.period * u32::try_from(index).unwrap();
            self.queue(at, Happening::Due(index));
        }
        let last = self.options.period * u32::try_from(self.options.events).unwrap();
        self.calm_from = self.now.after(last + self.options.horizon + Duration::from_secs(1));
    }

    fn queue(&mut self, after: Duration, what: Happening) {
        self.queue_at(self.now.after(after), what);
    }

    fn queue_at(&mut self, at: RunTime, what: Happening) {
        self.queued += 1;
        self.queue.insert((at, self.queued), what);
    }

    /// Until everything that was owed must have been settled: a dead connection is found out by two
    /// pings at most, and comes again after at most forty-five seconds.
    fn run(&mut self) {
        let Options { deadline, horizon, pong_timeout, .. } = self.options;
        let settled = (deadline + horizon + pong_timeout) * 2 + Duration::from_secs(60);
        while let Some(((at, _), what)) = self.queue.pop_first()
            && at <= self.calm_from.after(settled)
        {
            self.now = at;
            self.order += 1;
            self.happen(what);
            self.begin_if_ready();
        }
        self.agent.end(self.now);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Due(index) => self.publish(index),
            Happening::Request { side, sent, data } => self.request(side, sent, data),
            Happening::Answer { side, sent } => self.answer(side, sent),
            Happening::Dialled { witness, attempt } => self.dialled(witness, attempt),
            Happening::Up { witness, link, text } => self.up(witness, link, &text),
            Happening::Down { witness, link, item } => self.down(witness, link, item),
            Happening::Left { side, conn } => {
                let effects = self.clusters[side].core.handle_closed(self.now, conn);
                self.carry(side, effects);
            }
            Happening::Wake { witness } => self.wake(witness),
            Happening::Tally { witness } => {
                self.tally(witness);
                self.queue(TALLY, Happening::Tally { witness });
            }
            Happening::Decide => {
                (0..self.clusters.len()).for_each(|side| self.decide(side));
                self.queue(TALLY, Happening::Decide);
            }
            Happening::Second => {
                self.agent.second(self.now);
                self.queue(Duration::from_secs(1), Happening::Second);
            }
            Happening::Trouble if self.now < self.calm_from => {
                self.trouble();
                self.queue(TROUBLE, Happening::Trouble);
            }
            Happening::Trouble => {}
        }
    }

    /// Whether trouble of this chance comes now: none before the first event, for a run that does
    /// not begin shows nothing, and none after the last one, for all must have the time to prove
    /// alive.
    fn strikes(&mut self, chance: f64) -> bool {
        let is_time = self.has_begun && self.now < self.calm_from;
        is_time && self.rng.random_bool(chance.clamp(0.0, 1.0))
    }

    fn way(&mut self) -> Duration {
        self.options.way_max.mul_f64(self.rng.random::<f64>())
    }
}

const fn run() -> RunId {
    RunId(uuid::Uuid::from_u128(7))
}
