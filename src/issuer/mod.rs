//! Certificates from an ACME CA (RFC 8555) or from the internal CA.
//!
//! [`AcmeIssuer`] and [`InternalCa`] implement [`crate::cert::ports::CertificateAuthority`]; both
//! keep what must survive a restart in a [`crate::cert::ports::Book`] and let the vault sign.
//! [`trust`] puts the internal CA's root where clients of this machine look for roots.

mod acme;
mod csr;
pub mod custody;
pub mod dns;
mod internal;
pub mod trust;

pub use acme::AccountLook;
pub use acme::AcmeIssuer;
pub use acme::AcmeOptions;
pub use acme::AdoptError;
pub use acme::Adopted;
pub use acme::CaaView;
pub use acme::Changed;
pub use acme::Examined;
pub use acme::PersistRecord;
pub use acme::Standing;
pub use internal::InternalCa;
pub use internal::InternalOptions;
