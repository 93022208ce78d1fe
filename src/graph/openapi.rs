//! The document of the API, made from the table of its operations and the types
//! that are read and written.

use utoipa::openapi::{
    ArrayBuilder, ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, License, Object, ObjectBuilder,
    OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder, ResponsesBuilder,
    ServerBuilder,
    path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
    request_body::RequestBodyBuilder,
    schema::{KnownFormat, Schema, SchemaFormat, SchemaType, Type},
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    tag::TagBuilder,
};

use super::{
    batch,
    odata::PROPERTIES,
    operations::{self, HttpOperation, OperationResponse, QueryOption},
    paths::{BATCH_PATH, VERSIONS},
    refusal,
    schemas::{self, Register, Schemas, register},
};
use crate::service::ReadFrom;

const JSON: &str = "application/json";

/// The name of the access tokens in the document.
const BEARER: &str = "bearer";

/// The groups of operations, in the order in which the page shows them.
const TAGS: [(&str, &str); 4] = [
    ("users", "The presence of one user"),
    ("communications", "The presences of many users, and of one by another path"),
    ("me", "The presence of the user whose token it is"),
    ("batch", "Several requests in one"),
];

/// What any request may be answered with, beside a success.
const ERRORS: [(&str, &str); 6] = [
    ("400", "A field, the body or the query is wrong; the answer says which and what is allowed."),
    (
        "401",
        "There is no access token, or it lets nobody in, or it is a user's who may do this to nobody else.",
    ),
    ("403", "The access token lacks a permission, which the answer names."),
    (
        "429",
        "Too many calls are waiting, or the application calls too often; Retry-After says when to try again.",
    ),
    ("500", "A fault of the service; it was logged with the request id."),
    ("503", "The store did not answer in time; a write may or may not have happened, and can be sent again."),
];
/// What a request with a body may be answered with, too.
const BODY_ERRORS: [(&str, &str); 3] = [
    ("408", "The body was not there in time."),
    ("413", "The body is too large: 64 KiB are read for one user, and --message-max-bytes (1 MiB) for many."),
    ("415", "The body is not JSON, or encoded in another way than gzip."),
];

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    let mut schemas = Schemas::new();
    let error = register::<refusal::Body>(&mut schemas);
    let mut paths = PathsBuilder::new();
    for (path, operation) in operations::all() {
        let item = PathItem::new(operation.method.clone(), of(&path, &operation, &error, &mut schemas));
        paths = paths.path(path, item);
    }
    let batch = PathItem::new(HttpMethod::Post, of(BATCH_PATH, &batch::OPERATION, &error, &mut schemas));
    let paths = paths.path(BATCH_PATH, batch);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    // The latter while nobody is authenticated.
    let security = [SecurityRequirement::new(BEARER, [""; 0]), SecurityRequirement::default()];
    let components = schemas
        .into_iter()
        .fold(ComponentsBuilder::new(), |components, (name, schema)| components.schema(name, schema))
        .security_scheme(BEARER, SecurityScheme::Http(bearer));
    let info = InfoBuilder::new()
        .title("presenced")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Microsoft Graph's presence API, self-hosted. Both versions offer the same. Every answer has a \
             request-id, and echoes client-request-id; every error has the same JSON body.",
        ))
        .license(Some(License::new("Apache-2.0")));
    OpenApiBuilder::new()
        .info(info.build())
        .tags(Some(TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build())))
        .servers(Some(VERSIONS.map(|version| ServerBuilder::new().url(version).build())))
        .paths(paths.build())
        .security(Some(security))
        .components(Some(components.build()))
        .build()
}

fn of(path: &str, operation: &HttpOperation, error: &str, schemas: &mut Schemas) -> OperationBuilder {
    let mut responses = ResponsesBuilder::new();
    for (code, text) in ERRORS.iter().chain(if operation.body.is_some() { &BODY_ERRORS[..] } else { &[] }) {
        responses = responses.response(*code, json(text, error));
    }
    responses = match operation.answer {
        OperationResponse::Json(answer) => responses.response("200", json("Done.", &answer(schemas))),
        OperationResponse::Count => {
            let number = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)).minimum(Some(0));
            let text = ContentBuilder::new().schema(Some(number)).build();
            responses.response(
                "200",
                ResponseBuilder::new().description("The number.").content("text/plain", text).build(),
            )
        }
        OperationResponse::Events => {
            let text = ContentBuilder::new().schema(Some(Object::with_type(Type::String))).build();
            let response = ResponseBuilder::new().description("The stream has begun.");
            responses.response("200", response.content("text/event-stream", text).build())
        }
        OperationResponse::Empty
        | OperationResponse::EmptyOrNotFound
        | OperationResponse::EmptyOrNoContent => {
            responses.response("200", ResponseBuilder::new().description("Done.").build())
        }
    };
    responses = match operation.answer {
        OperationResponse::EmptyOrNotFound => {
            responses.response("404", json("No such session is live.", error))
        }
        OperationResponse::EmptyOrNoContent => {
            responses.response("204", ResponseBuilder::new().description("Done, on /beta.").build())
        }
        OperationResponse::Json(_)
        | OperationResponse::Count
        | OperationResponse::Empty
        | OperationResponse::Events => responses,
    };
    let mut builder = OperationBuilder::new()
        .operation_id(Some(operation_id(path, operation.name)))
        .tag(tag(path))
        .summary(Some(operation.summary))
        .description(Some(operation.description))
        .responses(responses.build());
    if path.contains("{id}") {
        builder = builder.parameter(user_id());
    }
    for option in operation.query {
        builder = builder.parameter(query(*option));
    }
    if operation.may_be_old {
        builder = builder.parameter(read_from());
    }
    if let Some(body) = operation.body {
        builder = builder.request_body(Some(request(body, schemas)));
    }
    builder
}

fn request(body: Register, schemas: &mut Schemas) -> utoipa::openapi::request_body::RequestBody {
    let schema = Ref::from_schema_name(body(schemas));
    RequestBodyBuilder::new()
        .content(JSON, ContentBuilder::new().schema(Some(schema)).build())
        .required(Some(Required::True))
        .build()
}

fn json(text: &str, schema: &str) -> utoipa::openapi::Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    ResponseBuilder::new().description(text).content(JSON, content).build()
}

fn user_id() -> Parameter {
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The user: 1 to 128 visible ASCII characters without \"/\"; a GUID in any case."))
        .schema(Some(schemas::user_id()))
        .example(Some("fa8bf3dc-eca7-46b7-bad1-db199b62afc3".into()))
        .build()
}

fn read_from() -> Parameter {
    ParameterBuilder::new()
        .name(ReadFrom::HEADER)
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "`replica`: the answer may be old, from a read replica of the database, if the service has one.",
        ))
        .schema(Some(Object::with_type(Type::String)))
        .build()
}

fn query(option: QueryOption) -> Parameter {
    let (name, about, schema) = match option {
        QueryOption::Select => {
            let properties = schemas::one_of(PROPERTIES.map(ToOwned::to_owned));
            let schema = ArrayBuilder::new().items(RefOr::T(properties)).min_items(Some(1)).build().into();
            ("$select", "Properties of a presence, with commas between them; all if not given.", schema)
        }
        QueryOption::Top => {
            let number = ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::Integer))
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
                .minimum(Some(1))
                .maximum(Some(crate::presence::USER_IDS_MAX));
            ("$top", "The presences on a page; 100 if not given.", Schema::from(number.build()))
        }
        QueryOption::SkipToken => {
            ("$skiptoken", "From @odata.nextLink: where the page begins.", schemas::user_id())
        }
        QueryOption::Ids => {
            let ids = ArrayBuilder::new().items(RefOr::T(schemas::user_id())).min_items(Some(1));
            let ids = ids.max_items(Some(crate::presence::USER_IDS_MAX));
            (
                "ids",
                "The users, with commas between them, encoded or not. Input several times, each is one user, \
                 whose id may hold a comma.",
                ids.build().into(),
            )
        }
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(if option == QueryOption::Ids { Required::True } else { Required::False })
        .description(Some(about))
        .schema(Some(schema))
        .style(Some(ParameterStyle::Form))
        .explode(Some(false))
        .build()
}

/// Unique in the document: the operation, and below which of the paths.
fn operation_id(path: &str, name: &str) -> String {
    let place = match path.split('/').nth(1) {
        Some("me") => "_of_me",
        Some("communications") if path.contains("{id}") => "_by_id",
        _ => "",
    };
    format!("{name}{place}")
}

fn tag(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("users") => "users",
        Some("me") => "me",
        Some("communications") => "communications",
        _ => "batch",
    }
}
