//! `hookmq plugin new`: a crate to begin with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

#[derive(Debug, Args)]
pub struct NewOptions {
    /// The directory to make; its name is the plugin's.
    directory: PathBuf,
    /// The crate `hookmq-plugin` in a copy of HookMQ's source; found by itself in the copy that this
    /// program was built in.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

impl NewOptions {
    pub(super) fn run(&self) -> Result<()> {
        let directory = &self.directory;
        ensure!(!directory.exists(), "{} is there already", directory.display());
        let name = directory.file_name().context("the directory has no name")?.to_string_lossy();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            name.bytes().all(fits) && name.starts_with(|it: char| it.is_ascii_lowercase()),
            "{name:?} is no plugin's name: a-z, 0-9 and -, beginning with a letter"
        );
        let sdk = self.sdk()?;
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

    /// The crate that plugins are written with: as said, below this directory, or in the copy of the
    /// source that this program was built in.
    fn sdk(&self) -> Result<PathBuf> {
        let is_sdk = |directory: &Path| directory.join("Cargo.toml").is_file();
        if let Some(sdk) = &self.sdk {
            ensure!(is_sdk(sdk), "{} is no crate: it has no Cargo.toml", sdk.display());
            return sdk.canonicalize().with_context(|| format!("find {}", sdk.display()));
        }
        let program = std::env::current_exe().unwrap_or_default();
        let here = std::env::current_dir().unwrap_or_default();
        let copies = here.ancestors().chain(program.ancestors());
        let found = copies.map(|copy| copy.join(SDK)).find(|sdk| is_sdk(sdk));
        found.with_context(|| {
            format!(
                "where is the crate `hookmq-plugin`? It is not published yet: get a copy of HookMQ's \
                 source and say --sdk COPY/{SDK}"
            )
        })
    }
}

/// The crate, in a copy of the source.
const SDK: &str = "plugin-sdk/hookmq-plugin";

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
