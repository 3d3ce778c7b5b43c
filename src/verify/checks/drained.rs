//! Drained: nobody is left on the old cluster, and nobody has been for as long as was asked.

use std::time::Duration;

use crate::verify::figures::ClusterFigures;
use crate::verify::occupancy::OccupancyFigures;
use crate::verify::verdict::Status;

use super::{Limits, Seen, seconds};

/// Why an empty list proves nothing yet.
const UNSEEN: &str = ", but nobody was ever seen there: begin while somebody is, or say in \
     gate.unseen how it is known that this is the app that users were on";

/// Who is there now fails it. What was not looked at for too long leaves it open, and so does a
/// cluster that has not been empty for long enough yet.
pub(super) fn check(cluster: &ClusterFigures, limits: &Limits) -> Seen {
    let asked = limits.drained_for;
    let Some(read) = cluster.occupancy.as_ref().filter(|read| read.readings > 0) else {
        let why = cluster.occupancy.as_ref().map_or("", |read| &read.last_failure);
        let detail = match why {
            "" => "nobody looked who is there".to_owned(),
            why => format!("the API never said who is there: {why}"),
        };
        return seen(Status::Inconclusive, None, asked, detail);
    };
    let (channels, empty) = (read.last.total(), seconds(read.empty_for));
    let (status, detail) = if !read.is_current() {
        let (age, why) = (seconds(read.age), &read.last_failure);
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        (Status::Inconclusive, format!("the API has not said who is there for {age}{why}"))
    } else if channels > 0 {
        (Status::Fail, occupied(read))
    } else if read.empty_for >= asked {
        match empty_for_long(read, limits) {
            (Status::Pass, detail) => confirmed(detail, read, cluster, limits),
            open => open,
        }
    } else {
        let detail = format!("no channel occupied for {empty} only, {} asked", seconds(asked));
        let unseen = if read.has_shown || limits.unseen.is_some() { "" } else { UNSEEN };
        (Status::Inconclusive, format!("{detail}{unseen}"))
    };
    let own = match read.last.own {
        0 => String::new(),
        own => format!("; {own} canary channels left out"),
    };
    seen(status, Some(read), asked, format!("{detail}{own}"))
}

/// An API that never listed anybody may be that of another app, or list nobody ever.
fn empty_for_long(read: &OccupancyFigures, limits: &Limits) -> (Status, String) {
    let (empty, asked) = (seconds(read.empty_for), seconds(limits.drained_for));
    let detail = format!("no channel occupied for {empty}, {asked} asked");
    match &limits.unseen {
        _ if read.has_shown => (Status::Pass, detail),
        Some(why) => {
            (Status::Pass, format!("{detail}; nobody was ever seen there, but it is known: {why}"))
        }
        None => (Status::Inconclusive, format!("{detail}{UNSEEN}")),
    }
}

/// What the API says must be what webhooks say, where they are received.
fn confirmed(
    detail: String,
    read: &OccupancyFigures,
    cluster: &ClusterFigures,
    limits: &Limits,
) -> (Status, String) {
    let Some(told) = &cluster.webhooks else { return (Status::Pass, detail) };
    let (empty, asked) = (seconds(told.empty_for), seconds(limits.drained_for));
    let open = |why: String| (Status::Inconclusive, format!("{detail}, but {why}"));
    // Whoever was seen to be there has left, and that is to be told.
    let (told_of, due) = match read.peak {
        0 => (told.occupied + told.vacated + told.own, limits.unseen.is_none()),
        _ => (told.vacated, true),
    };
    if due && (told.genuine == 0 || (told_of == 0 && told.open == 0)) {
        return open(
            "no webhook of its app told of that: have it tell of channel existence, and name its \
             oldest key in the scenario"
                .to_owned(),
        );
    }
    if told.open > 0 {
        let channels = match told.open {
            1 => "1 channel was".to_owned(),
            n => format!("{n} channels were"),
        };
        return open(format!(
            "by its webhooks {channels} occupied and not vacated: a channel_vacated did not come"
        ));
    }
    if told.empty_for < limits.drained_for {
        return open(format!("by its webhooks for {empty} only"));
    }
    let detail = match told_of {
        0 => format!("{detail}; nobody was there of whom a webhook could have told"),
        _ => format!("{detail}; by its webhooks for {empty}, {asked} asked"),
    };
    (Status::Pass, detail)
}

fn seen(status: Status, read: Option<&OccupancyFigures>, asked: Duration, detail: String) -> Seen {
    Seen {
        status,
        observed: read.map(|read| read.empty_for.as_secs_f64()),
        limit: Some(asked.as_secs_f64()),
        unit: "s",
        evidence: read.map_or(0, |read| read.readings),
        detail,
        ..Seen::default()
    }
}

/// Who is there, and until when.
fn occupied(read: &OccupancyFigures) -> String {
    let channels = match read.last.total() {
        1 => "1 channel is".to_owned(),
        n => format!("{n} channels are"),
    };
    let among: Vec<_> =
        [(read.last.subscriptions, "subscriptions"), (read.last.members, "members")]
            .into_iter()
            .filter_map(|(count, what)| count.filter(|n| *n > 0).map(|n| format!("{n} {what}")))
            .collect();
    let among = if among.is_empty() { String::new() } else { format!(" ({})", among.join(", ")) };
    let until = match read.empty_in {
        Some(left) => format!("at this pace empty in {}", seconds(left)),
        None => "and they do not become fewer".to_owned(),
    };
    format!("{channels} still occupied{among}, {until}")
}
