//! How many certificates of which class a client may have: the classes, and the balance that every entry of
//! the ledger leaves behind.
//!
//! Deliberately absent: who a client is and what it may ask for, which are found out where it calls.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::client::ClientName;
use super::identifier::Identifier;
use super::pack::What;

/// What a certificate counts as.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It vouches for one name, which is no wildcard.
    Single,
    /// One of its names at least is a wildcard.
    Wildcard,
    /// It vouches for several names, none of which is a wildcard.
    Multi,
}

impl Class {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 3] = [Self::Single, Self::Wildcard, Self::Multi];

    /// The class of a certificate for `names`. A wildcard decides, whatever stands beside it: it
    /// stands for any number of names, so that counting the others would sell it as what is less.
    pub fn of(names: &[Identifier]) -> Self {
        match names {
            _ if names.iter().any(Identifier::is_wildcard) => Self::Wildcard,
            [] | [_] => Self::Single,
            _ => Self::Multi,
        }
    }

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Wildcard => "wildcard",
            Self::Multi => "multi",
        }
    }

    /// Reads that word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == text)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What became of what a client was granted of one class: `granted` is the sum of the three others,
/// always.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// Certificates that it was granted, without those that expired or were revoked before use.
    pub granted: u64,
    /// Those that it may still ask for.
    pub available: u64,
    /// Those that are being ordered.
    pub reserved: u64,
    /// Those that were issued.
    pub consumed: u64,
}

impl Balance {
    /// As it is after `amount` more of that happened; `None` where there is not so much.
    #[must_use]
    pub fn after(self, what: What, amount: u64) -> Option<Self> {
        let mut next = self;
        let (from, to) = match what {
            What::Granted => {
                next.granted = next.granted.checked_add(amount)?;
                (None, Some(&mut next.available))
            }
            What::Reserved => (Some(&mut next.available), Some(&mut next.reserved)),
            What::Consumed => (Some(&mut next.reserved), Some(&mut next.consumed)),
            What::Refunded => (Some(&mut next.reserved), Some(&mut next.available)),
            What::Expired | What::Revoked => {
                next.granted = next.granted.checked_sub(amount)?;
                (Some(&mut next.available), None)
            }
        };
        if let Some(from) = from {
            *from = from.checked_sub(amount)?;
        }
        if let Some(to) = to {
            *to = to.checked_add(amount)?;
        }
        Some(next)
    }

    /// Whether the sum is right.
    pub const fn is_sound(self) -> bool {
        let spent = self.reserved.saturating_add(self.consumed);
        self.granted == self.available.saturating_add(spent)
    }

    /// Whether little is left of what was granted: a tenth of it, or two.
    pub const fn is_low(self) -> bool {
        let tenth = self.granted / 10;
        self.available <= if tenth > FEW { tenth } else { FEW }
    }
}

/// However little was granted: so many are little.
const FEW: u64 = 2;

/// The balance of each class, in the order of [`Class::ALL`].
pub type Balances = [(Class, Balance); 3];

/// Why a client does not get what it asks for: nothing of that class is left to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overdrawn {
    /// The client.
    pub client: ClientName,
    /// The class that it asked for.
    pub class: Class,
    /// What it has of each.
    pub balances: Balances,
}

impl fmt::Display for Overdrawn {
    /// One line: what is not there, the balances, and what would raise them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, class, balances } = self;
        write!(f, "{client} has no certificate of class {class} left (")?;
        for (number, (class, balance)) in balances.iter().enumerate() {
            let Balance { granted, available, reserved, consumed } = balance;
            let comma = if number == 0 { "" } else { "; " };
            write!(
                f,
                "{comma}{class}: {available} of {granted} left, {reserved} being ordered, {consumed} issued"
            )?;
        }
        write!(
            f,
            "): an operator can raise it with `keyward pack grant {client} --class {class} --count N`"
        )?;
        match balances.iter().any(|(of, balance)| of == class && balance.reserved > 0) {
            true => f.write_str(", and an order that fails or is withdrawn gives its own back"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_decides_the_class_and_else_the_number_of_names() {
        for (names, class) in [
            (&["a.example"][..], Class::Single),
            (&["192.0.2.1"], Class::Single),
            (&["*.a.example"], Class::Wildcard),
            (&["a.example", "*.a.example"], Class::Wildcard),
            (&["a.example", "b.example"], Class::Multi),
        ] {
            let names: Vec<_> = names.iter().map(|n| Identifier::parse(n).unwrap()).collect();
            assert_eq!(Class::of(&names), class, "{names:?}");
        }
        assert!(Class::ALL.into_iter().all(|class| Class::parse(class.word()) == Some(class)));
    }

    #[test]
    fn a_balance_stays_sound_and_never_goes_below_nothing() {
        let steps = [
            (What::Granted, 5, [5, 5, 0, 0]),
            (What::Reserved, 3, [5, 2, 3, 0]),
            (What::Consumed, 1, [5, 2, 2, 1]),
            (What::Refunded, 1, [5, 3, 1, 1]),
            (What::Expired, 2, [3, 1, 1, 1]),
            (What::Revoked, 1, [2, 0, 1, 1]),
        ];
        let mut balance = Balance::default();
        for (what, amount, [granted, available, reserved, consumed]) in steps {
            balance = balance.after(what, amount).unwrap();
            assert_eq!(balance, Balance { granted, available, reserved, consumed }, "{what:?}");
            assert!(balance.is_sound());
        }
        assert_eq!(balance.after(What::Reserved, 1), None);
        assert_eq!(balance.after(What::Expired, 1), None);
        assert_eq!(balance.after(What::Revoked, 1), None);
        assert_eq!(balance.after(What::Refunded, 2), None);
        assert_eq!(balance.after(What::Consumed, 2), None);
        assert_eq!(balance.after(What::Granted, u64::MAX), None);
    }

    #[test]
    fn a_tenth_is_little_and_so_are_two() {
        let low = |granted, available| {
            Balance { granted, available, reserved: 0, consumed: granted - available }.is_low()
        };
        assert!(low(500, 50) && !low(500, 51));
        assert!(low(20, 2) && !low(20, 3));
        assert!(low(3, 2) && !low(3, 3));
    }

    #[test]
    fn a_refusal_says_what_there_is_of_each_class_and_what_would_raise_it() {
        let spent = Balance { granted: 1, available: 0, reserved: 0, consumed: 1 };
        let balances = Class::ALL.map(|class| (class, spent));
        let client = ClientName::parse("panel").unwrap();
        let told = Overdrawn { client, class: Class::Wildcard, balances }.to_string();
        for part in ["panel has no", "class wildcard left", "single: 0 of 1 left", "multi: 0 of 1"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(told.ends_with("`keyward pack grant panel --class wildcard --count N`"), "{told}");
    }
}
