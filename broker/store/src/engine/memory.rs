//! Records in memory, for durability `memory` and for tests.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{Batch, Engine, EngineError, EngineStats, Table, Visit};

#[derive(Debug, Default, Clone)]
pub struct MemoryEngine {
    tables: [BTreeMap<u64, Box<[u8]>>; Table::ALL.len()],
}

impl MemoryEngine {
    fn table(&mut self, table: Table) -> &mut BTreeMap<u64, Box<[u8]>> {
        &mut self.tables[table as usize]
    }

    fn delete(&mut self, table: Table, keys: RangeInclusive<u64>, limit: usize) -> usize {
        let table = self.table(table);
        let doomed: Vec<u64> = table.range(keys).take(limit).map(|(key, _)| *key).collect();
        doomed.iter().for_each(|key| drop(table.remove(key)));
        doomed.len()
    }
}

impl Engine for MemoryEngine {
    fn write(&mut self, batch: &Batch) -> Result<usize, EngineError> {
        for (table, keys) in &batch.deletions {
            self.delete(*table, keys.clone(), usize::MAX);
        }
        let trim = batch.trim.as_ref();
        let trimmed = trim.map_or(0, |it| self.delete(it.table, it.keys.clone(), it.limit));
        for (table, key, record) in &batch.records {
            self.table(*table).insert(*key, record.as_slice().into());
        }
        Ok(trimmed)
    }

    fn read(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.table(table).get(&key).map(|record| record.to_vec()))
    }

    fn scan(
        &mut self,
        table: Table,
        keys: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.table(table).range(keys).all(|(key, record)| visit(*key, record));
        Ok(())
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn stats(&mut self) -> Result<EngineStats, EngineError> {
        let bytes =
            self.tables.iter().flat_map(BTreeMap::values).map(|it| it.len() as u64 + 8).sum();
        Ok(EngineStats { bytes, free_bytes: 0 })
    }

    fn verify(&mut self) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }
}
