//! As much of WebSocket as a client needs that sends bytes and gets bytes (RFC 6455).

use std::io::{self, ErrorKind, Read, Write};

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
/// A last frame of bytes, masked.
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;
/// Browsers take a new one each time. What undoing it costs is the same.
const MASK: [u8; 4] = [0xa5, 0x3c, 0x5a, 0xc3];

/// Where in a frame the bytes so far have ended.
#[derive(Debug, Default)]
pub struct Reader {
    header: Vec<u8>,
    /// Bytes of payload that are still to come.
    payload: u64,
}

/// Asks for a WebSocket, and waits until it is there.
pub fn upgrade(socket: &mut (impl Read + Write)) -> io::Result<()> {
    socket.write_all(REQUEST)?;
    let mut head = Vec::new();
    // Byte by byte, as a frame may follow at once.
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(()),
        false => Err(io::Error::other("no WebSocket")),
    }
}

/// Appends one frame with all of `bytes`.
pub fn write(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(BINARY);
    match bytes.len() {
        length @ 0..126 => out.push(MASKED | length as u8),
        length @ 126..65_536 => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(bytes);
    let words = out[start..].chunks_mut(MASK.len());
    words.for_each(|word| word.iter_mut().zip(MASK).for_each(|(byte, mask)| *byte ^= mask));
}

impl Reader {
    /// Moves the payloads in `bytes` to the front; how many bytes they are.
    pub fn strip(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (mut read, mut written) = (0, 0);
        while read < bytes.len() {
            if self.payload == 0 {
                self.header.push(bytes[read]);
                read += 1;
                self.payload = self.header_end()?.unwrap_or(0);
                continue;
            }
            let length = (self.payload).min((bytes.len() - read) as u64) as usize;
            bytes.copy_within(read..read + length, written);
            (read, written) = (read + length, written + length);
            self.payload -= length as u64;
        }
        Ok(written)
    }

    /// The length of the payload, once the header is whole, which then is forgotten.
    fn header_end(&mut self) -> io::Result<Option<u64>> {
        let length = match *self.header.as_slice() {
            [first, ..] if first != BINARY && first != 0 && first != 0x02 && first != 0x80 => {
                return Err(io::Error::new(ErrorKind::InvalidData, "no frame with bytes"));
            }
            [_, length @ 0..=125] => length.into(),
            [_, 126, high, low] => u16::from_be_bytes([high, low]).into(),
            [_, 127, ref length @ ..] if length.len() == 8 => {
                length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
            }
            [_, masked, ..] if masked & MASKED != 0 => {
                return Err(io::Error::new(ErrorKind::InvalidData, "a server's frame is masked"));
            }
            _ => return Ok(None),
        };
        self.header.clear();
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        write(&vec![7; length], &mut frame);
        // As a server sends it.
        let header = frame.len() - length - MASK.len();
        frame[1] &= !MASKED;
        frame.drain(header..header + MASK.len());
        frame[header..].fill(7);
        frame
    }

    #[test]
    fn payloads_are_found_however_the_bytes_come() {
        let stream: Vec<u8> = [1, 0, 125, 126, 70_000].into_iter().flat_map(frame).collect();
        for step in [1, 2, 3, 1000, stream.len()] {
            let mut reader = Reader::default();
            let mut payload = 0;
            for piece in stream.chunks(step) {
                let mut piece = piece.to_vec();
                let length = reader.strip(&mut piece).expect("frames with bytes");
                assert!(piece[..length].iter().all(|byte| *byte == 7));
                payload += length;
            }
            assert_eq!(payload, 1 + 125 + 126 + 70_000, "in steps of {step}");
        }
    }

    #[test]
    fn what_a_client_sends_is_masked() {
        let mut out = Vec::new();
        write(b"hello", &mut out);
        assert_eq!(out[..2], [BINARY, MASKED | 5]);
        let unmasked: Vec<_> =
            out[6..].iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        assert_eq!(unmasked, b"hello");
    }

    #[test]
    fn a_close_is_an_error() {
        assert!(Reader::default().strip(&mut [0x88, 0]).is_err());
    }
}
