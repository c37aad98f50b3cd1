//! The `upgrade-host` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    upgrade_host::cli::main(std::env::args_os())
}
