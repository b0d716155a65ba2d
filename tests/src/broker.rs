//! The real binary as a child process: started, watched through its log, ended with the test.

use std::fs::{DirBuilder, File};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::admin::AdminClient;
use crate::wait::wait_until;

/// The only listener of [`Broker::open`] and [`Broker::open_with`].
pub const OPEN_LISTENER: &str = "listener-1";

/// A running broker. Dropping it kills it; where the test panics, its log is printed.
pub struct Broker {
    process: Mutex<Child>,
    directory: TempDir,
}

impl Broker {
    /// A broker without a configuration, which lets everybody do anything.
    pub fn open() -> Self {
        Self::open_at("tcp://127.0.0.1:0")
    }

    /// The same, with a listener of another kind; let it have port 0.
    pub fn open_at(bind: &str) -> Self {
        let directory = directory();
        let mut command = hookmq();
        command.args(["run", "--listen", bind, "--allow-anonymous", "--data-dir"]);
        command.arg(directory.path().join("data"));
        Self::spawn(command, directory)
    }

    /// As [`Broker::open`], with an admin API and this body of the section `limits`.
    pub fn open_with(limits_yaml: &str) -> Self {
        let limits: String =
            limits_yaml.trim().lines().map(|line| format!("  {}\n", line.trim())).collect();
        Self::open_with_sections(&match &*limits {
            "" => limits,
            _ => format!("limits:\n{limits}"),
        })
    }

    /// As [`Broker::open`], with an admin API and these sections of the configuration.
    pub fn open_with_sections(sections: &str) -> Self {
        let yaml = format!(
            "data_dir: data
listeners:
  - {{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}
admin: {{bind: \"127.0.0.1:0\"}}
{sections}
pipeline:
  connect: [{{builtin: anonymous}}]
  authorize: [{{builtin: open}}]
"
        );
        Self::with_config(&yaml, directory())
    }

    /// A broker with this configuration, which is written to `directory`, so its relative paths start
    /// there. Let listeners and the admin API have port 0, and `data_dir` be `data`.
    pub fn with_config(yaml: &str, directory: TempDir) -> Self {
        Self::with_command(yaml, directory, |_| {})
    }

    /// As [`Broker::with_config`], by a command to which `change` adds options or variables.
    pub fn with_command(yaml: &str, directory: TempDir, change: impl FnOnce(&mut Command)) -> Self {
        let config = directory.path().join("hookmq.yaml");
        std::fs::write(&config, yaml).expect("write the configuration");
        let mut command = hookmq();
        command.args(["run", "--config"]).arg(config);
        change(&mut command);
        Self::spawn(command, directory)
    }

    /// As [`Broker::with_config`], of the broker that `binary` is.
    pub fn with_binary(binary: &Path, yaml: &str, directory: TempDir) -> Self {
        let config = directory.path().join("hookmq.yaml");
        std::fs::write(&config, yaml).expect("write the configuration");
        let mut command = other(binary);
        command.args(["run", "--config"]).arg(config);
        Self::spawn(command, directory)
    }

    /// Kills the broker, and starts it again with its configuration and its data. Its log begins anew.
    pub fn restart(&mut self) {
        self.kill();
        self.start();
    }

    /// SIGKILL; waits until it is gone.
    pub fn kill(&mut self) {
        let mut process = self.process();
        process.kill().expect("kill the broker");
        process.wait().expect("wait for its end");
    }

    /// Starts it again once it has ended, with its configuration and its data. Its log begins anew, and
    /// the one before is `broker.log.1`.
    pub fn start(&mut self) {
        self.start_as(hookmq());
    }

    /// As [`Broker::start`], on a disk that fails: no file grows beyond so many KiB, and whoever tries is
    /// told of an error.
    pub fn start_on_failing_disk(&mut self, kibibytes: u64) {
        let mut shell = Command::new("sh");
        // The signal that comes with the error would end the process. Blocks have 512 bytes.
        let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", 2 * kibibytes);
        shell.args(["-c", &limited]);
        self.start_under(shell);
    }

    /// As [`Broker::start`], by another program: it gets the broker's command line behind its own
    /// arguments, and becomes the broker.
    pub fn start_under(&mut self, mut program: Command) {
        program.arg(hookmq().get_program()).env("NO_COLOR", "1").env_remove("HOOKMQ_LOG");
        self.start_as(program);
    }

    /// As [`Broker::start`], of the broker that `binary` is: an older one, for instance.
    pub fn start_other(&mut self, binary: &Path) {
        self.start_as(other(binary));
    }

    fn start_as(&mut self, mut command: Command) {
        command.args(["run", "--config"]).arg(self.directory().join("hookmq.yaml"));
        let log = log_file(self.directory());
        std::fs::rename(&log, log.with_extension("log.1")).expect("put the log aside");
        let process = start(command, self.directory());
        *self.process() = process;
    }

    /// Lets the directory stay when the broker goes.
    pub fn keep_directory(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.directory().to_owned()
    }

    /// What the broker's configuration lies in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where `listener` is, as soon as the broker says so.
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.logged_address(&format!("listening listener={listener:?} "))
    }

    /// The admin API, as soon as it listens.
    pub fn admin(&self) -> AdminClient {
        let address = self.logged_address("admin API listening ");
        let token = std::fs::read_to_string(self.directory().join("data/admin.token"));
        AdminClient::new(address, token.expect("read data/admin.token").trim())
    }

    /// All that the broker has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_file(self.directory())).expect("read the broker's log")
    }

    /// Waits for a line with `text` and returns the first one.
    ///
    /// # Panics
    /// Where the broker ends without it.
    pub fn wait_for_log(&self, text: &str) -> String {
        wait_until(&format!("the broker logs {text:?}"), || {
            let is_running = self.is_running();
            let line = self.log().lines().find(|line| line.contains(text)).map(str::to_owned);
            assert!(line.is_some() || is_running, "the broker ended before it logged {text:?}");
            line
        })
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        assert!(self.is_running(), "the broker was gone before");
        let id = self.process().id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("run kill").success(), "SIGTERM cannot be sent");
        wait_until("the broker ends", || self.exit_status())
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&self) -> ExitStatus {
        wait_until("the broker ends", || self.exit_status())
    }

    /// Bytes of memory that the process has at present.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most bytes of memory that the process has ever had.
    pub fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Processor time that the process has used, in the system's ticks of 10 ms.
    pub fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process().id()));
        let stat = stat.expect("the broker runs");
        // Behind the name, which may hold anything, the user's and the system's time are 12th and 13th.
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum()
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process().id()));
        let status = status.expect("the broker runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kibibytes.and_then(|it| it.parse::<u64>().ok()).expect("a number of kB") * 1024
    }

    /// The system's limits for the process, as the kernel shows them.
    pub fn limits(&self) -> String {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.process().id()));
        limits.expect("the broker runs")
    }

    /// Sockets that the process has open.
    pub fn open_sockets(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.process().id()));
        let is_socket = |file: std::io::Result<std::fs::DirEntry>| {
            let target = file.and_then(|file| std::fs::read_link(file.path()));
            target.is_ok_and(|it| it.to_string_lossy().starts_with("socket:"))
        };
        files.expect("the broker runs").map(is_socket).filter(|it| *it).count()
    }

    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    fn spawn(command: Command, directory: TempDir) -> Self {
        Self { process: Mutex::new(start(command, directory.path())), directory }
    }

    fn process(&self) -> MutexGuard<'_, Child> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exit_status(&self) -> Option<ExitStatus> {
        self.process().try_wait().expect("ask for the broker's state")
    }

    /// The field `address` of the line with `text`.
    fn logged_address(&self, text: &str) -> SocketAddr {
        let line = self.wait_for_log(text);
        let address = line.split_once("address=").and_then(|(_, rest)| rest.split(' ').next());
        address.and_then(|address| address.parse().ok()).expect("an address in the line")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.process().kill();
        let _ = self.process().wait();
        if std::thread::panicking() {
            eprintln!("--- the broker's log ---\n{}---", self.log());
        }
    }
}

fn start(mut command: Command, directory: &Path) -> Child {
    let log = File::create(log_file(directory)).expect("make the log file");
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    process.expect("start hookmq")
}

/// The command under test, without colours and without anybody's `HOOKMQ_LOG`.
pub fn hookmq() -> Command {
    other(&binary())
}

/// The program under test.
pub fn binary() -> PathBuf {
    let binary = match std::env::var_os("HOOKMQ_BIN") {
        Some(binary) => PathBuf::from(binary),
        None => target_directory().join("debug/hookmq"),
    };
    assert!(
        binary.is_file(),
        "there is no {}: `cargo xtask test` builds it; HOOKMQ_BIN can name another",
        binary.display()
    );
    binary
}

/// `binary`, without colours and without anybody's `HOOKMQ_LOG`.
fn other(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env("NO_COLOR", "1").env_remove("HOOKMQ_LOG");
    command
}

/// The plugins that were built for the tests.
pub fn plugins() -> PathBuf {
    let directory = match std::env::var_os("HOOKMQ_PLUGINS_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => target_directory().join("plugins"),
    };
    assert!(
        directory.join("json-transform.wasm").is_file(),
        "there is no {}/json-transform.wasm: `cargo xtask plugins` builds it",
        directory.display()
    );
    directory
}

/// A directory for one test, gone with its broker.
pub fn directory() -> TempDir {
    tempfile::Builder::new().prefix("hookmq-test-").tempdir().expect("make a directory")
}

/// Puts rules, by name, where the broker in this directory looks for them.
pub fn add_rules(directory: &Path, rules: &[(&str, &str)]) {
    let folder = directory.join("rules");
    std::fs::create_dir_all(&folder).expect("make a folder");
    for (name, text) in rules {
        std::fs::write(folder.join(format!("{name}.rhai")), text).expect("write a rule");
    }
}

/// Lets the broker in this directory find what other tests' brokers have compiled: for tests that run
/// plugins, or rules in the sandbox, and are not about compiling them. It goes before the first start.
pub fn share_compiled(directory: &Path) {
    let shared = target_directory().join("compiled-plugins");
    let data = directory.join("data");
    for directory in [&shared, &data] {
        // What others may write to, the broker does not trust.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.expect("make a directory");
    }
    symlink(shared, data.join("compiled")).expect("make a link");
}

/// A test runs as `<target>/<profile>/deps/<name>`.
fn target_directory() -> PathBuf {
    let test = std::env::current_exe().expect("this program has a path");
    test.ancestors().nth(3).expect("it lies in a target directory").to_owned()
}

fn log_file(directory: &Path) -> PathBuf {
    directory.join("broker.log")
}
