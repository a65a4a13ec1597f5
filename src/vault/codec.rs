//! Integers and byte strings of a frame, with every length checked.

use super::wire::WireError;
use crate::base::bounds::VAULT_FRAME;
use crate::cert::key::KeyId;

/// Writes the fields of one frame.
pub(super) struct Writer<'f> {
    frame: &'f mut Vec<u8>,
    too_long: bool,
}

impl<'f> Writer<'f> {
    pub(super) fn new(frame: &'f mut Vec<u8>) -> Self {
        frame.clear();
        Self { frame, too_long: false }
    }

    pub(super) fn head(&mut self, tag: u8, id: u64) {
        self.u8(tag);
        self.u64(id);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.frame.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.frame.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.frame.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.frame.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn array(&mut self, value: &[u8]) {
        self.frame.extend_from_slice(value);
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        match u16::try_from(value.len()) {
            Ok(len) if value.len() <= VAULT_FRAME => {
                self.u16(len);
                self.frame.extend_from_slice(value);
            }
            _ => self.too_long = true,
        }
    }

    /// Keys and their heats, with their count before them.
    pub(super) fn ranking(&mut self, keys: &[(KeyId, u64)]) {
        match u16::try_from(keys.len()) {
            Ok(count) => self.u16(count),
            Err(_) => self.too_long = true,
        }
        for (key, heat) in keys {
            self.array(&key.0);
            self.u64(*heat);
        }
    }

    pub(super) fn finish(self) -> Result<(), WireError> {
        if self.too_long || self.frame.len() > VAULT_FRAME {
            return Err(WireError::Long);
        }
        Ok(())
    }
}

/// Reads the fields of one frame.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(frame: &'a [u8]) -> Result<Self, WireError> {
        if frame.len() > VAULT_FRAME { Err(WireError::Long) } else { Ok(Self { rest: frame }) }
    }

    pub(super) fn head(&mut self) -> Result<(u8, u64), WireError> {
        Ok((self.u8()?, self.u64()?))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(|[octet]| octet)
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::BadField(name)),
        }
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = usize::from(self.u16()?);
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn ranking(&mut self) -> Result<Vec<(KeyId, u64)>, WireError> {
        let count = self.u16()?;
        (0..count).map(|_| Ok((KeyId(self.array()?), self.u64()?))).collect()
    }

    pub(super) fn numbers<const N: usize>(&mut self) -> Result<[u64; N], WireError> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.u64()?;
        }
        Ok(numbers)
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) const fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Long) }
    }
}
