//! `hookmq plugin`: plugins from the first line to the last version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use hookmq_hooks::{ProgramKind, Secret};
use hookmq_wasm::Manifest;

use super::bench::{BenchOptions, text_or_file};
use super::version::{CanaryOptions, PushOptions, Target};
use crate::programs::alone;

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Make a crate to begin with.
    New(NewOptions),
    /// Compile a plugin's crate to its artefact.
    Build(BuildOptions),
    /// Run the tests of a plugin's crate.
    Test(BuildOptions),
    /// Show what an artefact says of itself, without running it.
    Inspect(InspectOptions),
    /// Measure what a call of a plugin costs, without a broker.
    Bench(PluginBenchOptions),
    /// Show how a plugin stands on a broker.
    Show(Target),
    /// Upload a version; the broker compiles and checks it.
    Push(PushOptions),
    /// Ask the candidate beside the version in force, and compare.
    Shadow(Target),
    /// Put the candidate in force for some clients.
    Canary(CanaryOptions),
    /// Put recorded questions to the candidate: what would have changed.
    Replay(Target),
    /// Put the candidate in force for everybody.
    Promote(Target),
    /// Put the version before in force again.
    Rollback(Target),
    /// Give the candidate up.
    Withdraw(Target),
}

#[derive(Debug, Args)]
pub struct NewOptions {
    /// The directory to make; its name is the plugin's.
    directory: PathBuf,
    /// The crate `hookmq-plugin`, in a copy of HookMQ's source.
    #[arg(long, value_name = "DIR", default_value = "plugin-sdk/hookmq-plugin")]
    sdk: PathBuf,
}

#[derive(Debug, Args)]
pub struct BuildOptions {
    /// The plugin's crate.
    #[arg(default_value = ".")]
    directory: PathBuf,
}

#[derive(Debug, Args)]
pub struct InspectOptions {
    /// The artefact.
    file: PathBuf,
}

#[derive(Debug, Args)]
pub struct PluginBenchOptions {
    /// The artefact. It is granted all that it asks for, but there is no network.
    file: PathBuf,
    /// The plugin's configuration as JSON or YAML, or @FILE.
    #[arg(long, value_name = "TEXT", default_value = "null")]
    config: String,
    /// A secret of the plugin; may be repeated.
    #[arg(long, value_name = "NAME=FILE")]
    secret: Vec<String>,
    #[command(flatten)]
    bench: BenchOptions,
}

const TARGET: &str = "wasm32-unknown-unknown";

impl PluginCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// What is wrong with the plugin, or why the broker refuses.
    pub fn run(&self) -> Result<()> {
        let kind = ProgramKind::Plugin;
        match self {
            Self::New(options) => options.run(),
            Self::Build(options) => options.build(),
            Self::Test(options) => options.test(),
            Self::Inspect(options) => options.run(),
            Self::Bench(options) => options.run(),
            Self::Show(target) => target.show(kind),
            Self::Push(options) => options.run(kind),
            Self::Shadow(target) => target.shadow(kind),
            Self::Canary(options) => options.run(kind),
            Self::Replay(target) => target.replay(kind),
            Self::Promote(target) => target.promote(kind),
            Self::Rollback(target) => target.roll_back(kind),
            Self::Withdraw(target) => target.withdraw(kind),
        }
    }
}

impl NewOptions {
    fn run(&self) -> Result<()> {
        let directory = &self.directory;
        ensure!(!directory.exists(), "{} is there already", directory.display());
        let name = directory.file_name().context("the directory has no name")?.to_string_lossy();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            name.bytes().all(fits) && name.starts_with(|it: char| it.is_ascii_lowercase()),
            "{name:?} is no plugin's name: a-z, 0-9 and -, beginning with a letter"
        );
        let sdk = self.sdk.canonicalize();
        let sdk =
            sdk.with_context(|| format!("find the SDK in {}: say --sdk DIR", self.sdk.display()))?;
        fs::create_dir_all(directory.join("src")).context("make the directory")?;
        let write = |file: &str, text: String| {
            let file = directory.join(file);
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))
        };
        write("Cargo.toml", manifest(&name, &sdk))?;
        write("src/lib.rs", SOURCE.replace("{name}", &name))?;
        let shown = directory.display();
        println!("made {shown}\nnext: hookmq plugin test {shown} && hookmq plugin build {shown}");
        Ok(())
    }
}

fn manifest(name: &str, sdk: &Path) -> String {
    format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"

[lib]
crate-type = ["cdylib", "rlib"]

[dependencies]
hookmq-plugin = {{ path = "{}" }}
serde = {{ version = "1", features = ["derive"] }}

[profile.release]
opt-level = "s"
lto = true
panic = "abort"
strip = true

# A workspace of its own, wherever it stands.
[workspace]
"#,
        sdk.display()
    )
}

/// What `new` writes as the plugin.
const SOURCE: &str = r#"//! {name}: puts a prefix before every payload.

use hookmq_plugin::{Client, Message, MessagePatch, Plugin, PublishVerdict};

pub struct Prefix(Config);

/// What the operator may configure, under `config` of the step.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { prefix: "> ".into() }
    }
}

impl Plugin for Prefix {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if config.prefix.is_empty() {
            return Err("prefix: must not be empty".into());
        }
        Ok(Self(config))
    }

    fn publish(&mut self, _: Option<Client>, message: Message) -> Result<PublishVerdict, String> {
        let mut payload = self.0.prefix.clone().into_bytes();
        payload.extend(message.payload.unwrap_or_default());
        let patch = MessagePatch { payload: Some(payload), ..MessagePatch::default() };
        Ok(PublishVerdict::Replace(patch))
    }
}

hookmq_plugin::export! {
    plugin: Prefix,
    hooks: [publish],
    fields: [payload],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_stands_before_the_payload() {
        let mut plugin = Prefix::new(Config::default()).unwrap();
        let message = Message { payload: Some(b"hi".to_vec()), ..Message::default() };
        let PublishVerdict::Replace(patch) = plugin.publish(None, message).unwrap() else {
            panic!("it replaces the payload")
        };
        assert_eq!(patch.payload.unwrap(), b"> hi");
    }
}
"#;

impl BuildOptions {
    fn build(&self) -> Result<()> {
        let built = self.cargo(&["build", "--release", "--target", TARGET])?;
        if !built {
            bail!(
                "the crate does not build. If the target is missing: rustup target add {TARGET}, or \
                 in a copy of HookMQ's source: cargo xtask plugins {}",
                self.directory.display()
            );
        }
        let release = self.target_directory()?.join(TARGET).join("release");
        let name = self.crate_name()?.replace('-', "_");
        println!("{}", release.join(format!("{name}.wasm")).display());
        Ok(())
    }

    fn test(&self) -> Result<()> {
        ensure!(self.cargo(&["test"])?, "the tests do not pass");
        Ok(())
    }

    fn cargo(&self, arguments: &[&str]) -> Result<bool> {
        let mut cargo = Command::new("cargo");
        let status = cargo.args(arguments).current_dir(&self.directory).status();
        Ok(status.context("run cargo")?.success())
    }

    fn metadata(&self) -> Result<serde_json::Value> {
        let mut cargo = Command::new("cargo");
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = cargo.current_dir(&self.directory).output().context("run cargo metadata")?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn target_directory(&self) -> Result<PathBuf> {
        let metadata = self.metadata()?;
        let directory = metadata["target_directory"].as_str().context("no target directory")?;
        Ok(directory.into())
    }

    fn crate_name(&self) -> Result<String> {
        let metadata = self.metadata()?;
        Ok(metadata["packages"][0]["name"].as_str().context("no package")?.to_owned())
    }
}

impl InspectOptions {
    fn run(&self) -> Result<()> {
        let file = self.file.display();
        let bytes = fs::read(&self.file).with_context(|| format!("read {file}"))?;
        let manifest = Manifest::of_artefact(&bytes).with_context(|| format!("inspect {file}"))?;
        println!("{}", serde_json::to_string_pretty(&manifest)?);
        Ok(())
    }
}

impl PluginBenchOptions {
    fn run(&self) -> Result<()> {
        let file = self.file.display();
        let bytes = fs::read(&self.file).with_context(|| format!("read {file}"))?;
        let config = serde_yaml::from_slice(&text_or_file(&self.config)?).context("--config")?;
        let secrets = self.secret.iter().map(|it| secret(it)).collect::<Result<_>>()?;
        let plugin = alone::plugin(&bytes, config, secrets)?;
        self.bench.run(&file.to_string(), &plugin)
    }
}

/// `NAME=FILE`, as the file's content without the end of line behind it.
fn secret(text: &str) -> Result<(String, Secret)> {
    let (name, file) = text.split_once('=').context("--secret is NAME=FILE")?;
    let content = fs::read(file).with_context(|| format!("read {file}"))?;
    let content = content.strip_suffix(b"\n").unwrap_or(&content);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    Ok((name.into(), Secret::new(content.to_vec())))
}
