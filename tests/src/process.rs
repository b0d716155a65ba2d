//! Child processes that do not outlive the test which started them.

use std::process::{Child, Command, ExitStatus};

use crate::wait::wait_until;

/// A process that is ended with its owner.
pub struct Running(pub Child);

impl Running {
    /// # Panics
    /// Where the program cannot be started; `advice` says how to get it.
    pub fn spawn(command: &mut Command, advice: &str) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}: {advice}")))
    }

    /// Asks it to end, and waits until it has: what it has started ends before it.
    pub fn terminate(&mut self, what: &str) -> ExitStatus {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("run kill").success(), "{what}: SIGTERM cannot be sent");
        self.wait(what)
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, what: &str) -> ExitStatus {
        wait_until(&format!("{what} ends"), || self.0.try_wait().expect("wait for a process"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
