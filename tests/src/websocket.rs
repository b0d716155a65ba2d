//! A WebSocket client that writes request and frames by hand, so that it can misbehave.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::wire::{Wire, is_end};

/// Set on the last frame of a message.
pub const FINAL: u8 = 0x80;
pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// An open WebSocket. As a [`Wire`] it carries bytes in binary frames.
pub struct WebSocket {
    wire: Box<dyn Wire>,
    /// The response to the upgrade.
    pub response: Response,
    framing: Framing,
    /// Bytes that belong to no whole frame yet.
    incoming: Vec<u8>,
    /// Payload that was not read yet.
    payload: Vec<u8>,
}

/// How bytes that are written become frames.
#[derive(Clone, Copy)]
pub enum Framing {
    /// What is written at once is a message of one frame.
    Whole,
    /// Messages of so many bytes.
    Messages(usize),
    /// One message, in frames of so many bytes.
    Fragments(usize),
}

/// An HTTP response without a body.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    head: String,
}

/// A request for `path` with these headers besides those of a WebSocket.
pub fn request(path: &str, headers: &[(&str, &str)]) -> String {
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// A request that is granted where nothing is configured.
pub fn polite_request() -> String {
    request("/mqtt", &[("Sec-WebSocket-Protocol", "mqtt")])
}

/// A frame as a client sends it; `first` is the opcode, with [`FINAL`] or without.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0xA5, 0x00, 0xFF, 0x3C];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

impl WebSocket {
    /// Upgrades politely.
    pub fn open(wire: impl Wire + 'static) -> Self {
        Self::attempt(wire, &polite_request()).expect("the upgrade is granted")
    }

    /// Sends `request`.
    ///
    /// # Errors
    /// The response that refuses, after which the broker has closed.
    pub fn attempt(wire: impl Wire + 'static, request: &str) -> Result<Self, Response> {
        let mut wire: Box<dyn Wire> = Box::new(wire);
        wire.write_all(request.as_bytes()).expect("send the request");
        let response = Response::read(&mut wire).expect("a response");
        if response.status != 101 {
            match wire.read_to_end(&mut Vec::new()) {
                Err(error) if !is_end(&error) => panic!("no end behind a refusal: {error}"),
                _ => return Err(response),
            }
        }
        let framing = Framing::Whole;
        Ok(Self { wire, response, framing, incoming: Vec::new(), payload: Vec::new() })
    }

    #[must_use]
    pub fn with_framing(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_raw(&frame(first, payload));
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).expect("send to the broker");
    }

    /// Sends as much as the broker takes before it closes.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> bool {
        self.wire.write_all(bytes).is_ok()
    }

    /// The next frame's opcode and payload; none where the broker closes instead. A server's frames
    /// are final here, and never masked.
    pub fn receive_frame(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some((opcode, payload, length)) = whole_frame(&self.incoming) {
                self.incoming.drain(..length);
                return Ok(Some((opcode, payload)));
            }
            let mut bytes = [0; 16 * 1024];
            match self.wire.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(read) => self.incoming.extend_from_slice(&bytes[..read]),
                Err(error) if is_end(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// A close frame with this code, and the end.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) {
        let received = self.receive_frame().expect("a frame in time");
        assert_eq!(received, Some((CLOSE, code.to_be_bytes().to_vec())));
        assert_eq!(self.receive_frame().expect("an end in time"), None);
    }
}

fn whole_frame(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(first & 0xF0, FINAL, "a frame of several, or of an extension");
    let (header, length) = match second {
        length @ 0..=125 => (2, usize::from(length)),
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (10, usize::try_from(length).expect("a length"))
        }
        _ => panic!("a server does not mask its frames"),
    };
    let payload = bytes.get(header..header + length)?.to_vec();
    Some((first & 0x0F, payload, header + length))
}

impl Read for WebSocket {
    /// Payload of binary frames, up to a close frame. Pongs are passed over.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.payload.is_empty() {
            match self.receive_frame()? {
                None | Some((CLOSE, _)) => return Ok(0),
                Some((BINARY, payload)) => self.payload = payload,
                Some((PONG, _)) => {}
                Some(other) => panic!("a frame that no server sends here: {other:?}"),
            }
        }
        let length = buffer.len().min(self.payload.len());
        buffer[..length].copy_from_slice(&self.payload[..length]);
        self.payload.drain(..length);
        Ok(length)
    }
}

impl Write for WebSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let frames = match self.framing {
            Framing::Whole => frame(FINAL | BINARY, bytes),
            Framing::Messages(length) => {
                bytes.chunks(length).flat_map(|chunk| frame(FINAL | BINARY, chunk)).collect()
            }
            Framing::Fragments(length) => {
                let mut first = BINARY;
                let mut frames = Vec::new();
                for chunk in bytes.chunks(length) {
                    frames.extend(frame(first, chunk));
                    first = CONTINUATION;
                }
                frames.extend(frame(FINAL | CONTINUATION, &[]));
                frames
            }
        };
        self.wire.write_all(&frames)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }
}

impl Wire for WebSocket {
    fn set_read_timeout(&self, timeout: Duration) {
        self.wire.set_read_timeout(timeout);
    }

    fn end_output(&mut self) {
        self.wire.end_output();
    }
}

impl Response {
    /// Reads the head, and nothing behind it; none where the broker closes instead.
    pub fn read(wire: &mut dyn Read) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            wire.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head in ASCII");
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        Some(Self { status: status.expect("a status"), head })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(it, _)| it.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    }
}
