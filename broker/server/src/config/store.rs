//! The `store` section: what is kept on disk, and when it is safe there.

use std::path::{Path, PathBuf};

use hookmq_store::{CheckpointBounds, Durability, OnDamage, StoreBounds, StoreOptions, Verify};
use serde::{Deserialize, Deserializer, de::Error};

use super::ListenerConfig;
use super::check::Check;
use super::document::positive;
use super::error::KeyPath;
use crate::broker::protocol::Promise;

/// More would leave a disk that is hardly used to nothing.
const LARGEST_SHARE: u8 = 90;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct StoreDocument {
    durability: Durability,
    memory_listeners: Vec<String>,
    memory_tenants: Vec<String>,
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
    /// What clients are promised.
    pub(super) fn promise(&self, check: &mut Check, listeners: &[ListenerConfig]) -> Promise {
        for (index, name) in self.memory_listeners.iter().enumerate() {
            if !listeners.iter().any(|listener| *listener.name == **name) {
                let path = KeyPath::root("store").key("memory_listeners").index(index);
                check.problem(&path, format!("there is no listener {name:?}"));
            }
        }
        let texts = |texts: &[String]| texts.iter().map(|it| it.as_str().into()).collect();
        Promise {
            durability: self.durability,
            memory_listeners: texts(&self.memory_listeners),
            memory_tenants: texts(&self.memory_tenants),
        }
    }

    pub(super) fn options(self, data_dir: &Path) -> StoreOptions {
        let defaults = StoreBounds::default();
        StoreOptions {
            directory: directory(data_dir),
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
            memory_listeners: Vec::new(),
            memory_tenants: Vec::new(),
            nearly_full: bounds.nearly_full,
            queued_changes: bounds.queued_changes,
            queued_bytes: bounds.queued_bytes,
            checkpoint_bytes: bounds.checkpoint.log,
            verify: Verify::default(),
            on_damage: OnDamage::default(),
        }
    }
}

/// Where the store is kept.
pub(crate) fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let percent = u8::deserialize(deserializer)?;
    if percent > LARGEST_SHARE {
        return Err(D::Error::custom(format!("it must not be more than {LARGEST_SHARE} percent")));
    }
    Ok(percent)
}
