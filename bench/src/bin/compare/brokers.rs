//! The brokers under measurement: each a process of its own, with a configuration for the row.

mod hookmq;
mod mosquitto;
pub mod relay;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hookmq_tests::certificates::Authority;
use hookmq_tests::wire::tls_config;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::load::{Door, Transport, knock, password};

/// How long a broker may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    HookMq,
    Mosquitto,
    /// None: see [`relay`].
    Relay,
}

/// What a row asks of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Everybody may do anything, over TCP.
    Open,
    /// The same, and what has to outlive the process is on disk, as far as the broker does that.
    Stored,
    /// As `Open`, over TLS.
    Tls,
    /// As `Open`, over WebSocket.
    WebSocket,
    /// Users `u0` and so on log in, and may publish and subscribe below `devices/` and their name.
    Users(usize),
    /// Each message passes the plugin and the rule threshold_alarm.
    Hooks(Guest),
    /// The user name of a client is its tenant.
    TenantsByName,
}

/// A plugin that ships.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// Looks at the publisher, and at the clock.
    RateGuard,
    /// Reads the payload, which is JSON, and writes another one.
    JsonTransform,
}

/// A running broker. Dropping it ends it.
pub struct Broker {
    pub door: Door,
    process: Child,
    directory: TempDir,
}

/// Where a broker listens and keeps its files.
pub struct Place<'a> {
    port: u16,
    directory: &'a Path,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::HookMq => "HookMQ",
            Self::Mosquitto => "Mosquitto",
            Self::Relay => "bytes copied",
        }
    }

    /// What the broker says of its version.
    pub fn version(self) -> Result<String> {
        match self {
            Self::HookMq => Ok(format!("HookMQ {}", env!("CARGO_PKG_VERSION"))),
            Self::Mosquitto => mosquitto::version(),
            Self::Relay => Ok("a relay of bytes".to_owned()),
        }
    }

    /// Starts it, and waits until it lets clients in.
    pub fn start(self, setting: Setting) -> Result<Broker> {
        // Beside the build, as a directory for temporary files may lie in memory.
        let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(programs()?)?;
        let port = free_port()?;
        let place = Place { port, directory: directory.path() };
        let transport = match setting {
            Setting::Tls => {
                make_certificate(place.directory);
                Transport::Tls(tls_config(&place.directory.join("ca.crt"), None))
            }
            Setting::WebSocket => Transport::WebSocket,
            _ => Transport::Tcp,
        };
        if let Setting::Users(count) = setting {
            mosquitto::write_users(place.directory, count)?;
        }
        let mut command = match self {
            Self::HookMq => hookmq::command(&place, setting)?,
            Self::Mosquitto => mosquitto::command(&place, setting)?,
            Self::Relay => relay::command(&place, setting)?,
        };
        let log = File::create(place.directory.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().with_context(|| format!("start {command:?}"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut broker = Broker { door: Door { address, transport }, process, directory };
        broker.wait_until_listening()?;
        if self == Self::HookMq && matches!(setting, Setting::Users(_)) {
            hookmq::add_users(broker.directory.path())?;
        }
        broker.wait_until_open(setting)?;
        Ok(broker)
    }
}

impl Broker {
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Whether it still runs, as it should.
    pub fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the broker ended: {status}: {}", self.last_words()),
        }
    }

    fn wait_until_listening(&mut self) -> Result<()> {
        let address = self.door.address;
        self.wait(|| std::net::TcpStream::connect(address).map(drop))
    }

    fn wait_until_open(&mut self, setting: Setting) -> Result<()> {
        let door = self.door.clone();
        let credentials = match setting {
            Setting::Users(_) => Some(("u0".to_owned(), password().to_owned())),
            Setting::TenantsByName => Some(("t0".to_owned(), String::new())),
            _ => None,
        };
        self.wait(|| knock(&door, credentials.clone()))
    }

    fn wait(&mut self, mut attempt: impl FnMut() -> std::io::Result<()>) -> Result<()> {
        let began = Instant::now();
        loop {
            self.check()?;
            let Err(error) = attempt() else { return Ok(()) };
            if began.elapsed() > PATIENCE {
                bail!("no client gets in: {error}: {}", self.last_words());
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What fails here fails because it has ended already.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let began = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
            std::thread::sleep(PAUSE);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The directory of this program, where the broker lies, too.
fn programs() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().context("a program lies in a directory")?.to_owned())
}

/// Nobody has the port; somebody could take it before the broker does, who then would not start.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// `server.crt` and `server.key`, which `ca.crt` vouches for.
fn make_certificate(directory: &Path) {
    let authority = Authority::new("bench");
    authority.save(&directory.join("ca.crt"));
    authority.issue_server(&directory.join("server"));
}

/// Runs a program to its end; what it prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
