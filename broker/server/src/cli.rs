//! The command line: `hookmq run`, `check`, `demo` and `credential`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};

use crate::commands::{
    AclCommand, ExplainOptions, ImportCommand, PluginCommand, RuleCommand, StoreCommand,
    TenantCommand,
};
use crate::config::{Bind, Config, LogLevel, is_loopback};
use crate::credential::CredentialCommand;
use crate::demo::{self, Demo, DemoPaths};

/// An MQTT broker that its operators program.
#[derive(Debug, Parser)]
#[command(name = "hookmq", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker.
    Run(RunOptions),
    /// Check a configuration and all that it names, without running it.
    Check(CheckOptions),
    /// Make a set-up to try: certificates and a configuration.
    Demo(DemoOptions),
    /// Make what a client is authenticated by, for the table `credentials`.
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// Tell what a change of permissions would do, before it is made.
    #[command(subcommand)]
    Acl(AclCommand),
    /// Bring clients and permissions along from another broker.
    #[command(subcommand)]
    Import(ImportCommand),
    /// Write, check and run rules.
    #[command(subcommand)]
    Rule(RuleCommand),
    /// Write, build and run plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// See and change the tenants of a running broker.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Look after the store of a broker that does not run.
    ///
    /// All end with 0 where all is well, with 1 where the store is damaged, and with 2 where they could
    /// not do what they were asked for.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Ask a running broker what its steps would say, and why.
    Explain(Box<ExplainOptions>),
    /// Compile a plugin from standard input to standard output: what the broker has a child do.
    #[command(hide = true)]
    CompilePlugin(CompileOptions),
}

/// With a configuration file, or without one for an open broker.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// The configuration file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "allow_anonymous", "data_dir"])]
    config: Option<PathBuf>,

    /// Without a file: listen here, such as tcp://127.0.0.1:1883. May be repeated.
    #[arg(long, value_name = "URL")]
    listen: Vec<Bind>,

    /// Without a file: let everybody in, and let them do anything.
    #[arg(long)]
    allow_anonymous: bool,

    /// With --allow-anonymous: listen even where other machines can reach it.
    #[arg(long, requires = "allow_anonymous")]
    allow_public: bool,

    /// Without a file: where data is kept.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,

    /// Threads that serve clients; one per CPU unless set.
    #[arg(long, value_name = "N")]
    pub worker_threads: Option<NonZeroUsize>,

    /// What is logged, instead of what the file says.
    #[arg(long, value_name = "LEVEL")]
    log: Option<LogLevel>,

    /// Leave the system's limit on core dumps as it is. They hold passwords, keys and messages.
    #[arg(long, env = "HOOKMQ_CORE_DUMPS")]
    pub core_dumps: bool,
}

#[derive(Debug, Args)]
pub struct CheckOptions {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
pub struct DemoOptions {
    /// Where the broker's data is kept; the demo goes to `demo` there.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,

    /// The rules that ship with the broker.
    #[arg(long, value_name = "DIR", default_value = "rules")]
    rules: PathBuf,

    /// The plugins that ship with the broker, compiled.
    #[arg(long, value_name = "DIR", default_value = "target/plugins")]
    plugins: PathBuf,
}

/// The limits that the child sets itself.
#[derive(Debug, Args)]
pub struct CompileOptions {
    #[arg(long, value_name = "N")]
    pub cpu_s: u64,

    /// Of address space.
    #[arg(long, value_name = "N")]
    pub memory_bytes: u64,

    #[arg(long)]
    pub one_processor: bool,
}

impl RunOptions {
    /// The configuration that these options ask for.
    ///
    /// # Errors
    /// Where the file has problems, or the options ask for what is not safe.
    pub fn config(&self) -> Result<Config> {
        let mut config = match &self.config {
            Some(file) => Config::load(file)?,
            None => self.without_file()?,
        };
        config.log.level = self.log.unwrap_or(config.log.level);
        Ok(config)
    }

    /// Whether there is no configuration and so no access rule.
    pub fn is_open(&self) -> bool {
        self.config.is_none()
    }

    fn without_file(&self) -> Result<Config> {
        ensure!(
            !self.listen.is_empty(),
            "what to run? `hookmq run --config FILE`, or for an open broker without access rules \
             `hookmq run --listen tcp://127.0.0.1:1883 --allow-anonymous`"
        );
        ensure!(
            self.allow_anonymous,
            "without --config nothing says who may connect: write a configuration, or let \
             everybody do anything with --allow-anonymous"
        );
        self.listen.iter().try_for_each(|bind| self.check_open(bind))?;
        Ok(Config::embedded(self.data_dir.clone(), &self.listen))
    }

    fn check_open(&self, bind: &Bind) -> Result<()> {
        let Bind::Network { transport, address } = bind else { return Ok(()) };
        if transport.is_encrypted() {
            bail!("--listen {bind} needs certificates, which --config can name");
        }
        ensure!(
            self.allow_public || is_loopback(*address),
            "--allow-anonymous on {address} opens the broker to other machines; if that is meant, \
             add --allow-public"
        );
        Ok(())
    }
}

impl CheckOptions {
    /// Prints `ok` or all problems. `check_programs` looks into the rules and plugins of a
    /// configuration that is otherwise sound.
    pub fn run(&self, check_programs: impl FnOnce(&Config) -> Result<()>) -> ExitCode {
        let loaded = Config::load(&self.config).map_err(anyhow::Error::from);
        match loaded.and_then(|config| check_programs(&config)) {
            Ok(()) => {
                println!("ok");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::from(2)
            }
        }
    }
}

impl DemoOptions {
    /// Makes the demo and prints where its configuration is.
    ///
    /// # Errors
    /// As [`demo::create`].
    pub fn run(&self) -> Result<Demo> {
        let paths =
            DemoPaths { data_dir: &self.data_dir, rules: &self.rules, plugins: &self.plugins };
        let demo = demo::create(paths)?;
        println!("{}", demo.config.display());
        Ok(demo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Result<Config> {
        let arguments = ["hookmq", "run"].iter().chain(arguments);
        match Cli::try_parse_from(arguments)?.command {
            Command::Run(options) => options.config(),
            other => bail!("not a run: {other:?}"),
        }
    }

    fn refusal(arguments: &[&str]) -> String {
        run(arguments).unwrap_err().to_string()
    }

    #[test]
    fn an_open_broker_needs_an_explicit_word() {
        let listen = ["--listen", "tcp://127.0.0.1:0"];
        assert!(refusal(&[]).contains("--config FILE"));
        assert!(refusal(&listen).contains("--allow-anonymous"));
        assert!(refusal(&["--allow-anonymous"]).contains("--listen"));
        let config = run(&[&listen[..], &["--allow-anonymous", "--data-dir", "d"]].concat());
        let config = config.unwrap();
        assert_eq!(config.data_dir, PathBuf::from("d"));
        assert_eq!(config.listeners[0].bind, "tcp://127.0.0.1:0".parse().unwrap());
        assert_eq!(&*config.pipeline.connect[0].program.name, "anonymous");
        assert_eq!(&*config.pipeline.authorize[0].program.name, "open");
    }

    #[test]
    fn an_open_broker_is_public_only_where_that_is_said() {
        for address in ["tcp://0.0.0.0:1883", "tcp://[::]:1883", "tcp://192.0.2.1:1883"] {
            let open = ["--allow-anonymous", "--listen", address];
            assert!(refusal(&open).contains("--allow-public"), "{address}");
            assert!(run(&[&open[..], &["--allow-public"]].concat()).is_ok(), "{address}");
        }
        for address in ["tcp://127.8.0.1:0", "tcp://[::1]:0", "tcp://[::ffff:127.0.0.1]:0"] {
            assert!(run(&["--allow-anonymous", "--listen", address]).is_ok(), "{address}");
        }
    }

    #[test]
    fn options_without_meaning_are_refused() {
        let table: [(&[&str], &str); 5] = [
            (&["--listen", "wss://127.0.0.1:80", "--allow-anonymous"], "--config"),
            (&["--listen", "tls://127.0.0.1:0", "--allow-anonymous"], "--config"),
            (&["--listen", "tcp://localhost:1883"], "IP address"),
            (&["--config", "a.yaml", "--allow-anonymous"], "cannot be used with"),
            (&["--config", "a.yaml", "--data-dir", "b"], "cannot be used with"),
        ];
        for (arguments, expected) in table {
            let message = refusal(arguments);
            assert!(message.contains(expected), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn the_log_level_of_the_command_line_wins() {
        let open = ["--allow-anonymous", "--listen", "tcp://127.0.0.1:0", "--log", "debug"];
        assert_eq!(run(&open).unwrap().log.level, LogLevel::Debug);
    }
}
