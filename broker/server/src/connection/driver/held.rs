//! A connection that is not read from, or sent nothing, for a while: its tenant has used its quota up,
//! or the disk does not keep up.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hookmq_store::Room;

use super::Driver;
use crate::broker::meter::Bound;
use crate::clock;
use crate::connection::Stream;
use crate::connection::ending::Ending;

/// Bytes of one read where there is a quota: what is read and has to wait is held in memory.
const METERED_READ: usize = 8 * 1024;

/// Who waits for the store looks again after so long, though it is woken.
const AT_THE_LATEST: Duration = Duration::from_secs(1);

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
        if self.tenant.meter.incoming.allowance(clock::now).is_spent() {
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

    /// Whether a client whose messages are stored is not to be read from, because the store is busy.
    #[cold]
    pub(super) fn awaits_room(&mut self, waker: &Waker) -> bool {
        let store = &self.broker.store;
        if store.room() != Room::Busy {
            return false;
        }
        store.wake_when_room(waker);
        let until = clock::now() + AT_THE_LATEST;
        let held = self.held.get_or_insert_with(|| Box::new(Held { until, is_unread: true }));
        held.is_unread = true;
        true
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
        let until = meter.again_at(flow, clock::now());
        let held = self.held.get_or_insert_with(|| Box::new(Held { until, is_unread: false }));
        held.until = held.until.min(until);
        held.is_unread |= bound == Bound::Incoming;
    }
}
