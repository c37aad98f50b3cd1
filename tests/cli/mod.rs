//! The command line as a contract: what it says of bad input, and what other programs rely on.

mod ad_hoc;
mod clean;
mod contract;
mod deadman;
mod debts;
mod drift;
mod exec;
mod flood;
mod hosts;
mod input;
mod interrupts;
mod inventory;
mod journal;
mod lanes;
mod locks;
mod options;
mod params;
mod prune;
mod rolling;
mod script;
mod secrets;
mod ssh_config;
mod statuses;
mod targets;
mod waves;
