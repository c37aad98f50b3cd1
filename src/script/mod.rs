//! Runbooks: their text, metadata and modules ([`Runbook`]), the engine that evaluates them, the embedded standard
//! library, and what can be checked without running.

mod adapters;
mod captures;
mod check;
mod engine;
mod piece;
pub mod reference;
mod runbook;
mod stdlib;

pub use adapters::ScriptAdapters;
pub use captures::lost_writes;
pub use check::{Problem, check};
pub use engine::{Script, build};
pub use piece::{Probe, Shown, shown};
pub use runbook::{Metadata, Runbook, ScriptError};
pub use stdlib::{Library, library};
