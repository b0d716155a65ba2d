//! A connection whose tenant has used its quota up: not read from, or sent nothing, for a while.

use std::task::{Context, Poll};
use std::time::Instant;

use super::Driver;
use crate::broker::meter::Bound;
use crate::connection::Stream;
use crate::connection::ending::Ending;

/// Bytes of one read where there is a quota: what is read and has to wait is held in memory.
const METERED_READ: usize = 8 * 1024;

/// What a connection that is held back waits for.
pub(super) struct Held {
    /// When to look for credit again.
    pub(super) until: Instant,
    /// Whether the client is not read from meanwhile.
    pub(super) is_unread: bool,
}

impl<S: Stream> Driver<S> {
    /// As `poll_read`, as far as the tenant's quota allows. What was read and must wait comes first.
    pub(super) fn poll_read_metered(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Ending>> {
        if self.tenant.meter.incoming.allowance(Instant::now).is_spent() {
            self.hold(Bound::Incoming);
            return Poll::Pending;
        }
        if !self.holds_packets {
            return self.poll_read(context, METERED_READ);
        }
        let mut held = std::mem::take(&mut self.partial);
        let used = self.take_in(&held)?;
        held.drain(..used);
        self.partial = held;
        Poll::Ready(Ok(()))
    }

    /// Looks again when there may be credit. The timer wakes the task; nobody else has to.
    #[cold]
    pub(in crate::connection) fn hold(&mut self, bound: Bound) {
        let meter = &self.tenant.meter;
        meter.note(bound);
        let flow = match bound {
            Bound::Outgoing => &meter.outgoing,
            _ => &meter.incoming,
        };
        let until = meter.again_at(flow, Instant::now());
        let held = self.held.get_or_insert_with(|| Box::new(Held { until, is_unread: false }));
        held.until = held.until.min(until);
        held.is_unread |= bound == Bound::Incoming;
    }
}
