//! The embedding API: opens the journal, loads a runbook, resolves targets and parameters, and drives a run.

mod drive;

pub use drive::{Ended, OnInterrupt};
