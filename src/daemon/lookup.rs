//! Certificates as the socket asks for them: one by what a person calls it, or some at a time.
//!
//! Those that the configuration asks for lie in the scheduler's memory; imported ones are read from
//! the store, as many as are asked for and no more, however many there are.

use std::collections::HashMap;
use std::sync::Arc;

use super::house::Residence;
use super::house::unavailable;
use crate::admin::Caller;
use crate::admin::Filter;
use crate::admin::HouseError;
use crate::admin::Passage;
use crate::admin::Place;
use crate::admin::Selector;
use crate::admin::find;
use crate::admin::view;
use crate::admin::wire;
use crate::cert::client::ClientName;
use crate::cert::identifier::Identifier;
use crate::cert::record::Certificate;
use crate::cert::rights::Role;
use crate::cert::spec::CertificateId;
use crate::store::Store;
use crate::store::StoreError;

/// The client for which it was issued, if it was for one.
fn owner(record: &Certificate) -> Option<&ClientName> {
    record.care.issue.as_ref().map(|issue| &issue.client)
}

/// Whether `caller` may be told of `id`, which may not be there any more.
async fn owns(store: &Store, caller: &Caller, id: CertificateId) -> Result<bool, StoreError> {
    match store.certificate(id).await? {
        Some(record) => Ok(caller.sees(owner(&record))),
        None => Ok(caller.sees(store.former_owner(id).await?.as_ref())),
    }
}

/// Certificates of a client that are looked at together for a name.
const TOGETHER: usize = 500;

/// Certificates whose ids begin alike that are looked at: enough to say which ones they are.
const ALIKE: usize = 16;

/// Certificates that are looked at for one page.
const LOOKED_AT: usize = 20_000;

/// A page that is being filled.
struct Page {
    found: Vec<Arc<Certificate>>,
    /// Behind which one the next page begins.
    last: Option<Place>,
    limit: usize,
    looked_at: usize,
}

impl Page {
    /// Takes the next one if it fits. False if it belongs to the next page.
    fn take(&mut self, record: Arc<Certificate>, filter: &Filter) -> bool {
        if self.found.len() >= self.limit || self.looked_at >= LOOKED_AT {
            return false;
        }
        self.looked_at += 1;
        self.last = Some(Place { imported: !record.spec.role.is_driven(), id: record.id() });
        if filter.fits(&record) {
            self.found.push(record);
        }
        true
    }
}

impl Residence {
    /// Every certificate that `selector` may mean and `caller` may see. Nobody learns from here
    /// whether there are others.
    pub(super) async fn candidates(
        &self,
        selector: &Selector,
        caller: &Caller,
    ) -> Result<Vec<Arc<Certificate>>, HouseError> {
        let store = self.store()?;
        let scheduler = &self.orders()?.scheduler;
        let found = match selector {
            Selector::Name(name, _) if caller.role == Role::Client => {
                return self.own(name, caller).await;
            }
            Selector::Name(name, _) => scheduler.covering(name).await,
            Selector::Id(_) => match selector.ids() {
                None => Ok(Vec::new()),
                Some((first, last)) => {
                    let found = store.between(first, last, ALIKE).await;
                    found.map(|found| found.into_iter().map(Arc::new).collect())
                }
            },
        };
        let mut found = found.map_err(|error| unavailable(&error))?;
        found.retain(|record| caller.sees(owner(record)));
        match selector {
            Selector::Name(name, _) if found.is_empty() => self.issued_for(name).await,
            _ => Ok(found),
        }
    }

    /// Those that were issued for any client and cover `name`, for whoever may see all. A name that is
    /// served means what is served, so they are looked for only where none is.
    async fn issued_for(&self, name: &Identifier) -> Result<Vec<Arc<Certificate>>, HouseError> {
        let (store, mut after, mut found) = (self.store()?, None, Vec::new());
        for _ in 0..LOOKED_AT / TOGETHER {
            let more = store.page(after, TOGETHER).await.map_err(|error| unavailable(&error))?;
            let Some(last) = more.last() else { break };
            after = Some(last.id());
            let fits = |one: &Certificate| owner(one).is_some() && one.spec.covers(name);
            found.extend(more.into_iter().filter(fits).map(Arc::new));
        }
        Ok(found)
    }

    /// The caller's own certificates that cover `name`; nobody is served these, so no index of what is
    /// served has them.
    async fn own(
        &self,
        name: &Identifier,
        caller: &Caller,
    ) -> Result<Vec<Arc<Certificate>>, HouseError> {
        let Some(client) = &caller.name else { return Ok(Vec::new()) };
        let (store, mut after, mut found) = (self.store()?, None, Vec::new());
        loop {
            let more = store.issued(client.clone(), after, TOGETHER).await;
            let more = more.map_err(|error| unavailable(&error))?;
            let Some(last) = more.last() else { break };
            after = Some(last.id());
            found.extend(more.into_iter().filter(|one| one.spec.covers(name)).map(Arc::new));
        }
        Ok(found)
    }

    /// The one certificate that `selector` means.
    pub(super) async fn chosen(
        &self,
        selector: &Selector,
        caller: &Caller,
    ) -> Result<Certificate, HouseError> {
        let candidates = self.candidates(selector, caller).await?;
        find(candidates.iter().map(Arc::as_ref), selector).cloned()
    }

    /// At most `limit` certificates behind `after` that fit and that `caller` may see, and where to go
    /// on; no certificate that is there all the while is left out or comes twice. Where few fit, a page
    /// ends when enough were looked at.
    pub(super) async fn page(
        &self,
        (after, limit): (Option<Place>, usize),
        filter: &Filter,
        caller: &Caller,
    ) -> Result<(Vec<Arc<Certificate>>, Option<Place>), HouseError> {
        let store = self.store()?;
        // Certificates of one client have an index of their own.
        let of = match caller.role {
            Role::Client => match &caller.name {
                Some(own) if filter.client.as_ref().is_none_or(|wanted| wanted == own) => Some(own),
                _ => return Ok((Vec::new(), None)),
            },
            Role::Observer | Role::Operator => filter.client.as_ref(),
        };
        let mut page = Page { found: Vec::new(), last: None, limit, looked_at: 0 };
        if of.is_none() && after.is_none_or(|place| !place.imported) {
            let behind = |record: &Arc<Certificate>| after.is_none_or(|at| record.id() > at.id);
            for record in self.orders()?.scheduler.driven().into_iter().filter(behind) {
                if !page.take(record, filter) {
                    return Ok((page.found, page.last));
                }
            }
        }
        // One more than wanted says whether there is more.
        let portion = if filter.is_empty() { limit.saturating_add(1) } else { TOGETHER };
        let mut from = after.filter(|place| place.imported).map(|place| place.id);
        loop {
            let more = match of {
                Some(client) => store.issued(client.clone(), from, portion).await,
                None => store.page(from, portion).await,
            };
            let more = more.map_err(|error| unavailable(&error))?;
            let Some(last) = more.last() else { return Ok((page.found, None)) };
            from = Some(last.id());
            for record in more.into_iter().filter(|one| !one.spec.role.is_driven()) {
                if !page.take(Arc::new(record), filter) {
                    return Ok((page.found, page.last));
                }
            }
        }
    }

    /// At most `limit` entries of the journal behind `after` that `caller` may see. A client sees
    /// those about certificates that are its own, as long as these are there.
    pub(super) async fn passage(
        &self,
        after: u64,
        limit: usize,
        caller: Caller,
    ) -> Result<Passage, HouseError> {
        let store = self.store()?;
        let entries = store.journal(after, limit).await.map_err(|error| unavailable(&error))?;
        let to = entries.last().map_or(after, |last| last.seq);
        if caller.role != Role::Client {
            return Ok(Passage { entries: entries.iter().map(view::entry).collect(), to });
        }
        let mut known: HashMap<CertificateId, bool> = HashMap::new();
        let mut shown = Vec::new();
        for entry in &entries {
            let Some(id) = entry.certificate else { continue };
            let own = match known.get(&id) {
                Some(own) => *own,
                None => {
                    let own =
                        owns(store, &caller, id).await.map_err(|error| unavailable(&error))?;
                    *known.entry(id).or_insert(own)
                }
            };
            if own {
                shown.push(view::entry(entry));
            }
        }
        Ok(Passage { entries: shown, to })
    }

    /// How the certificates are, and when something is to be done next.
    pub(super) async fn counted(&self) -> Result<(wire::Counts, Option<wire::Moment>), HouseError> {
        let (store, now) = (self.store()?, self.clock.now());
        let driven = self.orders()?.scheduler.driven();
        let imported = store.imported().await.map_err(|error| unavailable(&error))?;
        let (_, due) = store.due(now, 0).await.map_err(|error| unavailable(&error))?;
        let mut counts = view::counts(driven.iter().map(Arc::as_ref), &imported, now);
        counts.clients = store.claims().await.map_err(|error| unavailable(&error))?;
        let wakes = driven.iter().filter_map(|record| record.phase.wake_at(now));
        Ok((counts, wakes.chain(due).min().map(Into::into)))
    }

    /// The configured sites with what there is for each.
    pub(super) async fn views_of_sites(&self) -> Result<Vec<wire::SiteView>, HouseError> {
        self.store()?;
        let (scheduler, now) = (&self.orders()?.scheduler, self.clock.now());
        let config = Arc::clone(&self.config.borrow());
        let driven = scheduler.driven();
        let mut by_name: HashMap<_, Vec<&Certificate>> = HashMap::new();
        for record in &driven {
            for name in record.spec.names() {
                by_name.entry(name).or_default().push(record);
            }
        }
        let mut views = Vec::with_capacity(config.sites.len());
        for site in &config.sites {
            let name = site.name();
            let brought = scheduler.brought(name).await.map_err(|error| unavailable(&error))?;
            let star = name.wildcard();
            let own = by_name.get(name).into_iter();
            let own = own.chain(star.as_ref().and_then(|star| by_name.get(star))).flatten();
            let all = own.copied().chain(brought.iter().map(Arc::as_ref));
            views.push(view::site(site, all, now));
        }
        Ok(views)
    }
}
