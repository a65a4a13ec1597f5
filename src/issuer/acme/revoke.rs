//! Certificates that are to count no more: the account that ordered them says so to the CA (RFC 8555,
//! section 7.6).

use instant_acme::RevocationReason;
use instant_acme::RevocationRequest;
use rustls_pki_types::CertificateDer;

use super::AcmeIssuer;
use super::classify;
use super::client;
use crate::cert::care::Reason;
use crate::cert::failure::Failure;
use crate::cert::ports::Revocation;

/// The problem type of a certificate that is revoked already.
const ALREADY: &str = "urn:ietf:params:acme:error:alreadyRevoked";

impl AcmeIssuer {
    /// Has the CA revoke `leaf`, DER.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses.
    pub(super) async fn take_back(
        &self,
        leaf: &[u8],
        reason: Reason,
    ) -> Result<Revocation, Failure> {
        let (client, directory) = (self.client().await?, self.directory().await?);
        let entry = self.accounts.entry(client, &directory).await?;
        let account = entry.open(client, &directory, &client::Hint::default()).await?;
        let certificate = CertificateDer::from(leaf);
        let request = RevocationRequest { certificate: &certificate, reason: Some(coded(reason)) };
        match insist!(account.revoke(&request).await) {
            Ok(()) => Ok(Revocation::Told),
            Err(error) if classify::problem_type(&error) == Some(ALREADY) => {
                Ok(Revocation::Already)
            }
            Err(error) => Err(classify::request(&error, self.options.clock.now())),
        }
    }
}

const fn coded(reason: Reason) -> RevocationReason {
    match reason {
        Reason::Unspecified => RevocationReason::Unspecified,
        Reason::KeyCompromise => RevocationReason::KeyCompromise,
        Reason::AffiliationChanged => RevocationReason::AffiliationChanged,
        Reason::Superseded => RevocationReason::Superseded,
        Reason::CessationOfOperation => RevocationReason::CessationOfOperation,
    }
}
