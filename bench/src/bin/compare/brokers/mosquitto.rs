//! Mosquitto without bounds on its queues, without logs and figures, as it does best.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::{Place, Setting, output};
use crate::load::password;

/// Files in the broker's directory.
pub const PASSWORDS: &str = "passwords";
pub const PERMISSIONS: &str = "permissions";

pub fn command(place: &Place<'_>, setting: Setting) -> Result<Command> {
    let file = place.directory.join("mosquitto.conf");
    fs::write(&file, configuration(place, setting)?)?;
    let mut command = mosquitto();
    command.arg("-c").arg(file);
    Ok(command)
}

/// Not everybody's path leads to servers.
fn mosquitto() -> Command {
    let debian = Path::new("/usr/sbin/mosquitto");
    Command::new(if debian.is_file() { debian } else { Path::new("mosquitto") })
}

pub fn version() -> Result<String> {
    // It calls asking for help a failure.
    let help = mosquitto().arg("-h").output()?;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    Ok(help.lines().next().unwrap_or("Mosquitto").replace("mosquitto version", "Mosquitto"))
}

/// Writes users `u0` and so on, and what they may do.
pub fn write_users(directory: &Path, count: usize) -> Result<()> {
    let passwords = directory.join(PASSWORDS);
    for number in 0..count {
        let mut command = Command::new("mosquitto_passwd");
        command.args(if number == 0 { &["-c", "-b"][..] } else { &["-b"] });
        output(command.arg(&passwords).arg(format!("u{number}")).arg(password()))?;
    }
    fs::write(directory.join(PERMISSIONS), "pattern readwrite devices/%u/#\n")?;
    Ok(())
}

fn configuration(place: &Place<'_>, setting: Setting) -> Result<String> {
    let mut text = format!(
        "listener {} 127.0.0.1
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
sys_interval 0
log_dest none
",
        place.port
    );
    let file = |name: &str| place.directory.join(name).display().to_string();
    let users = matches!(setting, Setting::Users(_));
    writeln!(text, "allow_anonymous {}", !users)?;
    if users {
        writeln!(text, "password_file {}", file(PASSWORDS))?;
        writeln!(text, "acl_file {}", file(PERMISSIONS))?;
    }
    if setting == Setting::Stored {
        writeln!(text, "persistence true\npersistence_location {}", file(""))?;
    }
    if setting == Setting::Tls {
        writeln!(text, "certfile {}\nkeyfile {}", file("server.crt"), file("server.key"))?;
    }
    ensure!(
        matches!(setting, Setting::Open | Setting::Stored | Setting::Tls | Setting::Users(_)),
        "no row asks this of Mosquitto: {setting:?}"
    );
    if rustix::process::geteuid().is_root() {
        writeln!(text, "user root")?;
    }
    Ok(text)
}
