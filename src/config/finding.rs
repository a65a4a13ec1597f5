//! What the checks find, still without file and line.
//!
//! A check knows the key and what is wrong with it; `super::load` knows where the key stands.

use std::collections::BTreeSet;

use super::key_path::KeyPath;
use super::problem::Severity;

/// One thing found at one key.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) key: KeyPath,
    pub(super) aim: Aim,
    pub(super) problem: String,
    pub(super) expected: Option<String>,
    pub(super) hint: Option<String>,
}

/// What of a key to point at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Aim {
    /// Its name.
    Name,
    /// Its value.
    Value,
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) all: Vec<Finding>,
    /// Keys whose value was unusable, so that nobody complains of it a second time.
    spoilt: BTreeSet<KeyPath>,
}

impl Finding {
    pub(super) fn new(severity: Severity, key: &KeyPath, problem: impl Into<String>) -> Self {
        Self {
            severity,
            key: key.clone(),
            aim: Aim::Value,
            problem: problem.into(),
            expected: None,
            hint: None,
        }
    }

    pub(super) const fn at_name(&mut self) -> &mut Self {
        self.aim = Aim::Name;
        self
    }

    pub(super) fn expected(&mut self, text: impl Into<String>) -> &mut Self {
        self.expected = Some(text.into());
        self
    }

    pub(super) fn hint(&mut self, text: impl Into<String>) -> &mut Self {
        self.hint = Some(text.into());
        self
    }
}

impl Findings {
    /// Something that keeps the configuration from being used.
    pub(super) fn error(&mut self, key: &KeyPath, problem: impl Into<String>) -> &mut Finding {
        self.add(Finding::new(Severity::Error, key, problem))
    }

    /// Something worth a warning.
    pub(super) fn warning(&mut self, key: &KeyPath, problem: impl Into<String>) -> &mut Finding {
        self.add(Finding::new(Severity::Warning, key, problem))
    }

    fn add(&mut self, finding: Finding) -> &mut Finding {
        let last = self.all.len();
        self.all.push(finding);
        #[expect(clippy::indexing_slicing, reason = "pushed on the line above")]
        &mut self.all[last]
    }

    /// Remembers that the value of `key` was replaced by a stand-in.
    pub(super) fn spoil(&mut self, key: KeyPath) {
        self.spoilt.insert(key);
    }

    /// Whether the value of `key` is a stand-in.
    pub(super) fn is_spoilt(&self, key: &KeyPath) -> bool {
        self.spoilt.contains(key)
    }

    /// Whether something was found at `key` already.
    pub(super) fn is_told(&self, key: &KeyPath) -> bool {
        self.all.iter().any(|finding| finding.key == *key)
    }
}
