//! The command line: one file per subcommand, and [`ui`], the only place of the program that prints.

pub mod exit;
pub mod ui;
