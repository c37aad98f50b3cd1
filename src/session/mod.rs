//! The embedding API: opens the journal, loads a runbook, resolves targets and parameters, and drives a run.
//!
//! A [`Session`] is the configuration and the journal; an [`Order`] is what to run; a [`Voice`] is who listens and who
//! answers. Nothing here prints or reads the environment by itself.

mod ad_hoc;
mod chosen;
mod clean;
pub mod config;
mod drive;
mod ending;
mod error;
mod evaluate;
mod inspect;
mod interactive;
pub mod inventory;
mod locks;
#[cfg(test)]
mod model;
mod open;
pub mod params;
mod pause;
mod prepare;
mod prune;
pub mod secrets;

pub use ad_hoc::Told;
pub use clean::{Left, Why};
pub use drive::{Ended, OnInterrupt};
pub use error::SessionError;
pub use inspect::{Found, Inspected, Trouble};
pub use interactive::{Interactive, Leave, NAME, Reach, Transcript, Unsettled};
pub use inventory::Choice;
pub use open::{Order, Session, Text, Voice};
pub use prune::Prune;

pub use crate::effect::AT_ONCE;
pub use crate::primitives::{AdHoc, Answer, RollingOptions};
