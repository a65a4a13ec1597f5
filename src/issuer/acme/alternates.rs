//! Other chains for the same certificate (RFC 8555, section 7.4.2): the one whose top was issued by the
//! root that is preferred, for clients that trust that root and no other.
//!
//! Whether a chain leads where it says is for clients to judge.

use url::Url;
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;

use super::search::Document;
use super::search::Reader;
use crate::base::bounds::choice::ALTERNATE_CHAINS;
use crate::cert::chain::Chain;

/// A chain whose top was issued by `preferred`, among those that the CA offers beside the one at `url`;
/// each is taken by `check` first.
pub(super) async fn find(
    reader: &Reader,
    url: &str,
    preferred: &str,
    check: impl Fn(&str) -> Option<Chain>,
) -> Option<Chain> {
    let base = Url::parse(url).ok()?;
    let first = reader.read(url).await?;
    for other in links(&first, &base) {
        let Some(document) = reader.read(&other).await else { continue };
        let found = std::str::from_utf8(&document.body).ok().and_then(&check);
        if let Some(chain) = found.filter(|chain| leads_to(chain, preferred)) {
            return Some(chain);
        }
    }
    None
}

/// Whether the issuer of the topmost certificate has this common name.
pub(super) fn leads_to(chain: &Chain, preferred: &str) -> bool {
    let Some(top) = chain.certificates().last() else { return false };
    let Ok((_, top)) = X509Certificate::from_der(top) else { return false };
    let mut names = top.issuer().iter_common_name();
    names.any(|name| name.as_str().is_ok_and(|name| name == preferred))
}

/// The URLs of `Link` fields with the relation `alternate`, at the same server, within bounds.
fn links(document: &Document, base: &Url) -> Vec<String> {
    let fields = document.headers.get_all(http::header::LINK);
    let fields = fields.iter().filter_map(|field| field.to_str().ok());
    let found = fields.flat_map(|field| field.split(',')).filter_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_alternate = parameters.split(';').any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|one| one.eq_ignore_ascii_case("alternate"))
        });
        let url = base.join(target).ok()?;
        (is_alternate && url.origin() == base.origin()).then(|| url.to_string())
    });
    found.take(ALTERNATE_CHAINS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_other_chains_are_read_and_nothing_else_and_not_without_end() {
        let base = Url::parse("https://ca.example/cert/1").unwrap();
        let read = |fields: &[&str]| {
            let mut headers = http::HeaderMap::new();
            for field in fields {
                headers.append(http::header::LINK, field.parse().unwrap());
            }
            links(&Document { headers, body: bytes::Bytes::new() }, &base)
        };
        assert_eq!(
            read(&[
                "<https://ca.example/dir>;rel=\"index\"",
                "</cert/1/1>;rel=\"alternate\", <2>; title=x; REL=\"up Alternate\"",
                "<https://elsewhere.example/3>;rel=alternate",
                "<http://ca.example/4>;rel=alternate",
                "https://ca.example/5;rel=alternate",
                "<https://ca.example/6>;rel=alternates",
            ]),
            ["https://ca.example/cert/1/1", "https://ca.example/cert/2"]
        );
        let many: Vec<String> = (0..100).map(|n| format!("<{n}>;rel=alternate")).collect();
        assert_eq!(read(&[many.join(",").as_str()]).len(), ALTERNATE_CHAINS);
    }
}
