//! Faults of a disk for the real binary: system calls that fail or take long, and a disk that is small.
//! Where the machine or the user does not allow them, the reason is printed and a test ends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::Running;

/// `strace` with what all who use it want, for [`crate::broker::Broker::start_under`]. The broker stays
/// the process that was started: signals and its exit code are its own.
pub fn strace() -> Option<Command> {
    // Of the threads that wait, only those that do what is asked for are stopped.
    let common = ["-f", "--seccomp-bpf", "-qq"];
    let mut probe = Command::new("strace");
    probe.args(common).args(["-e", "trace=fsync", "true"]);
    if !succeeds(&mut probe) {
        skip("strace cannot trace");
        return None;
    }
    let mut command = Command::new("strace");
    // Paths for file descriptors; whole pages of SQLite's.
    command.args(common).args(["-D", "-y", "-s", "4096"]);
    Some(command)
}

/// A small file system, which only those see who enter it.
pub struct SmallDisk {
    /// It lives as long as this process, which is in its mount namespace.
    holder: Running,
    place: PathBuf,
}

impl SmallDisk {
    /// Over the directory `place`, which is made where it is not there.
    pub fn over(place: &Path, mebibytes: u64) -> Option<Self> {
        if !succeeds(Command::new("unshare").args(["--mount", "true"])) {
            skip("no file system can be mounted: only root may");
            return None;
        }
        std::fs::create_dir_all(place).expect("make a directory");
        let script = "mount -t tmpfs -o size=\"$1\" tmpfs \"$0\" && echo && exec sleep infinity";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(place).arg(format!("{mebibytes}m"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = Running::spawn(&mut command, "it is part of util-linux");
        let output = holder.0.stdout.take().expect("a pipe");
        let told = BufReader::new(output).read_line(&mut String::new());
        assert!(told.is_ok_and(|bytes| bytes > 0), "tmpfs cannot be mounted");
        Some(Self { holder, place: place.to_owned() })
    }

    /// For [`crate::broker::Broker::start_under`].
    pub fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder.0.id().to_string()]);
        command
    }

    /// Where those who are outside see it.
    pub fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.0.id()));
        root.join(self.place.strip_prefix("/").expect("an absolute path"))
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}
