//! A compilation in a process of its own: what starts it, and what runs in it.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::Engine;

use super::{ChildCompilation, CompileLimits, engine_config, in_process};
use crate::{LoadError, artefact};

/// The most that is taken of a child's output.
pub(super) const MAX_COMPILED_BYTES: u64 = 256 << 20;
const MAX_ERROR_BYTES: u64 = 4 << 10;
/// How often is looked whether the child has ended.
const INTERVAL: Duration = Duration::from_millis(5);
/// Its allocator sets aside a gigabyte at a time otherwise, which its address space may not have.
const ALLOCATOR: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "32MiB");
/// As Rust's standard library says it.
const ALLOCATION_FAILED: &str = "memory allocation of";
/// It has three pipes.
const MAX_OPEN_FILES: u64 = 16;
/// The broker's threads go first.
const NICENESS: i32 = 5;

/// How many a compilation may keep busy at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processors {
    One,
    All,
}

/// Has an artefact compiled, to no more than `most` bytes.
pub(super) fn compile(
    options: &ChildCompilation,
    artefact: &[u8],
    most: u64,
    processors: Processors,
) -> Result<Vec<u8>, LoadError> {
    let ChildCompilation { program, limits, .. } = options;
    let failed = |error: io::Error| LoadError::Compile(format!("the compiler: {error}"));
    let mut child = Command::new(program)
        .arg("compile-plugin")
        .args(["--cpu-s", &limits.time.as_secs().max(1).to_string()])
        .args(["--memory-bytes", &limits.memory_bytes.to_string()])
        .args((processors == Processors::One).then_some("--one-processor"))
        .env_clear()
        .envs([ALLOCATOR])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(|| feed(input, artefact));
        let output = scope.spawn(|| read_bounded(output, most + 1));
        let errors = scope.spawn(|| read_bounded(errors, MAX_ERROR_BYTES));
        let status = wait(&mut child, Instant::now() + limits.time).map_err(failed)?;
        let said = errors.join().unwrap_or_default();
        match (status.success(), output.join()) {
            (_, Ok(compiled)) if compiled.len() as u64 > most => {
                Err(LoadError::CompiledTooLarge { limit: most })
            }
            (true, Ok(compiled)) => Ok(compiled),
            _ => Err(refusal(status, &said, limits)),
        }
    })
}

/// A child that has had enough does not read on, which its status tells.
fn feed(input: Option<ChildStdin>, artefact: &[u8]) {
    if let Some(mut input) = input {
        let _ = input.write_all(artefact);
    }
}

/// What comes beyond the limit is not read, and a writer of more is told that nobody does.
fn read_bounded(source: Option<impl Read>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        // What is missing shows when it is used.
        let _ = source.take(limit).read_to_end(&mut bytes);
    }
    bytes
}

/// Waits for the end, and brings it about at the deadline.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            return child.wait();
        }
        thread::sleep(INTERVAL);
    }
}

fn refusal(status: ExitStatus, said: &[u8], limits: &CompileLimits) -> LoadError {
    let said = String::from_utf8_lossy(said);
    let said = said.trim();
    let too_much = match status.signal() {
        // The deadline, and the limit of processor time.
        Some(libc::SIGKILL | libc::SIGXCPU) => true,
        // An allocation that fails; an abort for another reason says another.
        Some(libc::SIGABRT) => said.is_empty() || said.contains(ALLOCATION_FAILED),
        _ => false,
    };
    if too_much {
        return LoadError::TooMuchToCompile {
            seconds: limits.time.as_secs_f32(),
            mebibytes: limits.memory_bytes >> 20,
        };
    }
    LoadError::Compile(match (status.code(), said) {
        (Some(_), said) if !said.is_empty() => said.to_owned(),
        (_, "") => format!("the compiler ended early ({status})"),
        (_, said) => format!("the compiler ended early ({status}): {said}"),
    })
}

/// What the child does: limits itself, reads a component or a core module from standard input, and
/// writes what it compiles to standard output.
///
/// # Errors
/// Where it does not compile, or a limit cannot be set.
pub fn compile_in_child(
    cpu_seconds: u64,
    memory_bytes: u64,
    processors: Processors,
) -> Result<(), String> {
    // What a panic has to say, the answer says.
    std::panic::set_hook(Box::new(|_| {}));
    limit(cpu_seconds, memory_bytes).map_err(|error| format!("limits: {error}"))?;
    let mut artefact = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut artefact);
    read.map_err(|error| format!("read the component: {error}"))?;
    let component = artefact::component(&artefact).map_err(|error| error.to_string())?;
    let mut config = engine_config();
    config.parallel_compilation(processors == Processors::All);
    let compile = || Engine::new(&config)?.precompile_component(&component);
    let compiled = in_process(compile).map_err(|error| match error {
        LoadError::Compile(reason) => reason,
        other => other.to_string(),
    })?;
    let written = io::stdout().lock().write_all(&compiled);
    written.map_err(|error| format!("write what was compiled: {error}"))
}

/// Sets limits that cannot be raised again.
#[allow(unsafe_code)]
fn limit(cpu_seconds: u64, memory_bytes: u64) -> io::Result<()> {
    let limits = [
        (libc::RLIMIT_CPU, cpu_seconds),
        (libc::RLIMIT_AS, memory_bytes),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_FSIZE, 0),
        (libc::RLIMIT_NOFILE, MAX_OPEN_FILES),
    ];
    for (resource, most) in limits {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the call reads one rlimit, and `limit` is one.
        if unsafe { libc::setrlimit(resource, &limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: neither call touches memory of this process. Both are for the sake of others, so it
    // goes on where they fail.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
        #[cfg(target_os = "linux")]
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: ExitStatus, said: &str) -> String {
        refusal(status, said.as_bytes(), &CompileLimits::default()).to_string()
    }

    #[test]
    fn the_end_of_a_child_is_told_as_what_it_was() {
        let (failed, aborted) = (ExitStatus::from_raw(2 << 8), ExitStatus::from_raw(6));
        let too_much = told(ExitStatus::from_raw(libc::SIGKILL), "");
        assert!(told(failed, "invalid module\n").ends_with("invalid module"));
        assert!(told(failed, "").contains("exit status: 2"));
        assert_eq!(told(aborted, "memory allocation of 65536 bytes failed"), too_much);
        let panicked = told(aborted, "thread 'main' panicked at lib.rs");
        assert!(panicked.contains("signal: 6") && panicked.contains("panicked"), "{panicked}");
        assert!(told(ExitStatus::from_raw(libc::SIGSEGV), "").contains("signal: 11"));
    }
}
