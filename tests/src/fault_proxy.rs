//! A proxy between a client and a server on a unix socket that can be told to misbehave.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the proxy does to new connections and to those that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Connections are closed before anything is said.
    Refuse,
    /// They stay open, and nothing passes.
    Hang,
    /// What the server says arrives so much later.
    Delay(Duration),
    /// The next thing that the client says is answered with a reset.
    Reset,
    /// The next thing that the client says is answered with nonsense.
    Garbage,
}

/// Listens as long as the process lives. Its connections end with their peers.
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    fault: Fault,
    server: PathBuf,
    /// Moves with the server: connections to an older one are over.
    generation: u64,
}

/// How often a connection looks for a new fault while nothing is said.
const LOOK: Duration = Duration::from_millis(5);

impl FaultProxy {
    /// # Panics
    /// Where no port is to be had.
    pub fn start(server: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State { fault: Fault::None, server, generation: 0 }));
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || serve(client, &state));
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, fault: Fault) {
        lock(&self.state).fault = fault;
    }

    /// Ends all connections; new ones go to `server`.
    pub fn switch_to(&self, server: PathBuf) {
        let mut state = lock(&self.state);
        state.server = server;
        state.generation += 1;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection, in both directions, until either peer or a fault ends it.
fn serve(mut client: TcpStream, state: &Mutex<State>) -> Option<()> {
    let (generation, server) = {
        let state = lock(state);
        (state.generation, state.server.clone())
    };
    if lock(state).fault == Fault::Refuse {
        return None;
    }
    let mut server = UnixStream::connect(server).ok()?;
    client.set_read_timeout(Some(LOOK)).ok()?;
    server.set_read_timeout(Some(LOOK)).ok()?;
    // What the server has said, and when it may arrive.
    let mut due: Option<(Instant, Vec<u8>)> = None;
    loop {
        let fault = {
            let state = lock(state);
            if state.generation != generation {
                return None;
            }
            state.fault
        };
        match fault {
            Fault::Refuse => return None,
            Fault::Hang => {
                thread::sleep(LOOK);
                continue;
            }
            Fault::Reset if has_said(&client)? => {
                // Closed with something unread, a socket is reset.
                return None;
            }
            Fault::Garbage if has_said(&client)? => {
                client.write_all(&[0xff; 64]).ok()?;
                return client.shutdown(Shutdown::Both).ok();
            }
            Fault::None | Fault::Delay(_) | Fault::Reset | Fault::Garbage => {}
        }
        if let Some(said) = read(&mut client)? {
            server.write_all(&said).ok()?;
        }
        if due.is_none()
            && let Some(said) = read(&mut server)?
        {
            let delay = if let Fault::Delay(delay) = fault { delay } else { Duration::ZERO };
            due = Some((Instant::now() + delay, said));
        }
        if let Some((_, said)) = due.take_if(|(at, _)| *at <= Instant::now()) {
            client.write_all(&said).ok()?;
        }
    }
}

fn has_said(client: &TcpStream) -> Option<bool> {
    match client.peek(&mut [0]) {
        Ok(0) => None,
        Ok(_) => Some(true),
        Err(error) if is_silence(&error) => Some(false),
        Err(_) => None,
    }
}

/// None where the peer is gone, nothing where it is silent.
fn read(peer: &mut impl Read) -> Option<Option<Vec<u8>>> {
    let mut bytes = vec![0; 64 * 1024];
    match peer.read(&mut bytes) {
        Ok(0) => None,
        Ok(length) => {
            bytes.truncate(length);
            Some(Some(bytes))
        }
        Err(error) if is_silence(&error) => Some(None),
        Err(_) => None,
    }
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
