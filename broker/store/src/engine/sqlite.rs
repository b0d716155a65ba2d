//! Records in one SQLite file: the engine that ships.

use std::fs::OpenOptions;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, ffi, params};

use super::{Batch, Engine, EngineError, EngineStats, Table, Visit};
use crate::directory::sync_name;
use crate::record::FORMAT;

/// "HkMQ": what `file` and others tell this from other SQLite files by.
const APPLICATION_ID: i32 = 0x486b_4d51;

/// Bytes written to the write-ahead log, about, that bring about their transfer into the file. It takes
/// two more syncs, so it had better be rare; a start after a crash reads as much again.
const TRANSFER: usize = 16 << 20;

/// Bytes of pages that a transaction writes beside its records: the last page of each table, the head.
const PAGES: usize = 16 << 10;

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// The disk.
    Full,
    /// The operating system. It survives the end of the process, and not that of the machine.
    Normal,
}

/// A file with a table for each kind of record, appended to in the order of keys.
#[derive(Debug)]
pub struct SqliteEngine {
    connection: Connection,
    /// Bytes in the write-ahead log since it was last transferred, about.
    logged: usize,
    /// Whether SQLite may transfer and remove the write-ahead log when it closes.
    settled: bool,
}

impl SqliteEngine {
    /// Opens the file, or makes one that only its owner may read.
    ///
    /// # Errors
    /// `Failed` where it cannot be opened or a later version has written it; `Damaged` where it is no
    /// store.
    pub fn open(path: &Path, synchronous: Synchronous) -> Result<Self, EngineError> {
        if !path.exists() {
            create(path).map_err(|it| EngineError::Failed(format!("{}: {it}", path.display())))?;
        }
        // Where there is no log yet, all that closing does is to remove the one that opening makes.
        let settled = !has_log(path);
        let connection = Connection::open(path).map_err(described)?;
        let mut engine = Self { connection, logged: 0, settled };
        if !settled {
            engine.leave_as_is().map_err(described)?;
        }
        engine.prepare(synchronous).map_err(described)?;
        if engine.is_new()? {
            engine.unsettle().map_err(described)?;
            engine.create_tables().map_err(described)?;
        }
        // The log was made anew. SQLite syncs its name, too, but tells nobody where that fails.
        sync_name(path).map_err(|it| EngineError::Failed(format!("{}: {it}", path.display())))?;
        Ok(engine)
    }

    /// Opens a file that is there, to read: it stays as it is to the byte, and so does its write-ahead
    /// log, which SQLite would otherwise transfer into it in the end.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn look_at(path: &Path) -> Result<Self, EngineError> {
        // SQLite locks the file, for which it must be open for writing.
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
        let connection = connection.map_err(described)?;
        let engine = Self { connection, logged: 0, settled: false };
        let connection = &engine.connection;
        let set = || -> Result<(), rusqlite::Error> {
            engine.leave_as_is()?;
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.pragma_update(None, "query_only", true)
        };
        set().map_err(described)?;
        match engine.is_new()? {
            true => Err(EngineError::Damaged("nothing was ever written to the file".into())),
            false => Ok(engine),
        }
    }

    /// SQLite would write, sync and remove files when it closes, and tell nobody what came of it.
    fn leave_as_is(&self) -> Result<(), rusqlite::Error> {
        let name = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        self.connection.set_db_config(name, true).map(drop)
    }

    fn prepare(&self, synchronous: Synchronous) -> Result<(), rusqlite::Error> {
        let connection = &self.connection;
        // Nobody else has the file, so that no index of the log is shared with others.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = match synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Normal => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        // Done by `write`, for SQLite would tell nobody that it failed.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", 4 * TRANSFER as i64)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        // Negative: KiB.
        connection.pragma_update(None, "cache_size", -16_384)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(())
    }

    /// Whether nothing was written yet; if something was, it is by this version or an earlier one.
    fn is_new(&self) -> Result<bool, EngineError> {
        let number = |name| {
            let value = self.connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
            value.map_err(described)
        };
        match (number("application_id")?, number("user_version")?) {
            (0, 0) => Ok(true),
            (APPLICATION_ID, version) if (1..=i32::from(FORMAT)).contains(&version) => Ok(false),
            (APPLICATION_ID, version) => {
                let newer = format!("the store is of version {version}, later than {FORMAT}");
                Err(EngineError::Failed(newer))
            }
            _ => Err(EngineError::Damaged("the file is not a store of this broker".into())),
        }
    }

    fn create_tables(&self) -> Result<(), rusqlite::Error> {
        let tables = Table::ALL.map(|table| {
            let name = name(table);
            format!("CREATE TABLE {name} (key INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;")
        });
        self.connection.execute_batch(&format!(
            "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; {} \
             COMMIT;",
            tables.concat()
        ))
    }

    /// Brings what is in the write-ahead log into the file.
    fn transfer(&mut self) -> Result<(), rusqlite::Error> {
        self.logged = 0;
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    fn unsettle(&mut self) -> Result<(), rusqlite::Error> {
        match std::mem::take(&mut self.settled) {
            true => self.leave_as_is(),
            false => Ok(()),
        }
    }

    fn transact(&mut self, batch: &Batch) -> Result<usize, rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        let mut trimmed = 0;
        for (table, keys) in &batch.deletions {
            let sql = format!("DELETE FROM {} WHERE key BETWEEN ?1 AND ?2", name(*table));
            transaction.prepare_cached(&sql)?.execute(params![first(keys), last(keys)])?;
        }
        if let Some(trim) = &batch.trim {
            let (name, limit) = (name(trim.table), trim.limit as i64);
            let sql = format!(
                "DELETE FROM {name} WHERE key IN (SELECT key FROM {name} \
                 WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT ?3)"
            );
            let keys = params![first(&trim.keys), last(&trim.keys), limit];
            trimmed = transaction.prepare_cached(&sql)?.execute(keys)?;
        }
        insert(&transaction, &batch.records)?;
        transaction.commit()?;
        Ok(trimmed)
    }
}

impl Engine for SqliteEngine {
    fn write(&mut self, batch: &Batch) -> Result<usize, EngineError> {
        self.unsettle().map_err(described)?;
        let trimmed = self.transact(batch).map_err(described)?;
        self.logged += PAGES + batch.records.iter().map(|(.., it)| it.len()).sum::<usize>();
        if self.logged > TRANSFER {
            match self.transfer().map_err(described) {
                // What was committed is safe where it is, and the next transfer takes it along.
                Ok(()) | Err(EngineError::Full(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(trimmed)
    }

    fn read(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, EngineError> {
        let sql = format!("SELECT record FROM {} WHERE key = ?1", name(table));
        let mut select = self.connection.prepare_cached(&sql).map_err(described)?;
        let record = select.query_row([key as i64], |row| row.get(0));
        record.optional().map_err(described)
    }

    fn scan(
        &mut self,
        table: Table,
        keys: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let name = name(table);
        let sql =
            format!("SELECT key, record FROM {name} WHERE key BETWEEN ?1 AND ?2 ORDER BY key");
        let mut select = self.connection.prepare_cached(&sql).map_err(described)?;
        let mut rows = select.query(params![first(&keys), last(&keys)]).map_err(described)?;
        while let Some(row) = rows.next().map_err(described)? {
            let key: i64 = row.get(0).map_err(described)?;
            let record = row.get_ref(1).map_err(described)?;
            let record = record.as_blob().map_err(|it| EngineError::Damaged(it.to_string()))?;
            if !visit(key as u64, record) {
                break;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), EngineError> {
        match self.transfer().map_err(described) {
            Ok(()) => {}
            Err(EngineError::Full(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        let name = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        self.connection.set_db_config(name, false).map_err(described)?;
        self.settled = true;
        Ok(())
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        self.unsettle().map_err(described)?;
        let vacuum = "VACUUM; PRAGMA wal_checkpoint(TRUNCATE);";
        self.connection.execute_batch(vacuum).map_err(described)?;
        self.settle()
    }

    fn stats(&mut self) -> Result<EngineStats, EngineError> {
        let number = |name| {
            let value = self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            value.map(|it| it as u64).map_err(described)
        };
        let page = number("page_size")?;
        let (pages, free) = (number("page_count")?, number("freelist_count")?);
        Ok(EngineStats { bytes: pages * page, free_bytes: free * page })
    }

    fn verify(&mut self) -> Result<Vec<String>, EngineError> {
        let mut check = self.connection.prepare("PRAGMA integrity_check").map_err(described)?;
        let lines = check.query_map([], |row| row.get::<_, String>(0)).map_err(described)?;
        let lines: Result<Vec<_>, _> = lines.collect();
        Ok(lines.map_err(described)?.into_iter().filter(|line| line != "ok").collect())
    }
}

fn insert(
    transaction: &Transaction<'_>,
    records: &[(Table, u64, Vec<u8>)],
) -> Result<(), rusqlite::Error> {
    for table in Table::ALL {
        let mut of_table = records.iter().filter(|(it, ..)| *it == table).peekable();
        if of_table.peek().is_none() {
            continue;
        }
        let sql = format!("INSERT OR REPLACE INTO {} (key, record) VALUES (?1, ?2)", name(table));
        let mut insert = transaction.prepare_cached(&sql)?;
        for (_, key, record) in of_table {
            insert.execute(params![*key as i64, record])?;
        }
    }
    Ok(())
}

fn name(table: Table) -> &'static str {
    match table {
        Table::Head => "head",
        Table::Body => "body",
        Table::Log => "log",
        Table::Checkpoint => "checkpoint",
    }
}

/// Keys are counted from 0 and reach no negative number of SQLite's.
fn first(keys: &RangeInclusive<u64>) -> i64 {
    i64::try_from(*keys.start()).unwrap_or(i64::MAX)
}

fn last(keys: &RangeInclusive<u64>) -> i64 {
    i64::try_from(*keys.end()).unwrap_or(i64::MAX)
}

fn create(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)?.sync_all()?;
    // The file's name is to survive, too.
    sync_name(path)
}

/// Whether something is in the write-ahead log of the file at `path`.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|it| it.len() > 0)
}

fn described(error: rusqlite::Error) -> EngineError {
    let text = error.to_string();
    match error.sqlite_error() {
        // A sync that found no space is no "full": what is on disk is unknown after it.
        Some(it) if it.code == ErrorCode::DiskFull && it.extended_code == ffi::SQLITE_FULL => {
            EngineError::Full(text)
        }
        Some(it) if matches!(it.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            EngineError::Damaged(text)
        }
        _ => EngineError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That it then syncs where it has to is shown by power cuts, in the tests of the broker.
    #[test]
    fn sqlite_is_asked_to_sync_as_the_operator_said() {
        for (synchronous, expected) in [(Synchronous::Full, 2), (Synchronous::Normal, 1)] {
            let place = tempfile::tempdir().unwrap();
            let engine = SqliteEngine::open(&place.path().join("s"), synchronous).unwrap();
            let pragma = |name| {
                engine
                    .connection
                    .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                    .unwrap()
            };
            assert_eq!((pragma("synchronous"), pragma("wal_autocheckpoint")), (expected, 0));
        }
    }

    #[test]
    fn the_write_ahead_log_is_transferred_when_it_has_grown() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s");
        let mut engine = SqliteEngine::open(&path, Synchronous::Normal).unwrap();
        for key in 0..20 {
            let records = vec![(Table::Body, key, vec![7; 1 << 20])];
            engine.write(&Batch { records, ..Batch::default() }).unwrap();
        }
        assert!(path.metadata().unwrap().len() > 10 << 20, "the file has what was transferred");
        assert_eq!(engine.read(Table::Body, 0).unwrap().unwrap().len(), 1 << 20);
    }

    #[test]
    fn what_is_not_settled_stays_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s");
        let log = place.path().join("s-wal");
        let write = |engine: &mut SqliteEngine, key| {
            let records = vec![(Table::Body, key, vec![7; 5000])];
            engine.write(&Batch { records, ..Batch::default() }).unwrap();
        };
        let mut engine = SqliteEngine::open(&path, Synchronous::Normal).unwrap();
        write(&mut engine, 0);
        engine.settle().unwrap();
        write(&mut engine, 1);
        let before = [&path, &log].map(|it| std::fs::read(it).unwrap());
        drop(engine);
        assert!([&path, &log].map(|it| std::fs::read(it).unwrap()) == before);
        let mut engine = SqliteEngine::open(&path, Synchronous::Normal).unwrap();
        assert!(engine.read(Table::Body, 1).unwrap().is_some());
        engine.settle().unwrap();
        drop(engine);
        assert!(!log.exists());
    }
}
