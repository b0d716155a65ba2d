//! Who waits for a commit, or for room.

use std::collections::BTreeMap;
use std::task::Waker;

/// At most what each connection waits for: a waker that asks again for the same is the same.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    commits: BTreeMap<u64, Vec<Waker>>,
    room: Vec<Waker>,
}

impl Waiting {
    pub(super) fn for_commit(&mut self, commit: u64, waker: &Waker) {
        add(self.commits.entry(commit).or_default(), waker);
    }

    pub(super) fn for_room(&mut self, waker: &Waker) {
        add(&mut self.room, waker);
    }

    /// How many wait for a commit.
    pub(super) fn len(&self) -> usize {
        self.commits.values().map(Vec::len).sum()
    }

    /// Those whose commit is durable, and with `room` those who wait for that.
    pub(super) fn ready(&mut self, durable: u64, room: bool) -> Vec<Waker> {
        let later = self.commits.split_off(&(durable + 1));
        let ready = std::mem::replace(&mut self.commits, later);
        let mut ready: Vec<Waker> = ready.into_values().flatten().collect();
        if room {
            ready.append(&mut self.room);
        }
        ready
    }
}

fn add(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|it| it.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}
