//! Owns the wish to stop, by a signal or a deadline: it ends collecting, never the process, so that what was captured is
//! sealed; refuses to be asked twice: a second signal has its ordinary effect.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whether collecting is to end.
#[derive(Debug, Clone, Default)]
pub struct StopSignal {
    signalled: Arc<AtomicBool>,
    until: Option<Instant>,
}

/// Why collecting is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    BySignal,
    AtDeadline,
}

impl StopSignal {
    /// A wish that SIGINT, SIGTERM and SIGHUP express.
    pub fn from_signals() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            // The first of these two does nothing until the flag is set, so that only a second signal ends the process.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop.signalled))?;
            signal_hook::flag::register(signal, Arc::clone(&stop.signalled))?;
        }
        Ok(stop)
    }

    /// The same wish, and that the package is sealed `deadline` from now: collecting ends a little earlier.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        // Records, manifests and signatures of an ordinary host take well under a second.
        let sealing = (deadline / 10).clamp(Duration::from_millis(500), Duration::from_secs(5));
        Self {
            signalled: Arc::clone(&self.signalled),
            until: Some(Instant::now() + deadline.saturating_sub(sealing)),
        }
    }

    /// Why collecting is to end, where it is.
    pub(super) fn reason(&self) -> Option<Stopped> {
        if self.signalled.load(Ordering::Relaxed) {
            Some(Stopped::BySignal)
        } else if self.until.is_some_and(|until| Instant::now() >= until) {
            Some(Stopped::AtDeadline)
        } else {
            None
        }
    }
}

impl Stopped {
    /// The reason in words.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::BySignal => "stopped by a signal",
            Self::AtDeadline => "the deadline was reached",
        }
    }
}
