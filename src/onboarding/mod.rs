//! Names that come of themselves: in no site of the file, and served because they lead here.
//!
//! `policy` says which names may come at all, `survey` asks the DNS, `ask` whoever else is to be
//! asked, `tally` bounds how often; `desk` puts them together for clients and for people, and `gate`
//! looks again before each renewal. Deliberately absent: orders, which the scheduler makes as for any
//! certificate.

mod ask;
mod desk;
mod gate;
mod policy;
mod survey;
mod tally;

pub use desk::Desk;
pub use desk::Means;
pub use gate::guarded;
pub use policy::Refusal;
pub use survey::Survey;
