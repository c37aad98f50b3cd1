//! Every integration test of the project, in one program.

mod adapters;
mod architecture;
mod cli;
mod lab;
mod support;
