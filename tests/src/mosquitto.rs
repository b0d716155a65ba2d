//! The clients that operators have at hand: `mosquitto_pub`, `mosquitto_sub`, `mosquitto_rr`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::process::Running;
use crate::wait::DEADLINE;

const INSTALL: &str = "apt-get install mosquitto-clients";

/// Where a client connects, and as whom.
#[derive(Clone)]
pub struct Door(Vec<OsString>);

/// A `mosquitto_sub` or `mosquitto_rr` that runs. Dropping it kills it.
pub struct Subscriber {
    process: Running,
    lines: Receiver<String>,
}

/// A `mosquitto_pub` that publishes each line it is given, at QoS 1, on one connection.
pub struct LinePublisher {
    process: Running,
    lines: ChildStdin,
}

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

    /// The same, with these options for every program.
    #[must_use]
    pub fn with(&self, options: &[&str]) -> Self {
        let mut door = self.clone();
        door.0.extend(options.iter().map(OsString::from));
        door
    }

    /// Publishes one message; `options` are more of `mosquitto_pub`'s.
    pub fn publish(&self, topic: &str, payload: &str, options: &[&str]) -> Output {
        let mut command = self.command("mosquitto_pub");
        command.args(["-t", topic, "-m", payload]).args(options);
        // Its few lines fit the pipes.
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Running::spawn(&mut command, INSTALL);
        let status = process.wait("mosquitto_pub");
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
        let mut process = Running::spawn(&mut command, INSTALL);
        let lines = process.0.stdin.take().expect("a pipe");
        LinePublisher { process, lines }
    }

    /// Subscribes at QoS 1. Returns before the broker knows of it.
    pub fn subscribe(&self, filter: &str) -> Subscriber {
        self.listen("mosquitto_sub", &["-t", filter, "-q", "1"])
    }

    /// Starts `mosquitto_sub` or `mosquitto_rr` with these options more.
    pub fn listen(&self, program: &str, options: &[&str]) -> Subscriber {
        let mut command = self.command(program);
        command.args(options).stdout(Stdio::piped());
        let mut process = Running::spawn(&mut command, INSTALL);
        let pipe = BufReader::new(process.0.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        // It ends with the process or with the receiver.
        std::thread::spawn(move || {
            pipe.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Subscriber { process, lines }
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

    /// Waits until the program has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait("the client")
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
        let status = process.wait("mosquitto_pub");
        assert!(status.success(), "mosquitto_pub: {status}");
    }
}
