//! What a scenario may hold, as a JSON Schema. The reader states the form of each key as it asks
//! for it, so what is described is what is read.

use std::cell::RefCell;
use std::ops::Range;

use serde_json::{Map, Value, json};

use crate::model::time::human;

/// A text whose every `${` is closed, with a name inside.
const TEXT: &str = r"^([^$]|\$+\{[^}]+\}|\$+[^${])*\$*$";
/// A text with a variable in it.
const VARIABLE: &str = r"\$\{[^}]+\}";

/// The form of a scenario, as far as it was asked for.
pub(super) struct Forms(RefCell<Value>);

impl Default for Forms {
    fn default() -> Self {
        Self(RefCell::new(table()))
    }
}

impl Forms {
    /// States the form of a key of a table.
    pub(super) fn key(&self, path: &str, key: &str, form: Value) {
        self.change(path, |table| {
            let properties = table.entry("properties").or_insert_with(|| json!({}));
            if let Some(properties) = properties.as_object_mut() {
                properties.insert(key.to_owned(), form);
            }
        });
    }

    /// States something else of a table.
    pub(super) fn set(&self, path: &str, keyword: &str, value: Value) {
        self.change(path, |table| {
            table.insert(keyword.to_owned(), value);
        });
    }

    /// Adds to one of a table's lists, such as `required`.
    pub(super) fn add(&self, path: &str, list: &str, entry: Value) {
        self.change(path, |table| {
            if let Some(list) = table.entry(list).or_insert_with(|| json!([])).as_array_mut() {
                list.push(entry);
            }
        });
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Map<String, Value>)) {
        let mut forms = self.0.borrow_mut();
        if let Some(table) = find(&mut forms, path).and_then(Value::as_object_mut) {
            change(table);
        }
    }

    /// All of it.
    pub(super) fn into_value(self) -> Value {
        self.0.into_inner()
    }
}

/// The form of what has this path; the root's is empty.
pub(super) fn find<'a>(root: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut keys = path.split('.').filter(|key| !key.is_empty());
    keys.try_fold(root, |form, key| form.get_mut("properties")?.get_mut(key))
}

/// A table without keys, as yet.
pub(super) fn table() -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": {} })
}

/// A text in which `${VAR}` is replaced.
pub(super) fn text() -> Value {
    json!({ "type": "string", "pattern": TEXT })
}

/// A text that matches a pattern, unless a variable stands in it: then nobody knows beforehand.
pub(super) fn text_like(pattern: &str, default: Option<&str>) -> Value {
    let form = json!({
        "type": "string",
        "pattern": TEXT,
        "anyOf": [{ "pattern": pattern }, { "pattern": VARIABLE }],
    });
    with(form, "default", default)
}

/// One of a few words, or a text with a variable in it.
pub(super) fn word(words: &[&str], default: &str) -> Value {
    json!({
        "type": "string",
        "pattern": TEXT,
        "anyOf": [{ "enum": words }, { "pattern": VARIABLE }],
        "default": default,
    })
}

/// A duration.
pub(super) fn duration(default: Option<&str>) -> Value {
    with(json!({ "type": "string", "pattern": human::PATTERN }), "default", default)
}

/// A duration, or a word in place of one.
pub(super) fn duration_or(word: &str, default: &str) -> Value {
    json!({
        "type": "string",
        "anyOf": [{ "enum": [word] }, { "pattern": human::PATTERN }],
        "default": default,
    })
}

/// A number, both ends of its range included.
pub(super) fn number(range: &Range<f64>, default: Option<f64>) -> Value {
    let Range { start, end } = range;
    with(json!({ "type": "number", "minimum": start, "maximum": end }), "default", default)
}

/// A whole number, both ends of its range included.
pub(super) fn integer(range: &Range<u64>, default: Option<u64>) -> Value {
    let Range { start, end } = *range;
    let form = json!({ "type": "integer", "minimum": start });
    // What has no bound here has one in TOML.
    let form = with(form, "maximum", Some(end).filter(|end| *end < u64::MAX));
    with(form, "default", default)
}

/// `true` or `false`.
pub(super) fn boolean(default: bool) -> Value {
    json!({ "type": "boolean", "default": default })
}

/// A list of texts.
pub(super) fn texts(item: &Value, least: usize, default: Option<&[&str]>) -> Value {
    let mut form = json!({ "type": "array", "items": item, "minItems": least });
    if let (Some(default), Some(fields)) = (default, form.as_object_mut()) {
        fields.insert("default".to_owned(), json!(default));
    }
    form
}

/// One of these sets of keys, whole, and no key of another.
pub(super) fn alternatives(sets: &[&[&str]]) -> Value {
    let only = |set: &&[&str]| {
        let others = sets.iter().filter(|other| *other != set).flat_map(|other| other.iter());
        let barred: Map<_, _> = others.map(|key| ((*key).to_owned(), json!(false))).collect();
        json!({ "required": set, "properties": barred })
    };
    json!({ "oneOf": sets.iter().map(only).collect::<Vec<_>>() })
}

/// Keys of one of these sets at most.
pub(super) fn at_most_one(sets: &[&[&str]]) -> Value {
    let keys = |set: &&[&str]| {
        let any = set.iter().map(|key| json!({ "required": [key] }));
        json!({ "anyOf": any.collect::<Vec<_>>() })
    };
    json!({ "not": { "allOf": sets.iter().map(keys).collect::<Vec<_>>() } })
}

fn with<T: Into<Value>>(mut form: Value, keyword: &str, value: Option<T>) -> Value {
    if let (Some(form), Some(value)) = (form.as_object_mut(), value) {
        form.insert(keyword.to_owned(), value.into());
    }
    form
}
