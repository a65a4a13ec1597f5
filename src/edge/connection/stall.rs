//! Notices clients that are idle, and those that take nothing of what lies ready for them.

use std::time::Duration;

use tokio::time::Instant;

use super::Client;
use crate::base::bounds::DRAIN_IDLE;
use crate::base::bounds::client::REST_AFTER;

/// How a client does.
pub(super) enum Standing {
    Good(Instant),
    Idle,
    Stalled,
}

/// Notices clients that take nothing of an answer that lies ready.
pub(super) struct StallWatch {
    pub(super) writes: u64,
    pub(super) since: Instant,
    /// Whether it is to be seen when the client rests.
    pub(super) rest: bool,
}

impl StallWatch {
    pub(super) fn look(&mut self, client: &Client) -> Standing {
        let set = client.worker.set();
        let now = Instant::now();
        let writes = client.pulse.writes();
        if client.active.get() == 0 {
            (self.writes, self.since) = (writes, now);
            let limit: Duration =
                if client.closing() { DRAIN_IDLE } else { set.limits.idle_timeout };
            let due = client.last.get() + limit;
            // A request may begin meanwhile, and its deadline is not to wait for this one.
            let mut soon = due.min(now + set.limits.body_timeout);
            if self.rest {
                let rest = client.last.get() + REST_AFTER;
                soon = soon.min(if rest > now { rest } else { now + REST_AFTER });
            }
            return if due <= now { Standing::Idle } else { Standing::Good(soon) };
        }
        if writes != self.writes || client.waiting.get() > 0 || client.waits_for_us() {
            (self.writes, self.since) = (writes, now);
        }
        let limit = set.limits.body_timeout;
        let due = self.since + limit;
        if due <= now {
            return Standing::Stalled;
        }
        let flows = client.flows.borrow();
        flows.iter().for_each(|flow| flow.check(now, limit));
        Standing::Good(if flows.is_empty() { due } else { due.min(now + limit / 4) })
    }
}
