//! Every integration test of the project, in one program.

mod adapters;
mod lab;
mod support;
