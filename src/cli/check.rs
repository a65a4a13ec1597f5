//! `keyward check`: whether a configuration can be used, and what would be done with it.
//!
//! Runs the code the daemon runs. Needs no daemon, no root and no network, and touches nothing.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::check_dns;
use super::check_guests;
use super::check_tcp;
use super::ways;
use crate::cert::spec::IssuerName;
use crate::config;
use crate::config::{
    Agreement, Config, Hsts, Loaded, Origin, Preset, Problem, Provenance, Severity, Site,
    TlsVersion,
};

/// Exit status for a configuration that can be used.
pub const OK: u8 = 0;

/// Exit status when the result cannot be written.
pub const FAILED: u8 = 1;

/// Exit status for a configuration that cannot be used (`EX_CONFIG`, sysexits.h).
pub const CONFIGURATION: u8 = 78;

/// Checks the file at `path` under `environment` (pass `std::env::vars_os()`).
///
/// The result goes to `out`; problems and warnings go to `err`, or with `json` to `out` as one
/// JSON value. Returns the exit status.
pub fn run<K, V>(
    path: &Path,
    environment: impl IntoIterator<Item = (K, V)>,
    json: bool,
    out: &mut impl Write,
    err: &mut impl Write,
) -> u8
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let result = config::load(path, environment);
    let status = if result.is_ok() { OK } else { CONFIGURATION };
    let (errors, warnings, loaded) = match result {
        Ok(Loaded { config, warnings }) => (Vec::new(), warnings, Some(config)),
        Err(problems) => (problems.errors, problems.warnings, None),
    };
    let written = if json {
        write_json(out, loaded.as_ref(), &errors, &warnings)
    } else {
        write_text(out, err, loaded.as_ref(), &errors, &warnings)
    };
    // A reader that went away has seen enough: `keyward check | head` is no failure of its own.
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => FAILED,
        _ => status,
    }
}

fn write_text(
    out: &mut impl Write,
    err: &mut impl Write,
    config: Option<&Config>,
    errors: &[Problem],
    warnings: &[Problem],
) -> io::Result<()> {
    for problem in errors.iter().chain(warnings) {
        writeln!(err, "{problem}\n")?;
    }
    let Some(config) = config else {
        let problems = counted(errors.len(), "problem");
        return writeln!(err, "{problems}; the configuration cannot be used");
    };
    writeln!(out, "ok: {}", summary(config, warnings.len()))?;
    for site in served(config) {
        write_site(out, config, site)?;
    }
    check_tcp::write(out, config)?;
    check_dns::write(out, config)?;
    check_guests::write(out, config)?;
    out.flush()
}

/// The sites that are more than holders of certificates.
fn served(config: &Config) -> impl Iterator<Item = &Site> {
    config.sites.iter().filter(|site| site.origin != Origin::Service)
}

/// "2 sites, 1 issuer, 1 warning"
fn summary(config: &Config, warnings: usize) -> String {
    let mut issuers: Vec<&IssuerName> = config.sites.iter().flat_map(Site::all_issuers).collect();
    issuers.extend(config.onboarding.iter().map(|plan| &plan.site.issuer));
    issuers.sort();
    issuers.dedup();
    let mut parts = vec![counted(served(config).count(), "site")];
    if !config.tcp.is_empty() {
        parts.push(counted(config.tcp.len(), "service"));
    }
    parts.push(counted(issuers.len(), "issuer"));
    if warnings > 0 {
        parts.push(counted(warnings, "warning"));
    }
    parts.join(", ")
}

fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn write_site(out: &mut impl Write, config: &Config, site: &Site) -> io::Result<()> {
    writeln!(out, "\n{}{}", site.name(), if site.default { " (default site)" } else { "" })?;
    if site.names.len() > 1 {
        writeln!(out, "  names        {}", joined(&site.names))?;
    }
    writeln!(out, "  certificate  {}", certificate(config, site))?;
    check_dns::write_proofs(out, config, site)?;
    writeln!(out, "  origin       {}", origin(&site.origin))?;
    for asked in ways::asks(&site.policy) {
        writeln!(out, "  asks         {asked}")?;
    }
    for route in &site.routes {
        writeln!(out, "  route        {}", ways::route(route, &site.policy))?;
    }
    let plain = if site.redirect { "redirected to https" } else { "answered with 404" };
    writeln!(out, "  plain http   {plain}")?;
    writeln!(out, "  tls          {}", tls(site.tls))?;
    if let Some(clients) = &site.clients {
        let how = if clients.required { "required" } else { "optional" };
        let list = if clients.crl.is_some() { "" } else { ", without revocation lists" };
        writeln!(out, "  clients      certificate {how}, by {}{list}", clients.ca.display())?;
    }
    writeln!(out, "  hsts         {}", hsts(site.hsts.as_ref()))?;
    site.losses().iter().try_for_each(|loss| writeln!(out, "  gives up     {loss}"))
}

/// "from acme-v02.api.letsencrypt.org by tls-alpn-01 or http-01, key p256"
pub(super) fn certificate(config: &Config, site: &Site) -> String {
    let further: Vec<String> = site.further.iter().map(ToString::to_string).collect();
    let further = further.join(", else from ");
    let mut text = match &site.issuer {
        IssuerName::Internal => "from the internal CA".to_owned(),
        IssuerName::Imported if further.is_empty() => "brought from elsewhere".to_owned(),
        IssuerName::Imported => format!("brought from elsewhere, followed by one from {further}"),
        IssuerName::Acme(_) => {
            let further = match further.as_str() {
                "" => String::new(),
                names => format!(", else from {names}"),
            };
            let standby = match &site.standby {
                Some(standby) => format!(", a second one of {standby} standing by"),
                None => String::new(),
            };
            let challenges = challenges(config, site).join(" or ");
            format!("from {} by {challenges}{further}{standby}", site.issuer)
        }
    };
    text.push_str(&format!(", key {}", site.key));
    if let Some(second) = site.second_key {
        text.push_str(&format!(", and another for {second}"));
    }
    if let Some(profile) = config.profile(site, &site.issuer) {
        text.push_str(&format!(", profile {profile}"));
    }
    if let Some(root) = &site.preferred_chain {
        text.push_str(&format!(", up to {root}"));
    }
    text
}

/// The challenges by which a site is proven to its first CA, where it has one that asks for any.
fn challenges(config: &Config, site: &Site) -> Vec<String> {
    let listed = config.authority(&site.issuer).map(|ca| ca.challenges.as_slice());
    listed.unwrap_or_default().iter().map(ToString::to_string).collect()
}

pub(super) fn joined(names: &[impl ToString]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Servers(_) => origin.to_string(),
        Origin::Files(files) => format!("the files in {}", files.root.display()),
        Origin::Welcome => "the built-in page".to_owned(),
        Origin::Service => "TCP services".to_owned(),
    }
}

/// "default, 1.2 and 1.3"
pub(super) const fn tls(tls: Agreement) -> &'static str {
    match (tls.preset, tls.min_version) {
        (Preset::Default, TlsVersion::Tls12) => "default: 1.2 and 1.3",
        (Preset::Default, TlsVersion::Tls13) => "default: 1.3 only",
        (Preset::Compatible, TlsVersion::Tls12) => "compatible: 1.2 and 1.3",
        (Preset::Compatible, TlsVersion::Tls13) => "compatible: 1.3 only",
        (Preset::Modern, _) => "modern: 1.3 only",
    }
}

fn hsts(hsts: Option<&Hsts>) -> String {
    let Some(hsts) = hsts else { return "not sent".to_owned() };
    let mut text = format!("max-age {} s", hsts.max_age);
    if hsts.include_subdomains {
        text.push_str(", with sub-domains");
    }
    if hsts.preload {
        text.push_str(", preload");
    }
    text
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    problems: Vec<JsonProblem<'a>>,
    warnings: Vec<JsonProblem<'a>>,
    sites: Vec<JsonSite>,
    dns: Vec<check_dns::JsonAccount>,
}

#[derive(Serialize)]
struct JsonProblem<'a> {
    severity: &'static str,
    path: Option<String>,
    variable: Option<&'a str>,
    line: Option<usize>,
    column: Option<usize>,
    key: String,
    problem: &'a str,
    expected: Option<&'a str>,
    #[serde(rename = "try")]
    hint: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonSite {
    names: Vec<String>,
    issuer: String,
    /// Who is asked in its place.
    further: Vec<String>,
    /// Who keeps a second certificate ready.
    standby: Option<String>,
    challenges: Vec<String>,
    origin: String,
    hsts: Option<JsonHsts>,
    tls: &'static str,
    gives_up: Vec<String>,
    redirect: bool,
    default: bool,
    line: usize,
}

#[derive(Serialize)]
struct JsonHsts {
    max_age: u64,
    include_subdomains: bool,
    preload: bool,
}

fn write_json(
    out: &mut impl Write,
    config: Option<&Config>,
    errors: &[Problem],
    warnings: &[Problem],
) -> io::Result<()> {
    let report = Report {
        ok: config.is_some(),
        problems: errors.iter().map(json_problem).collect(),
        warnings: warnings.iter().map(json_problem).collect(),
        sites: config.map(json_sites).unwrap_or_default(),
        dns: config.map(check_dns::json).unwrap_or_default(),
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)?;
    out.flush()
}

fn json_problem(problem: &Problem) -> JsonProblem<'_> {
    let (path, variable) = match &problem.origin {
        Provenance::File(path) => (Some(path.display().to_string()), None),
        Provenance::Variable(name) => (None, Some(name.as_str())),
        Provenance::Embedded => (None, None),
    };
    JsonProblem {
        severity: match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        path,
        variable,
        line: problem.line,
        column: problem.column,
        key: problem.key.to_string(),
        problem: &problem.problem,
        expected: problem.expected.as_deref(),
        hint: problem.hint.as_deref(),
    }
}

fn json_sites(config: &Config) -> Vec<JsonSite> {
    let sites = config.sites.iter().map(|site| JsonSite {
        names: site.names.iter().map(ToString::to_string).collect(),
        issuer: site.issuer.to_string(),
        further: site.further.iter().map(ToString::to_string).collect(),
        standby: site.standby.as_ref().map(ToString::to_string),
        challenges: challenges(config, site),
        origin: site.origin.to_string(),
        hsts: site.hsts.map(|hsts| JsonHsts {
            max_age: hsts.max_age,
            include_subdomains: hsts.include_subdomains,
            preload: hsts.preload,
        }),
        tls: tls(site.tls),
        gives_up: site.losses(),
        redirect: site.redirect,
        default: site.default,
        line: site.line,
    });
    sites.collect()
}
