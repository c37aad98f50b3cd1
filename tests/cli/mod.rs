//! The command line as a contract: what it says of bad input, and what other programs rely on.

mod ad_hoc;
mod clean;
mod contract;
mod deadman;
mod exec;
mod input;
mod lanes;
mod params;
mod rolling;
mod script;
mod secrets;
mod statuses;
mod targets;
