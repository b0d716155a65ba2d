//! `hookmq plugin build` and `test`: cargo, for WebAssembly and for this machine.
//!
//! The target's standard library comes from the toolchain, is built from the source that the toolchain
//! has, or from that of Debian's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use hookmq_wasm::Manifest;
use serde_json::Value;

use crate::programs::ProgramError;

#[derive(Debug, Args)]
pub struct BuildOptions {
    /// The plugin's crate.
    #[arg(default_value = ".")]
    directory: PathBuf,
}

const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LINKER: &str = "/usr/bin/rust-lld";
const DEBIAN_PACKAGES: &str = "rustc-web cargo-web rust-web-src lld-22";

/// The standard library's source, below a toolchain's directory.
const LIBRARY: &str = "lib/rustlib/src/rust/library/std/Cargo.toml";

/// What compiles for [`TARGET`].
#[derive(Debug, PartialEq, Eq)]
enum Toolchain {
    /// cargo as it is: the target is installed.
    Installed,
    /// cargo as it is, and the source of its standard library.
    Source,
    /// Debian's, with the source of its standard library.
    Debian { linker: PathBuf },
}

impl BuildOptions {
    /// Compiles, and puts the artefact beside the crate's sources.
    pub(super) fn build(&self) -> Result<()> {
        self.check_crate()?;
        let toolchain =
            Toolchain::find(&self.sysroot()?, Path::new("/")).with_context(no_target)?;
        let mut cargo = toolchain.cargo();
        cargo.args(["build", "--release", "--target", TARGET]).current_dir(&self.directory);
        let status = cargo.status().context(NO_CARGO)?;
        ensure!(status.success(), "the crate {} does not build", self.directory.display());
        let metadata = self.metadata()?;
        let (package, library) = self.package(&metadata)?;
        let release = metadata["target_directory"].as_str().context("no target directory")?;
        let built = Path::new(release).join(TARGET).join("release");
        let built = built.join(format!("{}.wasm", library.replace('-', "_")));
        let artefact = self.directory.join(format!("{package}.wasm"));
        fs::copy(&built, &artefact).with_context(|| format!("copy {}", built.display()))?;
        let manifest = Manifest::of_artefact(&fs::read(&artefact)?);
        match manifest.map_err(ProgramError::from) {
            Ok(_) => println!("{}", artefact.display()),
            Err(error) => bail!("{}: {}", artefact.display(), error.told()),
        }
        Ok(())
    }

    pub(super) fn test(&self) -> Result<()> {
        self.check_crate()?;
        let mut cargo = Command::new("cargo");
        let status = cargo.arg("test").current_dir(&self.directory).status().context(NO_CARGO)?;
        ensure!(status.success(), "the tests do not pass");
        Ok(())
    }

    fn check_crate(&self) -> Result<()> {
        let shown = self.directory.display();
        let is_crate = self.directory.join("Cargo.toml").is_file();
        ensure!(
            is_crate,
            "{shown} is no crate: it has no Cargo.toml. `hookmq plugin new NAME` makes one"
        );
        Ok(())
    }

    /// Where the toolchain is that the crate is built by.
    fn sysroot(&self) -> Result<PathBuf> {
        let mut rustc = Command::new("rustc");
        rustc.args(["--print", "sysroot"]).current_dir(&self.directory);
        let shown = self.directory.display();
        let output = rustc.output().with_context(|| format!("run rustc in {shown}: {NO_CARGO}"))?;
        let problem = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "rustc --print sysroot: {}", problem.trim());
        Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
    }

    fn metadata(&self) -> Result<Value> {
        let mut cargo = Command::new("cargo");
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = cargo.current_dir(&self.directory).output().context(NO_CARGO)?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The names of the crate and of its library, which may be one of many in a workspace.
    fn package(&self, metadata: &Value) -> Result<(String, String)> {
        let file = self.directory.join("Cargo.toml").canonicalize()?;
        let mut packages = metadata["packages"].as_array().into_iter().flatten();
        let package = packages
            .find(|it| it["manifest_path"].as_str().is_some_and(|path| Path::new(path) == file))
            .with_context(|| format!("{} is no package", file.display()))?;
        let targets = package["targets"].as_array();
        let is_artefact = |target: &&Value| target["crate_types"].to_string().contains("cdylib");
        let library = targets.into_iter().flatten().find(is_artefact).with_context(|| {
            let hint = "[lib]\n    crate-type = [\"cdylib\", \"rlib\"]";
            format!("the crate makes no artefact\n  = hint: write in its Cargo.toml\n    {hint}")
        })?;
        let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
        Ok((name(package), name(library)))
    }
}

const NO_CARGO: &str = "is Rust installed? cargo and rustc must be in PATH: https://rustup.rs";

/// What to type where nothing compiles for the target.
fn no_target() -> String {
    format!(
        "the Rust toolchain has no standard library for {TARGET}\n  = hint: with rustup\n      rustup \
         target add {TARGET}\n    or, on Debian, as root\n      apt-get install {DEBIAN_PACKAGES}"
    )
}

impl Toolchain {
    /// Debian's is looked for below `root`.
    fn find(sysroot: &Path, root: &Path) -> Option<Self> {
        if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
            return Some(Self::Installed);
        }
        if sysroot.join(LIBRARY).is_file() {
            return Some(Self::Source);
        }
        let below = |path: &str| root.join(path.trim_start_matches('/'));
        let library = root.join("usr").join(LIBRARY);
        let programs = [below(DEBIAN_RUSTC), below(DEBIAN_CARGO), library];
        if !programs.iter().all(|path| path.is_file()) {
            return None;
        }
        let hosts = fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
        let linkers = hosts.map(|host| host.path().join("bin/rust-lld"));
        let linker = linkers.chain([below(DEBIAN_LINKER)]).find(|linker| linker.is_file())?;
        Some(Self::Debian { linker })
    }

    fn cargo(&self) -> Command {
        let mut cargo = match self {
            Self::Installed => return Command::new("cargo"),
            Self::Source => Command::new("cargo"),
            Self::Debian { linker } => {
                let mut cargo = Command::new(DEBIAN_CARGO);
                cargo.env("RUSTC", DEBIAN_RUSTC);
                cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                // rustup's libraries are not this compiler's.
                cargo.env_remove("LD_LIBRARY_PATH");
                cargo
            }
        };
        // Building the standard library is an unstable switch of these compilers.
        cargo.env("RUSTC_BOOTSTRAP", "1").args(["-Z", "build-std=std,panic_abort"]);
        cargo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, file: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }

    #[test]
    fn the_target_comes_from_the_toolchain_its_source_or_debian() {
        let (sysroot, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let find = || Toolchain::find(sysroot.path(), root.path());
        assert_eq!(find(), None);
        for file in
            ["usr/bin/rustc", "usr/bin/cargo", "usr/lib/rustlib/src/rust/library/std/Cargo.toml"]
        {
            touch(root.path(), file);
        }
        assert_eq!(find(), None, "there is no linker");
        touch(root.path(), "usr/bin/rust-lld");
        assert_eq!(
            find(),
            Some(Toolchain::Debian { linker: root.path().join("usr/bin/rust-lld") })
        );
        touch(sysroot.path(), "lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
        let linker = sysroot.path().join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
        assert_eq!(find(), Some(Toolchain::Debian { linker }));
        touch(sysroot.path(), LIBRARY);
        assert_eq!(find(), Some(Toolchain::Source));
        touch(sysroot.path(), "lib/rustlib/wasm32-unknown-unknown/lib/libstd.rlib");
        assert_eq!(find(), Some(Toolchain::Installed));
    }

    #[test]
    fn what_to_type_is_said_where_there_is_no_target() {
        let told = no_target();
        assert!(told.contains("rustup target add wasm32-unknown-unknown"), "{told}");
        assert!(told.contains("apt-get install rustc-web"), "{told}");
    }
}
