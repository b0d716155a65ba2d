//! What builds and tests need from the system, and how to get it.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::announce;

/// What the tests call as an operator would, and the packages that hold it.
const PROGRAMS: [(&str, &str); 9] = [
    ("psql", "postgresql-client"),
    ("mosquitto_pub", "mosquitto-clients"),
    ("sqlite3", "sqlite3"),
    ("curl", "curl"),
    ("strace", "strace"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("chromium", "chromium"),
];

/// Fails where C code cannot be compiled, which some dependencies consist of.
pub fn require_c_compiler() -> Result<()> {
    const PROGRAM: &[u8] = b"#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n";
    const ADVICE: &str = "a C compiler is needed (cc, with the C library's headers); on Debian as root: \
         `apt-get install build-essential`";
    let compiler = env::var_os("CC").unwrap_or("cc".into());
    let mut compiling = Command::new(compiler)
        .args(["-fsyntax-only", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context(ADVICE)?;
    if let Some(mut input) = compiling.stdin.take() {
        // A compiler that does not read fails below.
        let _ = input.write_all(PROGRAM);
    }
    ensure!(compiling.wait()?.success(), ADVICE);
    Ok(())
}

/// Installs the Debian packages that tests need and that are missing.
pub fn install_for_tests() -> Result<()> {
    let mut missing = Vec::new();
    if !has_postgres() {
        missing.push("postgresql");
    }
    if !makes_python_environments() {
        missing.push("python3-venv");
    }
    for (program, package) in PROGRAMS {
        if !is_in_path(program) {
            missing.push(package);
        }
    }
    install("the tests need", &missing)
}

/// Installs the Debian packages of those of `programs` that are missing; each stands with its package.
pub fn install_programs(who_needs: &str, programs: &[(&str, &'static str)]) -> Result<()> {
    let missing = programs.iter().filter(|(program, _)| !is_in_path(program));
    let missing: Vec<_> = missing.map(|(_, package)| *package).collect();
    install(who_needs, &missing)
}

fn install(who_needs: &str, missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    announce(&format!("apt-get install {packages}"));
    if !is_in_path("apt-get") {
        bail!("{who_needs} what Debian calls {packages}; please install it");
    }
    let install = [&["install", "--yes", "--no-install-recommends"], missing].concat();
    if apt_get(&install)? || (apt_get(&["update"])? && apt_get(&install)?) {
        return Ok(());
    }
    bail!("{who_needs} packages that only root can install: `apt-get install {packages}`")
}

fn apt_get(arguments: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The tests start servers of their own; the system's need not run.
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    Ok(status.context("start apt-get")?.success())
}

/// Debian keeps the server's programs outside the path, by version.
fn has_postgres() -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places = versions.map(|version| version.path().join("bin")).chain(search_path());
    places.any(|place| ["initdb", "pg_ctl"].iter().all(|name| place.join(name).is_file()))
}

/// Debian's Python does so only with a package of its own.
fn makes_python_environments() -> bool {
    let mut import = Command::new("python3");
    import.args(["-c", "import ensurepip, venv"]).stdin(Stdio::null());
    import.stdout(Stdio::null()).stderr(Stdio::null());
    import.status().is_ok_and(|status| status.success())
}

fn is_in_path(name: &str) -> bool {
    search_path().any(|place| is_program(&place.join(name)))
}

fn search_path() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Servers are there, also for those whose path leaves it out.
    env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).collect::<Vec<_>>().into_iter()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
