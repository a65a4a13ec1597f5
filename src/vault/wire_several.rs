//! Several questions for signatures over handshakes in one frame, and their answers.
//!
//! What is asked is walked through when the frame is read, so that walking through it again cannot
//! fail; neither side takes memory for it. A question that has no signature for an answer is to be
//! asked again alone: why, is told then.

use super::codec::Reader;
use super::codec::Writer;
use super::purpose::Purpose;
use super::scheme::Scheme;
use super::wire::WireError;
use crate::base::bounds::gate::VAULT_TOGETHER;
use crate::cert::key::KeyId;

/// One question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Question<'a> {
    /// Which key.
    pub key: KeyId,
    /// For which handshake.
    pub purpose: Purpose,
    /// How.
    pub scheme: Scheme,
    /// What; not hashed.
    pub message: &'a [u8],
}

impl Question<'_> {
    /// Writes it behind what `fields` holds.
    pub(super) fn write(&self, fields: &mut Vec<u8>) {
        fields.extend_from_slice(&self.key.0);
        fields.push(self.purpose.octet());
        fields.extend_from_slice(&self.scheme.code().to_le_bytes());
        write_bytes(self.message, fields);
    }
}

/// Writes an answer behind what `fields` holds: a signature, or nothing where there is none.
pub(super) fn write_answer(signature: &[u8], fields: &mut Vec<u8>) {
    write_bytes(signature, fields);
}

/// What is longer than a frame may be is noticed when the frame is finished.
fn write_bytes(bytes: &[u8], fields: &mut Vec<u8>) {
    fields.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
    fields.extend_from_slice(bytes);
}

/// Questions, one behind the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Questions<'a> {
    count: u8,
    fields: &'a [u8],
}

/// Answers, in the order of the questions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answers<'a> {
    count: u8,
    fields: &'a [u8],
}

fn question<'a>(input: &mut Reader<'a>) -> Result<Question<'a>, WireError> {
    let key = KeyId(input.array()?);
    let purpose = Purpose::of(input.u8()?).filter(|purpose| purpose.is_for_workers());
    let purpose = purpose.ok_or(WireError::BadField("purpose"))?;
    let scheme = Scheme::of(input.u16()?).ok_or(WireError::BadField("scheme"))?;
    Ok(Question { key, purpose, scheme, message: input.bytes()? })
}

/// A count between one and what goes together, and everything behind it.
fn counted<'a>(input: &mut Reader<'a>) -> Result<(u8, &'a [u8]), WireError> {
    let count = input.u8()?;
    if count == 0 || usize::from(count) > VAULT_TOGETHER {
        return Err(WireError::BadField("count"));
    }
    Ok((count, input.rest()))
}

impl<'a> Questions<'a> {
    /// So many that [`Question::write`] wrote; too many are not read at the other end.
    pub(super) fn of(count: usize, fields: &'a [u8]) -> Self {
        Self { count: u8::try_from(count).unwrap_or(u8::MAX), fields }
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.u8(self.count);
        out.array(self.fields);
    }

    pub(super) fn decode(input: &mut Reader<'a>) -> Result<Self, WireError> {
        let (count, fields) = counted(input)?;
        let mut walk = Reader::new(fields)?;
        for _ in 0..count {
            question(&mut walk)?;
        }
        walk.finish()?;
        Ok(Self { count, fields })
    }

    /// One after the other.
    pub(super) fn each(self) -> impl Iterator<Item = Question<'a>> {
        let mut walk = Reader::new(self.fields).ok();
        (0..self.count).map_while(move |_| question(walk.as_mut()?).ok())
    }
}

impl<'a> Answers<'a> {
    /// So many that [`write_answer`] wrote.
    pub(super) fn of(count: usize, fields: &'a [u8]) -> Self {
        Self { count: u8::try_from(count).unwrap_or(u8::MAX), fields }
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.u8(self.count);
        out.array(self.fields);
    }

    pub(super) fn decode(input: &mut Reader<'a>) -> Result<Self, WireError> {
        let (count, fields) = counted(input)?;
        let mut walk = Reader::new(fields)?;
        for _ in 0..count {
            walk.bytes()?;
        }
        walk.finish()?;
        Ok(Self { count, fields })
    }

    /// One after the other; nothing for a question that is to be asked alone.
    pub(super) fn each(self) -> impl Iterator<Item = &'a [u8]> {
        let mut walk = Reader::new(self.fields).ok();
        (0..self.count).map_while(move |_| walk.as_mut()?.bytes().ok())
    }
}
