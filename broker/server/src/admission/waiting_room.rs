//! Seats for those who are not done yet, where the one who has taken too long makes room.
//!
//! Who only holds a seat must not keep others out: refusing newcomers at the bound would let a few
//! thousand idle sockets close the broker to everybody, and closing the oldest at once would let a
//! crowd of honest clients keep each other from ever finishing. So a seat is safe for a while, and
//! then only as long as nobody needs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// A bounded number of seats.
pub(super) struct WaitingRoom {
    capacity: usize,
    /// How long a seat is safe.
    patience: Duration,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    /// In the order in which they were taken. A sender that is dropped tells that the seat is gone.
    taken: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

/// A seat, until it is dropped or given away.
pub struct Seat {
    room: Arc<WaitingRoom>,
    number: u64,
    given_away: oneshot::Receiver<()>,
}

/// The seat was needed for somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenAway;

impl WaitingRoom {
    pub(super) fn new(capacity: usize, patience: Duration) -> Self {
        Self { capacity, patience, seats: Mutex::default() }
    }

    /// A seat; at the bound, that of whoever has had his longest. None where that is not long.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Option<Seat> {
        let mut seats = self.seats.lock();
        if seats.taken.len() >= self.capacity {
            let oldest = seats.taken.first_entry()?;
            if now.duration_since(oldest.get().0) < self.patience {
                return None;
            }
            oldest.remove();
        }
        let number = seats.next;
        seats.next += 1;
        let (sender, given_away) = oneshot::channel();
        seats.taken.insert(number, (now, sender));
        Some(Seat { room: self.clone(), number, given_away })
    }
}

impl Seat {
    /// Completes when the seat is given to somebody else. Cancel-safe.
    pub async fn given_away(&mut self) -> GivenAway {
        // Nothing is ever sent.
        let _ = (&mut self.given_away).await;
        GivenAway
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.seats.lock().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn is_given_away(seat: &mut Seat) -> bool {
        seat.given_away.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn whoever_has_waited_longest_makes_room_but_not_at_once() {
        let room = Arc::new(WaitingRoom::new(2, PATIENCE));
        let start = Instant::now();
        let mut oldest = room.enter(start).unwrap();
        let mut second = room.enter(start + PATIENCE / 2).unwrap();
        assert!(room.enter(start + PATIENCE / 2).is_none(), "nobody has had his time");
        let mut third = room.enter(start + PATIENCE).unwrap();
        assert!(is_given_away(&mut oldest));
        assert!(room.enter(start + PATIENCE).is_none());
        assert!(!is_given_away(&mut second) && !is_given_away(&mut third));
    }

    #[test]
    fn a_seat_that_is_left_is_free_and_one_that_was_given_away_frees_nothing() {
        let room = Arc::new(WaitingRoom::new(1, PATIENCE));
        let start = Instant::now();
        drop(room.enter(start).unwrap());
        let first = room.enter(start).unwrap();
        let mut second = room.enter(start + PATIENCE).unwrap();
        drop(first);
        assert!(!is_given_away(&mut second));
        assert!(room.enter(start + PATIENCE).is_none());
        drop(second);
        assert!(room.enter(start + PATIENCE).is_some());
        assert!(room.seats.lock().taken.is_empty());
    }
}
