//! How obligations end, once it can be told.

use crate::model::{RunTime, Seq, StreamIx};

use super::{
    BlindCause, Channel, Config, Incident, IncidentKind, Outcome, Publication, Shortfall, Stream,
    Tally, count_delivery, obligations,
};

/// What an obligation is judged by.
pub(super) struct Judge<'a> {
    pub(super) config: &'a Config,
    pub(super) channel: &'a Channel,
    pub(super) last_heard: RunTime,
    pub(super) now: RunTime,
}

/// How an obligation without a first copy ends.
enum End {
    Pending,
    Void,
    Short(Shortfall),
}

impl Judge<'_> {
    fn end(&self, publication: &Publication) -> End {
        match publication.outcome {
            Outcome::InFlight | Outcome::Unknown => return End::Pending,
            Outcome::Rejected | Outcome::Void | Outcome::Unsent => return End::Void,
            Outcome::Accepted | Outcome::Recovered => {}
        }
        let slack = self.config.slack();
        let due = publication.sent.after(self.config.deadline + slack);
        let from = RunTime::ZERO.after(publication.sent.since(RunTime::ZERO.after(slack)));
        // A copy that comes at the horizon itself still counts, so nothing is decided at it.
        if self.now <= publication.sent.after(self.config.horizon) {
            End::Pending
        } else if let Some(cause) = self.channel.blind_during(from, due)
            // Until the connection has proved alive since, it may have been dead by then, and then
            // it is not the agent alone that is to blame.
            && (cause != BlindCause::Agent || self.last_heard >= due)
        {
            let surely = publication.sent.after(self.config.deadline);
            let is_sure = self.channel.blind_during(publication.sent, surely).is_some();
            End::Short(if is_sure { Shortfall::Missed(cause) } else { Shortfall::Unsure(cause) })
        } else if self.last_heard >= due {
            End::Short(Shortfall::Lost)
        } else {
            // Nothing came since: the connection must prove alive or dead first.
            End::Pending
        }
    }
}

/// Settles one obligation, if it can be.
pub(super) fn settle(
    stream: &mut Stream,
    seq: Seq,
    judge: &Judge<'_>,
    tally: &mut Tally,
    shortfalls: &mut Vec<(StreamIx, Seq, Shortfall)>,
) {
    let Some(entry) = stream.entry(seq.0).copied() else { return };
    if entry.settled {
        return;
    }
    let (stratum, index) = (stream.stratum(entry.epoch), stream.spec.stream);
    let Some(publication) = stream.spec.book.read(seq) else {
        tally.lapped += 1;
        obligations(tally, stratum).void += 1;
        mark_settled(stream, seq);
        return;
    };
    if let Some(received) = entry.received() {
        match publication.outcome {
            Outcome::InFlight => return,
            // Void: the publisher gave it up in the very moment in which this witness got it.
            Outcome::Accepted | Outcome::Unknown | Outcome::Recovered | Outcome::Void => {
                let latency = received.since(publication.sent);
                let which = (seq, entry.epoch);
                count_delivery(stream, which, publication.sent, latency, judge.config, tally);
            }
            Outcome::Rejected | Outcome::Unsent => {
                obligations(tally, stratum).void += 1;
                tally.beside.entry(received.second()).or_default().unexpected += 1;
                let (at, kind, stream) = (received, IncidentKind::Unexpected, Some(index));
                tally.incident(Incident { at, kind, stream, seq: Some(seq), cause: None });
            }
        }
        mark_settled(stream, seq);
        return;
    }
    let (kind, cause) = match judge.end(&publication) {
        End::Pending => return,
        // It came, and waits for one that came before it.
        End::Short(_) | End::Void if stream.is_ahead(seq) => return,
        End::Void => {
            obligations(tally, stratum).void += 1;
            mark_settled(stream, seq);
            return;
        }
        End::Short(shortfall) => {
            shortfalls.push((index, seq, shortfall));
            match shortfall {
                Shortfall::Lost => {
                    obligations(tally, stratum).lost += 1;
                    (IncidentKind::Lost, None)
                }
                Shortfall::Missed(cause) | Shortfall::Unsure(cause) => {
                    obligations(tally, stratum).missed_offline += 1;
                    let of = (publication.sent.second(), cause);
                    *tally.missed.entry(of).or_default() += 1;
                    (IncidentKind::MissedOffline, Some(cause))
                }
            }
        }
    };
    let incident =
        Incident { at: publication.sent, kind, stream: Some(index), seq: Some(seq), cause };
    tally.incident(incident);
    mark_settled(stream, seq);
}

fn mark_settled(stream: &mut Stream, seq: Seq) {
    if let Some(entry) = stream.entry(seq.0) {
        entry.settled = true;
    }
}
