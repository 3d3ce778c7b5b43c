//! What the words of a report mean, and what the checks ask: as the README's tables have it.

use std::fmt::Write;

use crate::report::outcome::Outcome;

impl Outcome<'_> {
    /// What the words mean; of checks those that there are.
    pub(super) fn html_words(&self, out: &mut String) -> std::fmt::Result {
        let is_here = |name: &&(&str, &str)| self.checks.iter().any(|check| check.name == name.0);
        let checks: Vec<_> = CHECKS.iter().filter(is_here).collect();
        writeln!(out, "<details><summary>What is counted</summary>\n<dl class=\"words\">")?;
        for (word, meaning) in WORDS {
            writeln!(out, "<dt>{word}</dt><dd>{}</dd>", emphasised(meaning))?;
        }
        writeln!(out, "</dl></details>")?;
        if checks.is_empty() {
            return Ok(());
        }
        writeln!(out, "<details><summary>When a check passes</summary>\n<dl class=\"words\">")?;
        for (name, asks) in checks {
            writeln!(out, "<dt>{name}</dt><dd>{asks}</dd>")?;
        }
        writeln!(out, "</dl></details>")
    }
}

/// A meaning as the README writes it: every second asterisk ends what the one before began.
fn emphasised(meaning: &str) -> String {
    let parts = meaning.split('*').enumerate();
    let parts = parts.map(|(at, part)| match at % 2 {
        0 => part.to_owned(),
        _ => format!("<i>{part}</i>"),
    });
    parts.collect()
}

/// What is counted.
pub(super) const WORDS: &[(&str, &str)] = &[
    (
        "publication",
        "one canary event on one cluster. Accepted, rejected, or *unknown*: the answer never came",
    ),
    (
        "recovered, void",
        "an unknown publication that some witness got; one that none got, and that is not owed",
    ),
    (
        "unsent",
        "the schedule asked for it, but too many requests were unanswered already. It counts \
         against publish, and taints its second",
    ),
    ("witness", "a WebSocket connection that listens on one cluster"),
    (
        "obligation",
        "a publication that a witness is owed. Each ends as exactly one of the next five",
    ),
    ("delivered", "an intact copy came within the deadline"),
    ("late", "it came after the deadline, before the horizon"),
    (
        "lost",
        "it never came, though the witness was subscribed all the time, and its connection proved \
         alive afterwards",
    ),
    (
        "missed offline",
        "it never came, and the witness was disconnected for part of the time. A user would have \
         missed it too",
    ),
    ("void", "it was not owed after all: rejected, or unknown and never seen"),
    ("duplicates", "further copies of what a witness already had"),
    ("reordered", "a copy overtaken by an event that was sent only after this one was accepted"),
    (
        "corrupt, misrouted, unexpected",
        "damaged; on the wrong channel or cluster; a copy of a rejected publication",
    ),
    (
        "blind windows",
        "times in which a witness was not subscribed. Those by reconnects on purpose (recycle) \
         are not held against the cluster, unless it kept the witness from coming back",
    ),
    (
        "loss rate below",
        "what this run rules out. No losses in 4,560 events do not prove that there are none; \
         they prove a rate below 0.066 % at 95 % confidence",
    ),
    (
        "events covered on both",
        "events that every witness on both clusters got, but for one that was reconnecting on \
         purpose while another saw it. The others are what you fear",
    ),
    (
        "watermark",
        "from when to when every event sent was covered: from the first after the last uncovered \
         one to the last before the first that is not settled",
    ),
    (
        "compared",
        "what a check holds against its limit: what was seen, or, for loss, coverage and latency, \
         the bound that the evidence allows",
    ),
    (
        "tainted seconds",
        "seconds in which the canary itself was late or stalled, or its machine let it down: no file \
         descriptor, port or route left, a clock that was stepped. They neither accuse nor acquit",
    ),
];

/// When each check passes.
pub(super) const CHECKS: &[(&str, &str)] = &[
    (
        "evidence",
        "there were enough trials for the asked proof; nothing was left undecided; every witness \
         sees at the end",
    ),
    (
        "strata",
        "every kind of channel was tried by every route, and on a reconnected witness where \
         recycle makes some",
    ),
    ("controls", "every negative control fired"),
    (
        "loss",
        "the rate of lost publications, or of uncovered events, is proved to be below \
         gate.loss_rate_max",
    ),
    (
        "coverage",
        "the rate of lost publications, or of uncovered events, is proved to be below \
         gate.loss_rate_max",
    ),
    ("loss-new-vs-old", "new does not lose significantly more than old; shown, never required"),
    ("duplicates", "no more further copies, and no more copies out of order, than allowed"),
    ("order", "no more further copies, and no more copies out of order, than allowed"),
    ("integrity", "nothing corrupt or unexpected; nothing on a wrong channel or cluster"),
    ("misrouting", "nothing corrupt or unexpected; nothing on a wrong channel or cluster"),
    ("publish", "enough of what was sent was accepted, and answered fast enough"),
    ("publish-time", "enough of what was sent was accepted, and answered fast enough"),
    ("blind", "little enough was missed offline"),
    (
        "late",
        "deliveries kept the deadline, the limit on p99 if there is one, and new is not slower \
         than old",
    ),
    (
        "latency",
        "deliveries kept the deadline, the limit on p99 if there is one, and new is not slower \
         than old",
    ),
    (
        "latency-new-vs-old",
        "deliveries kept the deadline, the limit on p99 if there is one, and new is not slower \
         than old",
    ),
    (
        "latency-trend",
        "the last third of the run was not slower than the first: no queue builds up",
    ),
    ("connect", "connecting was fast enough; the cluster confirmed what was signed"),
    ("auth", "connecting was fast enough; the cluster confirmed what was signed"),
    ("left-behind", "after the run the cluster's API shows its channels as empty again"),
    (
        "drained",
        "in the phase drain, and there alone: no channel of old has been occupied for \
         gate.drained_for",
    ),
    (
        "status-page",
        "where the scenario names the provider's status page: from the beginning of publishing to \
         the end every watched component was operational",
    ),
    (
        "auth-endpoint",
        "where the scenario names your application's auth endpoints: they sign what they must for \
         the cluster that they are for and nothing else, fast enough, and by HTTPS",
    ),
    (
        "user-auth-endpoint",
        "where the scenario names your application's auth endpoints: they sign what they must for \
         the cluster that they are for and nothing else, fast enough, and by HTTPS",
    ),
    (
        "mirror",
        "where the scenario has a [sample]: your application's own events were the same on both \
         clusters, but for the share that gate.mirror_ratio_max allows",
    ),
    (
        "published",
        "where drain.mirror_report names the report of an earlier run: that run saw no real event on new \
         only, and ended lately",
    ),
    (
        "parity",
        "where the scenario has a [parity]: both apps behave alike in everything that was tried, but \
         for what parity.accept names",
    ),
    (
        "webhooks",
        "where the scenario has [webhooks]: webhooks came, and none was lost by what the HTTP API shows of \
         channels that come and go. It is open where the agent may have lost them, or could not read \
         the API",
    ),
    (
        "handover",
        "where the scenario has a [handover]: every virtual client arrived on new, and missed no \
         more than gate.handover_missed_max allows; without that limit, an overlap misses nothing",
    ),
    (
        "load",
        "where the scenario has a [load]: at least gate.load_connected_min of the simulated clients \
         connected, of their tries succeeded and of their connections stayed; they got \
         gate.load_delivered_min of what they are owed in time, and lost no more than \
         gate.loss_rate_max",
    ),
    ("budget", "in a watch, and there alone: what may be billed today is not used up"),
    (
        "instrument",
        "at most 5 % of the seconds are tainted, the wall clock was not stepped, and the books \
         balance",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = include_str!("../../../README.md");

    #[test]
    fn the_words_are_those_of_the_readme() {
        let readme = README.replace('`', "");
        for (word, meaning) in WORDS {
            let row = format!("| {word} | {meaning} |");
            assert!(readme.contains(&row), "the README lacks {row}");
        }
        let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| word ");
        let table = README.split("| word | meaning |").nth(1).unwrap();
        let rows = table.split("\n\n").next().unwrap().lines().filter(is_row).count();
        assert_eq!(rows, WORDS.len(), "the README has other words as well");
    }

    #[test]
    fn the_checks_are_those_of_the_readme() {
        let table = README.split("| check | passes if |").nth(1).unwrap();
        let table = table.split("\n\n").next().unwrap().replace('`', "");
        for (name, asks) in CHECKS {
            let mut rows = table.lines().filter(|row| {
                let names = row.split('|').nth(1).unwrap_or_default();
                names.split(',').any(|of| of.trim() == *name)
            });
            let row = rows.next().unwrap_or_else(|| panic!("the README lacks {name}"));
            assert!(row.contains(asks), "{name}: {row}");
        }
        let names = table.lines().filter_map(|row| row.split('|').nth(1));
        let names = names.flat_map(|names| names.split(',')).map(str::trim);
        for name in names.filter(|name| !name.starts_with("---")) {
            let is_known = CHECKS.iter().any(|(known, _)| *known == name);
            assert!(is_known, "the page does not explain {name}");
        }
    }
}
