//! `[[site.route]]`: requests of a site that go another way than the rest, as checked.
//!
//! The first route of a site that fits a request is its way; the order is the file's.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::origin::Origin;
use super::pattern::PathPattern;
use super::policy::Policy;

/// A way for some requests of a site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// What paths it is for.
    pub path: PathPattern,
    /// What methods it is for; none is all. `GET` is `HEAD` too.
    pub methods: Vec<Method>,
    /// A field that the request must have.
    pub field: Option<FieldTest>,
    /// Where it leads.
    pub to: RouteTo,
    /// The path that the origin is asked for instead.
    pub rewrite: Option<Template>,
    /// What the fields of the request become.
    pub request: FieldEdits,
    /// What the fields of the answer become.
    pub answer: FieldEdits,
    /// What is asked of its requests.
    pub policy: Policy,
}

/// Where a route leads.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are few, and none is moved about")]
pub enum RouteTo {
    /// To the origin of the site.
    Site,
    /// To another origin.
    Origin(Origin),
    /// Elsewhere, for the client to go there.
    Redirect(StatusCode, Template),
}

/// A field that must be there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldTest {
    /// Its name.
    pub name: HeaderName,
    /// Its whole value; any, if there is none here.
    pub value: Option<HeaderValue>,
}

/// A text with a star at its end for what the star of the path stands for, or without.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// What stands before the star. `{host}` in it is the name that was asked for.
    pub text: String,
    /// Whether there is a star.
    pub open: bool,
}

/// What fields become.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FieldEdits {
    /// These are taken out first.
    pub remove: Vec<HeaderName>,
    /// These have one value then.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

impl Route {
    /// Whether a request with this method and these fields may be one of these.
    pub fn takes(&self, method: &Method, headers: &HeaderMap) -> bool {
        let method = if *method == Method::HEAD && !self.methods.contains(method) {
            &Method::GET
        } else {
            method
        };
        (self.methods.is_empty() || self.methods.contains(method))
            && self.field.as_ref().is_none_or(|test| test.holds(headers))
    }

    /// Whether nothing is left to `other` that is not one of these.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || !other.methods.is_empty() && other.methods.iter().all(|m| self.methods.contains(m));
        let field = match (&self.field, &other.field) {
            (None, _) => true,
            (Some(mine), Some(theirs)) => {
                mine.name == theirs.name && (mine.value.is_none() || mine.value == theirs.value)
            }
            (Some(_), None) => false,
        };
        methods && field && self.path.covers(&other.path)
    }
}

impl FieldTest {
    fn holds(&self, headers: &HeaderMap) -> bool {
        match &self.value {
            None => headers.contains_key(&self.name),
            Some(value) => headers.get_all(&self.name).iter().any(|one| one == value),
        }
    }
}

impl Template {
    /// The text for a `rest` that the star stands for.
    pub fn fill(&self, host: &str, rest: &str) -> String {
        let mut text = self.text.replace("{host}", host);
        if self.open {
            text.push_str(rest);
        }
        text
    }
}

impl FieldEdits {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty()
    }

    /// Makes `headers` what they are to become. Underscores in a name count as dashes, because many
    /// an application server makes them the same.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let names = || self.remove.iter().chain(self.set.iter().map(|(name, _)| name));
        let same = |one: &HeaderName, two: &HeaderName| {
            let dashed = |b: u8| if b == b'_' { b'-' } else { b };
            one.as_str().bytes().map(dashed).eq(two.as_str().bytes().map(dashed))
        };
        let alike: Vec<HeaderName> = headers
            .keys()
            .filter(|key| key.as_str().contains('_') && names().any(|name| same(name, key)))
            .cloned()
            .collect();
        for name in alike.iter().chain(names()) {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn edits(remove: &[&'static str], set: &[(&'static str, &'static str)]) -> FieldEdits {
        FieldEdits {
            remove: remove.iter().map(|name| HeaderName::from_static(name)).collect(),
            set: set
                .iter()
                .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
                .collect(),
        }
    }

    #[test]
    fn fields_become_what_is_said_in_every_spelling() {
        let mut map = headers(&[
            ("x-user", "1"),
            ("x_user", "2"),
            ("x-gone", "3"),
            ("x_gone", "4"),
            ("x-stays", "5"),
            ("x_stays", "6"),
        ]);
        edits(&["x-gone"], &[("x-user", "me")]).apply(&mut map);
        assert_eq!(map, headers(&[("x-user", "me"), ("x-stays", "5"), ("x_stays", "6")]));
    }

    #[test]
    fn a_route_covers_another_that_it_leaves_nothing() {
        let route = |path: &str, methods: &[Method], field: Option<&'static str>| Route {
            path: PathPattern::parse(path).unwrap(),
            methods: methods.to_vec(),
            field: field.map(|value| FieldTest {
                name: HeaderName::from_static("x-v"),
                value: (!value.is_empty()).then(|| HeaderValue::from_static(value)),
            }),
            to: RouteTo::Site,
            rewrite: None,
            request: FieldEdits::default(),
            answer: FieldEdits::default(),
            policy: Policy::default(),
        };
        let (get, post) = (Method::GET, Method::POST);
        let all = [get.clone(), post.clone()];
        assert!(route("/*", &[], None).covers(&route("/a", &all, Some("1"))));
        assert!(route("/a/*", &all, None).covers(&route("/a/b", &[post], None)));
        assert!(route("/a", &[], Some("")).covers(&route("/a", &[], Some("1"))));
        assert!(!route("/*", std::slice::from_ref(&get), None).covers(&route("/a", &[], None)));
        assert!(!route("/*", &[get], None).covers(&route("/a", &all, None)));
        assert!(!route("/*", &[], Some("1")).covers(&route("/a", &[], None)));
        assert!(!route("/*", &[], Some("1")).covers(&route("/a", &[], Some("2"))));
    }
}
