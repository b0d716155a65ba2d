//! The `hookmq` command.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Error, Result};
use clap::Parser;
use hookmq::cli::{Cli, Command, DemoOptions, RunOptions};
use hookmq::config::{Config, LogConfig, LogFormat};
use hookmq::connection;
use hookmq::demo;
use hookmq::server::{Server, check_programs};
use hookmq::tls;
use hookmq_access::Database;
use hookmq_wasm::{Processors, compile_in_child};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

// Messages are made on one worker and freed on another, which this allocator is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Check(options) => return options.run(check_programs),
        Command::Run(options) => run(&options),
        Command::Demo(options) => make_demo(&options),
        Command::Credential(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Rule(command) => match command.run() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Acl(command) => match command.run() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Store(command) => match command.run() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Plugin(command) => command.run(),
        Command::Tenant(command) => command.run(),
        Command::Explain(options) => options.run(),
        Command::CompilePlugin(options) => {
            let processors = if options.one_processor { Processors::One } else { Processors::All };
            compile_in_child(options.cpu_s, options.memory_bytes, processors).map_err(Error::msg)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &RunOptions) -> Result<()> {
    refuse_huge_pages();
    if !options.core_dumps {
        refuse_core_dumps().context("turn core dumps off")?;
    }
    let config = options.config()?;
    start_log(config.log)?;
    if options.is_open() {
        tracing::warn!("open broker: everybody may connect, publish and subscribe to everything");
    }
    let has_tls = config.listeners.iter().any(|listener| listener.tls.is_some());
    let runtime = runtime(options.worker_threads.map(usize::from), has_tls)?;
    let ended = runtime.block_on(async {
        let server = Server::build(config).await?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        server
            .run(async move {
                // Both only wait, so either may be dropped.
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await
    });
    // What is left are tasks that nobody waits for.
    runtime.shutdown_background();
    ended
}

/// Has memory come in pages of 4 KiB only. Huge pages are resident as a whole when a part of one is used,
/// and ten thousand idle clients would take half as much memory again.
#[allow(unsafe_code)]
fn refuse_huge_pages() {
    // SAFETY: it takes numbers, and has no effect but on how the kernel serves this process's page
    // faults. Where it fails, more memory is taken.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

/// Lets no crash leave a file behind: with passwords, keys and messages in it. Children have the limit,
/// too, and nobody without privileges can raise it again.
#[allow(unsafe_code)]
fn refuse_core_dumps() -> std::io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call reads one rlimit, and `none` is one.
    match unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn make_demo(options: &DemoOptions) -> Result<()> {
    let made = options.run()?;
    let config = Config::load(&made.config)?;
    let Some(settings) = &config.database else { return Ok(()) };
    runtime(Some(1), false)?.block_on(async {
        let database = Database::open(settings);
        database.migrate().await.context("create the demo's database")?;
        database.seed(demo::TENANT, demo::SEED).await.context("fill the demo's database")
    })?;
    Ok(())
}

/// `has_tls`: the workers are to shake hands.
fn runtime(workers: Option<usize>, has_tls: bool) -> Result<Runtime> {
    let workers = workers
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let (named, started) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .on_thread_start(move || {
            // The workers are the first threads that a runtime starts.
            if has_tls && started.fetch_add(1, Ordering::Relaxed) < workers {
                tls::seed_random_numbers();
            }
        })
        .on_thread_park(connection::rest)
        .thread_name_fn(move || format!("worker-{}", named.fetch_add(1, Ordering::Relaxed)))
        .build()
        .context("start the runtime")
}

/// The level of the configuration, unless `HOOKMQ_LOG` says more precisely.
fn start_log(config: LogConfig) -> Result<()> {
    let level = config.level.as_str();
    let filter = EnvFilter::builder()
        .with_default_directive(level.parse().context("the log level")?)
        .with_env_var("HOOKMQ_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},sqlx=warn,rustls=warn")));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
