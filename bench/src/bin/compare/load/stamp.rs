//! What each payload says of itself: who sent it, which it is, and when it was due.

/// How a stamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// 20 bytes, and others up to the payload's length.
    Binary,
    /// A JSON object whose first field holds the stamp, also after its fields were sorted.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub publisher: u32,
    pub sequence: u64,
    /// Nanoseconds since the load began.
    pub due: u64,
}

/// Bytes of a stamp.
const LENGTH: usize = 20;
/// What stands before the digits in an object.
const OPENING: &[u8] = b"{\"a\":\"";
const CLOSING: &[u8] = b"\",\"temperature\":21.5}";

impl Form {
    /// A payload of `length` bytes, or of as many as a stamp needs.
    pub fn payload(self, length: usize) -> Vec<u8> {
        match self {
            Self::Binary => vec![b'.'; length.max(LENGTH)],
            Self::Json => [OPENING, &[b'0'; 2 * LENGTH], CLOSING].concat(),
        }
    }

    /// Writes the stamp into a payload that [`Self::payload`] has made.
    #[inline]
    pub fn write(self, stamp: Stamp, payload: &mut [u8]) {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&stamp.publisher.to_le_bytes());
        bytes[4..12].copy_from_slice(&stamp.sequence.to_le_bytes());
        bytes[12..].copy_from_slice(&stamp.due.to_le_bytes());
        match self {
            Self::Binary => payload[..LENGTH].copy_from_slice(&bytes),
            Self::Json => {
                let digits = payload[OPENING.len()..].chunks_exact_mut(2);
                for (digits, byte) in digits.zip(bytes) {
                    digits.copy_from_slice(&[b'a' + (byte >> 4), b'a' + (byte & 15)]);
                }
            }
        }
    }

    /// The stamp of a payload; none where there is none.
    #[inline]
    pub fn read(self, payload: &[u8]) -> Option<Stamp> {
        let mut bytes = [0; LENGTH];
        match self {
            Self::Binary => bytes.copy_from_slice(payload.get(..LENGTH)?),
            Self::Json => {
                let digits = payload.strip_prefix(OPENING)?.get(..2 * LENGTH)?;
                for (digits, byte) in digits.chunks_exact(2).zip(&mut bytes) {
                    let digit = |digit: u8| digit.checked_sub(b'a').filter(|digit| *digit < 16);
                    *byte = digit(digits[0])? << 4 | digit(digits[1])?;
                }
            }
        }
        let (publisher, rest) = bytes.split_first_chunk()?;
        let (sequence, due) = rest.split_first_chunk()?;
        Some(Stamp {
            publisher: u32::from_le_bytes(*publisher),
            sequence: u64::from_le_bytes(*sequence),
            due: u64::from_le_bytes(*due.first_chunk()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { publisher: 7, sequence: u64::MAX - 3, due: 0x0123_4567_89ab_cdef };
        for form in [Form::Binary, Form::Json] {
            let mut payload = form.payload(64);
            form.write(stamp, &mut payload);
            assert_eq!(form.read(&payload), Some(stamp));
            assert_eq!(form.read(&payload[..LENGTH - 1]), None);
            assert_eq!(form.read(b""), None);
        }
    }

    #[test]
    fn a_stamped_object_is_json_and_survives_being_written_anew() {
        let stamp = Stamp { publisher: 1, sequence: 2, due: 3 };
        let mut payload = Form::Json.payload(64);
        Form::Json.write(stamp, &mut payload);
        let mut object: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
        object["received_at"] = 1.into();
        let written = serde_json::to_vec(&object).expect("JSON");
        assert_ne!(written, payload);
        assert_eq!(Form::Json.read(&written), Some(stamp));
    }
}
