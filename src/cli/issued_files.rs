//! Where what was issued is written: the key first, by the vault itself, and then the chain, so that a
//! chain that is there says that its key is.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::path::PathBuf;

use super::connect::Client;
use super::connect::segment;
use super::export::Aside;
use super::material;
use super::report::FAILED;
use super::report::FAULT;
use super::report::Report;
use crate::admin::wire::transfer::Handover;
use crate::admin::wire::transfer::HandoverOrder;
use crate::base::disk;
use crate::cert::chain::Chain;
use crate::cert::key::KeyId;

/// The files for one certificate.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Places {
    pub(super) chain: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

impl Places {
    /// In a directory, after the first name.
    pub(super) fn below(dir: &Path, name: &str, key: bool) -> Self {
        // A star is no good beginning of a file's name, nor is a colon in one.
        let stem: String =
            name.chars().map(|c| if c == '*' || c == ':' { '_' } else { c }).collect();
        let file = |ending: &str| dir.join(format!("{stem}.{ending}"));
        Self { chain: Some(file("crt")), key: key.then(|| file("key")) }
    }

    /// Whether nothing is to be written.
    pub(super) const fn is_nowhere(&self) -> bool {
        self.chain.is_none() && self.key.is_none()
    }

    /// Refuses before anything is ordered, if a file is there and would be replaced.
    pub(super) fn check(&self, force: bool) -> Result<(), Report> {
        for path in self.chain.iter().chain(&self.key) {
            if !force && path.symlink_metadata().is_ok() {
                return Err(there(path));
            }
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            if let Some(parent) = parent
                && !parent.is_dir()
            {
                let what = format!("{} is no directory", parent.display());
                return Err(Report::new(FAILED, what));
            }
        }
        Ok(())
    }

    /// Writes both for the certificate `id`. Files of this very certificate that are there already are
    /// left alone; others are replaced only with `force`.
    pub(super) fn write(&self, client: &Client, id: &str, force: bool) -> Result<(), Report> {
        if self.is_nowhere() {
            return Ok(());
        }
        let pem = client.get(&format!("/certificates/{}/chain", segment(id)))?;
        self.write_with(client, id, &pem.0, force)
    }

    /// The same with the chain at hand.
    pub(super) fn write_with(
        &self,
        client: &Client,
        id: &str,
        pem: &[u8],
        force: bool,
    ) -> Result<(), Report> {
        let chain = Chain::from_pem(pem).map_err(|error| {
            Report::new(FAULT, format!("the daemon sent no chain for {id}: {error}"))
        })?;
        if let Some(path) = &self.key {
            let of = chain.leaf_key().map_err(|error| Report::new(FAULT, error.to_string()))?;
            write_key(client, id, path, of, force)?;
        }
        if let Some(path) = &self.chain {
            let same = std::fs::read(path).is_ok_and(|present| present == pem);
            if same {
                return Ok(());
            }
            if path.symlink_metadata().is_ok() && !force {
                return Err(there(path));
            }
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            disk::replace(&path, pem, 0o644).map_err(|error| {
                Report::new(FAILED, format!("cannot write {}: {error}", path.display()))
            })?;
        }
        Ok(())
    }
}

fn write_key(client: &Client, id: &str, path: &Path, of: KeyId, force: bool) -> Result<(), Report> {
    if path.symlink_metadata().is_ok() && !force {
        // A run that was interrupted left it, or somebody else's lies there.
        return if material::is_key(path, of)? { Ok(()) } else { Err(there(path)) };
    }
    let target = Aside::create(path, force)?;
    let order = HandoverOrder::Export { certificate: id.to_owned() };
    match client.hand_over(&order, target.file.as_fd())? {
        Handover::Exported(_) => target.put_in_place(force),
        _ => Err(Report::new(FAULT, "the daemon did something else than it was asked")),
    }
}

fn there(path: &Path) -> Report {
    Report::new(FAILED, format!("{} is there already", path.display()))
        .hint("another place, or --force to replace it")
}
