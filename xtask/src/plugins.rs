//! Builds the plugins that ship and those that tests use, for wasm32.
//!
//! Needs nothing but the workspace's toolchain where that has the target `wasm32-unknown-unknown`.
//! Elsewhere the target is built from source by Debian's compiler, or fetched by rustup.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const TARGET: &str = "wasm32-unknown-unknown";
const RUSTUP_PATIENCE: Duration = Duration::from_secs(60);
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// A link of rustc-web's own into the package lld-22.
const DEBIAN_LINKER: &str = "/usr/bin/rust-lld";

/// Builds all plugins of the repository at `root` and returns their files:
/// `<target>/plugins/<name>.wasm` and `<target>/plugins/fixtures/<name>.wasm`.
///
/// # Errors
/// Where no toolchain for wasm32 can be had, or a plugin does not compile.
pub fn build(root: &Path) -> Result<Vec<PathBuf>> {
    let output = target_directory(root).join("plugins");
    let build = output.join("build");
    let toolchain = Toolchain::find(root)?;
    toolchain.build(&root.join("plugins/Cargo.toml"), &build)?;
    let built = build.join(TARGET).join("release");
    let mut files = collect(&root.join("plugins"), &built, &output)?;
    files.extend(collect(&root.join("tests/fixtures/plugins"), &built, &output.join("fixtures"))?);
    Ok(files)
}

/// Copies the artefact of every crate in `crates`, which is named like its directory.
fn collect(crates: &Path, built: &Path, output: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(output).with_context(|| format!("create {}", output.display()))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(crates).with_context(|| format!("read {}", crates.display()))? {
        let directory = entry?.path();
        if !directory.join("Cargo.toml").is_file() {
            continue;
        }
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let artefact = built.join(format!("{}.wasm", name.replace('-', "_")));
        let file = output.join(format!("{name}.wasm"));
        copy_if_changed(&artefact, &file)
            .with_context(|| format!("copy {} to {}", artefact.display(), file.display()))?;
        files.push(file);
    }
    files.sort();
    Ok(files)
}

/// Leaves a file alone that is up to date; a reader never sees half of a new one.
fn copy_if_changed(from: &Path, to: &Path) -> std::io::Result<()> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let partial = to.with_extension("wasm.partial");
    fs::write(&partial, new)?;
    fs::rename(partial, to)
}

/// What compiles for wasm32 on this machine.
enum Toolchain {
    /// The workspace's own, with the target installed.
    Own,
    /// Debian's compiler and the source of its standard library.
    Debian { linker: PathBuf },
}

impl Toolchain {
    fn find(root: &Path) -> Result<Self> {
        let sysroot = sysroot(root)?;
        if has_target(&sysroot) {
            return Ok(Self::Own);
        }
        if let Some(debian) = Self::debian(&sysroot) {
            return Ok(debian);
        }
        if add_target(root) && has_target(&sysroot) {
            return Ok(Self::Own);
        }
        install_debian_packages()?;
        Self::debian(&sysroot).context("the installed packages lack a compiler, source or linker")
    }

    fn debian(sysroot: &Path) -> Option<Self> {
        let library = Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml");
        let programs = [Path::new(DEBIAN_RUSTC), Path::new(DEBIAN_CARGO), library];
        if !programs.iter().all(|path| path.is_file()) {
            return None;
        }
        let hosts = fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
        let linker = hosts
            .map(|host| host.path().join("bin/rust-lld"))
            .chain([PathBuf::from(DEBIAN_LINKER)])
            .find(|linker| linker.is_file())?;
        Some(Self::Debian { linker })
    }

    fn build(&self, manifest: &Path, target_directory: &Path) -> Result<()> {
        let offline = env::var_os("CARGO_NET_OFFLINE").is_some();
        if self.run(manifest, target_directory, offline)? {
            return Ok(());
        }
        // Without a network the registry's index cannot be refreshed, but all may be here already.
        if !offline && self.run(manifest, target_directory, true)? {
            return Ok(());
        }
        bail!("the plugins in {} do not build", manifest.display())
    }

    fn run(&self, manifest: &Path, target_directory: &Path, offline: bool) -> Result<bool> {
        let mut command = match self {
            Self::Own => clean_command("cargo"),
            Self::Debian { linker } => {
                let mut command = clean_command(DEBIAN_CARGO);
                command.env("RUSTC", DEBIAN_RUSTC);
                // The unstable -Z build-std is a switch of this known compiler.
                command.env("RUSTC_BOOTSTRAP", "1");
                command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                command.args(["-Z", "build-std=std,panic_abort"]);
                command
            }
        };
        command
            .args(["build", "--quiet", "--release", "--workspace", "--exclude", "hookmq-plugin"])
            .args(["--target", TARGET, "--manifest-path"])
            .arg(manifest)
            .env("CARGO_TARGET_DIR", target_directory);
        // Where the guests' own .cargo/config.toml is found.
        if let Some(guests) = manifest.parent() {
            command.current_dir(guests);
        }
        if offline {
            command.arg("--offline");
        }
        let status = command.status().context("start cargo")?;
        Ok(status.success())
    }
}

/// A command that does not see what cargo has set for this program and for the build of the broker.
pub(crate) fn clean_command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| is_about_one_build(&name.to_string_lossy()))
    {
        command.env_remove(name);
    }
    // cargo puts its own toolchain's libraries first, which another compiler must not load.
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// Where cargo's home is, what the network needs and which toolchain rustup chooses concern every
/// build on the machine; the other variables concern one.
fn is_about_one_build(name: &str) -> bool {
    let everywhere =
        ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "RUSTUP_", "RUST_BACKTRACE"];
    (name.starts_with("CARGO") || name.starts_with("RUST"))
        && !everywhere.iter().any(|prefix| name.starts_with(prefix))
}

fn sysroot(root: &Path) -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(root)
        .output()
        .context("start rustc")?;
    if !output.status.success() {
        bail!("rustc --print sysroot: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

fn has_target(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
}

/// Asks rustup for the target. That it cannot is no error: there may be no rustup, or no network.
fn add_target(root: &Path) -> bool {
    let started = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut rustup) = started else { return false };
    let deadline = Instant::now() + RUSTUP_PATIENCE;
    while Instant::now() < deadline {
        match rustup.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(100)),
            Ok(Some(status)) => return status.success(),
            Err(_) => break,
        }
    }
    let _ = rustup.kill();
    let _ = rustup.wait();
    false
}

fn install_debian_packages() -> Result<()> {
    let install = || {
        apt_get(&[&["install", "--yes", "--no-install-recommends"], &DEBIAN_PACKAGES[..]].concat())
    };
    if install()? {
        return Ok(());
    }
    if apt_get(&["update"])? && install()? {
        return Ok(());
    }
    bail!(
        "there is no compiler for {TARGET}. Run `rustup target add {TARGET}`, or on Debian as root \
         `apt-get update && apt-get install {}`",
        DEBIAN_PACKAGES.join(" ")
    )
}

/// False where apt-get fails, as it does without root, or does not exist.
fn apt_get(arguments: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status();
    match status {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("start apt-get"),
    }
}

/// Where the build of the broker goes, too.
pub(crate) fn target_directory(root: &Path) -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root.join(directory),
        None => root.join("target"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_brokers_build_do_not_reach_the_plugins() {
        for name in ["CARGO", "CARGO_TARGET_DIR", "CARGO_PKG_NAME", "RUSTFLAGS", "RUSTC"] {
            assert!(is_about_one_build(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_TOOLCHAIN", "PATH"] {
            assert!(!is_about_one_build(name), "{name}");
        }
    }
}
