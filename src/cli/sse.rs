//! Server-sent events as a client reads them (HTML Living Standard, section 9.2), as far as our
//! own daemon writes them.

/// The longest event that is read; an entry of the journal is some hundred bytes.
const LONGEST: usize = 1024 * 1024;

/// The data of events, put together from pieces as they arrive.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pending: Vec<u8>,
    data: String,
}

/// The peer sends an event without end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooLong;

impl Reader {
    /// Takes in a piece and returns the data of every event that is complete with it. Comments
    /// and fields other than `data` are skipped.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Vec<String>, TooLong> {
        self.pending.extend_from_slice(piece);
        let mut complete = Vec::new();
        let mut rest = self.pending.as_slice();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                if !self.data.is_empty() {
                    complete.push(std::mem::take(&mut self.data));
                }
            } else if let Some(value) = line.strip_prefix(b"data:") {
                let value = value.strip_prefix(b" ").unwrap_or(value);
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(&String::from_utf8_lossy(value));
            }
        }
        self.pending = rest.to_vec();
        if self.pending.len() + self.data.len() > LONGEST { Err(TooLong) } else { Ok(complete) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "retry: 1\n\nid: 1\nevent: entry\ndata: {\"a\":1}\n\n: still here\n\n\
                        id: 2\r\ndata:two\r\ndata: lines\r\n\r\ndata: unfinished\n";

    #[test]
    fn an_event_without_end_is_given_up() {
        let mut reader = Reader::default();
        let piece = vec![b'x'; LONGEST];
        assert_eq!(reader.feed(&piece), Ok(vec![]));
        assert_eq!(reader.feed(b"y"), Err(TooLong));
    }

    proptest! {
        #[test]
        fn events_are_the_same_however_they_are_cut(cuts in prop::collection::vec(1usize..20, 0..90)) {
            let mut reader = Reader::default();
            let mut rest = TEXT.as_bytes();
            let mut events = Vec::new();
            for cut in cuts {
                let (piece, tail) = rest.split_at(cut.min(rest.len()));
                events.extend(reader.feed(piece).unwrap());
                rest = tail;
            }
            events.extend(reader.feed(rest).unwrap());
            prop_assert_eq!(events, vec!["{\"a\":1}".to_owned(), "two\nlines".to_owned()]);
        }
    }
}
