//! Not a broker: copies what each publisher of a pair sends to its subscriber, and reads none of it. What
//! that costs is what sockets cost a broker that reads and writes as seldom as can be.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hookmq_codec::{Packet, ProtocolVersion, decode, frame};

use super::{Place, Setting};
use crate::load::{Poll, SCRATCH};

/// The key of the listener among those of pairs.
const LISTENER: usize = usize::MAX - 1;
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// What this program is told to become a relay.
pub const OPTION: &str = "--relay";

pub fn command(place: &Place<'_>, setting: Setting) -> Result<Command> {
    ensure!(setting == Setting::Open, "a relay knows nothing of {setting:?}");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(OPTION).arg(place.port.to_string());
    Ok(command)
}

/// Serves until the process is ended.
pub fn run(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut poll = Poll::new()?;
    poll.add(&listener, LISTENER)?;
    let mut subscribers = HashMap::new();
    let mut pairs: Vec<(TcpStream, TcpStream)> = Vec::new();
    let mut scratch = vec![0; SCRATCH];
    let mut ready = Vec::new();
    loop {
        poll.wait(Duration::from_secs(1), &mut ready)?;
        for key in ready.iter().copied() {
            if key == LISTENER {
                // Whoever breaks off has learned that somebody listens.
                if let Ok(Some(pair)) = admit(listener.accept()?.0, &mut subscribers) {
                    poll.add(&pair.0, pairs.len())?;
                    pairs.push(pair);
                }
                continue;
            }
            let (publisher, subscriber) = &mut pairs[key];
            match publisher.read(&mut scratch).unwrap_or(0) {
                0 => poll.remove(&*publisher)?,
                // It reads, whatever it waits for to write.
                read => subscriber.write_all(&scratch[..read])?,
            }
        }
    }
}

/// Lets a client in; the pair that it completes, first the publisher.
fn admit(
    mut client: TcpStream,
    subscribers: &mut HashMap<String, TcpStream>,
) -> Result<Option<(TcpStream, TcpStream)>> {
    client.set_nodelay(true)?;
    let mut client_id = String::new();
    read_packet(&mut client, |packet| match packet {
        Packet::Connect(connect) => {
            client_id.push_str(connect.client_id);
            Ok(())
        }
        other => bail!("not CONNECT: {other:?}"),
    })?;
    client.write_all(&CONNACK)?;
    if let Some(number) = client_id.strip_prefix('p') {
        let subscriber = subscribers.remove(number).context("a publisher without subscriber")?;
        return Ok(Some((client, subscriber)));
    }
    if let Some(number) = client_id.strip_prefix('s') {
        let mut suback = [0x90, 3, 0, 0, 0];
        read_packet(&mut client, |packet| match packet {
            Packet::Subscribe(subscribe) => {
                suback[2..4].copy_from_slice(&subscribe.packet_id.get().to_be_bytes());
                Ok(())
            }
            other => bail!("not SUBSCRIBE: {other:?}"),
        })?;
        client.write_all(&suback)?;
        subscribers.insert(number.to_owned(), client);
    }
    Ok(None)
}

/// Waits for one packet; nothing may come behind it.
fn read_packet(client: &mut TcpStream, see: impl FnOnce(Packet<'_>) -> Result<()>) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 1024];
        let read = client.read(&mut piece)?;
        ensure!(read > 0, "the client has closed");
        bytes.extend_from_slice(&piece[..read]);
        if let Some(frame) = frame(&bytes, 1024)? {
            return see(decode(frame, ProtocolVersion::V311)?);
        }
    }
}
