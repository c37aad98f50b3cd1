//! Every integration test of the project, in one program.

mod lab;
mod repl;
mod support;
