//! Asks one of the application's auth endpoints, for whoever needs a signature, and tries what it
//! must not do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::model::{Clock, ClusterRole, SocketId};
use crate::net::dial::Target;
use crate::net::http::{self, Connection, RequestError};
use crate::net::tls;
use crate::pusher::endpoint::{self, Signed, Subject, Unusable, Wrong};
use crate::pusher::frame;
use crate::pusher::rest::Signer;
use crate::scenario::endpoint::Endpoint as Config;
use crate::scenario::plan::{ClusterPlan, Plan};
use crate::verify::endpoint::{Answered, EndpointFact, EndpointKind, EndpointTrial};
use crate::verify::fact::{ControlStatus, Fact};

use super::start::StartError;
use super::{Phases, RunError, one_off};

/// Longest time for an answer, a dial included: pusher-js waits no longer for a subscription.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// From one question to the next, while a run goes on.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Questions that are open at once: a reconnect asks for each of its channels, and no application
/// need bear all of that in one moment.
const QUESTIONS_MAX: usize = 8;
/// How often something is tried that came to nothing.
const TRIES_MAX: u32 = 3;
/// A connection that nobody has: what is signed for it is of no use to anybody.
const NOBODYS_SOCKET: &str = "1.1";

/// An auth endpoint.
#[derive(Debug)]
pub struct Endpoint {
    role: ClusterRole,
    kind: EndpointKind,
    config: Config,
    target: Target,
    /// The app that it must sign for, and where its cluster is.
    app: Signer,
    socket: Target,
    /// The other cluster's app, and where that is.
    other: Option<(Signer, Target)>,
    clock: Clock,
    tasks: TaskTracker,
    idle: Mutex<Option<Connection>>,
    /// Questions that may be open at once.
    permits: Semaphore,
    trials: BTreeSet<EndpointTrial>,
}

/// Why an endpoint gave no signature that its cluster takes.
#[derive(Debug)]
enum Failure {
    Unanswered(String),
    Unusable(Unusable),
    Wrong(Wrong),
}

impl Endpoint {
    /// Every endpoint of a cluster.
    ///
    /// # Errors
    /// A CA file is of no use.
    pub(super) fn all(
        plan: &Plan,
        cluster: &ClusterPlan,
        clock: Clock,
        tasks: &TaskTracker,
    ) -> Result<Vec<Arc<Self>>, RunError> {
        let socket_of = |cluster: &ClusterPlan| {
            let tls = tls::client_config(cluster.ca_pem.as_deref());
            let tls = tls.map_err(|error| RunError::Tls(cluster.role, error))?;
            Ok::<_, RunError>(Target::new(cluster.socket_url.clone(), &tls))
        };
        let other = plan.cluster(cluster.role.other());
        let mut all = Vec::new();
        for (kind, config) in &cluster.endpoints {
            let tls = tls::client_config(config.ca_pem.as_deref());
            let tls = tls.map_err(|error| RunError::Tls(cluster.role, error))?;
            let other = match other {
                Some(other) => Some((other.signer.clone(), socket_of(other)?)),
                None => None,
            };
            all.push(Arc::new(Self {
                role: cluster.role,
                kind: *kind,
                target: Target::new(config.url.clone(), &tls),
                config: config.clone(),
                app: cluster.signer.clone(),
                socket: socket_of(cluster)?,
                other,
                clock,
                tasks: tasks.clone(),
                idle: Mutex::new(None),
                permits: Semaphore::new(QUESTIONS_MAX),
                trials: plan.trials_of(cluster, *kind),
            }));
        }
        Ok(all)
    }

    /// What it signs.
    pub(super) const fn kind(&self) -> EndpointKind {
        self.kind
    }

    /// Asks it to sign for a connection. What came of it is a fact; why there is no signature is
    /// said in a few words.
    pub(super) async fn ask(
        &self,
        socket_id: &SocketId,
        subject: Subject<'_>,
    ) -> (EndpointFact, Result<Signed, String>) {
        // Closed never: whoever waits gets one.
        let permit = self.permits.acquire().await;
        let begun = self.clock.now();
        let signed = self.signed(socket_id, subject).await;
        let took = Some(self.clock.now().since(begun));
        drop(permit);
        let answered = match &signed {
            Ok(_) => Answered::Signed,
            Err(Failure::Unanswered(_)) => Answered::Nothing,
            Err(Failure::Unusable(_)) => Answered::Refused,
            Err(Failure::Wrong(Wrong::Key { .. })) => Answered::WrongKey,
            Err(Failure::Wrong(Wrong::Signature { .. })) => Answered::WrongSignature,
        };
        let signed = signed.map_err(|failure| self.describe(&failure));
        let why = signed.as_ref().err().cloned().unwrap_or_default();
        (EndpointFact::Asked { took, answered, why }, signed)
    }

    async fn signed(&self, socket_id: &SocketId, subject: Subject<'_>) -> Result<Signed, Failure> {
        let answer = self.answer(socket_id, subject).await.map_err(Failure::Unanswered)?;
        let signed = endpoint::read(subject, answer.status, &answer.body);
        let signed = signed.map_err(Failure::Unusable)?;
        let other = self.other.as_ref().map(|(signer, _)| signer);
        signed.verify(socket_id, subject, &self.app, other).map_err(Failure::Wrong)?;
        Ok(signed)
    }

    async fn answer(
        &self,
        socket_id: &SocketId,
        subject: Subject<'_>,
    ) -> Result<http::Response, String> {
        let Config { form, params, headers, .. } = &self.config;
        let request = endpoint::request(socket_id, subject, *form, params, headers);
        let asked = async {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut kept = kept.filter(Connection::is_usable);
            loop {
                let was_kept = kept.is_some();
                let open = match kept.take() {
                    Some(open) => open,
                    None => http::connect(&self.target, self.clock, ANSWER_TIMEOUT, &self.tasks)
                        .await
                        .map_err(|error| error.to_string())?,
                };
                let (answer, idle) = open.send(&self.target, &request, ANSWER_TIMEOUT).await;
                *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = idle;
                match answer {
                    // One that was kept may have been closed meanwhile.
                    Err(RequestError::NotSent) if was_kept => {}
                    answer => return answer.map_err(|error| error.to_string()),
                }
            }
        };
        let late = || format!("no answer within {}", humantime::format_duration(ANSWER_TIMEOUT));
        tokio::time::timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(|_| Err(late()))
    }

    fn describe(&self, failure: &Failure) -> String {
        let (role, other) = (self.role, self.role.other());
        match failure {
            Failure::Unanswered(why) => why.clone(),
            Failure::Unusable(unusable) => unusable.to_string(),
            Failure::Wrong(Wrong::Key { is_the_others: true }) => {
                format!("it signs with the key of {other}'s app for clients of {role}")
            }
            Failure::Wrong(Wrong::Key { is_the_others: false }) => {
                format!("it signs with a key that is not that of {role}'s app")
            }
            Failure::Wrong(Wrong::Signature { is_the_others: true }) => {
                format!("it signs with the secret of {other}'s app for clients of {role}")
            }
            Failure::Wrong(Wrong::Signature { is_the_others: false }) => {
                format!("its signature is not that of {role}'s app")
            }
        }
    }

    fn nobodys_socket() -> SocketId {
        #[expect(clippy::expect_used, reason = "digits, a dot, digits: always a socket id")]
        SocketId::new(NOBODYS_SOCKET).expect("a socket id")
    }

    /// What it must sign for; an endpoint for users knows itself for whom.
    fn subject(&self) -> Subject<'_> {
        self.config.channel.as_ref().map_or(Subject::User, Subject::Channel)
    }

    /// Asks once before anything is measured: what is plainly wrong with it makes every run
    /// worthless.
    ///
    /// # Errors
    /// What is wrong, and what helps.
    pub(super) async fn check(&self) -> Result<(), StartError> {
        let Err(failure) = self.signed(&Self::nobodys_socket(), self.subject()).await else {
            return Ok(());
        };
        let (role, key) = (self.role, self.kind.as_str().replace('-', "_"));
        let what = format!("{} {}", self.kind.as_str(), self.config.url);
        let why = self.describe(&failure);
        let of = self.config.channel.as_ref().map_or(String::new(), |c| format!(" for {c}"));
        let cure = match failure {
            Failure::Unanswered(_) | Failure::Unusable(Unusable::Refused(500..)) => {
                let message = format!("{what}: {why}{of}; check its address and the server's log");
                return Err(StartError::Unreachable { role, message });
            }
            Failure::Unusable(Unusable::Refused(_)) => {
                format!("check who is asking by clusters.{role}.{key}.headers, .bearer or .cookie")
            }
            Failure::Unusable(Unusable::Unsound(_)) => {
                "check that it is the address that pusher-js asks".to_owned()
            }
            Failure::Wrong(_) => {
                format!("give it key and secret of {role}'s app for those clients")
            }
        };
        let message = format!("{what}: {why}{of}; {cure}");
        Err(StartError::Refused { role, message })
    }

    /// Asks it again and again while events are published, and tries what it must not do.
    pub(super) async fn run(self: Arc<Self>, facts: mpsc::Sender<Fact>, phases: Phases) {
        phases.publishing.cancelled().await;
        let (published, leave) = (phases.published.clone(), phases.leave.clone());
        let asking = async {
            let mut due = self.clock.now();
            while !published.is_cancelled() {
                let (fact, _) = self.ask(&Self::nobodys_socket(), self.subject()).await;
                self.state(&facts, fact).await;
                due = due.after(ASK_EVERY).max(self.clock.now());
                tokio::select! {
                    () = published.cancelled() => {}
                    () = tokio::time::sleep_until(self.clock.instant(due).into()) => {}
                }
            }
        };
        tokio::select! {
            () = leave.cancelled() => {}
            _ = async { tokio::join!(asking, self.try_all(&facts)) } => {}
        }
    }

    async fn state(&self, facts: &mpsc::Sender<Fact>, fact: EndpointFact) {
        // The collector outlives this; if it is gone, the run has failed already.
        let _ = facts.send(Fact::Endpoint(self.role, self.kind, fact)).await;
    }

    async fn try_all(&self, facts: &mpsc::Sender<Fact>) {
        for trial in self.trials.iter().copied() {
            for _ in 0..TRIES_MAX {
                let passed = match trial {
                    EndpointTrial::Forbidden => self.forbids().await,
                    EndpointTrial::Crossed => self.is_refused_by_the_other().await,
                    EndpointTrial::SignedIn => self.signs_in().await,
                };
                if let Some(passed) = passed {
                    let status = if passed { ControlStatus::Pass } else { ControlStatus::Fail };
                    self.state(facts, EndpointFact::Tried(trial, status)).await;
                    break;
                }
            }
        }
    }

    /// Whether it refuses what it must not sign for.
    async fn forbids(&self) -> Option<bool> {
        let subject = Subject::Channel(self.config.forbidden.as_ref()?);
        let answer = self.answer(&Self::nobodys_socket(), subject).await.ok()?;
        // Anything else is no answer to the question.
        match answer.status {
            401 | 403 => Some(true),
            200 => Some(!endpoint::has_auth(&answer.body)),
            _ => None,
        }
    }

    /// Whether the other cluster refuses what it signed for a connection there.
    async fn is_refused_by_the_other(&self) -> Option<bool> {
        let (_, target) = self.other.as_ref()?;
        let ask = |socket_id: SocketId| async move {
            let channel = self.config.channel.as_ref()?;
            let signed = self.signed(&socket_id, Subject::Channel(channel)).await.ok()?;
            let data = signed.channel_data.as_deref();
            Some(frame::subscribe(channel.as_str(), &signed.auth, data))
        };
        one_off::refuses(target, self.clock, one_off::SUBSCRIBED, ask).await
    }

    /// Whether its cluster takes what it signed for a user.
    async fn signs_in(&self) -> Option<bool> {
        let ask = |socket_id: SocketId| async move {
            let signed = self.signed(&socket_id, Subject::User).await.ok()?;
            Some(frame::signin(&signed.auth, signed.user_data.as_deref()?))
        };
        let is_refused = one_off::refuses(&self.socket, self.clock, one_off::SIGNED_IN, ask).await;
        is_refused.map(|is_refused| !is_refused)
    }
}
