//! Every metric, declared once: name, kind, labels, help. Base units; labels from closed sets.

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bucket.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name after the prefix `pusher_canary_`.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// Every metric, in the order of the page.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    PUBLICATIONS = Counter "publications_total" ["cluster", "route", "outcome"]
        "Publications by outcome; unknown includes what was recovered or void.";
    OBLIGATIONS_OPENED = Counter "obligations_opened_total" ["cluster"]
        "Publications times assigned witnesses, as the publisher counts.";
    OBLIGATIONS = Counter "obligations_total" ["cluster", "kind", "outcome"]
        "Obligations by outcome and kind of channel.";
    OBLIGATIONS_PENDING = Gauge "obligations_pending" ["cluster"]
        "Obligations that have not ended.";
    OVERDUE = Gauge "overdue" ["cluster"]
        "Obligations past their deadline that have not ended.";
    DUPLICATES = Counter "duplicates_total" ["cluster"]
        "Further copies of what a witness already received.";
    REORDERED = Counter "reordered_total" ["cluster"]
        "First copies that a later event of their stream overtook.";
    CORRUPT = Counter "corrupt_total" ["cluster"]
        "Canary events that are no intact envelope.";
    MISROUTED = Counter "misrouted_total" ["cluster"]
        "Intact envelopes on another channel or cluster than they were published to.";
    UNEXPECTED = Counter "unexpected_total" ["cluster"]
        "Copies of publications that were rejected or never made.";
    EVENTS = Counter "events_total" ["coverage"]
        "Settled events: covered, or uncovered by cause.";
    TRIALS = Counter "trials_total" ["cluster", "outcome"]
        "Publications that can fail the loss check: delivered to all, partially_lost, lost.";
    LOSS_INCIDENTS = Gauge "loss_incidents" ["cluster"]
        "Times at which such publications were lost, those at most 10 s apart being one.";
    EVENT_TRIALS = Counter "event_trials_total" ["coverage"]
        "Events that can fail the coverage check: covered, or uncovered by cause.";
    EVENT_PAIRS = Counter "event_pairs_total" ["lost_on"]
        "Events that are a trial on both clusters, by where they were lost: neither, old, new, both.";
    DELIVERY_LATENCY = Histogram "delivery_latency_seconds" ["cluster", "route", "kind"]
        "From sending to receipt.";
    PUBLISH_DURATION = Histogram "publish_duration_seconds" ["cluster"]
        "From taking a publication up to the answer, a dial included.";
    CONNECT_DURATION = Histogram "connect_duration_seconds" ["cluster", "step"]
        "Each phase of connecting.";
    AUTH_DURATION = Histogram "auth_duration_seconds" ["cluster"]
        "Making an authorisation.";
    AUTH = Counter "auth_total" ["cluster", "outcome"]
        "Signed subscriptions that the cluster confirmed or refused.";
    CONNECTIONS = Gauge "connections" ["cluster", "state"]
        "Connections that are ready.";
    DISCONNECTS = Counter "disconnects_total" ["cluster", "code"]
        "Connections that were closed or cut, by code; 1006 without a close frame.";
    BLIND_SECONDS = Counter "blind_seconds_total" ["cluster", "cause"]
        "Length of the blind windows that ended.";
    BLIND_WITNESSES = Gauge "blind_witnesses" ["cluster"]
        "Witnesses that do not see all their channels now.";
    UNWATCHED_STREAMS = Gauge "unwatched_streams" ["cluster"]
        "Streams that no witness watches; of a witness of what another process publishes, those of which it was not told all.";
    CERTIFICATE_EXPIRY = Gauge "certificate_expiry_timestamp_seconds" ["cluster"]
        "Until when the certificate of the last WebSocket with TLS is valid; absent until there was one.";
    BYTES = Counter "bytes_total" ["cluster", "direction"]
        "Bytes that witnesses' connections carried, TLS and framing included: received, sent.";
    HTTP_RESPONSES = Counter "http_responses_total" ["cluster", "endpoint", "code"]
        "HTTP answers to publications by class of status.";
    RATE_LIMIT_USED = Gauge "rate_limit_used_ratio" ["cluster"]
        "How much of the API's rate limit is used up, by the headers of its last answer that has some; NaN where none has.";
    ERRORS = Counter "errors_total" ["cluster", "feature"]
        "What failed, by what was tried: connect, subscribe, publish, auth_endpoint, user_auth_endpoint, api (reading channels), status_page.";
    OCCUPIED_CHANNELS = Gauge "occupied_channels" ["cluster"]
        "Occupied channels as the API lists them, those of canaries left out; of sampled prefixes only where a sample is taken; NaN where not read.";
    OCCUPIED_BY_WEBHOOKS = Gauge "occupied_channels_by_webhooks" ["cluster"]
        "Occupied channels as webhooks tell, those of canaries left out: of one cluster, and of either (any), where a channel counts as vacated only when both apps have said so; only where webhooks are received.";
    WEBHOOKS = Counter "webhooks_total" ["cluster", "event", "outcome"]
        "Events of an app's webhooks by outcome: received, or lost, as the API shows; and webhooks that came again (event any, outcome repeated); only where webhooks are received.";
    WEBHOOKS_REFUSED = Counter "webhooks_refused_total" ["reason"]
        "Requests to the webhook receiver that were no webhooks that count; only where webhooks are received.";
    WEBHOOK_DELAY = Histogram "webhook_delay_seconds" ["cluster"]
        "From when an app says that it sent a webhook to its arrival, the difference of two clocks; only where webhooks are received.";
    LOAD_CLIENTS = Gauge "load_clients" ["cluster", "state"]
        "Simulated clients by state: planned, and connected now; only where there are some.";
    LOAD_DELIVERIES = Counter "load_deliveries_total" ["cluster", "outcome"]
        "What simulated clients were owed, by how it ended; only where there are some.";
    CHANNEL_SUBSCRIBERS = Gauge "channel_subscribers" ["cluster"]
        "Subscriptions to occupied channels; NaN where they are not read or not listed.";
    PRESENCE_MEMBERS = Gauge "presence_members" ["cluster"]
        "Members of all presence channels, or of those that a sample reads; NaN where they are not read or not said.";
    PRESENCE_SPLIT = Gauge "presence_split_ratio" []
        "Share of the members of sampled presence channels that do not see everybody in their channel; NaN where they are not read.";
    MIRROR_EVENTS = Counter "mirror_events_total" ["outcome"]
        "Real events on sampled channels by outcome.";
    MIRROR_SKEW = Histogram "mirror_skew_seconds" ["cluster"]
        "From one cluster's copy of a real event to the other's, by the cluster whose copy came later.";
    LOSS_UPPER_BOUND = Gauge "loss_upper_bound_ratio" ["cluster"]
        "The loss rate that is ruled out at the scenario's confidence.";
    CHECK_STATUS = Gauge "check_status" ["check", "cluster"]
        "0 pass, 1 inconclusive, 2 fail.";
    CHECK_OBSERVED = Gauge "check_observed" ["check", "cluster"]
        "What a check saw, in its unit.";
    CHECK_LIMIT = Gauge "check_limit" ["check", "cluster"]
        "What a check asks for, in its unit.";
    CHECK_REQUIRED = Gauge "check_required" ["check", "cluster"]
        "1 if the verdict rests on a check, 0 if it is only shown.";
    CONFIDENCE = Gauge "confidence_ratio" []
        "The confidence that the scenario asks for.";
    VERDICT = Gauge "verdict" ["verdict"]
        "1 for the verdict on what was gathered so far, 0 for the others.";
    PROVIDER_STATUS = Gauge "provider_status" ["cluster", "component"]
        "What the provider's status page last said of a component, or of the page as a whole (page): 0 operational, 1 under maintenance, 2 degraded performance, 3 partial outage, 4 major outage, -1 not known; only of clusters with a page.";
    COVERED_SINCE = Gauge "covered_since_timestamp_seconds" []
        "The instant of the first event after the last uncovered one; absent until there is one.";
    COVERED_UNTIL = Gauge "covered_until_timestamp_seconds" []
        "The instant of the last event before the first unsettled one; absent until there is one.";
    MESSAGE_BYTES = Gauge "message_bytes" []
        "Bytes of a canary event's data before encryption.";
    BUDGET_USED = Gauge "budget_used_ratio" ["cluster"]
        "How much of a UTC day's budget is used up, of one app and of both together (both); NaN but in a watch.";
    WINDOW = Gauge "window_seconds" []
        "The window on which checks and verdict rest; only in a watch.";
    RELOAD_SUCCESS = Gauge "scenario_reload_success" []
        "1 if the scenario as it is now is the one that is watched, 0 if it could not be taken; only in a watch.";
    RELOAD_AT = Gauge "scenario_reload_timestamp_seconds" []
        "When the scenario was last taken; only in a watch.";
    OBSERVED = Gauge "observed_seconds" []
        "For how long events were published, tainted seconds left out.";
    TAINTED_SECONDS = Counter "tainted_seconds_total" []
        "Seconds whose measurements cannot be relied on.";
    SCHEDULE_LAG = Histogram "schedule_lag_seconds" []
        "From the scheduled instant to taking a publication up.";
    RUNTIME_STALL = Gauge "runtime_stall_seconds" []
        "The longest time for which a due task waited.";
    RUN_INFO = Gauge "run_info" ["run", "scenario", "scenario_digest", "phase", "shard", "shards", "region", "role"]
        "1; which run this is, and which part of it: shards count from 0, role is publish, witness or both.";
    REHEARSED = Gauge "rehearsed" []
        "1 if the clusters are a rehearsal's own, 0 if they are anybody's.";
    RUN_STARTED = Gauge "run_started_timestamp_seconds" []
        "When the process began that does the run.";
    RUN_FAILED = Gauge "run_failed" []
        "1 if the agent itself failed, whatever its checks say; 0 if it did not, as far as is known.";
    RUN_ENDED = Gauge "run_ended_timestamp_seconds" []
        "When the run ended; absent until it has.";
    BUILD_INFO = Gauge "build_info" ["version"]
        "1; which program this is.";
}

/// Prefix of every name.
pub const PREFIX: &str = "pusher_canary_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut names: Vec<_> = ALL.iter().map(|m| m.name).collect();
        for metric in ALL {
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{metric:?}");
            assert!(metric.help.ends_with('.'), "{metric:?}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "a name is declared twice");
    }
}
