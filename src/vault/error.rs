//! Why the vault could not do what main asked.

use super::walls::WallReport;
use super::wire::Refusal;
use super::wire::WireError;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;

/// Why the vault did not do it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Its process could not be started.
    #[error("the vault's process cannot be started")]
    Start(#[source] std::io::Error),
    /// It did not answer the first question in time, or ended before it.
    #[error("the vault ended while starting: {exit}")]
    EndedAtStart {
        /// How.
        exit: String,
    },
    /// More workers than it serves.
    #[error("{workers} workers are more than the {limit} the vault serves")]
    TooManyWorkers {
        /// Asked for.
        workers: usize,
        /// The most there can be.
        limit: usize,
    },
    /// There is no usable master key.
    #[error("{0}")]
    MasterKey(String),
    /// A record that it cannot open.
    #[error("sealed record refused: {0}")]
    Seal(String),
    /// Not what this key may sign.
    #[error("signature refused: {0}")]
    Purpose(String),
    /// The cryptographic library refused.
    #[error("the vault refused: {0}")]
    Crypto(String),
    /// A wall that must stand does not.
    #[error("the vault cannot wall itself in: {0}")]
    Wall(String),
    /// Some of its walls do not stand whole, and all of them were asked for.
    #[error("not every wall of the vault stands whole: {}", in_words(.0))]
    Torn(Vec<WallReport>),
    /// It ended, and no other stood up in time.
    #[error("the vault is gone and no other stood up in time")]
    Gone,
    /// It did not answer within its deadline.
    #[error("the vault did not answer in time")]
    Late,
    /// The channel is in use by another thread.
    #[error("this channel to the vault is in use")]
    ChannelInUse,
    /// A question that fits no frame, or an answer that is none.
    #[error("frame between main and vault")]
    Frame(#[from] WireError),
    /// An answer to another question.
    #[error("the vault gave an answer that fits no question")]
    Unexpected,
}

impl VaultError {
    pub(super) fn refused(code: Refusal, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).into_owned();
        match code {
            Refusal::MasterKey => Self::MasterKey(text),
            Refusal::Seal => Self::Seal(text),
            Refusal::Purpose => Self::Purpose(text),
            Refusal::Crypto => Self::Crypto(text),
            Refusal::Wall => Self::Wall(text),
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::MasterKey(_)
            | Self::Seal(_)
            | Self::Purpose(_)
            | Self::TooManyWorkers { .. }
            | Self::Torn(_) => Remedy::Intervene,
            _ => Remedy::Retry,
        }
    }
}

fn in_words(walls: &[WallReport]) -> String {
    let walls: Vec<_> = walls.iter().map(WallReport::in_words).collect();
    walls.join(", ")
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::new(FailureKind::Vault, error.to_string()).with_remedy(error.remedy())
    }
}
