//! What `strace` has seen of a broker: which messages were durable when, and what was acknowledged then.

use std::collections::{HashMap, HashSet};

/// A message of a test: a publisher, counted from 0 in the order of their CONNACKs, and a number,
/// counted from 1 in the order of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Marked {
    pub publisher: u32,
    pub number: u32,
}

impl Marked {
    /// What its payload begins with. SQLite has so few bytes in one piece.
    pub fn text(self) -> String {
        format!("m{:03}-{:07};", self.publisher, self.number)
    }

    /// All that `data` holds.
    pub fn all_in(data: &str) -> impl Iterator<Item = Self> {
        data.match_indices('m').filter_map(|(at, _)| {
            let (publisher, rest) = data.get(at + 1..at + 13)?.split_once('-')?;
            let number = rest.strip_suffix(';')?.parse().ok()?;
            Some(Self { publisher: publisher.parse().ok()?, number })
        })
    }
}

/// The lines of one trace, in the order in which the tracer has seen the calls begin and end.
#[derive(Debug, Default)]
pub struct Trace {
    /// In the log of the store, and not in the reach of a sync that has begun.
    written: Vec<Marked>,
    /// By thread: calls that have begun and not ended.
    under_way: HashMap<String, Begun>,
    pub durable: HashSet<Marked>,
    /// By file descriptor: who has it, and how much was acknowledged.
    connections: HashMap<String, (u32, u32)>,
    admitted: u32,
    pub acknowledged: u64,
    /// Acknowledgements of what was not durable.
    pub early: Vec<Marked>,
    /// The call that was made to fail.
    pub fault: Option<String>,
    /// Calls that were begun behind it and change what is on disk.
    pub behind_fault: Vec<String>,
}

#[derive(Debug)]
enum Begun {
    Write(Vec<Marked>),
    Sync(Vec<Marked>),
    Other,
}

/// The calls that write to files or change them.
pub const WRITING: &str = "pwrite64,fsync,fdatasync,ftruncate,unlink,unlinkat";

/// What a message goes into before it is acknowledged.
const LOG: &str = "/store.sqlite-wal>";

impl Trace {
    /// Takes in a line.
    pub fn line(&mut self, line: &str) {
        let Some((thread, call)) = line.split_once(' ') else { return };
        let call = call.trim_start();
        if call.starts_with("<...") {
            if let Some(begun) = self.under_way.remove(thread) {
                self.end(begun, call);
            }
        } else if call.split_once('(').is_some() {
            let begun = self.begin(call);
            match call.ends_with("<unfinished ...>") {
                true => _ = self.under_way.insert(thread.to_owned(), begun),
                false => self.end(begun, call),
            }
        }
    }

    fn begin(&mut self, call: &str) -> Begun {
        let (name, arguments) = call.split_once('(').expect("a call has arguments");
        if self.fault.is_some() && WRITING.split(',').any(|it| it == name) {
            self.behind_fault.push(call.chars().take(150).collect());
        }
        let (file, data) = arguments.split_once(", ").unwrap_or((arguments, ""));
        let is_log = file.split([')', ' ']).next().is_some_and(|it| it.ends_with(LOG));
        match name {
            "pwrite64" if is_log => Begun::Write(Marked::all_in(data).collect()),
            "fsync" | "fdatasync" if is_log => Begun::Sync(std::mem::take(&mut self.written)),
            "sendto" | "write" if file.contains("<socket:") => {
                self.sent(file, &bytes(data));
                Begun::Other
            }
            "writev" if file.contains("<socket:") => panic!("not read here: {call}"),
            _ => Begun::Other,
        }
    }

    fn end(&mut self, begun: Begun, call: &str) {
        let failed = call.contains(" = -1 ");
        if call.ends_with("(INJECTED)") && failed {
            self.fault = Some(call.chars().take(150).collect());
        }
        match begun {
            Begun::Write(marked) if !failed => self.written.extend(marked),
            Begun::Sync(marked) if !failed => self.durable.extend(marked),
            _ => {}
        }
    }

    /// Packets for a client, from their first byte on.
    fn sent(&mut self, file: &str, mut packets: &[u8]) {
        const CONNACK: u8 = 0x20;
        const PUBACK: u8 = 0x40;
        while let [kind, length, rest @ ..] = packets {
            if *kind == CONNACK {
                self.connections.insert(file.to_owned(), (self.admitted, 0));
                self.admitted += 1;
            }
            if *kind == PUBACK
                && let Some((publisher, number)) = self.connections.get_mut(file)
            {
                *number += 1;
                let marked = Marked { publisher: *publisher, number: *number };
                self.acknowledged += 1;
                if !self.durable.contains(&marked) {
                    self.early.push(marked);
                }
            }
            // All that is sent here is short.
            packets = rest.get(usize::from(*length)..).unwrap_or_default();
        }
    }
}

/// What the string in `arguments` stands for.
pub fn bytes(arguments: &str) -> Vec<u8> {
    let mut characters = arguments.bytes().skip_while(|it| *it != b'"').skip(1).peekable();
    let mut bytes = Vec::new();
    while let Some(byte) = characters.next() {
        match byte {
            b'"' => break,
            b'\\' => {
                let mut octal = String::new();
                while octal.len() < 3
                    && let Some(digit) = characters.next_if(|it| (b'0'..=b'7').contains(it))
                {
                    octal.push(char::from(digit));
                }
                bytes.push(match octal.is_empty() {
                    false => u8::from_str_radix(&octal, 8).expect("three digits at most"),
                    true => match characters.next().expect("a character behind a backslash") {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        b'v' => 0x0b,
                        b'f' => 0x0c,
                        itself => itself,
                    },
                });
            }
            byte => bytes.push(byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str =
        r#"7 pwrite64(9</d/store.sqlite-wal>, "\0\1m000-0000001;\7", 4096, 56) = 4096"#;
    const SYNC: &str = "7 fdatasync(9</d/store.sqlite-wal>) = 0";
    const CONNACK: &str = r#"8 sendto(5<socket:[1]>, " \2\0\0", 4, MSG_NOSIGNAL, NULL, 0) = 4"#;
    const PUBACK: &str = r#"8 sendto(5<socket:[1]>, "@\2\0\1", 4, MSG_NOSIGNAL, NULL, 0) = 4"#;

    /// Acknowledgements, and those of them that came too early.
    fn judged(lines: &[&str]) -> (u64, usize) {
        let mut trace = Trace::default();
        lines.iter().for_each(|line| trace.line(line));
        (trace.acknowledged, trace.early.len())
    }

    #[test]
    fn an_acknowledgement_comes_behind_a_sync_that_began_behind_the_write() {
        assert_eq!(judged(&[CONNACK, WRITE, SYNC, PUBACK]), (1, 0));
        assert_eq!(judged(&[CONNACK, WRITE, PUBACK, SYNC]), (1, 1));
        assert_eq!(judged(&[CONNACK, SYNC, WRITE, PUBACK]), (1, 1));
        assert_eq!(judged(&[CONNACK, SYNC, PUBACK]), (1, 1));
        let begin = "7 fdatasync(9</d/store.sqlite-wal> <unfinished ...>";
        let end = "7 <... fdatasync resumed>) = 0";
        assert_eq!(judged(&[CONNACK, WRITE, begin, end, PUBACK]), (1, 0));
        assert_eq!(judged(&[CONNACK, WRITE, begin, PUBACK, end]), (1, 1));
        let other = WRITE.replacen('7', "6", 1);
        assert_eq!(judged(&[CONNACK, begin, &other, end, PUBACK]), (1, 1));
    }

    #[test]
    fn a_sync_that_failed_or_is_of_another_file_proves_nothing() {
        let failed = "7 fdatasync(9</d/store.sqlite-wal>) = -1 EIO (Input/output error) (INJECTED)";
        assert_eq!(judged(&[CONNACK, WRITE, failed, SYNC, PUBACK]), (1, 1));
        let other = "7 fdatasync(9</d/store.sqlite>) = 0";
        assert_eq!(judged(&[CONNACK, WRITE, other, PUBACK]), (1, 1));
        let mut trace = Trace::default();
        [WRITE, failed, SYNC].iter().for_each(|line| trace.line(line));
        assert_eq!((trace.fault.is_some(), trace.behind_fault.len()), (true, 1));
    }

    #[test]
    fn strings_are_read_as_they_were() {
        assert_eq!(bytes(r#""@\2\0\1\"\\\n\1770", 4"#), b"@\x02\x00\x01\"\\\n\x7f0");
    }
}
