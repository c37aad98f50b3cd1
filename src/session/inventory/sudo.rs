//! A way to a target on which every command becomes another user that does not say so itself. Ssh does this on its own;
//! this is for transports that do not.

use std::net::IpAddr;
use std::time::Duration;

use crate::transport::{
    Cancel, Command, Connection, Exit, SharedTransport, Transport, TransportError, Watch, command,
};

/// Wraps a transport and adds sudo.
#[derive(Debug)]
pub struct Sudo {
    inner: SharedTransport,
    sudo: command::Sudo,
}

impl Sudo {
    /// Wraps `inner`.
    pub fn new(inner: SharedTransport, sudo: command::Sudo) -> Self {
        Self { inner, sudo }
    }
}

impl Transport for Sudo {
    fn exec(
        &self,
        command: &Command,
        cancel: &Cancel,
        watch: Watch<'_>,
    ) -> Result<Exit, TransportError> {
        if command.sudo.is_some() {
            return self.inner.exec(command, cancel, watch);
        }
        self.inner.exec(&command.clone().sudo(Some(self.sudo.clone())), cancel, watch)
    }

    fn open(&self, cancel: &Cancel) -> Result<(), TransportError> {
        self.inner.open(cancel)
    }

    fn close(&self) {
        self.inner.close();
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> Result<Box<dyn Connection>, TransportError> {
        self.inner.connect(host, port, timeout)
    }

    fn describe(&self) -> String {
        let user = self.sudo.user.as_deref().unwrap_or("root");
        format!("{} as {user}", self.inner.describe())
    }

    fn fresh(&self) -> Option<SharedTransport> {
        let fresh = self.inner.fresh()?;
        Some(std::sync::Arc::new(Self::new(fresh, self.sudo.clone())))
    }

    fn own_address(&self) -> Option<IpAddr> {
        self.inner.own_address()
    }

    fn boot_id(&self) -> Option<String> {
        self.inner.boot_id()
    }
}
