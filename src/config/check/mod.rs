//! From the written form to the checked one, section by section.
//!
//! Every check goes on after a problem, with a stand-in for the value, so that all problems are
//! found at once; a configuration with a stand-in in it never leaves this room.

mod access_log;
mod acme;
mod allowance;
mod ca;
mod clients;
mod clients_of_socket;
mod dns;
mod edge;
mod files;
mod health;
pub(super) mod hsts;
mod issuers;
mod keeping;
mod limits;
mod listen;
mod names;
mod networks;
mod notify;
pub(super) mod onboarding;
mod origin;
mod origins;
mod policy;
mod route;
mod service;
mod site;
mod standby;
mod statics;
mod target;
mod tcp;
mod tls;
mod unix;

use std::path::Path;

use super::dns::DnsAccount;
use super::finding::Findings;
use super::key_path::KeyPath;
use super::model::{Config, State, Vault};
use super::raw::RawConfig;
use super::target::Target;

/// Checks everything; `line` tells on which line of the file a key stands.
pub(super) fn config(
    raw: &RawConfig,
    source: Option<&Path>,
    line: &dyn Fn(&KeyPath) -> usize,
    findings: &mut Findings,
) -> Config {
    let accounts = dns::check_all(&raw.dns, findings);
    let acme = acme::check(&raw.acme, !raw.dns.is_empty(), findings);
    let cas = ca::check_all(&raw.ca, &acme, !raw.dns.is_empty(), findings);
    let listen = listen::check(&raw.listen, findings);
    let state = service::state(&raw.state, findings);
    let admin = service::admin(&raw.admin, findings);
    let clients = clients_of_socket::check_all(&raw.client, findings);
    let vault = service::vault(&raw.vault, findings);
    let (tls, agreement) = tls::check(&raw.tls, findings);
    let edge = edge::check(&raw.edge, findings);
    let log = service::log(&raw.log, findings);
    let access_log = access_log::check(&raw.access_log, &state, findings);
    let hsts = hsts::general(raw.tls.hsts.as_ref(), findings);
    let lists = &state.dir.join("served").join("lists");
    let known: Vec<_> = std::iter::once(&acme).chain(&cas).cloned().collect();
    let general = site::General {
        cas: &known,
        dns: &accounts,
        listen: &listen,
        admin: &admin,
        hsts,
        agreement,
        lists,
    };
    let mut sites = site::check_all(&raw.site, &general, line, findings);
    let (tcp, holders) = tcp::check_all(&raw.tcp, &sites, &general, line, findings);
    statics::apart(&sites, &state, source, &KeyPath::dotted("site"), findings);
    if sites.is_empty()
        && tcp.is_empty()
        && raw.onboarding.target.is_none()
        && !findings.is_spoilt(&KeyPath::dotted("site"))
    {
        findings
            .warning(&KeyPath::root(), "there are no sites, so nothing will be served")
            .hint("add a [[site]] with `names` and `origin`");
    }
    let onboarding = onboarding::check(&raw.onboarding, &general, findings);
    let allowance = allowance::check(&raw.allowance, &known, findings);
    let notify = notify::check_all(&raw.notify, findings);
    let heartbeat = notify::heartbeat(&raw.heartbeat, findings);
    sites.extend(holders);
    let deployment = target::general(&raw.deployment, findings);
    let targets = target::check_all(&raw.target, (&sites, &clients), line, findings);
    let source = source.map(Path::to_owned);
    let dns = accounts;
    Config {
        acme,
        cas,
        listen,
        state,
        admin,
        clients,
        vault,
        tls,
        edge,
        log,
        access_log,
        dns,
        onboarding,
        allowance,
        notify,
        heartbeat,
        targets,
        deployment,
        sites,
        tcp,
        source,
    }
}

/// Only what a process needs that changes zones: the accounts, and where the state and the master
/// key are, of which it has no need.
pub(super) fn dns_part(
    raw: &RawConfig,
    findings: &mut Findings,
) -> (Vec<DnsAccount>, State, Vault) {
    let accounts = dns::check_all(&raw.dns, findings);
    (accounts, service::state(&raw.state, findings), service::vault(&raw.vault, findings))
}

/// Only what a process needs that carries something to a target; see [`dns_part`]. Whether a
/// certificate may go there has been judged by whoever sends it.
pub(super) fn target_part(raw: &RawConfig, findings: &mut Findings) -> (Vec<Target>, State, Vault) {
    let mut targets = raw.target.clone();
    for target in &mut targets {
        target.clients.clear();
        target.certificates.clear();
    }
    let targets = target::check_all(&targets, (&[], &[]), &|_| 0, findings);
    (targets, service::state(&raw.state, findings), service::vault(&raw.vault, findings))
}

/// What should be a URL, as it may be repeated in a message: without what may be a password.
fn quoted_url(text: &str) -> String {
    if text.contains('@') {
        return "(not shown: it may hold a password)".to_owned();
    }
    quoted(text)
}

/// A text as it may be repeated in a message: in quotes, and not endless.
fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    format!("{shown:?}")
}
