//! Checks the service's responses against its OpenAPI document, with an independent
//! validator.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use jsonschema::Validator;
use serde_json::{Value, json};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(presenced::graph::document()).unwrap();
    for (name, schema) in document["components"]["schemas"].as_object_mut().unwrap() {
        let Some(properties) = schema["properties"].as_object() else { continue };
        // The tests do not use `$select`, so every property is present.
        if name == "Presence" {
            let optional =
                ["@odata.context", "lastChangeDateTime", "lastActiveDateTime", "historyStartDateTime"];
            let all = properties.keys().filter(|name| !optional.contains(&name.as_str()));
            schema["required"] = all.cloned().collect::<Vec<_>>().into();
        }
        // A property that the document does not name is an error.
        schema["additionalProperties"] = false.into();
    }
    document
});

/// The validator of a body, by method, path in the document, and status.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Validator>>> = LazyLock::new(Mutex::default);

/// Checks that the document has this response for the operation at the path.
#[track_caller]
pub fn check(method: &str, path: &str, status: u16, content_type: Option<&str>, body: &str) {
    let path = path_in_document(path);
    let operation = &DOCUMENT["paths"][&path][method];
    assert!(operation.is_object(), "{method} {path} is not in the document");
    let response = &operation["responses"][status.to_string()];
    assert!(response.is_object(), "{method} {path}: {status} is not in the document: {body}");
    let Some(content) = response["content"].as_object() else {
        assert_eq!((content_type, body), (None, ""), "{method} {path}: {status} has no body");
        return;
    };
    let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    let media = content.get(essence).unwrap_or_else(|| panic!("{method} {path} {status}: {content_type:?}"));
    let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let validator = validators.entry(format!("{method} {path} {status}")).or_insert_with(|| {
        let mut schema = media["schema"].clone();
        schema["components"] = DOCUMENT["components"].clone();
        jsonschema::draft202012::new(&schema).expect("the document's schemas are valid")
    });
    let json = serde_json::from_str(body).ok().filter(|_| essence == "application/json");
    let body: Value = json.unwrap_or_else(|| json!(body));
    let errors: Vec<String> =
        validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{method} {path} {status}: {errors:?} in {body}");
}

/// Converts `/v1.0/users/u/presence` to `/users/{id}/presence`.
fn path_in_document(path: &str) -> String {
    let path = path.trim_start_matches("/v1.0").trim_start_matches("/beta");
    let mut segments: Vec<&str> = path.split('/').collect();
    match segments.as_slice() {
        ["", "users", ..] => segments[2] = "{id}",
        ["", "communications", "presences", id, ..] if *id != "$count" => segments[3] = "{id}",
        _ => {}
    }
    segments.join("/")
}
