//! What surrounds the reading of one scenario: the environment, the problems that were found, and
//! the forms that were asked for.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use serde_json::Value;
use toml::de::DeTable;

use super::form::Forms;

/// Something in a scenario that must be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The key's full path; empty for a mistake of the file's form.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub message: String,
}

/// Every problem of a scenario, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The scenario's name, as the user gave it.
    pub path: String,
    /// What must be changed.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            let colon = if problem.key.is_empty() { "" } else { ": " };
            let Problem { line, key, message } = problem;
            write!(f, "{newline}{}:{line}: {key}{colon}{message}", self.path)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What reading a scenario needs from outside.
pub trait Surroundings {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a file.
    ///
    /// # Errors
    /// Why it cannot be read, in a few words.
    fn file(&self, path: &str) -> Result<String, String>;
    /// Whether every user of the machine may read or change a file.
    fn is_open_to_others(&self, _path: &str) -> bool {
        false
    }
}

/// The gathering place of one file's problems.
pub(super) struct Context<'a> {
    source: &'a str,
    pub(super) surroundings: &'a dyn Surroundings,
    problems: RefCell<Vec<Problem>>,
    described: Option<Described<'a>>,
}

/// Where what is asked for is described.
#[derive(Default)]
struct Described<'a> {
    forms: Forms,
    /// What a table that is not written is taken for: its keys are to be asked for, too.
    absent: DeTable<'a>,
}

impl<'a> Context<'a> {
    pub(super) fn new(source: &'a str, surroundings: &'a dyn Surroundings) -> Self {
        Self { source, surroundings, problems: RefCell::default(), described: None }
    }

    /// For reading an empty file, to learn what is asked for.
    pub(super) fn describing(surroundings: &'a dyn Surroundings) -> Self {
        Self { described: Some(Described::default()), ..Self::new("", surroundings) }
    }

    /// Where what is asked for is described, if it is.
    pub(super) fn forms(&self) -> Option<&Forms> {
        self.described.as_ref().map(|described| &described.forms)
    }

    /// What a table that is not written is taken for.
    pub(super) fn absent(&self) -> Option<&DeTable<'a>> {
        self.described.as_ref().map(|described| &described.absent)
    }

    /// What was asked for, as a JSON Schema.
    pub(super) fn into_schema(self) -> Value {
        self.described.unwrap_or_default().forms.into_value()
    }

    pub(super) fn problem(&self, span: Range<usize>, key: &str, message: impl Into<String>) {
        let before = self.source.get(..span.start.min(self.source.len())).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let problem = Problem { line, key: key.to_owned(), message: message.into() };
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn finish(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        problems.dedup();
        problems
    }
}
