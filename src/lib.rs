//! upgrade-host takes live servers through risky maintenance.

pub mod call;
#[cfg(feature = "cli")]
pub mod cli;
pub mod effect;
pub mod error;
pub mod event;
pub mod journal;
pub mod primitives;
#[cfg(feature = "cli")]
mod repl;
pub mod report;
pub mod script;
pub mod secret;
pub mod session;
pub mod transport;
pub mod units;
