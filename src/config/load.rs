//! From a file and the environment to a [`Config`], or to everything that is wrong with them.
//!
//! figment merges the layers (defaults, file, environment). It is told neither to open the file,
//! because it takes a missing one for an empty one, nor to word the messages, because it knows no
//! lines.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use figment::providers::Serialized;
use figment::value::Dict;
use figment::{Figment, Profile};

use super::check;
use super::dns::DnsAccount;
use super::environment::{self, Environment};
use super::finding::{Aim, Finding, Findings};
use super::key_path::KeyPath;
use super::model::{Config, MasterKey, State, Vault};
use super::problem::{Problem, Problems, Provenance, Severity};
use super::raw::RawConfig;
use super::shape;
use super::target::Target;
use super::text::Text;
use crate::base::bounds;

/// A configuration that can be used, and what is worth saying about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is not wrong, but probably not meant; in the order of the file.
    pub warnings: Vec<Problem>,
}

/// Reads the file at `path` and lays `KEYWARD_*` variables of `environment` over it; pass
/// `std::env::vars_os()`.
///
/// Looks at files that the configuration names, and touches nothing.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load<K, V>(
    path: &Path,
    environment: impl IntoIterator<Item = (K, V)>,
) -> Result<Loaded, Problems>
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let text = read(path).map_err(|(problem, hint)| {
        let mut finding = Finding::new(Severity::Error, &KeyPath::root(), problem);
        finding.hint(hint);
        let problem = with_place(finding, Provenance::File(path.to_owned()), None);
        Problems { errors: vec![problem], warnings: Vec::new() }
    })?;
    parse(&text, path, environment)
}

/// The same for a `text` that is at hand; `source` is what messages call it.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse<K, V>(
    text: &str,
    source: &Path,
    environment: impl IntoIterator<Item = (K, V)>,
) -> Result<Loaded, Problems>
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let text = Text::parse(text.to_owned()).map_err(|error| {
        let (what, expected) = match error.message.split_once(", expected ") {
            Some((what, expected)) => (what, Some(expected.to_owned())),
            None if error.message == "duplicate key" => {
                ("the key or table stands twice", Some("each key and each table once".to_owned()))
            }
            None => (error.message.as_str(), None),
        };
        let problem = Problem {
            severity: Severity::Error,
            origin: Provenance::File(source.to_owned()),
            line: Some(error.line),
            column: Some(error.column),
            key: KeyPath::root(),
            problem: format!("the file is no valid TOML: {what}"),
            expected,
            hint: None,
            excerpt: Some(error.excerpt),
        };
        Problems { errors: vec![problem], warnings: Vec::new() }
    })?;
    let mut environment = environment::read(environment, &shape::shape());
    let mut findings = Findings::default();
    let layer = shape::keep_to_shape(text.values(), &mut findings);
    let places = Places { source, text: &text, environment: &environment };
    let in_file = std::mem::take(&mut findings.all);
    let mut problems: Vec<Problem> = in_file.into_iter().map(|f| places.in_file(f)).collect();

    let line = |path: &KeyPath| places.text.position(path, Aim::Value).0;
    let config = match merge(layer, environment.layer.clone()) {
        Ok(raw) => Some(check::config(&raw, Some(source), &line, &mut findings)),
        Err(error) => {
            findings.error(&KeyPath::root(), error);
            None
        }
    };
    let merged = std::mem::take(&mut findings.all);
    problems.extend(merged.into_iter().map(|finding| places.merged(finding)));
    for (finding, variable) in std::mem::take(&mut environment.found) {
        problems.push(with_place(finding, Provenance::Variable(variable), None));
    }
    conclude(config, problems)
}

/// What a process needs of a configuration that changes zones.
#[derive(Clone, Debug)]
pub struct DnsPart {
    /// The accounts.
    pub accounts: Vec<DnsAccount>,
    /// Places that it has no business with: the state, and the master key.
    pub closed: Vec<PathBuf>,
}

/// Reads only that of the file at `path`; what is wrong with the rest is nobody's business here,
/// and a file of ten thousand sites is not checked for one record.
///
/// # Errors
/// What is wrong, in words.
pub fn dns_part<K, V>(
    path: &Path,
    environment: impl IntoIterator<Item = (K, V)>,
) -> Result<DnsPart, String>
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let raw = small_part(path, environment)?;
    let mut findings = Findings::default();
    let (accounts, state, vault) = check::dns_part(&raw, &mut findings);
    first_error(&findings)?;
    Ok(DnsPart { accounts, closed: out_of_reach(state, vault) })
}

/// What a process needs that carries a pair to a target, which may have more rights than main.
#[derive(Debug)]
pub struct TargetPart {
    /// Every target of the file.
    pub targets: Vec<Target>,
    /// The state directory, whose owner is main's user.
    pub state: PathBuf,
    /// What it has no need of, and is to take out of its own reach.
    pub closed: Vec<PathBuf>,
}

/// Reads only what concerns targets from the file at `path` and from the environment.
///
/// # Errors
/// What is wrong, in words.
pub fn target_part<K, V>(
    path: &Path,
    environment: impl IntoIterator<Item = (K, V)>,
) -> Result<TargetPart, String>
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let raw = small_part(path, environment)?;
    let mut findings = Findings::default();
    let (targets, state, vault) = check::target_part(&raw, &mut findings);
    first_error(&findings)?;
    Ok(TargetPart { targets, state: state.dir.clone(), closed: out_of_reach(state, vault) })
}

/// The values of the file and the environment without what a helper of main's has no need of: sites,
/// of which there may be very many. What does not fit is told by whoever reads the whole.
fn small_part<K, V>(
    path: &Path,
    environment: impl IntoIterator<Item = (K, V)>,
) -> Result<RawConfig, String>
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let text = read(path).map_err(|(problem, _)| problem)?;
    let text = Text::parse(text).map_err(|error| error.message)?;
    let environment = environment::read(environment, &shape::shape());
    let mut findings = Findings::default();
    let mut layer = shape::keep_to_shape(text.values(), &mut findings);
    layer.remove("site");
    layer.remove("tcp");
    merge(layer, environment.layer)
}

/// What neither a helper of main's nor what it starts is to reach: main's state, and the master key.
fn out_of_reach(state: State, vault: Vault) -> Vec<PathBuf> {
    let mut closed = vec![state.dir];
    if let MasterKey::File(path) = vault.master_key {
        closed.push(path);
    }
    closed
}

/// The first error, in words.
fn first_error(findings: &Findings) -> Result<(), String> {
    match findings.all.iter().find(|finding| finding.severity == Severity::Error) {
        Some(error) => Err(format!("{}: {}", error.key, error.problem)),
        None => Ok(()),
    }
}

/// The same for values that stand in the program.
pub(super) fn embedded(raw: &RawConfig) -> Result<Loaded, Problems> {
    let mut findings = Findings::default();
    let config = check::config(raw, None, &|_| 0, &mut findings);
    let problems =
        findings.all.into_iter().map(|finding| with_place(finding, Provenance::Embedded, None));
    conclude(Some(config), problems.collect())
}

fn conclude(config: Option<Config>, mut problems: Vec<Problem>) -> Result<Loaded, Problems> {
    problems.sort_by(|one, two| {
        (&one.origin, one.line, one.column).cmp(&(&two.origin, two.line, two.column))
    });
    let (errors, warnings): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| problem.severity == Severity::Error);
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(Problems { errors, warnings }),
    }
}

/// Defaults, then the file, then the environment. A list is replaced, never lengthened.
fn merge(file: Dict, environment: Dict) -> Result<RawConfig, String> {
    Figment::from(Serialized::defaults(RawConfig::default()))
        .merge(Serialized::from(file, Profile::Default))
        .merge(Serialized::from(environment, Profile::Default))
        .extract()
        .map_err(|error: figment::Error| error.to_string())
}

/// Where things stand.
struct Places<'a> {
    source: &'a Path,
    text: &'a Text,
    environment: &'a Environment,
}

impl Places<'_> {
    fn in_file(&self, finding: Finding) -> Problem {
        let position = self.text.position(&finding.key, finding.aim);
        with_place(finding, Provenance::File(self.source.to_owned()), Some(position))
    }

    /// In the variable that set the key, if one did; else in the file.
    fn merged(&self, finding: Finding) -> Problem {
        match self.environment.variable(&finding.key) {
            Some(name) => with_place(finding, Provenance::Variable(name.to_owned()), None),
            None => self.in_file(finding),
        }
    }
}

fn with_place(finding: Finding, origin: Provenance, position: Option<(usize, usize)>) -> Problem {
    Problem {
        severity: finding.severity,
        origin,
        line: position.map(|(line, _)| line),
        column: position.map(|(_, column)| column),
        key: finding.key,
        problem: finding.problem,
        expected: finding.expected,
        hint: finding.hint,
        excerpt: None,
    }
}

/// The text of the file, or what is wrong with it and what to try.
fn read(path: &Path) -> Result<String, (String, String)> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => (
            "there is no such file".to_owned(),
            "name the file, or begin with config/minimal.toml".to_owned(),
        ),
        io::ErrorKind::PermissionDenied => (
            "the file may not be read by this user".to_owned(),
            "run as root, or give the file to a group of this user".to_owned(),
        ),
        _ => (format!("the file cannot be read: {error}"), "look at the path".to_owned()),
    };
    // Without waiting: a pipe that nobody writes to must not hold up the start.
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        let hint = format!("{}", path.join("keyward.toml").display());
        return Err(("this is a directory".to_owned(), hint));
    }
    if !about.is_file() {
        return Err(("this is no regular file".to_owned(), "write it to a file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(bounds::CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bounds::CONFIG_BYTES {
        let limit = bounds::CONFIG_BYTES / (1024 * 1024);
        return Err((
            format!("the file is longer than {limit} MiB"),
            "look whether this is the right file".to_owned(),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        (format!("the file is not UTF-8 from line {line} on"), "save it as UTF-8".to_owned())
    })
}
