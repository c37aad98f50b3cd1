//! A simulated `AhsayOBS` server: real files, a real process, the XML API, logs and an index run.
//!
//! `cargo run --example obs_server -- --help` lists what it can do.

use std::process::ExitCode;

pub mod simulator;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned());
    simulator::main(arguments.collect())
}
