//! Names and passwords by the scheme Basic (RFC 7617).
//!
//! A password is checked beside the workers, few at a time, and once: what was found good is
//! remembered as a keyed hash of name, password and the hash that it fits, so it is forgotten with
//! a change of any of them. Failed tries are few for each client network; who is remembered does
//! not notice that a neighbour guesses. Nothing of what a client says goes into a log.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use quick_cache::sync::Cache;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::super::network::Network;
use super::Guards;
use super::throttle::Pace;
use super::throttle::Throttle;
use crate::base::bounds::policy::AUTH_AT_ONCE;
use crate::base::bounds::policy::AUTH_FIELD_BYTES;
use crate::base::bounds::policy::AUTH_REMEMBERED;
use crate::base::bounds::policy::AUTH_TRIES;
use crate::base::bounds::policy::AUTH_TRY_EVERY;
use crate::base::bounds::policy::AUTH_WAITING;
use crate::base::users::Hash;
use crate::base::users::Users;
use crate::config;
use crate::os::affinity;

/// Who gets in, and what is asked of everybody.
#[derive(Debug)]
pub(super) struct Realm {
    challenge: HeaderValue,
    users: Users,
    forward: bool,
    /// Under which failed tries are counted.
    rule: u64,
}

/// Where passwords are checked.
pub(super) struct Desk {
    /// Without one nothing is remembered.
    key: Option<hmac::Key>,
    good: Arc<Cache<[u8; 32], ()>>,
    turns: Arc<Semaphore>,
    queue: Semaphore,
    /// Cores of the process; threads that workers start are bound to theirs.
    cores: Arc<[usize]>,
}

/// Why somebody does not get in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Denied {
    /// No name with its password.
    #[error("no name with its password")]
    Unknown,
    /// Too many tries that failed; there is another one after a while.
    #[error("too many tries")]
    Tries(Duration),
    /// Too many wait to be checked.
    #[error("too many wait to be checked")]
    Busy,
}

/// The tries of a client network at the passwords of a site.
struct Tries<'a> {
    throttle: &'a Throttle,
    rule: u64,
    network: Network,
}

struct Said {
    name: String,
    password: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            good: Arc::new(Cache::new(AUTH_REMEMBERED)),
            turns: Arc::new(Semaphore::new(AUTH_AT_ONCE)),
            queue: Semaphore::new(AUTH_WAITING),
            cores: affinity::allowed_cores().unwrap_or_default().into(),
        }
    }
}

impl Realm {
    /// As `auth` says, with those of its file. Where the file cannot be read, it names nobody.
    pub(super) fn new(auth: &config::BasicAuth, site: &str, rule: u64) -> Self {
        let mut users = auth.users.clone();
        if let Some(path) = &auth.file {
            match Users::read(path) {
                Ok(more) => users.join(more),
                Err(error) => {
                    let path = path.display();
                    tracing::error!(site, %path, %error, "the users of a file are not let in");
                }
            }
        }
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm);
        let challenge = HeaderValue::from_str(&challenge);
        let challenge = challenge.unwrap_or_else(|_| HeaderValue::from_static("Basic realm=\"-\""));
        Self { challenge, users, forward: auth.forward, rule }
    }

    pub(super) const fn challenge(&self) -> &HeaderValue {
        &self.challenge
    }

    /// Whether `headers` hold a name and its password, which are taken out unless the origin is to
    /// see them. When this is dropped, a check that has begun goes on to its end.
    pub(super) async fn check(
        &self,
        guards: &Guards,
        network: Network,
        headers: &mut HeaderMap,
    ) -> Result<(), Denied> {
        let said = said(headers).ok_or(Denied::Unknown)?;
        let desk = &guards.desk;
        let known = self.users.get(&said.name);
        // Without a known name there is none, so that nothing is ever remembered of it.
        let mark = known.and_then(|hash| desk.mark(&hash.text(), &said));
        if mark.is_none_or(|mark| desk.good.get(&mark).is_none()) {
            let tries = Tries { throttle: &guards.throttle, rule: self.rule, network };
            tries.left()?;
            // Who is not known waits as long as who is.
            let hash = known.or_else(|| self.users.any()).ok_or(Denied::Unknown)?.clone();
            let fits = desk.fits(hash, said, mark, &tries).await?;
            if !fits || known.is_none() {
                return Err(Denied::Unknown);
            }
        }
        if !self.forward {
            headers.remove(AUTHORIZATION);
        }
        Ok(())
    }
}

impl Tries<'_> {
    const PACE: Pace = Pace::new(AUTH_TRY_EVERY, AUTH_TRIES);

    /// Whether there is one.
    fn left(&self) -> Result<(), Denied> {
        let left = self.throttle.left(self.rule, self.network, Self::PACE, Instant::now());
        left.map_err(Denied::Tries)
    }

    fn take(&self) -> Result<(), Denied> {
        let taken = self.throttle.take(self.rule, self.network, Self::PACE, Instant::now());
        taken.map_err(Denied::Tries)
    }

    fn give_back(&self) {
        self.throttle.give_back(self.rule, self.network, Self::PACE, Instant::now());
    }
}

impl Desk {
    /// Checks one password, when its turn has come.
    async fn fits(
        &self,
        hash: Hash,
        said: Said,
        mark: Option<[u8; 32]>,
        tries: &Tries<'_>,
    ) -> Result<bool, Denied> {
        let _place = self.queue.try_acquire().map_err(|_| Denied::Busy)?;
        let turns = Arc::clone(&self.turns);
        let turn = turns.acquire_owned().await.map_err(|_| Denied::Busy)?;
        // A browser asks for many things at once; the first of them was checked meanwhile.
        if mark.is_some_and(|mark| self.good.get(&mark).is_some()) {
            return Ok(true);
        }
        tries.take()?;
        let (cores, good) = (Arc::clone(&self.cores), Arc::clone(&self.good));
        let checking = tokio::task::spawn_blocking(move || {
            // Given back when the work is done, whether or not somebody still waits for it.
            let _turn = turn;
            // Where it may not choose, it stays on the worker's core.
            let _bound = affinity::bind_thread_to(&cores);
            let fits = hash.fits(&said.password);
            if let (true, Some(mark)) = (fits, mark) {
                good.insert(mark, ());
            }
            fits
        });
        let fits = checking.await.map_err(|_| Denied::Busy)?;
        if fits && mark.is_some() {
            tries.give_back();
        }
        Ok(fits)
    }

    /// What is remembered of somebody who got in.
    fn mark(&self, hash: &str, said: &Said) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in [hash.as_bytes(), said.name.as_bytes(), &said.password] {
            context.update(&u64::try_from(part.len()).unwrap_or(0).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }
}

/// The name and the password in the only Authorization field, if it has some.
fn said(headers: &HeaderMap) -> Option<Said> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let field = fields.next()?.to_str().ok()?;
    if fields.next().is_some() || field.len() > AUTH_FIELD_BYTES {
        return None;
    }
    let (scheme, text) = field.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
    let colon = memchr::memchr(b':', &pair)?;
    let (name, password) = pair.split_at_checked(colon)?;
    let name = std::str::from_utf8(name).ok()?.to_owned();
    Some(Said { name, password: Zeroizing::new(password.get(1..)?.to_vec()) })
}
