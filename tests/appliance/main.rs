//! The whole way, end to end, on real parts: the real binary, Pebble as the CA, real origins, and
//! clients that are not ours. One behaviour for each file.

#[path = "../kit/daemon.rs"]
mod daemon;
#[path = "../kit/load.rs"]
mod load;
#[path = "../kit/origin.rs"]
mod origin;
#[path = "../kit/pebble.rs"]
mod pebble;

mod crash;
mod damage;
mod demo;
mod internal;
mod issue;
mod reload;
mod renew;
mod restart;
mod scene;
mod secrets;
mod vault;
