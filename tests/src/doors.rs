//! A broker that is open to everybody, with a listener of each kind.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use hookmq_codec::ProtocolVersion;

use crate::broker::{Broker, directory};
use crate::certificates::Authority;
use crate::client::{Client, connect};
use crate::websocket::WebSocket;
use crate::wire::{Wire, tcp, tls, unix};

/// Where clients may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
    Ws,
    Wss,
    Unix,
}

/// A running broker and its doors.
pub struct Doors {
    pub broker: Broker,
    pub version: ProtocolVersion,
}

impl Transport {
    pub const ALL: [Self; 5] = [Self::Tcp, Self::Tls, Self::Ws, Self::Wss, Self::Unix];

    pub const WEB: [Self; 2] = [Self::Ws, Self::Wss];

    /// The listener's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }

    fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }
}

/// Plays `scenario` for 3.1.1 and for 5.0, each on a broker of its own.
pub fn at_all_doors(limits: &str, scenario: impl Fn(&Doors)) {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        eprintln!("MQTT {}:", version.name());
        scenario(&Doors::open(version, limits, ""));
    }
}

impl Doors {
    /// `limits` is the body of the section of that name in one line, such as `a: 1, b: 2`; `more` are
    /// keys of every listener on the network, such as `proxy_protocol: {...}`.
    pub fn open(version: ProtocolVersion, limits: &str, more: &str) -> Self {
        Self::with(version, &Transport::ALL, limits, more)
    }

    /// Of WebSocket alone, whose listeners have these keys, too.
    pub fn only_web(version: ProtocolVersion, more: &str) -> Self {
        Self::with(version, &Transport::WEB, "", more)
    }

    fn with(version: ProtocolVersion, doors: &[Transport], limits: &str, more: &str) -> Self {
        let directory = directory();
        let authority = Authority::new("Doors CA");
        authority.save(&directory.path().join("ca.crt"));
        authority.issue_server(&directory.path().join("server"));
        let listeners: String = doors
            .iter()
            .map(|door| {
                let name = door.name();
                if *door == Transport::Unix {
                    return format!("  - {{name: {name}, bind: \"unix://mqtt.sock\"}}\n");
                }
                let tls = match door.is_encrypted() {
                    true => ", tls: {certificate: server.crt, key: server.key}",
                    false => "",
                };
                let more = if more.is_empty() { String::new() } else { format!(", {more}") };
                format!("  - {{name: {name}, bind: \"{name}://127.0.0.1:0\"{tls}{more}}}\n")
            })
            .collect();
        let yaml = format!(
            "data_dir: data
listeners:
{listeners}admin: {{bind: \"127.0.0.1:0\"}}
limits: {{{limits}}}
log: {{level: debug}}
pipeline:
  connect: [{{builtin: anonymous}}]
  authorize: [{{builtin: open}}]
"
        );
        Self { broker: Broker::with_config(&yaml, directory), version }
    }

    pub fn address(&self, door: Transport) -> SocketAddr {
        self.broker.address(door.name())
    }

    pub fn socket_file(&self) -> PathBuf {
        self.broker.wait_for_log("listening listener=\"unix\"");
        self.broker.directory().join("mqtt.sock")
    }

    pub fn ca(&self) -> PathBuf {
        self.broker.directory().join("ca.crt")
    }

    /// Bytes to the door, encrypted where it wants them so, and not upgraded.
    pub fn wire(&self, door: Transport) -> Box<dyn Wire> {
        if door == Transport::Unix {
            return Box::new(unix(&self.socket_file()));
        }
        self.wire_over(tcp(self.address(door)), door)
    }

    /// As [`Self::wire`], over a connection that was opened before.
    pub fn wire_over(&self, stream: TcpStream, door: Transport) -> Box<dyn Wire> {
        match door {
            Transport::Tls => Box::new(tls(stream, &self.ca(), &[b"mqtt"]).expect("a handshake")),
            Transport::Wss => {
                Box::new(tls(stream, &self.ca(), &[b"h2", b"http/1.1"]).expect("a handshake"))
            }
            _ => Box::new(stream),
        }
    }

    pub fn websocket(&self, door: Transport) -> WebSocket {
        WebSocket::open(self.wire(door))
    }

    /// A client on which nothing was said.
    pub fn open_client(&self, door: Transport) -> Client {
        self.open_client_over(self.wire(door), door)
    }

    /// As [`Self::open_client`], over bytes to this door.
    pub fn open_client_over(&self, wire: Box<dyn Wire>, door: Transport) -> Client {
        match door {
            Transport::Ws | Transport::Wss => Client::over(WebSocket::open(wire), self.version),
            _ => Client::over(wire, self.version),
        }
    }

    /// What the broker has counted at a bound, by its key in `limits`.
    pub fn shed(&self, bound: &str) -> u64 {
        self.broker.admin().metric(&format!("connections_shed_total{{bound=\"{bound}\"}}"))
    }

    /// A client with a clean start.
    pub fn client(&self, door: Transport, client_id: &str) -> Client {
        self.open_client(door).admitted(connect(self.version, client_id))
    }
}
