//! How the server is told to stop: SIGTERM or SIGINT, or SHUTDOWN. A second signal ends it at once.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Exit code after a second signal.
const EXIT_IMPATIENT: i32 = 130;

/// Lets [`StopWaiter::wait`] return.
#[derive(Debug)]
pub(crate) struct Stopper(UnixStream);

impl Stopper {
    /// Stops the server.
    pub(crate) fn stop(&mut self) {
        // Full means that it was told already.
        self.0.write_all(b"S").ok();
    }
}

/// Waits until the server is to stop.
#[derive(Debug)]
pub(crate) struct StopWaiter(UnixStream);

impl StopWaiter {
    /// Takes over the signals.
    ///
    /// # Errors
    /// What the operating system answers.
    pub(crate) fn new() -> Result<(Self, Stopper), std::io::Error> {
        let (receiver, sender) = UnixStream::pair()?;
        let was_told = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag unset, and sets it.
            flag::register_conditional_shutdown(signal, EXIT_IMPATIENT, Arc::clone(&was_told))?;
            flag::register(signal, Arc::clone(&was_told))?;
            low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        sender.set_nonblocking(true)?;
        Ok((Self(receiver), Stopper(sender)))
    }

    /// Returns when the server is to stop.
    pub(crate) fn wait(&mut self) {
        let mut byte = [0];
        while let Err(problem) = self.0.read_exact(&mut byte) {
            if problem.kind() != ErrorKind::Interrupted {
                return;
            }
        }
    }
}
