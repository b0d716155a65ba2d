//! Messages that have expired leave the store, though nobody asks for them.

use std::sync::Arc;
use std::time::Duration;

use hookmq_store::{Change, UnixMillis};

use super::Broker;

/// How often the store is asked whether a message has expired.
const EVERY: Duration = Duration::from_secs(5);

/// A message is let go of so much later than it expires: whoever found it alive has sent it by then.
const GRACE: u64 = 10_000;

/// Sweeps for as long as the task lives.
pub async fn run(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let at = UnixMillis(UnixMillis::now().0.saturating_sub(GRACE));
        let mut before = None;
        // A sweep is bounded, so there may be more; without progress there is none.
        while let Some(next) = broker.store.next_expiry().filter(|next| *next <= at)
            && before != Some(next)
        {
            before = Some(next);
            let commit = broker.store.append(vec![Change::Expired { at }]);
            broker.durable(commit).await;
        }
    }
}
