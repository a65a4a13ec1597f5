//! What the CA offers (RFC 8555, section 7.1.1), as far as instant-acme does not say.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use http::HeaderMap;
use http::header::DATE;
use serde::Deserialize;

use super::classify;
use super::client::CaClient;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::issuer::dns::persist::ISSUERS;

/// A CA's directory.
#[derive(Debug)]
pub(super) struct Directory {
    /// Where it was fetched.
    pub(super) url: String,
    /// The document itself.
    pub(super) body: Bytes,
    /// Where renewal information is, if there is any (RFC 9773, section 4.1).
    pub(super) renewal_info: Option<String>,
    /// Where the terms of service are, if there are any.
    pub(super) terms: Option<String>,
    /// Whether accounts need an external binding.
    pub(super) binding_required: bool,
    /// Names of the profiles.
    pub(super) profiles: Vec<String>,
    /// How the CA is called in CAA records (RFC 8555, section 7.1.1).
    pub(super) caa_identities: Vec<String>,
    /// What time it was there when it came (RFC 9110, section 6.6.1).
    pub(super) date: Option<Timestamp>,
    fetched: Timestamp,
    /// What challenges said of how the CA goes in records that stay.
    learnt: Mutex<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    renewal_info: Option<String>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    terms_of_service: Option<String>,
    external_account_required: bool,
    profiles: BTreeMap<String, serde_json::Value>,
    caa_identities: Vec<String>,
}

/// What is read of an authorization besides.
#[derive(Deserialize)]
struct Authorization {
    challenges: Vec<Offered>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Offered {
    #[serde(default)]
    issuer_domain_names: Vec<String>,
}

impl Directory {
    /// Fetches it.
    pub(super) async fn fetch(
        client: &CaClient,
        url: &str,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let got = client.get(url).await.map_err(|error| classify::answer(&error, now))?;
        let (head, body) = got;
        let mut directory = Self::parse(url, body, now)?;
        directory.date = date(&head.headers);
        Ok(directory)
    }

    fn parse(url: &str, body: Bytes, now: Timestamp) -> Result<Self, Failure> {
        let wire: Wire = serde_json::from_slice(&body).map_err(|error| {
            let detail = format!("the directory at {url} does not parse: {error}");
            Failure::new(FailureKind::CaFault, classify::clean(&detail))
        })?;
        Ok(Self {
            url: url.to_owned(),
            body,
            renewal_info: wire.renewal_info,
            terms: wire.meta.terms_of_service,
            binding_required: wire.meta.external_account_required,
            profiles: wire.meta.profiles.into_keys().collect(),
            caa_identities: wire.meta.caa_identities,
            date: None,
            fetched: now,
            learnt: Mutex::default(),
        })
    }

    /// How the CA goes in records that prove a name for good: as its challenges say, or before there was
    /// one, as in CAA records.
    pub(super) fn persist_issuers(&self) -> Vec<String> {
        let learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if learnt.is_empty() { self.caa_identities.clone() } else { learnt }
    }

    /// Learns that from an authorization, which instant-acme reads without it.
    pub(super) fn learn(&self, body: &[u8]) {
        let Ok(authorization) = serde_json::from_slice::<Authorization>(body) else { return };
        let names = authorization.challenges.into_iter().flat_map(|one| one.issuer_domain_names);
        let names: Vec<String> = names.take(ISSUERS).collect();
        if !names.is_empty() {
            *self.learnt.lock().unwrap_or_else(PoisonError::into_inner) = names;
        }
    }

    /// Whether it is still believed at `now`; a clock that went back ends it too.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.fetched <= now && now.since(self.fetched) < bounds::DIRECTORY_LIFE
    }
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_unix_signed(date.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_directory_offers_is_read_and_all_of_it_is_optional() {
        let now = Timestamp::from_unix(10_000);
        let full = r#"{"newOrder": "https://ca.example/o", "renewalInfo": "https://ca.example/r",
            "meta": {"termsOfService": "https://ca.example/t", "externalAccountRequired": true,
                     "caaIdentities": ["ca.example"],
                     "profiles": {"short": "six days", "classic": "ninety"}}}"#;
        let directory = Directory::parse("https://ca.example/d", full.into(), now).unwrap();
        assert_eq!(directory.renewal_info.as_deref(), Some("https://ca.example/r"));
        assert_eq!(directory.terms.as_deref(), Some("https://ca.example/t"));
        assert!(directory.binding_required);
        assert_eq!(directory.caa_identities, ["ca.example"]);
        assert_eq!(directory.profiles, ["classic", "short"]);
        let bare = Directory::parse("u", "{}".into(), now).unwrap();
        assert!(bare.renewal_info.is_none() && bare.terms.is_none() && !bare.binding_required);
        let bad = Directory::parse("u", "<html>".into(), now).unwrap_err();
        assert_eq!(bad.kind, FailureKind::CaFault);
    }

    #[test]
    fn how_the_ca_goes_is_learnt_from_its_challenges() {
        let full = r#"{"meta": {"caaIdentities": ["ca.example"]}}"#;
        let directory = Directory::parse("u", full.into(), Timestamp::from_unix(1)).unwrap();
        directory.learn(b"no authorization");
        directory.learn(br#"{"challenges": [{"type": "http-01", "token": "t"}]}"#);
        assert_eq!(directory.persist_issuers(), ["ca.example"]);
        directory.learn(
            br#"{"challenges": [{"type": "dns-persist-01", "issuer-domain-names": ["a.test"]}]}"#,
        );
        assert_eq!(directory.persist_issuers(), ["a.test"]);
    }

    #[test]
    fn it_is_believed_for_an_hour_and_not_when_the_clock_went_back() {
        let now = Timestamp::from_unix(10_000);
        let directory = Directory::parse("u", "{}".into(), now).unwrap();
        assert!(directory.is_fresh(now) && directory.is_fresh(Timestamp::from_unix(13_599)));
        assert!(!directory.is_fresh(Timestamp::from_unix(13_600)));
        assert!(!directory.is_fresh(Timestamp::from_unix(9_999)));
    }
}
