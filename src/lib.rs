//! upgrade-host takes live servers through risky maintenance.

pub mod error;
pub mod secret;
pub mod transport;
pub mod units;
