//! Every integration test of the project, in one program.

mod adapters;
mod architecture;
mod lab;
mod support;
mod sweep;
