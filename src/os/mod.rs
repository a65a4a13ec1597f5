//! What only the operating system can tell or do: inherited descriptors, the service manager, the
//! journal, processor affinity, the sandbox, options of sockets, stacks. The only room with `unsafe`.

pub mod affinity;
pub mod carve;
pub mod descriptors;
pub mod fibre;
pub mod heap;
pub mod inherit;
pub mod journal;
pub mod ktls;
pub mod limits;
pub mod logs;
pub mod notify;
pub mod orphan;
pub mod peer;
pub mod sandbox;
pub mod secret;
pub mod shared;
pub mod slice;
pub mod tcp;
pub mod terminal;
pub mod trusted;
pub mod wall;
pub mod wiped;
