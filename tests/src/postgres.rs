//! A private Postgres server for one test: in a temporary folder, on a unix socket, gone on drop.
//!
//! A keeper stops the server when the test process has come to an end, however it did.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// The account that the distribution's package makes; root may not run a server.
const ACCOUNT: &str = "postgres";

/// Waits for the end of its input, which comes when the process that holds the other end drops it
/// or dies. The arguments are pg_ctl, the data folder, and the folder around it.
const KEEPER: &str = r#"read -r _; "$0" -D "$1" -m immediate -w stop; rm -rf "$2""#;

/// A server that belongs to whoever holds it. Dropping it stops it, in a panic as well.
pub struct Postgres {
    keeper: Option<Child>,
    binaries: PathBuf,
    folder: TempDir,
    account: Option<Account>,
    databases: AtomicU32,
}

#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Postgres {
    /// A server that runs.
    ///
    /// # Errors
    /// Where Postgres is not installed or does not start; the message holds its own words.
    pub fn start() -> anyhow::Result<Self> {
        let server = Self::prepare()?;
        server.resume()?;
        Ok(server)
    }

    /// A server that runs, the same for all tests that hold it at the same time.
    pub fn shared() -> anyhow::Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// A server that does not run yet. Its address is known.
    pub fn prepare() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("hookmq-postgres-").tempdir()?;
        let account = match std::fs::metadata(folder.path())?.uid() {
            0 => Some(Account::of_package()?),
            _ => None,
        };
        if let Some(Account { user, group }) = account {
            chown(folder.path(), Some(user), Some(group))?;
        }
        let binaries = find_binaries()?;
        let databases = AtomicU32::new(0);
        let mut server = Self { keeper: None, binaries, folder, account, databases };
        let mut initdb = server.tool("initdb");
        initdb.arg("-D").arg(server.data());
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
        run(&mut initdb)?;
        server.keeper = Some(server.spawn_keeper()?);
        Ok(server)
    }

    /// Starts the server, and returns when it takes connections.
    pub fn resume(&self) -> anyhow::Result<()> {
        let folder = self.folder.path().display();
        let options = format!("-k {folder} -c listen_addresses='' -c fsync=off");
        let mut command = self.tool("pg_ctl");
        command.arg("-D").arg(self.data()).arg("-l").arg(self.folder.path().join("log"));
        command.args(["-o", &options, "-w", "-t", "60", "start"]);
        // Not its output: the server would keep the pipe open.
        let status = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("running {command:?}"))?;
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        ensure!(status.success(), "{command:?} failed; its log: {log}");
        Ok(())
    }

    /// Ends the server as a crash would: at once, connections and all.
    pub fn stop(&self) -> anyhow::Result<()> {
        let mut command = self.tool("pg_ctl");
        command.arg("-D").arg(self.data()).args(["-m", "immediate", "-w", "stop"]);
        run(&mut command).map(drop)
    }

    /// Stops its processes where they are, until the value is dropped: sockets are open, and nobody
    /// answers.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn pause(&self) -> anyhow::Result<Paused> {
        let file = self.data().join("postmaster.pid");
        let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        let postmaster = text.lines().next().context("the postmaster's id")?.to_owned();
        signal("-STOP", std::slice::from_ref(&postmaster))?;
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = std::fs::read_to_string(&children).context(children)?;
        let children: Vec<_> = children.split_whitespace().map(str::to_owned).collect();
        let paused = Paused([vec![postmaster], children].concat());
        signal("-STOP", &paused.0[1..])?;
        Ok(paused)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// Makes an empty database; gives its address.
    pub fn create_database(&self) -> anyhow::Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut command = self.tool("createdb");
        command.arg("-h").arg(self.folder.path()).args(["-U", "postgres", &name]);
        run(&mut command)?;
        Ok(self.url(&name))
    }

    /// The address of the database `name`. `postgres` exists from the start.
    pub fn url(&self, name: &str) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}/{name}")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn spawn_keeper(&self) -> anyhow::Result<Child> {
        let mut command = self.command(Path::new("/bin/sh"));
        command.args(["-c", KEEPER]).arg(self.binaries.join("pg_ctl"));
        command.arg(self.data()).arg(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // What interrupts the tests must not reach it.
        command.process_group(0);
        command.spawn().with_context(|| format!("running {command:?}"))
    }

    fn tool(&self, name: &str) -> Command {
        self.command(&self.binaries.join(name))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path());
        if let Some(Account { user, group }) = self.account {
            command.uid(user).gid(group);
        }
        command
    }
}

/// The processes of a server that is paused; they go on when it is dropped.
pub struct Paused(Vec<String>);

impl Drop for Paused {
    fn drop(&mut self) {
        // One that is gone needs nothing.
        let _ = signal("-CONT", &self.0);
    }
}

fn signal(signal: &str, processes: &[String]) -> anyhow::Result<()> {
    run(Command::new("kill").arg(signal).args(processes)).map(drop)
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

impl Account {
    fn of_package() -> anyhow::Result<Self> {
        let accounts = std::fs::read_to_string("/etc/passwd")?;
        let prefix = format!("{ACCOUNT}:");
        let line = accounts.lines().find(|line| line.starts_with(&prefix));
        let line = line.with_context(|| format!("no account {ACCOUNT}; {INSTALL}"))?;
        let mut fields = line.split(':').skip(2);
        let mut number = || fields.next().unwrap_or_default().parse();
        Ok(Self { user: number()?, group: number()? })
    }
}

const INSTALL: &str = "Postgres is not installed: apt-get install postgresql";

/// The newest version's folder; the package leaves it out of PATH.
fn find_binaries() -> anyhow::Result<PathBuf> {
    let installed = Path::new("/usr/lib/postgresql");
    let versions = std::fs::read_dir(installed).context(INSTALL)?;
    let folders = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let newest = folders.filter(|folder| folder.join("initdb").exists()).max();
    newest.context(INSTALL)
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
        bail!("{command:?} failed: {out}{err}");
    }
    Ok(output)
}
