//! The example plugins in other languages than Rust: their tools, and how they are built.
//!
//! Tools come from registries, as `plugins/examples` pins them, into `~/.cache/hookmq/languages`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::clients::{cache, install_as_pinned, run};
use crate::manifest_section::with_manifest;
use crate::plugins::{clean_command, target_directory};
use crate::{announce, cargo, packages};

const CONTRACT: &str = "plugin-sdk/wit/hookmq-plugin.wit";
const EXAMPLES: &str = "plugins/examples";
const CLANG: [(&str, &str); 2] = [("clang", "clang"), ("wasm-ld", "lld")];

/// One example: its directory, what its tool takes to install, and how the tool is called.
struct Language {
    name: &'static str,
    install: fn(sources: &Path, tools: &Path) -> Result<()>,
    /// Makes `plugin.wasm` in `work`, which holds the sources and the contract in `wit/deps`.
    build: fn(work: &Path, tools: &Path) -> Result<()>,
}

const LANGUAGES: [Language; 3] = [
    Language { name: "c", install: install_for_c, build: build_c },
    Language { name: "javascript", install: install_for_javascript, build: build_javascript },
    Language { name: "python", install: install_for_python, build: build_python },
];

/// Builds the examples whose sources have changed, to `<target>/plugins/examples/<language>.wasm`. An
/// example whose tool cannot be installed is left out, which is said.
///
/// # Errors
/// Where an example does not build.
pub fn build(root: &Path) -> Result<()> {
    let tools = cache()?.join("languages");
    fs::create_dir_all(&tools).with_context(|| format!("create {}", tools.display()))?;
    // Clones of the repository share the directory.
    let lock = File::create(tools.join("lock")).context("create a lock file")?;
    lock.lock().context("lock the directory of the languages' tools")?;
    LANGUAGES.iter().try_for_each(|language| language.build(root, &tools))
}

impl Language {
    fn build(&self, root: &Path, tools: &Path) -> Result<()> {
        let sources = root.join(EXAMPLES).join(self.name);
        let output = target_directory(root).join("plugins/examples");
        let plugin = output.join(self.name).with_extension("wasm");
        let built_from = output.join(self.name).with_extension("sources");
        let work = output.join("build").join(self.name);
        // What an earlier source left behind must not be built with.
        let _ = fs::remove_dir_all(&work);
        copy_directory(&sources, &work)?;
        fs::create_dir_all(work.join("wit/deps"))?;
        fs::copy(root.join(CONTRACT), work.join("wit/deps/hookmq-plugin.wit"))?;
        let wanted = contents(&work)?;
        if plugin.is_file() && fs::read(&built_from).is_ok_and(|built| built == wanted) {
            return Ok(());
        }
        let _ = fs::remove_file(&plugin);
        if let Err(error) = (self.install)(&sources, tools) {
            announce(&format!("SKIPPED: the example plugin in {}: {error:#}", self.name));
            return Ok(());
        }
        announce(&format!("build the example plugin in {}", self.name));
        (self.build)(&work, tools)?;
        put_manifest(&work.join("plugin.wasm"), &work.join("manifest.json"))?;
        fs::rename(work.join("plugin.wasm"), &plugin)?;
        fs::write(&built_from, wanted)?;
        Ok(())
    }
}

/// `cargo xtask plugin-manifest`: writes the manifest into the artefact, in place of one it may have.
pub fn put_manifest(artefact: &Path, manifest: &Path) -> Result<()> {
    let read = |file: &Path| fs::read(file).with_context(|| format!("read {}", file.display()));
    let written = with_manifest(&read(artefact)?, &read(manifest)?)
        .with_context(|| format!("{} is no WebAssembly", artefact.display()))?;
    fs::write(artefact, written).with_context(|| format!("write {}", artefact.display()))
}

fn install_for_c(sources: &Path, tools: &Path) -> Result<()> {
    packages::install_programs("the example plugin in C needs", &CLANG)?;
    install_as_pinned(sources, "wit-bindgen.version", &tools.join("cargo"), |place| {
        let version = fs::read_to_string(sources.join("wit-bindgen.version"))?;
        let mut install = clean_command("cargo");
        // Not optimised, as it is built for longer than it runs.
        install.args(["install", "--quiet", "--debug", "--locked", "--force"]);
        install.args(["--no-default-features", "--features", "c", "--root"]).arg(place);
        install.args(["wit-bindgen-cli", "--version", version.trim()]);
        cargo::run(install.stdin(Stdio::null()), "cargo install wit-bindgen-cli")
    })
}

fn build_c(work: &Path, tools: &Path) -> Result<()> {
    let mut bindings = Command::new(tools.join("cargo/bin/wit-bindgen"));
    bindings.args(["c", "wit/deps/hookmq-plugin.wit", "--world", "plugin"]).current_dir(work);
    run(&mut bindings)?;
    let mut clang = Command::new("clang");
    clang.args([
        "--target=wasm32",
        "-O2",
        "-Wall",
        "-Wextra",
        "-fno-builtin",
        "-nostdlib",
        "-nostdlibinc",
    ]);
    clang.args(["-isystem", "libc", "-Wl,--no-entry,--stack-first,--strip-debug"]);
    clang.args([
        "own_topics.c",
        "plugin.c",
        "plugin_component_type.o",
        "libc/libc.c",
        "-o",
        "plugin.wasm",
    ]);
    run(clang.current_dir(work))
}

fn install_for_javascript(sources: &Path, tools: &Path) -> Result<()> {
    install_as_pinned(sources, "package-lock.json", &tools.join("javascript"), |place| {
        fs::create_dir_all(place)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(sources.join(file), place.join(file))
                .with_context(|| format!("copy {file}"))?;
        }
        let mut npm = Command::new("npm");
        // Not `npm ci`: that wants packages for every platform in the lock file, even those that a
        // registry lacks.
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        run(npm.current_dir(place))
    })
}

fn build_javascript(work: &Path, tools: &Path) -> Result<()> {
    let program = tools.join("javascript/node_modules/.bin/componentize-js");
    let mut componentize = Command::new(program);
    componentize.args(["plugin.js", "--wit", "wit", "--world-name", "plugin", "--out"]);
    componentize.args(["plugin.wasm", "--disable"]);
    componentize.args(["stdio", "random", "clocks", "http", "fetch-event"]);
    run(componentize.current_dir(work))?;
    // Its program ends well even where it fails.
    ensure!(work.join("plugin.wasm").is_file(), "componentize-js made no component");
    Ok(())
}

fn install_for_python(sources: &Path, tools: &Path) -> Result<()> {
    install_as_pinned(sources, "requirements.txt", &tools.join("python"), |place| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(place))?;
        let mut pip = Command::new(place.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(pip.arg("--requirement").arg(sources.join("requirements.txt")))
    })
}

fn build_python(work: &Path, tools: &Path) -> Result<()> {
    let mut componentize = Command::new(tools.join("python/bin/componentize-py"));
    componentize.args(["--quiet", "--wit-path", "wit", "--world", "plugin", "componentize"]);
    componentize.args(["--stub-wasi", "--output", "plugin.wasm", "plugin"]);
    run(componentize.current_dir(work))
}

fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for file in files(from)? {
        let copy = to.join(file.strip_prefix(from).context("a file lies in its directory")?);
        fs::create_dir_all(copy.parent().context("a file has a directory")?)?;
        fs::copy(&file, &copy).with_context(|| format!("copy {}", file.display()))?;
    }
    Ok(())
}

/// All files with their names, one after the other.
fn contents(directory: &Path) -> Result<Vec<u8>> {
    let mut contents = Vec::new();
    for file in files(directory)? {
        let name = file.strip_prefix(directory).context("a file lies in its directory")?;
        contents.extend_from_slice(format!("{}\n", name.display()).as_bytes());
        contents.extend(fs::read(&file)?);
    }
    Ok(contents)
}

/// The files in and below `directory`, in order, that a build reads.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry?.path();
        let is_source = |extension| extension != "wasm" && extension != "md";
        if path.is_file() && path.extension().is_none_or(is_source) {
            files.push(path);
        } else if path.is_dir() && !path.ends_with("node_modules") {
            files.extend(self::files(&path)?);
        }
    }
    files.sort();
    Ok(files)
}
