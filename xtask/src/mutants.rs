//! `cargo xtask mutants`: takes away one wait, order or check after the other, and sees the tests fail.
//!
//! See docs/decisions/0084-mutants-of-our-own.md.

mod edit;
mod list;
mod place;
mod suite;
mod trial;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use self::list::Mutant;
pub use self::list::check;
use self::place::Place;
use self::trial::Verdict;

/// Which mutants are asked for.
#[derive(Default)]
struct Chosen {
    /// Parts of names, one of which is enough; none: all.
    only: Vec<String>,
    group: Option<String>,
    /// They are told, and not tried.
    list: bool,
}

impl Chosen {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut chosen = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().cloned().with_context(|| format!("{argument} takes a value"));
            match argument.as_str() {
                "--list" => chosen.list = true,
                "--only" => chosen.only.push(value()?),
                "--group" => chosen.group = Some(value()?),
                _ => bail!("unknown option {argument}: there are --only, --group and --list"),
            }
        }
        Ok(chosen)
    }

    fn has(&self, mutant: &Mutant) -> bool {
        (self.only.is_empty() || self.only.iter().any(|text| mutant.name.contains(text)))
            && self.group.as_ref().is_none_or(|group| mutant.group == *group)
    }
}

/// Tries all mutants, or those that the arguments choose.
///
/// # Errors
/// Where a test that a mutant names does not fail with it, a mutant does not build, or a test fails
/// without any mutant.
pub fn mutants(root: &Path, arguments: &[String]) -> Result<()> {
    let chosen = Chosen::read(arguments)?;
    check(root)?;
    let mutants: Vec<Mutant> =
        list::read(root)?.into_iter().filter(|mutant| chosen.has(mutant)).collect();
    ensure!(!mutants.is_empty(), "there is no such mutant: --list names all");
    if chosen.list {
        mutants.iter().for_each(|it| println!("{:<11}{}: {}", it.group, it.name, it.breaks));
        return Ok(());
    }
    let place = Place::prepare(root)?;
    trial::without_mutants(&place, &mutants)?;
    let mut verdicts = Vec::new();
    for (number, mutant) in (1..).zip(&mutants) {
        let began = Instant::now();
        let verdict = trial::of(&place, mutant)?;
        let seconds = began.elapsed().as_secs();
        println!("[{number}/{}] {}: {verdict} ({seconds} s)", mutants.len(), mutant.name);
        verdicts.push((mutant, verdict));
    }
    conclude(&verdicts)
}

/// The table, and the closing line.
fn conclude(verdicts: &[(&Mutant, Verdict)]) -> Result<()> {
    let width = verdicts.iter().map(|(it, _)| it.name.len()).max().unwrap_or_default() + 2;
    println!("\n{:<11}{:<width$}verdict", "group", "mutant");
    for (mutant, verdict) in verdicts {
        println!("{:<11}{:<width$}{verdict}", mutant.group, mutant.name);
    }
    let bad: Vec<&str> =
        verdicts.iter().filter(|(_, it)| !it.is_good()).map(|(it, _)| it.name.as_str()).collect();
    ensure!(
        bad.is_empty(),
        "of {} mutants, these are not found: {}",
        verdicts.len(),
        bad.join(", ")
    );
    let covered = verdicts.iter().filter(|(_, it)| matches!(it, Verdict::Covered)).count();
    let killed = verdicts.len() - covered;
    println!("{killed} mutants are found by the tests, and {covered} by another layer, as said");
    Ok(())
}
