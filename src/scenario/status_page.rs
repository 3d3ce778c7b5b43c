//! `[status_page.old]` and `[status_page.new]`: what a hosted provider publishes of a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use url::Url;

use crate::model::ClusterRole;
use crate::verify::status_page::COMPONENTS_MAX;

use super::clusters::{read_ca_file, url};
use super::file::{SECOND_MS, bounded};
use super::reader::Section;

/// Most characters of a component's name.
const NAME_MAX: usize = 200;
/// What can be read, and is not blank.
const NAME: &str = r"^[^\u0000-\u001f\u007f-\u009f]*\S[^\u0000-\u001f\u007f-\u009f]*$";

/// A cluster's status page.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusPage {
    /// The page's address, to which the paths of its API are added.
    pub url: Url,
    /// Names or ids of the components to watch; none: all of the page.
    pub components: Vec<String>,
    /// Time from one reading to the next.
    pub refresh: Duration,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_pem: Option<String>,
}

impl StatusPage {
    /// The page's address as people write it.
    pub fn address(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }
}

/// Reads the section; `written` are the clusters that the scenario has.
pub(super) fn read(
    section: &mut Section<'_>,
    written: &[ClusterRole],
) -> BTreeMap<ClusterRole, StatusPage> {
    let mut pages = BTreeMap::new();
    for (role, key) in [(ClusterRole::Old, "old"), (ClusterRole::New, "new")] {
        let mut table = section.section(key);
        if !table.is_present() {
            continue;
        }
        if !written.contains(&role) {
            let message = format!("is of a cluster that is missing: there is no [clusters.{key}]");
            section.problem(key, message);
        }
        if let Some(page) = read_page(&mut table) {
            pages.insert(role, page);
        }
        table.finish();
    }
    pages
}

fn read_page(table: &mut Section<'_>) -> Option<StatusPage> {
    if !table.requires("url") {
        table.problem("url", "is missing; give the page's address: \"https://status.pusher.com\"");
    }
    let address = url(table, "url", ["http", "https"]);
    let components = read_components(table);
    let refresh = bounded(table, "refresh", "60s", 10 * SECOND_MS..3_600 * SECOND_MS);
    let ca_pem = read_ca_file(table);
    Some(StatusPage { url: address?, components, refresh, ca_pem })
}

fn read_components(table: &mut Section<'_>) -> Vec<String> {
    let form = || {
        let name = json!({ "type": "string", "pattern": NAME, "maxLength": NAME_MAX });
        json!({ "type": "array", "items": name, "minItems": 1, "maxItems": COMPONENTS_MAX })
    };
    let Some(names) = table.texts("components", form) else { return Vec::new() };
    if names.is_empty() {
        table
            .problem("components", "must name at least one; leave it out to watch all of the page");
    }
    if names.len() > COMPONENTS_MAX {
        table.problem("components", format!("must name at most {COMPONENTS_MAX}"));
    }
    let is_name = |name: &String| {
        let length = name.trim().chars().count();
        (1..=NAME_MAX).contains(&length) && !name.chars().any(char::is_control)
    };
    if !names.iter().all(is_name) {
        table.problem("components", "must be names of 1 to 200 readable characters each, or ids");
    }
    names
}
