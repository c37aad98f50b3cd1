//! upgrade-host takes live servers through risky maintenance.
//!
//! A [`session::Session`] runs a Rhai script, a runbook, on one or more targets. Every side effect is an action that
//! passes [`effect::perform`]: it is looked at, planned, written to the [`journal`] before and after, and can be undone.
//!
//! ```text
//! main ─ cli ──┐
//!         repl ┼─► session ─► script ─► primitives ─► effect::perform ─► transport ─► target
//!     embedder ┘      │                                   │
//!                     └── opens ──► journal ◄─ recall, begin, finish (only here)
//!                                                         └──► event ─► report
//! ```
//!
//! A program that embeds it and copies trees from and to its own machine by rsync calls [`transport::rsh::answer`] first of
//! all: that rsync starts the program again, as its way into the session.
//!
//! Left may import right, never the reverse; `tests/architecture.rs` holds the modules to it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`session`] | the embedding API: configuration, inventory, secrets, parameters; drives one run |
//! | [`script`] | runbooks: text, metadata, engine, standard library, checks, reference |
//! | [`primitives`] | the functions that runbooks call, one file or folder per family |
//! | [`effect`] | actions, lanes, the funnel, undo, obligations, redaction |
//! | [`journal`] | the durable memory: store, records, replay |
//! | [`transport`] | ways to a target: this machine, ssh |
//! | [`event`], [`report`] | what a run tells, and what people and programs read of it |
//! | [`error`], [`call`], [`units`], [`secret`] | words that all of them share |

pub mod call;
#[cfg(feature = "cli")]
pub mod cli;
pub mod effect;
pub mod error;
pub mod event;
mod failpoint;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
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
mod zone;
