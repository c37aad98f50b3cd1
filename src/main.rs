//! The `upgrade-host` program.
fn main() {}
