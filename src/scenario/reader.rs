//! Reads TOML tables key by key and gathers every problem instead of stopping at the first.
//!
//! A problem names line and key and never quotes the line: it may hold a secret.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::context::{Context, Surroundings};
use super::form;

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

    /// Notes a problem with the table as a whole.
    pub(super) fn problem_as_a_whole(&self, message: impl Into<String>) {
        self.context.problem(self.span.clone(), &self.path, message);
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.insert(key);
        self.table.and_then(|t| t.get(key))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|t| t.contains_key(key))
    }

    /// States the form of a key, where forms are asked for.
    fn describe(&self, key: &str, form: impl FnOnce() -> Value) {
        if let Some(forms) = self.context.forms() {
            forms.key(&self.path, key, form());
        }
    }

    /// States the default of a table, where it is not that of its keys.
    pub(super) fn describe_default(&self, value: impl FnOnce() -> Value) {
        if let Some(forms) = self.context.forms() {
            forms.set(&self.path, "default", value());
        }
    }

    /// Whether a key is given that must be.
    pub(super) fn requires(&self, key: &str) -> bool {
        if let Some(forms) = self.context.forms() {
            forms.add(&self.path, "required", key.into());
        }
        self.has(key)
    }

    /// Which of these sets of keys is given; one must be, whole, and no key of another.
    pub(super) fn alternative(&self, sets: &[&[&str]]) -> Given {
        if let Some(forms) = self.context.forms() {
            forms.add(&self.path, "allOf", form::alternatives(sets));
        }
        self.given(sets)
    }

    /// The same where none need be.
    pub(super) fn at_most_one(&self, sets: &[&[&str]]) -> Given {
        if let Some(forms) = self.context.forms() {
            forms.add(&self.path, "allOf", form::at_most_one(sets));
        }
        self.given(sets)
    }

    fn given(&self, sets: &[&[&str]]) -> Given {
        let touched = |set: &&[&str]| set.iter().any(|key| self.has(key));
        if sets.iter().filter(|set| touched(set)).count() > 1 {
            return Given::Several;
        }
        let whole = |set: &&[&str]| set.iter().all(|key| self.has(key));
        sets.iter().position(whole).map_or(Given::Nothing, Given::One)
    }

    /// A table below this one; empty where it is missing.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let path = self.key(key);
        self.describe(key, form::table);
        let (span, table) = match self.value(key) {
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => (self.span_of(key), Some(table)),
                other => {
                    self.problem(key, wrong_type("a table", other));
                    (value.span(), None)
                }
            },
            None => (self.span.clone(), self.context.absent()),
        };
        Section { context: self.context, path, span, table, known: BTreeSet::new() }
    }

    /// A string, with `${VAR}` replaced by the environment's variables.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.describe(key, form::text);
        self.expanded(key)
    }

    /// Such a string that should match a pattern; the caller says what is wrong if it does not.
    pub(super) fn text_like(
        &mut self,
        key: &'static str,
        pattern: &str,
        default: Option<&str>,
    ) -> Option<String> {
        self.describe(key, || form::text_like(pattern, default));
        self.expanded(key)
    }

    /// Such a string that should be one of a few; the caller says what is wrong if it is not.
    pub(super) fn word(
        &mut self,
        key: &'static str,
        default: &str,
        words: &[&str],
    ) -> Option<String> {
        self.describe(key, || form::word(words, default));
        self.expanded(key)
    }

    fn expanded(&mut self, key: &'static str) -> Option<String> {
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
    pub(super) fn duration(&mut self, key: &'static str, default: &str) -> Duration {
        self.describe(key, || form::duration(Some(default)));
        self.span_of_time(key).unwrap_or_else(|| written(default))
    }

    /// A duration, where there may be none.
    pub(super) fn duration_if_given(&mut self, key: &'static str) -> Option<Duration> {
        self.describe(key, || form::duration(None));
        self.span_of_time(key)
    }

    /// A duration, or `None` for the word that stands in its place.
    pub(super) fn duration_or(
        &mut self,
        key: &'static str,
        word: &str,
        default: &str,
    ) -> Option<Duration> {
        self.describe(key, || form::duration_or(word, default));
        let value = self.value(key).and_then(|value| value.get_ref().as_str());
        if value == Some(word) {
            return None;
        }
        Some(self.span_of_time(key).unwrap_or_else(|| written(default)))
    }

    fn span_of_time(&mut self, key: &'static str) -> Option<Duration> {
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

    /// A number within `range`, both ends included.
    pub(super) fn number(&mut self, key: &'static str, default: f64, range: Range<f64>) -> f64 {
        self.describe(key, || form::number(&range, Some(default)));
        self.within(key, range).unwrap_or(default)
    }

    /// Such a number, where there may be none.
    pub(super) fn number_if_given(&mut self, key: &'static str, range: Range<f64>) -> Option<f64> {
        self.describe(key, || form::number(&range, None));
        self.within(key, range)
    }

    fn within(&mut self, key: &'static str, range: Range<f64>) -> Option<f64> {
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
    pub(super) fn integer(&mut self, key: &'static str, default: u64, range: Range<u64>) -> u64 {
        self.describe(key, || form::integer(&range, Some(default)));
        self.whole(key, range).unwrap_or(default)
    }

    /// Such a number, where there may be none.
    pub(super) fn integer_if_given(&mut self, key: &'static str, range: Range<u64>) -> Option<u64> {
        self.describe(key, || form::integer(&range, None));
        self.whole(key, range)
    }

    fn whole(&mut self, key: &'static str, range: Range<u64>) -> Option<u64> {
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
    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        self.describe(key, || form::boolean(default));
        let Some(value) = self.value(key) else { return default };
        let parsed = value.get_ref().as_bool();
        if parsed.is_none() {
            self.problem(key, wrong_type("true or false", value.get_ref()));
        }
        parsed.unwrap_or(default)
    }

    /// A list of strings. The caller says what is wrong with their number, or with one of them.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        form: impl FnOnce() -> Value,
    ) -> Option<Vec<String>> {
        self.describe(key, form);
        let value = self.value(key)?;
        let texts = value.get_ref().as_array().and_then(|list| {
            list.iter().map(|v| v.get_ref().as_str().map(str::to_owned)).collect()
        });
        if texts.is_none() {
            self.problem(key, "must be a list of strings");
        }
        texts
    }

    /// A list of known words, each of them once, and at least one; `default` where there is none.
    /// `what` says what each of them is.
    pub(super) fn choices_or<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        what: &str,
        known: &[(&'static str, T)],
        default: &[T],
    ) -> Vec<T> {
        let defaults = known.iter().filter(|(_, choice)| default.contains(choice));
        let defaults: Vec<_> = defaults.map(|(name, _)| *name).collect();
        let chosen = self.choices(key, what, known, Some(&defaults));
        chosen.unwrap_or_else(|| default.to_vec())
    }

    /// The same; `None` where there is none. `default` is what its form says is taken then.
    pub(super) fn choices<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        what: &str,
        known: &[(&'static str, T)],
        default: Option<&[&str]>,
    ) -> Option<Vec<T>> {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let form = || form::texts(&json!({ "enum": names }), 1, default);
        let given = self.texts(key, form)?;
        let mut chosen = Vec::new();
        for name in &given {
            match known.iter().find(|(known, _)| known == name) {
                Some((_, choice)) if !chosen.contains(choice) => chosen.push(*choice),
                Some(_) => {}
                None => {
                    let message = format!("{name:?} is no {what}; use {}", names.join(", "));
                    self.problem(key, message);
                }
            }
        }
        if given.is_empty() {
            self.problem(key, format!("must name at least one of {}", names.join(", ")));
        }
        Some(chosen)
    }

    /// The same, with `${VAR}` replaced in each.
    pub(super) fn expanded_texts(
        &mut self,
        key: &'static str,
        form: impl FnOnce() -> Value,
    ) -> Option<Vec<String>> {
        let texts = self.texts(key, form)?;
        let expanded: Result<Vec<_>, _> =
            texts.iter().map(|text| expand(text, self.context.surroundings)).collect();
        expanded.map_err(|message| self.problem(key, message)).ok()
    }

    /// Takes every key that was not asked for as a mistake.
    pub(super) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.known.contains(name) {
                continue;
            }
            let known: Vec<_> = self.known.iter().copied().collect();
            let message = match closest(&known, name) {
                Some(known) => format!("is not a known key; did you mean {known}?"),
                None => format!("is not a known key; known here: {}", known.join(", ")),
            };
            self.context.problem(key.span(), &self.key(name), message);
        }
    }
}

/// Which of several sets of keys is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// None is whole.
    Nothing,
    /// This one.
    One(usize),
    /// Keys of more than one.
    Several,
}

/// Which of the known words somebody meant, if one of them is close.
pub(super) fn closest<'a>(known: &[&'a str], given: &str) -> Option<&'a str> {
    let known = known.iter().map(|known| (strsim::damerau_levenshtein(known, given), *known));
    known.min().filter(|(distance, _)| *distance <= 3).map(|(_, known)| known)
}

/// A default, as it would be written.
fn written(text: &str) -> Duration {
    humantime::parse_duration(text).unwrap_or_default()
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
