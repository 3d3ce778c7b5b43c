//! Texts of a fixed form, for the report's schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! form {
    ($(#[$doc:meta])* $name:ident, $schema:tt) => {
        $(#[$doc])*
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

form! {
    /// An instant.
    Instant, { "type": "string", "format": "date-time" }
}
form! {
    /// An instant, or an empty text.
    InstantOrNothing, {
        "type": "string",
        "anyOf": [{ "format": "date-time" }, { "const": "" }],
    }
}
form! {
    /// An HdrHistogram.
    Histogram, {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^([A-Za-z0-9+/]{4})+([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    }
}
