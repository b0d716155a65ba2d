//! Messages that have expired leave the store, though nobody asks for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hookmq_store::{Change, Question, SessionKey, UnixMillis};
use tokio::sync::oneshot;

use super::Broker;

/// How often the store is asked whether a message has expired.
const EVERY: Duration = Duration::from_secs(5);

/// A message is let go of so much later than it expires: whoever found it alive has sent it by then.
const GRACE: u64 = 10_000;

/// Sweeps for as long as the task lives.
pub async fn run(broker: Arc<Broker>) {
    let mut sweeper = Sweeper::new(broker);
    loop {
        tokio::time::sleep(EVERY).await;
        sweeper.sweep(UnixMillis(UnixMillis::now().0.saturating_sub(GRACE))).await;
    }
}

/// Lets go of what has expired, and has the mailboxes count what is left.
pub struct Sweeper {
    broker: Arc<Broker>,
    /// Sessions that wait for less than their mailboxes count. While a client is connected its mailbox
    /// finds out by itself, once the client has caught up; these are tried again.
    miscounted: BTreeSet<SessionKey>,
}

impl Sweeper {
    pub fn new(broker: Arc<Broker>) -> Self {
        Self { broker, miscounted: BTreeSet::new() }
    }

    /// Lets go of what has expired by `at`.
    pub async fn sweep(&mut self, at: UnixMillis) {
        let store = &self.broker.store;
        let mut before = None;
        // A sweep is bounded, so there may be more; without progress there is none.
        while let Some(next) = store.next_expiry().filter(|next| *next <= at)
            && before != Some(next)
        {
            before = Some(next);
            let commit = store.append(vec![Change::Expired { at }]);
            self.broker.durable(commit).await;
        }
        if before.is_some() {
            let swept = self.ask(Question::Swept).await;
            self.miscounted.extend(swept.into_iter().flatten());
        }
        for session in std::mem::take(&mut self.miscounted) {
            if !self.recount(&session).await {
                self.miscounted.insert(session);
            }
        }
    }

    /// Has the session's mailbox count what waits in the store; says whether that is done.
    async fn recount(&self, session: &SessionKey) -> bool {
        let tenant = self.broker.used_tenant(&session.tenant);
        let known = tenant.and_then(|it| it.sessions.lock().get(&session.client_id).cloned());
        let Some(handle) = known else { return true };
        let Some(mark) = handle.mark() else { return false };
        let waiting = self.ask(|answer| Question::Waiting(session.clone(), answer)).await;
        match waiting.flatten() {
            Some((messages, bytes)) => handle.mailbox.correct(mark, messages, bytes),
            // It has ended, or the store has failed.
            None => true,
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Box<dyn FnOnce(T) + Send>) -> Question,
    ) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        let answered = Box::new(move |it| {
            // Who asks waits for it.
            let _ = sender.send(it);
        });
        self.broker.store.ask(question(answered));
        answer.await.ok()
    }
}
