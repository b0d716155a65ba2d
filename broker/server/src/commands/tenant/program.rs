//! What is done with a rule or a plugin that a tenant owns: the same for both.

use std::path::Path;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Value;

use super::{Named, print, segment};

/// What the admin API calls them.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Rules,
    Plugins,
}

#[derive(Debug, Subcommand)]
pub enum ProgramCommand {
    /// Name them in the order in which they are asked, with what they have done.
    List(Named),
    /// Print one as JSON: what it is, its last failure, and what it has logged last.
    Show(Chosen),
    /// Put the version before in force again.
    Rollback(Chosen),
    /// Take one away, with what it has kept.
    Delete(Chosen),
}

#[derive(Debug, Args)]
pub struct Chosen {
    #[command(flatten)]
    named: Named,
    /// What it is called.
    program: String,
}

impl Kind {
    /// Puts a program in force and prints it. Without a name it is called as its file is.
    pub fn push(self, named: &Named, file: &Path, name: Option<&str>, query: &str) -> Result<()> {
        let stem = file.file_stem().and_then(|it| it.to_str());
        let name = name.or(stem).context("what is it called? add --name")?;
        print(&named.api.request(Method::PUT, &self.path(named, name, query), read(file)?)?)
    }

    fn path(self, named: &Named, program: &str, rest: &str) -> String {
        format!("{}/{}{rest}", self.all(named), segment(program))
    }

    fn all(self, named: &Named) -> String {
        let kind = match self {
            Self::Rules => "rules",
            Self::Plugins => "plugins",
        };
        format!("{}/{kind}", named.path())
    }
}

impl ProgramCommand {
    pub fn run(&self, kind: Kind) -> Result<()> {
        match self {
            Self::List(named) => {
                let listed = named.api.request(Method::GET, &kind.all(named), vec![])?;
                listed["items"].as_array().into_iter().flatten().for_each(tell);
                Ok(())
            }
            Self::Show(chosen) => print(&chosen.ask(kind, Method::GET, "")?),
            Self::Rollback(chosen) => print(&chosen.ask(kind, Method::POST, "/rollback")?),
            Self::Delete(chosen) => chosen.ask(kind, Method::DELETE, "").map(drop),
        }
    }
}

impl Chosen {
    fn ask(&self, kind: Kind, method: Method, rest: &str) -> Result<Value> {
        let Self { named, program } = self;
        named.api.request(method, &kind.path(named, program, rest), vec![])
    }
}

pub fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("read {}", file.display()))
}

/// One line of a list.
fn tell(program: &Value) {
    let hooks = program["hooks"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let hooks = hooks.collect::<Vec<_>>().join(" ");
    let why = match (&program["problem"], &program["last_failure"]["message"]) {
        (Value::String(problem), _) => format!("\tdoes not load: {}", problem.escape_debug()),
        (_, Value::String(failure)) => format!("\tlast failure: {}", failure.escape_debug()),
        _ => String::new(),
    };
    let name = program["name"].as_str().unwrap_or_default();
    println!("{name}\t{hooks}\t{} calls, {} failures{why}", program["calls"], program["failures"]);
}
