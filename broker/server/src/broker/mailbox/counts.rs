//! What waits in the store, as the store counts it.

use super::{Condition, Mailbox, Stored};

/// How things stood when the store was asked what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

impl Mailbox {
    /// Has the tenant's account know what waits, if there is a bound now.
    pub fn recount(&self) {
        self.settle(&mut self.state.lock());
    }

    /// The client is away, and so much waits in the store.
    pub fn recover(&self, messages: usize, bytes: usize) {
        let mut state = self.state.lock();
        state.condition = Condition::Offline;
        state.stored = Stored { behind: true, messages, bytes, ..Stored::default() };
        self.settle(&mut state);
    }

    /// The store knows which messages the connection that has gone had in flight: all others wait.
    pub fn depart(&self) {
        self.state.lock().shown = 0;
    }

    /// Where what waits can be asked of the store: the client is away, and all that is counted is
    /// appended.
    pub fn mark(&self) -> Option<Mark> {
        let state = self.state.lock();
        let still = state.condition == Condition::Offline && state.stored.admitted == 0;
        still.then_some(Mark(state.generation))
    }

    /// The store was asked behind `mark`, and so much waits there. Says whether that still holds, and
    /// is counted from now on.
    pub fn correct(&self, mark: Mark, messages: usize, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let holds = state.condition == Condition::Offline && state.generation == mark.0;
        if holds {
            (state.stored.messages, state.stored.bytes) = (messages, bytes);
            self.settle(&mut state);
        }
        holds
    }
}
