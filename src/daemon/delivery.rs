//! Private keys that leave, between the socket, the vault and the records.
//!
//! What passes here of one is a descriptor that only its receiver reads, or a file that only its
//! recipient opens. That a key leaves is in the journal before it does.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::house::Residence;
use super::house::unavailable;
use super::transfer::refused;
use crate::admin::Caller;
use crate::admin::HouseError;
use crate::admin::Selector;
use crate::admin::find;
use crate::admin::view;
use crate::admin::wire::transfer::Exported;
use crate::base::Timestamp;
use crate::cert::chain::Chain;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::vault::Vault;
use crate::vault::VaultError;
use crate::vault::age::Recipient;

/// A key that is about to leave.
struct Leaving {
    record: Certificate,
    chain: Chain,
    key: KeyHandle,
}

impl Residence {
    /// The chain of what is installed.
    pub(super) async fn show_chain(
        &self,
        selector: &Selector,
        caller: Caller,
    ) -> Result<Chain, HouseError> {
        let candidates = self.candidates(selector, &caller).await?;
        let record = shown(&candidates, selector, self.clock.now())?;
        installed(record).map(|(chain, _)| chain)
    }

    /// Has the vault write the key of a certificate into `target`.
    pub(super) async fn hand_out(
        &self,
        selector: &Selector,
        target: OwnedFd,
        caller: Caller,
    ) -> Result<Exported, HouseError> {
        let leaving = self.leaving(selector, &caller, "").await?;
        self.by_vault(&leaving, move |vault, key| vault.export(key, target)).await?;
        let certificate = view::certificate(&leaving.record, self.clock.now());
        Ok(Exported { certificate, chain: leaving.chain.to_pem() })
    }

    /// The key of a certificate in a file of age, which the vault encrypts to `recipient`.
    pub(super) async fn send_key(
        &self,
        selector: &Selector,
        recipient: Recipient,
        caller: Caller,
    ) -> Result<Vec<u8>, HouseError> {
        let to = format!(", encrypted to {recipient}");
        let leaving = self.leaving(selector, &caller, &to).await?;
        self.by_vault(&leaving, move |vault, key| vault.deliver(key, &recipient)).await
    }

    /// The key that `caller` may have, once it is in the journal that it is given it.
    async fn leaving(
        &self,
        selector: &Selector,
        caller: &Caller,
        how: &str,
    ) -> Result<Leaving, HouseError> {
        let candidates = self.candidates(selector, caller).await?;
        let record = shown(&candidates, selector, self.clock.now())?;
        let (chain, id) = installed(record)?;
        let name = first(record);
        if record.client_request().is_some() {
            return Err(refused(format!(
                "the key of {name} was never here: its client made it, and the request with it"
            )));
        }
        let key = self.store()?.key(id).await.map_err(|error| unavailable(&error))?;
        let key = key.ok_or_else(|| refused(format!("{name} was just renewed, try again")))?;
        if key.usage != KeyUsage::ExportableTls {
            return Err(refused(format!(
                "the key of {name} is not exportable: it was sealed so that it never leaves the \
                 vault; with exportable = true for the site, the next one may: reload, and \
                 keyward rotate keys {name} --now"
            )));
        }
        let told = format!("{} is given the private key {}{how}", caller.told, key.id);
        let noted = self.store()?.append(vec![self.entry_of(record, told)]).await;
        noted.map_err(|error| unavailable(&error))?;
        let uid = caller.peer.uid;
        tracing::warn!(cert = %record.id(), key = %key.id, peer.uid = uid, "a private key is handed out");
        Ok(Leaving { record: record.clone(), chain, key })
    }

    async fn by_vault<T: Send + 'static>(
        &self,
        leaving: &Leaving,
        give: impl FnOnce(&Vault, &KeyHandle) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, HouseError> {
        let key = leaving.key.clone();
        let given = self.with_vault(move |vault| give(vault, &key)).await?;
        match given {
            Ok(given) => Ok(given),
            Err(error) => {
                let told = format!("the private key {} was not given: {error}", leaving.key.id);
                // What went wrong is answered as well; the journal has at least the intention.
                let entry = self.entry_of(&leaving.record, told);
                let _told = self.store()?.append(vec![entry]).await;
                Err(refused(format!("the key was not written: {error}")))
            }
        }
    }

    fn entry_of(&self, record: &Certificate, message: String) -> Entry {
        Entry {
            seq: 0,
            at: self.clock.now(),
            kind: EntryKind::Exported,
            level: Level::Warning,
            certificate: Some(record.id()),
            name: record.spec.names().first().map(ToString::to_string),
            message,
        }
    }
}

/// What is installed, and the name of its key.
fn installed(record: &Certificate) -> Result<(Chain, KeyId), HouseError> {
    let found = record.installed.as_ref().map(|found| (found.chain.clone(), found.key));
    found.ok_or_else(|| refused(format!("{} has no certificate yet", first(record))))
}

fn first(record: &Certificate) -> String {
    record.spec.names().first().map(ToString::to_string).unwrap_or_default()
}

/// The certificate that clients are shown for a name: whoever asks for its key means that one,
/// unless there is one with a key of another kind for the same names. By an id, the one that has it.
pub(super) fn shown<'a>(
    records: &'a [Arc<Certificate>],
    selector: &Selector,
    now: Timestamp,
) -> Result<&'a Certificate, HouseError> {
    let all = records.iter().map(Arc::as_ref);
    let Selector::Name(name, None) = selector else { return find(all, selector) };
    let rank = |record: &&Certificate| {
        let installed = record.installed.as_ref()?;
        let served = record.spec.covers(name) && !matches!(record.phase, Phase::Retiring { .. });
        served.then(|| installed.rank(&record.spec, name, now))
    };
    let Some(best) = all.clone().filter(|one| rank(one).is_some()).max_by_key(rank) else {
        return find(all, selector);
    };
    // Other clients are shown another: nobody guesses which key is meant.
    let beside = |one: &&Certificate| {
        let good = one.installed.as_ref().is_some_and(|found| found.validity.contains(now));
        let alike = one.spec.role == best.spec.role && one.spec.names() == best.spec.names();
        good && alike && !matches!(one.phase, Phase::Retiring { .. })
    };
    find(all.filter(|one| std::ptr::eq(*one, best) || beside(one)), selector)
}
