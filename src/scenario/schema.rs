//! A scenario's JSON Schema (draft 2020-12): the form of each key from the reader that reads it,
//! and what it means from `docs/scenario.md`, which explains them to people.

use serde_json::{Value, json};

use super::{file, form};

/// Where every key is explained.
const REFERENCE: &str = include_str!("../../docs/scenario.md");

/// The schema, for editors and for whoever writes scenarios by a program.
///
/// It says what is true of a file by itself. It knows neither variables nor files, does not measure
/// durations, and relates no keys to each other but a cluster's and the phase.
pub fn scenario() -> Value {
    let mut schema = file::form();
    for Entry { keys, meaning, is_row } in entries(REFERENCE) {
        for key in keys.iter().filter(|_| !meaning.is_empty()) {
            explain(&mut schema, key, &meaning, is_row);
        }
    }
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".to_owned(), json!("A scenario of pusher-canary"));
    }
    schema
}

/// What the reference says of a key or a section.
struct Entry {
    /// Both clusters have the same keys, and one entry for each.
    keys: Vec<String>,
    meaning: String,
    /// Whether it is a row of a table: then it explains the keys below as well.
    is_row: bool,
}

fn entries(reference: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in reference.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let names = heading.split('`').skip(1).step_by(2);
            let keys = names.map(|name| name.trim_matches(['[', ']']).to_owned()).collect();
            entries.push(Entry { keys, meaning: String::new(), is_row: false });
        } else if let Some(row) = line.strip_prefix("| `") {
            let mut cells = row.split('|').map(|cell| cell.trim());
            let key = cells.next().unwrap_or_default().trim_end_matches('`').to_owned();
            let meaning = cells.nth(1).unwrap_or_default().to_owned();
            let keys = vec![key.replace(".new.", ".old."), key];
            entries.push(Entry { keys, meaning, is_row: true });
        } else if let Some(section) = entries.last_mut().filter(|entry| !entry.is_row)
            && !line.starts_with('|')
        {
            let gap = if section.meaning.is_empty() || line.is_empty() { "" } else { " " };
            section.meaning.push_str(gap);
            section.meaning.push_str(line);
        }
    }
    entries
}

fn explain(schema: &mut Value, key: &str, meaning: &str, with_keys: bool) {
    let Some(form) = form::find(schema, key).and_then(Value::as_object_mut) else { return };
    form.insert("description".to_owned(), json!(meaning));
    let below = form.get_mut("properties").and_then(Value::as_object_mut);
    for form in below.into_iter().flat_map(|keys| keys.values_mut()).filter(|_| with_keys) {
        if let Some(form) = form.as_object_mut() {
            form.insert("description".to_owned(), json!(meaning));
        }
    }
}
