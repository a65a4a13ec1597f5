//! Services that are no HTTP: TLS taken off, or passed through, in front of any server on TCP.

mod first;
mod open;
pub(super) mod preface;
mod relay;
mod serve;
mod services;
mod starttls;

pub(super) use self::serve::beside;
pub(super) use self::serve::own;
pub(super) use self::services::TcpSet;
