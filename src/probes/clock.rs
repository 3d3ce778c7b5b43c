//! What time it is there, how far a request's time may be from that, and how requests are taken.

use std::time::Duration;

use crate::pusher::rest::{self, Publication};
use crate::verify::parity::{Reading, Row};

use super::client::Fault;
use super::{ACCEPTED, FENCE, Found, Site};

/// A clock that differs by no more is right: the header tells whole seconds.
const RIGHT: Duration = Duration::from_secs(2);
/// How old a request is made to look, in seconds. Documents say that 600 is the limit.
const AGES: [i64; 5] = [590, 610, 3_600, -590, -610];
/// Which of them documents say are taken.
const DOCUMENTED: [bool; AGES.len()] = [true, false, false, true, false];

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let asked = site.clock.wall_now();
    let question = site.signer.channels(&site.tail, asked.as_secs());
    let (answer, kept_question) = site.ask_keeping(&question).await?;
    if rest::probe(answer.status, &answer.body) != rest::Probe::Sound {
        return Err(Fault::Barred(format!("HTTP {} to GET /channels", answer.status)));
    }
    found.push((
        Row::Clock,
        match answer.date {
            None => Reading::NotTested("its answers bear no date".to_owned()),
            Some(date) => Reading::Skew(skew(date, [asked, site.clock.wall_now()])),
        },
    ));
    let mut taken = taken_ages(site).await?;
    if taken != DOCUMENTED {
        // A request may have been on its way for seconds, or a clock have been set.
        taken = taken_ages(site).await?;
    }
    let said = match taken {
        DOCUMENTED => "600 s either way".to_owned(),
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
    let request = site.signer.publish(&publication, site.now());
    let (answer, kept) = site.ask_keeping(&request).await?;
    if rest::classify(answer.status, &answer.body) != rest::Answer::Accepted {
        return Err(Fault::Barred(format!("HTTP {} to a publication", answer.status)));
    }
    let said = match (kept_question.is_some(), kept.is_some()) {
        (true, true) => "yes",
        (true, false) => "behind questions alone",
        (false, true) => "behind publications alone",
        (false, false) => "no",
    };
    found.push((Row::KeepAlive, Reading::Value(said.to_owned())));
    Ok(())
}

/// Which of the ages are taken.
async fn taken_ages(site: &Site) -> Result<[bool; AGES.len()], Fault> {
    let mut taken = [false; AGES.len()];
    for (age, is_taken) in AGES.iter().zip(&mut taken) {
        let at = site.now().saturating_add_signed(-age);
        *is_taken = site.status(&site.signer.channels(&site.tail, at)).await? == ACCEPTED;
    }
    Ok(taken)
}

/// By how many seconds their time is ahead of ours, who asked at the one and heard at the other.
fn skew(theirs: Duration, [asked, heard]: [Duration; 2]) -> i64 {
    let (ahead, behind) = (theirs.saturating_sub(heard), asked.saturating_sub(theirs));
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    if ahead.max(behind) <= RIGHT { 0 } else { seconds(ahead) - seconds(behind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_to_the_second() {
        let at = Duration::from_millis;
        for (theirs, asked, heard, said) in [
            (10_000, 10_999, 11_000, 0),
            (10_000, 12_500, 12_600, -2),
            (95_000, 12_400, 12_500, 82),
            // The answer took its time.
            (14_000, 9_000, 14_500, 0),
        ] {
            assert_eq!(skew(at(theirs), [at(asked), at(heard)]), said);
        }
    }
}
