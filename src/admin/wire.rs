//! What travels on the admin socket: the types of interface version 1.
//!
//! The interface grows by new fields only. A client ignores fields that it does not know, and
//! every list of words (phases, kinds, figures) may get longer. Moments are RFC 3339 in UTC.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::KnownFormat;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::RefOr;
use utoipa::openapi::Schema;
use utoipa::openapi::SchemaFormat;
use utoipa::openapi::Type;

use crate::base::Timestamp;

pub mod account;
pub mod books;
pub mod care;
pub mod deployments;
pub mod doctor;
pub mod guests;
pub mod issue;
pub mod news;
pub mod persist;
pub mod probe;
pub mod rotate;
pub mod signing;
pub mod standby;
pub mod terms;
pub mod tickets;
pub mod tokens;
pub mod transfer;
pub mod upgrade;
pub mod whoami;

/// Every path begins with this.
pub const PREFIX: &str = "/v1";

/// Entries in an answer to `GET /v1/events` unless the client says otherwise.
pub const EVENTS_DEFAULT: usize = 100;

/// The longest list of entries in one answer.
pub const EVENTS_MOST: usize = 1000;

/// Certificates in an answer to `GET /v1/certificates` unless the client says otherwise.
pub const LIST_DEFAULT: usize = 100;

/// The longest list of certificates in one answer.
pub const LIST_MOST: usize = 1000;

/// Counters by name; the names are those of the room that counts.
pub type Figures = BTreeMap<String, u64>;

/// A moment, as RFC 3339 text in UTC.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Moment(pub Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Timestamp> for Moment {
    fn from(moment: Timestamp) -> Self {
        Self(moment)
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for Moment {}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some(seconds) = text.strip_prefix('@').and_then(|s| s.parse().ok()) {
            return Ok(Self(Timestamp::from_unix(seconds)));
        }
        let moment: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Self(Timestamp::from_unix_signed(moment.as_second())))
    }
}

/// `GET /v1/status`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// When it started.
    pub started_at: Moment,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// Where the configuration came from.
    pub config: ConfigView,
    /// Why the house is not whole, if it is not.
    pub degraded: Option<String>,
    /// What could be better, and how.
    #[serde(default)]
    pub notices: Vec<String>,
    /// The walls around the daemon itself that stand, by name.
    #[serde(default)]
    pub walls: Vec<String>,
    /// How many sites are configured.
    pub sites: u64,
    /// How the certificates are.
    pub certificates: Counts,
    /// The key process.
    pub vault: VaultView,
    /// The keys of session tickets.
    #[serde(default)]
    pub tickets: tickets::TicketsView,
    /// Counters of the front door.
    pub edge: Figures,
    /// Where the front door listens.
    pub listeners: Vec<ListenerView>,
    /// What the kernel does for the front door, and what it does not, with the reason.
    #[serde(default)]
    pub kernel: Vec<String>,
    /// What the sites agree on with clients.
    #[serde(default)]
    pub door: terms::DoorView,
    /// When something is to be done next.
    pub next_wake: Option<Moment>,
}

/// The configuration in force.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigView {
    /// The file; none for embedded defaults.
    pub source: Option<String>,
    /// When it was applied.
    pub applied_at: Moment,
    /// Why the newest change of the file was refused, if it was.
    #[serde(default)]
    pub refused: Option<String>,
}

/// Certificates by state.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// All of them.
    pub total: u64,
    /// A valid certificate is being served.
    pub served: u64,
    /// None is there yet, and the house is at work on it.
    pub working: u64,
    /// A person has to act.
    pub needs_you: u64,
    /// Brought from elsewhere; counted above as well.
    #[serde(default)]
    pub imported: u64,
    /// Those that clients asked for, which are counted nowhere else, by how they stand in the ledger.
    #[serde(default)]
    pub clients: BTreeMap<String, u64>,
    /// The same certificates by phase.
    pub phases: BTreeMap<String, u64>,
    /// Those that the configuration asks for by where they stand in their lives.
    #[serde(default)]
    pub conditions: BTreeMap<String, u64>,
}

/// The key process.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VaultView {
    /// Its process id; none while it is being started again.
    pub pid: Option<u32>,
    /// How often it had to be started again.
    pub restarts: u64,
    /// The walls around it that stand, by name.
    pub walls: Vec<String>,
    /// How many of all walls must stand, as `[vault] require` says: `available` or `strict`.
    #[serde(default)]
    pub required: Option<String>,
    /// Which master key it is, and how far a change of it is.
    #[serde(default)]
    pub master: Option<rotate::MasterView>,
    /// Where the master key lives.
    #[serde(default)]
    pub master_key: Option<String>,
    /// How workers reach it: `shared memory`, or `sockets` where the kernel lacks that.
    #[serde(default)]
    pub channel: Option<String>,
    /// Its counters.
    pub figures: Figures,
    /// Keys that signed far more than their handshakes, in words.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// What the busiest keys do.
    #[serde(default)]
    pub busiest: Vec<signing::SigningView>,
}

/// One listening socket.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ListenerView {
    /// `https` or `http`.
    pub purpose: String,
    /// The address.
    pub address: String,
    /// Whether it came from the service manager.
    pub inherited: bool,
}

/// One site of the configuration.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SiteView {
    /// Its first name.
    pub name: String,
    /// All its names.
    pub names: Vec<String>,
    /// Where requests go.
    pub origin: String,
    /// Who issues its certificate.
    pub issuer: String,
    /// How its certificate is.
    pub state: Standing,
    /// The certificate that it should have.
    pub certificate: Option<String>,
    /// The certificate that is served for its first name now.
    pub serving: Option<String>,
    /// When the one that is served runs out.
    pub not_after: Option<Moment>,
    /// Whether plain HTTP is redirected.
    pub redirect: bool,
    /// Whether clients that name no known site get this one.
    pub default: bool,
}

/// How a certificate is, in the words a person needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, ToSchema)]
pub enum Standing {
    /// A valid certificate is served, and nothing hinders its renewal for now.
    #[serde(rename = "served")]
    Served,
    /// None is there yet; the house is at work and needs nobody.
    #[serde(rename = "working")]
    Working,
    /// A person has to act.
    #[serde(rename = "needs you")]
    NeedsYou,
}

impl Standing {
    /// The word, as on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Working => "working",
            Self::NeedsYou => "needs you",
        }
    }
}

/// One certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CertificateView {
    /// Sixteen hexadecimal digits.
    pub id: String,
    /// The names it is for.
    pub names: Vec<String>,
    /// Who issues it: `internal`, `imported`, or the host of the CA's directory.
    pub issuer: String,
    /// `primary`, `bridge` for one that keeps the port answering until the primary is there, or
    /// `imported`.
    pub role: String,
    /// `p256`, `p384` or `rsa2048`; an imported one may be a longer `rsa`.
    pub key_algorithm: String,
    /// The ACME profile asked for.
    pub profile: Option<String>,
    /// Served, working, or in need of somebody.
    pub state: Standing,
    /// Where it stands in its life: `wanted`, `ordered`, `issued`, `hosted`, `renewing`, `expiring`,
    /// `expired`, `failed`, `revoked` or `retired`.
    pub condition: String,
    /// What the house is doing about it: `due`, `ordering`, `holding`, `waiting`, `halted` or
    /// `retiring`.
    pub phase: String,
    /// What is served for it.
    pub installed: Option<InstalledView>,
    /// When it is renewed.
    pub renew_at: Option<Moment>,
    /// The span that moment was drawn from.
    pub window: Option<WindowView>,
    /// When the CA is asked again for its window (RFC 9773).
    pub recheck_at: Option<Moment>,
    /// When the house looks at it next; none when only a person can help.
    pub next_wake: Option<Moment>,
    /// Failed attempts in a row.
    pub attempt: u32,
    /// The last failure, if the last attempt failed.
    pub failure: Option<FailureView>,
    /// Since when attempts have stopped, if they have.
    pub halted_since: Option<Moment>,
    /// URL of the order in flight.
    pub order: Option<String>,
    /// Counts the changes of the record.
    pub revision: u64,
    /// What is to become of it besides.
    #[serde(default)]
    pub care: care::CareView,
    /// For whom it was issued, if for a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<issue::IssueView>,
    /// What its key does; in the answer about one certificate only.
    #[serde(default)]
    pub signing: Option<signing::SigningView>,
    /// What its site agrees on with clients; in the answer about one certificate only.
    #[serde(default)]
    pub terms: Option<terms::TermsView>,
}

/// What is served for a certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstalledView {
    /// The leaf's serial number, hexadecimal.
    pub serial: String,
    /// First good moment.
    pub not_before: Moment,
    /// Last good moment.
    pub not_after: Moment,
    /// Whether it is good now.
    pub valid: bool,
    /// Share of its life that is left.
    pub percent_left: u8,
    /// Distinguished name of the issuer, as in the leaf.
    pub issuer: String,
    /// SHA-256 of the public key, hexadecimal.
    pub key: String,
    /// When it was installed.
    pub installed_at: Moment,
}

/// A span of time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WindowView {
    /// First moment.
    pub start: Moment,
    /// End.
    pub end: Moment,
}

/// What went wrong, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FailureView {
    /// Its kind, one word that never changes its meaning.
    pub kind: String,
    /// In plain words, with the name and the challenge it is about.
    pub detail: String,
    /// `retry`, `retry-after` or `intervene`.
    pub remedy: String,
    /// The moment the CA named, for `retry-after`.
    pub retry_after: Option<Moment>,
    /// What to look at.
    pub hint: String,
    /// The name it is about.
    pub subject: Option<String>,
    /// The challenge that was tried.
    pub challenge: Option<String>,
}

/// One entry of the journal.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EntryView {
    /// Counted from 1; resume after it.
    pub seq: u64,
    /// When.
    pub at: Moment,
    /// What, one word that never changes its meaning.
    pub kind: String,
    /// `info`, `warning` or `error`.
    pub level: String,
    /// The certificate it is about.
    pub certificate: Option<String>,
    /// Its first name.
    pub name: Option<String>,
    /// In plain words.
    pub message: String,
}

/// `GET /v1/events` as a list.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Journal {
    /// Oldest first.
    pub entries: Vec<EntryView>,
    /// Number of the newest entry there is.
    pub head: u64,
}

/// `GET /v1/sites`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sites {
    /// In the order of the configuration.
    pub sites: Vec<SiteView>,
}

/// `GET /v1/certificates`, a page of them: at most `limit`, behind `after`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Certificates {
    /// Those that the configuration asks for, then the imported ones, each by id.
    pub certificates: Vec<CertificateView>,
    /// Where the next page begins, to be given as `after`; none behind the last one.
    #[serde(default)]
    pub next: Option<String>,
}

/// `POST /v1/certificates/{selector}/renew`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Renewal {
    /// The certificate as it is after the request was taken.
    pub certificate: CertificateView,
    /// Number of the newest entry of the journal before the request: what comes of it follows.
    pub after: u64,
}

/// `POST /v1/reload`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Sites that are new, by first name.
    pub added: Vec<String>,
    /// Sites that changed.
    pub changed: Vec<String>,
    /// Sites that are gone.
    pub removed: Vec<String>,
    /// Sites that stayed as they were.
    pub unchanged: u64,
    /// Changes that need a restart to be seen, and other things worth knowing.
    pub notes: Vec<String>,
}

/// Every refusal and fault (RFC 9457).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A word for the kind, as a relative URI reference.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in plain words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// What to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Each field of the body that is wrong, where that is why.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<issue::FieldProblem>)]
    pub errors: Box<[issue::FieldProblem]>,
}

/// Media type of [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_travels_as_rfc_3339_and_comes_back() {
        for seconds in [0, 1_795_441_208, u64::MAX] {
            let moment = Moment(Timestamp::from_unix(seconds));
            let text = serde_json::to_string(&moment).unwrap();
            assert_eq!(serde_json::from_str::<Moment>(&text).unwrap(), moment);
        }
        let offset = serde_json::from_str::<Moment>("\"1970-01-01T01:00:00+01:00\"").unwrap();
        assert_eq!(offset, Moment(Timestamp::from_unix(0)));
        assert!(serde_json::from_str::<Moment>("\"yesterday\"").is_err());
    }

    #[test]
    fn fields_that_a_newer_daemon_adds_are_ignored() {
        let text = r#"{"entries":[],"head":7,"invented":{"later":true}}"#;
        assert_eq!(serde_json::from_str::<Journal>(text).unwrap().head, 7);
    }
}
