//! Onboarded names, as all workers know them, and the sites that are made for them when somebody comes.
//!
//! There may be very many, and each has a few octets here: a digest under a key of this process and the
//! number of its origin. Two names that share a digest by chance would share an origin, and the one
//! that is not onboarded has no certificate. Which names are onboarded is decided elsewhere.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;

use tokio::sync::mpsc;
use tokio::sync::watch;

use super::Edge;
use super::badge::Badges;
use super::knock::Knock;
use super::lock;
use super::serving::ServedSite;
use super::target::Upstream;
use super::tls::Mould;
use super::trusting::Known;
use super::trusting::Trusting;
use super::watching::Watch;
use crate::config;

/// The names.
#[derive(Debug, Default)]
pub(super) struct Guests {
    key: RandomState,
    names: RwLock<HashMap<u64, u32>>,
    origins: RwLock<Origins>,
    /// Whether more of those are coming that are onboarded already.
    coming: watch::Sender<bool>,
}

/// Origins of their own, each once; names have the number of theirs, and 0 is none.
#[derive(Debug, Default)]
struct Origins {
    list: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Guests {
    /// Adds names, each with its own origin if it has one, or changes that.
    pub(super) fn welcome<'a>(&self, all: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        for (name, origin) in all {
            let number = origin.map_or(0, |origin| self.number(origin));
            names.insert(self.key.hash_one(name), number);
        }
    }

    /// Takes a name away.
    pub(super) fn dismiss(&self, name: &str) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.remove(&self.key.hash_one(name));
    }

    /// Waits until all are there.
    pub(super) async fn arrived(&self) {
        let mut coming = self.coming.subscribe();
        // An error is not possible: the sender is here.
        let _whole = coming.wait_for(|coming| !*coming).await;
    }

    /// Whether more are coming.
    pub(super) fn are_coming(&self) -> bool {
        *self.coming.borrow()
    }

    /// Whether `name` is there, with its own origin.
    fn find(&self, name: &str) -> Option<Option<Arc<str>>> {
        let digest = self.key.hash_one(name);
        let number = *self.names.read().unwrap_or_else(PoisonError::into_inner).get(&digest)?;
        let Some(place) = number.checked_sub(1) else { return Some(None) };
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        let origin = usize::try_from(place).ok().and_then(|place| origins.list.get(place));
        Some(Some(Arc::clone(origin?)))
    }

    fn number(&self, origin: &str) -> u32 {
        let mut origins = self.origins.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = origins.numbers.get(origin) {
            return *number;
        }
        let origin: Arc<str> = origin.into();
        origins.list.push(Arc::clone(&origin));
        let number = u32::try_from(origins.list.len()).unwrap_or(u32::MAX);
        origins.numbers.insert(origin, number);
        number
    }
}

impl Edge {
    /// Clients that ask for names which nobody has, where names are onboarded; once.
    pub fn knocks(&self) -> Option<mpsc::Receiver<Knock>> {
        lock(&self.knocks).take()
    }

    /// Serves these names, each with its own origin if it has one, as soon as there is a certificate
    /// for it, and as long as the configuration knows of onboarding.
    pub fn welcome<'a>(&self, names: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
        self.guests.welcome(names);
    }

    /// Whether more of those names are coming that were onboarded before: clients who ask for one that
    /// is not there yet wait for it.
    pub fn expect_guests(&self, coming: bool) {
        self.guests.coming.send_replace(coming);
    }

    /// Serves this name no more.
    pub fn dismiss(&self, name: &str) {
        self.guests.dismiss(name);
    }
}

/// What onboarded names are served with in one serving set.
#[derive(Debug)]
pub(super) struct GuestSites {
    guests: Arc<Guests>,
    /// What the file says of them.
    pub(super) plan: config::Onboarding,
    /// The site of all that have the origin of the file.
    common: Arc<ServedSite>,
    /// Sites with other origins, made when somebody asks for them; `None` for what is no origin.
    made: Mutex<HashMap<Arc<str>, Option<Arc<ServedSite>>>>,
    /// What is believed of origins that speak TLS.
    known: Mutex<Known>,
    watch: Arc<Watch>,
    badges: Badges,
}

impl GuestSites {
    /// Those of `config`, if names are onboarded at all.
    pub(super) fn new(
        config: &config::Config,
        mould: &Mould,
        (watch, guests): (&Arc<Watch>, &Arc<Guests>),
        badges: Badges,
    ) -> Option<Self> {
        let plan = config.onboarding.clone()?;
        let mut trusting = Trusting::new(watch, Some(badges.clone()));
        trusting.site = plan.target.to_string();
        let ids = config.edge.request_ids;
        let mut common = ServedSite::new(&plan.site, mould, ids, &mut trusting);
        common.guest = true;
        Some(Self {
            guests: Arc::clone(guests),
            common: Arc::new(common),
            made: Mutex::default(),
            known: Mutex::new(trusting.known()),
            watch: Arc::clone(watch),
            badges,
            plan,
        })
    }

    /// All names that there are.
    pub(super) fn guests(&self) -> &Guests {
        &self.guests
    }

    /// The site that serves `host`, if that is an onboarded name.
    pub(super) fn find(&self, host: &str) -> Option<Arc<ServedSite>> {
        let own = self.guests.find(host)?;
        if own.is_none() && self.plan.is_plain() {
            return Some(Arc::clone(&self.common));
        }
        let origin: Arc<str> = self.plan.origin_of(host, own.as_deref()).into();
        // Held while it is made, so that each is made once.
        let mut made = lock(&self.made);
        if let Some(site) = made.get(&origin) {
            return site.clone();
        }
        let site = self.make(&origin);
        made.insert(origin, site.clone());
        site
    }

    fn make(&self, origin: &str) -> Option<Arc<ServedSite>> {
        let site = self.plan.site_with(origin).inspect_err(|reason| {
            tracing::warn!(reason, "an onboarded name has no usable origin");
        });
        let mut known = lock(&self.known);
        let mut trusting = Trusting::new(&self.watch, Some(self.badges.clone()));
        trusting.site = self.common.name.to_string();
        trusting.remember(std::mem::take(&mut *known));
        let upstream = Upstream::of(&site.ok()?.origin, &mut trusting);
        *known = trusting.known();
        Some(Arc::new(self.common.with(upstream?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_some_octets_here_however_long_it_is() {
        let guests = Guests::default();
        let all: Vec<String> =
            (0..100_000).map(|n| format!("{n}.{}.example", "a".repeat(60))).collect();
        guests.welcome(all.iter().map(|name| (name.as_str(), None)));
        let names = guests.names.read().unwrap();
        assert_eq!(names.len(), all.len(), "no two share a digest");
        // A pair of numbers and an octet of the table's own; it has twice the room at most.
        let taken = names.capacity() * 8 / 7 * (size_of::<(u64, u32)>() + 1);
        assert!(taken / all.len() <= 48, "{taken} octets");
    }

    #[test]
    fn a_name_is_found_with_its_own_origin_until_it_is_dismissed() {
        let guests = Guests::default();
        let own = "http://127.0.0.1:1";
        guests.welcome([("a.example", None), ("b.example", Some(own)), ("c.example", Some(own))]);
        assert_eq!(guests.find("a.example"), Some(None));
        for name in ["b.example", "c.example"] {
            assert_eq!(guests.find(name).unwrap().as_deref(), Some(own));
        }
        assert_eq!(guests.origins.read().unwrap().list.len(), 1, "kept once");
        assert_eq!(guests.find("d.example"), None);
        guests.welcome([("b.example", None)]);
        assert_eq!(guests.find("b.example"), Some(None), "it has none of its own any more");
        guests.dismiss("b.example");
        assert_eq!(guests.find("b.example"), None);
    }
}
