//! Close codes, and what to do about each (Channels docs: protocol, error codes; measured with
//! pusher-js 8.6).

use std::fmt;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CloseCode {
    /// The code of a close frame; 1005 for a close frame without one.
    Code(u16),
    /// No close frame: the transport was cut. Shown as 1006, as a browser does.
    Dropped,
}

impl CloseCode {
    /// The number that a browser would show.
    pub const fn number(self) -> u16 {
        match self {
            Self::Code(code) => code,
            Self::Dropped => 1006,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// What a client does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Connect again at once (42xx).
    AtOnce,
    /// Connect again after a back-off of at least a second (41xx, and what the network did).
    BackOff,
    /// Connect again over TLS; unchanged it is refused (4000).
    WithTls,
    /// Never connect again unchanged (4001–4099, and 4300 upwards as a close code).
    Never,
}

/// What to do after a connection closed with `code`, before or after it was established, and after
/// a `pusher:error` with `code` as its first frame. On an established connection the code of an
/// error frame is not the code of a close: nothing is done about it.
pub const fn retry(code: CloseCode) -> Retry {
    match code {
        CloseCode::Code(4000) => Retry::WithTls,
        CloseCode::Code(4001..=4099 | 4300..) => Retry::Never,
        CloseCode::Code(4200..=4299) => Retry::AtOnce,
        CloseCode::Code(_) | CloseCode::Dropped => Retry::BackOff,
    }
}

/// What a code means, in a few words; empty for codes without a documented meaning.
pub const fn meaning(code: u16) -> &'static str {
    match code {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1005 => "closed without a code",
        1006 => "connection cut without a close frame",
        1008 => "policy violation",
        1009 => "message too big",
        1011 => "server error",
        1012 => "service restart",
        1013 => "try again later",
        4000 => "the app takes TLS only",
        4001 => "the app does not exist in this cluster",
        4003 => "the app is disabled",
        4004 => "over the connection quota",
        4005 => "path not found",
        4006 => "bad version string",
        4007 => "unsupported protocol version",
        4008 => "no protocol version given",
        4009 => "connection unauthorised",
        4100 => "over capacity",
        4200 => "the cluster asks to reconnect",
        4201 => "no pong in time",
        4202 => "closed after 24 hours of inactivity",
        4301 => "client event over the rate limit",
        4302 => "watchlist over its limit",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_ranges_decide() {
        let ranges = [
            (0..=3999, Retry::BackOff),
            (4000..=4000, Retry::WithTls),
            (4001..=4099, Retry::Never),
            (4100..=4199, Retry::BackOff),
            (4200..=4299, Retry::AtOnce),
            (4300..=u16::MAX, Retry::Never),
        ];
        for (codes, expected) in ranges {
            for code in codes {
                assert_eq!(retry(CloseCode::Code(code)), expected, "{code}");
            }
        }
        assert_eq!(retry(CloseCode::Dropped), Retry::BackOff);
    }

    #[test]
    fn a_cut_is_shown_as_browsers_show_it() {
        assert_eq!(CloseCode::Dropped.to_string(), "1006");
        assert_eq!(CloseCode::Code(4200).to_string(), "4200");
        assert_eq!(meaning(CloseCode::Dropped.number()), "connection cut without a close frame");
        assert_eq!(meaning(4002), "", "the documentation leaves it out");
    }
}
