//! A connection whose packets come in through a channel, as all connections' do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::Sender;

use hookmq_codec::frame;
use hookmq_tests::wire::tcp;

/// What a connection has brought.
#[derive(Debug)]
pub struct Event {
    pub member: usize,
    /// Which connection, unique in the whole run.
    pub connection: u64,
    /// The bytes of one packet; none at the end of the connection.
    pub packet: Option<Vec<u8>>,
}

/// The writing half. Dropping it ends the connection.
#[derive(Debug)]
pub struct Link {
    pub number: u64,
    stream: TcpStream,
}

impl Link {
    pub fn open(address: SocketAddr, member: usize, number: u64, events: Sender<Event>) -> Self {
        let stream = tcp(address);
        stream.set_read_timeout(None).expect("a socket without a deadline");
        let reader = stream.try_clone().expect("a second handle of a socket");
        let event = move |packet| Event { member, connection: number, packet };
        std::thread::spawn(move || {
            read(reader, |packet| drop(events.send(event(Some(packet)))));
            drop(events.send(event(None)));
        });
        Self { number, stream }
    }

    /// Where the broker is gone, the end comes as an event.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The broker may be first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn read(mut stream: TcpStream, mut packet: impl FnMut(Vec<u8>)) {
    let mut buffer = Vec::new();
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        buffer.extend_from_slice(&bytes[..read]);
        let mut used = 0;
        while let Some(whole) = frame(&buffer[used..], u32::MAX).expect("the broker sends packets")
        {
            packet(buffer[used..used + whole.length].to_vec());
            used += whole.length;
        }
        buffer.drain(..used);
    }
}
