//! The tasks of a run, by what they do, and which of them panicked.

use std::collections::HashMap;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// A task of the run, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Adds up.
    Collector,
    /// Works off the schedule.
    Pacer,
    /// Publishes over HTTP.
    Publisher,
    /// Drives an HTTP connection.
    Driver,
    /// Sends client events.
    Sender,
    /// Measures the instrument.
    Vitals,
    /// Watches.
    Witness,
    /// Adds to a cluster's load.
    Client,
    /// Proves that what is done wrong is found.
    Controls,
    /// Reads who is on a cluster.
    Reader,
    /// Reads a provider's status page.
    StatusPage,
    /// Watches real channels.
    Watcher,
    /// Chooses them.
    Sampler,
    /// Asks an auth endpoint.
    Authoriser,
    /// Moves from old to new.
    Mover,
    /// Finds out how an app behaves.
    Prober,
    /// Receives webhooks.
    Receiver,
    /// Tells what became of publications.
    Announcer,
    /// Hears of those of another process.
    Listener,
    /// Follows them.
    Follower,
}

impl Task {
    const ALL: [Self; 20] = [
        Self::Collector,
        Self::Pacer,
        Self::Publisher,
        Self::Driver,
        Self::Sender,
        Self::Vitals,
        Self::Witness,
        Self::Client,
        Self::Controls,
        Self::Reader,
        Self::StatusPage,
        Self::Watcher,
        Self::Sampler,
        Self::Authoriser,
        Self::Mover,
        Self::Prober,
        Self::Receiver,
        Self::Announcer,
        Self::Listener,
        Self::Follower,
    ];

    /// The task's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Pacer => "pacer",
            Self::Publisher => "publisher",
            Self::Driver => "driver",
            Self::Sender => "sender",
            Self::Vitals => "vitals",
            Self::Witness => "witness",
            Self::Client => "client",
            Self::Controls => "controls",
            Self::Reader => "reader",
            Self::StatusPage => "status-page",
            Self::Watcher => "watcher",
            Self::Sampler => "sampler",
            Self::Authoriser => "authoriser",
            Self::Mover => "mover",
            Self::Prober => "prober",
            Self::Receiver => "receiver",
            Self::Announcer => "announcer",
            Self::Listener => "listener",
            Self::Follower => "follower",
        }
    }
}

impl std::str::FromStr for Task {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|task| task.as_str() == text).ok_or("is no task")
    }
}

/// The tasks of a run. One that panics is named; none is ever left behind.
pub(super) struct Tasks {
    pub(super) set: JoinSet<()>,
    pub(super) names: HashMap<Id, Task>,
    sabotage: Option<Task>,
    publishing: CancellationToken,
}

impl Tasks {
    /// None yet; the sabotaged one panics when `publishing` has begun.
    pub(super) fn new(sabotage: Option<Task>, publishing: CancellationToken) -> Self {
        Self { set: JoinSet::new(), names: HashMap::new(), sabotage, publishing }
    }

    pub(super) fn spawn(&mut self, task: Task, future: impl Future<Output = ()> + Send + 'static) {
        let sabotaged = self.sabotage == Some(task);
        let publishing = self.publishing.clone();
        let handle = self.set.spawn(async move {
            if sabotaged {
                tokio::select! {
                    () = future => {}
                    never = panic_after(publishing) => match never {},
                }
            } else {
                future.await;
            }
        });
        self.names.insert(handle.id(), task);
    }

    /// The task that panicked, if the one that ended did.
    pub(super) fn ended(&mut self, joined: Result<(Id, ()), JoinError>) -> Option<Task> {
        match joined {
            Ok((id, ())) => {
                self.names.remove(&id);
                None
            }
            Err(error) => self.names.remove(&error.id()),
        }
    }

    pub(super) fn running(&self, task: Task) -> bool {
        self.names.values().any(|name| *name == task)
    }
}

#[expect(clippy::panic, reason = "asked for, to prove that a panic is found")]
pub(super) async fn panic_after(publishing: CancellationToken) -> std::convert::Infallible {
    publishing.cancelled().await;
    panic!("sabotaged on purpose");
}
