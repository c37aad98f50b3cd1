//! Lets the HTTP library speak over a connection that was opened from the target's side, poll the interrupt while it
//! waits, and note whether any part of the request left.

use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::transport::{Cancel, Connection};

/// How often the interrupt is looked at while nothing comes.
const TICK: Duration = Duration::from_millis(100);

/// The error with which an interrupted request ends.
#[derive(Debug)]
pub(super) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Names are looked up on the target, by whoever opens the connection.
#[derive(Debug)]
pub(super) struct OnTarget;

impl Resolver for OnTarget {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &ureq::config::Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        // The library wants one address at least; nothing connects to it.
        let mut addresses = self.empty();
        addresses.push(([0, 0, 0, 0], 0).into());
        Ok(addresses)
    }
}

/// Hands out the one connection that it was given.
#[derive(Debug)]
pub(super) struct Given {
    connection: Mutex<Option<Box<dyn Connection>>>,
    cancel: Cancel,
}

impl Given {
    pub(super) fn new(connection: Box<dyn Connection>, cancel: Cancel) -> Self {
        Self { connection: Mutex::new(Some(connection)), cancel }
    }
}

impl Connector for Given {
    type Out = Carried;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Carried>, Error> {
        let given = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connection = given.ok_or(Error::ConnectionFailed)?;
        let config = details.config;
        Ok(Some(Carried {
            connection: Mutex::new(connection),
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            cancel: self.cancel.clone(),
        }))
    }
}

/// The connection as the library sees it.
#[derive(Debug)]
pub(super) struct Carried {
    /// The lock is never contended: the library asks for `Sync`, which a connection is not.
    connection: Mutex<Box<dyn Connection>>,
    buffers: LazyBuffers,
    cancel: Cancel,
}

/// Repeats one read or write in short turns until it moves something, the deadline passes or somebody interrupts.
fn turns(
    connection: &mut dyn Connection,
    cancel: &Cancel,
    timeout: NextTimeout,
    mut turn: impl FnMut(&mut dyn Connection) -> std::io::Result<usize>,
) -> Result<usize, Error> {
    let limit = (!timeout.after.is_not_happening()).then_some(*timeout.after);
    let started = Instant::now();
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Other(Box::new(Interrupted)));
        }
        let left = limit.map_or(TICK, |limit| limit.saturating_sub(started.elapsed()));
        if left.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        connection.set_timeout(Some(left.min(TICK)))?;
        match turn(connection) {
            Ok(count) => return Ok(count),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Transport for Carried {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
        let output = &self.buffers.output()[..amount];
        let mut sent = 0;
        while sent < output.len() {
            let count = turns(connection.as_mut(), &self.cancel, timeout, |connection| {
                connection.write(&output[sent..])
            })?;
            if count == 0 {
                return Err(std::io::Error::from(ErrorKind::WriteZero).into());
            }
            sent += count;
        }
        connection.flush()?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
        let input = self.buffers.input_append_buf();
        let count = turns(connection.as_mut(), &self.cancel, timeout, |connection| {
            connection.read(&mut *input)
        })?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // Every request has a connection of its own, so none is ever taken up again.
        false
    }
}

/// Notes that a part of a request was sent: above TLS, so that its handshake does not count.
#[derive(Debug)]
pub(super) struct Noting(pub(super) Arc<AtomicBool>);

impl<In: Transport> Connector<In> for Noting {
    type Out = Noted<In>;

    fn connect(
        &self,
        _details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Noted<In>>, Error> {
        Ok(chained.map(|inner| Noted { inner, sent: Arc::clone(&self.0) }))
    }
}

#[derive(Debug)]
pub(super) struct Noted<T> {
    inner: T,
    sent: Arc<AtomicBool>,
}

impl<T: Transport> Transport for Noted<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.sent.store(true, Ordering::SeqCst);
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
