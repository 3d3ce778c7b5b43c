//! What time it is there, how far a request's time may be from that, and how requests are taken.

use std::time::Duration;

use crate::pusher::rest::Publication;
use crate::verify::parity::{Reading, Row};

use super::client::Fault;
use super::{ACCEPTED, FENCE, Found, Site};

/// A clock that differs by no more is right: the header tells whole seconds.
const RIGHT: Duration = Duration::from_secs(2);
/// How old a request is made to look, in seconds. Documents say that 600 is the limit.
const AGES: [i64; 5] = [590, 610, 3_600, -590, -610];

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let asked = site.clock.wall_now();
    let answer = site.ask(&site.signer.channels(&site.tail, asked.as_secs())).await?;
    found.push((
        Row::Clock,
        match answer.date {
            None => Reading::NotApplicable("its answers bear no date".to_owned()),
            Some(date) => Reading::Value(difference(date, asked)),
        },
    ));
    let mut taken = Vec::new();
    for age in AGES {
        let at = asked.as_secs().saturating_add_signed(-age);
        taken.push(site.status(&site.signer.channels(&site.tail, at)).await? == ACCEPTED);
    }
    let said = match *taken {
        [true, false, false, true, false] => "600 s either way".to_owned(),
        [true, true, true, true, true] => "anything".to_owned(),
        _ => {
            let taken = AGES.iter().zip(&taken).filter(|(_, is_taken)| **is_taken);
            let taken: Vec<_> = taken.map(|(age, _)| format!("{age} s old")).collect();
            if taken.is_empty() { "none of those tried".to_owned() } else { taken.join(", ") }
        }
    };
    found.push((Row::TimestampWindow, Reading::Value(said)));
    let channels = &[site.tail.as_str()];
    let publication = Publication { name: FENCE, channels, data: "{}", ..Publication::default() };
    let (_, kept) = site.ask_keeping(&site.signer.publish(&publication, site.now())).await?;
    let said = if kept.is_some() { "yes" } else { "no" };
    found.push((Row::KeepAlive, Reading::Value(said.to_owned())));
    Ok(())
}

fn difference(theirs: Duration, ours: Duration) -> String {
    if theirs.abs_diff(ours) <= RIGHT {
        "right".to_owned()
    } else if theirs > ours {
        format!("{} s ahead", (theirs - ours).as_secs())
    } else {
        format!("{} s behind", (ours - theirs).as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_to_the_second() {
        let at = Duration::from_millis;
        assert_eq!(difference(at(10_000), at(10_999)), "right");
        assert_eq!(difference(at(10_000), at(12_500)), "2 s behind");
        assert_eq!(difference(at(95_000), at(12_500)), "82 s ahead");
    }
}
