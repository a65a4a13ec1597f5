//! The frames of a stream of HTTP/3 as they come in, before the library sees them.
//!
//! The library reads every frame but DATA whole, however long it says it is, and takes a stream that
//! ends within a DATA frame, or an empty DATA frame, for the end of a body. So frames are counted here
//! in passing. What is in them is not looked at.

use h3::error::Code;

use crate::base::bounds::quic::QUIC_HEADERS;
use crate::base::bounds::quic::QUIC_OTHER_FRAME;

/// RFC 9114, sections 7.2.1, 7.2.2 and 6.2.1.
const DATA: u64 = 0;
const HEADERS: u64 = 1;
const CONTROL: u64 = 0;

/// A frame without a length, of a protocol that is not offered here.
const WEBTRANSPORT: u64 = 0x41;

/// Watches one stream.
#[derive(Debug)]
pub(super) struct Frames {
    place: Place,
    number: Number,
    /// DATA frames without data.
    pub(super) empty: u32,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// What a stream in one direction is for.
    Purpose,
    Type,
    Length(u64),
    /// So many octets of a frame.
    Within(u64),
    /// No frames: streams of QPACK, and those that are ignored.
    Unframed,
}

impl Frames {
    /// Of a stream with a request.
    pub(super) const fn of_request() -> Self {
        Self { place: Place::Type, number: Number::NONE, empty: 0 }
    }

    /// Of a stream in one direction.
    pub(super) const fn of_one_way() -> Self {
        Self { place: Place::Purpose, ..Self::of_request() }
    }

    /// Goes on with what came next.
    ///
    /// # Errors
    /// With the code for the connection, when a frame is not to be read at all.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Code> {
        while let Some((first, rest)) = bytes.split_first() {
            match self.place {
                Place::Unframed => return Ok(()),
                Place::Within(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(here..).unwrap_or_default();
                    let left = left.saturating_sub(here as u64);
                    self.place = if left == 0 { Place::Type } else { Place::Within(left) };
                }
                Place::Purpose | Place::Type | Place::Length(_) => {
                    bytes = rest;
                    if let Some(number) = self.number.feed(*first) {
                        self.place = self.turn(number)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn turn(&mut self, number: u64) -> Result<Place, Code> {
        Ok(match self.place {
            Place::Purpose if number == CONTROL => Place::Type,
            Place::Purpose => Place::Unframed,
            Place::Type if number == WEBTRANSPORT => return Err(Code::H3_FRAME_UNEXPECTED),
            Place::Type => Place::Length(number),
            Place::Length(kind) => {
                let most = match kind {
                    DATA => u64::MAX,
                    HEADERS => QUIC_HEADERS,
                    _ => QUIC_OTHER_FRAME,
                };
                if number > most {
                    return Err(Code::H3_EXCESSIVE_LOAD);
                }
                if kind == DATA && number == 0 {
                    self.empty = self.empty.saturating_add(1);
                }
                if number == 0 { Place::Type } else { Place::Within(number) }
            }
            place @ (Place::Within(_) | Place::Unframed) => place,
        })
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// When it ended within a frame (RFC 9114, section 7.1).
    pub(super) const fn end(&self) -> Result<(), Code> {
        match self.place {
            Place::Type if self.number.is_none() => Ok(()),
            Place::Purpose | Place::Unframed => Ok(()),
            Place::Type | Place::Length(_) | Place::Within(_) => Err(Code::H3_FRAME_ERROR),
        }
    }
}

/// A number of variable length (RFC 9000, section 16) while it comes in.
#[derive(Clone, Copy, Debug)]
struct Number {
    value: u64,
    /// Octets that are missing; `None` before the first.
    missing: Option<u8>,
}

impl Number {
    const NONE: Self = Self { value: 0, missing: None };

    const fn is_none(&self) -> bool {
        self.missing.is_none()
    }

    /// The number, once it is whole; another begins then.
    fn feed(&mut self, octet: u8) -> Option<u64> {
        let missing = match self.missing {
            None => {
                self.value = u64::from(octet & 0x3f);
                (1 << (octet >> 6)) - 1
            }
            Some(missing) => {
                self.value = self.value << 8 | u64::from(octet);
                missing - 1
            }
        };
        if missing > 0 {
            self.missing = Some(missing);
            return None;
        }
        let whole = self.value;
        *self = Self::NONE;
        Some(whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number in `width` octets: 1, 2, 4 or 8.
    fn number(value: u64, width: usize) -> Vec<u8> {
        let mut bytes = value.to_be_bytes()[8 - width..].to_vec();
        bytes[0] |= u8::try_from(width.trailing_zeros()).unwrap() << 6;
        bytes
    }

    fn frame(kind: u64, length: u64) -> Vec<u8> {
        [number(kind, 1), number(length, 8), vec![7; usize::try_from(length).unwrap()]].concat()
    }

    #[test]
    fn numbers_are_read_in_every_width() {
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ] {
            let (last, first) = bytes.split_last().unwrap();
            let mut number = Number::NONE;
            assert!(first.iter().all(|octet| number.feed(*octet).is_none()), "{bytes:?}");
            assert_eq!(number.feed(*last), Some(value), "{bytes:?}");
            assert!(number.is_none());
        }
    }

    #[test]
    fn only_data_may_be_long() {
        let said = |kind, length| {
            let mut frames = Frames::of_request();
            frames.pass(&[number(kind, 2), number(length, 8)].concat())
        };
        let far = (1 << 62) - 1;
        assert_eq!(said(DATA, far), Ok(()));
        assert_eq!(said(HEADERS, QUIC_HEADERS), Ok(()));
        assert_eq!(said(HEADERS, QUIC_HEADERS + 1), Err(Code::H3_EXCESSIVE_LOAD));
        for other in [3, 4, 5, 7, 0xd, 0x21] {
            assert_eq!(said(other, QUIC_OTHER_FRAME), Ok(()));
            assert_eq!(said(other, QUIC_OTHER_FRAME + 1), Err(Code::H3_EXCESSIVE_LOAD));
        }
        assert_eq!(said(WEBTRANSPORT, 1), Err(Code::H3_FRAME_UNEXPECTED));
        let mut control = Frames::of_one_way();
        assert_eq!(control.pass(&[number(0, 1), number(4, 1)].concat()), Ok(()));
        assert_eq!(control.pass(&number(far, 8)), Err(Code::H3_EXCESSIVE_LOAD));
        let mut qpack = Frames::of_one_way();
        assert_eq!(qpack.pass(&[number(2, 1), vec![0xff; 99]].concat()), Ok(()));
        assert_eq!(qpack.end(), Ok(()));
    }

    proptest! {
        /// In whatever pieces it comes: only the end of a frame is a place for the end.
        #[test]
        fn a_stream_ends_between_frames_only(
            frames in prop::collection::vec((0_u64..2, 0_u64..40), 1..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
            end in any::<prop::sample::Index>(),
        ) {
            let pieces: Vec<Vec<u8>> = frames.iter().map(|(k, l)| frame(*k, *l)).collect();
            let ends: Vec<usize> = pieces
                .iter()
                .scan(0, |sum, piece| { *sum += piece.len(); Some(*sum) })
                .collect();
            let all = pieces.concat();
            let end = end.index(all.len() + 1);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(end + 1)).collect();
            cuts.extend([0, end]);
            cuts.sort_unstable();
            let mut watched = Frames::of_request();
            for pair in cuts.windows(2) {
                prop_assert_eq!(watched.pass(&all[pair[0]..pair[1]]), Ok(()));
            }
            let between = end == 0 || ends.contains(&end);
            prop_assert_eq!(watched.end().is_ok(), between);
            if end == all.len() {
                let empty = frames.iter().filter(|frame| **frame == (DATA, 0)).count();
                prop_assert_eq!(watched.empty as usize, empty);
            }
        }

        #[test]
        fn anything_may_be_sent(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (mut request, mut one_way) = (Frames::of_request(), Frames::of_one_way());
            let _ = (request.pass(&bytes), request.end(), one_way.pass(&bytes), one_way.end());
        }
    }
}
