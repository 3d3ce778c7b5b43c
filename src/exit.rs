//! Verdict or error → exit code. The one place.

use std::process::ExitCode;

use crate::agent::RunError;
use crate::agent::start::StartError;
use crate::verify::verdict::Verdict;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// GO, or sound.
    Go,
    /// NO-GO.
    NoGo,
    /// The user must change something; nothing was measured.
    Usage,
    /// Nothing can be concluded.
    Inconclusive,
    /// The agent itself failed.
    Failed,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Go => 0,
            Self::NoGo => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Failed => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Go => Self::Go,
            Verdict::NoGo => Self::NoGo,
            Verdict::Inconclusive => Self::Inconclusive,
        }
    }
}

impl From<&RunError> for Exit {
    fn from(error: &RunError) -> Self {
        match error {
            RunError::Start(StartError::Refused { .. })
            | RunError::Tls(..)
            | RunError::Listen(..)
            | RunError::ReceiverTls(_)
            | RunError::Descriptors { .. }
            | RunError::Memory { .. } => Self::Usage,
            RunError::Start(
                StartError::Unreachable { .. }
                | StartError::Timeout { .. }
                | StartError::Unheard { .. }
                | StartError::Silent { .. }
                | StartError::Stopped,
            ) => Self::Inconclusive,
            RunError::Panicked(_) => Self::Failed,
        }
    }
}
