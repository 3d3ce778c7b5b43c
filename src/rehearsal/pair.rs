//! Two clusters on a thread and a runtime of their own, so that their work never shows as a stall
//! of the agent's runtime.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::net::{Ipv6Addr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::model::application::Behaviour;
use crate::model::fault::{Fault, check_sums};
use crate::model::habit::{Habit, HabitOf};
use crate::model::{AppId, AppKey, Clock, ClusterRole, Secret};

use super::application::{Application, ApplicationCounts, Mistake};
use super::certs::Authority;
use super::cluster::{self, Cluster, Listeners, Log, Signals};
use super::core::{Core, Setup};
use super::faults::{Done, FaultCounts};
use super::hub::App;
use super::webhooks::{self, Address};

/// Threads that both clusters share.
const WORKERS: usize = 2;
/// How often the application publishes what is due.
const PUBLISH_EVERY: Duration = Duration::from_millis(2);
/// How long [`Pair::kill`] waits for the cluster's sockets to be gone; they are within
/// milliseconds.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// What a pair is made of. The default has no faults, no log, and apps that follow from seed 0.
#[derive(Default)]
pub struct PairConfig {
    /// Decides the apps, the socket ids and every draw of the faults.
    pub seed: u64,
    /// What the clusters do wrong.
    pub faults: Vec<Fault>,
    /// Gets one JSON object a line for each fault done; flushed by [`Pair::stop`].
    pub fault_log: Option<Box<dyn Write + Send>>,
    /// What the clusters do otherwise than documented, always.
    pub habits: Vec<HabitOf>,
    /// Where each app's webhooks are posted to, if anywhere.
    pub webhooks: BTreeMap<ClusterRole, Address>,
    /// The master key of the run's encrypted canaries, for counting and logging only.
    pub peek_key: Option<[u8; 32]>,
    /// An application that publishes to both clusters, if there shall be one.
    pub application: Option<Behaviour>,
}

/// How a cluster is reached.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `ws://127.0.0.1:PORT`.
    pub ws_url: String,
    /// `wss://127.0.0.1:PORT`; trust [`Pair::ca_pem`].
    pub wss_url: String,
    /// `http://127.0.0.1:PORT`, on the port of `ws_url`.
    pub http_url: String,
    /// `https://127.0.0.1:PORT`, on the port of `wss_url`.
    pub https_url: String,
    /// The app's id.
    pub app_id: AppId,
    /// The app's key.
    pub key: AppKey,
    /// The app's secret.
    pub secret: Secret,
}

/// Two running clusters. Dropping it ends them abruptly.
pub struct Pair {
    old: Handle,
    new: Handle,
    ca_pem: String,
    log: Arc<FaultLog>,
    application: Option<Arc<Mutex<Application>>>,
    thread: Option<JoinHandle<Vec<String>>>,
}

/// The caller's side of one cluster.
struct Handle {
    endpoint: Endpoint,
    cluster: Arc<Cluster>,
    signals: Signals,
    ended: Arc<Flag>,
}

/// The thread's side of one cluster.
struct Server {
    cluster: Arc<Cluster>,
    plain: TcpListener,
    tls: TcpListener,
    /// The same as `plain` at the loopback address of IPv6.
    v6: Option<TcpListener>,
    acceptor: TlsAcceptor,
    signals: Signals,
    ended: Arc<Flag>,
    /// Sends the app's webhooks, if there are any.
    sender: Option<Sender>,
}

type Sender = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Pair {
    /// Starts both clusters on free ports of loopback. They accept connections when this returns.
    ///
    /// # Errors
    /// `InvalidInput` for faults whose probabilities do not add up; else no port, no thread, no
    /// memory: the machine refused something.
    pub fn start(config: PairConfig) -> io::Result<Self> {
        check_sums(&config.faults).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let authority = Authority::new()?;
        let clock = Clock::start();
        let log = Arc::new(FaultLog::new(config.fault_log));
        let setup = |role| -> io::Result<Setup> {
            let seed = seed_of(config.seed, role);
            let app = generate(seed)?;
            let (faults, peek_key) = (config.faults.clone(), config.peek_key);
            let mine = config.habits.iter().filter(|HabitOf(of, _)| *of == role);
            let habits = mine.map(|HabitOf(_, habit)| *habit).collect();
            let has_webhooks = config.webhooks.contains_key(&role);
            Ok(Setup { role, app, seed, habits, faults, has_webhooks, peek_key })
        };
        let sink = log.is_open().then(|| Arc::clone(&log).sink());
        let prepare = |role| {
            let (sink, address) = (sink.clone(), config.webhooks.get(&role));
            prepare(setup(role)?, clock, &authority, sink, address)
        };
        let (old, old_server) = prepare(ClusterRole::Old)?;
        let (new, new_server) = prepare(ClusterRole::New)?;
        let application = config.application.map(|behaviour| {
            let application = Application::new(behaviour, config.seed);
            application.channels().for_each(|channel| old.cluster.seat(&channel, None));
            for event in application.past() {
                old.cluster.seat(&event.channel, None);
                old.cluster.publish_for_application(event);
            }
            for (role, handle) in [(ClusterRole::Old, &old), (ClusterRole::New, &new)] {
                for (channel, user) in application.members(role) {
                    handle.cluster.seat(&channel, Some(user));
                }
            }
            Arc::new(Mutex::new(application))
        });
        let backend = application.clone().map(|application| Backend {
            application,
            clock,
            old: (Arc::clone(&old.cluster), old.signals.clone()),
            new: (Arc::clone(&new.cluster), new.signals.clone()),
            log: log.is_open().then(|| Arc::clone(&log)),
        });
        let thread = spawn([old_server, new_server], backend)?;
        Ok(Self { old, new, ca_pem: authority.ca_pem, log, application, thread: Some(thread) })
    }

    fn handle(&self, role: ClusterRole) -> &Handle {
        match role {
            ClusterRole::Old => &self.old,
            ClusterRole::New => &self.new,
        }
    }

    /// How a cluster is reached.
    pub fn endpoint(&self, role: ClusterRole) -> Endpoint {
        self.handle(role).endpoint.clone()
    }

    /// The certificate that a client must trust to use TLS.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What a cluster has done on purpose so far; stays readable after its end.
    pub fn counts(&self, role: ClusterRole) -> FaultCounts {
        self.handle(role).cluster.counts()
    }

    /// What the application has done on a cluster so far; `None` if there is none.
    pub fn application_counts(&self, role: ClusterRole) -> Option<ApplicationCounts> {
        let application = self.application.as_ref()?.lock();
        application.unwrap_or_else(PoisonError::into_inner).counts().get(&role).copied()
    }

    /// Ends a cluster as when its process dies: its listeners and sockets are gone, without close
    /// frames, when this returns.
    pub fn kill(&self, role: ClusterRole) {
        let handle = self.handle(role);
        handle.signals.kill.cancel();
        handle.ended.wait(KILL_WAIT);
    }

    /// Ends both clusters in order: every WebSocket is closed with 4200, the thread joined, the
    /// fault log flushed. A second call does nothing.
    ///
    /// # Errors
    /// A task of a cluster panicked, or the fault log could not be written.
    pub fn stop(&mut self) -> io::Result<()> {
        for handle in [&self.old, &self.new] {
            handle.signals.stop.cancel();
        }
        let panics = self.join();
        if panics.is_empty() {
            return self.log.flush();
        }
        Err(io::Error::other(format!("a rehearsal cluster panicked: {}", panics.join("; "))))
    }

    fn join(&mut self) -> Vec<String> {
        let Some(thread) = self.thread.take() else { return Vec::new() };
        thread.join().unwrap_or_else(|_| vec!["its thread ended early".to_owned()])
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for handle in [&self.old, &self.new] {
            handle.signals.kill.cancel();
        }
        self.join();
    }
}

/// Different for each role, and for neighbouring seeds.
fn seed_of(seed: u64, role: ClusterRole) -> u64 {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (old, new) = (rng.random(), rng.random());
    if role == ClusterRole::Old { old } else { new }
}

fn generate(seed: u64) -> io::Result<App> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut digits = || format!("{:020x}", rng.random::<u128>() >> 48);
    let (key, secret) = (digits(), digits());
    let id = rng.random_range(1_000_000..10_000_000_u32).to_string();
    Ok(App {
        id: AppId::new(id).map_err(io::Error::other)?,
        key: AppKey::new(key).map_err(io::Error::other)?,
        secret: Secret::new(secret),
    })
}

fn prepare(
    setup: Setup,
    clock: Clock,
    authority: &Authority,
    log: Option<Log>,
    webhooks: Option<&Address>,
) -> io::Result<(Handle, Server)> {
    let (plain, tls) = (cluster::bind()?, cluster::bind()?);
    let port = plain.local_addr()?.port();
    let is_v6 = setup.habits.contains(&Habit::Ipv6);
    let v6 = is_v6.then(|| cluster::bind_at((Ipv6Addr::LOCALHOST, port).into())).transpose()?;
    let acceptor = TlsAcceptor::from(authority.server(&setup.habits)?);
    let (plain_at, tls_at) = (plain.local_addr()?, tls.local_addr()?);
    let app = setup.app.clone();
    let endpoint = Endpoint {
        ws_url: format!("ws://{plain_at}"),
        wss_url: format!("wss://{tls_at}"),
        http_url: format!("http://{plain_at}"),
        https_url: format!("https://{tls_at}"),
        app_id: app.id,
        key: app.key,
        secret: app.secret,
    };
    let (queue, sender) = match webhooks {
        Some(address) => {
            let (queue, queued) = tokio::sync::mpsc::channel(webhooks::QUEUE_MAX);
            let app = setup.app.clone();
            let sender = webhooks::Sender::new(address.clone(), app, clock, &setup.habits);
            (Some(queue), Some(Box::pin(sender.run(queued)) as Sender))
        }
        None => (None, None),
    };
    let cluster = Cluster::new(Core::new(setup), clock, log, queue);
    let (signals, ended) = (Signals::default(), Arc::new(Flag::default()));
    let server = Server {
        cluster: Arc::clone(&cluster),
        plain,
        tls,
        v6,
        acceptor,
        signals: signals.clone(),
        ended: Arc::clone(&ended),
        sender,
    };
    Ok((Handle { endpoint, cluster, signals, ended }, server))
}

/// Starts the thread; returns when it serves, or with what kept it from that.
fn spawn(servers: [Server; 2], backend: Option<Backend>) -> io::Result<JoinHandle<Vec<String>>> {
    let (ready, started) = mpsc::sync_channel::<io::Result<()>>(1);
    let thread = std::thread::Builder::new().name("rehearsal".to_owned()).spawn(move || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("rehearsal")
            .enable_all()
            .build();
        let (result, panics) = match runtime {
            Ok(runtime) => return serve(&runtime, servers, backend, &ready),
            Err(error) => (Err(error), Vec::new()),
        };
        // Nobody waits any more if this fails, and then nobody needs it.
        let _ = ready.send(result);
        panics
    })?;
    started.recv().map_err(|_| io::Error::other("the rehearsal thread ended early"))??;
    Ok(thread)
}

fn serve(
    runtime: &Runtime,
    servers: [Server; 2],
    backend: Option<Backend>,
    ready: &mpsc::SyncSender<io::Result<()>>,
) -> Vec<String> {
    runtime.block_on(async {
        let (mut tasks, mut panics) = (JoinSet::new(), Vec::new());
        let mut started = Ok(());
        for server in servers {
            let Server { cluster, plain, tls, v6, acceptor, signals, ended, sender } = server;
            if let Some(sender) = sender {
                // It outlives the cluster by as long as somebody holds that: it ends with the
                // runtime.
                tokio::spawn(sender);
            }
            let listeners = || {
                let listener = tokio::net::TcpListener::from_std;
                let v6 = v6.map(listener).transpose()?;
                Ok(Listeners { plain: listener(plain)?, v6, tls: listener(tls)?, acceptor })
            };
            match listeners() {
                Ok(listeners) => {
                    tasks.spawn(async move {
                        let panics = cluster.run(listeners, signals).await;
                        ended.set();
                        panics
                    });
                }
                Err(error) => started = Err(error),
            }
        }
        if let Some(backend) = backend {
            tasks.spawn(async move {
                backend.run().await;
                Vec::new()
            });
        }
        if started.is_err() {
            tasks.abort_all();
        }
        let _ = ready.send(started);
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(of_cluster) => panics.extend(of_cluster),
                Err(error) if error.is_panic() => panics.push("its accept loop".to_owned()),
                Err(_) => {}
            }
        }
        panics
    })
}

/// The application's process: it publishes for as long as a cluster is there.
struct Backend {
    application: Arc<Mutex<Application>>,
    clock: Clock,
    old: (Arc<Cluster>, Signals),
    new: (Arc<Cluster>, Signals),
    log: Option<Arc<FaultLog>>,
}

impl Backend {
    async fn run(self) {
        let start = self.clock.now();
        let (old, new) = (&self.old.1, &self.new.1);
        let ended = async {
            tokio::select! {
                () = old.stop.cancelled() => {}
                () = new.stop.cancelled() => {}
                _ = async { tokio::join!(old.kill.cancelled(), new.kill.cancelled()) } => {}
            }
        };
        tokio::pin!(ended);
        loop {
            let next = self.clock.now().after(PUBLISH_EVERY);
            tokio::select! {
                () = &mut ended => return,
                () = tokio::time::sleep_until(self.clock.instant(next).into()) => {}
            }
            self.publish(self.clock.now().since(start));
        }
    }

    fn publish(&self, after: Duration) {
        let due = self.application.lock().unwrap_or_else(PoisonError::into_inner).due(after);
        for (role, event) in due.events {
            let (cluster, _) = if role == ClusterRole::Old { &self.old } else { &self.new };
            cluster.publish_for_application(event);
        }
        let Some(log) = &self.log else { return };
        let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let line = |mistake: Mistake| Done {
            ms,
            cluster: mistake.cluster,
            kind: mistake.kind,
            socket: None,
            channel: Some(mistake.channel),
            event: Some(mistake.event),
            mark: None,
            code: None,
        };
        let lines: Vec<_> = due.mistakes.into_iter().map(line).collect();
        log.write(&lines);
    }
}

/// Something that happens once, awaited by a thread.
#[derive(Default)]
struct Flag {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Flag {
    fn set(&self) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn wait(&self, at_most: Duration) {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.changed.wait_timeout_while(set, at_most, |set| !*set);
    }
}

/// The fault log of both clusters.
struct FaultLog {
    out: Mutex<Option<Sink>>,
}

struct Sink {
    out: BufWriter<Box<dyn Write + Send>>,
    /// The first failure, after which nothing more is written.
    failed: Option<io::Error>,
}

impl FaultLog {
    fn new(out: Option<Box<dyn Write + Send>>) -> Self {
        let out = out.map(|out| Sink { out: BufWriter::new(out), failed: None });
        Self { out: Mutex::new(out) }
    }

    fn is_open(&self) -> bool {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn sink(self: Arc<Self>) -> Log {
        Arc::new(move |done| self.write(done))
    }

    fn write(&self, done: &[Done]) {
        let mut guard = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sink) = guard.as_mut().filter(|sink| sink.failed.is_none()) else { return };
        for line in done {
            let line = serde_json::to_string(line).unwrap_or_default();
            if let Err(error) = writeln!(sink.out, "{line}") {
                sink.failed = Some(error);
                return;
            }
        }
    }

    fn flush(&self) -> io::Result<()> {
        let mut guard = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sink) = guard.as_mut() else { return Ok(()) };
        match sink.failed.take() {
            Some(error) => Err(error),
            None => sink.out.flush(),
        }
    }
}

#[cfg(test)]
#[path = "pair_tests.rs"]
mod tests;
