//! A transport that refuses every command that is not marked as a read. Plan mode uses it, so that "changes nothing" is
//! enforced at the one place where things would change.

use std::time::Duration;

use super::{Cancel, Command, Connection, Exit, SharedTransport, Transport, TransportError, Watch};

/// Wraps a transport and lets only reads through.
#[derive(Debug)]
pub struct ReadOnly(pub SharedTransport);

impl Transport for ReadOnly {
    fn exec(
        &self,
        command: &Command,
        cancel: &Cancel,
        watch: Watch<'_>,
    ) -> Result<Exit, TransportError> {
        if !command.reads {
            return Err(TransportError::ReadOnly { command: command.display() });
        }
        self.0.exec(command, cancel, watch)
    }

    fn open(&self, cancel: &Cancel) -> Result<(), TransportError> {
        self.0.open(cancel)
    }

    fn close(&self) {
        self.0.close();
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> Result<Box<dyn Connection>, TransportError> {
        self.0.connect(host, port, timeout)
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn fresh(&self) -> Option<SharedTransport> {
        self.0.fresh().map(|fresh| std::sync::Arc::new(Self(fresh)) as SharedTransport)
    }

    fn own_address(&self) -> Option<std::net::IpAddr> {
        self.0.own_address()
    }

    fn boot_id(&self) -> Option<String> {
        self.0.boot_id()
    }
}
