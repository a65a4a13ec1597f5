//! TOML text as a tree of values, and where in the text each of them stands.

use figment::value::{Dict, Empty, Tag, Value};
use toml_edit::{Document, Item, Table, TableLike};

use super::finding::Aim;
use super::key_path::{KeyPath, Step};

/// A text that is valid TOML.
#[derive(Debug)]
pub(super) struct Text {
    document: Document<String>,
    lines: Lines,
}

/// Why a text is no TOML.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) message: String,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) excerpt: String,
}

/// Where each line begins.
#[derive(Debug)]
struct Lines(Vec<usize>);

impl Text {
    /// Reads `text`, or says what its first fault is.
    pub(super) fn parse(text: String) -> Result<Self, SyntaxError> {
        let lines = Lines::of(&text);
        match Document::parse(text.clone()) {
            Ok(document) => Ok(Self { document, lines }),
            Err(error) => {
                let at = error.span().map_or(text.len(), |span| span.start);
                let (line, column) = lines.position(&text, at);
                let excerpt = lines.excerpt(&text, line, column);
                Err(SyntaxError { message: error.message().to_owned(), line, column, excerpt })
            }
        }
    }

    /// All of it as a tree of values.
    pub(super) fn values(&self) -> Dict {
        table(self.document.as_table())
    }

    /// Line and column of `path`, or of the nearest thing on the way to it that is written down.
    pub(super) fn position(&self, path: &KeyPath, aim: Aim) -> (usize, usize) {
        let mut here = Node::Table(self.document.as_table());
        let (mut name, mut value) = (0, 0);
        for step in path.steps() {
            let Some((next, spelled)) = here.go(step) else { break };
            let start = next.start();
            name = spelled.or(start).unwrap_or(value);
            value = start.or(spelled).unwrap_or(value);
            here = next;
        }
        let at = match aim {
            Aim::Name => name,
            Aim::Value => value,
        };
        self.lines.position(self.document.raw(), at)
    }
}

/// Something in the document.
enum Node<'a> {
    Table(&'a dyn TableLike),
    Element(&'a Table),
    Item(&'a Item),
    Value(&'a toml_edit::Value),
}

impl<'a> Node<'a> {
    /// What lies one step further, and where the name of that step is written.
    fn go(&self, step: &Step) -> Option<(Self, Option<usize>)> {
        match step {
            Step::Key(key) => {
                let (key, item) = self.table()?.get_key_value(key)?;
                Some((Node::Item(item), key.span().map(|span| span.start)))
            }
            Step::Index(index) => {
                let element = match self {
                    Self::Item(Item::ArrayOfTables(tables)) => Node::Element(tables.get(*index)?),
                    Self::Item(Item::Value(toml_edit::Value::Array(array)))
                    | Self::Value(toml_edit::Value::Array(array)) => {
                        Node::Value(array.get(*index)?)
                    }
                    _ => return None,
                };
                let start = element.start();
                Some((element, start))
            }
        }
    }

    fn table(&self) -> Option<&'a dyn TableLike> {
        match self {
            Self::Table(table) => Some(*table),
            Self::Element(table) => Some(*table),
            Self::Item(item) => item.as_table_like(),
            Self::Value(value) => value.as_inline_table().map(|table| table as &dyn TableLike),
        }
    }

    fn start(&self) -> Option<usize> {
        let span = match self {
            Self::Table(_) => None,
            Self::Element(table) => table.span(),
            Self::Item(item) => item.span(),
            Self::Value(value) => value.span(),
        };
        span.map(|span| span.start)
    }
}

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        Self(std::iter::once(0).chain(breaks).collect())
    }

    /// Line and column, both from 1, of the octet `at`.
    fn position(&self, text: &str, at: usize) -> (usize, usize) {
        let line = self.0.partition_point(|start| *start <= at).max(1);
        let start = self.0.get(line - 1).copied().unwrap_or(0);
        let before = text.as_bytes().get(start..at.min(text.len())).unwrap_or_default();
        (line, String::from_utf8_lossy(before).chars().count() + 1)
    }

    /// The line with a mark below the column.
    fn excerpt(&self, text: &str, line: usize, column: usize) -> String {
        let start = self.0.get(line - 1).copied().unwrap_or(0);
        let content = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        // A window of the line: a file that is one endless line must not flood the terminal.
        let skipped = column.saturating_sub(60);
        let shown: String = content
            .chars()
            .skip(skipped)
            .take(100)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let gap = " ".repeat((column - 1).saturating_sub(skipped));
        format!(" {margin} |\n {number} | {}\n {margin} | {gap}^", shown.trim_end())
    }
}

fn table(table: &dyn TableLike) -> Dict {
    table.iter().map(|(key, item)| (key.to_owned(), item_value(item))).collect()
}

fn item_value(item: &Item) -> Value {
    match item {
        Item::None => Value::Empty(Tag::Default, Empty::None),
        Item::Value(value) => plain(value),
        Item::Table(inner) => Value::Dict(Tag::Default, table(inner)),
        Item::ArrayOfTables(tables) => Value::Array(
            Tag::Default,
            tables.iter().map(|inner| Value::Dict(Tag::Default, table(inner))).collect(),
        ),
    }
}

fn plain(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => Value::from(text.value().as_str()),
        Toml::Integer(number) => Value::from(*number.value()),
        Toml::Float(number) => Value::from(*number.value()),
        Toml::Boolean(flag) => Value::from(*flag.value()),
        // No key takes one: the shape check says so.
        Toml::Datetime(_) => Value::Empty(Tag::Default, Empty::Unit),
        Toml::Array(array) => Value::Array(Tag::Default, array.iter().map(plain).collect()),
        Toml::InlineTable(inner) => Value::Dict(Tag::Default, table(inner)),
    }
}
