//! `KEYWARD_*` variables as a layer of the configuration.
//!
//! A double underscore leads into a section: `KEYWARD_ACME__DIRECTORY` is `directory` below
//! `[acme]`. Lists are separated by commas, or written as in TOML. Sites stand in the file only.

use std::ffi::OsString;

use figment::value::{Dict, Tag, Value};

use super::finding::Finding;
use super::key_path::{KeyPath, Step};
use super::problem::Severity;
use super::shape::Kind;
use super::suggest;

/// Every variable of the configuration begins so.
const PREFIX: &str = "KEYWARD_";

/// Variables that other parts of the program read.
const CONTROL: &[&str] =
    &["KEYWARD_CONFIG", "KEYWARD_CRASH_AT", "KEYWARD_SOCKET", "KEYWARD_TOKEN_FILE"];

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// The values, where they belong.
    pub(super) layer: Dict,
    /// Which variable set which key.
    pub(super) variables: Vec<(KeyPath, String)>,
    /// What is wrong, with the variable's name.
    pub(super) found: Vec<(Finding, String)>,
}

/// Reads those of `variables` that concern the configuration, in the order of their names.
pub(super) fn read<K, V>(variables: impl IntoIterator<Item = (K, V)>, shape: &Dict) -> Environment
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let mut ours: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())))
        .filter(|(name, _)| name.starts_with(PREFIX) && !CONTROL.contains(&name.as_str()))
        .collect();
    ours.sort();
    let mut environment = Environment::default();
    for (name, value) in ours {
        environment.take(&name, value, shape);
    }
    environment
}

impl Environment {
    fn take(&mut self, name: &str, value: OsString, shape: &Dict) {
        let rest = name.strip_prefix(PREFIX).unwrap_or_default().to_ascii_lowercase();
        let path = KeyPath::dotted(&rest.replace("__", "."));
        if !rest.contains("__") {
            return self.single_underscore(name, &rest, shape);
        }
        let Some(example) = find(shape, &path) else {
            return self.unknown(name, &path, shape);
        };
        let kind = Kind::of(example);
        if matches!(kind, Kind::Table | Kind::Tables) {
            return self.unknown(name, &path, shape);
        }
        let Ok(value) = value.into_string() else {
            self.error(name, &path, "the value is not UTF-8");
            return;
        };
        match parse(kind, &value) {
            Some(value) => {
                insert(&mut self.layer, path.steps(), value);
                self.variables.push((path, name.to_owned()));
            }
            None => {
                self.error(name, &path, format!("the value is not {kind}"))
                    .expected(kind.to_string());
            }
        }
    }

    /// Not ours, unless one underscore was forgotten.
    fn single_underscore(&mut self, name: &str, rest: &str, shape: &Dict) {
        let meant = rest
            .match_indices('_')
            .filter_map(|(at, _)| Some((rest.get(..at)?, rest.get(at + 1..)?)))
            .find(|(section, key)| {
                find(shape, &KeyPath::root().key(section).key(key)).is_some()
                    || (*section == "acme" && key.starts_with("eab"))
            });
        if let Some((section, key)) = meant {
            let meant = format!("{PREFIX}{section}__{key}").to_ascii_uppercase();
            self.error(name, &KeyPath::root(), "a section and its key need two underscores")
                .hint(meant);
        } else {
            let finding = Finding::new(
                Severity::Warning,
                &KeyPath::root(),
                "the variable is not known and has no effect",
            );
            self.found.push((finding, name.to_owned()));
        }
    }

    fn unknown(&mut self, name: &str, path: &KeyPath, shape: &Dict) {
        let first = match path.steps().first() {
            Some(Step::Key(first)) => first.as_str(),
            _ => "",
        };
        if let "site" | "tcp" = first {
            let what = if first == "tcp" { "services" } else { "sites" };
            self.error(
                name,
                &KeyPath::root(),
                format!("{what} cannot be given in the environment"),
            )
            .hint("write them into the file");
            return;
        }
        let known = names(shape, "");
        let wanted = path.to_string();
        let finding = self.error(name, &KeyPath::root(), "there is no such key");
        if let Some(meant) = suggest::nearest(&wanted, known.iter().map(String::as_str)) {
            let variable = format!("{PREFIX}{}", meant.replace('.', "__").to_ascii_uppercase());
            finding.hint(variable);
        } else {
            finding.hint("unset it; config/reference.toml lists every key");
        }
    }

    fn error(&mut self, name: &str, path: &KeyPath, problem: impl Into<String>) -> &mut Finding {
        let last = self.found.len();
        self.found.push((Finding::new(Severity::Error, path, problem), name.to_owned()));
        #[expect(clippy::indexing_slicing, reason = "pushed on the line above")]
        &mut self.found[last].0
    }

    /// The variable that set `path`, or what it lies in.
    pub(super) fn variable(&self, path: &KeyPath) -> Option<&str> {
        let set = self.variables.iter().find(|(set, _)| set.leads_to(path));
        set.map(|(_, name)| name.as_str())
    }
}

fn find<'a>(shape: &'a Dict, path: &KeyPath) -> Option<&'a Value> {
    let mut steps = path.steps().iter();
    let Some(Step::Key(first)) = steps.next() else { return None };
    steps.try_fold(shape.get(first)?, |value, step| match step {
        Step::Key(key) => value.as_dict()?.get(key),
        Step::Index(_) => None,
    })
}

/// All dotted names below `shape` that a variable can set.
fn names(shape: &Dict, prefix: &str) -> Vec<String> {
    shape
        .iter()
        .flat_map(|(key, value)| match value {
            Value::Dict(_, inner) => names(inner, &format!("{prefix}{key}.")),
            other if Kind::of(other) == Kind::Tables => Vec::new(),
            _ => vec![format!("{prefix}{key}")],
        })
        .collect()
}

fn parse(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Text => Some(Value::from(text)),
        Kind::Flag => text.trim().parse::<bool>().ok().map(Value::from),
        Kind::Count => text.trim().parse::<u64>().ok().map(Value::from),
        Kind::Texts => list(text),
        Kind::Table | Kind::Tables => None,
    }
}

fn list(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Ok(toml_edit::Value::Array(array)) = text.parse::<toml_edit::Value>() {
        let items: Option<Vec<&str>> = array.iter().map(toml_edit::Value::as_str).collect();
        return items.map(Value::from);
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Some(Value::from(items.collect::<Vec<_>>()))
}

fn insert(layer: &mut Dict, steps: &[Step], value: Value) {
    let [Step::Key(key), rest @ ..] = steps else { return };
    if rest.is_empty() {
        layer.insert(key.clone(), value);
        return;
    }
    let inner = layer.entry(key.clone()).or_insert_with(|| Value::Dict(Tag::Default, Dict::new()));
    if let Value::Dict(_, inner) = inner {
        insert(inner, rest, value);
    }
}
