//! Every integration test of the project, in one program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adapters;
mod architecture;
mod cli;
mod files;
mod journal;
mod lab;
mod link;
mod repl;
mod storm;
mod support;
mod sweep;
mod upgrade;
