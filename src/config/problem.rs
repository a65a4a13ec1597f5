//! What is wrong with a configuration, where, what was expected and what to try.
//!
//! One [`Problem`] is one place to put right. It knows nothing of how it was found.

use std::fmt;
use std::path::PathBuf;

use super::key_path::KeyPath;

/// One thing that is wrong, or worth a warning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Whether it keeps the configuration from being used.
    pub severity: Severity,
    /// Where the text comes from.
    pub origin: Provenance,
    /// Line, from 1; `None` where there is no text.
    pub line: Option<usize>,
    /// Column in characters, from 1; `None` where there is no text.
    pub column: Option<usize>,
    /// The key concerned; empty when it is the file as a whole.
    pub key: KeyPath,
    /// What is wrong.
    pub problem: String,
    /// What was expected instead.
    pub expected: Option<String>,
    /// What to try.
    pub hint: Option<String>,
    /// The offending line with a mark below it, where the text could not be read as TOML.
    pub excerpt: Option<String>,
}

/// Whether a [`Problem`] keeps the configuration from being used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// Where a text comes from.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Provenance {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// The program itself, for `keyward demo`.
    Embedded,
}

/// Everything that keeps a configuration from being used, in the order of the file; variables of
/// the environment follow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems {
    /// The errors; never empty.
    pub errors: Vec<Problem>,
    /// Warnings found on the way.
    pub warnings: Vec<Problem>,
}

impl Problem {
    /// The whole problem on one line, for a log.
    pub fn one_line(&self) -> String {
        let mut line = match (&self.origin, self.line, self.column) {
            (Provenance::File(path), Some(line), Some(column)) => {
                format!("{}:{line}:{column}: ", path.display())
            }
            (Provenance::File(path), ..) => format!("{}: ", path.display()),
            (Provenance::Variable(name), ..) => format!("{name}: "),
            (Provenance::Embedded, ..) => String::new(),
        };
        line.push_str(&self.problem);
        if let Some(expected) = &self.expected {
            line.push_str("; expected: ");
            line.push_str(expected);
        }
        if let Some(hint) = &self.hint {
            line.push_str("; try: ");
            line.push_str(hint);
        }
        line
    }
}

impl fmt::Display for Problem {
    /// Several lines, without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{label}: {}\n  --> ", self.problem)?;
        match &self.origin {
            Provenance::File(path) => write!(f, "{}", path.display())?,
            Provenance::Variable(name) => write!(f, "environment variable {name}")?,
            Provenance::Embedded => f.write_str("built-in configuration")?,
        }
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_root() {
            write!(f, ", {}", self.key.in_words())?;
        }
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "\n  expected: {expected}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  try: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    /// The errors, one empty line between each two; warnings are not among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
