//! What is agreed on with clients, for whoever asks: from the configuration, and from the files of
//! client certificates as they are now.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::admin::wire::terms::AgreementView;
use crate::admin::wire::terms::ClientsView;
use crate::admin::wire::terms::DoorView;
use crate::admin::wire::terms::TermsView;
use crate::base::Timestamp;
use crate::base::visitors;
use crate::cert::record::Certificate;
use crate::cli::ways;
use crate::config::Agreement;
use crate::config::ClientCertificates;
use crate::config::Config;
use crate::config::Preset;
use crate::config::Site;
use crate::config::TlsVersion;

/// All sites together. Reads no file.
pub(super) fn of_all(config: &Config) -> DoorView {
    let mut counted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for site in &config.sites {
        *counted.entry(words(site.tls)).or_default() += 1;
    }
    let mut agreements: Vec<_> = counted
        .into_iter()
        .map(|((preset, min_version), sites)| AgreementView {
            preset: preset.to_owned(),
            min_version: min_version.to_owned(),
            sites,
        })
        .collect();
    agreements.sort_by_key(|agreement| Reverse(agreement.sites));
    let asking = |required| {
        config.client_certificates().filter(|clients| clients.required == required).count() as u64
    };
    DoorView {
        agreements,
        clients_required: asking(true),
        clients_optional: asking(false),
        proxy_from: config.listen.proxy_from.iter().map(ToString::to_string).collect(),
    }
}

/// The site that `record` is for; the first of several. Reads the files of client certificates:
/// blocks for as long as the disk takes.
pub(super) fn of_site(config: &Config, record: &Certificate, now: Timestamp) -> Option<TermsView> {
    let names = record.spec.names();
    let exact = config.sites.iter().find(|site| site.names.iter().any(|n| names.contains(n)));
    let covered = |site: &&Site| site.names.iter().any(|name| record.spec.covers(name));
    let site = exact.or_else(|| config.sites.iter().find(covered))?;
    let (preset, min_version) = words(site.tls);
    Some(TermsView {
        site: site.name().to_string(),
        preset: preset.to_owned(),
        min_version: min_version.to_owned(),
        clients: site.clients.as_ref().map(|clients| of_clients(clients, now)),
        // Those who ask know the front door.
        servers: Vec::new(),
        asks: ways::asks(&site.policy),
        routes: site.routes.iter().map(|route| ways::route(route, &site.policy)).collect(),
    })
}

fn of_clients(clients: &ClientCertificates, now: Timestamp) -> ClientsView {
    let lists = clients.crl.as_deref().map(visitors::outlook).transpose();
    let usable = visitors::load(&clients.ca, clients.crl.as_deref(), clients.required);
    let (lists, unread) = match lists {
        Ok(lists) => (lists, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let until = lists.and_then(|lists| lists.until);
    let trouble = match usable {
        Err(error) => Some(format!("nobody is let in: {error}")),
        Ok(_) if until.is_some_and(|until| until < now) => Some(
            "a list of revoked certificates is out of date: its clients are refused".to_owned(),
        ),
        Ok(_) => unread,
    };
    ClientsView {
        mode: if clients.required { "required" } else { "optional" }.to_owned(),
        ca: clients.ca.display().to_string(),
        crl: clients
            .crl_url
            .clone()
            .or_else(|| clients.crl.as_ref().map(|path| path.display().to_string())),
        lists: lists.map(|lists| lists.count),
        lists_until: until.map(Into::into),
        trouble,
    }
}

const fn words(agreement: Agreement) -> (&'static str, &'static str) {
    let preset = match agreement.preset {
        Preset::Default => "default",
        Preset::Modern => "modern",
        Preset::Compatible => "compatible",
    };
    let min_version = match agreement.min_version {
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    };
    (preset, min_version)
}
