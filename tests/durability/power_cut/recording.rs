//! What a broker did to its data directory, and what it said and heard, in one order.

mod requests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use hookmq_codec::frame;

use super::calls::{Call, Line, Lines, Place};
pub use requests::HEADER;
use requests::Requests;

/// Paths begin below the directory that the broker has for itself; that one's is empty.
#[derive(Clone)]
pub enum Event {
    /// A call that failed, or has not ended yet.
    Nothing,
    NewDirectory(String),
    /// A file is opened that is made where it is not there.
    NewFile(String),
    /// From its beginning on: of a write that is under way anything may be there.
    Write {
        path: String,
        offset: u64,
        data: Arc<[u8]>,
    },
    Length {
        path: String,
        length: u64,
    },
    Renamed {
        from: String,
        to: String,
    },
    Removed(String),
    /// What was written before this is durable once the sync has ended.
    SyncBegun(String),
    SyncEnded(String),
    Received {
        connection: u32,
        packets: Vec<Vec<u8>>,
    },
    /// From its beginning on: it may have left.
    Sent {
        connection: u32,
        packets: Vec<Vec<u8>>,
    },
    Closed {
        connection: u32,
    },
    /// A request of the admin API, by its [`HEADER`].
    Asked(u32),
    /// As [`Self::Sent`].
    Answered {
        request: u32,
        granted: bool,
    },
    /// The process is told to end.
    Stopping,
    /// The process has ended, and the machine has not.
    Ended,
}

/// The calls that are looked at. Those that change files in ways that are not read here are among them,
/// so that nothing happens unseen.
pub const CALLS: &str = "trace=?open,openat,?openat2,?creat,?mkdir,mkdirat,?rmdir,write,pwrite64,writev,\
    pwritev,?pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,syncfs,msync,lseek,\
    ?rename,?renameat,renameat2,?link,linkat,?symlink,symlinkat,?unlink,unlinkat,copy_file_range,sendfile,\
    splice,mmap,?io_uring_setup,read,readv,recvfrom,recvmsg,sendto,sendmsg,shutdown,close";

/// Reads the lines of one trace after the other, of the lives of one broker.
pub struct Recorder {
    /// The broker's directory, as the system names it.
    root: String,
    pub events: Vec<Event>,
    lines: Lines,
    /// Which event a call that has begun is going to be.
    places: HashMap<Place, usize>,
    /// Events of calls in which the process was killed.
    unknown: Vec<usize>,
    /// Where a file is written to next, by descriptor.
    offsets: HashMap<String, u64>,
    connections: HashMap<String, Connection>,
    opened: u32,
    requests: Requests,
}

/// Bytes that are no whole packet yet.
struct Connection {
    number: u32,
    received: Vec<u8>,
    sent: Vec<u8>,
}

impl Recorder {
    /// What is below `root` is recorded.
    pub fn new(root: &str) -> Self {
        Self {
            root: root.to_owned(),
            events: Vec::new(),
            lines: Lines::default(),
            places: HashMap::new(),
            unknown: Vec::new(),
            offsets: HashMap::new(),
            connections: HashMap::new(),
            opened: 0,
            requests: Requests::default(),
        }
    }

    pub fn line(&mut self, line: &str) {
        match self.lines.read(line) {
            Line::Begun(place, text) => {
                self.places.insert(place, self.events.len());
                let event = self.begun(&text);
                self.events.push(event);
            }
            Line::Ended(place, text) => {
                let Some(begun) = self.places.remove(&place) else { return };
                self.ended(&text, begun);
            }
            Line::Whole(text) => {
                let begun = self.events.len();
                let event = self.begun(&text);
                self.events.push(event);
                self.ended(&text, begun);
                if matches!(self.events.last(), Some(Event::Nothing)) {
                    self.events.pop();
                }
            }
            Line::Other if line.contains("--- SIGTERM ") => self.events.push(Event::Stopping),
            Line::Other => {}
        }
    }

    /// The process has ended, and its trace. Gives the events of which it is not known whether they
    /// happened.
    pub fn end(&mut self) -> Vec<usize> {
        let mut unknown = std::mem::take(&mut self.unknown);
        unknown.extend(self.places.drain().map(|(_, begun)| begun));
        unknown.retain(|begun| !matches!(self.events[*begun], Event::Nothing));
        (self.lines, self.offsets, self.connections) = Default::default();
        self.requests = Requests::default();
        self.events.push(Event::Ended);
        unknown
    }

    /// These have not happened.
    pub fn forget(&mut self, events: &[usize]) {
        events.iter().for_each(|it| self.events[*it] = Event::Nothing);
    }

    /// What is there as soon as a call has begun.
    fn begun(&self, text: &str) -> Event {
        let Some(call) = Call::parse(text) else { return Event::Nothing };
        if let Some(answer) = self.requests.answer(&call) {
            return answer;
        }
        let event = match call.name {
            "fsync" | "fdatasync" => self.named(&call, 0).map(Event::SyncBegun),
            "pwrite64" | "write" | "writev" => self.write(&call),
            "sendto" => self.sent(&call).map(|(connection, _)| {
                let packets = packets(&mut [&connection.sent[..], &call.data(1)].concat());
                Event::Sent { connection: connection.number, packets }
            }),
            _ => None,
        };
        event.unwrap_or(Event::Nothing)
    }

    fn write(&self, call: &Call<'_>) -> Option<Event> {
        if let Some((connection, _)) = self.sent(call) {
            let packets = packets(&mut [&connection.sent[..], &call.data(1)].concat());
            return Some(Event::Sent { connection: connection.number, packets });
        }
        let path = self.named(call, 0)?;
        let offset = match call.name {
            "pwrite64" => call.number(3),
            _ => *self.offsets.get(descriptor(call)).unwrap_or_else(|| unread(call)),
        };
        Some(Event::Write { path, offset, data: call.data(1).into() })
    }

    /// The connection that data goes to, and the socket.
    fn sent<'a>(&self, call: &Call<'a>) -> Option<(&Connection, &'a str)> {
        let socket = call.file(0).filter(|it| it.starts_with("socket:"))?;
        Some((self.connections.get(socket)?, socket))
    }

    /// What the call has turned out to be, whose event is the `begun`th.
    fn ended(&mut self, text: &str, begun: usize) {
        let Some(call) = Call::parse(text) else { return };
        let result = match call.result {
            None if matches!(self.events[begun], Event::Nothing) => return,
            None => return self.unknown.push(begun),
            Some(result @ 0..) => result,
            Some(_) => return self.events[begun] = Event::Nothing,
        };
        if call.file(0).is_some_and(|it| it.starts_with("socket:")) {
            return self.ended_on_socket(&call, result as usize, begun);
        }
        let now = match call.name {
            "openat" => self.opened(&call, result),
            "mkdir" => self.inside(&call.path(None, 0)).map(Event::NewDirectory),
            "mkdirat" => self.inside(&call.path(Some(0), 1)).map(Event::NewDirectory),
            "fsync" | "fdatasync" => {
                let ended = self.named(&call, 0).map(Event::SyncEnded);
                self.events.extend(ended);
                return;
            }
            "pwrite64" | "write" | "writev" => return self.written(&call, result as usize, begun),
            "ftruncate" => {
                self.named(&call, 0).map(|path| Event::Length { path, length: call.number(1) })
            }
            "lseek" => {
                self.offsets.insert(descriptor(&call).to_owned(), result as u64);
                None
            }
            "unlink" => self.inside(&call.path(None, 0)).map(Event::Removed),
            "unlinkat" => self.inside(&call.path(Some(0), 1)).map(Event::Removed),
            "rename" => self.renamed(call.path(None, 0), call.path(None, 1)),
            "renameat" | "renameat2" => self.renamed(call.path(Some(0), 1), call.path(Some(2), 3)),
            "read" | "readv" | "close" => None,
            "mmap" if !text.contains("MAP_SHARED") => None,
            _ if self.concerns(text) => unread(&call),
            _ => None,
        };
        self.events[begun] = now.unwrap_or(Event::Nothing);
    }

    /// A call that was on a socket.
    fn ended_on_socket(&mut self, call: &Call<'_>, length: usize, begun: usize) {
        let Some(socket) = call.file(0) else { return };
        match call.name {
            "read" | "recvfrom" => {
                // Nothing comes of it before the call has ended.
                let data = &call.data(1)[..length];
                let event = self.requests.heard(socket, data).or_else(|| self.heard(socket, data));
                self.events.extend(event);
            }
            "write" | "writev" | "sendto" => {
                let Some(connection) = self.connections.get_mut(socket) else { return };
                connection.sent.extend(&call.data(1)[..length]);
                let (number, packets) = (connection.number, packets(&mut connection.sent));
                self.events[begun] = Event::Sent { connection: number, packets };
            }
            "close" => {
                self.requests.closed(socket);
                let closed = self.connections.remove(socket).map(|it| it.number);
                let closed = closed.map(|connection| Event::Closed { connection });
                self.events[begun] = closed.unwrap_or(Event::Nothing);
            }
            "recvmsg" | "sendmsg" | "readv" if self.connections.contains_key(socket) => {
                unread(call)
            }
            _ => {}
        }
    }

    /// A connection begins with CONNECT; what does not is none.
    fn heard(&mut self, socket: &str, data: &[u8]) -> Option<Event> {
        const CONNECT: u8 = 0x10;
        if !self.connections.contains_key(socket) {
            data.first().filter(|it| **it == CONNECT)?;
            let new = Connection { number: self.opened, received: Vec::new(), sent: Vec::new() };
            self.connections.insert(socket.to_owned(), new);
            self.opened += 1;
        }
        let connection = self.connections.get_mut(socket)?;
        connection.received.extend(data);
        let packets = packets(&mut connection.received);
        (!packets.is_empty()).then_some(Event::Received { connection: connection.number, packets })
    }

    fn opened(&mut self, call: &Call<'_>, descriptor: i64) -> Option<Event> {
        let path = self.inside(&call.path(Some(0), 1))?;
        self.offsets.insert(descriptor.to_string(), 0);
        let flags = call.argument(2);
        if flags.contains("O_TMPFILE") {
            unread(call);
        }
        if flags.contains("O_APPEND") {
            // Nobody else writes to it.
            self.offsets.insert(descriptor.to_string(), self.length(&path));
        }
        if flags.contains("O_TRUNC") {
            self.events.push(Event::Length { path: path.clone(), length: 0 });
        }
        flags.contains("O_CREAT").then_some(Event::NewFile(path))
    }

    /// Of a file that was made since the recording began.
    fn length(&self, of: &str) -> u64 {
        self.events.iter().fold(0, |length, event| match event {
            Event::Write { path, offset, data } if path == of => {
                length.max(offset + data.len() as u64)
            }
            Event::Length { path, length } if path == of => *length,
            Event::Renamed { from, .. } if from == of => 0,
            Event::Removed(path) if path == of => 0,
            _ => length,
        })
    }

    /// Not all of it may have been written.
    fn written(&mut self, call: &Call<'_>, length: usize, begun: usize) {
        if let Event::Write { data, .. } = &mut self.events[begun] {
            *data = data[..length].into();
            if call.name != "pwrite64" {
                let offset = self.offsets.entry(descriptor(call).to_owned()).or_default();
                *offset += length as u64;
            }
        }
    }

    fn renamed(&self, from: String, to: String) -> Option<Event> {
        match (self.inside(&from), self.inside(&to)) {
            (Some(from), Some(to)) => Some(Event::Renamed { from, to }),
            (None, None) => None,
            _ => panic!("renamed across the border: {from} to {to}"),
        }
    }

    /// The file that a descriptor stands for. What has no name any more is lost in any case.
    fn named(&self, call: &Call<'_>, argument: usize) -> Option<String> {
        self.inside(call.file(argument)?)
    }

    fn inside(&self, path: &str) -> Option<String> {
        let inside = path.strip_prefix(&*self.root)?.trim_start_matches('/');
        // The other things beside it are the test's, and what is compiled can be made again.
        let is_data = inside == DATA || inside.starts_with("data/");
        let is_data = is_data && !inside.starts_with(COMPILED);
        (is_data || path == self.root).then(|| inside.to_owned())
    }

    fn concerns(&self, text: &str) -> bool {
        text.contains(&format!("{}/{DATA}", self.root)) || text.starts_with("io_uring_setup")
    }
}

fn unread(call: &Call<'_>) -> ! {
    panic!("not read here: {}", call.brief())
}

/// The broker's data directory, and what it has compiled of the operator's plugins.
const DATA: &str = "data";
pub const COMPILED: &str = "data/compiled";

fn descriptor<'a>(call: &Call<'a>) -> &'a str {
    call.argument(0).split('<').next().unwrap_or_default()
}

/// Takes whole packets from the beginning.
fn packets(bytes: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some(length) = frame(bytes, u32::MAX).expect("packets").map(|it| it.length) {
        packets.push(bytes.drain(..length).collect());
    }
    packets
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = |packets: &[Vec<u8>]| -> Vec<String> {
            packets.iter().map(|it| format!("{:02x}/{}", it[0], it.len())).collect()
        };
        match self {
            Self::Nothing => write!(f, "-"),
            Self::NewDirectory(path) => write!(f, "mkdir {path}"),
            Self::NewFile(path) => write!(f, "open {path}"),
            Self::Write { path, offset, data } => {
                write!(f, "write {path} {offset}..{}", offset + data.len() as u64)
            }
            Self::Length { path, length } => write!(f, "truncate {path} to {length}"),
            Self::Renamed { from, to } => write!(f, "rename {from} to {to}"),
            Self::Removed(path) => write!(f, "unlink {path}"),
            Self::SyncBegun(path) => write!(f, "sync {path} ..."),
            Self::SyncEnded(path) => write!(f, "... synced {path}"),
            Self::Received { connection, packets } => {
                write!(f, "{connection} -> {:?}", kinds(packets))
            }
            Self::Sent { connection, packets } => write!(f, "{connection} <- {:?}", kinds(packets)),
            Self::Closed { connection } => write!(f, "{connection} closed"),
            Self::Asked(request) => write!(f, "request {request}"),
            Self::Answered { request, granted } => {
                write!(f, "request {request} is {}", if *granted { "granted" } else { "refused" })
            }
            Self::Stopping => write!(f, "the process is told to end"),
            Self::Ended => write!(f, "the process has ended"),
        }
    }
}
