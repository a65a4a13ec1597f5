//! An order that the CA opened for us and whose URL was lost: this process, or the connection,
//! ended between the CA's answer and our store.
//!
//! It stands in the account's list of orders (RFC 8555, section 7.1.2.1), where the CA offers
//! one; a CA without a list may answer the repeated request with the same order, as Boulder does.
//! instant-acme reads no lists: [`Reader`] lets it sign and send, and keeps what comes back.
//! Whatever is wrong with a list only ends the search: a certificate matters more.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::Response;
use http_body_util::Full;
use instant_acme::Account;
use instant_acme::BodyWrapper;
use instant_acme::BytesResponse;
use instant_acme::HttpClient;
use serde::Deserialize;
use url::Url;

use super::account::Entry;
use super::client::CaClient;
use super::client::Hint;
use super::client::JobClient;
use super::directory::Directory;
use crate::base::bounds;
use crate::cert::failure::Failure;
use crate::cert::identifier::Identifier;
use crate::cert::ports::Job;

/// What an order has to be like to be the lost one.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) job: &'a Job,
    /// The profile the order asks for, if one.
    pub(super) profile: Option<&'a str>,
}

/// A document of the CA, as it came.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Document {
    fn parse<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Keeps the newest document that was fetched through it.
struct KeepingClient {
    inner: JobClient,
    kept: Arc<Mutex<Option<Document>>>,
}

impl HttpClient for KeepingClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        // Everything else is about nonces and the directory.
        let is_signed = request.method() == Method::POST;
        let (answer, kept) = (self.inner.request(request), Arc::clone(&self.kept));
        Box::pin(async move {
            let BytesResponse { parts, mut body } = answer.await?;
            let body = body.into_bytes().await.map_err(instant_acme::Error::Other)?;
            if is_signed && parts.status.is_success() {
                let document = Document { headers: parts.headers.clone(), body: body.clone() };
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(document);
            }
            Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body))))
        })
    }
}

/// Reads any document of an account by POST-as-GET (RFC 8555, section 6.3).
pub(super) struct Reader {
    account: Account,
    account_url: String,
    kept: Arc<Mutex<Option<Document>>>,
}

impl Reader {
    pub(super) async fn open(
        entry: &Entry,
        client: &CaClient,
        directory: &Arc<Directory>,
    ) -> Result<Self, Failure> {
        let kept = Arc::default();
        let signatory = Arc::clone(entry.signatory());
        let inner =
            JobClient::new(client.clone(), signatory, Arc::clone(directory), Hint::default());
        let keeping = KeepingClient { inner, kept: Arc::clone(&kept) };
        let builder = Account::builder_with_http(Box::new(keeping));
        let account = entry.open_through(builder, directory).await?;
        Ok(Self { account, account_url: entry.url().to_owned(), kept })
    }

    /// The document at `url`, if the account may read it.
    pub(super) async fn read(&self, url: &str) -> Option<Document> {
        let _older = self.take();
        // It takes every document for an order, and what it makes of it is of no interest.
        let _read = insist!(self.account.order(url.to_owned()).await);
        self.take()
    }

    fn take(&self) -> Option<Document> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// URL of an order of this account that is as `wanted` and open, if one can be found within
    /// bounds.
    pub(super) async fn find(&self, wanted: &Wanted<'_>) -> Option<String> {
        let search = async {
            for url in self.candidates().await? {
                if wanted.job.taken.contains(&url) {
                    continue;
                }
                let order = self.read(&url).await;
                if order.and_then(|order| order.parse()).is_some_and(|order| wanted.fits(&order)) {
                    return Some(url);
                }
            }
            None
        };
        tokio::time::timeout(bounds::ORDER_SEARCH, search).await.ok().flatten()
    }

    /// The orders worth a look, best first.
    async fn candidates(&self) -> Option<Vec<String>> {
        let account: AccountObject = self.read(&self.account_url).await?.parse()?;
        let mut page = acceptable(account.orders?)?;
        let mut ends = Ends::default();
        for _ in 0..bounds::ORDER_LIST_PAGES {
            let Some(document) = self.read(&page).await else { break };
            let Some(list) = document.parse::<OrderList>() else { break };
            list.orders.into_iter().filter_map(acceptable).for_each(|url| ends.push(url));
            match next_page(&document.headers, &page).and_then(acceptable) {
                Some(next) if next != page => page = next,
                _ => break,
            }
        }
        Some(ends.into_candidates())
    }
}

fn acceptable(url: String) -> Option<String> {
    (url.len() <= bounds::ORDER_URL).then_some(url)
}

/// Both ends of a list. Which of them is the newer one is not laid down anywhere.
#[derive(Debug, Default)]
struct Ends {
    first: Vec<String>,
    last: VecDeque<String>,
}

impl Ends {
    fn push(&mut self, url: String) {
        if self.first.len() < bounds::ORDER_LIST_READ / 2 {
            self.first.push(url);
            return;
        }
        if self.last.len() >= bounds::ORDER_LIST_READ / 2 {
            self.last.pop_front();
        }
        self.last.push_back(url);
    }

    /// From the outside to the middle, the end of the list before its beginning.
    fn into_candidates(self) -> Vec<String> {
        let mut all: VecDeque<String> = self.first.into_iter().chain(self.last).collect();
        let mut candidates = Vec::with_capacity(all.len());
        while let Some(url) = all.pop_back() {
            candidates.push(url);
            candidates.extend(all.pop_front());
        }
        candidates
    }
}

/// RFC 8555, section 7.1.2, as far as it matters here.
#[derive(Deserialize)]
struct AccountObject {
    orders: Option<String>,
}

/// RFC 8555, section 7.1.2.1.
#[derive(Deserialize)]
struct OrderList {
    orders: Vec<String>,
}

/// RFC 8555, section 7.1.3, with the fields of RFC 9773 and the profiles draft.
#[derive(Debug, Deserialize)]
struct OrderObject {
    status: String,
    identifiers: Vec<OrderIdentifier>,
    profile: Option<String>,
    replaces: Option<String>,
}

#[derive(Debug, Deserialize)]
struct OrderIdentifier {
    value: String,
}

impl Wanted<'_> {
    /// Whether `order` can be the lost one, as far as the CA shows.
    fn fits(&self, order: &OrderObject) -> bool {
        // The URL is stored before an order is finalised, so that a lost one never was: what is
        // processing or valid belongs to another key.
        let is_open = matches!(order.status.as_str(), "pending" | "ready");
        // Where we ask for no profile the CA picks one.
        let profile = |wanted| order.profile.as_deref().is_none_or(|shown| shown == wanted);
        // An order that replaces nothing may be ours all the same: some CAs refuse the word.
        let replaces = |shown| self.job.replaces.as_deref() == Some(shown);
        is_open
            && self.profile.is_none_or(profile)
            && order.replaces.as_deref().is_none_or(replaces)
            && self.is_for_our_names(&order.identifiers)
    }

    fn is_for_our_names(&self, identifiers: &[OrderIdentifier]) -> bool {
        let names: Result<Vec<Identifier>, _> =
            identifiers.iter().map(|identifier| Identifier::parse(&identifier.value)).collect();
        names.is_ok_and(|mut names| {
            names.sort();
            names == self.job.spec.names()
        })
    }
}

/// Target of the `Link` to the next page (RFC 8288), which may be relative to this `page`.
fn next_page(headers: &HeaderMap, page: &str) -> Option<String> {
    let fields = headers.get_all(http::header::LINK).iter();
    let target = fields.filter_map(|field| field.to_str().ok()).find_map(next_of_field)?;
    Some(Url::parse(page).ok()?.join(target).ok()?.into())
}

/// The first target in one field whose relation is `next`.
fn next_of_field(field: &str) -> Option<&str> {
    let mut rest = field;
    loop {
        let (target, after) = rest.split_once('<')?.1.split_once('>')?;
        let mut quoted = false;
        let end = after.find(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        let (parameters, others) = after.split_at(end.unwrap_or(after.len()));
        let is_next = parameters.split(';').any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target);
        }
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::key::KeyHandle;
    use crate::cert::key::KeyId;
    use crate::cert::key::KeyUsage;
    use crate::cert::key::SealedKey;
    use crate::cert::spec::IssuerName;
    use crate::cert::spec::Role;
    use crate::cert::spec::Specification;

    fn job(replaces: Option<&str>) -> Job {
        let names = ["a.example", "b.example"].map(|name| Identifier::parse(name).unwrap());
        let issuer = IssuerName::Acme("https://ca.example/dir".to_owned());
        let spec =
            Specification::new(names.to_vec(), issuer, KeyAlgorithm::P256, None, Role::Primary);
        let key = KeyHandle {
            id: KeyId::of_spki(b"spki"),
            algorithm: KeyAlgorithm::P256,
            usage: KeyUsage::Tls,
            spki: Arc::from(&b"spki"[..]),
            sealed: SealedKey(Arc::from(&b"sealed"[..])),
        };
        let replaces = replaces.map(str::to_owned);
        Job {
            spec,
            key: key.into(),
            order: None,
            resumed: true,
            taken: Vec::new(),
            replaces,
            attempt: 0,
            before: None,
            challenge: None,
            preferred_chain: None,
        }
    }

    #[test]
    fn only_an_open_order_for_exactly_what_is_wanted_fits() {
        let fits = |replaces: Option<&str>, profile: Option<&str>, order: &str| {
            let order: OrderObject = serde_json::from_str(order).unwrap();
            Wanted { job: &job(replaces), profile }.fits(&order)
        };
        let order = |status: &str, names: &[&str], more: &str| {
            let names: Vec<String> =
                names.iter().map(|n| format!(r#"{{"type": "dns", "value": "{n}"}}"#)).collect();
            let names = names.join(",");
            format!(r#"{{"status": "{status}", "identifiers": [{names}]{more}}}"#)
        };
        let ours = ["b.example", "A.example"];
        for (status, good) in [
            ("pending", true),
            ("ready", true),
            ("processing", false),
            ("valid", false),
            ("invalid", false),
            ("", false),
        ] {
            assert_eq!(fits(None, None, &order(status, &ours, "")), good, "{status}");
        }
        for names in [
            &["a.example"][..],
            &["a.example", "b.example", "c.example"],
            &["a.example", "a.example", "b.example"],
            &["*.a.example", "b.example"],
            &["a.example", "b example"],
            &[],
        ] {
            assert!(!fits(None, None, &order("pending", names, "")), "{names:?}");
        }
        let profiled = order("pending", &ours, r#", "profile": "short""#);
        assert!(fits(None, None, &profiled) && fits(None, Some("short"), &profiled));
        assert!(!fits(None, Some("classic"), &profiled));
        assert!(fits(None, Some("classic"), &order("pending", &ours, "")));
        let replacing = order("pending", &ours, r#", "replaces": "a.b""#);
        assert!(fits(Some("a.b"), None, &replacing));
        assert!(!fits(Some("a.c"), None, &replacing) && !fits(None, None, &replacing));
        assert!(fits(Some("a.b"), None, &order("pending", &ours, "")));
    }

    #[test]
    fn a_list_is_looked_at_from_both_ends_and_never_as_a_whole() {
        let candidates = |count: usize| {
            let mut ends = Ends::default();
            (0..count).for_each(|number| ends.push(number.to_string()));
            ends.into_candidates()
        };
        assert_eq!(candidates(0), [""; 0]);
        assert_eq!(candidates(5), ["4", "0", "3", "1", "2"]);
        let many = candidates(100_000);
        assert_eq!(many.len(), bounds::ORDER_LIST_READ);
        assert_eq!(many[..4], ["99999", "0", "99998", "1"]);
    }

    #[test]
    fn the_next_page_is_found_among_other_links() {
        let page = "https://ca.example/orders/7?cursor=1";
        let next = |fields: &[&str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(http::header::LINK, field.parse().unwrap());
            }
            next_page(&headers, page)
        };
        let second = Some("https://ca.example/orders/7?cursor=2".to_owned());
        let index = r#"<https://ca.example/dir>;rel="index""#;
        for field in [
            r#"<https://ca.example/orders/7?cursor=2>;rel="next""#,
            r"<?cursor=2>; rel=next",
            r#"</orders/7?cursor=2>; title="a, b"; REL="last NEXT""#,
            r#"<https://ca.example/x,y>; rel="prev", <?cursor=2>;rel="next""#,
        ] {
            assert_eq!(next(&[index, field]), second, "{field}");
        }
        for field in ["", "<", "<>", "next", r#"<?cursor=2>;rel="nextish""#, "<https://[>;rel=next"]
        {
            assert_eq!(next(&[index, field]), None, "{field}");
        }
    }
}
