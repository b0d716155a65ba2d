//! The normative statements, as `tests/conformance/statements` lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

const DIRECTORY: &str = "tests/conformance/statements";

/// A version of the protocol, and what its specification demands.
pub struct Specification {
    pub name: &'static str,
    pub statements: Vec<Statement>,
}

pub struct Statement {
    /// As in the specification, with the version: `MQTT5-3.1.2-4`.
    pub id: String,
    pub binds: Binds,
    /// What it demands, in the project's words.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binds {
    Server,
    Client,
    Both,
}

impl Binds {
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Both => "both",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let all = [Self::Server, Self::Client, Self::Both];
        all.into_iter().find(|binds| binds.name() == text).with_context(|| format!("binds {text}"))
    }
}

pub fn read_specifications(root: &Path) -> Result<Vec<Specification>> {
    let mut ids = BTreeSet::new();
    let mut specifications = Vec::new();
    for (name, file) in [("MQTT 5.0", "mqtt5.tsv"), ("MQTT 3.1.1", "mqtt311.tsv")] {
        let mut statements = Vec::new();
        for row in read_table(root, file)? {
            let [id, binds, text] = &row[..] else { bail!("{file}: a row of {row:?}") };
            ensure!(ids.insert(id.clone()), "{file}: {id} stands twice");
            let binds = Binds::parse(binds).with_context(|| format!("{file}: {id}"))?;
            statements.push(Statement { id: id.clone(), binds, text: text.clone() });
        }
        specifications.push(Specification { name, statements });
    }
    Ok(specifications)
}

/// Why a statement needs no test, by its id.
pub fn read_exemptions(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut exemptions = BTreeMap::new();
    for row in read_table(root, "exempt.tsv")? {
        let [id, reason] = &row[..] else { bail!("exempt.tsv: a row of {row:?}") };
        ensure!(
            exemptions.insert(id.clone(), reason.clone()).is_none(),
            "exempt.tsv: {id} stands twice"
        );
    }
    Ok(exemptions)
}

/// The rows below the heading, comments left out.
fn read_table(root: &Path, file: &str) -> Result<Vec<Vec<String>>> {
    let path = root.join(DIRECTORY).join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    Ok(rows.map(|row| row.split('\t').map(str::to_owned).collect()).collect())
}
