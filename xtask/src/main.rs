//! The project's one door: `cargo xtask run`, `test`, `check`, `interleavings`, `simulate`, `conformance`,
//! `crash`, `upgrade`, `overload`, `fuzz`, `mutants`, `bench`, `plugins` and `examples`.

mod bench;
mod cargo;
mod check;
mod clients;
mod conformance;
mod crash;
mod fuzz;
mod interleavings;
mod languages;
// The same file as the broker's, whose crate would bring a WebAssembly engine along.
#[path = "../../broker/wasm/src/manifest_section.rs"]
mod manifest_section;
mod mutants;
mod overload;
mod packages;
mod plugins;
mod run;
mod simulate;
mod test;
mod upgrade;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  run [--dev] [ARGUMENT]...   build all, set up a demo in ./data and run it; further arguments go to
                              `hookmq run`. --dev builds faster and runs slower
  test [FILTER]...            install what the tests need, run every test and every check; with a
                              filter, only the tests that it names
  check                       format, lints, walls between crates, links between documents, statements
                              of the MQTT specifications without a test,
                              mutants that the code has left behind
  interleavings               run what threads hand over in every order of its steps, or every order
                              with few interruptions
  simulate [--seeds N] [--seed N]
                              the whole broker with simulated network, clock and disk: 5000 seeds where
                              nothing is said, or the one that is named
  conformance                 run the tests that show normative statements and write docs/conformance.md
  crash [--minutes N] [--kills N] [--seed N]
                              the broker under load, killed at random instants; checks what it has
                              acknowledged. 10 minutes where nothing is said
  upgrade [--from REVISION] [--changes N]
                              an older broker and this one take turns with the same data under load; the
                              latest release where nothing is said
  overload [--minutes N]      more than there is room for: what is dropped is counted, and others notice
                              nothing. 2 minutes where nothing is said
  fuzz [--seconds N] [TARGET] try what strangers and damaged disks could bring, on all targets or one; 60
                              seconds each where nothing is said
  mutants [--group NAME] [--only TEXT]... [--list]
                              take away each wait for the disk, each order and each check of permission
                              in turn, and see the tests fail
  bench [--rounds N] [--seconds N] [--only TEXT]... [--compared] [--json FILE] [--write]
                              measure HookMQ beside Mosquitto; --write puts the tables into
                              docs/performance.md, --compared leaves out what only HookMQ is measured at
  plugins                     build the plugins for WebAssembly
  examples                    build the example plugins in C, JavaScript and Python
  plugin-manifest FILE.wasm MANIFEST.json
                              write the manifest into the plugin, in place of one that it has
";

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let root = root()?;
    match command.as_deref() {
        Some("run") => run::run(&root, rest),
        Some("test") => test::test(&root, &rest),
        Some("check") if rest.is_empty() => check::check(&root),
        Some("interleavings") if rest.is_empty() => interleavings::interleavings(&root),
        Some("simulate") => simulate::simulate(&root, &rest),
        Some("conformance") if rest.is_empty() => conformance::conformance(&root),
        Some("crash") => crash::crash(&root, &rest),
        Some("upgrade") => upgrade::upgrade(&root, &rest),
        Some("overload") => overload::overload(&root, &rest),
        Some("fuzz") => fuzz::fuzz(&root, &rest),
        Some("mutants") => mutants::mutants(&root, &rest),
        Some("bench") => bench::bench(&root, &rest),
        Some("plugins") if rest.is_empty() => {
            for file in plugins::build(&root)? {
                println!("{}", file.display());
            }
            Ok(())
        }
        Some("examples") if rest.is_empty() => languages::build(&root),
        Some("plugin-manifest") if rest.len() == 2 => {
            languages::put_manifest(Path::new(&rest[0]), Path::new(&rest[1]))
        }
        None | Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(())
        }
        Some(_) => bail!("unknown command or argument\n\n{USAGE}"),
    }
}

/// The repository. Cargo says at run time which one it works in: clones that share a target
/// directory share this program.
fn root() -> Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").context("start it as `cargo xtask`")?;
    Path::new(&here).parent().map(Path::to_owned).context("xtask lies in the repository")
}

/// Says what happens next.
fn announce(what: &str) {
    eprintln!("xtask: {what}");
}
