//! The whole upgrade of a simulated server over real ssh, looked at from outside.

mod beyond;
mod deadman;
mod failure;
mod interrupted;
mod lockout;
mod login;
mod plan;
pub(crate) mod program;
mod quick;
pub(crate) mod server;
