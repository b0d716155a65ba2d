//! The `store` section: what is kept on disk, and when it is safe there.

use std::path::Path;

use hookmq_store::{CheckpointBounds, Durability, OnDamage, StoreBounds, StoreOptions, Verify};
use serde::{Deserialize, Deserializer, de::Error};

use super::document::positive;

/// More would leave a disk that is hardly used to nothing.
const LARGEST_SHARE: u8 = 90;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct StoreDocument {
    durability: Durability,
    /// Percent of the file system.
    #[serde(deserialize_with = "share")]
    nearly_full: u8,
    #[serde(deserialize_with = "positive")]
    queued_changes: usize,
    #[serde(deserialize_with = "positive")]
    queued_bytes: usize,
    #[serde(deserialize_with = "positive")]
    checkpoint_bytes: usize,
    verify: Verify,
    on_damage: OnDamage,
}

impl StoreDocument {
    pub(super) fn options(self, data_dir: &Path) -> StoreOptions {
        let defaults = StoreBounds::default();
        StoreOptions {
            directory: data_dir.join("store"),
            durability: self.durability,
            bounds: StoreBounds {
                queued_changes: self.queued_changes,
                queued_bytes: self.queued_bytes,
                nearly_full: self.nearly_full,
                checkpoint: CheckpointBounds { log: self.checkpoint_bytes, ..defaults.checkpoint },
                ..defaults
            },
            verify: self.verify,
            on_damage: self.on_damage,
        }
    }
}

impl Default for StoreDocument {
    fn default() -> Self {
        let bounds = StoreBounds::default();
        Self {
            durability: Durability::default(),
            nearly_full: bounds.nearly_full,
            queued_changes: bounds.queued_changes,
            queued_bytes: bounds.queued_bytes,
            checkpoint_bytes: bounds.checkpoint.log,
            verify: Verify::default(),
            on_damage: OnDamage::default(),
        }
    }
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let percent = u8::deserialize(deserializer)?;
    if percent > LARGEST_SHARE {
        return Err(D::Error::custom(format!("it must not be more than {LARGEST_SHARE} percent")));
    }
    Ok(percent)
}
