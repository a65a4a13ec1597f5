//! Where messages begin and end on an HTTP/1 connection, read strictly.
//!
//! The machine looks at every byte that a client sends, and refuses what RFC 9112 lets a lenient
//! server repair: a repaired message is one that the next server may read differently (request
//! smuggling). Sizes are not limited here: hyper does that, and answers 431.
//!
//! Deliberately absent: storage. A field that matters is compared as it passes by.

use crate::base::bounds::CHUNK_EXTENSION;

/// What is wrong with the bytes of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Violation {
    /// The request line is not `METHOD SP target SP HTTP/1.x`.
    #[error("malformed request line")]
    RequestLine,
    /// A line ends in something else than CR LF.
    #[error("line not ended by CR LF")]
    LineEnd,
    /// A field name is empty, has a character that no token has, or is followed by a space.
    #[error("malformed field name")]
    FieldName,
    /// A field is continued on a further line (obs-fold).
    #[error("folded field")]
    Fold,
    /// A control character in a value.
    #[error("control character in a field value")]
    FieldValue,
    /// No Host in HTTP/1.1, or more than one.
    #[error("host field missing or repeated")]
    Host,
    /// No number, too large a number, or more than one field.
    #[error("malformed or repeated content-length")]
    ContentLength,
    /// Anything else than exactly one `chunked`, or in HTTP/1.0.
    #[error("malformed, repeated or misplaced transfer-encoding")]
    TransferEncoding,
    /// Transfer-Encoding and Content-Length together.
    #[error("transfer-encoding and content-length together")]
    BothLengths,
    /// A chunk line or the end of a chunk is malformed.
    #[error("malformed chunk")]
    Chunk,
}

/// A violation, where it is, and what to write there so that hyper refuses the message too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What is wrong.
    pub what: Violation,
    /// Offset in the bytes fed.
    pub at: usize,
    /// A byte that no message has in this place.
    pub poison: u8,
}

/// The machine. It stands at the beginning of a message when it is new.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scanner {
    state: State,
    head: Head,
    name: Name,
    /// Bytes of a body or chunk that are still to come.
    left: u64,
    /// Digits or bytes seen in the present item.
    seen: usize,
    messages: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Start,
    StartLf,
    AfterBlank,
    Method,
    Target,
    Version,
    LineLf,
    FieldStart,
    FieldName,
    Value,
    ValueLf,
    EndLf,
    Body,
    ChunkSize,
    ChunkExtension,
    ChunkLf,
    ChunkData,
    ChunkDataCr,
    ChunkDataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    TrailerEndLf,
    Refused,
}

/// What the present head has said so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Head {
    old: bool,
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    field: Field,
    /// Progress within the value of a field that matters.
    digits: u8,
    ended: bool,
    matched: usize,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Field {
    #[default]
    Other,
    ContentLength,
    TransferEncoding,
}

/// The beginning of the present field name, in lower case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Name {
    bytes: [u8; 17],
    len: usize,
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte.to_ascii_lowercase();
        }
        // A name longer than any that matters stays at a length that matches none.
        self.len = self.len.saturating_add(1).min(self.bytes.len() + 1);
    }

    fn is(&self, name: &[u8]) -> bool {
        self.bytes.get(..self.len) == Some(name)
    }
}

impl Scanner {
    /// Looks at the next bytes of the connection, however they were cut.
    ///
    /// # Errors
    /// [`Refusal`] at the first byte that no strict reader accepts. What is fed after that is
    /// not looked at.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if matches!(self.state, State::Body | State::ChunkData) {
                at += self.skip(bytes.len() - at);
                continue;
            }
            let before = self.state;
            if let Err(what) = self.step(byte) {
                self.state = State::Refused;
                // hyper passes over anything but a line feed in a chunk extension.
                let poison = if before == State::ChunkExtension { b'\n' } else { 0 };
                return Err(Refusal { what, at, poison });
            }
            at += 1;
        }
        Ok(())
    }

    /// Whether the head of a message has begun and not ended.
    pub fn in_head(&self) -> bool {
        matches!(
            self.state,
            State::StartLf
                | State::AfterBlank
                | State::Method
                | State::Target
                | State::Version
                | State::LineLf
                | State::FieldStart
                | State::FieldName
                | State::Value
                | State::ValueLf
                | State::EndLf
        )
    }

    /// Whether the connection stands between two messages.
    pub fn at_rest(&self) -> bool {
        self.state == State::Start
    }

    /// Messages that ended.
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Passes over bytes of a body; `available` is at least one.
    fn skip(&mut self, available: usize) -> usize {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let taken = wanted.min(available);
        self.left -= taken as u64;
        if self.left == 0 {
            if self.state == State::Body {
                self.end();
            } else {
                self.state = State::ChunkDataCr;
            }
        }
        taken
    }

    fn end(&mut self) {
        self.messages += 1;
        self.head = Head::default();
        self.state = State::Start;
    }

    fn step(&mut self, byte: u8) -> Result<(), Violation> {
        self.state = match self.state {
            // One empty line before a request is ignored (RFC 9112, section 2.2).
            State::Start if byte == b'\r' => State::StartLf,
            State::StartLf => expect(byte, b'\n', State::AfterBlank, Violation::LineEnd)?,
            State::Start | State::AfterBlank if is_token(byte) => State::Method,
            State::Method if is_token(byte) => State::Method,
            State::Method if byte == b' ' => {
                self.seen = 0;
                State::Target
            }
            State::Target => self.target(byte)?,
            State::Version => self.version(byte)?,
            State::LineLf => expect(byte, b'\n', State::FieldStart, Violation::LineEnd)?,
            State::FieldStart => self.field_start(byte, State::FieldName, State::EndLf)?,
            State::FieldName if byte == b':' => self.field()?,
            State::FieldName => self.field_name(byte, State::FieldName)?,
            State::Value if byte == b'\r' => self.field_end()?,
            State::Value => self.value(byte)?,
            State::ValueLf => expect(byte, b'\n', State::FieldStart, Violation::LineEnd)?,
            State::EndLf => return self.head_end(byte),
            State::ChunkSize => self.chunk_size(byte)?,
            State::ChunkExtension => self.chunk_extension(byte)?,
            State::ChunkLf if byte == b'\n' => self.chunk_begin(),
            State::ChunkDataCr => expect(byte, b'\r', State::ChunkDataLf, Violation::Chunk)?,
            State::ChunkDataLf => {
                self.seen = 0;
                expect(byte, b'\n', State::ChunkSize, Violation::Chunk)?
            }
            State::TrailerStart => {
                self.field_start(byte, State::TrailerName, State::TrailerEndLf)?
            }
            State::TrailerName if byte == b':' => State::TrailerValue,
            State::TrailerName => self.field_name(byte, State::TrailerName)?,
            State::TrailerValue if byte == b'\r' => State::TrailerLf,
            State::TrailerValue if is_value(byte) => State::TrailerValue,
            State::TrailerLf => expect(byte, b'\n', State::TrailerStart, Violation::LineEnd)?,
            State::TrailerEndLf if byte == b'\n' => {
                self.end();
                State::Start
            }
            State::TrailerValue => return Err(bad_value(byte)),
            State::TrailerEndLf => return Err(Violation::LineEnd),
            State::ChunkLf | State::ChunkData => return Err(Violation::Chunk),
            State::Start | State::AfterBlank | State::Method | State::Body | State::Refused => {
                return Err(Violation::RequestLine);
            }
        };
        Ok(())
    }

    fn target(&mut self, byte: u8) -> Result<State, Violation> {
        match byte {
            b' ' if self.seen > 0 => {
                self.seen = 0;
                Ok(State::Version)
            }
            // A fragment never travels (RFC 9112, section 3.2).
            0x21..=0x7e if byte != b'#' => {
                self.seen = 1;
                Ok(State::Target)
            }
            _ => Err(Violation::RequestLine),
        }
    }

    fn version(&mut self, byte: u8) -> Result<State, Violation> {
        const VERSION: &[u8] = b"HTTP/1.";
        let at = self.seen;
        self.seen += 1;
        match VERSION.get(at) {
            Some(&wanted) => expect(byte, wanted, State::Version, Violation::RequestLine),
            None if at == VERSION.len() && matches!(byte, b'0' | b'1') => {
                self.head.old = byte == b'0';
                Ok(State::Version)
            }
            None if at == VERSION.len() + 1 => {
                expect(byte, b'\r', State::LineLf, Violation::RequestLine)
            }
            None => Err(Violation::RequestLine),
        }
    }

    fn field_start(&mut self, byte: u8, name: State, end: State) -> Result<State, Violation> {
        self.name = Name::default();
        match byte {
            b'\r' => Ok(end),
            b' ' | b'\t' => Err(Violation::Fold),
            b'\n' => Err(Violation::LineEnd),
            _ => self.field_name(byte, name),
        }
    }

    fn field_name(&mut self, byte: u8, stay: State) -> Result<State, Violation> {
        if !is_token(byte) {
            return Err(Violation::FieldName);
        }
        self.name.push(byte);
        Ok(stay)
    }

    /// The colon: which field is it?
    fn field(&mut self) -> Result<State, Violation> {
        let head = &mut self.head;
        (head.digits, head.ended, head.matched) = (0, false, 0);
        head.field = Field::Other;
        if self.name.is(b"host") {
            head.hosts = head.hosts.saturating_add(1);
            if head.hosts > 1 {
                return Err(Violation::Host);
            }
        } else if self.name.is(b"content-length") {
            if head.length.replace(0).is_some() {
                return Err(Violation::ContentLength);
            }
            head.field = Field::ContentLength;
        } else if self.name.is(b"transfer-encoding") {
            if head.chunked {
                return Err(Violation::TransferEncoding);
            }
            head.chunked = true;
            head.field = Field::TransferEncoding;
        }
        Ok(State::Value)
    }

    fn value(&mut self, byte: u8) -> Result<State, Violation> {
        if !is_value(byte) {
            return Err(bad_value(byte));
        }
        let blank = matches!(byte, b' ' | b'\t');
        let head = &mut self.head;
        match head.field {
            Field::Other => {}
            Field::ContentLength if blank => head.ended = head.digits > 0,
            Field::ContentLength => {
                let digit = u64::from(byte.wrapping_sub(b'0'));
                if digit > 9 || head.ended {
                    return Err(Violation::ContentLength);
                }
                let value = head.length.unwrap_or(0).checked_mul(10);
                // Beyond i64 hyper and many an origin cannot count.
                let value = value.and_then(|v| v.checked_add(digit)).filter(|v| *v < 1 << 63);
                head.length = Some(value.ok_or(Violation::ContentLength)?);
                head.digits = head.digits.saturating_add(1);
            }
            Field::TransferEncoding if blank => head.ended = head.matched > 0,
            Field::TransferEncoding => {
                if head.ended || CHUNKED.get(head.matched) != Some(&byte.to_ascii_lowercase()) {
                    return Err(Violation::TransferEncoding);
                }
                head.matched += 1;
            }
        }
        Ok(State::Value)
    }

    fn field_end(&self) -> Result<State, Violation> {
        match self.head.field {
            Field::ContentLength if self.head.digits == 0 => Err(Violation::ContentLength),
            Field::TransferEncoding if self.head.matched != CHUNKED.len() => {
                Err(Violation::TransferEncoding)
            }
            _ => Ok(State::ValueLf),
        }
    }

    fn head_end(&mut self, byte: u8) -> Result<(), Violation> {
        let head = self.head;
        if byte != b'\n' {
            return Err(Violation::LineEnd);
        }
        if head.hosts == 0 && !head.old {
            return Err(Violation::Host);
        }
        if head.chunked && head.length.is_some() {
            return Err(Violation::BothLengths);
        }
        if head.chunked && head.old {
            return Err(Violation::TransferEncoding);
        }
        self.seen = 0;
        self.left = head.length.unwrap_or(0);
        if head.chunked {
            self.state = State::ChunkSize;
        } else if self.left > 0 {
            self.state = State::Body;
        } else {
            self.end();
        }
        Ok(())
    }

    fn chunk_size(&mut self, byte: u8) -> Result<State, Violation> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.seen > 0 => return Ok(State::ChunkLf),
            b';' if self.seen > 0 => {
                self.seen = 0;
                return Ok(State::ChunkExtension);
            }
            _ => return Err(Violation::Chunk),
        };
        if self.seen == 0 {
            self.left = 0;
        }
        self.seen += 1;
        // Sixteen digits may be leading zeros; more are nobody's honest size.
        if self.seen > 16 || self.left >= 1 << 59 {
            return Err(Violation::Chunk);
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::ChunkSize)
    }

    fn chunk_extension(&mut self, byte: u8) -> Result<State, Violation> {
        self.seen += 1;
        match byte {
            b'\r' => Ok(State::ChunkLf),
            _ if self.seen <= CHUNK_EXTENSION && is_value(byte) => Ok(State::ChunkExtension),
            _ => Err(Violation::Chunk),
        }
    }

    const fn chunk_begin(&mut self) -> State {
        if self.left == 0 { State::TrailerStart } else { State::ChunkData }
    }
}

fn expect(byte: u8, wanted: u8, next: State, otherwise: Violation) -> Result<State, Violation> {
    if byte == wanted { Ok(next) } else { Err(otherwise) }
}

/// `tchar` of RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'
        | b'_' | b'`' | b'|' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

/// A byte that a field value may have (RFC 9110, section 5.5).
const fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..=0xff)
}

const fn bad_value(byte: u8) -> Violation {
    if byte == b'\n' { Violation::LineEnd } else { Violation::FieldValue }
}

const CHUNKED: &[u8] = b"chunked";
