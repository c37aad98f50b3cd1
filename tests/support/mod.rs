//! What tests are made of.

pub(crate) mod lab;
pub(crate) mod site;
