//! Records: how bytes on disk show that they are what was written, and where.
//!
//! A record is its version (one byte), a CRC-32 over table, key, version and content (four bytes, least
//! significant first), and its content. A record that stands under another's key does not fit.

use std::num::NonZeroU32;

use hookmq_codec::{Qos, TopicName};
use hookmq_core::{Message, NewMessage};
use serde::{Deserialize, Serialize, Serializer};

use crate::engine::Table;
use crate::{InFlight, MessageId, NewRecord, Reference, UnixMillis, WallClock};

/// The version that is written; it and those before it can be read.
pub const FORMAT: u8 = 1;

const HEADER: usize = 5;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("its checksum does not fit")]
    Checksum,
    #[error("it is of version {0}, and this broker reads versions up to {FORMAT}")]
    Newer(u8),
    #[error("its content cannot be read")]
    Content,
}

/// Wraps what `write` appends.
pub(crate) fn seal(table: Table, key: u64, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    // Most messages fit, so that writing does not move what is written.
    let mut record = Vec::with_capacity(512);
    record.extend([FORMAT, 0, 0, 0, 0]);
    write(&mut record);
    let checksum = checksum(table, key, FORMAT, &record[HEADER..]);
    record[1..HEADER].copy_from_slice(&checksum.to_le_bytes());
    record
}

pub(crate) fn unseal(table: Table, key: u64, record: &[u8]) -> Result<&[u8], RecordError> {
    let (header, content) = record.split_first_chunk::<HEADER>().ok_or(RecordError::Checksum)?;
    let [version, stored @ ..] = *header;
    if u32::from_le_bytes(stored) != checksum(table, key, version, content) {
        return Err(RecordError::Checksum);
    }
    if version > FORMAT {
        return Err(RecordError::Newer(version));
    }
    Ok(content)
}

fn checksum(table: Table, key: u64, version: u8, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[table as u8, version]);
    hasher.update(&key.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// Appends `value` in postcard's format.
pub(crate) fn write(value: &impl Serialize, to: &mut Vec<u8>) {
    let written = postcard::to_extend(value, std::mem::take(to));
    *to = written.expect("what is written has no unknown length and memory grows");
}

/// The next value of `content`, and what is behind it.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    content: &'a [u8],
) -> Result<(T, &'a [u8]), RecordError> {
    postcard::take_from_bytes(content).map_err(|_| RecordError::Content)
}

/// One value and nothing else.
pub(crate) fn read_whole<'a, T: Deserialize<'a>>(content: &'a [u8]) -> Result<T, RecordError> {
    match read(content)? {
        (value, []) => Ok(value),
        _ => Err(RecordError::Content),
    }
}

/// A message as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Body<'a> {
    pub topic: &'a str,
    #[serde(serialize_with = "at_once")]
    pub forwarded_properties: &'a [u8],
    #[serde(serialize_with = "at_once")]
    pub payload: &'a [u8],
    pub qos: u8,
    pub retain: bool,
    pub stored_at: UnixMillis,
    pub expires_at: Option<UnixMillis>,
}

/// Bytes as a whole: serde's own way is one by one, with the same result.
fn at_once<S: Serializer>(bytes: &&[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// A message that was read back.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    pub id: MessageId,
    /// Without expiry: `expires_at` has it, and the clock may have been set since.
    pub message: Message,
    pub stored_at: UnixMillis,
    pub expires_at: Option<UnixMillis>,
}

impl<'a> Body<'a> {
    pub(crate) fn of(record: &'a NewRecord, stored_at: UnixMillis) -> Self {
        let message = &record.message;
        Self {
            topic: message.topic().as_str(),
            forwarded_properties: message.forwarded_properties(),
            payload: message.payload(),
            qos: message.qos() as u8,
            retain: message.retain(),
            stored_at,
            expires_at: record.expires_at,
        }
    }

    /// # Errors
    /// `Content` where no broker has written this.
    pub(crate) fn message(&self, id: MessageId) -> Result<StoredMessage, RecordError> {
        let message = Message::new(NewMessage {
            topic: TopicName::new(self.topic).map_err(|_| RecordError::Content)?,
            forwarded_properties: self.forwarded_properties,
            payload: self.payload,
            qos: Qos::from_bits(self.qos).ok_or(RecordError::Content)?,
            retain: self.retain,
            expires_at: None,
            publisher: 0,
        });
        Ok(StoredMessage { id, message, stored_at: self.stored_at, expires_at: self.expires_at })
    }

    pub(crate) fn seal(&self, id: MessageId) -> Vec<u8> {
        seal(Table::Body, id.0, |to| write(self, to))
    }

    pub(crate) fn unseal(id: MessageId, record: &'a [u8]) -> Result<Self, RecordError> {
        read_whole(unseal(Table::Body, id.0, record)?)
    }
}

impl StoredMessage {
    /// The message as the broker handles it from now on, with its expiry on the broker's own clock.
    pub fn into_message(self, clock: &WallClock) -> Message {
        let ends = self.expires_at.and_then(|ends| clock.instant(self.stored_at, ends));
        let message = Message::new(NewMessage { expires_at: ends, ..self.message.parts() });
        message.set_stored(self.id.0);
        message
    }
}

/// One message of a page: as its queue is due it.
#[derive(Debug, Clone)]
pub struct StoredDelivery {
    pub stored: StoredMessage,
    pub qos: Qos,
    pub retain: bool,
    pub subscription_identifiers: Vec<NonZeroU32>,
}

impl StoredDelivery {
    pub(crate) fn new(stored: StoredMessage, reference: &Reference) -> Self {
        Self {
            stored,
            qos: reference.qos(),
            retain: reference.retain(),
            subscription_identifiers: reference.subscription_identifiers().to_vec(),
        }
    }
}

/// What a session had under way, with the message where it is to be sent again.
#[derive(Debug, Clone)]
pub struct StoredInFlight {
    pub slot: InFlight,
    pub delivery: Option<StoredDelivery>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_shows_every_flipped_bit_and_a_wrong_place() {
        let record = seal(Table::Log, 7, |to| to.extend(b"content"));
        assert_eq!(unseal(Table::Log, 7, &record), Ok(&b"content"[..]));
        assert_eq!(unseal(Table::Log, 8, &record), Err(RecordError::Checksum));
        assert_eq!(unseal(Table::Body, 7, &record), Err(RecordError::Checksum));
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(Table::Log, 7, &flipped).is_err(), "bit {bit}");
        }
        for length in 0..record.len() {
            assert!(unseal(Table::Log, 7, &record[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_told_from_a_damaged_one() {
        let mut record = vec![FORMAT + 1, 0, 0, 0, 0, 42];
        let checksum = checksum(Table::Log, 1, FORMAT + 1, &[42]);
        record[1..HEADER].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(unseal(Table::Log, 1, &record), Err(RecordError::Newer(FORMAT + 1)));
    }
}
