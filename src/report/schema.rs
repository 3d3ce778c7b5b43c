//! The forms that other programs may rely on, as JSON Schemas (draft 2020-12). They follow from the
//! types that are written.
//!
//! A key that a schema requires is in every report of its version; further keys are allowed, for a
//! later version may add some.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::bench::Bench;
use super::live::VerdictNow;
use super::{Matrix, Pool, Report};

/// The schema of a report: what `--report-json` writes.
pub fn report() -> Schema {
    of::<Report>()
}

/// The schema of several runs judged together: what `gate --report-json` writes.
pub fn gate() -> Schema {
    of::<Pool>()
}

/// The schema of two apps compared: what `parity --report-json` writes.
pub fn parity() -> Schema {
    of::<Matrix>()
}

/// The schema of what a machine can do: what `bench --report-json` writes.
pub fn bench() -> Schema {
    of::<Bench>()
}

/// The schema of a verdict on a window: what a watch serves at `/api/verdict`.
pub fn verdict() -> Schema {
    of::<VerdictNow>()
}

fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let generator = settings.with_transform(RecursiveTransform(tidy)).into_generator();
    generator.into_root_schema_for::<T>()
}

/// Doc comments are broken into lines, which a description is not; and what is always written has
/// no use for the default that stands in for it where it is not.
fn tidy(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    schema.remove("default");
}
