//! Being called by Postgres: the change log is read as soon as it grows.
//!
//! A call may be lost with its connection, so the log is read whenever one is made, and every
//! `poll_interval` whether or not anybody calls.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::postgres::PgListener;

use super::{Readiness, Shared};

/// Of the migration `notify`.
const CHANNEL: &str = "hookmq_change_log";

/// Between two attempts to listen, while the database answers otherwise.
const RETRY: Duration = Duration::from_secs(1);

/// Runs until it is aborted. Where the database cannot call, nothing is lost but time.
pub(super) async fn run(shared: Arc<Shared>) {
    let channel = match shared.database.foreign() {
        None => Some(CHANNEL),
        Some(queries) => queries.notify_channel.as_deref(),
    };
    let Some(channel) = channel else { return };
    let Some(pool) = shared.database.pool_for_listening() else { return };
    let mut readiness = shared.readiness.subscribe();
    loop {
        // An error would mean that the sender is gone, which `shared` holds.
        let _ = readiness.wait_for(|it| *it == Readiness::Ready).await;
        tokio::select! {
            Err(error) = listen(&shared, &pool, channel) => {
                tracing::debug!(database = %shared.database.url(), %error, "not listening");
            }
            // Whoever was listened to may be a server that is none any more.
            _ = readiness.wait_for(|it| *it != Readiness::Ready) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen(
    shared: &Shared,
    pool: &sqlx::PgPool,
    channel: &str,
) -> Result<Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    loop {
        shared.called.store(true, Ordering::Release);
        shared.look_now.notify_one();
        // None: it has lost its connection and made another one.
        listener.try_recv().await?;
    }
}
