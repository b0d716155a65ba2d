//! A message as a queue has it.

use hookmq_codec::Qos;
use hookmq_store::{Recovery, Reference};

use super::FoundMessage;

/// How much later than it came a message may have been stored, in milliseconds: what is recorded is slow.
const DELAY: u64 = 120_000;

impl FoundMessage {
    pub(super) fn read(recovery: &mut Recovery, reference: &Reference) -> Result<Self, String> {
        let stored = recovery.message(reference.id()).map_err(|it| it.to_string())?;
        let qos: Qos = reference.qos();
        let lifetime = stored.expires_at.map(|ends| ends.0.saturating_sub(stored.stored_at.0));
        Ok(Self { payload: stored.message.payload().to_vec(), qos, lifetime })
    }

    /// What is wrong with how long it lasts.
    pub(super) fn judge_lifetime(&self, expiry_interval: Option<u32>) -> Option<String> {
        let promised = expiry_interval.map(|seconds| u64::from(seconds) * 1000);
        let fits = match (self.lifetime, promised) {
            (None, None) => true,
            (Some(found), Some(promised)) => (promised - DELAY..=promised).contains(&found),
            _ => false,
        };
        let name = super::brief(&self.payload);
        (!fits).then(|| format!("{name} lasts {:?} ms in place of {promised:?}", self.lifetime))
    }
}
