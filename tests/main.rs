//! Every integration test of the project, in one program.

mod architecture;
mod lab;
mod support;
