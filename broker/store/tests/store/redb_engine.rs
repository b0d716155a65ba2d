//! The second engine: redb, whose disk is an object. It shows that the store's promises are not SQLite's
//! alone, and lets a test cut the power at each write.

use std::ops::RangeInclusive;

use hookmq_store::engine::{Batch, Engine, EngineError, EngineStats, Table, Visit};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

type Definition = TableDefinition<'static, u64, &'static [u8]>;

pub struct RedbEngine {
    database: Database,
}

impl RedbEngine {
    pub fn open(backend: impl StorageBackend) -> Result<Self, EngineError> {
        let mut builder = Database::builder();
        builder.set_cache_size(1 << 20);
        let database = builder.create_with_backend(backend).map_err(failed)?;
        Ok(Self { database })
    }

    fn transact(&mut self, batch: &Batch) -> Result<usize, redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut trimmed = 0;
        for (table, keys) in &batch.deletions {
            delete(&mut transaction.open_table(definition(*table))?, keys.clone(), usize::MAX)?;
        }
        if let Some(trim) = &batch.trim {
            let mut table = transaction.open_table(definition(trim.table))?;
            trimmed = delete(&mut table, trim.keys.clone(), trim.limit)?;
        }
        for (table, key, record) in &batch.records {
            let mut table = transaction.open_table(definition(*table))?;
            table.insert(*key, record.as_slice())?;
        }
        transaction.commit()?;
        Ok(trimmed)
    }

    fn visit(
        &self,
        table: Table,
        keys: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(definition(table)) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
            table => table?,
        };
        for row in table.range(keys)? {
            let (key, record) = row?;
            if !visit(key.value(), record.value()) {
                break;
            }
        }
        Ok(())
    }
}

impl Engine for RedbEngine {
    fn write(&mut self, batch: &Batch) -> Result<usize, EngineError> {
        // After any error redb wants the database to be opened anew.
        self.transact(batch).map_err(failed)
    }

    fn read(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, EngineError> {
        let mut found = None;
        self.scan(table, key..=key, &mut |_, record| {
            found = Some(record.to_vec());
            true
        })?;
        Ok(found)
    }

    fn scan(
        &mut self,
        table: Table,
        keys: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.visit(table, keys, visit).map_err(failed)
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        self.database.compact().map(drop).map_err(failed)
    }

    fn stats(&mut self) -> Result<EngineStats, EngineError> {
        let transaction = self.database.begin_write().map_err(failed)?;
        let stats = transaction.stats().map_err(failed)?;
        let bytes = stats.allocated_pages() * stats.page_size() as u64;
        Ok(EngineStats { bytes, free_bytes: 0 })
    }

    fn verify(&mut self) -> Result<Vec<String>, EngineError> {
        let whole = self.database.check_integrity().map_err(failed)?;
        Ok(if whole { Vec::new() } else { vec!["redb had to repair the file".into()] })
    }
}

fn delete(
    table: &mut redb::Table<'_, u64, &'static [u8]>,
    keys: RangeInclusive<u64>,
    limit: usize,
) -> Result<usize, redb::Error> {
    let mut doomed = Vec::new();
    for row in table.range(keys)?.take(limit) {
        doomed.push(row?.0.value());
    }
    for key in &doomed {
        table.remove(key)?;
    }
    Ok(doomed.len())
}

fn definition(table: Table) -> Definition {
    TableDefinition::new(match table {
        Table::Head => "head",
        Table::Body => "body",
        Table::Log => "log",
        Table::Checkpoint => "checkpoint",
    })
}

fn failed(error: impl std::fmt::Display) -> EngineError {
    EngineError::Failed(error.to_string())
}
