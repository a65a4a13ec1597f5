//! The interface as an OpenAPI 3.1 document, made of the table of routes and of the types that its
//! handlers take and give.
//!
//! It is written by `keyward openapi`, served at `/v1/openapi.json`, and lies in `config/openapi.json`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use axum::response::IntoResponse as _;
use axum::response::Response;
use http::Method;
use http::StatusCode;
use http::header;
use serde_json::json;
use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;
use utoipa::openapi::ComponentsBuilder;
use utoipa::openapi::ContentBuilder;
use utoipa::openapi::InfoBuilder;
use utoipa::openapi::OpenApi;
use utoipa::openapi::OpenApiBuilder;
use utoipa::openapi::PathItem;
use utoipa::openapi::Paths;
use utoipa::openapi::Ref;
use utoipa::openapi::RefOr;
use utoipa::openapi::Required;
use utoipa::openapi::ResponseBuilder;
use utoipa::openapi::ResponsesBuilder;
use utoipa::openapi::Schema;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::path::Operation;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::path::ParameterBuilder;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::security::HttpAuthScheme;
use utoipa::openapi::security::HttpBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::security::SecurityScheme;

use super::ways::Open;
use super::ways::Way;
use super::ways::ways;
use super::wire::PROBLEM_JSON;
use super::wire::Problem;

const ABOUT: &str = "The interface of keyward over its Unix socket. Who asks is known by the credentials of \
the socket, or by a token where one is shown. A client of the configuration finds its own certificates \
alone. Every refusal is a problem document (RFC 9457). The interface grows by new fields only.";

/// The statuses of refusals, what each is called, and what it means.
const REFUSALS: [(u16, &str, &str); 12] = [
    (400, "BadRequest", "The question or the body cannot be read, or this cannot be done"),
    (401, "BadToken", "The token that was shown lets nobody in"),
    (403, "NotAllowed", "Neither role nor scopes allow it"),
    (404, "NotFound", "There is none that the caller may know of"),
    (406, "NotAcceptable", "It cannot be given in any of the forms that are accepted"),
    (409, "Conflict", "Several match, or it does not go together with what is there"),
    (412, "PreconditionFailed", "It is not, or not any more, what If-Match says"),
    (413, "TooLarge", "The body is too large"),
    (422, "Unprocessable", "What was sent can be read, and cannot be done for what it says"),
    (
        429,
        "TooManyRequests",
        "The caller's share of requests is used up; Retry-After says when to come",
    ),
    (502, "BadGateway", "The CA did not do it"),
    (503, "Unavailable", "A part of the house is not there, or has no room; come again"),
];

/// What may happen to every request.
const ALWAYS: [u16; 6] = [400, 401, 403, 413, 429, 503];

/// The document.
pub fn document() -> OpenApi {
    let mut paths = Paths::new();
    let mut of_problems = vec![(Problem::name().to_string(), Problem::schema())];
    Problem::schemas(&mut of_problems);
    let mut forms: BTreeMap<_, _> = of_problems.into_iter().collect();
    for way in ways() {
        let method = method(&way.method);
        forms.extend(way.sketch.forms.clone());
        let item = PathItem::new(method, operation(&way));
        match paths.paths.get_mut(way.path) {
            Some(known) => known.merge_operations(item),
            None => {
                paths.paths.insert(way.path.to_owned(), item);
            }
        }
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("kw_ and 72 hexadecimal digits")
        .description(Some("A token of `keyward token create`; without one the credentials count"))
        .build();
    let refusals = REFUSALS.map(|(_, name, what)| (name, refusal(what)));
    let components = ComponentsBuilder::new()
        .schemas_from_iter(forms)
        .responses_from_iter(refusals)
        .security_scheme("token", SecurityScheme::Http(bearer))
        .build();
    let info = InfoBuilder::new()
        .title("keyward")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

/// The document as it lies in the file.
pub fn document_text() -> String {
    // A structure of strings and numbers always serialises.
    document().to_pretty_json().unwrap_or_default() + "\n"
}

/// `GET /v1/openapi.json`
pub(super) async fn openapi() -> Response {
    let text = document().to_json().unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn operation(way: &Way) -> Operation {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(name(way)))
        .summary(Some(way.about))
        .parameters(Some(way.sketch.parameters.clone()));
    let mut named = false;
    for part in way.path.split('/') {
        let Some(part) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            continue;
        };
        named = true;
        let parameter = ParameterBuilder::new()
            .name(part)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(of_path(part)))
            .schema(Some(String::schema()));
        operation = operation.parameter(parameter);
    }
    if way.refusals.contains(&412) {
        let parameter = ParameterBuilder::new()
            .name("If-Match")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("Goes on only if the certificate has one of these tags"))
            .schema(Some(String::schema()));
        operation = operation.parameter(parameter);
    }
    if let Some(body) = &way.sketch.body {
        let content = ContentBuilder::new().schema(Some(body.clone())).build();
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .required(Some(Required::True))
            .build();
        operation = operation.request_body(Some(body));
    }
    let mut responses = ResponsesBuilder::new();
    for status in &way.good {
        let mut response = ResponseBuilder::new().description(good(*status));
        if let Some(answer) = answer(way).filter(|_| *status != StatusCode::NOT_MODIFIED) {
            let content = ContentBuilder::new().schema(Some(answer)).build();
            response = response.content("application/json", content);
        }
        for media in way.media {
            let content = ContentBuilder::new().schema(Some(String::schema())).build();
            response = response.content(*media, content);
        }
        responses = responses.response(status.as_str(), response.build());
    }
    let mut refused: BTreeSet<u16> =
        ALWAYS.into_iter().chain(way.refusals.iter().copied()).collect();
    if named {
        refused.extend([404, 409]);
    }
    for (status, name, _) in REFUSALS {
        if refused.contains(&status) {
            let response = RefOr::Ref(Ref::from_response_name(name));
            responses = responses.response(status.to_string(), response);
        }
    }
    let open = match way.need.open {
        Open::Operators => "operators",
        Open::Readers => "operators and observers",
        Open::Owners => "operators, and clients for what is theirs",
    };
    // One, as several come in any order.
    let needs = json!({ "open_to": open, "scope": way.need.scope.word() });
    let needs = Extensions::from_iter([("x-keyward-needs".to_owned(), needs)]);
    operation
        .responses(responses.build())
        .securities(Some([
            SecurityRequirement::default(),
            SecurityRequirement::new("token", Vec::<String>::new()),
        ]))
        .extensions(Some(needs))
        .build()
}

/// The form of what is answered.
fn answer(way: &Way) -> Option<RefOr<Schema>> {
    match way.sketch.answers.as_slice() {
        [] => None,
        [one] => Some(one.clone().into()),
        several => {
            let any = several.iter().fold(AnyOfBuilder::new(), |any, one| any.item(one.clone()));
            Some(Schema::AnyOf(any.build()).into())
        }
    }
}

/// One word for the operation: the method and the path without what varies.
fn name(way: &Way) -> String {
    let parts = way.path.split('/').filter(|part| !part.is_empty() && *part != "v1");
    let plain = parts.map(|part| part.trim_matches(['{', '}']).replace(['-', '.'], "_"));
    let all: Vec<_> = std::iter::once(way.method.as_str().to_lowercase()).chain(plain).collect();
    all.join("_")
}

fn of_path(part: &str) -> &'static str {
    match part {
        "selector" => {
            "A name that it is for, its id, or the beginning of the id; a name may be followed by a \
             slash and the kind of key: shop.example/rsa"
        }
        "client" => "The name of a client",
        "target" => "The name of a target",
        "id" => "Its id, or the beginning of the id",
        _ => "A name",
    }
}

fn good(status: StatusCode) -> &'static str {
    match status {
        StatusCode::ACCEPTED => "The order was taken",
        StatusCode::CREATED => "It was made",
        StatusCode::NOT_MODIFIED => "It is what the question says it is",
        _ => "Done, or shown",
    }
}

fn refusal(what: &str) -> utoipa::openapi::Response {
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    ResponseBuilder::new().description(what).content(PROBLEM_JSON, content).build()
}

fn method(method: &Method) -> HttpMethod {
    match method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}
