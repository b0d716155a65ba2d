//! What is noted beside the engine, and when.

use std::ops::RangeInclusive;

use super::*;
use crate::engine::{Batch, Engine, EngineStats, MemoryEngine, Table, Visit};
use crate::ledger::{CheckpointBounds, Verify};

/// Memory, or a disk that fails at the first write.
struct Disk {
    engine: MemoryEngine,
    broken: bool,
}

impl Engine for Disk {
    fn write(&mut self, batch: &Batch) -> Result<usize, EngineError> {
        match self.broken {
            true => Err(EngineError::Failed("input/output error".into())),
            false => self.engine.write(batch),
        }
    }

    fn read(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, EngineError> {
        self.engine.read(table, key)
    }

    fn scan(
        &mut self,
        table: Table,
        keys: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.engine.scan(table, keys, visit)
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn stats(&mut self) -> Result<EngineStats, EngineError> {
        self.engine.stats()
    }

    fn verify(&mut self) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }
}

#[test]
fn the_mark_says_what_is_durable_and_never_more() {
    for (broken, durability, expected) in [
        (false, Durability::Fsync, (1, 1)),
        (true, Durability::Fsync, (0, 0)),
        // The machine may lose what the operating system has.
        (false, Durability::Os, (1, 0)),
    ] {
        let place = tempfile::tempdir().unwrap();
        let disk = Disk { engine: MemoryEngine::default(), broken };
        let bounds = CheckpointBounds::default();
        let (ledger, _) = Ledger::load(Box::new(disk), bounds, 0, Verify::All).unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let bounds = StoreBounds::default();
        let mut committer = Committer::new(ledger, Some(directory), durability, bounds, None);
        assert_eq!(committer.commit(&[vec![]]).is_err(), broken);
        let durable = committer.shared.durable.load(Ordering::Acquire);
        let mark = committer.directory.as_ref().unwrap().durable();
        assert_eq!((durable, mark), expected, "{durability:?}");
    }
}
