//! Reads TOML tables key by key and gathers every problem instead of stopping at the first.
//!
//! A problem names line and key and never quotes the line: it may hold a secret.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
}

/// The gathering place of one file's problems.
pub(super) struct Context<'a> {
    source: &'a str,
    pub(super) surroundings: &'a dyn Surroundings,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(source: &'a str, surroundings: &'a dyn Surroundings) -> Self {
        Self { source, surroundings, problems: RefCell::default() }
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

/// One table, read key by key. What was not asked for by [`Section::finish`] is unknown.
pub(super) struct Section<'a> {
    pub(super) context: &'a Context<'a>,
    path: String,
    span: Range<usize>,
    table: Option<&'a DeTable<'a>>,
    known: BTreeSet<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn root(context: &'a Context<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        let (path, span) = (String::new(), table.span());
        Self { context, path, span, table: Some(table.get_ref()), known: BTreeSet::new() }
    }

    /// The full path of a key of this table.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) const fn is_present(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        let found = self.table.and_then(|t| t.get_key_value(key));
        found.map_or(self.span.clone(), |(key, _)| key.span())
    }

    /// Notes a problem with a key, or with the table where the key is missing.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.context.problem(self.span_of(key), &self.key(key), message);
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.insert(key);
        self.table.and_then(|t| t.get(key))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|t| t.contains_key(key))
    }

    /// A table below this one; empty where it is missing.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let path = self.key(key);
        let (span, table) = match self.value(key) {
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => (self.span_of(key), Some(table)),
                other => {
                    self.problem(key, wrong_type("a table", other));
                    (value.span(), None)
                }
            },
            None => (self.span.clone(), None),
        };
        Section { context: self.context, path, span, table, known: BTreeSet::new() }
    }

    /// A string, with `${VAR}` replaced by the environment's variables.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => match expand(text, self.context.surroundings) {
                Ok(text) => Some(text),
                Err(message) => {
                    self.problem(key, message);
                    None
                }
            },
            other => {
                self.problem(key, wrong_type("a string", other));
                None
            }
        }
    }

    /// Whether a key's text is written out instead of read from a variable.
    pub(super) fn is_literal(&self, key: &str) -> bool {
        let value = self.table.and_then(|t| t.get(key)).map(Spanned::get_ref);
        value.and_then(DeValue::as_str).is_some_and(|text| !text.contains("${"))
    }

    /// A duration such as `"250ms"`, `"90s"` or `"1h 30m"`.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let value = self.value(key)?;
        let DeValue::String(text) = value.get_ref() else {
            let message = wrong_type("a duration", value.get_ref());
            self.problem(key, format!("{message}; write it as \"5s\", \"250ms\" or \"15m\""));
            return None;
        };
        let parsed = humantime::parse_duration(text);
        if parsed.is_err() {
            let message = format!("{text:?} is no duration; write \"5s\", \"250ms\" or \"15m\"");
            self.problem(key, message);
        }
        parsed.ok()
    }

    /// A number within `range`.
    pub(super) fn number(&mut self, key: &'static str, range: Range<f64>) -> Option<f64> {
        let value = self.value(key)?;
        let parsed = match value.get_ref() {
            DeValue::Float(number) => number.as_str().replace('_', "").parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().replace('_', "").parse::<f64>().ok(),
            other => {
                self.problem(key, wrong_type("a number", other));
                return None;
            }
        };
        let within = |n: &f64| *n >= range.start && *n <= range.end;
        let number = parsed.filter(within);
        if number.is_none() {
            let Range { start, end } = range;
            self.problem(key, format!("must be between {start} and {end}"));
        }
        number
    }

    /// A whole number within `range`, both ends included.
    pub(super) fn integer(&mut self, key: &'static str, range: Range<u64>) -> Option<u64> {
        let value = self.value(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            self.problem(key, wrong_type("a whole number", value.get_ref()));
            return None;
        };
        let text = number.as_str().replace('_', "");
        let parsed = u64::from_str_radix(&text, number.radix()).ok();
        let parsed = parsed.filter(|n| (range.start..=range.end).contains(n));
        if parsed.is_none() {
            let bounds = match range {
                Range { start, end: u64::MAX } => format!("of {start} or more"),
                Range { start, end } => format!("between {start} and {end}"),
            };
            self.problem(key, format!("must be a whole number {bounds}"));
        }
        parsed
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let parsed = value.get_ref().as_bool();
        if parsed.is_none() {
            self.problem(key, wrong_type("true or false", value.get_ref()));
        }
        parsed
    }

    /// A list of strings.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let value = self.value(key)?;
        let texts = value.get_ref().as_array().and_then(|list| {
            list.iter().map(|v| v.get_ref().as_str().map(str::to_owned)).collect()
        });
        if texts.is_none() {
            self.problem(key, "must be a list of strings");
        }
        texts
    }

    /// Takes every key that was not asked for as a mistake; `elsewhere` are keys that are sound but
    /// that this version does nothing with.
    pub(super) fn finish(self, elsewhere: &[&str]) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.known.contains(name) {
                continue;
            }
            let message = if elsewhere.contains(&name) {
                "is not available in this version; remove it".to_owned()
            } else {
                let known = self.known.iter().map(|k| (strsim::damerau_levenshtein(k, name), k));
                match known.min() {
                    Some((distance, known)) if distance <= 3 => {
                        format!("is not a known key; did you mean {known}?")
                    }
                    _ => {
                        let known: Vec<_> = self.known.iter().copied().collect();
                        format!("is not a known key; known here: {}", known.join(", "))
                    }
                }
            };
            self.context.problem(key.span(), &self.key(name), message);
        }
    }
}

fn wrong_type(wanted: &str, got: &DeValue<'_>) -> String {
    format!("must be {wanted}, not {} {}", article(got.type_str()), got.type_str())
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// Replaces `${VAR}`.
fn expand(text: &str, surroundings: &dyn Surroundings) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or("${ without its }; write ${NAME}")?;
        let value = surroundings
            .variable(name)
            .ok_or_else(|| format!("the environment variable {name} is not set; export it"))?;
        if value.is_empty() {
            return Err(format!("the environment variable {name} is empty; give it a value"));
        }
        out.push_str(before);
        out.push_str(&value);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}
