//! When a connection is to be looked after although nothing happens.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hookmq_codec::ReasonCode;
use tokio::time::Sleep;

use super::Driver;
use crate::clock;
use crate::connection::Stream;
use crate::connection::ending::Ending;

/// The moment of a wall-clock time, in milliseconds since 1970; what is past is now.
pub(super) fn from_now(milliseconds: u64) -> Instant {
    let moment = UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds));
    let left = moment.and_then(|moment| moment.duration_since(SystemTime::now()).ok());
    // Longer than any connection lasts.
    let longest = Duration::from_secs(100 * 365 * 24 * 3600);
    clock::now() + left.unwrap_or_default().min(longest)
}

/// A timer that is set anew only when it has gone off or must go off sooner.
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    pub(super) fn new(at: Instant) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(at.into())) }
    }

    pub(super) fn reset(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at.into());
    }
}

impl<S: Stream> Driver<S> {
    /// When the connection ends if nothing happens, and how: the client has been silent for too long
    /// `[MQTT-3.1.2-22]`, does not read what it is sent, or what it has shown is not valid any more.
    fn deadline(&self) -> Option<(Instant, Ending)> {
        let is_unread = self.held.as_ref().is_some_and(|held| held.is_unread);
        let waits = match self.stalled {
            Some(since) => {
                let deadline = since + self.broker.limits.write_timeout;
                Some((deadline, Ending::Lost("it does not read".into())))
            }
            // What the client has said is perhaps not read.
            None if self.terms.silence.is_zero() || is_unread => None,
            None => {
                let deadline = self.last_packet + self.terms.silence;
                Some((deadline, Ending::Told(ReasonCode::KeepAliveTimeout)))
            }
        };
        let expires = self
            .expires_at
            .as_deref()
            .map(|at| (*at, Ending::Told(ReasonCode::MaximumConnectTime)));
        waits.into_iter().chain(expires).min_by_key(|(deadline, _)| *deadline)
    }

    /// Ends the connection when it is time, and takes a turn when there may be credit again.
    pub(super) fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        let (ends_at, ending) = self.deadline().unzip();
        let held_until = self.held.as_ref().map(|held| held.until);
        let next = ends_at.into_iter().chain(held_until).min();
        let Some(deadline) = next else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Timer::new(deadline));
        if deadline < timer.sleep.deadline().into_std() {
            timer.reset(deadline);
        }
        while timer.sleep.as_mut().poll(context).is_ready() {
            let now = clock::now();
            if ends_at.is_some_and(|at| now >= at)
                && let Some(ending) = ending
            {
                return Poll::Ready(ending);
            }
            if held_until.is_some_and(|at| now >= at) {
                self.timer = None;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            timer.reset(deadline);
            self.opened.handle.mailbox.shrink();
            self.opened.session.outgoing.shrink();
            self.publisher.shrink();
            self.batch.shrink_to_fit();
            self.owed.take_if(|owed| owed.is_empty());
        }
        Poll::Pending
    }
}
