//! Which keys there are, of what kind, and whether a tree of values keeps to them.
//!
//! Names and kinds come from [`RawConfig::example`], not from a list of their own. What does not
//! fit is reported and taken out of the tree, so that the rest can still be looked at.

use std::fmt;

use figment::value::{Dict, Num, Tag, Value};

use super::finding::Findings;
use super::key_path::KeyPath;
use super::raw::RawConfig;
use super::suggest;

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Text,
    Flag,
    Count,
    Texts,
    Table,
    Tables,
}

/// Tables that may also be written as a plain `true` or `false`.
const SWITCHES: &[&str] = &["basic_auth", "hsts"];

/// Tables with any keys in them, each a text: which ones there may be is checked later.
const OPEN: &[&str] = &["with"];

/// Texts that may also be written as a list of texts.
const LISTS: &[&str] = &["accept", "issuer", "key", "origin", "reload", "to"];

/// Every key with its kind, as a tree of example values.
#[expect(clippy::expect_used, reason = "a constant value of the program, read by every test")]
pub(super) fn shape() -> Dict {
    let example = Value::serialize(RawConfig::example()).expect("the example is plain data");
    example.into_dict().expect("the example is a struct")
}

/// Takes out of `tree` what does not fit and reports it.
pub(super) fn keep_to_shape(tree: Dict, findings: &mut Findings) -> Dict {
    let shape = shape();
    Walk { root: &shape, findings }.table(tree, &shape, &KeyPath::root())
}

struct Walk<'a> {
    root: &'a Dict,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    fn table(&mut self, tree: Dict, shape: &Dict, at: &KeyPath) -> Dict {
        let mut kept = Dict::new();
        for (name, value) in tree {
            let path = at.key(&name);
            let Some(example) = shape.get(&name) else {
                self.unknown(&name, shape, &path);
                continue;
            };
            if let Some(value) = self.value(value, example, &path, &name) {
                kept.insert(name, value);
            } else {
                self.findings.spoil(path);
            }
        }
        kept
    }

    fn value(&mut self, value: Value, example: &Value, at: &KeyPath, name: &str) -> Option<Value> {
        match (Kind::of(example), value) {
            (Kind::Text, value @ Value::String(..)) | (Kind::Flag, value @ Value::Bool(..)) => {
                Some(value)
            }
            (Kind::Table, value @ Value::Bool(..)) if SWITCHES.contains(&name) => Some(value),
            (Kind::Count, Value::Num(tag, number)) if !matches!(number, Num::F64(_)) => {
                if let Some(number) = count(number) {
                    return Some(Value::Num(tag, Num::U64(number)));
                }
                self.findings
                    .error(at, "the number is below zero")
                    .expected("a whole number, 0 or more");
                None
            }
            (Kind::Table, Value::Dict(tag, inner)) if OPEN.contains(&name) => {
                Some(Value::Dict(tag, self.texts(inner, at)))
            }
            (Kind::Table, Value::Dict(tag, inner)) => {
                let shape = example.as_dict()?;
                Some(Value::Dict(tag, self.table(inner, shape, at)))
            }
            (Kind::Text, Value::Array(tag, items)) if LISTS.contains(&name) => {
                let items = items.into_iter().enumerate();
                let texts = items.map(|(index, item)| self.text(item, &at.index(index))).collect();
                Some(Value::Array(tag, texts))
            }
            (Kind::Texts, Value::Array(tag, items)) => {
                let items = items.into_iter().enumerate();
                let texts = items.map(|(index, item)| self.text(item, &at.index(index))).collect();
                Some(Value::Array(tag, texts))
            }
            (Kind::Tables, Value::Array(tag, items)) => {
                let shape = example.as_array()?.first()?.as_dict()?;
                let items = items.into_iter().enumerate();
                let tables = items
                    .map(|(index, item)| self.element(item, shape, &at.index(index)))
                    .collect();
                Some(Value::Array(tag, tables))
            }
            (wanted, found) => {
                self.wrong_kind(wanted, &found, at, name);
                None
            }
        }
    }

    /// A table of texts under whatever names.
    fn texts(&mut self, inner: Dict, at: &KeyPath) -> Dict {
        let mut kept = Dict::new();
        for (name, value) in inner {
            let path = at.key(&name);
            if matches!(value, Value::String(..)) {
                kept.insert(name, value);
                continue;
            }
            self.wrong_kind(Kind::Text, &value, &path, &name);
            self.findings.spoil(path);
        }
        kept
    }

    /// An element of a list of texts. A stand-in takes the place of a wrong one, so that the
    /// others keep their numbers.
    fn text(&mut self, item: Value, at: &KeyPath) -> Value {
        if matches!(item, Value::String(..)) {
            return item;
        }
        self.findings
            .error(at, format!("{} stands where a text belongs", Found(&item)))
            .expected("a text in double quotes");
        self.findings.spoil(at.clone());
        Value::from("")
    }

    fn element(&mut self, item: Value, shape: &Dict, at: &KeyPath) -> Value {
        if let Value::Dict(tag, inner) = item {
            return Value::Dict(tag, self.table(inner, shape, at));
        }
        self.findings
            .error(at, format!("{} stands where a table belongs", Found(&item)))
            .expected("a table under double brackets, such as [[site]]");
        self.findings.spoil(at.clone());
        Value::Dict(Tag::Default, Dict::new())
    }

    fn wrong_kind(&mut self, wanted: Kind, found: &Value, at: &KeyPath, name: &str) {
        let expected = match wanted {
            Kind::Table if SWITCHES.contains(&name) => "true, false or a table".to_owned(),
            Kind::Text if LISTS.contains(&name) => "a text in double quotes, or a list".to_owned(),
            other => other.to_string(),
        };
        let hint = match (wanted, found) {
            (Kind::Texts, Value::String(_, text)) if shows_safely(text) => {
                Some(format!("{name} = [{text:?}]"))
            }
            (Kind::Tables, Value::Dict(..)) => Some(format!("[[{name}]] in double brackets")),
            (Kind::Text, Value::Num(_, number)) => {
                count(*number).map(|number| format!("{name} = \"{number}\""))
            }
            (Kind::Count, Value::String(_, text)) if text.trim().parse::<u64>().is_ok() => {
                Some(format!("{name} = {} without quotes", text.trim()))
            }
            (Kind::Flag, Value::String(_, text)) if matches!(&**text, "true" | "false") => {
                Some(format!("{name} = {text} without quotes"))
            }
            _ => None,
        };
        let finding = self
            .findings
            .error(at, format!("{} stands where {wanted} belongs", Found(found)))
            .expected(expected);
        if let Some(hint) = hint {
            finding.hint(hint);
        }
    }

    fn unknown(&mut self, name: &str, shape: &Dict, at: &KeyPath) {
        let hint = self.instead_of(name, shape);
        let mut known: Vec<&str> = shape.keys().map(String::as_str).collect();
        known.sort_unstable();
        let shown: String = name.chars().take(64).collect();
        self.findings
            .error(at, format!("the key {shown:?} is not known here"))
            .at_name()
            .expected(format!("one of {}", known.join(", ")))
            .hint(hint);
    }

    /// A key with nearly that name here, or with that very name elsewhere.
    fn instead_of(&self, name: &str, shape: &Dict) -> String {
        if let Some(meant) = suggest::nearest(name, shape.keys().map(String::as_str)) {
            return meant.to_owned();
        }
        if self.root.contains_key(name) {
            return format!("a section [{name}] of its own");
        }
        let elsewhere = self.root.iter().find_map(|(section, value)| match value {
            Value::Dict(_, inner) if inner.contains_key(name) => {
                Some(format!("move it below [{section}]"))
            }
            Value::Array(_, items) => {
                let inner = items.first()?.as_dict()?;
                inner.contains_key(name).then(|| format!("move it below [[{section}]]"))
            }
            _ => None,
        });
        elsewhere.unwrap_or_else(|| "remove it; config/reference.toml lists every key".to_owned())
    }
}

impl Kind {
    /// The kind of an example.
    pub(super) fn of(example: &Value) -> Self {
        match example {
            Value::Bool(..) => Self::Flag,
            Value::Num(..) => Self::Count,
            Value::Dict(..) => Self::Table,
            Value::Array(_, items) => match items.first() {
                Some(Value::Dict(..)) => Self::Tables,
                _ => Self::Texts,
            },
            Value::String(..) | Value::Char(..) | Value::Empty(..) => Self::Text,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Flag => "true or false",
            Self::Count => "a whole number",
            Self::Texts => "a list of texts",
            Self::Table => "a table",
            Self::Tables => "a list of tables",
        })
    }
}

/// The number, if it counts something.
pub(super) fn count(number: Num) -> Option<u64> {
    let whole = number.to_i128().and_then(|number| u64::try_from(number).ok());
    whole.or_else(|| number.to_u128().and_then(|number| u64::try_from(number).ok()))
}

/// What a value is, in words. Never the value: it may have been put under the wrong key.
struct Found<'a>(&'a Value);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Value::String(..) | Value::Char(..) => "a text",
            Value::Bool(..) => "true or false",
            Value::Num(_, Num::F32(_) | Num::F64(_)) => "a fraction",
            Value::Num(..) => "a number",
            Value::Empty(..) => "a date or time",
            Value::Dict(..) => "a table",
            Value::Array(..) => "a list",
        })
    }
}

/// Whether a text may be repeated in a message.
fn shows_safely(text: &str) -> bool {
    text.len() <= 100 && !text.contains('@') && !text.chars().any(char::is_control)
}
