//! The report as JSON: the form that other programs may rely on.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::number;

use super::{Report, SCHEMA};

/// Why a text is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no JSON, or JSON of something else.
    #[error("is no report of pusher-canary: {0}")]
    Form(#[from] serde_json::Error),
    /// It is a report of another kind.
    #[error("is another report of pusher-canary than this, or of another version: {0}")]
    Kind(serde_json::Error),
    /// It holds a number to which nothing of a run comes.
    #[error("holds {0}, to which nothing of a run comes: it was changed or damaged")]
    Number(String),
    /// It is a report of another form.
    #[error("has schema {0}, and this version reads {SCHEMA}; use the version that wrote it")]
    Schema(u32),
}

/// For people and programs, with a newline at its end.
pub(super) fn pretty(value: &impl Serialize) -> String {
    // Every map key is a string or a number, so this cannot fail.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// For programs alone.
pub(super) fn compact(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Report {
    /// The report as JSON with a newline at its end.
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// Reads what [`Report::to_json`] wrote.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        read(text)
    }
}

/// Reads what says of itself that it has the schema of this version.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, ReadError> {
    #[derive(serde::Deserialize)]
    struct Head {
        schema: u32,
    }
    let Head { schema } = serde_json::from_str(text)?;
    if schema != SCHEMA {
        return Err(ReadError::Schema(schema));
    }
    if let Some(number) = number::too_large(text) {
        return Err(ReadError::Number(number.to_owned()));
    }
    // What is wrong may be the name of one among very many.
    serde_json::from_str(text).map_err(ReadError::Kind)
}
