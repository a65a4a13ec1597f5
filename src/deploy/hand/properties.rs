//! What must hold for any octets that main or a hand reads; see [`crate::base::property`].
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what does not hold ends in a panic")]

use super::Order;
use super::Report;
use super::Stage;
use super::VERSION;
use super::encode;
use super::one_line;
use super::order;
use super::report;
use crate::base::bounds;
use crate::base::property::Property;

/// A frame that is read is the one that it is written as, and within its bounds.
pub const HAND_FRAME: Property = Property { name: "hand_frame", check, seeds, tries: 20_000 };

fn check(bytes: &[u8]) {
    if let Ok(read) = order(bytes) {
        assert_eq!(encode(&read).unwrap(), bytes);
        if let Order::Begin { chain, .. } = read {
            assert!(chain.len() <= bounds::hand::CHAIN);
        }
    }
    if let Ok(read) = report(bytes) {
        assert_eq!(encode(&read).unwrap(), bytes);
        if let Report::Failed { reason, .. } = read {
            assert!(reason.len() <= bounds::hand::REASON);
        }
    }
    let line = one_line(&String::from_utf8_lossy(bytes), 100);
    assert!(line.len() <= 100 && !line.chars().any(char::is_control));
}

fn seeds() -> Vec<Vec<u8>> {
    let begin = Order::Begin {
        version: VERSION,
        target: "mail".to_owned(),
        name: "mail.example.org".to_owned(),
        chain: vec![vec![0x30, 0x82, 1, 2], vec![0x30]],
    };
    let orders = [begin, Order::Keep, Order::PutBack].map(|said| encode(&said).unwrap());
    let failed = Report::failed(Stage::TakeUp, "it\nended \u{e4} with 1", true);
    let reports = [
        Report::Ready,
        Report::At(Stage::Place),
        Report::Placed,
        Report::Kept,
        Report::IsBack,
        failed,
    ];
    orders.into_iter().chain(reports.map(|said| encode(&said).unwrap())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_are_written_or_not_at_all() {
        HAND_FRAME.hold();
        for seed in seeds() {
            let longer: Vec<u8> = seed.iter().copied().chain([0]).collect();
            let read = (order(&seed).is_ok(), report(&seed).is_ok());
            assert!(read.0 || read.1, "{seed:?}");
            // What is too long for the one may well be the other.
            assert!(!read.0 || order(&longer).is_err(), "{longer:?}");
            assert!(!read.1 || report(&longer).is_err(), "{longer:?}");
        }
        // `Keep` with its number in two octets in the place of one.
        assert!(order(&[0x81, 0]).is_err());
    }

    #[test]
    fn what_is_too_much_is_no_frame() {
        let begin = |count: usize| Order::Begin {
            version: VERSION,
            target: String::new(),
            name: String::new(),
            chain: vec![vec![0x30]; count],
        };
        assert!(order(&encode(&begin(bounds::hand::CHAIN)).unwrap()).is_ok());
        assert!(order(&encode(&begin(bounds::hand::CHAIN + 1)).unwrap()).is_err());
        let Report::Failed { reason, .. } =
            Report::failed(Stage::Key, &"\u{e4}".repeat(5000), false)
        else {
            unreachable!()
        };
        assert_eq!(reason.len(), bounds::hand::REASON);
        let long = Order::Begin {
            version: VERSION,
            target: "x".repeat(bounds::hand::FRAME),
            name: String::new(),
            chain: Vec::new(),
        };
        assert!(encode(&long).is_err());
    }
}
