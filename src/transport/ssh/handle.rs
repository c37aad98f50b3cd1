//! The handle that the rest of the program holds, and the link behind it: a session that some reactor owns.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak, mpsc};
use std::time::{Duration, Instant};

use super::channel::{Job, TunnelJob};
use super::exec::{self, Trouble};
use super::orphan::{self, Orphan, Served};
use super::reactor::{Message, Reactor};
use super::session::Fate;
use super::{Questions, SshTarget, connect};
use crate::transport::{Cancel, Command, Connection, Exit, Transport, TransportError, Watch};

/// A target over ssh. Clones share one connection, which is made at the first use and again at the next use after
/// it was lost.
#[derive(Clone)]
pub struct Ssh(Arc<Inner>);

struct Inner {
    target: SshTarget,
    questions: Arc<dyn Questions>,
    slot: Mutex<Option<Arc<Link>>>,
    address: Mutex<Option<IpAddr>>,
    /// What commands of lost connections may have left running.
    orphans: Mutex<Vec<Orphan>>,
    /// Held by whoever deals with them.
    settling: Mutex<()>,
    /// The boot id at the last contact.
    boot: Mutex<Option<String>>,
}

impl fmt::Debug for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ssh({})", self.describe())
    }
}

impl Ssh {
    /// Makes a handle. Nothing is connected yet.
    pub fn new(target: SshTarget, questions: Arc<dyn Questions>) -> Self {
        let address = Mutex::new(target.address.parse().ok());
        Self(Arc::new(Inner {
            target,
            questions,
            slot: Mutex::new(None),
            address,
            orphans: Mutex::default(),
            settling: Mutex::default(),
            boot: Mutex::default(),
        }))
    }

    /// Connects and logs in, unless that has been done.
    ///
    /// # Errors
    /// [`TransportError::Connect`], [`TransportError::Auth`], [`TransportError::HostKey`] or
    /// [`TransportError::Cancelled`].
    pub fn connect_now(&self, cancel: &Cancel) -> Result<(), TransportError> {
        self.link(cancel).map(drop)
    }

    /// Returns the handle of the last hop before `target`, shared by all targets behind it.
    pub(super) fn hop(target: &SshTarget, questions: &Arc<dyn Questions>) -> Option<Self> {
        static HOPS: Mutex<Option<HashMap<String, Weak<Inner>>>> = Mutex::new(None);
        let (last, before) = target.jump.split_last()?;
        let hop = SshTarget { jump: before.to_vec(), ..last.clone() };
        // All that a session depends on; Debug of a secret says nothing of it.
        let key = format!("{hop:?}");
        let mut hops = HOPS.lock().unwrap_or_else(PoisonError::into_inner);
        let hops = hops.get_or_insert_with(HashMap::new);
        hops.retain(|_, hop| hop.strong_count() > 0);
        if let Some(inner) = hops.get(&key).and_then(Weak::upgrade) {
            return Some(Self(inner));
        }
        let made = Self::new(hop, Arc::clone(questions));
        hops.insert(key, Arc::downgrade(&made.0));
        Some(made)
    }

    /// Returns a live link, connecting if there is none. Others who need it meanwhile wait, and can be cancelled.
    fn link(&self, cancel: &Cancel) -> Result<Arc<Link>, TransportError> {
        let mut slot = self.slot(cancel)?;
        if let Some(link) = slot.as_ref().filter(|link| link.fate.get().is_none()) {
            return Ok(Arc::clone(link));
        }
        *slot = None;
        let link = connect::connect(&self.0.target, &self.0.questions, cancel)?;
        if let Some(address) = link.address {
            *self.0.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        }
        *slot = Some(Arc::clone(&link));
        Ok(link)
    }

    fn slot(&self, cancel: &Cancel) -> Result<MutexGuard<'_, Option<Arc<Link>>>, TransportError> {
        take(&self.0.slot, cancel)
    }

    /// Makes sure that nothing tied to a lost connection runs any more; others wait meanwhile, and can be cancelled.
    fn settle(&self, link: &Arc<Link>, cancel: &Cancel) -> Result<(), Trouble> {
        let _one_at_a_time = take(&self.0.settling, cancel)?;
        let list = || self.0.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        let orphans = list().clone();
        if orphans.is_empty() {
            return Ok(());
        }
        orphan::settle(link, &orphans, cancel)?;
        list().retain(|orphan| !orphans.contains(orphan));
        Ok(())
    }

    /// Runs a command over a link that may turn out to be dead.
    fn try_over(
        &self,
        link: &Arc<Link>,
        command: &Command,
        cancel: &Cancel,
        watch: Watch<'_>,
    ) -> Result<Exit, Trouble> {
        self.settle(link, cancel)?;
        if command.tied.is_some() && link.served.get().is_none() {
            // If this command is cut off, it must be known who would still start it.
            exec::short(link, &Command::list(["true"]).reading())?;
        }
        let another = || connect::connect(&self.0.target, &self.0.questions, &Cancel::new());
        let result = exec::run(link, command, cancel, watch, &another, &self.0.orphans);
        if let Some(served) = link.served.get() {
            self.0.boot.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&served.boot);
        }
        result
    }

    /// Opens a connection to a target behind this hop and returns our end of it.
    pub(super) fn way_to(
        &self,
        target: &SshTarget,
        cancel: &Cancel,
    ) -> Result<(UnixStream, Arc<Link>), TransportError> {
        let (host, port) = (&target.address, target.port);
        self.tunnel(host, port, target.connect_timeout, cancel, &|hop, why| {
            let hint = if why.contains("prohibited") {
                format!("Allow it in the configuration of sshd on {hop} (AllowTcpForwarding, PermitOpen).")
            } else {
                format!("Check that sshd runs there, and that address and port are right as {hop} sees them.")
            };
            TransportError::Connect {
                target: target.name.clone(),
                why: format!("the hop {hop} cannot connect to {host}:{port}: {why}"),
                hint: Some(hint),
            }
        })
    }

    /// Opens a connection from the target and returns our end of it. `refused` says that there was none, with the name of
    /// the target and why.
    fn tunnel(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
        cancel: &Cancel,
        refused: &dyn Fn(&str, String) -> TransportError,
    ) -> Result<(UnixStream, Arc<Link>), TransportError> {
        let mut link = self.link(cancel)?;
        for again in [true, false] {
            match link.tunnel(host, port, timeout, cancel, refused) {
                Err(Trouble::NotStarted(_)) if again => link = self.link(cancel)?,
                Err(Trouble::NotStarted(why)) => {
                    return Err(TransportError::Lost { target: self.0.target.name.clone(), why });
                }
                Err(Trouble::Error(error)) => return Err(error),
                Ok(socket) => return Ok((socket, link)),
            }
        }
        Err(TransportError::Lost { target: self.0.target.name.clone(), why: link.why_lost() })
    }
}

impl Transport for Ssh {
    fn exec(
        &self,
        command: &Command,
        cancel: &Cancel,
        watch: Watch<'_>,
    ) -> Result<Exit, TransportError> {
        let mut command = command.clone();
        if command.sudo.is_none() {
            command.sudo.clone_from(&self.0.target.sudo);
        }
        let mut link = self.link(cancel)?;
        let mut why = String::new();
        for _ in 0..2 {
            match self.try_over(&link, &command, cancel, &mut *watch) {
                Ok(exit) => return Ok(exit),
                Err(Trouble::Error(error)) => return Err(error),
                // The connection had been lost before; nothing was sent, so this is not a second run.
                Err(Trouble::NotStarted(reason)) => why = reason,
            }
            link = self.link(cancel)?;
        }
        Err(TransportError::Connect {
            target: self.0.target.name.clone(),
            why: format!("the connection breaks as soon as it is made: {why}"),
            hint: None,
        })
    }

    fn open(&self, cancel: &Cancel) -> Result<(), TransportError> {
        self.connect_now(cancel)
    }

    fn close(&self) {
        // Whoever connects at this moment needs it.
        if let Ok(mut slot) = self.0.slot.try_lock() {
            *slot = None;
        }
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> Result<Box<dyn Connection>, TransportError> {
        let refused = |from: &str, why: String| TransportError::Connect {
            target: from.to_owned(),
            why: format!("cannot connect from there to {host}:{port}: {why}"),
            hint: None,
        };
        let (socket, link) = self.tunnel(host, port, timeout, &Cancel::new(), &refused)?;
        let mut tunnelled = Tunnelled { socket, _link: link };
        tunnelled.set_timeout(Some(timeout)).map_err(|error| TransportError::Connect {
            target: self.0.target.name.clone(),
            why: error.to_string(),
            hint: None,
        })?;
        Ok(Box::new(tunnelled))
    }

    fn describe(&self) -> String {
        let target = &self.0.target;
        let mut text = format!("{}@{}:{}", target.user, target.address, target.port);
        for hop in target.jump.iter().rev() {
            text.push_str(" via ");
            text.push_str(&hop.name);
        }
        text
    }

    fn fresh(&self) -> Option<crate::transport::SharedTransport> {
        Some(Arc::new(Self::new(self.0.target.clone(), Arc::clone(&self.0.questions))))
    }

    fn own_address(&self) -> Option<IpAddr> {
        *self.0.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn boot_id(&self) -> Option<String> {
        self.0.boot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes a lock, unless cancelled.
fn take<'a, T>(mutex: &'a Mutex<T>, cancel: &Cancel) -> Result<MutexGuard<'a, T>, TransportError> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if cancel.sleep(Duration::from_millis(5)) => {
                return Err(TransportError::Cancelled);
            }
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

/// A session that a reactor owns. When the last holder lets it go, it is closed.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) id: u64,
    pub(super) reactor: Reactor,
    pub(super) fate: Arc<Fate>,
    pub(super) address: Option<IpAddr>,
    /// The session that carries this one, and its handle, so that other targets behind the hop find and share it.
    pub(super) hop: Option<(Ssh, Arc<Link>)>,
    /// Who serves it at the other side, once a command has said so.
    pub(super) served: OnceLock<Served>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({} #{})", self.name, self.id)
    }
}

impl Link {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn start(&self, job: Job) {
        // If the reactor is gone the job is dropped here, and its queue ends.
        let _sent = self.reactor.send(Message::Start(self.id, job));
    }

    /// Asks the reactor to look at the session again.
    pub(super) fn look(&self) {
        let _sent = self.reactor.send(Message::Look(self.id));
    }

    /// Returns why the session ended; the reason of the hop says more than "closed".
    pub(super) fn why_lost(&self) -> String {
        match self.hop.as_ref().map(|(_, hop)| hop).filter(|hop| hop.fate.get().is_some()) {
            // The outermost that was lost took the others with it.
            Some(hop) if hop.hop.as_ref().is_some_and(|(_, outer)| outer.fate.get().is_some()) => {
                hop.why_lost()
            }
            Some(hop) => {
                format!("the connection to the hop {} was lost: {}", hop.name(), hop.why_lost())
            }
            None => self.fate.get().unwrap_or_else(|| "the connection broke".to_owned()),
        }
    }

    fn tunnel(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
        cancel: &Cancel,
        refused: &dyn Fn(&str, String) -> TransportError,
    ) -> Result<UnixStream, Trouble> {
        let refused = |why: String| Trouble::Error(refused(&self.name, why));
        let (ours, theirs) = UnixStream::pair().map_err(|error| refused(error.to_string()))?;
        theirs.set_nonblocking(true).map_err(|error| refused(error.to_string()))?;
        let (opened, answer) = mpsc::sync_channel(1);
        let socket = Arc::new(theirs.into());
        self.start(Job::Tunnel(TunnelJob { host: host.to_owned(), port, socket, opened }));
        let end = Instant::now() + timeout;
        loop {
            match answer.recv_timeout(Duration::from_millis(50)) {
                Ok(Ok(())) => return Ok(ours),
                Ok(Err(why)) => return Err(refused(why)),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Trouble::NotStarted(self.why_lost()));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if cancel.is_cancelled() {
                return Err(TransportError::Cancelled.into());
            }
            if Instant::now() >= end {
                return Err(refused("no answer in time".to_owned()));
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _sent = self.reactor.send(Message::Drop(self.id));
    }
}

/// Our end of a tunnel; the reactor moves the bytes.
struct Tunnelled {
    socket: UnixStream,
    _link: Arc<Link>,
}

impl fmt::Debug for Tunnelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnelled")
    }
}

impl Read for Tunnelled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Tunnelled {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Connection for Tunnelled {
    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(timeout)?;
        self.socket.set_write_timeout(timeout)
    }
}
