//! Calls that must change nothing: what a candidate would decide, and what explain shows.
//!
//! A program cannot tell a rehearsal from the real thing, but for requests, which are not sent. What it
//! keeps goes to an overlay that is thrown away, what it counts goes nowhere, and what it logs becomes a
//! note. A call never leaves its thread, so that the state belongs to the thread.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::ProgramKind;
use crate::services::Keeper;

/// Something that a program has done or relied on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// `log`, `permission`, `line`, `operations`, or a plugin's own word.
    pub about: Cow<'static, str>,
    pub text: String,
}

/// What may come of a call, and whether it is to note what it relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    consequences: Consequences,
    noting: bool,
}

/// What may come of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequences {
    All,
    /// It may ask others, as long as it changes nothing there.
    Questions,
    None,
}

/// Values by tenant, program and key; none where it was deleted.
type Overlay = HashMap<(String, ProgramKind, String, String), Option<Vec<u8>>>;

#[derive(Default)]
struct Stage {
    notes: Vec<Note>,
    overlay: Overlay,
    /// Of the keys and values in `overlay`.
    bytes: usize,
}

/// Notes of one call.
const MOST_NOTES: usize = 100;

thread_local! {
    static PRESENT: Cell<Circumstances> = const { Cell::new(Circumstances::EARNEST) };
    static STAGE: RefCell<Stage> = RefCell::default();
}

impl Circumstances {
    /// The real thing, as nearly all calls are.
    pub const EARNEST: Self = Self { consequences: Consequences::All, noting: false };
    /// The real thing, of which is told.
    pub const NOTED: Self = Self { consequences: Consequences::All, noting: true };
    /// A candidate beside the version in force.
    pub const SHADOW: Self = Self { consequences: Consequences::Questions, noting: false };
    pub const REHEARSED: Self = Self { consequences: Consequences::None, noting: true };

    /// Those of this thread's call.
    #[inline]
    pub fn present() -> Self {
        PRESENT.get()
    }

    #[inline]
    pub fn consequences(self) -> Consequences {
        self.consequences
    }

    fn is_rehearsal(self) -> bool {
        self.consequences != Consequences::All
    }

    /// Runs `call`; gives what it has noted. Rehearsals within one another see the same values.
    pub fn run<T>(self, call: impl FnOnce() -> T) -> (T, Vec<Note>) {
        /// Also where `call` panics.
        struct End {
            before: Circumstances,
            notes: Vec<Note>,
        }
        impl Drop for End {
            fn drop(&mut self) {
                let present = PRESENT.replace(self.before);
                STAGE.with_borrow_mut(|stage| {
                    stage.notes = std::mem::take(&mut self.notes);
                    if present.is_rehearsal() && !self.before.is_rehearsal() {
                        stage.overlay.clear();
                        stage.bytes = 0;
                    }
                });
            }
        }
        let end = End { before: PRESENT.replace(self), notes: take_notes() };
        let answer = call();
        let notes = take_notes();
        drop(end);
        (answer, notes)
    }

    /// A future that is made and polled under these circumstances; it gives its notes at the end.
    pub fn during<F: Future>(self, make: impl FnOnce() -> F) -> During<F> {
        // Some programs answer when they are asked, others when they are polled.
        let (future, notes) = self.run(make);
        During { future: Box::pin(future), circumstances: self, notes }
    }
}

/// Runs `call` so that nothing of it lasts; gives what it noted.
pub fn rehearse<T>(call: impl FnOnce() -> T) -> (T, Vec<Note>) {
    Circumstances::REHEARSED.run(call)
}

/// What [`Circumstances::during`] makes.
pub struct During<F> {
    future: Pin<Box<F>>,
    circumstances: Circumstances,
    notes: Vec<Note>,
}

impl<F: Future> Future for During<F> {
    type Output = (F::Output, Vec<Note>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (answer, notes) = this.circumstances.run(|| this.future.as_mut().poll(context));
        this.notes.extend(notes);
        this.notes.truncate(MOST_NOTES);
        answer.map(|answer| (answer, std::mem::take(&mut this.notes)))
    }
}

fn take_notes() -> Vec<Note> {
    STAGE.with_borrow_mut(|stage| std::mem::take(&mut stage.notes))
}

/// Whether the call of this thread must change nothing.
#[inline]
pub fn is_rehearsed() -> bool {
    PRESENT.get().is_rehearsal()
}

/// Whether somebody is told what this thread's call relies on.
#[inline]
pub fn is_noted() -> bool {
    PRESENT.get().noting
}

/// Notes what explain is to show; nothing in a call of which nobody wants to be told.
#[inline]
pub fn note(about: &'static str, text: impl FnOnce() -> String) {
    if is_noted() {
        keep_notes([Note { about: about.into(), text: text() }]);
    }
}

/// Notes what a part of the call has noted elsewhere.
pub fn keep_notes(notes: impl IntoIterator<Item = Note>) {
    STAGE.with_borrow_mut(|stage| {
        let room = MOST_NOTES.saturating_sub(stage.notes.len());
        stage.notes.extend(notes.into_iter().take(room));
    });
}

/// What the rehearsal has put in the place of a value, if it has.
pub(crate) fn overlaid(tenant: &str, keeper: Keeper<'_>, key: &str) -> Option<Option<Vec<u8>>> {
    STAGE.with_borrow(|stage| stage.overlay.get(&place(tenant, keeper, key)).cloned())
}

/// Puts a value in the place of the real one until the rehearsal is over, where all of them together have
/// no more than `most` bytes; whether they have.
pub(crate) fn overlay(
    tenant: &str,
    keeper: Keeper<'_>,
    key: &str,
    value: Option<Vec<u8>>,
    most: usize,
) -> bool {
    STAGE.with_borrow_mut(|stage| {
        let place = place(tenant, keeper, key);
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

fn place(
    tenant: &str,
    Keeper { kind, name }: Keeper<'_>,
    key: &str,
) -> (String, ProgramKind, String, String) {
    (tenant.to_owned(), kind, name.to_owned(), key.to_owned())
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
        assert_eq!(notes, [Note { about: "log".into(), text: "kept".into() }]);
        assert!(rehearse(|| ()).1.is_empty());
    }

    #[test]
    fn a_rehearsal_that_panics_is_over() {
        let panicked = std::panic::catch_unwind(|| rehearse(|| panic!("as it was told")));
        assert!(panicked.is_err() && !is_rehearsed());
    }

    #[test]
    fn a_real_call_is_noted_where_somebody_wants_to_be_told() {
        let (answer, notes) = Circumstances::NOTED.run(|| {
            note("line", || "a:1".into());
            is_rehearsed()
        });
        assert!(!answer);
        assert_eq!(notes, [Note { about: "line".into(), text: "a:1".into() }]);
    }

    #[test]
    fn what_is_in_earnest_inside_of_a_rehearsal_is_so_and_no_longer() {
        let ((), notes) = rehearse(|| {
            note("log", || "before".into());
            let (inside, _) = Circumstances::EARNEST.run(|| {
                note("log", || "lost".into());
                is_rehearsed()
            });
            assert!(!inside && is_rehearsed());
            note("log", || "after".into());
        });
        let texts: Vec<_> = notes.iter().map(|note| &*note.text).collect();
        assert_eq!(texts, ["before", "after"]);
    }
}
