//! Descriptors of this process that a command's standard input and output are joined to.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a command reads and writes, instead of what is sent with it and what is kept of it: it ends where the input
/// ends, and a slow reader of the output holds it back. The transport may set both to non-blocking. Clones are the same
/// descriptors.
#[derive(Clone, Debug)]
pub struct Streams {
    /// What the command reads.
    pub input: Arc<OwnedFd>,
    /// Where it writes to.
    pub output: Arc<OwnedFd>,
    moved: Arc<AtomicU64>,
}

impl Streams {
    /// Joins a command to these.
    pub fn new(input: impl Into<OwnedFd>, output: impl Into<OwnedFd>) -> Self {
        let (input, output) = (Arc::new(input.into()), Arc::new(output.into()));
        Self { input, output, moved: Arc::default() }
    }

    /// Joins a command to these, which others hold too.
    #[cfg(feature = "ssh")]
    pub(super) fn shared(input: Arc<OwnedFd>, output: Arc<OwnedFd>) -> Self {
        Self { input, output, moved: Arc::default() }
    }

    /// Returns how many bytes went through, both directions together, as far as the transport moves them itself.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Counts bytes that went through.
    #[cfg(feature = "ssh")]
    pub(super) fn count(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
