//! The time from accept to CONNACK: one deadline over all that happens before a client is one.

use std::time::Instant;

use super::waiting_room::Seat;

/// A connection that is not a client's yet.
pub struct Arrival {
    deadline: tokio::time::Instant,
    seat: Seat,
}

/// Why a connection has no more time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// `connect_timeout` is over.
    TimedOut,
    /// `pending_connections` is reached, and this one has taken longest.
    GivenAway,
}

impl Arrival {
    pub(super) fn new(deadline: Instant, seat: Seat) -> Self {
        Self { deadline: deadline.into(), seat }
    }

    /// Takes a step towards being a client, as long as there is time; it is dropped otherwise.
    ///
    /// # Errors
    /// The time is over.
    pub async fn within<T>(&mut self, step: impl Future<Output = T>) -> Result<T, Late> {
        // A step that is cancelled ends its connection, so none need be cancel-safe.
        tokio::select! {
            biased;
            done = step => Ok(done),
            _ = self.seat.given_away() => Err(Late::GivenAway),
            () = tokio::time::sleep_until(self.deadline) => Err(Late::TimedOut),
        }
    }
}
