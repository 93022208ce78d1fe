//! Helpers for the schemas of the OpenAPI document.

use serde_json::json;
use strum::VariantArray as _;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr,
        schema::{Schema, SchemaType, Type},
    },
};

use crate::presence::{Activity, Availability, ID_MAX_CHARS, Pair};

/// The schemas of the document, each with its name.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// A function that adds a type's schema, and the schemas that it refers to, and returns
/// its name.
pub(super) type RegisterSchema = fn(&mut Schemas) -> String;

/// The [`RegisterSchema`] function of `T`.
pub(super) fn register<T: ToSchema + PartialSchema>(schemas: &mut Schemas) -> String {
    let name = T::name().into_owned();
    schemas.push((name.clone(), T::schema()));
    T::schemas(schemas);
    name
}

/// The same for a body whose availability and activity must be one of the pairs.
///
/// The rule is in `dependentSchemas`, which validators apply, because every such body has an availability.
/// Generators of clients do not read it. From a `oneOf` beside the properties they make a union of classes
/// without the other properties.
pub(super) fn register_paired<T: ToSchema + PartialSchema>(schemas: &mut Schemas, pairs: &[Pair]) -> String {
    let name = register::<T>(schemas);
    let pairs = pairs.iter().map(|Pair { availability, activity }| {
        let (availability, activity) = (availability.to_string(), activity.to_string());
        json!({ "properties": { "availability": { "const": availability }, "activity": { "const": activity } } })
    });
    let rule = json!({ "availability": { "oneOf": pairs.collect::<Vec<_>>() } });
    for (_, schema) in schemas.iter_mut().filter(|(registered, _)| *registered == name) {
        if let RefOr::T(Schema::Object(object)) = schema {
            object.extensions.get_or_insert_default().insert("dependentSchemas".to_owned(), rule.clone());
        }
    }
    name
}

/// The schema of a user id: 1 to 128 visible ASCII characters without `/`.
pub(super) fn user_id() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .min_length(Some(1))
        .max_length(Some(ID_MAX_CHARS))
        .pattern(Some("^[!-.0-~]+$"))
        .build()
        .into()
}

/// The schema of a string that is one of these words; duplicates are dropped.
pub(super) fn one_of(words: impl IntoIterator<Item = String>) -> Schema {
    let mut values = Vec::<String>::new();
    for word in words {
        if !values.contains(&word) {
            values.push(word);
        }
    }
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).enum_values(Some(values)).build().into()
}

/// Every availability that a presence may show.
pub(super) fn shown_availability() -> Schema {
    one_of(Availability::VARIANTS.iter().map(ToString::to_string))
}

/// Every activity that a presence may show.
pub(super) fn shown_activity() -> Schema {
    one_of(Activity::VARIANTS.iter().map(ToString::to_string))
}

/// `timeOff` for `TimeOff`: Graph's enum values begin with a lower-case letter.
pub(super) fn camel_case(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}
