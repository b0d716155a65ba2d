//! MQTT clients that others wrote, for the tests: installed from PyPI and npm, outside the repository.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::cargo;

/// Installs what `tests/clients` pins, unless it is there.
pub fn install(root: &Path) -> Result<()> {
    let directory = directory()?;
    let pins = root.join("tests/clients");
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    // Clones of the repository share the directory.
    let lock = File::create(directory.join("lock")).context("create a lock file")?;
    lock.lock().context("lock the directory of the clients")?;
    install_as_pinned(&pins, "requirements.txt", &directory.join("python"), |place| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(place))?;
        let mut pip = Command::new(place.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ]);
        run(pip.arg(pins.join("requirements.txt")))
    })?;
    install_as_pinned(&pins, "package-lock.json", &directory.join("node"), |place| {
        fs::create_dir_all(place)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(pins.join(file), place.join(file)).with_context(|| format!("copy {file}"))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        run(npm.current_dir(place))
    })
}

/// Calls `install` for `place`, unless the `pin` that it was last called for is still the same.
pub(crate) fn install_as_pinned(
    pins: &Path,
    pin: &str,
    place: &Path,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let wanted = fs::read(pins.join(pin)).with_context(|| format!("read {pin}"))?;
    let installed = place.join("installed");
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    // An installation that breaks off must not pass for a whole one.
    let _ = fs::remove_file(&installed);
    install(place)?;
    fs::write(&installed, wanted).with_context(|| format!("write {}", installed.display()))
}

/// Where they are; the same that the tests look in where nobody tells them.
pub fn directory() -> Result<PathBuf> {
    Ok(cache()?.join("clients"))
}

/// Where the project keeps what it installs.
pub(crate) fn cache() -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(cache.join("hookmq"))
}

/// Runs `command`, announced as it is.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let what = format!("{command:?}");
    cargo::run(command.stdin(Stdio::null()), &what)
}
