//! What tests are made of.

pub(crate) mod cli;
pub(crate) mod lab;
pub(crate) mod mount;
pub(crate) mod patience;
#[expect(dead_code, reason = "the tests of the transport use it too, and other parts of it")]
pub(crate) mod proxy;
pub(crate) mod pty;
pub(crate) mod random;
pub(crate) mod site;
pub(crate) mod sshd;
