//! Handshakes go on in steps, few at a time: between two of them, connected clients have their turn.
//!
//! A step is what the handshake does between two waits for the socket, a signature in most cases. All of
//! a storm would be ready at once, and whoever is connected would wait behind them.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Semaphore;

/// Runs `work`, each step of it once there is a permit and everything else that was ready has run.
pub async fn in_steps<T>(permits: &Semaphore, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        let permit = permits.acquire().await;
        tokio::task::yield_now().await;
        let step = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        drop(permit);
        match step {
            Poll::Ready(output) => return output,
            Poll::Pending => woken().await,
        }
    }
}

/// Waits until the task is woken, by what it has waited for last.
async fn woken() {
    let mut slept = false;
    poll_fn(|_| match std::mem::replace(&mut slept, true) {
        false => Poll::Pending,
        true => Poll::Ready(()),
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::task::JoinSet;

    use super::*;

    const HANDSHAKES: usize = 20;
    const STEPS: usize = 5;

    #[tokio::test]
    async fn whoever_else_is_ready_runs_between_two_steps() {
        for permits in [1, 3] {
            let turns = Arc::new(Mutex::new(String::new()));
            let semaphore = Arc::new(Semaphore::new(permits));
            let mut handshakes = JoinSet::new();
            for _ in 0..HANDSHAKES {
                let (turns, semaphore) = (turns.clone(), semaphore.clone());
                let work = async move {
                    for _ in 0..STEPS {
                        turns.lock().push('h');
                        tokio::task::yield_now().await;
                    }
                };
                handshakes.spawn(async move { in_steps(&semaphore, work).await });
            }
            let bystander = {
                let turns = turns.clone();
                tokio::spawn(async move {
                    loop {
                        turns.lock().push('b');
                        tokio::task::yield_now().await;
                    }
                })
            };
            handshakes.join_all().await;
            bystander.abort();
            let turns = turns.lock();
            assert_eq!(turns.matches('h').count(), HANDSHAKES * STEPS, "all is done");
            // In each round all permits are used once, before the bystander's turn or behind it.
            let longest = turns.split('b').map(str::len).max();
            assert!(longest <= Some(2 * permits), "{longest:?} steps in a row: {turns}");
        }
    }
}
