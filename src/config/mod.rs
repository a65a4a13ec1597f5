//! Text to a configuration that cannot be wrong.

mod model;

pub use model::{
    Acme, Admin, Config, Eab, Edge, Hsts, Listen, Log, LogFormat, MasterKey, Origin, Site, State,
    Vault,
};
