//! The tokens that were given out, in memory and in the store.
//!
//! Each request with a token asks memory alone. When one was used is noted there to the hour, and written
//! now and then: a kill forgets some hours of that, and nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use ring::rand::SecureRandom as _;
use ring::rand::SystemRandom;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::house::Residence;
use super::house::unavailable;
use super::transfer::refused;
use crate::admin::Caller;
use crate::admin::Granted;
use crate::admin::HouseError;
use crate::admin::Keyring;
use crate::admin::wire::Moment;
use crate::admin::wire::tokens::TokenMade;
use crate::admin::wire::tokens::TokenOrder;
use crate::admin::wire::tokens::TokenView;
use crate::base::Timestamp;
use crate::base::bounds::admin as limits;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::challenge::BoxFuture;
use crate::cert::client::ClientName;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::rights::Role;
use crate::cert::rights::Scope;
use crate::cert::rights::Scopes;
use crate::cert::token;
use crate::cert::token::Token;
use crate::cert::token::TokenHash;
use crate::config::Config;
use crate::store::Store;
use crate::store::StoreError;

/// To which moments a use is rounded down.
const HOUR: u64 = 3600;

/// The tokens, each with the last use that is not written yet.
#[derive(Clone)]
pub(super) struct TokenBook {
    clock: SharedClock,
    configs: watch::Receiver<Arc<Config>>,
    all: Arc<Mutex<HashMap<TokenHash, Held>>>,
}

struct Held {
    token: Token,
    written: Option<Timestamp>,
}

impl TokenBook {
    /// Reads those that the store has, and writes their uses as long as the house stands.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub(super) async fn begin(
        store: Option<&Store>,
        (clock, configs): (&SharedClock, &watch::Receiver<Arc<Config>>),
        (tasks, stop): (&TaskSet, &CancellationToken),
    ) -> Result<Self, StoreError> {
        let kept = match store {
            Some(store) => store.tokens().await?,
            None => Vec::new(),
        };
        let held = |token: Token| (token.hash, Held { written: token.used, token });
        let all = Arc::new(Mutex::new(kept.into_iter().map(held).collect()));
        let book = Self { clock: Arc::clone(clock), configs: configs.clone(), all };
        if let Some(store) = store {
            let (book, store, stop) = (book.clone(), store.clone(), stop.clone());
            tasks.service("tokens", async move {
                loop {
                    let ending = tokio::select! {
                        () = tokio::time::sleep(limits::USES_WRITTEN_EVERY) => false,
                        () = stop.cancelled() => true,
                    };
                    book.write_uses(&store).await;
                    if ending {
                        return;
                    }
                }
            });
        }
        Ok(book)
    }

    async fn write_uses(&self, store: &Store) {
        let used: Vec<Token> = self.with(|all| {
            let fresh = all.values().filter(|held| held.token.used != held.written);
            fresh.map(|held| held.token.clone()).collect()
        });
        if used.is_empty() {
            return;
        }
        if let Err(error) = store.keep_tokens(used.clone(), true, Vec::new()).await {
            tracing::warn!(%error, "when tokens were used is not written, going on");
            return;
        }
        self.with(|all| {
            for token in used {
                if let Some(held) = all.get_mut(&token.hash) {
                    held.written = token.used;
                }
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<TokenHash, Held>) -> T) -> T {
        look(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn role(&self, client: &ClientName) -> Option<Role> {
        let config = self.configs.borrow();
        config.clients.iter().find(|one| one.name == *client).map(|one| one.role)
    }

    fn view(&self, token: &Token) -> TokenView {
        TokenView {
            id: token.hash.short(),
            client: token.client.to_string(),
            name: token.name.clone(),
            scopes: token.scopes.each().map(|scope| scope.word().to_owned()).collect(),
            since: token.since.into(),
            by: token.by.clone(),
            expires: token.expires.map(Moment),
            used: token.used.map(Moment),
            good: token.is_good(self.clock.now()) && self.role(&token.client).is_some(),
        }
    }

    fn granted(&self, hash: &TokenHash) -> Option<Granted> {
        let now = self.clock.now();
        self.with(|all| {
            let held = all.get_mut(hash).filter(|held| held.token.is_good(now))?;
            let hour = Timestamp::from_unix(now.as_unix() / HOUR * HOUR);
            // A clock that went back does not take a use away.
            held.token.used = held.token.used.max(Some(hour));
            let token = &held.token;
            Some(Granted {
                hash: *hash,
                name: token.name.clone(),
                client: token.client.clone(),
                scopes: token.scopes,
                left: token.expires.map(|expires| expires.since(now)),
            })
        })
    }

    fn seen_by(&self, caller: &Caller) -> Vec<TokenView> {
        let mut seen: Vec<Token> = self.with(|all| {
            let shown = all.values().filter(|held| caller.sees(Some(&held.token.client)));
            shown.map(|held| held.token.clone()).collect()
        });
        seen.sort_by(|one, other| {
            let key = |token: &Token| (token.client.clone(), token.since, token.hash);
            key(one).cmp(&key(other))
        });
        seen.iter().map(|token| self.view(token)).collect()
    }

    /// What is wanted, if `caller` may give it away.
    fn drawn_up(&self, order: TokenOrder, caller: &Caller) -> Result<Token, HouseError> {
        let client =
            ClientName::parse(&order.client).map_err(|error| refused(error.to_string()))?;
        let role = self.role(&client).ok_or_else(|| {
            refused(format!(
                "there is no client {client}: a [[client]] with this name in the configuration, and \
                 keyward reload, make one; it needs no users"
            ))
        })?;
        let mut wanted = Vec::with_capacity(order.scopes.len());
        for word in &order.scopes {
            wanted.push(Scope::parse(word).ok_or_else(|| {
                refused(format!("{word:?} is no scope: read, issue, deploy or operate"))
            })?);
        }
        let all = role.scopes();
        let scopes = if wanted.is_empty() { all } else { Scopes::of(&wanted) };
        if let Some(beyond) = scopes.each().find(|scope| !all.has(*scope)) {
            let beyond = beyond.word();
            return Err(refused(format!("{client} is a {role}, which cannot be given {beyond}")));
        }
        if let Some(beyond) = scopes.each().find(|scope| !caller.scopes.has(*scope)) {
            let beyond = beyond.word();
            return Err(refused(format!("you cannot give away {beyond}, which you do not have")));
        }
        let name = order.name.unwrap_or_else(|| "token".to_owned());
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return Err(refused("the name of a token has 1 to 64 characters".to_owned()));
        }
        let now = self.clock.now();
        let expires = match order.expires_in {
            Some(0) => return Err(refused("a token that is good for no time".to_owned())),
            Some(seconds) => Some(now.plus(Duration::from_secs(seconds))),
            None => None,
        };
        let (hash, by) = (TokenHash([0; 32]), caller.told.clone());
        Ok(Token { hash, client, name, scopes, since: now, by, expires, used: None })
    }
}

impl Residence {
    async fn make_token(&self, order: TokenOrder, caller: Caller) -> Result<TokenMade, HouseError> {
        let store = self.store()?;
        let mut token = self.tokens.drawn_up(order, &caller)?;
        let now = self.clock.now();
        // Those that have run out make room.
        let (count, over) = self.tokens.with(|all| {
            let over = all.values().filter(|held| !held.token.is_good(now));
            (all.len(), over.map(|held| held.token.hash).collect::<Vec<_>>())
        });
        if count >= limits::TOKENS {
            if over.is_empty() {
                let most = limits::TOKENS;
                return Err(refused(format!(
                    "there are {most} tokens, and no more are kept: keyward token revoke some"
                )));
            }
            store.drop_tokens(over.clone(), Vec::new()).await.map_err(|e| unavailable(&e))?;
            self.tokens.with(|all| all.retain(|hash, _| !over.contains(hash)));
        }
        let mut random = Zeroizing::new([0; token::OCTETS]);
        SystemRandom::new()
            .fill(random.as_mut_slice())
            .map_err(|_| unavailable(&"the kernel gives no random numbers"))?;
        let text = token::write(&random);
        token.hash = token::read(&text).map_err(|error| unavailable(&error))?;
        let (id, scopes) = (token.hash, token.scopes);
        let told =
            format!("{} makes token {id} ({scopes}) for client {}", caller.told, token.client);
        let entry = Entry::about_house(now, EntryKind::Requested, Level::Warning, told);
        let kept = store.keep_tokens(vec![token.clone()], false, vec![entry]).await;
        kept.map_err(|error| unavailable(&error))?;
        let about = self.tokens.view(&token);
        self.tokens.with(|all| all.insert(token.hash, Held { token, written: None }));
        Ok(TokenMade { token: text.to_string(), about })
    }

    async fn take_token_back(&self, id: &str, caller: Caller) -> Result<TokenView, HouseError> {
        let unknown = || HouseError::NotFound { selector: id.chars().take(64).collect() };
        let store = self.store()?;
        if id.len() < 4 || !id.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let wanted = id.to_ascii_lowercase();
        let token = self.tokens.with(|all| {
            let named = |held: &&Held| {
                held.token.hash.short().starts_with(&wanted)
                    && caller.sees(Some(&held.token.client))
            };
            let hashes: Vec<_> = all.values().filter(named).map(|held| held.token.hash).collect();
            match hashes.as_slice() {
                [one] => all.remove(one).map(|held| held.token).ok_or_else(unknown),
                [] => Err(unknown()),
                several => Err(HouseError::Ambiguous {
                    selector: wanted.clone(),
                    ids: several.iter().take(8).map(TokenHash::short).collect(),
                }),
            }
        })?;
        let told =
            format!("{} revokes token {} of client {}", caller.told, token.hash, token.client);
        let now = self.clock.now();
        let entry = Entry::about_house(now, EntryKind::Requested, Level::Warning, told);
        let dropped = store.drop_tokens(vec![token.hash], vec![entry]).await;
        dropped.map_err(|error| HouseError::Unavailable {
            reason: format!("the token is none from now on, but comes back at a restart: {error}"),
        })?;
        Ok(self.tokens.view(&token))
    }
}

impl Keyring for Residence {
    fn granted(&self, hash: &TokenHash) -> Option<Granted> {
        self.tokens.granted(hash)
    }

    fn tokens(&self, caller: Caller) -> BoxFuture<'_, Result<Vec<TokenView>, HouseError>> {
        Box::pin(async move {
            self.store()?;
            Ok(self.tokens.seen_by(&caller))
        })
    }

    fn make(
        &self,
        order: TokenOrder,
        caller: Caller,
    ) -> BoxFuture<'_, Result<TokenMade, HouseError>> {
        Box::pin(self.make_token(order, caller))
    }

    fn revoke_token<'a>(
        &'a self,
        id: &'a str,
        caller: Caller,
    ) -> BoxFuture<'a, Result<TokenView, HouseError>> {
        Box::pin(self.take_token_back(id, caller))
    }
}
