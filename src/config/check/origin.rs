//! One server behind a site, as `origin` names it.

use http::uri::Authority;
use url::{Host, Url};

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{Admin, Listen};
use super::super::origin::Address;
use super::super::suggest;
use super::{quoted_url, unix};

pub(super) const WELCOME: &str = "builtin:welcome";
const H2C: &str = "h2c://";
const EXPECTED: &str =
    "a URL such as \"http://127.0.0.1:8080\", or a socket: \"unix:/run/app.sock\"";

/// The server that `text` names, if it names one.
pub(super) fn server(
    text: &str,
    (listen, admin): (&Listen, &Admin),
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<Address> {
    match address(text, listen, admin) {
        Ok(address) => {
            if let Address::Unix(path) = &address
                && let Some(place) = unix::hidden(path)
            {
                findings
                    .warning(key, format!("the service does not see the sockets below {place}"))
                    .hint("a socket below /run, in a directory that its server makes");
            }
            Some(address)
        }
        Err(Refusal { problem, hint }) => {
            let finding = findings.error(key, problem).expected(EXPECTED);
            if let Some(hint) = hint {
                finding.hint(hint);
            }
            None
        }
    }
}

/// Why a text names no origin, and what to try.
pub(super) struct Refusal {
    pub(super) problem: String,
    pub(super) hint: Option<String>,
}

pub(super) fn address(text: &str, listen: &Listen, admin: &Admin) -> Result<Address, Refusal> {
    if let Some(path) = text.strip_prefix(unix::SCHEME) {
        return unix::path(path, &admin.socket).map(Address::Unix);
    }
    // As nginx has it.
    if let Some(path) = text.strip_prefix("http://unix:") {
        let path = path.trim_end_matches([':', '/']);
        let hint = Some(format!("\"{}{path}\"", unix::SCHEME));
        return refuse("the origin is a socket and has the scheme of a host", hint);
    }
    // To a URL it is a scheme like any other, whose hosts could be anything.
    let plain = text.strip_prefix(H2C).map(|rest| format!("http://{rest}"));
    let url = Url::parse(plain.as_deref().unwrap_or(text)).map_err(|error| no_url(text, &error))?;
    let scheme = if plain.is_some() { "h2c" } else { url.scheme() };
    let authority = authority(text, &url, scheme)?;
    not_ourselves(&url, listen)?;
    Ok(match scheme {
        "h2c" => Address::H2c(authority),
        "https" => Address::Https(authority),
        _ => Address::Http(authority),
    })
}

pub(super) fn refuse<T>(problem: impl Into<String>, hint: Option<String>) -> Result<T, Refusal> {
    Err(Refusal { problem: problem.into(), hint })
}

fn no_url(text: &str, error: &url::ParseError) -> Refusal {
    if text.starts_with("builtin") {
        let meant = suggest::nearest(text, [WELCOME]);
        let problem = format!("there is no built-in origin {}", quoted_url(text));
        return Refusal { problem, hint: meant.map(|meant| format!("{meant:?}")) };
    }
    // `localhost:8080` is a URL of the scheme `localhost`, and comes by `authority`.
    let with_scheme = format!("http://{text}");
    let sound = !text.contains("//") && Url::parse(&with_scheme).is_ok_and(|url| bare(&url));
    let why = match error {
        url::ParseError::RelativeUrlWithoutBase => "it has no scheme".to_owned(),
        other => other.to_string(),
    };
    let problem = format!("the origin {} is no URL: {why}", quoted_url(text));
    Refusal { problem, hint: sound.then(|| format!("{with_scheme:?}")) }
}

/// Whether a URL is host and port alone.
fn bare(url: &Url) -> bool {
    url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
}

fn authority(text: &str, url: &Url, scheme: &str) -> Result<Authority, Refusal> {
    match url.scheme() {
        "http" | "https" => {}
        "builtin" => {
            return refuse(
                format!("there is no built-in origin {}", quoted_url(text)),
                Some(format!("{WELCOME:?}")),
            );
        }
        other => {
            let with_scheme = format!("http://{text}");
            let host_and_port = Url::parse(&with_scheme).is_ok_and(|url| bare(&url));
            let problem = if host_and_port {
                format!("the origin {} has no scheme", quoted_url(text))
            } else {
                format!("the origin has the scheme {other:?}")
            };
            return refuse(problem, host_and_port.then(|| format!("{with_scheme:?}")));
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The text is not repeated: a password stands in it.
        return refuse("the origin has a user name or password in it", None);
    }
    let Some(host) = url.host_str() else {
        return refuse(format!("the origin {} has no host", quoted_url(text)), None);
    };
    let Some(port) = url.port_or_known_default().filter(|port| *port != 0) else {
        return refuse(format!("the origin {} has port 0", quoted_url(text)), None);
    };
    let base = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let without = Some(format!("\"{scheme}://{base}\""));
    if !matches!(url.path(), "" | "/") {
        return refuse("the origin has a path; requests keep the path they come with", without);
    }
    if url.query().is_some() {
        return refuse("the origin has a query; requests keep the one they come with", without);
    }
    if url.fragment().is_some() {
        return refuse("the origin has a fragment, which is never sent to a server", without);
    }
    format!("{host}:{port}")
        .parse()
        .or_else(|_| refuse(format!("the origin {} has no usable host", quoted_url(text)), None))
}

/// Refuses what leads straight back to a listener of ours, where each request would go round
/// until something gives way.
fn not_ourselves(url: &Url, listen: &Listen) -> Result<(), Refusal> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(std::net::IpAddr::V6(address).to_canonical()),
        _ => None,
    };
    let here = address.is_some_and(|address| address.is_loopback() || address.is_unspecified())
        || url.host_str() == Some("localhost");
    let loops = listen.https.iter().chain(&listen.http).find(|listener| {
        let ip = listener.ip();
        Some(listener.port()) == url.port_or_known_default()
            && (address == Some(ip) || here && (ip.is_unspecified() || url.domain().is_some()))
    });
    match loops {
        Some(listener) => refuse(
            format!("the origin leads back to keyward itself, which listens on {listener}"),
            Some("the port of the server behind the site".to_owned()),
        ),
        None => Ok(()),
    }
}
