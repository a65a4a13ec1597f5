//! What becomes of each certificate in a store.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::kept::Kept;
use super::tool::Tool;
use crate::base::Timestamp;
use crate::cert::brought::Brought;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cli::material::Material;

/// A certificate in a store, and what becomes of it.
pub(super) struct Plan {
    pub(super) tool: Tool,
    /// What the store calls it.
    title: String,
    at: PathBuf,
    /// It and its key, if they are of use.
    pub(super) found: Option<(Brought, Material)>,
    pub(super) fate: Fate,
}

/// What becomes of one.
pub(super) enum Fate {
    /// It can be taken over.
    Take,
    /// It was, under this id.
    Taken(String),
    /// The very same is here already.
    Here,
    /// It stays where it is, for this reason.
    Left(String),
    /// The daemon refused it, for this reason.
    Failed(String),
}

impl Fate {
    /// In words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Take => "to take over".to_owned(),
            Self::Taken(id) => format!("taken over, id {id}"),
            Self::Here => "here already".to_owned(),
            Self::Left(why) => format!("left: {why}"),
            Self::Failed(why) => format!("failed: {why}"),
        }
    }

    /// In one word, for programs.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Take => "to-take-over",
            Self::Taken(_) => "taken-over",
            Self::Here => "here",
            Self::Left(_) => "left",
            Self::Failed(_) => "failed",
        }
    }
}

/// One as programs see it.
#[derive(Serialize)]
pub(super) struct Shown {
    tool: &'static str,
    at: PathBuf,
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Plan {
    /// The first look at one that a store of `tool` keeps.
    pub(super) fn of(tool: Tool, kept: Kept, now: Timestamp) -> Self {
        let Kept { title, at, found } = kept;
        let examined = found.and_then(|material| {
            let brought = Brought::examine(&material.chain, material.key.id, now, false);
            Ok((brought.map_err(|error| error.to_string())?, material))
        });
        match examined {
            Ok(found) => Self { tool, title, at, found: Some(found), fate: Fate::Take },
            Err(why) => Self { tool, title, at, found: None, fate: Fate::Left(why) },
        }
    }

    /// Whether the daemon has it, among certificates with these `serials`.
    pub(super) fn compare(&mut self, serials: &BTreeSet<String>) {
        if let (Fate::Take, Some((brought, _))) = (&self.fate, &self.found)
            && serials.contains(&brought.leaf.serial)
        {
            self.fate = Fate::Here;
        }
    }

    /// Its names, as they are written in a configuration.
    pub(super) fn names(&self) -> Vec<String> {
        self.found
            .iter()
            .flat_map(|(brought, _)| &brought.leaf.names)
            .map(Identifier::to_string)
            .collect()
    }

    /// Its names, or what the store calls it.
    pub(super) fn title(&self) -> String {
        let names = self.names();
        if names.is_empty() { self.title.clone() } else { names.join(" ") }
    }

    pub(super) fn shown(&self) -> Shown {
        let leaf = self.found.as_ref().map(|(brought, _)| &brought.leaf);
        let (id, reason) = match &self.fate {
            Fate::Taken(id) => (Some(id.clone()), None),
            Fate::Left(why) | Fate::Failed(why) => (None, Some(why.clone())),
            Fate::Take | Fate::Here => (None, None),
        };
        let names = self.names();
        Shown {
            tool: self.tool.name(),
            at: self.at.clone(),
            names: if names.is_empty() { vec![self.title.clone()] } else { names },
            serial: leaf.map(|leaf| leaf.serial.clone()),
            issuer: leaf.map(|leaf| leaf.issuer.clone()),
            not_after: leaf.map(|leaf| leaf.validity.not_after.to_string()),
            outcome: self.fate.word(),
            id,
            reason,
        }
    }
}

/// Of several certificates for the same names and with the same sort of key the one that is good for
/// longest is taken: they would take each other's place. One with an RSA key and one with another are
/// served side by side.
pub(super) fn choose(plans: &mut [Plan]) {
    let mut best: BTreeMap<(Vec<Identifier>, bool), (usize, Timestamp)> = BTreeMap::new();
    let mut worse = Vec::new();
    for (number, plan) in plans.iter().enumerate() {
        let Some((brought, material)) = &plan.found else { continue };
        let until = brought.leaf.validity.not_after;
        let sort = (brought.leaf.names.clone(), material.key.algorithm == KeyAlgorithm::Rsa2048);
        match best.get_mut(&sort) {
            None => {
                best.insert(sort, (number, until));
            }
            Some(known) if known.1 < until => {
                worse.push(std::mem::replace(known, (number, until)).0);
            }
            Some(_) => worse.push(number),
        }
    }
    for number in worse {
        if let Some(plan) = plans.get_mut(number) {
            plan.fate = Fate::Left("another one for the same names is good for longer".to_owned());
        }
    }
}
