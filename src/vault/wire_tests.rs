//! Every frame is read as it was written, and nothing else is.

#[cfg(test)]
use proptest::prelude::*;

use std::sync::LazyLock;

use super::*;
#[cfg(test)]
use crate::base::bounds::VAULT_FRAME;
#[cfg(test)]
use crate::base::bounds::gate::VAULT_TOGETHER;
use crate::vault::wire_several::Question;
use crate::vault::wire_tickets::Step;

/// Two questions for signatures.
static SEVERAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut fields = Vec::new();
    for (octet, purpose) in [(7, Purpose::Tls13), (8, Purpose::Tls12)] {
        let scheme = Scheme::EcdsaP256Sha256;
        let message = [octet; 9];
        Question { key: KeyId([octet; 32]), purpose, scheme, message: &message }.write(&mut fields);
    }
    fields
});

/// One of each.
pub(in super::super) fn requests(bytes: &[u8], key: [u8; 32]) -> Vec<Request<'_>> {
    let key = KeyId(key);
    let (purpose, scheme) = (Purpose::Tls12, Scheme::RsaPssSha384);
    vec![
        Request::Hello { version: 1, cache_bytes: 5, cores: vec![1, u16::MAX], gates: true },
        Request::Generate { algorithm: KeyAlgorithm::P384, usage: KeyUsage::InternalCa },
        Request::Sign { key, purpose, scheme, message: bytes, sealed: b"" },
        Request::Sign { key, purpose, scheme, message: b"message", sealed: bytes },
        Request::Several(Questions::of(2, &SEVERAL)),
        Request::Forget { key },
        Request::TakeOver { label: bytes, sealed: b"sealed" },
        Request::Ping,
        Request::Reseal(bytes),
        Request::ChangeMaster(crate::vault::succession::Step::Begin),
        Request::ImportKey,
        Request::Import {
            algorithm: KeyAlgorithm::P256,
            usage: KeyUsage::ExportableTls,
            key,
            encapsulated: b"half",
            sealed: bytes,
        },
        Request::Export { sealed: bytes },
        Request::Deliver { recipient: key.0, sealed: bytes },
        Request::Tickets(TicketRequest::Turn {
            strict: true,
            step: Step::Skip,
            now: 9,
            state: bytes,
        }),
        Request::Tickets(TicketRequest::Adopt { state: bytes }),
        Request::Tickets(TicketRequest::Seal { context: key.0, session: bytes }),
        Request::Tickets(TicketRequest::Open { context: key.0, ticket: bytes }),
        Request::Signed { desk: 3, from: u16::MAX },
        Request::Busiest { skip: 400 },
        Request::Warm { heat: u64::MAX, sealed: bytes },
    ]
}

fn counted(key: u64) -> Counted {
    Counted { key, most: u64::MAX, inherited: 7 }
}

/// One of each.
pub(in super::super) fn replies(bytes: &[u8]) -> Vec<Reply<'_>> {
    vec![
        Reply::Welcome {
            pid: 7,
            created: true,
            walls: vec![(0, 1, bytes), (5, 0, b"")],
            gates: false,
            masters: vec![Mark { epoch: 1, check: [7; 8] }, Mark { epoch: 9, check: [8; 8] }],
        },
        Reply::Generated { spki: b"spki", sealed: bytes },
        Reply::Done,
        Reply::Signature(bytes),
        Reply::Several(Answers::of(3, b"\x02\0ab\0\0\x01\0c")),
        Reply::NeedBlob,
        Reply::Bytes(bytes),
        Reply::Figures([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, u64::MAX]),
        Reply::Busiest(vec![(KeyId([7; 32]), 1), (KeyId([8; 32]), u64::MAX)]),
        Reply::Busiest(vec![]),
        Reply::Warmed(true),
        Reply::Refused { code: Refusal::Wall, text: bytes },
        Reply::Tickets(TicketReply::Turned {
            epoch: 1,
            since: 2,
            anew: bytes,
            state: b"state",
            keys: vec![([3; 16], Some([4; 32])), ([5; 16], None)],
        }),
        Reply::Tickets(TicketReply::Sealed(bytes)),
        Reply::Tickets(TicketReply::No),
        Reply::Counts { next: 9, counts: bytes.iter().map(|n| counted(u64::from(*n))).collect() },
    ]
}

#[cfg(test)]
proptest! {
    #[test]
    fn every_frame_is_read_as_written_and_no_other_length_is_read(
        id in any::<u64>(),
        key in any::<[u8; 32]>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut frame = Vec::new();
        for request in requests(&bytes, key) {
            request.encode(id, &mut frame).unwrap();
            prop_assert_eq!(Request::decode(&frame), Ok((id, request)));
            prop_assert!(Request::decode(&frame[..cut.index(frame.len())]).is_err());
            frame.push(0);
            prop_assert_eq!(Request::decode(&frame), Err(WireError::Long));
            prop_assert!(Reply::decode(&frame).is_err());
        }
        for reply in replies(&bytes) {
            reply.encode(id, &mut frame).unwrap();
            prop_assert_eq!(Reply::decode(&frame), Ok((id, reply)));
            prop_assert!(Reply::decode(&frame[..cut.index(frame.len())]).is_err());
            frame.push(0);
            prop_assert_eq!(Reply::decode(&frame), Err(WireError::Long));
            prop_assert!(Request::decode(&frame).is_err());
        }
    }

    #[test]
    fn what_is_read_is_what_would_be_written(
        tag in any::<u8>(),
        rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [&[tag][..], &rest].concat();
        let mut again = Vec::new();
        if let Ok((id, request)) = Request::decode(&bytes) {
            request.encode(id, &mut again).unwrap();
            prop_assert_eq!(&again, &bytes);
        }
        if let Ok((id, reply)) = Reply::decode(&bytes) {
            reply.encode(id, &mut again).unwrap();
            prop_assert_eq!(&again, &bytes);
        }
    }
}

#[test]
fn a_frame_larger_than_allowed_is_neither_written_nor_read() {
    let mut frame = Vec::new();
    let fits = vec![0; VAULT_FRAME - 11];
    Request::Reseal(&fits).encode(1, &mut frame).unwrap();
    assert_eq!(frame.len(), VAULT_FRAME);
    let over = vec![0; VAULT_FRAME - 10];
    let refused = Request::Reseal(&over).encode(1, &mut frame);
    assert_eq!(refused, Err(WireError::Long));
    assert_eq!(Request::decode(&frame), Err(WireError::Long));
}

#[test]
fn questions_are_read_as_they_were_put_down_and_no_other_number_of_them() {
    let questions = Questions::of(2, &SEVERAL);
    let read: Vec<_> = questions.each().map(|asked| (asked.key.0[0], asked.purpose)).collect();
    assert_eq!(read, [(7, Purpose::Tls13), (8, Purpose::Tls12)]);
    let answers = Answers::of(3, b"\x02\0ab\0\0\x01\0c");
    assert_eq!(answers.each().collect::<Vec<_>>(), [&b"ab"[..], b"", b"c"]);
    let mut frame = Vec::new();
    for count in [0, 1, 3, 255] {
        let wrong = Questions::of(count, &SEVERAL);
        Request::Several(wrong).encode(1, &mut frame).unwrap();
        assert!(Request::decode(&frame).is_err(), "{count}");
    }
    // As many as go together, and one more.
    for (count, fits) in [(VAULT_TOGETHER, true), (VAULT_TOGETHER + 1, false)] {
        let fields = SEVERAL[..SEVERAL.len() / 2].repeat(count);
        let several = Questions::of(count, &fields);
        Request::Several(several).encode(1, &mut frame).unwrap();
        assert_eq!(Request::decode(&frame).is_ok(), fits, "{count}");
        // The purpose of the first: one that no handshake has.
        frame[9 + 1 + 32] = Purpose::Csr.octet();
        assert!(Request::decode(&frame).is_err());
    }
}

#[test]
fn a_full_page_of_counts_fits_a_frame() {
    let counts = (0..crate::base::bounds::TALLY_PAGE as u64).map(counted).collect();
    let reply = Reply::Counts { next: u16::MAX, counts };
    reply.encode(1, &mut Vec::new()).unwrap();
}
