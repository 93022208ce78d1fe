//! The OpenAPI document, made from the table of operations and the types of the bodies.

use strum::VariantArray as _;
use utoipa::openapi::{
    ArrayBuilder, ComponentsBuilder, ContentBuilder, HeaderBuilder, HttpMethod, InfoBuilder, LicenseBuilder,
    Object, ObjectBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, Response,
    ResponseBuilder, ResponsesBuilder, ServerBuilder,
    path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
    request_body::RequestBodyBuilder,
    schema::{KnownFormat, Schema, SchemaFormat, SchemaType, Type},
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    tag::TagBuilder,
};

use super::{
    batch,
    me::USER_PROPERTIES,
    odata::{EXTENSIONS, PROPERTIES},
    operation::{HttpOperation, OperationResponse, QueryOption},
    operations,
    paths::{BATCH_PATH, ME_PATH, VERSIONS},
    refusal,
    responses::USERS_READ,
    schemas::{self, RegisterSchema, Schemas, register},
    unknown::IGNORED,
};
use crate::{
    presence::{INTERVALS_MAX, Part},
    service::ReadFrom,
};

const JSON: &str = "application/json";

/// The document's name of the access tokens.
const BEARER: &str = "bearer";

/// The groups of operations, in the order of the page.
const TAGS: [(&str, &str); 5] = [
    ("users", "The presence of one user"),
    ("communications", "The presences of many users, and another path to the presence of one user"),
    ("me", "The user of the access token, and the user's presence"),
    ("subscriptions", "Notifications of changes, which the service sends to a URL"),
    ("batch", "Several requests in one request"),
];

/// The errors of every operation.
const ERRORS: [(&str, &str); 8] = [
    ("400", "A field, the body or the query is invalid; the error names it and says what is allowed."),
    (
        "401",
        "The access token is missing or invalid, or it is a user's token and the operation is on another user.",
    ),
    ("403", "The access token lacks a permission, which the error names."),
    ("421", "The request names a host that is not served; see --allowed-hosts."),
    (
        "429",
        "Too many requests are waiting, or the application exceeds its rate limit; retry after Retry-After.",
    ),
    ("431", "The path, the query and the headers are too long; the limit is 32 KiB."),
    ("500", "A fault of the service, which is logged with the request id."),
    ("503", "The store did not respond in time; a write may have succeeded, and is safe to retry."),
];
/// The further errors of operations with a request body.
const BODY_ERRORS: [(&str, &str); 3] = [
    ("408", "The body did not arrive in time."),
    (
        "413",
        "The body is too large; the limit is 64 KiB for one user, and --message-max-bytes (1 MiB) for many.",
    ),
    ("415", "The Content-Type is not application/json, or the Content-Encoding is not gzip."),
];

/// The OpenAPI document.
#[must_use]
pub fn document() -> OpenApi {
    let mut schemas = Schemas::new();
    let error = register::<refusal::Body>(&mut schemas);
    let mut paths = PathsBuilder::new();
    for (path, operation) in operations::all() {
        let item =
            PathItem::new(operation.method.clone(), operation_of(&path, &operation, &error, &mut schemas));
        paths = paths.path(path, item);
    }
    let batch =
        PathItem::new(HttpMethod::Post, operation_of(BATCH_PATH, &batch::OPERATION, &error, &mut schemas));
    let paths = paths.path(BATCH_PATH, batch);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    // The empty requirement is for services without authentication.
    let security = [SecurityRequirement::new(BEARER, [""; 0]), SecurityRequirement::default()];
    let components = schemas
        .into_iter()
        .fold(ComponentsBuilder::new(), |components, (name, schema)| components.schema(name, schema))
        .security_scheme(BEARER, SecurityScheme::Http(bearer));
    // Generators refuse a license without an identifier.
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("presenced")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Microsoft Graph's presence API, self-hosted. Both versions have the same operations. Every response \
             has a request-id and echoes client-request-id. Every error has the same JSON body.",
        ))
        .license(Some(license));
    OpenApiBuilder::new()
        .info(info.build())
        .tags(Some(TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build())))
        .servers(Some(VERSIONS.map(|version| ServerBuilder::new().url(version).build())))
        .paths(paths.build())
        .security(Some(security))
        .components(Some(components.build()))
        .build()
}

fn operation_of(
    path: &str,
    operation: &HttpOperation,
    error: &str,
    schemas: &mut Schemas,
) -> OperationBuilder {
    let mut responses = ResponsesBuilder::new();
    for (code, text) in ERRORS.iter().chain(if operation.body.is_some() { &BODY_ERRORS[..] } else { &[] }) {
        responses = responses.response(*code, json(text, error));
    }
    if operation.has_observed_time {
        let text = "The session already reflects a later observation. Nothing changed.";
        responses = responses.response("412", json(text, error));
    }
    let code = match operation.response {
        OperationResponse::Created(_) => "201",
        OperationResponse::NoContent => "204",
        _ => "200",
    };
    responses = responses.response(code, with_ignored(success(operation.response, schemas)));
    if path.starts_with("/subscriptions/") {
        let text = "There is no such subscription of the application.";
        responses = responses.response("404", json(text, error));
    }
    responses = match operation.response {
        OperationResponse::EmptyOrNotFound => {
            responses.response("404", json("No such session is live.", error))
        }
        OperationResponse::EmptyOrNoContent => {
            let response = ResponseBuilder::new().description("Success, on /beta.").build();
            responses.response("204", with_ignored(response))
        }
        OperationResponse::Count => {
            responses.response("504", json("The count did not complete in time.", error))
        }
        OperationResponse::Created(_) => {
            let text =
                "The service is set to Graph's limit, and the user and application have a subscription.";
            responses.response("409", json(text, error))
        }
        OperationResponse::Json(_)
        | OperationResponse::NoContent
        | OperationResponse::Empty
        | OperationResponse::Lines
        | OperationResponse::Events => responses,
    };
    let mut builder = OperationBuilder::new()
        .operation_id(Some(operation_id(path, operation.name)))
        .tag(tag(path))
        .summary(Some(operation.summary))
        .description(Some(operation.description))
        .responses(responses.build());
    if path.contains("{id}") {
        builder =
            builder.parameter(if path.starts_with("/subscriptions") { subscription_id() } else { user_id() });
    }
    for option in operation.query {
        builder = builder.parameter(query(*option));
    }
    if operation.replica_read {
        builder = builder.parameter(read_from());
    }
    builder = builder.parameter(prefer());
    if let Some(body) = operation.body {
        builder = builder.request_body(Some(request(body, schemas)));
    }
    builder
}

/// The response 200.
fn success(response: OperationResponse, schemas: &mut Schemas) -> Response {
    let with_text = |about: &str, content_type: &str, schema: Object| {
        let text = ContentBuilder::new().schema(Some(schema)).build();
        ResponseBuilder::new().description(about).content(content_type, text).build()
    };
    let text = || Object::with_type(Type::String);
    match response {
        OperationResponse::Json(register) | OperationResponse::Created(register) => {
            json("Success.", &register(schemas))
        }
        OperationResponse::Count => {
            // Generated clients read an integer only from JSON.
            let number = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
            let number = number.pattern(Some("^[0-9]+$")).build();
            let mut response = with_text("The number of users.", "text/plain", number.clone());
            let about = "The number of users that were read to count them.";
            let header = HeaderBuilder::new().schema(Some(number)).description(Some(about));
            response.headers.insert(USERS_READ.to_string(), header.build().into());
            response
        }
        OperationResponse::Events => with_text("The stream of events.", "text/event-stream", text()),
        OperationResponse::Lines => with_text("The lines.", "application/x-ndjson", text()),
        OperationResponse::Empty
        | OperationResponse::NoContent
        | OperationResponse::EmptyOrNotFound
        | OperationResponse::EmptyOrNoContent => ResponseBuilder::new().description("Success.").build(),
    }
}

/// Adds the header with the ignored names.
fn with_ignored(mut response: Response) -> Response {
    let about = "The unknown properties and query options of the request, separated by commas.";
    let header = HeaderBuilder::new().schema(Some(Object::with_type(Type::String))).description(Some(about));
    response.headers.insert(IGNORED.to_string(), header.build().into());
    response
}

fn request(body: RegisterSchema, schemas: &mut Schemas) -> utoipa::openapi::request_body::RequestBody {
    let schema = Ref::from_schema_name(body(schemas));
    RequestBodyBuilder::new()
        .content(JSON, ContentBuilder::new().schema(Some(schema)).build())
        .required(Some(Required::True))
        .build()
}

fn json(text: &str, schema: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    ResponseBuilder::new().description(text).content(JSON, content).build()
}

fn user_id() -> Parameter {
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(
            "The user id: 1 to 128 visible ASCII characters without \"/\". A GUID may have any spelling, and case \
             does not matter in an id with an \"@\" inside. Placeholders such as \"undefined\" are refused.",
        ))
        .schema(Some(schemas::user_id()))
        .example(Some("fa8bf3dc-eca7-46b7-bad1-db199b62afc3".into()))
        .build()
}

fn subscription_id() -> Parameter {
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The id of the subscription, a GUID."))
        .schema(Some(Object::with_type(Type::String)))
        .example(Some("5b3a9c1e-7c1f-4a53-9e57-0b6d3a2f4c11".into()))
        .build()
}

fn read_from() -> Parameter {
    ParameterBuilder::new()
        .name(ReadFrom::HEADER)
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "`replica` allows a read replica of the database, if there is one, to serve the request; the response may \
             then be stale.",
        ))
        .schema(Some(Object::with_type(Type::String)))
        .build()
}

fn prefer() -> Parameter {
    ParameterBuilder::new()
        .name("Prefer")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "`handling=strict` refuses unknown properties and query options, which presence-ignored names otherwise; \
             `include-extensions` adds the extensions to a presence.",
        ))
        .schema(Some(Object::with_type(Type::String)))
        .build()
}

fn query(option: QueryOption) -> Parameter {
    let (about, schema) = match option {
        QueryOption::Select => {
            let properties = PROPERTIES.iter().chain(&EXTENSIONS).map(ToString::to_string);
            let properties = schemas::one_of(properties);
            let schema = ArrayBuilder::new().items(RefOr::T(properties)).min_items(Some(1)).build().into();
            (
                "The properties of a presence to return, separated by commas. The default is all of Graph's.",
                schema,
            )
        }
        QueryOption::SelectOfUser => {
            let properties = schemas::one_of(USER_PROPERTIES.map(ToOwned::to_owned));
            let schema = ArrayBuilder::new().items(RefOr::T(properties)).min_items(Some(1)).build().into();
            ("The properties of the user to return, separated by commas. The default is all.", schema)
        }
        QueryOption::Top => {
            let number = ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::Integer))
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
                .minimum(Some(1))
                .maximum(Some(crate::presence::USER_IDS_MAX));
            ("The number of presences on a page. The default is 100.", Schema::from(number.build()))
        }
        QueryOption::SubscriptionsTop => {
            let number = ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::Integer))
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
                .minimum(Some(1))
                .maximum(Some(100));
            ("The number of subscriptions on a page. The default is 100.", Schema::from(number.build()))
        }
        QueryOption::Filter => {
            let filter = Object::with_type(Type::String);
            (
                "Only users who are shown with one of the availabilities in it: `availability eq 'Busy'` or \
                 `availability in ('Busy','Away')`. 'Offline' stands for users who prefer to appear offline while \
                 they have a live session.",
                filter.into(),
            )
        }
        QueryOption::At => ("The instant to explain. The default is now.", instant()),
        QueryOption::From => {
            ("Only what was shown after this time. The default is the start of the history.", instant())
        }
        QueryOption::To => ("Only what was shown before this time. The default is now.", instant()),
        QueryOption::Parts => {
            let parts = schemas::one_of(Part::VARIANTS.iter().map(|part| <&str>::from(part).to_owned()));
            let schema = ArrayBuilder::new().items(RefOr::T(parts)).min_items(Some(1)).build().into();
            ("The parts whose spans to include, separated by commas. The default is none.", schema)
        }
        QueryOption::IntervalsTop => {
            let number = ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::Integer))
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
                .minimum(Some(1))
                .maximum(Some(INTERVALS_MAX));
            ("The number of intervals on a page. The default is 100.", Schema::from(number.build()))
        }
        QueryOption::SkipToken => {
            let text = Object::with_type(Type::String);
            ("The start of the page, from @odata.nextLink.", text.into())
        }
        QueryOption::Ids => {
            let ids = ArrayBuilder::new().items(RefOr::T(schemas::user_id())).min_items(Some(1));
            let ids = ids.max_items(Some(crate::presence::USER_IDS_MAX));
            (
                "The user ids, separated by commas, which may be encoded. If the parameter is repeated, each value \
                 is one id, which may contain a comma. The default is all users of the tenant.",
                ids.build().into(),
            )
        }
    };
    ParameterBuilder::new()
        .name(option.name())
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(schema))
        .style(Some(ParameterStyle::Form))
        .explode(Some(false))
        .build()
}

fn instant() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .build()
        .into()
}

/// The operation's name and, to make it unique, the path.
fn operation_id(path: &str, name: &str) -> String {
    let suffix = match path.split('/').nth(1) {
        Some("me") if path != ME_PATH => "_of_me",
        Some("communications") if path.contains("{id}") => "_by_id",
        _ => "",
    };
    format!("{name}{suffix}")
}

fn tag(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("users") => "users",
        Some("me") => "me",
        Some("communications") => "communications",
        Some("subscriptions") => "subscriptions",
        _ => "batch",
    }
}
