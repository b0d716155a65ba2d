//! `hookmq credential`: makes what the table `credentials` keeps.

use std::io::{BufRead, IsTerminal};
use std::num::NonZeroU32;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use hookmq_access::{MINIMUM_ITERATIONS, ScramSecret, ScramSettings};

/// Bytes of a password.
const LONGEST_PASSWORD: u64 = 1024;

/// Iterations that a small device still gets through.
const MOST_ITERATIONS: i64 = 10_000_000;

#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Read a password from the first line of standard input, and print its secret for
    /// SCRAM-SHA-256.
    Scram(ScramOptions),
}

#[derive(Debug, Args)]
pub struct ScramOptions {
    /// How much work each try of a password is, for the client, too.
    #[arg(
        long,
        value_name = "N",
        default_value_t = ScramSettings::ITERATIONS.get(),
        value_parser = clap::value_parser!(u32).range(i64::from(MINIMUM_ITERATIONS)..=MOST_ITERATIONS)
    )]
    iterations: u32,
}

impl CredentialCommand {
    /// Prints the secret.
    ///
    /// # Errors
    /// Where standard input begins with no password.
    pub fn run(&self) -> Result<()> {
        let Self::Scram(options) = self;
        let input = std::io::stdin();
        if input.is_terminal() {
            eprintln!("The password, which is shown as you type it:");
        }
        println!("{}", options.secret(input.lock())?);
        Ok(())
    }
}

impl ScramOptions {
    fn secret(&self, input: impl BufRead) -> Result<String> {
        let mut line = Vec::new();
        // Two more for the end of the line, and one to see that it is too long.
        let mut bounded = input.take(LONGEST_PASSWORD + 3);
        bounded.read_until(b'\n', &mut line).context("read the password")?;
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        ensure!(
            line.len() as u64 <= LONGEST_PASSWORD,
            "the password has more than {LONGEST_PASSWORD} bytes"
        );
        let password = str::from_utf8(line).context("the password is not UTF-8")?;
        let iterations = NonZeroU32::new(self.iterations).context("no iterations")?;
        Ok(ScramSecret::derive(password, rand::random(), iterations)?.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(input: &[u8]) -> Result<String> {
        ScramOptions { iterations: 4096 }.secret(input)
    }

    #[test]
    fn the_first_line_is_the_password_and_each_secret_has_a_salt_of_its_own() {
        let (one, other) = (secret(b"pencil").unwrap(), secret(b"pencil\r\nrest").unwrap());
        assert_ne!(one, other);
        for text in [one, other] {
            assert!(text.starts_with("SCRAM-SHA-256$4096:"), "{text}");
            assert!(text.parse::<ScramSecret>().is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_password_is_refused() {
        assert!(secret(b"").is_err());
        assert!(secret(b"\nsecond line").is_err());
        assert!(secret(b"a\xff\n").is_err());
        assert!(secret(&[b'x'; LONGEST_PASSWORD as usize]).is_ok());
        assert!(secret(&[b'x'; LONGEST_PASSWORD as usize + 1]).is_err());
    }
}
