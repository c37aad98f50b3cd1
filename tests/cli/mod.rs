//! The command line as a contract: what it says of bad input, and what other programs rely on.

mod contract;
mod deadman;
mod exec;
mod input;
mod lanes;
mod params;
mod script;
mod secrets;
mod statuses;
mod targets;
