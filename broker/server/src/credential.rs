//! `hookmq credential`: makes what the table `credentials` keeps.

use std::io::{BufRead, IsTerminal};
use std::num::NonZeroU32;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use hookmq_access::{
    LONGEST_PASSWORD, MINIMUM_ITERATIONS, PasswordHash, ScramSecret, ScramSettings,
};

/// Iterations that a small device still gets through.
const MOST_ITERATIONS: i64 = 10_000_000;

#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Read a password from the first line of standard input, and print its Argon2id hash.
    Password,
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
        let input = std::io::stdin();
        if input.is_terminal() {
            eprintln!("The password, which is shown as you type it:");
        }
        let line = first_line(input.lock())?;
        match self {
            Self::Password => println!("{}", hash(&line)?),
            Self::Scram(options) => println!("{}", options.secret(&line)?),
        }
        Ok(())
    }
}

impl ScramOptions {
    fn secret(&self, password: &[u8]) -> Result<String> {
        let password = str::from_utf8(password).context("the password is not UTF-8")?;
        let iterations = NonZeroU32::new(self.iterations).context("no iterations")?;
        Ok(ScramSecret::derive(password, rand::random(), iterations)?.to_text())
    }
}

fn hash(password: &[u8]) -> Result<String> {
    ensure!(!password.is_empty(), "the password is empty");
    PasswordHash::derive(password).to_text().context("the hash has no text")
}

/// Without the end of the line.
fn first_line(input: impl BufRead) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    // Two more for the end of the line, and one to see that it is too long.
    let mut bounded = input.take(LONGEST_PASSWORD as u64 + 3);
    bounded.read_until(b'\n', &mut line).context("read the password")?;
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    ensure!(line.len() <= LONGEST_PASSWORD, "the password has more than {LONGEST_PASSWORD} bytes");
    Ok(line.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(input: &[u8]) -> Result<String> {
        ScramOptions { iterations: 4096 }.secret(&first_line(input)?)
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
        assert!(secret(&[b'x'; LONGEST_PASSWORD]).is_ok());
        assert!(secret(&[b'x'; LONGEST_PASSWORD + 1]).is_err());
        assert!(hash(b"").is_err());
    }
}
