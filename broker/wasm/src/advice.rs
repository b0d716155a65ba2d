//! What to do about an artefact that is refused.

use crate::{Capabilities, LoadError, ManifestError, Wish};

/// A manifest to begin with.
const MANIFEST: &str =
    r#"{"name": "my-plugin", "version": "1.0.0", "hooks": ["publish"], "fields": ["payload"]}"#;

const OFFERED: &str = "log, clock, metric, kv, emit, http and secret, as hookmq:plugin/NAME@1.0.0";

impl LoadError {
    /// What would help, for whoever wrote, built or uploads the plugin; perhaps of several lines.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooLarge { .. } => "the bound is `plugins.artefact_bytes`".into(),
            Self::NotWasm(_) => "a plugin is the .wasm file that `hookmq plugin build` makes".into(),
            Self::NoManifest => format!(
                "a plugin in Rust says it with hookmq_plugin::export! {{ plugin: MyPlugin, hooks: \
                 [publish], fields: [payload] }}; for another write a file such as\n  {MANIFEST}\nand \
                 put it in with `cargo xtask plugin-manifest FILE.wasm MANIFEST.json`"
            ),
            Self::Manifest(ManifestError::Json(_)) => format!(
                "a manifest is such as\n  {MANIFEST}\nwith `topics`, `capabilities`, `emit`, `http`, \
                 `secrets`, `limits` where wanted"
            ),
            Self::OtherPlugin { found, .. } => format!(
                "the step and the command say its name: `{{plugin: {found}}}`, `--name {found}`"
            ),
            Self::UnknownImport { import } => import_hint(import),
            Self::WrongVersion { .. } | Self::NoHooks | Self::NoComponent(_) => {
                "build it against plugin-sdk/wit/hookmq-plugin.wit of this broker's version; a plugin \
                 in Rust does so by hookmq_plugin::export!"
                    .into()
            }
            Self::NotAsked { capability, .. } => asking(capability),
            Self::NotGranted { plugin, asked, .. } => granting(plugin, asked),
            Self::TooMuchToCompile { .. } => {
                "the bounds are `plugins.compile.time_ms` and `plugins.compile.memory_bytes`".into()
            }
            _ => return None,
        })
    }
}

fn import_hint(import: &str) -> String {
    if import.starts_with("wasi") {
        return "there is no WASI here: build for wasm32-unknown-unknown".into();
    }
    if import.starts_with("__wbindgen") {
        return "a crate was built for JavaScript by wasm-bindgen: turn that feature of it off"
            .into();
    }
    format!("what there is to import: {OFFERED}")
}

fn asking(capability: &str) -> String {
    let value = match capability {
        "emit" => r#"emit: ["alarms/#"]"#,
        "http" => r#"http: ["https://host.example"]"#,
        "secrets" => r#"secrets: ["name"]"#,
        plain => {
            return format!(
                "write `capabilities: [{plain}]` in export!, or \"capabilities\": [\"{plain}\"] in \
                 the manifest"
            );
        }
    };
    format!("write `{value}` in export!, or the same in the manifest")
}

/// The configuration that grants all that is asked for.
fn granting(plugin: &str, asked: &Capabilities) -> String {
    let plain = asked.plain().into_iter().filter(|(_, asked)| *asked);
    let mut lines: Vec<String> = plain.map(|(name, _)| format!("{name}: true")).collect();
    let list = |texts: Vec<String>| {
        texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")
    };
    if !asked.emit.is_empty() {
        let filters = asked.emit.iter().map(ToString::to_string).collect();
        lines.push(format!("emit: [{}]", list(filters)));
    }
    if let Wish::These(origins) = &asked.http
        && !origins.is_empty()
    {
        lines.push(format!("http: [{}]", list(origins.iter().map(ToString::to_string).collect())));
    }
    if let Wish::These(names) = &asked.secrets
        && !names.is_empty()
    {
        let files = names.iter().map(|name| format!("{name}: {{file: PATH}}"));
        lines.push(format!("secrets: {{{}}}", files.collect::<Vec<_>>().join(", ")));
    }
    let lines: String = lines.iter().map(|line| format!("\n        {line}")).collect();
    format!(
        "if it may have that, say so in the configuration (plugins.grants.{plugin}):\n  plugins:\n    \
         grants:\n      {plugin}:{lines}"
    )
}
