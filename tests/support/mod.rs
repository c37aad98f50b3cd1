//! What tests are made of.

pub(crate) mod cli;
pub(crate) mod lab;
pub(crate) mod site;
pub(crate) mod sshd;
