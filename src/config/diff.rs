//! What differs between two configurations, and which of it a running daemon can take up.

use std::collections::BTreeMap;
use std::fmt;

use super::model::{Config, Site};
use super::target::Target;
use super::tcp::TcpService;
use crate::cert::identifier::Identifier;

/// Whether a running daemon takes up a changed key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reload {
    /// At the next reload.
    Hot,
    /// Only at the next start.
    Restart,
}

/// Keys, or whole sections, that need a restart.
const RESTART: &[&str] = &[
    "state.dir",
    "admin.socket",
    "admin.group",
    "vault",
    "tls.tickets",
    "tls.ktls",
    "edge.name_servers",
    "edge.workers",
    "log.format",
];

/// Whether the key with this dotted path is taken up by a reload.
pub fn reload_class(path: &str) -> Reload {
    let needs_restart = RESTART.iter().any(|key| {
        path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    if needs_restart { Reload::Restart } else { Reload::Hot }
}

/// What differs between two configurations. Sites are told apart by their first name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Sites that are new.
    pub added: Vec<Identifier>,
    /// Sites that are gone.
    pub removed: Vec<Identifier>,
    /// Sites that are not what they were.
    pub changed: Vec<Identifier>,
    /// Sites that prefer another root, of the same CA: they show it from their next renewal on.
    pub chains: Vec<Identifier>,
    /// Sections of which some key changed.
    pub sections: Vec<&'static str>,
    /// Changed keys that only a restart takes up.
    pub restart: Vec<&'static str>,
}

/// What leads from `old` to `new`.
pub fn diff(old: &Config, new: &Config) -> Changes {
    let mut changes = Changes::default();
    sites(&old.sites, &new.sites, &mut changes);
    changes.chains = chains(old, new);
    for (section, changed) in [
        ("acme", old.acme != new.acme),
        ("ca", old.cas != new.cas),
        ("listen", old.listen != new.listen),
        ("state", old.state != new.state),
        ("admin", old.admin != new.admin),
        ("client", old.clients != new.clients),
        ("vault", old.vault != new.vault),
        ("tls", old.tls != new.tls),
        ("edge", old.edge != new.edge),
        ("log", old.log != new.log),
        ("access_log", old.access_log != new.access_log),
        ("dns", old.dns != new.dns),
        ("onboarding", old.onboarding != new.onboarding),
        ("allowance", old.allowance != new.allowance),
        ("notify", old.notify != new.notify),
        ("heartbeat", old.heartbeat != new.heartbeat),
        ("deployment", old.deployment != new.deployment),
        ("target", !same_targets(&old.targets, &new.targets)),
        ("tcp", !same_services(&old.tcp, &new.tcp)),
    ] {
        if changed {
            changes.sections.push(section);
        }
    }
    for (key, changed) in [
        ("state.dir", old.state.dir != new.state.dir),
        ("admin.socket", old.admin.socket != new.admin.socket),
        ("admin.group", old.admin.group != new.admin.group),
        ("vault.master_key", old.vault.master_key != new.vault.master_key),
        ("vault.cache", old.vault.cache != new.vault.cache),
        ("vault.require", old.vault.require != new.vault.require),
        ("tls.tickets", old.tls.tickets != new.tls.tickets),
        ("tls.ktls", old.tls.ktls != new.tls.ktls),
        ("edge.name_servers", old.edge.name_servers != new.edge.name_servers),
        ("edge.workers", old.edge.workers != new.edge.workers),
        ("log.format", old.log.format != new.log.format),
    ] {
        if changed {
            changes.restart.push(key);
        }
    }
    changes
}

fn sites(old: &[Site], new: &[Site], changes: &mut Changes) {
    let before: BTreeMap<&Identifier, &Site> = old.iter().map(|site| (site.name(), site)).collect();
    let after: BTreeMap<&Identifier, &Site> = new.iter().map(|site| (site.name(), site)).collect();
    for site in old {
        if !after.contains_key(site.name()) {
            changes.removed.push(site.name().clone());
        }
    }
    for site in new {
        match before.get(site.name()) {
            None => changes.added.push(site.name().clone()),
            Some(former) if !same(former, site) => changes.changed.push(site.name().clone()),
            Some(_) => {}
        }
    }
}

/// The sites whose next certificate is to lead up to another root of the CA that issues it now.
fn chains(old: &Config, new: &Config) -> Vec<Identifier> {
    let root = |config: &Config, site: &Site| {
        let ca = config.authority(&site.issuer)?;
        let own = config.preferred_chain(site, &site.issuer);
        Some(own.or_else(|| ca.preferred_chain.clone()))
    };
    let before: BTreeMap<_, _> = old.sites.iter().map(|site| (site.name(), site)).collect();
    let other = |site: &&Site| {
        let former = before.get(site.name()).filter(|former| former.issuer == site.issuer);
        former.is_some_and(|former| root(old, former) != root(new, site))
    };
    new.sites.iter().filter(other).map(|site| site.name().clone()).collect()
}

/// Whether two sites do the same; where they stand in the file is no difference.
fn same(one: &Site, two: &Site) -> bool {
    let moved = Site { line: two.line, ..one.clone() };
    moved == *two
}

/// The same for services, whose order says who gets clients that name nothing.
fn same_services(old: &[TcpService], new: &[TcpService]) -> bool {
    let moved = old.iter().zip(new).map(|(one, two)| TcpService { line: two.line, ..one.clone() });
    old.len() == new.len() && moved.eq(new.iter().cloned())
}

/// The same for targets.
fn same_targets(old: &[Target], new: &[Target]) -> bool {
    let moved = old.iter().zip(new).map(|(one, two)| Target { line: two.line, ..one.clone() });
    old.len() == new.len() && moved.eq(new.iter().cloned())
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Changes {
    /// One line for each kind of change, without a line break at the end; for the journal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changed");
        }
        let names = |names: &[Identifier]| {
            let names: Vec<String> = names.iter().map(Identifier::to_string).collect();
            names.join(", ")
        };
        let lines = [
            ("sites added", names(&self.added)),
            ("sites removed", names(&self.removed)),
            ("sites changed", names(&self.changed)),
            ("sections changed", self.sections.join(", ")),
            ("in force only after a restart", self.restart.join(", ")),
        ];
        let mut first = true;
        for (label, what) in lines.iter().filter(|(_, what)| !what.is_empty()) {
            if !first {
                f.write_str("\n")?;
            }
            first = false;
            write!(f, "{label}: {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::load::parse;
    use super::*;

    fn config(text: &str) -> Config {
        parse(text, Path::new("keyward.toml"), [("", ""); 0]).unwrap().config
    }

    fn site(name: &str, port: u16) -> String {
        format!("[[site]]\nnames = ['{name}.internal']\norigin = 'http://127.0.0.1:{port}'\n")
    }

    #[test]
    fn sites_are_told_apart_by_name_wherever_they_stand() {
        let old = config(&[site("a", 1), site("b", 1), site("c", 1)].concat());
        let new = config(&[site("d", 1), site("c", 1), site("b", 2)].concat());
        let changes = diff(&old, &new);
        let expected = "sites added: d.internal\n\
                        sites removed: a.internal\n\
                        sites changed: b.internal";
        assert_eq!(changes.to_string(), expected);
        assert!(changes.restart.is_empty());
    }

    #[test]
    fn what_only_moved_did_not_change() {
        let old = config(&[site("a", 1), site("b", 1)].concat());
        let new = config(&["# a remark\n\n".to_owned(), site("b", 1), site("a", 1)].concat());
        let changes = diff(&old, &new);
        assert!(changes.is_empty());
        assert_eq!(changes.to_string(), "nothing changed");
    }

    #[test]
    fn sites_that_prefer_another_root_are_named_and_no_others() {
        let text = |acme: &str, site: &str| {
            let site = format!("names = ['a.example.org']\norigin = 'http://127.0.0.1:1'\n{site}");
            config(&format!("[acme]\naccept_terms = true\n{acme}\n[[site]]\n{site}"))
        };
        let (r1, r2) = ("preferred_chain = 'R1'", "preferred_chain = 'R2'");
        for (old, new, named) in [
            ((r1, ""), (r2, ""), true),
            ((r1, ""), (r1, r2), true),
            ((r1, r2), ("", r2), false),
            ((r1, ""), ("", r1), false),
            (("", r1), ("", ""), true),
            ((r1, ""), (r1, "redirect = false"), false),
            (("", ""), ("", "issuer = 'internal'"), false),
        ] {
            let changes = diff(&text(old.0, old.1), &text(new.0, new.1));
            assert_eq!(changes.chains.len(), usize::from(named), "{old:?} {new:?}");
        }
    }

    #[test]
    fn what_needs_a_restart_is_named_and_agrees_with_the_reload_class() {
        let old = config("");
        for (text, section, restart) in [
            ("[deployment]\nwatch = '2h'", "deployment", None),
            ("[acme]\nprofile = 'x'", "acme", None),
            ("[listen]\nhttp = []", "listen", None),
            ("[log]\nlevel = 'debug'", "log", None),
            ("[[ca]]\nname = 'zerossl'", "ca", None),
            ("[log]\nformat = 'text'", "log", Some("log.format")),
            ("[access_log]\nto = 'journal'", "access_log", None),
            ("[edge]\nidle_timeout = '1s'", "edge", None),
            ("[edge]\nworkers = 1000", "edge", Some("edge.workers")),
            ("[tls]\ntickets = 'strict'", "tls", Some("tls.tickets")),
            ("[tls]\nticket_rotation = '2h'", "tls", None),
            ("[tls]\nktls = 'off'", "tls", Some("tls.ktls")),
            ("[state]\ndir = '/x'", "state", Some("state.dir")),
            ("[admin]\nsocket = '/x'", "admin", Some("admin.socket")),
            ("[admin]\ngroup = 'x'", "admin", Some("admin.group")),
            ("[vault]\ncache = '1MiB'", "vault", Some("vault.cache")),
            ("[vault]\nrequire = 'strict'", "vault", Some("vault.require")),
            ("[vault]\nmaster_key = '/proc/self/exe'", "vault", Some("vault.master_key")),
        ] {
            let changes = diff(&old, &config(text));
            assert_eq!(changes.sections, [section], "{text}");
            assert_eq!(changes.restart, restart.map_or(vec![], |key| vec![key]), "{text}");
            let key = text.split(['[', ']', '\n', ' ']).filter(|word| !word.is_empty());
            let key = key.take(2).collect::<Vec<_>>().join(".");
            let class = if restart.is_some() { Reload::Restart } else { Reload::Hot };
            assert_eq!(reload_class(&key), class, "{key}");
        }
    }
}
