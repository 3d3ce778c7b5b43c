//! Webhooks: whether every channel that the API shows to come or go was told of.

use crate::model::WebhookKind;
use crate::verify::verdict::Status;
use crate::verify::webhook::WebhookFigures;

use super::Seen;

/// One that is lost fails it. Without a webhook, or without anything to hold them against, nobody
/// knows whether they come.
pub(super) fn check(told: &WebhookFigures) -> Seen {
    let WebhookFigures { genuine, repeated, readings, listed, unsettled, .. } = *told;
    let lost = told.all_lost();
    let of = |kind| told.kinds.get(&kind).copied().unwrap_or_default();
    let of_channels = of(WebhookKind::ChannelOccupied) + of(WebhookKind::ChannelVacated);
    let is_nobody_there = genuine == 0 && listed == 0 && readings > 0;
    let mut detail = match genuine {
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
        1 => detail += "; 1 channel came or went without one",
        n => detail += &format!("; {n} times a channel came or went without one"),
    }
    let open = match unsettled {
        0 => String::new(),
        1 => "; of 1 channel more it is too early to say".to_owned(),
        n => format!("; of {n} channels more it is too early to say"),
    };
    detail += &open;
    // Where none comes, it may be the way to us that is closed.
    let are_known = is_nobody_there || (genuine > 0 && of_channels > 0);
    let status = if lost > 0 && genuine > 0 {
        Status::Fail
    } else if !are_known || readings < 2 || unsettled > 0 {
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
    use super::*;

    fn told() -> WebhookFigures {
        let kinds = [(WebhookKind::ChannelOccupied, 2)].into();
        WebhookFigures { genuine: 3, kinds, readings: 5, listed: 2, ..WebhookFigures::default() }
    }

    #[test]
    fn webhooks_pass_that_came_and_agree_with_the_api() {
        let seen = check(&told());
        assert_eq!((seen.status, seen.evidence), (Status::Pass, 3));
        assert_eq!(seen.detail, "3 webhooks, held against 5 readings of the API");
        let one = WebhookFigures { genuine: 1, repeated: 2, ..told() };
        let said = "1 webhook, held against 5 readings of the API; 2 came again";
        assert_eq!(check(&one).detail, said);
    }

    #[test]
    fn one_that_is_lost_fails() {
        let lost = [(WebhookKind::ChannelVacated, 1)].into();
        let seen = check(&WebhookFigures { lost, ..told() });
        assert_eq!((seen.status, seen.observed), (Status::Fail, Some(1.0)));
        assert!(seen.detail.ends_with("; 1 channel came or went without one"), "{}", seen.detail);
    }

    #[test]
    fn what_nobody_can_know_yet_is_open() {
        let unsettled = check(&WebhookFigures { unsettled: 2, ..told() });
        assert_eq!(unsettled.status, Status::Inconclusive);
        assert!(unsettled.detail.ends_with("of 2 channels more it is too early to say"));
        for open in [
            WebhookFigures { genuine: 0, ..told() },
            // It may be the way to us that is closed.
            WebhookFigures {
                genuine: 0,
                lost: [(WebhookKind::ChannelVacated, 1)].into(),
                ..told()
            },
            WebhookFigures { kinds: [(WebhookKind::MemberAdded, 9)].into(), ..told() },
            WebhookFigures { readings: 1, ..told() },
            WebhookFigures::default(),
        ] {
            assert_eq!(check(&open).status, Status::Inconclusive, "{open:?}");
        }
    }

    #[test]
    fn where_nobody_ever_was_none_is_due() {
        let seen = check(&WebhookFigures { genuine: 0, listed: 0, ..told() });
        assert_eq!(seen.status, Status::Pass);
        assert_eq!(seen.detail, "nobody was there in 5 readings of the API, and no webhook came");
    }
}
