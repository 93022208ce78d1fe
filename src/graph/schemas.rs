//! Helpers for the schemas of the OpenAPI document.

use strum::VariantArray as _;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr,
        schema::{Schema, SchemaType, Type},
    },
};

use crate::presence::{Activity, Availability, ID_MAX_CHARS};

/// The schemas of a document, by their names.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// Adds the schema of a type, and those it names, and tells its name.
pub(super) type Register = fn(&mut Schemas) -> String;

pub(super) fn register<T: ToSchema + PartialSchema>(schemas: &mut Schemas) -> String {
    let name = T::name().into_owned();
    schemas.push((name.clone(), T::schema()));
    T::schemas(schemas);
    name
}

/// A user id: 1 to 128 visible ASCII characters without `/`.
pub(super) fn user_id() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .min_length(Some(1))
        .max_length(Some(ID_MAX_CHARS))
        .pattern(Some("^[!-.0-~]+$"))
        .build()
        .into()
}

/// A text that is one of some words.
pub(super) fn one_of(words: impl IntoIterator<Item = String>) -> Schema {
    let mut values = Vec::<String>::new();
    for word in words {
        if !values.contains(&word) {
            values.push(word);
        }
    }
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).enum_values(Some(values)).build().into()
}

/// What a presence may show.
pub(super) fn shown_availability() -> Schema {
    one_of(Availability::VARIANTS.iter().map(ToString::to_string))
}

/// What a presence may show.
pub(super) fn shown_activity() -> Schema {
    one_of(Activity::VARIANTS.iter().map(ToString::to_string))
}

/// `TimeOff` as `timeOff`: Graph's enums begin with a small letter.
pub(super) fn camel_case(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}
