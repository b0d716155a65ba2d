//! A client's connection: TCP, TLS or WebSocket below, packets above.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_codec::{
    Connect, ConnectProperties, Disconnect, DisconnectProperties, Packet, ProtocolVersion, Qos,
    ReasonCode, Subscribe, SubscribeProperties, SubscriptionOptions, TopicFilter, decode, frame,
};
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Socket, Type};

use super::poll::Interest;
use super::web_socket;

pub const VERSION: ProtocolVersion = ProtocolVersion::V311;
/// Bytes that one reading takes at most.
pub const SCRATCH: usize = 256 * 1024;
/// What no packet of a load exceeds.
pub const LONGEST_PACKET: u32 = 64 * 1024;
/// How long a client waits for the answer to CONNECT or SUBSCRIBE.
const PATIENCE: Duration = Duration::from_secs(30);
/// Filters in one SUBSCRIBE.
const FILTERS: usize = 50;
/// Clients that share a source address: far fewer than it has ports.
const CLIENTS_OF_A_SOURCE: usize = 1000;

/// What bytes travel on.
#[derive(Clone)]
pub enum Transport {
    Tcp,
    Tls(Arc<ClientConfig>),
    WebSocket,
}

/// Where a client connects, and as whom.
#[derive(Clone)]
pub struct Door {
    pub address: SocketAddr,
    pub transport: Transport,
}

pub struct Identity {
    pub client_id: String,
    /// Name and password.
    pub credentials: Option<(String, String)>,
    pub clean_start: bool,
}

pub struct Wire {
    socket: TcpStream,
    layer: Layer,
    /// Packets to send.
    pub out: Vec<u8>,
    /// The same, as the socket gets them, from `sent` on.
    ready: Vec<u8>,
    sent: usize,
    /// The beginning of a packet whose rest has not come yet.
    rest: Vec<u8>,
    /// What it is being waited for.
    pub interest: Interest,
    /// Nothing more is to be had of it.
    pub is_lost: bool,
}

enum Layer {
    None,
    Tls(Box<ClientConnection>),
    WebSocket(web_socket::Reader),
}

impl Wire {
    /// Connects client number `number`, and waits for CONNACK.
    pub fn open(door: &Door, number: usize, identity: &Identity) -> io::Result<Self> {
        let mut socket = connect(door.address, number)?;
        let layer = match &door.transport {
            Transport::Tcp => Layer::None,
            Transport::Tls(config) => {
                let name = door.address.ip().into();
                let connection = ClientConnection::new(config.clone(), name);
                let mut connection = connection.map_err(io::Error::other)?;
                while connection.is_handshaking() {
                    connection.complete_io(&mut socket)?;
                }
                Layer::Tls(Box::new(connection))
            }
            Transport::WebSocket => {
                web_socket::upgrade(&mut socket)?;
                Layer::WebSocket(web_socket::Reader::default())
            }
        };
        let (out, ready, rest) = Default::default();
        let interest = Interest::Read;
        let mut wire = Self { socket, layer, out, ready, sent: 0, rest, interest, is_lost: false };
        wire.connect(identity)?;
        Ok(wire)
    }

    fn connect(&mut self, identity: &Identity) -> io::Result<()> {
        let credentials = identity.credentials.as_ref();
        let connect = Packet::Connect(Box::new(Connect {
            version: VERSION,
            clean_start: identity.clean_start,
            keep_alive: 0,
            client_id: &identity.client_id,
            will: None,
            username: credentials.map(|(name, _)| &**name),
            password: credentials.map(|(_, password)| password.as_bytes()),
            properties: ConnectProperties::default(),
        }));
        self.push(&connect)?;
        self.answer(|packet| match packet {
            Packet::ConnAck(ack) if ack.reason_code == ReasonCode::Success => Ok(()),
            other => Err(unexpected(other)),
        })
    }

    /// Subscribes to all of them, and waits for each SUBACK.
    pub fn subscribe(&mut self, filters: &[String], qos: Qos) -> io::Result<()> {
        let options = SubscriptionOptions { maximum_qos: qos, ..SubscriptionOptions::default() };
        for filters in filters.chunks(FILTERS) {
            let filter = |text: &String| Ok((TopicFilter::new(&**text)?, options));
            let filters: Result<_, hookmq_codec::TopicError> = filters.iter().map(filter).collect();
            let filters = filters.map_err(io::Error::other)?;
            let properties = SubscribeProperties::default();
            let packet_id = std::num::NonZeroU16::MIN;
            self.push(&Packet::Subscribe(Subscribe { packet_id, filters, properties }))?;
            self.answer(|packet| match packet {
                Packet::SubAck(ack) if ack.reason_codes.iter().all(|it| *it as u8 == qos as u8) => {
                    Ok(())
                }
                other => Err(unexpected(other)),
            })?;
        }
        Ok(())
    }

    /// From here on nothing waits.
    pub fn stop_waiting(&mut self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub fn push(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        packet.encode(VERSION, &mut self.out).map_err(io::Error::other)
    }

    /// Bytes that the socket has not taken yet.
    pub fn waiting(&self) -> usize {
        self.out.len() + self.ready.len() - self.sent
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.make_ready()?;
        }
        while self.sent < self.ready.len() {
            match self.socket.write(&self.ready[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.ready.clear();
        self.sent = 0;
        Ok(())
    }

    fn make_ready(&mut self) -> io::Result<()> {
        match &mut self.layer {
            Layer::None if self.ready.is_empty() => std::mem::swap(&mut self.ready, &mut self.out),
            Layer::None => self.ready.append(&mut self.out),
            Layer::Tls(connection) => {
                // Its buffer has a bound, so it is emptied before each record.
                for piece in self.out.chunks(16 * 1024) {
                    connection.writer().write_all(piece)?;
                    while connection.wants_write() {
                        connection.write_tls(&mut self.ready)?;
                    }
                }
                self.out.clear();
            }
            Layer::WebSocket(_) => {
                web_socket::write(&self.out, &mut self.ready);
                self.out.clear();
            }
        }
        Ok(())
    }

    /// What has come, behind the rest from before; none where nothing has. The caller hands what it does
    /// not need back by [`Self::keep`].
    pub fn read<'a>(&mut self, scratch: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        let from = self.rest.len();
        scratch[..from].copy_from_slice(&self.rest);
        let room = &mut scratch[from..];
        let read = match &mut self.layer {
            Layer::None => self.socket.read(room),
            Layer::WebSocket(reader) => {
                self.socket.read(room).and_then(|read| match read {
                    0 => Ok(0),
                    // Behind what is no payload there may be none.
                    read => match reader.strip(&mut room[..read])? {
                        0 => Err(ErrorKind::WouldBlock.into()),
                        payload => Ok(payload),
                    },
                })
            }
            Layer::Tls(connection) => read_tls(connection, &mut self.socket, room),
        };
        match read {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the broker has closed")),
            Ok(read) => {
                self.rest.clear();
                Ok(Some(&scratch[..from + read]))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn keep(&mut self, rest: &[u8]) {
        self.rest.extend_from_slice(rest);
    }

    pub fn say_goodbye(&mut self) -> io::Result<()> {
        self.push(&Packet::Disconnect(Disconnect {
            reason_code: ReasonCode::Success,
            properties: DisconnectProperties::default(),
        }))?;
        self.flush()
    }

    /// Waits for one packet; nothing may come behind it.
    fn answer(&mut self, check: impl FnOnce(&Packet<'_>) -> io::Result<()>) -> io::Result<()> {
        self.flush()?;
        let asked = Instant::now();
        let mut scratch = [0; 4096];
        while asked.elapsed() < PATIENCE {
            // Layers below may have had bytes for themselves.
            let Some(bytes) = self.read(&mut scratch)? else { continue };
            if let Some(frame) = frame(bytes, LONGEST_PACKET).map_err(io::Error::other)? {
                return check(&decode(frame, VERSION).map_err(io::Error::other)?);
            }
            self.keep(bytes);
        }
        Err(ErrorKind::TimedOut.into())
    }
}

/// Reads what the socket has, as far as there is room for what it holds.
fn read_tls(
    connection: &mut ClientConnection,
    socket: &mut TcpStream,
    room: &mut [u8],
) -> io::Result<usize> {
    if connection.wants_read() && connection.read_tls(socket)? == 0 {
        return Ok(0);
    }
    connection.process_new_packets().map_err(io::Error::other)?;
    connection.reader().read(room)
}

/// From one of many addresses of this machine, as one has no more than some 28,000 ports.
fn connect(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let source = (number / CLIENTS_OF_A_SOURCE + 1).min(254) as u8;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::new(127, 1, 0, source), 0).into())?;
    socket.connect(&address.into())?;
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

pub fn unexpected(packet: &Packet<'_>) -> io::Error {
    let mut text = format!("{packet:?}");
    text.truncate(text.floor_char_boundary(200));
    io::Error::other(format!("an unexpected answer: {text}"))
}
