//! Reads a provider's status page while a run goes on. Whatever becomes of that is an observation:
//! it holds nothing up.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::model::{Clock, ClusterRole, RunTime};
use crate::net::dial::Target;
use crate::net::{http, tls};
use crate::provider::{self, Watch};
use crate::pusher::rest::Request;
use crate::scenario::plan::Plan;
use crate::scenario::status_page::StatusPage;
use crate::verify::fact::Fact;
use crate::verify::status_page::{PageFact, Reading};

use super::Phases;

/// Longest time that a reading may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of a page that are read.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Characters of what went wrong that are kept.
const WHY_MAX: usize = 300;

/// See the module's documentation.
pub(super) struct Reader {
    role: ClusterRole,
    clock: Clock,
    page: StatusPage,
    /// Where it is, or why it cannot be dialled.
    target: Result<Target, String>,
    horizon: Duration,
    facts: mpsc::Sender<Fact>,
    tasks: TaskTracker,
}

/// Builds a reader for each of a plan's pages. The system's roots are read here, before anything is
/// measured: that takes a while.
pub(super) fn readers(
    plan: &Plan,
    clock: Clock,
    facts: &mpsc::Sender<Fact>,
    tasks: &TaskTracker,
) -> Vec<Reader> {
    let target = |page: &StatusPage| {
        let tls = tls::client_config(page.ca_pem.as_deref()).map_err(|error| error.to_string())?;
        Ok(Target::new(page.url.clone(), &tls))
    };
    let reader = |(role, page): (&ClusterRole, &StatusPage)| Reader {
        role: *role,
        clock,
        target: target(page),
        page: page.clone(),
        horizon: plan.horizon,
        facts: facts.clone(),
        tasks: tasks.clone(),
    };
    plan.status_pages.iter().map(reader).collect()
}

/// A time as it is said when it is over: in tenths of a second, and the same for each try.
fn rounded(left: Duration) -> Duration {
    let tenths = u64::try_from(left.as_nanos().div_ceil(100_000_000)).unwrap_or(u64::MAX);
    Duration::from_millis(tenths.saturating_mul(100))
}

impl Reader {
    /// Reads at once, then from time to time, and a last time so early that it is over, whatever
    /// comes of it, when the horizon has passed: the run does not wait for it.
    pub(super) async fn run(self, phases: Phases) {
        let (mut next, mut last) = (self.clock.now(), None);
        loop {
            let due = last.map_or(next, |last: RunTime| last.min(next));
            tokio::select! {
                () = phases.leave.cancelled() => return,
                () = phases.published.cancelled(), if last.is_none() => {
                    last = Some(self.last_at());
                    continue;
                }
                () = tokio::time::sleep_until(self.clock.instant(due).into()) => {}
            }
            let is_last = last.is_some_and(|last| due >= last);
            let reading = self.read(is_last);
            tokio::pin!(reading);
            let facts = loop {
                tokio::select! {
                    () = phases.leave.cancelled() => return,
                    () = phases.published.cancelled(), if last.is_none() => {
                        last = Some(self.last_at());
                    }
                    facts = &mut reading => break facts,
                }
            };
            let now = self.clock.now();
            for fact in facts {
                // The collector outlives this task; if it is gone, the run has failed already.
                let _ = self.facts.send(Fact::StatusPage(self.role, now, fact)).await;
            }
            if is_last {
                return;
            }
            next = due.after(self.page.refresh).max(now);
        }
    }

    fn last_at(&self) -> RunTime {
        self.clock.now().after(self.horizon.saturating_sub(READ_TIMEOUT))
    }

    /// One reading: the page's summary, and at the end the list of its incidents as well. It is
    /// often only there that one which is over stands with its true times.
    async fn read(&self, is_last: bool) -> Vec<PageFact> {
        let failed = |why: String| PageFact::Failed(why.chars().take(WHY_MAX).collect());
        let target = match &self.target {
            Ok(target) => target,
            Err(why) => return vec![failed(why.clone())],
        };
        let end = self.clock.now().after(READ_TIMEOUT);
        let summary = match self.get(target, provider::SUMMARY, end).await {
            Ok(summary) => summary,
            Err(why) => return vec![failed(why)],
        };
        let (incidents, missed) = match is_last {
            false => (None, None),
            true => match self.get(target, provider::INCIDENTS, end).await {
                Ok(incidents) => (Some(incidents), None),
                Err(why) => (None, Some(failed(why))),
            },
        };
        let read = match self.parse(summary, incidents).await {
            Ok(reading) => PageFact::Read(Box::new(reading)),
            Err(why) => return vec![failed(why)],
        };
        std::iter::once(read).chain(missed).collect()
    }

    /// Some pages are megabytes, and taking them apart must be no stall of the runtime.
    async fn parse(&self, summary: String, incidents: Option<String>) -> Result<Reading, String> {
        let millis = |wall: Duration| i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        let now = millis(self.clock.wall(self.clock.now()));
        let since = millis(self.clock.wall(RunTime::ZERO));
        let components = self.page.components.clone();
        let parsing = tokio::task::spawn_blocking(move || {
            let watch = Watch { components: &components, since };
            watch.read(&summary, incidents.as_deref(), now)
        });
        let authority = || format!("at {}", self.page.url.host_str().unwrap_or_default());
        match parsing.await {
            Ok(read) => read.map_err(|why| {
                format!("{why} {}; url must be that of a page by statuspage.io", authority())
            }),
            Err(_) => Err("it could not be taken apart".to_owned()),
        }
    }

    async fn get(&self, target: &Target, path: &str, end: RunTime) -> Result<String, String> {
        let left = || rounded(end.since(self.clock.now()));
        let connection = http::connect(target, self.clock, left(), &self.tasks).await;
        let connection = connection.map_err(|error| error.to_string())?;
        let request = Request::get(path);
        let (answer, _) = connection.send_for(target, &request, left(), PAGE_BYTES_MAX).await;
        let asked = format!("{} did not answer GET {path}", target.authority());
        let answer = answer.map_err(|error| format!("{asked} ({error})"))?;
        let cure = match answer.status {
            200 => return Ok(answer.body),
            300..=399 => "it leads elsewhere; url must be the address that it leads to",
            404 => "check url: there is no status page by statuspage.io",
            429 | 500.. => "it may pass",
            _ => "check url",
        };
        let status = answer.status;
        Err(format!("{} answered GET {path} with HTTP {status}: {cure}", target.authority()))
    }
}
