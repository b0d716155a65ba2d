//! Requests of the admin API that have a number, and their answers.

use std::collections::HashMap;

use super::super::calls::Call;
use super::Event;

/// A request has its number in this header, and a connection of its own.
pub const HEADER: &str = "Recorded-Request";

/// Those without an answer, by their sockets.
#[derive(Default)]
pub struct Requests(HashMap<String, u32>);

impl Requests {
    /// The request that begins with `data`, if it does.
    pub fn heard(&mut self, socket: &str, data: &[u8]) -> Option<Event> {
        let is_request = [&b"PUT "[..], b"POST ", b"DELETE "].iter().any(|it| data.starts_with(it));
        let text = is_request.then(|| String::from_utf8_lossy(data))?;
        let number = text.lines().find_map(|line| line.strip_prefix(HEADER)?.strip_prefix(": "))?;
        let number = number.parse().expect("a number");
        self.0.insert(socket.to_owned(), number);
        Some(Event::Asked(number))
    }

    /// What a call that writes begins to answer, which is in one piece.
    pub fn answer(&self, call: &Call<'_>) -> Option<Event> {
        if !matches!(call.name, "write" | "writev" | "sendto") {
            return None;
        }
        let request = *self.0.get(call.file(0)?)?;
        let granted = call.data(1).starts_with(b"HTTP/1.1 2");
        Some(Event::Answered { request, granted })
    }

    pub fn closed(&mut self, socket: &str) {
        self.0.remove(socket);
    }
}
