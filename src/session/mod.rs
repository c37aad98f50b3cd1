//! The embedding API: what a program needs to prepare, start and continue runs.

pub mod config;
pub mod inventory;
pub mod params;
pub mod secrets;
