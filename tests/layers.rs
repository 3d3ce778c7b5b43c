//! Holds the sources to what ARCHITECTURE.md says: who may import whom, and the size of files and
//! lines.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected has failed"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer with what it may import, as ARCHITECTURE.md's table has it.
const LAYERS: &[(&str, &[&str])] = &[
    ("agent", &["probes", "scenario", "net", "provider", "verify", "pusher", "model"]),
    ("bench", &["agent", "rehearsal", "report", "net", "verify", "pusher", "model"]),
    ("cli", &["agent", "verify", "model"]),
    ("exit", &["agent", "verify", "model"]),
    ("history", &["report", "verify", "model"]),
    ("journal", &["verify", "model"]),
    ("metrics", &["scenario", "verify", "model"]),
    ("model", &[]),
    ("net", &["pusher", "model"]),
    ("probes", &["net", "verify", "pusher", "model"]),
    ("provider", &["verify"]),
    ("pusher", &["model"]),
    ("rehearsal", &["pusher", "model"]),
    ("report", &["scenario", "verify", "model"]),
    ("scenario", &["verify", "pusher", "model"]),
    ("serve", &["net", "model"]),
    ("verify", &["model"]),
];

/// They compose everything, and nobody imports them.
const COMPOSERS: [&str; 3] = ["cmd", "lib", "main"];

/// No socket, runtime, environment or file: crates and modules that these layers do not name.
const PURE: [&str; 7] = ["journal", "model", "provider", "pusher", "report", "scenario", "verify"];
const IMPURE: [&str; 6] = ["tokio", "hyper", "std::net", "std::fs", "std::env", "rustls"];

const FILE_LINES_MAX: usize = 700;
const LINE_CHARS_MAX: usize = 100;

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every source file: its layer, its path from the root, its text.
fn all() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |path: PathBuf| {
        let shown = path.strip_prefix(root).unwrap().display().to_string();
        let inside = path.strip_prefix(root.join("src")).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
        (first.trim_end_matches(".rs").to_owned(), shown, fs::read_to_string(&path).unwrap())
    };
    sources(&root.join("src")).into_iter().map(file).collect()
}

/// Code alone: neither comments nor what a test module imports.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let code = text.get(..tests).unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The modules that follow `crate::`, also within `use crate::{a, b::c}`.
fn imports(text: &str) -> BTreeSet<String> {
    let code: String = code(text).collect::<Vec<_>>().join(" ");
    let mut found = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        // `$crate::` and `some_crate::` are others.
        let before = code.get(..at).and_then(|b| b.chars().next_back());
        if before.is_some_and(|c| c == '_' || c == '$' || c.is_alphanumeric()) {
            continue;
        }
        let rest = code.get(at + prefix.len()..).unwrap_or_default();
        let name = |text: &str| -> String {
            text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        match rest.strip_prefix('{') {
            None => found.extend([name(rest)]),
            Some(group) => {
                let mut depth = 0;
                let end = group.find(|c| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    depth < 0
                });
                let group = group.get(..end.expect("a closed group")).unwrap_or_default();
                let mut depth = 0;
                let parts = group.split(|c| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    c == ',' && depth == 0
                });
                found.extend(parts.map(name).filter(|n| !n.is_empty()));
            }
        }
    }
    found
}

#[test]
fn imports_go_downwards() {
    let mut wrong = Vec::new();
    for (layer, path, text) in all() {
        if COMPOSERS.contains(&layer.as_str()) {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            panic!("{path} belongs to no layer: ARCHITECTURE.md must say where it stands");
        };
        for import in imports(&text) {
            if import != layer && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{path}: {layer} must not import {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_cycle() {
    // Each layer may import only those whose own imports it may not be part of, however far down.
    fn below(layer: &str, seen: &mut BTreeSet<&str>) {
        let (_, allowed) = LAYERS.iter().find(|(name, _)| *name == layer).expect("a layer");
        for next in *allowed {
            if seen.insert(next) {
                below(next, seen);
            }
        }
    }
    for (layer, _) in LAYERS {
        let mut seen = BTreeSet::new();
        below(layer, &mut seen);
        assert!(!seen.contains(layer), "{layer} imports itself by way of {seen:?}");
    }
}

#[test]
fn the_architecture_says_the_same() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md"));
    let text = text.unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|l| *l != "## Layers")
        .skip_while(|l| !l.starts_with('|'))
        .skip(2)
        .take_while(|l| l.starts_with('|'))
        .map(|l| l.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for (layer, allowed) in LAYERS {
        let row = rows.iter().find(|r| r.first().is_some_and(|n| names(n).contains(*layer)));
        let row = row.unwrap_or_else(|| panic!("ARCHITECTURE.md's table has no row for {layer}"));
        let said = names(row.get(2).expect("three columns"));
        let allowed: BTreeSet<_> = allowed.iter().map(|a| (*a).to_owned()).collect();
        assert_eq!(said, allowed, "what {layer} may import: ARCHITECTURE.md, and this test");
    }
}

/// The words in backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn pure_layers_name_nothing_impure() {
    let mut wrong = Vec::new();
    for (layer, path, text) in all() {
        if !PURE.contains(&layer.as_str()) {
            continue;
        }
        for line in code(&text) {
            let names = |word: &&&str| line.contains(&format!("{word}::"));
            if let Some(word) = IMPURE.iter().find(names) {
                wrong.push(format!("{path}: {word}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names of what nobody else may know, and how fields that bear them may be held: by types whose
/// `Debug` shows nothing, or as what a server's answer is read into and no longer.
const SECRET_NAMES: [&str; 9] = [
    "secret",
    "shared_secret",
    "master_key",
    "password",
    "bearer",
    "cookie",
    "authorization",
    "private_key",
    "credential",
];
const SECRET_TYPES: [&str; 3] = ["Secret", "MasterKey", "SharedSecret"];

#[test]
fn secrets_are_held_by_types_that_do_not_show_them() {
    let mut held = 0;
    for (layer, path, text) in all() {
        // A rehearsal's server reads what it is asked with, and says it to nobody.
        if layer == "rehearsal" {
            continue;
        }
        for line in code(&text).filter(|line| !line.contains("fn ")) {
            let Some((name, of)) = line.trim().trim_end_matches(',').split_once(": ") else {
                continue;
            };
            let name = name.rsplit(' ').next().unwrap_or_default();
            let is_type = of.starts_with(|c: char| c.is_ascii_uppercase() || c == '&');
            if !SECRET_NAMES.contains(&name) || !is_type || of == "None" || of.contains('(') {
                continue;
            }
            // What an endpoint answers is read into a form that has no `Debug` at all.
            let is_answer = (path.as_str(), of) == ("src/pusher/endpoint.rs", "Option<String>");
            let is_safe = is_answer || SECRET_TYPES.iter().any(|safe| of.contains(safe));
            assert!(is_safe, "{path} holds {line:?} by a type that shows it");
            held += 1;
        }
    }
    assert!(held > 8, "{held}: what is looked for is not found any more");
}

#[test]
fn files_and_lines_are_short() {
    let mut wrong = Vec::new();
    for (_, path, text) in all() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{path} has {lines} lines; {FILE_LINES_MAX} are enough"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            // A literal is not broken: frames and messages are read whole.
            let is_literal = line.contains('"') || line.ends_with('\\');
            if line.chars().count() > LINE_CHARS_MAX && !is_literal {
                wrong.push(format!("{path}:{number} is longer than {LINE_CHARS_MAX}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::model::{A, B};\nuse crate::{net::dial, verify};\n// crate::comment\n\
                fn f(x: &crate::pusher::X) {}\n#[cfg(test)]\nmod tests {\n use crate::agent;\n}";
    let found: Vec<_> = imports(text).into_iter().collect();
    assert_eq!(found, ["model", "net", "pusher", "verify"]);
}
