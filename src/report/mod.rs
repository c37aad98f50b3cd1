//! What people and programs read of a run: the terminal's tree, plans, listings, one run in detail, diagnostics, JSON.
//!
//! Everything here is pure: it turns events and journal rows into text. Nothing prints, reads a clock or looks at the
//! machine; `cli/ui.rs` does that. Programs that embed the library without the command line get [`json`] and
//! [`events_of`].

pub mod json;
mod replay;

#[cfg(feature = "cli")]
pub mod diagnostic;
#[cfg(feature = "cli")]
pub mod groups;
#[cfg(feature = "cli")]
mod line;
#[cfg(feature = "cli")]
mod live;
#[cfg(feature = "cli")]
mod plan;
#[cfg(feature = "cli")]
mod show;
#[cfg(feature = "cli")]
mod style;
#[cfg(feature = "cli")]
pub mod table;
#[cfg(feature = "cli")]
mod terminal;
#[cfg(feature = "cli")]
mod words;

pub use replay::events_of;

#[cfg(feature = "cli")]
pub use line::{Line, Tone, text_of};
#[cfg(feature = "cli")]
pub use live::LiveLines;
#[cfg(feature = "cli")]
pub use show::{Shown, show};
#[cfg(feature = "cli")]
pub use style::Style;
#[cfg(feature = "cli")]
pub use terminal::Terminal;

/// Finds the text of a script, module or configuration file by its name, for excerpts.
pub type Sources<'a> = &'a dyn Fn(&str) -> Option<String>;
