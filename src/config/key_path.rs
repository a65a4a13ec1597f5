//! The way to a key, such as `site[1].origin`, and how it is said to a person.

use std::fmt;

/// The way from the root of a configuration to one of its values.
#[derive(Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct KeyPath(Vec<Step>);

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Step {
    /// Into the value of a key.
    Key(String),
    /// Into an element, from 0.
    Index(usize),
}

impl KeyPath {
    /// The way that leads nowhere: the configuration as a whole.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Whether this is the configuration as a whole.
    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// A way of keys alone, joined by dots: `acme.eab.kid`.
    pub fn dotted(text: &str) -> Self {
        Self(text.split('.').map(|key| Step::Key(key.to_owned())).collect())
    }

    /// On to the value of `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    /// On to the element at `index`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether `self` lies on the way to `other` or is its end.
    pub fn leads_to(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// As a person finds it in the file: the table, then the key.
    pub fn in_words(&self) -> String {
        let (table, rest) = match self.0.as_slice() {
            [
                Step::Key(list),
                Step::Index(index),
                Step::Key(inner),
                Step::Index(number),
                rest @ ..,
            ] if !rest.is_empty() => {
                let (index, number) = (index + 1, number + 1);
                (format!("[[{list}]] number {index}, [[{list}.{inner}]] number {number}"), rest)
            }
            [Step::Key(list), Step::Index(index), rest @ ..] => {
                (format!("[[{list}]] number {}", index + 1), rest)
            }
            [Step::Key(section), rest @ ..] if !rest.is_empty() => (format!("[{section}]"), rest),
            whole => return named(whole),
        };
        if rest.is_empty() { table } else { format!("{table}, {}", named(rest)) }
    }
}

/// "key `names`, item 2"
fn named(steps: &[Step]) -> String {
    let keys: Vec<&str> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
        .collect();
    let mut words = format!("key `{}`", keys.join("."));
    if let Some(Step::Index(index)) = steps.last() {
        words.push_str(&format!(", item {}", index + 1));
    }
    words
}

impl fmt::Display for KeyPath {
    /// `site[1].origin`, elements counted from 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_said_as_it_is_found_in_the_file() {
        let site = KeyPath::dotted("site").index(1);
        for (path, words, text) in [
            (site.clone(), "[[site]] number 2", "site[1]"),
            (site.key("origin"), "[[site]] number 2, key `origin`", "site[1].origin"),
            (
                site.key("names").index(0),
                "[[site]] number 2, key `names`, item 1",
                "site[1].names[0]",
            ),
            (
                site.key("hsts").key("max_age"),
                "[[site]] number 2, key `hsts.max_age`",
                "site[1].hsts.max_age",
            ),
            (
                site.key("route").index(0).key("path"),
                "[[site]] number 2, [[site.route]] number 1, key `path`",
                "site[1].route[0].path",
            ),
            (KeyPath::dotted("acme.eab.kid"), "[acme], key `eab.kid`", "acme.eab.kid"),
            (KeyPath::dotted("acme"), "key `acme`", "acme"),
        ] {
            assert_eq!(path.in_words(), words);
            assert_eq!(path.to_string(), text);
        }
    }
}
