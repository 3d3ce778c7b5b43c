//! An account in parts: one that goes on where another ends, and several of them as one.
//!
//! A run without an end is a row of parts. What is under way when one ends is handed over to the
//! next, so that nothing is counted twice and nothing is left out.

use crate::model::{ClusterRole, RunTime};
use crate::verify::endpoint::EndpointFigures;
use crate::verify::figures::{ClusterFigures, UnderWay};
use crate::verify::gather::INCIDENTS_MAX;
use crate::verify::record::{IncidentNote, Second};
use crate::verify::sample::SampleFigures;
use crate::verify::timeline::Timeline;

use super::{Account, ClusterAccount};

/// Seconds for which taints are handed over: what was sent so long ago has ended.
const TAINTS_KEPT_SECONDS: u64 = 3 * 3_600;

impl Account {
    /// An account that goes on from here, of what comes next alone.
    #[must_use]
    pub fn next(&self) -> Self {
        let mut next = Self::new(self.begin.clone());
        next.at = self.at;
        next.publishing = self.publishing.map(|_| (self.at, self.at));
        next.is_published = self.is_published;
        next.counted_from = if self.publishing.is_some() { self.at.second() + 1 } else { 0 };
        next.timeline = Timeline::new(self.at);
        next.tainted = self.tainted.since(self.at.second().saturating_sub(TAINTS_KEPT_SECONDS));
        next.incidents_before = self.incidents_before + self.incidents.len();
        next.sums_before = self.sums.clone();
        next.sums = self.sums.clone();
        next.figures.events.covered_since = self.figures.events.covered_since;
        next.figures.events.covered_until = self.figures.events.covered_until;
        next.figures.occupied = self.figures.occupied;
        next.figures.budget_used = self.figures.budget_used;
        if let (Some((sample, _)), Some((before, _))) =
            (&mut next.figures.mirror, &self.figures.mirror)
        {
            let (presence, caches) = (before.presence, before.caches);
            *sample = SampleFigures {
                last: before.last.clone(),
                presence,
                caches,
                ..SampleFigures::default()
            };
        }
        for (role, cluster) in &mut next.clusters {
            let Some(before) = self.clusters.get(role) else { continue };
            *cluster = before.next();
            let figures = next.figures.clusters.entry(*role).or_default();
            if let Some(before) = self.figures.clusters.get(role) {
                *figures = before.next(std::mem::take(figures));
                if let Some(page) = &mut figures.status_page {
                    page.forget_before(self.begin.unix_millis(self.at));
                }
            }
        }
        next
    }

    /// Takes in what a second, which a later account takes in, says of this one's time: seconds
    /// that turned out to be tainted, and incidents that concern one witness more.
    pub fn learn(&mut self, second: &Second) {
        self.tainted.merge(&second.tainted);
        self.count_tainted();
        for note in &second.incidents {
            if let IncidentNote::Again { .. } = note {
                self.note_incident(note);
            }
        }
        self.decide(second);
    }

    /// Adds the account that goes on where this one ends.
    pub fn join(&mut self, later: &Self) {
        let began = |(role, of): (&ClusterRole, &mut ClusterFigures)| {
            (*role, of.under_way, of.webhooks.take())
        };
        let began: Vec<_> = self.figures.clusters.iter_mut().map(began).collect();
        self.figures.merge(&later.figures);
        self.figures.events.covered_since = later.figures.events.covered_since;
        self.figures.events.covered_until = later.figures.events.covered_until;
        self.figures.is_ended = later.figures.is_ended;
        self.figures.unwatched.clone_from(&later.figures.unwatched);
        for (role, under_way, told) in began {
            let mine = self.figures.clusters.get_mut(&role);
            if let Some((mine, later)) = mine.zip(later.figures.clusters.get(&role)) {
                mine.under_way = under_way;
                if let (Some(told), Some(later)) = (told, &later.webhooks) {
                    mine.webhooks = Some(told.joined(later));
                }
                mine.take_states(later);
            }
        }
        for (role, cluster) in &mut self.clusters {
            if let Some(later) = later.clusters.get(role) {
                cluster.join(later);
            }
        }
        self.tainted.merge(&later.tainted);
        self.incidents.extend(later.incidents.iter().cloned());
        self.incidents_dropped += later.incidents_dropped;
        self.forget_incidents();
        let width = later.timeline.width();
        for role in later.clusters.keys() {
            for (place, slot) in (0_u32..).zip(later.timeline.slots(*role)) {
                let from = later.timeline.start().after(width * place);
                // Up to the last moment of it: the next one is the next slot's.
                let until = RunTime(from.after(width).0.saturating_sub(1));
                self.timeline.add(*role, from, until, slot);
            }
        }
        for point in later.presence.points() {
            self.presence.push(*point);
        }
        self.publishing = match (self.publishing, later.publishing) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (mine, later) => mine.or(later),
        };
        self.is_published = later.is_published;
        self.sums = later.sums.clone();
        self.at = later.at;
        let (begun, end) = self.publishing.unwrap_or_default();
        let ramp = self.ramp();
        for (role, figures) in &mut self.figures.clusters {
            if let Some(webhooks) = &mut figures.webhooks {
                webhooks.settle(begun, end);
            }
            (figures.opening_latencies, figures.closing_latencies) =
                self.timeline.thirds(*role, ramp, end);
        }
    }

    /// Keeps no more than counts of what lies long before now, so that it does not grow with time.
    pub fn forget(&mut self) {
        let before = self.at.second().saturating_sub(TAINTS_KEPT_SECONDS);
        let forgotten = self.tainted.take_before(before);
        let counted = self.publishing.map_or(u64::MAX, |(first, _)| first.second());
        for (_, reasons) in forgotten.within(counted.min(before)..=before) {
            self.forgotten_seconds += 1;
            for reason in reasons {
                *self.forgotten.entry(*reason).or_default() += 1;
            }
        }
        self.forget_incidents();
        for cluster in self.clusters.values_mut() {
            cluster.forget_windows();
        }
        // A window shows how it went.
        self.timeline = Timeline::new(self.at);
    }

    /// Keeps the newest incidents, as many as there is room for.
    pub(in crate::verify) fn forget_incidents(&mut self) {
        let beyond = self.incidents.len().saturating_sub(INCIDENTS_MAX);
        self.incidents.drain(..beyond);
        self.incidents_before += beyond;
        self.incidents_dropped += beyond as u64;
    }
}

impl ClusterFigures {
    /// Those of the time that begins now, as `fresh` as they can be: what is under way, and what is
    /// a state.
    fn next(&self, fresh: Self) -> Self {
        let under_way = UnderWay { obligations: self.pending, publications: self.in_flight() };
        let endpoints = self.endpoints.iter().map(|(kind, endpoint)| {
            let tried = endpoint.tried.clone();
            (*kind, EndpointFigures { tried, ..EndpointFigures::new(endpoint.begin.clone()) })
        });
        Self {
            pending: self.pending,
            overdue: self.overdue,
            unexplained: self.unexplained,
            under_way,
            blind: self.blind.clone(),
            rate_limit_used: self.rate_limit_used,
            certificate_expires: self.certificate_expires,
            controls: self.controls.clone(),
            occupancy: self.occupancy.clone(),
            webhooks: self.webhooks.as_ref().map(|told| told.next()),
            endpoints: endpoints.collect(),
            status_page: self.status_page.as_ref().map(|page| page.next()),
            ..fresh
        }
    }

    /// Takes over what is as it was last, and no sum.
    fn take_states(&mut self, later: &Self) {
        self.pending = later.pending;
        self.overdue = later.overdue;
        self.unexplained = later.unexplained;
        self.blind.clone_from(&later.blind);
        // One that fired before has fired.
        self.controls.clone_from(&later.controls);
        self.left_behind = later.left_behind;
        self.occupancy.clone_from(&later.occupancy);
        if let (Some(page), Some(later)) = (&mut self.status_page, &later.status_page) {
            page.is_read = later.is_read;
        }
    }
}

impl ClusterAccount {
    fn next(&self) -> Self {
        let open = self.windows.iter().filter(|window| window.until.is_none());
        Self {
            windows: open.copied().collect(),
            occupancy: self.occupancy.clone(),
            open: self.open.clone(),
            ..Self::default()
        }
    }

    fn join(&mut self, later: &Self) {
        for window in &later.windows {
            let is_it = |known: &&mut super::BlindWindow| {
                (known.witness, known.from) == (window.witness, window.from)
            };
            match self.windows.iter_mut().find(is_it) {
                Some(known) => *known = *window,
                None => self.windows.push(*window),
            }
        }
        self.forget_windows();
        self.occupancy.clone_from(&later.occupancy);
        self.open.clone_from(&later.open);
    }

    /// Keeps the newest blind windows, as many as there is room for, and those that last.
    fn forget_windows(&mut self) {
        let mut beyond = self.windows.len().saturating_sub(super::WINDOWS_MAX / 2);
        self.windows.retain(|window| {
            let goes = beyond > 0 && window.until.is_some();
            beyond -= usize::from(goes);
            !goes
        });
    }
}
