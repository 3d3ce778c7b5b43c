//! Webhooks: whether every channel that the API shows to come or go was told of.

use std::collections::BTreeMap;

use crate::model::WebhookKind;
use crate::verify::verdict::Status;
use crate::verify::webhook::{Refusal, WebhookFigures};

use super::{Seen, seconds};

/// One that is lost fails it, unless it may be the agent that lost it: some were `refused` here
/// that an app may have sent, or were due when it could not be relied on. Without a webhook, or
/// without anything to hold them against, nobody knows whether they come.
pub(super) fn check(told: &WebhookFigures, refused: &BTreeMap<Refusal, u64>) -> Seen {
    let WebhookFigures { genuine, repeated, readings, listed, unsettled, .. } = *told;
    let lost = told.all_lost();
    let forged = refused.get(&Refusal::Forged).copied().unwrap_or_default();
    let turned_away: u64 =
        refused.iter().filter(|(why, _)| why.is_ours()).map(|(_, count)| count).sum();
    let of = |kind| told.kinds.get(&kind).copied().unwrap_or_default();
    let [occupied, vacated] =
        [WebhookKind::ChannelOccupied, WebhookKind::ChannelVacated].map(|kind| (of(kind), kind));
    let of_channels = occupied.0 + vacated.0;
    let is_nobody_there = genuine == 0 && listed == 0 && readings > 0;
    let mut detail = match genuine {
        0 if forged > 0 => {
            "none of the webhooks that came was signed by its app: name the app's oldest key in the \
             scenario, with the secret of that key"
                .to_owned()
        }
        0 if is_nobody_there => {
            format!("nobody was there in {readings} readings of the API, and no webhook came")
        }
        0 => "no webhook of its app came; see that it posts them here, and that webhooks.listen \
              can be reached from there"
            .to_owned(),
        1 => format!("1 webhook, held against {readings} readings of the API"),
        _ => format!("{genuine} webhooks, held against {readings} readings of the API"),
    };
    if genuine > 0 && of_channels == 0 {
        detail += "; none tells of channels that come or go: turn on channel existence";
    }
    if repeated > 0 {
        detail += &format!("; {repeated} came again");
    }
    match lost {
        0 => {}
        1 => detail += "; 1 time a channel came or went without one",
        n => detail += &format!("; {n} times a channel came or went without one"),
    }
    for (came, kind) in [occupied, vacated] {
        if of_channels > 0 && came == 0 && told.lost.contains_key(&kind) {
            detail += &format!(", and not one {} ever came", kind.as_str());
        }
    }
    let refused: Vec<_> =
        refused.iter().map(|(why, count)| format!("{count} {}", why.as_str())).collect();
    if !refused.is_empty() {
        detail += &format!("; refused of either app: {}", refused.join(", "));
    }
    if turned_away > 0 && lost > 0 {
        detail += ", which may have told of that";
    }
    let ours = match told.unattributed {
        0 => String::new(),
        1 => "; 1 more time that may be the agent's own doing, in a tainted second".to_owned(),
        n => format!("; {n} more times that may be the agent's own doing, in tainted seconds"),
    };
    detail += &ours;
    let is_unread = told.unread_for > told.unread_max;
    if is_unread {
        let why = match told.last_failure.as_str() {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        detail += &format!("; the API was not read for {}{why}", seconds(told.unread_for));
    }
    let open = match unsettled {
        0 => String::new(),
        1 => "; of 1 channel more it is too early to say".to_owned(),
        n => format!("; of {n} channels more it is too early to say"),
    };
    detail += &open;
    // Where none comes, it may be the way to us that is closed.
    let are_known =
        (is_nobody_there && forged + turned_away == 0) || (genuine > 0 && of_channels > 0);
    let is_open = readings < 2 || is_unread || unsettled > 0 || told.unattributed > 0;
    let status = if lost > 0 && genuine > 0 && turned_away == 0 {
        Status::Fail
    } else if !are_known || is_open || lost > 0 {
        Status::Inconclusive
    } else {
        Status::Pass
    };
    Seen {
        status,
        observed: Some(lost as f64),
        limit: Some(0.0),
        evidence: genuine,
        detail,
        ..Seen::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn told() -> WebhookFigures {
        let kinds = [(WebhookKind::ChannelOccupied, 2)].into();
        let (genuine, readings, listed) = (3, 5, 2);
        let (unread_for, unread_max) = (MINUTE, MINUTE);
        WebhookFigures {
            genuine,
            kinds,
            readings,
            listed,
            unread_for,
            unread_max,
            ..WebhookFigures::default()
        }
    }

    #[test]
    fn webhooks_pass_that_came_and_agree_with_the_api() {
        let seen = check(&told(), &none());
        assert_eq!((seen.status, seen.evidence), (Status::Pass, 3));
        assert_eq!(seen.detail, "3 webhooks, held against 5 readings of the API");
        let one = WebhookFigures { genuine: 1, repeated: 2, ..told() };
        let said = "1 webhook, held against 5 readings of the API; 2 came again";
        assert_eq!(check(&one, &none()).detail, said);
        // What was turned away was not missed.
        assert_eq!(check(&told(), &refused()).status, Status::Pass);
    }

    fn none() -> BTreeMap<Refusal, u64> {
        BTreeMap::new()
    }

    fn refused() -> BTreeMap<Refusal, u64> {
        BTreeMap::from([(Refusal::Forged, 1), (Refusal::Stale, 2)])
    }

    fn lost() -> WebhookFigures {
        WebhookFigures { lost: [(WebhookKind::ChannelVacated, 1)].into(), ..told() }
    }

    #[test]
    fn one_that_is_lost_fails() {
        let seen = check(&lost(), &none());
        assert_eq!((seen.status, seen.observed), (Status::Fail, Some(1.0)));
        let said = "; 1 time a channel came or went without one, and not one channel_vacated ever \
                    came";
        assert!(seen.detail.ends_with(said), "{}", seen.detail);
    }

    #[test]
    fn what_the_agent_may_have_lost_is_open() {
        let seen = check(&lost(), &refused());
        assert_eq!(seen.status, Status::Inconclusive);
        let said = "; refused of either app: 1 forged, 2 stale, which may have told of that";
        assert!(seen.detail.ends_with(said), "{}", seen.detail);
        let seen = check(&WebhookFigures { unattributed: 2, ..told() }, &none());
        assert_eq!(seen.status, Status::Inconclusive);
        let said = "; 2 more times that may be the agent's own doing, in tainted seconds";
        assert!(seen.detail.ends_with(said), "{}", seen.detail);
    }

    #[test]
    fn webhooks_that_were_long_held_against_nothing_are_open() {
        let unread = WebhookFigures {
            unread_for: MINUTE * 2,
            last_failure: "HTTP 429 and no list of channels".to_owned(),
            ..told()
        };
        let seen = check(&unread, &none());
        assert_eq!(seen.status, Status::Inconclusive);
        let said = "; the API was not read for 2m (HTTP 429 and no list of channels)";
        assert!(seen.detail.ends_with(said), "{}", seen.detail);
        let lost = WebhookFigures { unread_for: MINUTE * 2, ..lost() };
        assert_eq!(check(&lost, &none()).status, Status::Fail, "what was seen was seen");
    }

    #[test]
    fn what_nobody_can_know_yet_is_open() {
        let unsettled = check(&WebhookFigures { unsettled: 2, ..told() }, &none());
        assert_eq!(unsettled.status, Status::Inconclusive);
        assert!(unsettled.detail.ends_with("of 2 channels more it is too early to say"));
        for open in [
            WebhookFigures { genuine: 0, ..told() },
            // It may be the way to us that is closed.
            WebhookFigures { genuine: 0, ..lost() },
            WebhookFigures { kinds: [(WebhookKind::MemberAdded, 9)].into(), ..told() },
            WebhookFigures { readings: 1, ..told() },
            WebhookFigures::default(),
        ] {
            assert_eq!(check(&open, &none()).status, Status::Inconclusive, "{open:?}");
        }
    }

    #[test]
    fn where_all_that_came_was_forged_the_key_may_be_another() {
        let none_came = WebhookFigures { genuine: 0, listed: 0, ..told() };
        let seen = check(&none_came, &BTreeMap::from([(Refusal::Forged, 20)]));
        assert_eq!(seen.status, Status::Inconclusive);
        assert!(seen.detail.contains("name the app's oldest key"), "{}", seen.detail);
        assert!(seen.detail.ends_with("; refused of either app: 20 forged"), "{}", seen.detail);
        // Strangers who knock are nobody's fault.
        let forged = BTreeMap::from([(Refusal::Forged, 9)]);
        assert_eq!(check(&lost(), &forged).status, Status::Fail);
    }

    #[test]
    fn where_nobody_ever_was_none_is_due() {
        let seen = check(&WebhookFigures { genuine: 0, listed: 0, ..told() }, &none());
        assert_eq!(seen.status, Status::Pass);
        assert_eq!(seen.detail, "nobody was there in 5 readings of the API, and no webhook came");
    }
}
