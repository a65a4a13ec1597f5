//! `client_*` below `[site.tls]`: certificates that clients show.

use std::path::{Path, PathBuf};

use ring::digest;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::ClientCertificates;
use super::super::raw::RawSiteTls;
use super::{files, quoted_url, tls};
use crate::base::visitors::{self, VisitorsError};

const MODES: [(&str, Option<bool>); 3] =
    [("off", None), ("optional", Some(false)), ("required", Some(true))];

pub(super) fn check(
    (raw, lists): (Option<&RawSiteTls>, &Path),
    early_data: bool,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<ClientCertificates> {
    let raw = raw?;
    let key = at.key("tls");
    let mode_key = key.key("client_certificates");
    let said = raw.client_certificates.as_deref().unwrap_or("off");
    let mode = tls::choice(said, &MODES, "way with client certificates", &mode_key, findings)?;
    let Some(required) = mode else {
        if raw.client_certificates.is_none()
            && (raw.client_ca.is_some() || raw.client_crl.is_some())
        {
            findings
                .error(&key, "there is a CA for clients, and nobody is asked for a certificate")
                .expected("client_certificates beside client_ca")
                .hint("client_certificates = \"required\"");
        }
        return None;
    };
    if early_data {
        findings
            .error(&at.key("early_data"), "a request that comes early has proven nothing yet")
            .expected("early_data = false where client certificates are asked for");
    }
    let Some(ca) = &raw.client_ca else {
        findings
            .error(&mode_key, "no CA is named whose certificates clients may show")
            .expected("client_ca beside client_certificates, the path of a PEM file");
        return None;
    };
    let before = findings.all.len();
    let ca = files::existing(ca, &key.key("client_ca"), findings);
    let (crl, crl_url) = match raw.client_crl.as_deref() {
        Some(text) if text.starts_with("http://") || text.starts_with("https://") => {
            fetched(text, lists, &key.key("client_crl"), findings)
        }
        Some(path) => (Some(files::existing(path, &key.key("client_crl"), findings)), None),
        None => (None, None),
    };
    // What is fetched is none of the operator's.
    let own = crl.as_deref().filter(|_| crl_url.is_none());
    // What was complained of already is not opened.
    if findings.all.len() == before
        && let Err(error) = visitors::load(&ca, own, required)
    {
        let blamed = match &error {
            VisitorsError::Unreadable { path, .. }
            | VisitorsError::TooLong { path, .. }
            | VisitorsError::Nothing { path, .. }
            | VisitorsError::Unusable { path, .. } => path,
        };
        let name = if Some(blamed) == crl.as_ref() { "client_crl" } else { "client_ca" };
        let at = key.key(name);
        if let VisitorsError::Unreadable { .. } = error {
            // Whoever checks may be another user than the daemon.
            findings.warning(&at, error.to_string()).hint("check as root");
        } else {
            findings.error(&at, error.to_string()).expected(match name {
                "client_crl" => "revocation lists (X.509 CRL), in PEM, or one in DER",
                _ => "certificates of CAs in PEM",
            });
        }
    }
    Some(ClientCertificates { required, ca, crl, crl_url })
}

/// Lists that are at a URL, and the file in which they are kept.
fn fetched(
    text: &str,
    lists: &Path,
    at: &KeyPath,
    findings: &mut Findings,
) -> (Option<PathBuf>, Option<String>) {
    let known = url::Url::parse(text).ok().filter(|url| url.has_host() && text.is_ascii());
    let Some(url) = known.filter(|url| url.username().is_empty() && url.password().is_none())
    else {
        findings
            .error(at, format!("{} is no URL of a list", quoted_url(text)))
            .expected("http:// or https:// with a host and a path, without a password")
            .hint("\"http://ca.example/clients.crl\"");
        return (None, None);
    };
    let name: String = digest::digest(&digest::SHA256, url.as_str().as_bytes())
        .as_ref()
        .iter()
        .take(16)
        .map(|octet| format!("{octet:02x}"))
        .collect();
    (Some(lists.join(format!("{name}.crl"))), Some(url.into()))
}
