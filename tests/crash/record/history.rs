//! The latest of what happened, for whoever looks into a broken promise.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::Path;

/// Lines that are kept: some seconds of full load.
const LINES: usize = 100_000;

#[derive(Debug, Default)]
pub struct History {
    /// How many brokers have been started before this one.
    pub life: u32,
    lines: VecDeque<String>,
    number: u64,
}

impl History {
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        self.number += 1;
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{} life {}: {}", self.number, self.life, line()));
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let mut file = io::BufWriter::new(std::fs::File::create(file)?);
        for line in &self.lines {
            writeln!(file, "{line}")?;
        }
        file.flush()
    }
}
