//! Certificates and keys that come in, and are taken away, between the socket, the vault and the
//! records.
//!
//! What passes here of a private key is a box that only the vault opens.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::house::Residence;
use super::house::unavailable;
use crate::admin::Caller;
use crate::admin::HouseError;
use crate::admin::Selector;
use crate::admin::find;
use crate::admin::view;
use crate::admin::wire;
use crate::admin::wire::transfer::BackedUp;
use crate::admin::wire::transfer::ImportKey;
use crate::admin::wire::transfer::ImportOrder;
use crate::admin::wire::transfer::Imported;
use crate::base::causes::with_causes;
use crate::base::crash;
use crate::cert::brought::Brought;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::cert::record::Certificate;
use crate::cert::record::Installed;
use crate::cert::spec::Role;
use crate::scheduler::ForgetError;
use crate::store::StoreError;
use crate::vault::Vault;
use crate::vault::VaultError;
use crate::vault::import_box::ImportBox;
use crate::vault::import_box::Label;

impl Residence {
    pub(super) async fn show_import_key(&self) -> Result<ImportKey, HouseError> {
        let key = self.with_vault(Vault::import_key).await?.map_err(|e| unavailable(&e))?;
        let fingerprint = KeyId::of_spki(&key).to_hex();
        Ok(ImportKey { key: STANDARD.encode(key), fingerprint })
    }

    /// Looks at what came, has the vault take the key in, and the records the certificate.
    pub(super) async fn take_in(
        &self,
        order: ImportOrder,
        caller: Caller,
    ) -> Result<Imported, HouseError> {
        let scheduler = &self.orders()?.scheduler;
        let made = boxed(&order)?;
        let now = self.clock.now();
        let brought = Brought::examine(order.chain.as_bytes(), made.label.key, now, order.force)
            .map_err(|error| refused(error.to_string()))?;
        if brought.algorithm != made.label.algorithm {
            return Err(refused(
                "the box says another kind of key than the certificate".to_owned(),
            ));
        }
        let spec = brought.specification();
        let Brought { chain, mut notes, .. } = brought;
        let installed = Installed::read(chain, now).map_err(|error| refused(error.to_string()))?;
        let key = self.with_vault(move |vault| vault.import(&made)).await?;
        let key = key.map_err(|error| not_taken(&error))?;
        crash::hold("import-sealed").await;
        let id = spec.id();
        let usage = key.usage;
        let former = scheduler.bring(spec, key, installed.clone(), &caller.told).await;
        let former = former.map_err(|error| match error {
            // The box was for the vault of that master key, too.
            StoreError::FormerSeal { .. } => refused(
                "the master key was replaced while this key came in: import it again".to_owned(),
            ),
            other => unavailable(&other),
        })?;
        if let Some(former) = former.as_ref().filter(|former| former.key != installed.key) {
            let key = former.key;
            // It is not in the store any more; in the vault's cache it would be pushed out.
            if let Err(error) = self.with_vault(move |vault| vault.forget(key)).await? {
                tracing::debug!(%error, "the vault does not forget a replaced key");
            }
        }
        if usage == KeyUsage::ExportableTls {
            notes.push("the key may be exported".to_owned());
        }
        let record = scheduler
            .certificate(id)
            .await
            .map_err(|error| unavailable(&error))?
            .ok_or_else(|| refused(format!("certificate {id} was just taken away")))?;
        let certificate = view::certificate(&record, now);
        Ok(Imported { certificate, replaced: former.map(|former| former.serial), notes })
    }

    /// Puts into the journal who had the ticket keys replaced.
    pub(super) async fn note_replaced_tickets(&self, caller: Caller) {
        let text = format!("the keys of session tickets were replaced by {}", caller.told);
        let now = self.clock.now();
        let entry = Entry::about_house(now, EntryKind::TicketsReplaced, Level::Info, text);
        let Ok(store) = self.store() else { return };
        if let Err(error) = store.append(vec![entry]).await {
            tracing::warn!(%error, "the journal takes no entry, going on");
        }
    }

    /// Takes an imported certificate away.
    pub(super) async fn take_away(
        &self,
        selector: &Selector,
        caller: Caller,
    ) -> Result<wire::CertificateView, HouseError> {
        let candidates = self.candidates(selector, &caller).await?;
        let all = candidates.iter().map(Arc::as_ref);
        // A name means the one that was imported, whatever else there is for it.
        let imported = |record: &&Certificate| record.spec.role == Role::Imported;
        let id = match find(all.clone().filter(imported), selector) {
            Err(HouseError::NotFound { .. }) => find(all, selector)?.id(),
            other => other?.id(),
        };
        let forgotten = self.orders()?.scheduler.forget(id, &caller.told).await;
        let forgotten = forgotten.map_err(|error| match error {
            ForgetError::Store(error) => unavailable(&error),
            other => refused(other.to_string()),
        })?;
        if let Some(key) = forgotten.installed.as_ref().map(|installed| installed.key)
            && let Err(error) = self.with_vault(move |vault| vault.forget(key)).await?
        {
            tracing::debug!(%error, "the vault does not forget a key that was taken away");
        }
        Ok(view::certificate(&forgotten, self.clock.now()))
    }

    /// Has the store copied into `target`; that it was is in the journal, and in the copy.
    pub(super) async fn copy_out(
        &self,
        target: OwnedFd,
        caller: Caller,
    ) -> Result<BackedUp, HouseError> {
        let entry = Entry {
            seq: 0,
            at: self.clock.now(),
            kind: EntryKind::BackedUp,
            level: Level::Info,
            certificate: None,
            name: None,
            message: format!("{} takes a backup", caller.told),
        };
        let store = self.store()?;
        store.append(vec![entry]).await.map_err(|error| unavailable(&error))?;
        tracing::info!(peer.uid = caller.peer.uid, "a backup is taken");
        let octets = store.copy_into(File::from(target)).await;
        let octets = octets.map_err(|error| refused(with_causes(&error)))?;
        let certificates = store.count().await.map_err(|error| unavailable(&error))?;
        Ok(BackedUp { octets, certificates })
    }

    /// Asks the vault from a thread that may wait.
    pub(super) async fn with_vault<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Vault) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<Result<T, VaultError>, HouseError> {
        let vault = self.vault.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&vault)).await;
        asked.map_err(|error| unavailable(&error))
    }
}

fn boxed(order: &ImportOrder) -> Result<ImportBox, HouseError> {
    let usage = if order.exportable { KeyUsage::ExportableTls } else { KeyUsage::Tls };
    opened(&order.key, (order.key_algorithm, usage), &order.encapsulated, &order.sealed)
}

/// The box that was sent with this key in it.
pub(super) fn opened(
    key: &str,
    (algorithm, usage): (KeyAlgorithm, KeyUsage),
    encapsulated: &str,
    sealed: &str,
) -> Result<ImportBox, HouseError> {
    let decoded = |field: &str, text: &str| {
        let octets = STANDARD.decode(text);
        octets.map_err(|error| refused(format!("the field {field} is no base64: {error}")))
    };
    let key = KeyId::from_hex(key)
        .ok_or_else(|| refused("the field key is no name of a key".to_owned()))?;
    Ok(ImportBox {
        label: Label { algorithm, usage, key },
        encapsulated: decoded("encapsulated", encapsulated)?,
        sealed: decoded("sealed", sealed)?,
    })
}

pub(super) fn refused(reason: String) -> HouseError {
    HouseError::Refused { reason }
}

/// What the vault says of a box is the sender's business; that it is not there is ours.
pub(super) fn not_taken(error: &VaultError) -> HouseError {
    match error {
        VaultError::Seal(reason) | VaultError::Crypto(reason) | VaultError::Purpose(reason) => {
            refused(reason.clone())
        }
        VaultError::Frame(_) => refused("the box is larger than any key".to_owned()),
        other => unavailable(other),
    }
}
