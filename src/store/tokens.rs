//! Tokens of clients, by what they are recognised by.
//!
//! The table is not there before the first token is, so it needs no version of its own. Deliberately
//! absent: whether a token is still good.

use redb::ReadableDatabase as _;
use redb::ReadableTable as _;
use redb::ReadableTableMetadata as _;
use redb::TableError;

use super::codec;
use super::disk::Disk;
use super::error::StoreError;
use super::handle::Store;
use super::tables::TOKENS;
use crate::cert::journal::Entry;
use crate::cert::token::Token;
use crate::cert::token::TokenHash;

impl Store {
    /// Every token that was given out and not taken back.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.ask(|disk| disk.tokens()).await
    }

    /// Keeps tokens, in the place of themselves where they are there; none that is not there is made of
    /// one that was `known` before.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn keep_tokens(
        &self,
        tokens: Vec<Token>,
        known: bool,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.ask(move |disk| disk.keep_tokens(&tokens, known, entries)).await
    }

    /// Takes tokens away.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn drop_tokens(
        &self,
        hashes: Vec<TokenHash>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.ask(move |disk| disk.drop_tokens(&hashes, entries)).await
    }
}

impl Disk {
    fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let table = match self.db()?.begin_read()?.open_table(TOKENS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut all = Vec::with_capacity(usize::try_from(table.len()?).unwrap_or(0).min(4096));
        for row in table.iter()? {
            let (hash, value) = row?;
            let name = || TokenHash(*hash.value()).to_string();
            all.push(codec::decode("tokens", name, value.value())?);
        }
        Ok(all)
    }

    fn keep_tokens(
        &mut self,
        tokens: &[Token],
        known: bool,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.write(
            |txn| {
                let mut table = txn.open_table(TOKENS)?;
                for token in tokens {
                    if !known || table.get(&token.hash.0)?.is_some() {
                        table.insert(&token.hash.0, codec::encode(token).as_slice())?;
                    }
                }
                Ok(())
            },
            None,
            None,
            None,
            entries,
        )
    }

    fn drop_tokens(&mut self, hashes: &[TokenHash], entries: Vec<Entry>) -> Result<(), StoreError> {
        self.write(
            |txn| {
                let mut table = txn.open_table(TOKENS)?;
                for hash in hashes {
                    table.remove(&hash.0)?;
                }
                Ok(())
            },
            None,
            None,
            None,
            entries,
        )
    }
}
