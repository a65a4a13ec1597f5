//! `[[site.route]]`: which requests go another way, and what way that is.

use http::header::HeaderName;
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{Admin, Listen};
use super::super::origin::{Asking, Health, Origin, OriginTls, Servers};
use super::super::pattern::PathPattern;
use super::super::policy::Policy;
use super::super::raw::RawOrigins;
use super::super::raw_route::RawRoute;
use super::super::route::{FieldEdits, FieldTest, Route, RouteTo, Template};
use super::{origins, policy, quoted, statics};

/// Statuses of a redirect that has a Location (RFC 9110, section 15.4).
const STATUSES: [u64; 5] = [301, 302, 303, 307, 308];

/// Fields that frame messages, belong to a connection, or say what keyward alone knows.
const NOT_TO_BE_SET: &[&str] = &[
    "alt-svc",
    "client-cert",
    "client-cert-chain",
    "connection",
    "content-length",
    "early-data",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
];

pub(super) fn check(
    raw: &[RawRoute],
    around: (&Listen, &Admin, &Policy),
    like: &(Asking, OriginTls, Option<Health>),
    at: &KeyPath,
    findings: &mut Findings,
) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let at = at.key("route").index(index);
        if findings.is_spoilt(&at) {
            continue;
        }
        let before = findings.all.len();
        let Some(route) = route(raw, (around, index), like, &at, findings) else { continue };
        // What was complained of already may have become something else.
        if findings.all.len() == before
            && let Some(first) = routes.iter().position(|earlier| earlier.covers(&route))
        {
            findings
                .warning(&at.key("path"), "no request ever comes to this route")
                .expected(format!(
                    "a route before number {}, which takes all of its requests",
                    first + 1
                ))
                .hint("move it up: the first route that fits is taken");
        }
        routes.push(route);
    }
    routes
}

fn route(
    raw: &RawRoute,
    (around, number): ((&Listen, &Admin, &Policy), usize),
    like: &(Asking, OriginTls, Option<Health>),
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<Route> {
    let (listen, admin, site) = around;
    let path = match PathPattern::parse(&raw.path) {
        Ok(path) => Some(path),
        Err(_) if findings.is_spoilt(&at.key("path")) => None,
        Err(error) => {
            findings
                .error(&at.key("path"), format!("{} is no path: {error}", quoted(&raw.path)))
                .expected("a path such as \"/about\", or \"/api/*\" for it and all below it");
            None
        }
    };
    let open = path.as_ref().is_some_and(PathPattern::is_open);
    let rewrite = raw.rewrite.as_deref().and_then(|text| {
        template(text, open, &at.key("rewrite"), findings, &|text| text.starts_with('/'))
    });
    let redirect = redirect(raw, open, at, findings);
    if redirect.is_some() {
        let root = raw.files.root.is_some();
        let there = raw.origin.is_some();
        for (name, there) in [("origin", there), ("root", root), ("rewrite", raw.rewrite.is_some())]
        {
            if there {
                findings
                    .warning(&at.key(name), "a route that redirects asks no origin")
                    .hint(format!("remove `redirect`, or `{name}`"));
            }
        }
    }
    let own = raw.origin.is_some() || raw.files.root.is_some();
    let to = match (redirect, own) {
        (Some((status, target)), _) => RouteTo::Redirect(status, target),
        (None, false) => {
            // A fallback without files is told.
            statics::check(None, &raw.files, at, findings);
            RouteTo::Site
        }
        (None, true) => {
            let how = RawOrigins::default();
            let what = (raw.origin.as_ref(), &raw.files);
            let mut origin = origins::check(what, &how, (listen, admin), at, findings);
            if let Origin::Servers(Servers { asking, tls, health, .. }) = &mut origin {
                (*asking, *tls, *health) = like.clone();
            }
            RouteTo::Origin(origin)
        }
    };
    let methods = methods(&raw.methods, &at.key("methods"), findings);
    let field = raw.field.as_deref().and_then(|text| field(text, &at.key("field"), findings));
    let (request, answer) =
        (edits(raw, "request", at, findings), edits(raw, "answer", at, findings));
    let policy = policy::check(&raw.policy, Some((site, number)), at, findings);
    Some(Route { path: path?, methods, field, to, rewrite, request, answer, policy })
}

fn redirect(
    raw: &RawRoute,
    open: bool,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<(StatusCode, Template)> {
    let Some(text) = raw.redirect.as_deref() else {
        if raw.status.is_some() {
            findings
                .error(&at.key("status"), "there is a status, and nothing is redirected")
                .expected("`redirect` beside it");
        }
        return None;
    };
    let sound = |text: &str| {
        let whole = text.replace("{host}", "host.example");
        let whole = if whole.starts_with('/') && !whole.starts_with("//") {
            format!("https://host.example{whole}")
        } else {
            whole
        };
        !whole.contains(['{', '}'])
            && (whole.starts_with("https://") || whole.starts_with("http://"))
            && Url::parse(&whole).is_ok_and(|url| {
                url.has_host() && url.username().is_empty() && url.password().is_none()
            })
    };
    let target = template(text, open, &at.key("redirect"), findings, &sound)?;
    let status = raw.status.unwrap_or(308);
    if !STATUSES.contains(&status) {
        findings
            .error(&at.key("status"), format!("{status} is no status of a redirect"))
            .expected("301, 302, 303, 307 or 308");
    }
    let status = u16::try_from(status).ok().and_then(|s| StatusCode::from_u16(s).ok());
    Some((status.unwrap_or(StatusCode::PERMANENT_REDIRECT), target))
}

/// A text with perhaps a star at its end.
fn template(
    text: &str,
    open: bool,
    key: &KeyPath,
    findings: &mut Findings,
    sound: &dyn Fn(&str) -> bool,
) -> Option<Template> {
    let (before, star) = match text.strip_suffix('*') {
        Some(before) => (before, true),
        None => (text, false),
    };
    let plain = before.bytes().all(|byte| byte.is_ascii_graphic() && !b"*\\\"<>".contains(&byte));
    if !plain || !sound(before) || star && !before.ends_with(['/', '=']) {
        findings.error(key, format!("one cannot be sent to {}", quoted(text))).expected(match key
            .to_string()
            .ends_with("rewrite")
        {
            true => "a path such as \"/v2/*\"",
            false => "a path, or a URL such as \"https://{host}/new/*\"",
        });
        return None;
    }
    if star && !open {
        findings
            .error(key, "there is a star, and none at the end of `path`")
            .expected("a star in both, or only in `path`");
        return None;
    }
    Some(Template { text: before.to_owned(), open: star })
}

fn methods(raw: &[String], key: &KeyPath, findings: &mut Findings) -> Vec<Method> {
    let mut methods = Vec::new();
    for (index, text) in raw.iter().enumerate() {
        let key = key.index(index);
        if findings.is_spoilt(&key) {
            continue;
        }
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if !text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                methods.push(method);
            }
            _ => {
                findings
                    .error(&key, format!("{} is no method", quoted(text)))
                    .expected("a method in capitals, such as \"POST\"");
            }
        }
    }
    methods
}

/// `Name: value`.
fn pair(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
    Some((name, HeaderValue::from_str(value.trim()).ok()?))
}

fn field(text: &str, key: &KeyPath, findings: &mut Findings) -> Option<FieldTest> {
    let test = match pair(text) {
        Some((name, value)) => Some(FieldTest { name, value: Some(value) }),
        None => {
            HeaderName::from_bytes(text.as_bytes()).ok().map(|name| FieldTest { name, value: None })
        }
    };
    if test.is_none() {
        findings
            .error(key, format!("{} is no field", quoted(text)))
            .expected("\"Name: value\", or \"Name\" for any value");
    }
    test
}

fn edits(raw: &RawRoute, which: &str, at: &KeyPath, findings: &mut Findings) -> FieldEdits {
    let (set, remove) = match which {
        "request" => (&raw.set_request, &raw.remove_request),
        _ => (&raw.set_answer, &raw.remove_answer),
    };
    let mut edits = FieldEdits::default();
    for (index, text) in set.iter().enumerate() {
        let key = at.key(&format!("set_{which}")).index(index);
        if findings.is_spoilt(&key) {
            continue;
        }
        let Some((name, value)) = pair(text) else {
            // A value may be a secret, so it is not repeated.
            findings.error(&key, "this is no field").expected("\"Name: value\"");
            continue;
        };
        if ours(&name, &key, findings) {
            edits.set.push((name, value));
        }
    }
    for (index, text) in remove.iter().enumerate() {
        let key = at.key(&format!("remove_{which}")).index(index);
        if findings.is_spoilt(&key) {
            continue;
        }
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            findings
                .error(&key, format!("{} is no name of a field", quoted(text)))
                .expected("a name such as \"Server\"");
            continue;
        };
        if ours(&name, &key, findings) {
            edits.remove.push(name);
        }
    }
    edits
}

/// Whether the field is the operator's to change.
fn ours(name: &HeaderName, key: &KeyPath, findings: &mut Findings) -> bool {
    let name = name.as_str();
    if !NOT_TO_BE_SET.contains(&name) && !name.starts_with("x-forwarded-") {
        return true;
    }
    findings
        .error(key, format!("the field {name} is keyward's own to write"))
        .expected("a field that says nothing of connections, lengths or clients");
    false
}
