//! The programs whose habits are known: their words.
//!
//! Deliberately absent: the habits, which `presets` has.

/// A program of which it is known which files it wants, and how it is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TargetPreset {
    /// nginx.
    Nginx,
    /// Apache's httpd.
    Apache,
    /// Postfix.
    Postfix,
    /// Dovecot.
    Dovecot,
    /// PostgreSQL.
    Postgresql,
    /// MariaDB.
    Mariadb,
    /// Redis.
    Redis,
    /// Mosquitto.
    Mosquitto,
    /// Prosody.
    Prosody,
}

impl TargetPreset {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Nginx,
        Self::Apache,
        Self::Postfix,
        Self::Dovecot,
        Self::Postgresql,
        Self::Mariadb,
        Self::Redis,
        Self::Mosquitto,
        Self::Prosody,
    ];

    /// The word of the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache",
            Self::Postfix => "postfix",
            Self::Dovecot => "dovecot",
            Self::Postgresql => "postgresql",
            Self::Mariadb => "mariadb",
            Self::Redis => "redis",
            Self::Mosquitto => "mosquitto",
            Self::Prosody => "prosody",
        }
    }

    /// Reads that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.word() == word)
    }
}
