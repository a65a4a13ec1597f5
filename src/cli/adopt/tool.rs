//! The tools whose stores are known: where they lie, and how one is recognised.

use std::path::Path;
use std::path::PathBuf;

use super::acme_sh;
use super::caddy;
use super::certbot;
use super::kept::Kept;
use super::lego;
use super::traefik;

/// A tool that keeps certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(in crate::cli) enum Tool {
    /// certbot: a directory with live/ and renewal/
    Certbot,
    /// acme.sh: a directory with one directory for each name
    #[value(name = "acme.sh")]
    AcmeSh,
    /// Caddy: its data directory
    Caddy,
    /// Traefik: the file acme.json
    Traefik,
    /// lego: a directory with certificates/ and accounts/
    Lego,
}

impl Tool {
    const ALL: [Self; 5] = [Self::Certbot, Self::AcmeSh, Self::Caddy, Self::Traefik, Self::Lego];

    /// All, or the one that is `wanted`.
    pub(super) fn wanted(wanted: Option<Self>) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |tool| wanted.is_none_or(|wanted| wanted == *tool))
    }

    /// What people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Certbot => "certbot",
            Self::AcmeSh => "acme.sh",
            Self::Caddy => "Caddy",
            Self::Traefik => "Traefik",
            Self::Lego => "lego",
        }
    }

    /// Where its store lies unless somebody chose otherwise; `home` is the caller's.
    pub(super) fn places(self, home: &Path) -> Vec<PathBuf> {
        let fixed = |places: &[&str]| places.iter().map(PathBuf::from).collect();
        match self {
            Self::Certbot => fixed(&["/etc/letsencrypt"]),
            Self::AcmeSh => vec![home.join(".acme.sh")],
            Self::Caddy => {
                vec![home.join(".local/share/caddy"), "/var/lib/caddy/.local/share/caddy".into()]
            }
            Self::Traefik => fixed(&[
                "/etc/traefik/acme.json",
                "/var/lib/traefik/acme.json",
                "/letsencrypt/acme.json",
            ]),
            Self::Lego => vec![home.join(".lego"), "/etc/lego".into(), "/var/lib/lego".into()],
        }
    }

    /// Whether what lies at `place` is a store of this tool.
    pub(super) fn recognises(self, place: &Path) -> bool {
        match self {
            Self::Certbot => certbot::recognises(place),
            Self::AcmeSh => acme_sh::recognises(place),
            Self::Caddy => caddy::recognises(place),
            Self::Traefik => traefik::recognises(place),
            Self::Lego => lego::recognises(place),
        }
    }

    /// What the store at `place` keeps, in the order of the names.
    ///
    /// # Errors
    /// In words, when it cannot be read as a whole. What is wrong with one certificate is said of
    /// that one.
    pub(super) fn read(self, place: &Path) -> Result<Vec<Kept>, String> {
        match self {
            Self::Certbot => certbot::read(place),
            Self::AcmeSh => acme_sh::read(place),
            Self::Caddy => caddy::read(place),
            Self::Traefik => traefik::read(place),
            Self::Lego => lego::read(place),
        }
    }

    /// How it is kept from renewing what is renewed here from now on.
    pub(super) const fn farewell(self) -> &'static str {
        match self {
            Self::Certbot => {
                "certbot goes on renewing: systemctl disable --now certbot.timer, or certbot delete for each name"
            }
            Self::AcmeSh => {
                "acme.sh goes on renewing: acme.sh --remove -d NAME for each name, or acme.sh --uninstall-cronjob"
            }
            Self::Caddy => {
                "Caddy goes on renewing until it is stopped: systemctl disable --now caddy"
            }
            Self::Traefik => {
                "Traefik goes on renewing until it is stopped or its certificate resolver is removed"
            }
            Self::Lego => "lego goes on renewing where a timer or cron runs it: remove that entry",
        }
    }
}
