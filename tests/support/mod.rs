//! What tests are made of.

pub(crate) mod lab;
