//! WebSocket frames (RFC 6455, section 5) on the server's side: a state machine without I/O.
//!
//! MQTT packets take no notice of frames `[MQTT-6.0.0-2]`, so payloads are handed on as they come, in
//! the buffer that they came in, and no message is ever put together. What is kept of a connection
//! is the header of the present frame.

/// Reads frames from a client. Feed it all bytes, in order.
#[derive(Debug)]
pub struct FrameReader {
    /// Bytes that one message may have, over all its frames.
    maximum: u64,
    /// The header so far, where it is not whole.
    header: [u8; LONGEST_HEADER],
    header_length: usize,
    frame: Option<Frame>,
    /// Bytes of the message so far, its last frame being still to come.
    message: Option<u64>,
    /// Payload of a control frame that is not whole.
    control: Vec<u8>,
}

/// A frame whose header is known.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    remaining: u64,
    mask: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Data,
    Close,
    Ping,
    Pong,
}

/// What the client is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Demand {
    /// A pong with this payload. Where several pings came, the last counts (section 5.5.3).
    Pong(Vec<u8>),
    /// The client closes; nothing comes after it.
    Close,
    /// The client breaks the protocol or a bound, and is not listened to any more.
    Refuse(Violation),
}

/// Why a client is not listened to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("a WebSocket frame that the protocol forbids: {0}")]
    Protocol(&'static str),
    /// `[MQTT-6.0.0-1]`
    #[error("a WebSocket text frame")]
    Text,
    #[error("a WebSocket message above the maximum packet size")]
    TooBig,
}

/// The meaning of a close frame (section 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    Normal = 1000,
    ProtocolError = 1002,
    UnsupportedData = 1003,
    MessageTooBig = 1009,
}

/// Two bytes, a length of eight, a mask of four.
const LONGEST_HEADER: usize = 14;

/// Of a control frame's payload (section 5.5).
const LONGEST_CONTROL: u64 = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

impl FrameReader {
    pub fn new(maximum: u32) -> Self {
        Self {
            maximum: maximum.into(),
            header: [0; LONGEST_HEADER],
            header_length: 0,
            frame: None,
            message: None,
            control: Vec::new(),
        }
    }

    /// Takes what was read and moves the payload in it to its beginning, unmasked. Gives the payload's
    /// length, and what the client is to be answered. Do not call it again where that is the end.
    pub fn read(&mut self, bytes: &mut [u8]) -> (usize, Option<Demand>) {
        let mut length = 0;
        let demand = self.read_frames(bytes, &mut length);
        (length, demand.unwrap_or_else(|violation| Some(Demand::Refuse(violation))))
    }

    fn read_frames(
        &mut self,
        bytes: &mut [u8],
        to: &mut usize,
    ) -> Result<Option<Demand>, Violation> {
        let mut from = 0;
        let mut demand = None;
        while from < bytes.len() || self.frame.as_ref().is_some_and(|frame| frame.remaining == 0) {
            let Some(frame) = &mut self.frame else {
                from += self.read_header(&bytes[from..])?;
                continue;
            };
            let length = usize::try_from(frame.remaining).unwrap_or(usize::MAX);
            let length = length.min(bytes.len() - from);
            let payload = from..from + length;
            from += length;
            frame.unmask(&mut bytes[payload.clone()]);
            let (opcode, is_whole) = (frame.opcode, frame.remaining == 0);
            match opcode {
                Opcode::Data => {
                    bytes.copy_within(payload, *to);
                    *to += length;
                }
                Opcode::Close | Opcode::Ping => self.control.extend_from_slice(&bytes[payload]),
                Opcode::Pong => {}
            }
            if is_whole {
                self.frame = None;
                match opcode {
                    Opcode::Ping => demand = Some(Demand::Pong(std::mem::take(&mut self.control))),
                    Opcode::Close => return Ok(Some(Demand::Close)),
                    Opcode::Data | Opcode::Pong => {}
                }
            }
        }
        Ok(demand)
    }

    /// Takes bytes of a header; gives how many.
    fn read_header(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut taken = 0;
        for &byte in bytes {
            self.header[self.header_length] = byte;
            self.header_length += 1;
            taken += 1;
            let header = &self.header[..self.header_length];
            if header.len() == 2 {
                check_flags(header[0], header[1])?;
            }
            if let Some((length, mask)) = whole_header(header) {
                self.header_length = 0;
                self.frame = Some(self.begin(length, mask)?);
                break;
            }
        }
        Ok(taken)
    }

    fn begin(&mut self, length: u64, mask: u32) -> Result<Frame, Violation> {
        let first = self.header[0];
        let is_final = first & FINAL != 0;
        let opcode = match first & 0x0F {
            0x0 | 0x2 => {
                let before = self.message.unwrap_or(0);
                let total = before.checked_add(length).filter(|total| *total <= self.maximum);
                let total = total.ok_or(Violation::TooBig)?;
                match (first & 0x0F, self.message.is_some()) {
                    (0x0, false) => return Err(Violation::Protocol("nothing is continued")),
                    (0x2, true) => return Err(Violation::Protocol("a message within another")),
                    _ => self.message = (!is_final).then_some(total),
                }
                Opcode::Data
            }
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            _ => Opcode::Pong,
        };
        Ok(Frame { opcode, remaining: length, mask })
    }
}

/// What the first two bytes tell, before the rest of the header is waited for.
fn check_flags(first: u8, second: u8) -> Result<(), Violation> {
    let opcode = first & 0x0F;
    match opcode {
        0x0 | 0x2 | 0x8..=0xA => {}
        0x1 => return Err(Violation::Text),
        _ => return Err(Violation::Protocol("an unknown opcode")),
    }
    if first & RESERVED != 0 {
        return Err(Violation::Protocol("an extension that was not agreed on"));
    }
    if second & MASKED == 0 {
        return Err(Violation::Protocol("a client's frame is not masked"));
    }
    let is_control = opcode & 0x8 != 0;
    let is_long = u64::from(second & !MASKED) > LONGEST_CONTROL;
    if is_control && (first & FINAL == 0 || is_long) {
        return Err(Violation::Protocol("a control frame is fragmented or too long"));
    }
    Ok(())
}

/// The payload's length and the mask, as soon as the header is whole.
fn whole_header(header: &[u8]) -> Option<(u64, u32)> {
    let (extended, length) = match header.get(1)? & !MASKED {
        126 => (2, u16::from_be_bytes(header.get(2..4)?.try_into().ok()?).into()),
        127 => (8, u64::from_be_bytes(header.get(2..10)?.try_into().ok()?)),
        length => (0, u64::from(length)),
    };
    let mask = header.get(2 + extended..6 + extended)?;
    Some((length, u32::from_be_bytes(mask.try_into().ok()?)))
}

impl Frame {
    /// Removes the mask of the frame's next bytes (section 5.3).
    fn unmask(&mut self, bytes: &mut [u8]) {
        let (words, rest) = bytes.as_chunks_mut::<4>();
        for word in words {
            *word = (u32::from_be_bytes(*word) ^ self.mask).to_be_bytes();
        }
        for byte in rest {
            *byte ^= self.mask.to_be_bytes()[0];
            self.mask = self.mask.rotate_left(8);
        }
        self.remaining -= bytes.len() as u64;
    }
}

/// Writes the header of a binary frame with this much payload.
pub fn write_binary_header(length: usize, out: &mut Vec<u8>) {
    write_header(0x2, length, out);
}

pub fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write_header(0xA, payload.len(), out);
    out.extend_from_slice(payload);
}

pub fn write_close(code: CloseCode, out: &mut Vec<u8>) {
    write_header(0x8, 2, out);
    out.extend_from_slice(&(code as u16).to_be_bytes());
}

/// A server's frames are not masked (section 5.1).
fn write_header(opcode: u8, length: usize, out: &mut Vec<u8>) {
    out.push(FINAL | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

impl From<Violation> for CloseCode {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::Protocol(_) => Self::ProtocolError,
            Violation::Text => Self::UnsupportedData,
            Violation::TooBig => Self::MessageTooBig,
        }
    }
}

#[cfg(test)]
mod tests;
