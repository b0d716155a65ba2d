//! What the fuzz targets try here: bytes as a disk may give them back, with checksums that fit.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::{Batch, Engine, MemoryEngine, Table};
use crate::index::StoredUnit;
use crate::ledger::Head;
use crate::operation::Operation;
use crate::record::{self, Body, seal, unseal};
use crate::{CheckpointBounds, Damage, Ledger, MessageId, UnixMillis, Verify};

/// Longest content of a record that is made of `bytes`.
const LONGEST: usize = 255;

/// Reads `bytes` as each kind of record, and a store whose records they are.
///
/// # Panics
/// Where what was read is not written as it was, or a store that was given up on is damaged still.
pub fn records(bytes: &[u8]) {
    for table in Table::ALL {
        let _ = unseal(table, 0, bytes);
    }
    is_written_as_read::<Head>(bytes);
    is_written_as_read::<Operation>(bytes);
    is_written_as_read::<StoredUnit>(bytes);
    if let Ok((body, _)) = record::read::<Body<'_>>(bytes) {
        let sealed = body.seal(MessageId(1));
        assert_eq!(Body::unseal(MessageId(1), &sealed), Ok(body.clone()));
        if let Ok(stored) = body.message(MessageId(1)) {
            assert_eq!(stored.message.topic().as_str(), body.topic);
            assert_eq!(stored.message.payload(), body.payload);
        }
    }
    store(bytes);
}

/// Numbers have several forms that are read, and one that is written.
fn is_written_as_read<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok((value, _)) = record::read::<T>(bytes) else { return };
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    record::write(&value, &mut once);
    let again: T = record::read_whole(&once).expect("what was written can be read");
    record::write(&again, &mut twice);
    assert_eq!(once, twice);
}

/// Opens a store as it is after damage: what is wrong with it is told, and what can be read is served.
fn store(bytes: &[u8]) {
    let (mut ledger, damages) = load(engine(bytes));
    ledger.give_up(&damages).expect("memory takes it");
    ledger.finish(UnixMillis(1)).expect("memory takes it");
    let (_, damages) = load(copy(ledger.engine()));
    let damages: Vec<&Damage> = damages.iter().filter(|it| !it.is_harmless()).collect();
    assert!(damages.is_empty(), "given up, and still {damages:?}");
}

/// Table, key, length and content of each record.
fn engine(bytes: &[u8]) -> MemoryEngine {
    let mut batch = Batch::default();
    let mut rest = bytes;
    while let Some((&[table, key, length], behind)) = rest.split_first_chunk::<3>() {
        let (content, behind) = behind.split_at(behind.len().min(length.into()));
        rest = behind;
        let table = Table::ALL[usize::from(table) % Table::ALL.len()];
        let key = match table {
            Table::Head => 0,
            // Generation and number.
            Table::Checkpoint => u64::from(key >> 4) << 32 | u64::from(key & 0xF),
            Table::Body | Table::Log => key.into(),
        };
        let record = seal(table, key, |to| to.extend(&content[..content.len().min(LONGEST)]));
        batch.records.push((table, key, record));
    }
    let mut engine = MemoryEngine::default();
    engine.write(&batch).expect("memory takes it");
    engine
}

fn load(engine: MemoryEngine) -> (Ledger, Vec<Damage>) {
    let bounds = CheckpointBounds::default();
    Ledger::load(Box::new(engine), bounds, 0, Verify::All).expect("memory can be read")
}

fn copy(engine: &mut dyn Engine) -> MemoryEngine {
    let mut batch = Batch::default();
    for table in Table::ALL {
        let mut visit = |key, record: &[u8]| {
            batch.records.push((table, key, record.to_vec()));
            true
        };
        engine.scan(table, 0..=u64::MAX, &mut visit).expect("memory can be read");
    }
    let mut copy = MemoryEngine::default();
    copy.write(&batch).expect("memory takes it");
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordError;

    /// Table, key and content of each record.
    fn stored(records: &[(u8, u8, &[u8])]) -> Vec<u8> {
        let record = |(table, key, content): &(u8, u8, &[u8])| {
            [&[*table, *key, content.len() as u8], *content].concat()
        };
        records.iter().flat_map(record).collect()
    }

    #[test]
    fn a_head_that_counts_pieces_without_end_is_told_of_briefly() {
        let head = [1, 1, 1, 1, 0xC0, 0x84, 0x3D, 2];
        let bytes = stored(&[(0, 0, &head), (3, 0x1F, &[0])]);
        let (_, damages) = load(engine(&bytes));
        let missing = damages.iter().filter(|it| matches!(it, Damage::NoCheckpoint { .. }));
        assert!((1..1000).contains(&missing.count()), "{} damages", damages.len());
        records(&bytes);
    }

    #[test]
    fn a_head_whose_generations_do_not_fit_a_key_is_none_of_ours() {
        let head = [0, 0, 0, 0x17, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0];
        let bytes = stored(&[(3, 0x04, &[]), (0, 0, &head)]);
        let (_, damages) = load(engine(&bytes));
        assert!(damages.contains(&Damage::Head(RecordError::Content)), "{damages:?}");
        records(&bytes);
    }

    #[test]
    fn a_store_of_odd_records_is_opened_or_given_up_on() {
        let head = [2, 9, 0, 0, 0, 0];
        for bytes in [
            Vec::new(),
            stored(&[(0, 0, &head)]),
            stored(&[(0, 0, &head), (2, 1, &[1, 1, 1, b'a', 1, b'b']), (2, 2, &[2])]),
            stored(&[(0, 0, b"?"), (1, 7, b"??"), (3, 0x10, &[1, 9])]),
        ] {
            records(&bytes);
        }
    }
}
