//! Calls that must change nothing: what a candidate would decide, and what explain shows.
//!
//! A program cannot tell a rehearsal from the real thing. What it keeps goes to an overlay that is
//! thrown away, what it counts goes nowhere, and what it logs becomes a note. A call never leaves its
//! thread, so that the state belongs to the thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Something that a program has done or relied on in a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// `log`, `permission`, `line`.
    pub about: &'static str,
    pub text: String,
}

/// Values by tenant, program and key; none where it was deleted.
type Overlay = HashMap<(String, String, String), Option<Vec<u8>>>;

#[derive(Default)]
struct Stage {
    notes: Vec<Note>,
    overlay: Overlay,
    /// Of the keys and values in `overlay`.
    bytes: usize,
}

/// Notes of one rehearsal.
const MOST_NOTES: usize = 100;

thread_local! {
    static REHEARSES: Cell<bool> = const { Cell::new(false) };
    static STAGE: RefCell<Stage> = RefCell::default();
}

/// Runs `call` so that nothing of it lasts; gives what it noted. Rehearsals within one another are one.
pub fn rehearse<T>(call: impl FnOnce() -> T) -> (T, Vec<Note>) {
    /// Also where `call` panics.
    struct End(bool);
    impl Drop for End {
        fn drop(&mut self) {
            REHEARSES.set(self.0);
            if !self.0 {
                STAGE.take();
            }
        }
    }
    let end = End(REHEARSES.replace(true));
    let answer = call();
    let notes = take_notes();
    drop(end);
    (answer, notes)
}

/// A future whose every turn is a rehearsal.
pub struct Rehearsed<F>(Pin<Box<F>>);

impl<F: Future> Rehearsed<F> {
    pub fn new(future: F) -> Self {
        Self(Box::pin(future))
    }
}

impl<F: Future> Future for Rehearsed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        rehearse(|| self.0.as_mut().poll(context)).0
    }
}

/// What the present rehearsal has noted so far.
pub(crate) fn take_notes() -> Vec<Note> {
    STAGE.with_borrow_mut(|stage| std::mem::take(&mut stage.notes))
}

/// Whether the call of this thread must change nothing.
#[inline]
pub fn is_rehearsed() -> bool {
    REHEARSES.get()
}

/// Notes what explain is to show; nothing outside of a rehearsal.
#[inline]
pub fn note(about: &'static str, text: impl FnOnce() -> String) {
    if is_rehearsed() {
        STAGE.with_borrow_mut(|stage| {
            if stage.notes.len() < MOST_NOTES {
                stage.notes.push(Note { about, text: text() });
            }
        });
    }
}

/// What the rehearsal has put in the place of a value, if it has.
pub(crate) fn overlaid(tenant: &str, program: &str, key: &str) -> Option<Option<Vec<u8>>> {
    STAGE.with_borrow(|stage| {
        let key = (tenant.to_owned(), program.to_owned(), key.to_owned());
        stage.overlay.get(&key).cloned()
    })
}

/// Puts a value in the place of the real one until the rehearsal is over, where all of them together have
/// no more than `most` bytes; whether they have.
pub(crate) fn overlay(
    tenant: &str,
    program: &str,
    key: &str,
    value: Option<Vec<u8>>,
    most: usize,
) -> bool {
    STAGE.with_borrow_mut(|stage| {
        let place = (tenant.to_owned(), program.to_owned(), key.to_owned());
        let size = |value: &Option<Vec<u8>>| key.len() + value.as_ref().map_or(0, Vec::len);
        let bytes = stage.bytes - stage.overlay.get(&place).map_or(0, size) + size(&value);
        let fits = bytes <= most;
        if fits {
            stage.bytes = bytes;
            stage.overlay.insert(place, value);
        }
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_taken_in_rehearsals_only() {
        note("log", || "lost".into());
        let (answer, notes) = rehearse(|| {
            note("log", || "kept".into());
            is_rehearsed()
        });
        assert!(answer && !is_rehearsed());
        assert_eq!(notes, [Note { about: "log", text: "kept".into() }]);
        assert!(rehearse(|| ()).1.is_empty());
    }

    #[test]
    fn a_rehearsal_that_panics_is_over() {
        let panicked = std::panic::catch_unwind(|| rehearse(|| panic!("as it was told")));
        assert!(panicked.is_err() && !is_rehearsed());
    }
}
