//! Connected clients whom a change concerns are looked up again: many principals in one question.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::principal::Found;
use super::{Answer, DirectoryError, Held, PrincipalKey, Shared};
use crate::QueryError;
use crate::database::Asked;

const LARGEST_BATCH: usize = 256;
const SMALLEST_BATCH: usize = 2;

/// What the clients of one principal hold.
type OfOne = (PrincipalKey, Vec<Arc<Held>>);

/// How many principals are looked up at once: fewer for a while after that has been too many for one
/// answer, or for the time that an answer may take.
pub(super) struct BatchSize(AtomicUsize);

impl Default for BatchSize {
    fn default() -> Self {
        Self(AtomicUsize::new(LARGEST_BATCH))
    }
}

impl BatchSize {
    fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Of batches that were under way at once, the one that changes it first counts.
    fn was_fine(&self, size: usize) {
        let next = (size * 2).min(LARGEST_BATCH);
        let _ = self.0.compare_exchange(size, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn was_too_large(&self, size: usize) {
        self.0.fetch_min((size / 2).max(SMALLEST_BATCH), Ordering::Relaxed);
    }
}

impl Shared {
    /// Looks up again what `all` hold. An error says that the database is away.
    pub(super) async fn refresh_all(
        self: &Arc<Self>,
        all: Vec<Arc<Held>>,
    ) -> Result<(), DirectoryError> {
        // Leaves half of the connections to those who connect.
        let at_once = (self.settings.max_connections as usize / 2).max(1);
        let ended = |_| DirectoryError::Unavailable("a look-up was ended".into());
        let mut of: HashMap<PrincipalKey, Vec<Arc<Held>>> = HashMap::new();
        for held in all {
            of.entry(held.key().clone()).or_default().push(held);
        }
        let mut waiting = of.into_iter();
        let mut running = JoinSet::new();
        while waiting.len() > 0 {
            if running.len() >= at_once
                && let Some(done) = running.join_next().await
            {
                done.map_err(ended)??;
            }
            // The operator's own queries ask about one.
            let size = if self.database.foreign().is_some() { 1 } else { self.batches.now() };
            let batch = waiting.by_ref().take(size).collect();
            running.spawn(self.clone().refresh_batch(batch));
        }
        while let Some(done) = running.join_next().await {
            done.map_err(ended)??;
        }
        Ok(())
    }

    async fn refresh_batch(self: Arc<Self>, batch: Vec<OfOne>) -> Result<(), DirectoryError> {
        let mut pieces = vec![batch];
        while let Some(mut piece) = pieces.pop() {
            if let [(key, held)] = &piece[..] {
                self.refresh_one(key, held).await?;
            } else if !self.refresh_many(&piece).await? {
                let half = piece.split_off(piece.len() / 2);
                pieces.extend([piece, half]);
            }
        }
        Ok(())
    }

    async fn refresh_one(
        &self,
        key: &PrincipalKey,
        held: &[Arc<Held>],
    ) -> Result<(), DirectoryError> {
        let slot = self.cache.lock().slot(key);
        let _turn = slot.turn.lock().await;
        let answer = match slot.answer() {
            // Who connects was looked up first.
            Some(answer) => Ok(answer),
            None => self.ask(&slot, key).await,
        };
        if let Err(error @ DirectoryError::Unavailable(_)) = answer {
            return Err(error);
        }
        self.replace(key, held, answer);
        Ok(())
    }

    /// Whether the answer was not too large.
    async fn refresh_many(&self, all: &[OfOne]) -> Result<bool, DirectoryError> {
        let slots: Vec<_> = {
            let mut cache = self.cache.lock();
            all.iter().map(|(key, _)| cache.slot(key)).collect()
        };
        // Who connects waits for this answer, rather than ask for another one; but nobody is waited for.
        let _turns: Vec<_> = slots.iter().filter_map(|slot| slot.turn.try_lock().ok()).collect();
        let generation = self.generation.load(Ordering::Acquire);
        let Some(found) = self.find(all).await? else { return Ok(false) };
        for ((key, held), slot) in all.iter().zip(&slots) {
            let answer = found.answer(key);
            if let Ok(answer) = &answer {
                self.remember(slot, answer, generation);
            }
            self.replace(key, held, answer);
            tokio::task::consume_budget().await;
        }
        Ok(true)
    }

    /// Asks the database. None where the answer is too large.
    async fn find(&self, all: &[OfOne]) -> Result<Option<Found>, DirectoryError> {
        let asked = Asked::new(all.iter().map(|(key, _)| key));
        let permit = self.permit().await?;
        let rows = self.database.look_up_many(&asked).await;
        drop(permit);
        match rows {
            Ok(Some(rows)) => {
                self.batches.was_fine(all.len());
                Ok(Some(Found::new(&asked, rows).await))
            }
            Ok(None) => {
                self.batches.was_too_large(all.len());
                Ok(None)
            }
            Err(error) => {
                if let QueryError::Timeout(_) = error {
                    self.batches.was_too_large(all.len());
                }
                Err(self.unavailable(&error))
            }
        }
    }

    /// Replaces what the clients of one principal hold.
    fn replace(
        &self,
        key: &PrincipalKey,
        held: &[Arc<Held>],
        answer: Result<Answer, DirectoryError>,
    ) {
        let standing = match answer {
            Ok(answer) => answer.map_err(|refused| refused.to_string()),
            Err(error) => Err(error.to_string()),
        };
        for held in held {
            if *held.standing() != standing {
                held.replace(standing.clone());
                self.news.concern(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_shrink_where_they_are_too_large_and_grow_again() {
        let size = BatchSize::default();
        size.was_too_large(256);
        assert_eq!(size.now(), 128);
        // Another one that was under way, and the halves of the first.
        size.was_too_large(256);
        assert_eq!(size.now(), 128);
        size.was_fine(3);
        assert_eq!(size.now(), 128, "the last of all says nothing");
        for _ in 0..2 {
            size.was_fine(128);
        }
        assert_eq!(size.now(), 256);
        for _ in 0..10 {
            size.was_too_large(size.now());
        }
        assert_eq!(size.now(), SMALLEST_BATCH);
        for _ in 0..10 {
            size.was_fine(size.now());
        }
        assert_eq!(size.now(), LARGEST_BATCH);
    }
}
