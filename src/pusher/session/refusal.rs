//! What an error frame's text and code say of subscriptions.

/// Whether a code is known to be about something else than a subscription: 42xx frames announce a
/// close (or are Reverb's answer to what it cannot read), 4301 and 4302 are limits on client events
/// and on watchlists.
pub(super) const fn is_never_a_refusal(code: Option<i64>) -> bool {
    matches!(code, Some(4200..=4299 | 4301 | 4302))
}

/// Whether an error's text names this channel, and not just a longer name that contains it.
pub(super) fn names(message: &str, channel: &str) -> bool {
    let in_name =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '=' | '@' | ',' | '.' | ';');
    // What ends a sentence may also stand in a name: a word is tried with and without it.
    message
        .split(|c| !in_name(c))
        .any(|word| word == channel || word.trim_end_matches([',', '.', ';']) == channel)
}
