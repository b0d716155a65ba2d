//! The clients that operators have at hand: `mosquitto_pub` and `mosquitto_sub`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::wait::{DEADLINE, wait_until};

/// Where a client connects, and as whom.
#[derive(Clone)]
pub struct Door(Vec<OsString>);

/// A `mosquitto_sub` that runs.
pub struct Subscriber {
    _process: Running,
    lines: Receiver<String>,
}

/// A `mosquitto_pub` that publishes each line it is given, at QoS 1, on one connection.
pub struct LinePublisher {
    process: Running,
    lines: ChildStdin,
}

/// A process that is ended with its owner.
struct Running(Child);

impl Door {
    /// Without TLS, without a name.
    pub fn plain(address: SocketAddr) -> Self {
        let port = address.port().to_string();
        Self(["-h", "127.0.0.1", "-p", &port].map(OsString::from).into())
    }

    /// With `NAME.crt` and `NAME.key` in `directory`, where `server-ca.crt` is, too.
    pub fn tls(address: SocketAddr, directory: &Path, name: &str) -> Self {
        let Self(mut arguments) = Self::plain(address);
        for (option, file) in [
            ("--cafile", "server-ca.crt"),
            ("--cert", &*format!("{name}.crt")),
            ("--key", &*format!("{name}.key")),
        ] {
            arguments.extend([option.into(), directory.join(file).into()]);
        }
        arguments.extend(["-i", name].map(OsString::from));
        Self(arguments)
    }

    /// Publishes one message; `options` are more of `mosquitto_pub`'s.
    pub fn publish(&self, topic: &str, payload: &str, options: &[&str]) -> Output {
        let mut command = self.command("mosquitto_pub");
        command.args(["-t", topic, "-m", payload]).args(options);
        // Its few lines fit the pipes.
        let mut process = Running::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let status = wait_until("mosquitto_pub ends", || process.ended());
        let text = |pipe: Option<&mut dyn std::io::Read>| {
            let mut text = Vec::new();
            pipe.expect("a pipe").read_to_end(&mut text).expect("read what it says");
            text
        };
        let stdout = text(process.0.stdout.as_mut().map(|pipe| pipe as _));
        let stderr = text(process.0.stderr.as_mut().map(|pipe| pipe as _));
        Output { status, stdout, stderr }
    }

    pub fn publish_lines(&self, topic: &str) -> LinePublisher {
        let mut command = self.command("mosquitto_pub");
        command.args(["-t", topic, "-q", "1", "-l"]).stdin(Stdio::piped());
        let mut process = Running::spawn(&mut command);
        let lines = process.0.stdin.take().expect("a pipe");
        LinePublisher { process, lines }
    }

    /// Subscribes at QoS 1. Returns before the broker knows of it.
    pub fn subscribe(&self, filter: &str) -> Subscriber {
        let mut command = self.command("mosquitto_sub");
        command.args(["-t", filter, "-q", "1"]).stdout(Stdio::piped());
        let mut process = Running::spawn(&mut command);
        let pipe = BufReader::new(process.0.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        // It ends with the process or with the receiver.
        std::thread::spawn(move || {
            pipe.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Subscriber { _process: process, lines }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.0).stdin(Stdio::null());
        command
    }
}

impl Subscriber {
    /// The payload of the next message.
    pub fn next(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a message for the subscriber")
    }

    pub fn next_json(&self) -> serde_json::Value {
        let payload = self.next();
        serde_json::from_str(&payload).unwrap_or_else(|error| panic!("{payload}: {error}"))
    }
}

impl LinePublisher {
    pub fn publish(&mut self, payload: &str) {
        writeln!(self.lines, "{payload}").expect("mosquitto_pub still reads");
    }

    /// Ends the input and waits until all is acknowledged.
    pub fn finish(self) {
        let Self { mut process, lines } = self;
        drop(lines);
        let status = wait_until("mosquitto_pub ends", || process.ended());
        assert!(status.success(), "mosquitto_pub: {status}");
    }
}

impl Running {
    fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| {
            panic!("{command:?}: {error}: apt-get install mosquitto-clients")
        }))
    }

    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().expect("wait for a process")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
