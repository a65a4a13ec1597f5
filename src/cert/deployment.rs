//! Deployments: that a certificate is to be at a target, how far that is, and what comes next.
//!
//! Pure: `(deployment, event, now, draw) -> deployment`. Deliberately absent: who carries it there,
//! and who looks.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error as _;

use super::client::ClientName;
use super::spec::CertificateId;
use crate::base::Timestamp;
use crate::base::bounds::deployment::DRIFTS;
use crate::base::bounds::deployment::DRIFTS_FORGOTTEN;
use crate::base::bounds::deployment::RETRY_FIRST;
use crate::base::bounds::deployment::RETRY_MOST;
use crate::base::bounds::deployment::SILENCES;
use crate::base::bounds::deployment::URGENT;
use crate::base::jitter::share;

/// The name of a target: as that of a client.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetName(ClientName);

/// What is no name of a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the name of a target is 1 to 64 of a-z, 0-9, \".\", \"_\", \"-\", the first a letter or digit"
)]
pub struct NoTargetName;

/// The certificate that is shown by somebody: SHA-256 of the leaf in DER. Written in hexadecimal.
#[derive(Clone, Copy, Eq, PartialEq, Hash)]
pub struct Leaf(pub [u8; 32]);

/// That a certificate is to be at a target.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Which certificate.
    pub certificate: CertificateId,
    /// Where.
    pub target: TargetName,
    /// What the certificate is called by whoever wants it there, as `keyward show` takes it.
    pub called: String,
    /// Whose the certificate is, if it is a client's.
    pub owner: Option<ClientName>,
    /// Who wants it.
    pub made: Made,
    /// How far it is.
    pub state: State,
    /// What is to be shown there; none as long as the certificate has not been issued.
    pub wanted: Option<Leaf>,
    /// What was brought there last, and kept.
    pub placed: Option<Leaf>,
    /// What was seen there last.
    pub seen: Option<Leaf>,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it fails.
    pub failing: Option<Timestamp>,
    /// Whether it has failed for so long that somebody must act.
    pub urgent: bool,
    /// How often somebody else changed it, until that was quiet for a day.
    pub drifts: u32,
    /// When somebody else did last.
    pub drifted: Option<Timestamp>,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When something is to be done again.
    pub next: Timestamp,
    /// Why it is in no better state, in the words of a person.
    pub reason: Option<String>,
}

/// Who wants a deployment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Made {
    /// The configuration file.
    File,
    /// Somebody who asked for it.
    Asked,
}

/// How far a deployment is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// What is wanted has not been brought there yet.
    Pending,
    /// It was brought there, and nobody can look whether it is shown.
    Deployed,
    /// It was seen there.
    Verified,
    /// Somebody else changed it.
    Drifted,
    /// It could not be brought there, or is not shown.
    Failed,
    /// The target did not bear it, and has the former pair again.
    RolledBack,
}

/// What happened to a deployment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// This is to be shown from now on.
    Wanted(Leaf),
    /// Somebody wants it brought there now.
    Asked,
    /// It was brought there, and this came of it.
    Carried(Verdict),
    /// Somebody looked there, and saw this, or could not.
    Looked(Result<Leaf, String>),
}

/// What came of bringing a pair to a target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is shown.
    Shown,
    /// It is there, and nobody can look.
    Kept,
    /// It is there, and another one is shown.
    NotShown(Leaf),
    /// It is there, and nobody answers, nor did before.
    Unseen(String),
    /// The former pair is there again, and why.
    PutBack(String),
    /// It was not brought there, and why.
    Failed(String),
}

/// What is to be done when a deployment wakes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// There is nothing to bring yet.
    Rest,
    /// To bring it there.
    Carry,
    /// To look what is shown.
    Look,
}

/// When a deployment wakes again that is as it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Watch(pub Duration);

impl TargetName {
    /// Reads a name as it is written.
    ///
    /// # Errors
    /// [`NoTargetName`].
    pub fn parse(text: &str) -> Result<Self, NoTargetName> {
        ClientName::parse(text).map(Self).map_err(|_| NoTargetName)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Leaf {
    /// That of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let mut leaf = [0; 32];
        for (to, from) in leaf.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(leaf)
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Leaf {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut leaf = [0; 32];
        let mut digits = text.chars();
        for octet in &mut leaf {
            let mut digit = || digits.next().and_then(|c| c.to_digit(16));
            let both =
                digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            *octet = both.ok_or_else(|| D::Error::custom("no SHA-256 in hexadecimal"))?;
        }
        match digits.next() {
            None => Ok(Self(leaf)),
            Some(_) => Err(D::Error::custom("more than a SHA-256")),
        }
    }
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Deployed,
        Self::Verified,
        Self::Drifted,
        Self::Failed,
        Self::RolledBack,
    ];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Deployed => "deployed",
            Self::Verified => "verified",
            Self::Drifted => "drifted",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
        }
    }

    /// Whether the target has what it should, as far as anybody knows.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Deployed | Self::Verified)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Deployment {
    /// One of which nothing has been done yet.
    pub fn new(
        (certificate, target): (CertificateId, TargetName),
        called: String,
        owner: Option<ClientName>,
        made: Made,
        now: Timestamp,
    ) -> Self {
        Self {
            certificate,
            target,
            called,
            owner,
            made,
            state: State::Pending,
            wanted: None,
            placed: None,
            seen: None,
            failures: 0,
            failing: None,
            urgent: false,
            drifts: 0,
            drifted: None,
            since: now,
            next: now,
            reason: None,
        }
    }

    /// What is to be done when it wakes, where `looks` says whether somebody can look there.
    pub fn step(&self, looks: bool) -> Step {
        if self.wanted.is_none() {
            return Step::Rest;
        }
        match self.state {
            State::Pending | State::Drifted | State::RolledBack => Step::Carry,
            // Nobody answers there, and it was brought already: to bring it again helps nobody, and may
            // start what somebody stopped.
            State::Failed if self.placed == self.wanted && self.seen.is_none() && looks => {
                Step::Look
            }
            State::Failed => Step::Carry,
            State::Verified | State::Deployed if looks => Step::Look,
            State::Verified | State::Deployed => Step::Rest,
        }
    }

    /// Whether it is time to do something; also where the clock was set back so far that it would not
    /// be for longer than anything waits.
    pub fn is_due(&self, watch: Watch, now: Timestamp) -> bool {
        self.next <= now || self.next.since(now) > watch.0.max(RETRY_MOST)
    }

    /// What becomes of it by `event`. `draw` is a uniform number, so that many that failed together do
    /// not come back together.
    #[must_use]
    pub fn after(&self, event: Event, watch: Watch, now: Timestamp, draw: u32) -> Self {
        let mut after = self.clone();
        match event {
            Event::Wanted(leaf) if after.wanted == Some(leaf) => return after,
            Event::Wanted(leaf) => {
                after.wanted = Some(leaf);
                after.afresh(now);
            }
            Event::Asked => after.afresh(now),
            Event::Carried(verdict) => after.carried(verdict, watch, now, draw),
            Event::Looked(Ok(leaf)) => after.looked(leaf, watch, now, draw),
            Event::Looked(Err(reason)) => after.silent(reason, now, draw),
        }
        after.urgent |= after.failing.is_some_and(|since| now.since(since) >= URGENT);
        if after.state != self.state {
            after.since = now;
        }
        after
    }

    fn afresh(&mut self, now: Timestamp) {
        self.state = State::Pending;
        self.reason = None;
        self.failures = 0;
        self.next = now;
    }

    fn carried(&mut self, verdict: Verdict, watch: Watch, now: Timestamp, draw: u32) {
        match verdict {
            Verdict::Shown => {
                self.placed = self.wanted;
                self.seen = self.wanted;
                self.good(State::Verified, watch, now, draw);
            }
            Verdict::Kept => {
                self.placed = self.wanted;
                self.good(State::Deployed, watch, now, draw);
            }
            Verdict::NotShown(leaf) => {
                self.placed = self.wanted;
                self.seen = Some(leaf);
                let reason = "it was taken, and another certificate is shown".to_owned();
                self.failed(State::Failed, reason, now, draw);
            }
            Verdict::Unseen(reason) => {
                self.placed = self.wanted;
                self.seen = None;
                let reason = format!("it was taken, and nobody answers: {reason}");
                self.failed(State::Failed, reason, now, draw);
            }
            Verdict::PutBack(reason) => self.failed(State::RolledBack, reason, now, draw),
            Verdict::Failed(reason) => self.failed(State::Failed, reason, now, draw),
        }
    }

    fn good(&mut self, state: State, watch: Watch, now: Timestamp, draw: u32) {
        self.state = state;
        self.failures = 0;
        self.failing = None;
        self.urgent = false;
        self.reason = None;
        let quiet = |at: Timestamp| now.since(at) >= DRIFTS_FORGOTTEN;
        if self.drifted.is_some_and(quiet) {
            self.drifts = 0;
            self.drifted = None;
        }
        self.next = now.plus(spread(watch.0, draw));
    }

    fn failed(&mut self, state: State, reason: String, now: Timestamp, draw: u32) {
        self.state = state;
        self.failures = self.failures.saturating_add(1);
        self.failing = self.failing.or(Some(now));
        self.reason = Some(reason);
        self.next = now.plus(wait(self.failures, draw));
    }

    fn looked(&mut self, leaf: Leaf, watch: Watch, now: Timestamp, draw: u32) {
        self.seen = Some(leaf);
        if self.placed != self.wanted {
            // It has not been brought there: another one is no wonder, and the same one is somebody
            // else's, who shares the place.
            return;
        }
        if self.wanted == Some(leaf) {
            self.good(State::Verified, watch, now, draw);
            return;
        }
        let taken = self.state != State::Failed && self.state != State::Pending;
        if !taken {
            // It was brought there and never seen, so nobody changed it.
            return;
        }
        self.state = State::Drifted;
        self.drifts = self.drifts.saturating_add(1);
        self.drifted = Some(now);
        if self.drifts <= DRIFTS {
            self.reason = Some("somebody else changed what is shown".to_owned());
            self.next = now;
            return;
        }
        // Whoever does so again and again means it, or is a program that does not listen.
        self.failures = self.failures.saturating_add(1);
        self.failing = self.failing.or(Some(now));
        self.reason = Some(format!(
            "somebody else changes what is shown again and again, {} times",
            self.drifts
        ));
        self.next = now.plus(wait(self.drifts, draw));
    }

    /// Nobody answers there. That is no drift, and at first no failure.
    fn silent(&mut self, reason: String, now: Timestamp, draw: u32) {
        self.failures = self.failures.saturating_add(1);
        self.next = now.plus(wait(self.failures, draw));
        self.reason = Some(format!("nobody answers: {reason}"));
        if self.placed == self.wanted && self.failures >= SILENCES {
            self.state = State::Failed;
            self.seen = None;
            self.failing = self.failing.or(Some(now));
        }
    }
}

/// The wait after failure number `failures` in a row, for a uniform `draw`.
fn wait(failures: u32, draw: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let rung = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MOST);
    spread(rung, draw)
}

/// Between three quarters of `span` and all of it, and never nothing: moments are whole seconds.
fn spread(span: Duration, draw: u32) -> Duration {
    let seconds = span.as_secs();
    Duration::from_secs((seconds - seconds / 4 + share(seconds / 4 + 1, draw)).max(1))
}

#[cfg(test)]
#[path = "deployment_tests.rs"]
mod tests;
