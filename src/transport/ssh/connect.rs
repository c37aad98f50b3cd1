//! Making a session: the socket, the handshake, the host key, the login. All of it happens on the thread that needs
//! the session, because it may have to ask a person; then a reactor takes over.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use libssh2_sys as raw;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, ErrorCode, Session};

use super::handle::{Link, Ssh};
use super::host_key::HostKeys;
use super::session::{Fate, Live};
use super::{Family, Questions, SshTarget, Unattended, auth, reactor};
use crate::transport::{Cancel, TransportError};

/// How often cancel is looked at.
const TICK: Duration = Duration::from_millis(50);
/// What is said of a key file that did not open.
pub(super) const NOT_OPENED: &str =
    "cannot be opened: the passphrase is wrong, or the format not supported";

/// Connects to `target`, through its hops.
pub(super) fn connect(
    target: &SshTarget,
    questions: &Arc<dyn Questions>,
    cancel: &Cancel,
) -> Result<Arc<Link>, TransportError> {
    let unreachable =
        |why: String| TransportError::Connect { target: target.name.clone(), why, hint: None };
    let mut session =
        Session::new().map_err(|error| unreachable(format!("libssh2: {}", error.message())))?;
    let failed = |error: io::Error| unreachable(error.to_string());
    let (fd, address, hop): (OwnedFd, _, _) = if let Some(hop) = Ssh::hop(target, questions) {
        let (socket, link) = hop.way_to(target, cancel)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let fd = socket.try_clone().map_err(failed)?.into();
        session.set_tcp_stream(socket);
        (fd, target.address.parse().ok(), Some((hop, link)))
    } else {
        let (stream, address) = dial(target, cancel)?;
        let fd = stream.try_clone().map_err(failed)?.into();
        session.set_tcp_stream(stream);
        (fd, Some(address), None)
    };
    session.set_blocking(false);
    let paused = Cell::default();
    let dialogue = Dialogue { target, session: &session, fd: &fd, cancel, paused };
    let host_keys = HostKeys::read(target);
    host_keys.prefer_known(&session, target)?;
    target.algorithms.apply(&session, target)?;
    let mut handshake = session.clone();
    dialogue.run(|| handshake.handshake()).map_err(|broken| broken.in_handshake(target))?;
    drop(handshake);
    let asked: &dyn Questions = if target.attended { questions.as_ref() } else { &Unattended };
    host_keys.check(&session, target, asked)?;
    auth::log_in(&dialogue, asked)?;

    let (id, fate) = (reactor::next_id(), Arc::new(Fate::default()));
    let live = Live::new(id, session, fd, Arc::clone(&fate), target.silence);
    let reactor = reactor::adopt(live).map_err(failed)?;
    Ok(Arc::new(Link {
        name: target.name.clone(),
        id,
        reactor,
        fate,
        address,
        hop,
        served: OnceLock::new(),
    }))
}

/// Opens the TCP connection.
fn dial(target: &SshTarget, cancel: &Cancel) -> Result<(TcpStream, IpAddr), TransportError> {
    let end = Instant::now() + target.connect_timeout;
    let mut last = None;
    let allowed = |address: &SocketAddr| match target.family {
        Some(Family::V4) => address.is_ipv4(),
        Some(Family::V6) => address.is_ipv6(),
        None => true,
    };
    for address in resolve(target, cancel, end)?.into_iter().filter(allowed) {
        match dial_one(address, cancel, end) {
            Ok(Some(stream)) => {
                tune(&stream, target.silence).map_err(|error| cannot_dial(target, &error))?;
                return Ok((stream, address.ip()));
            }
            Ok(None) => return Err(TransportError::Cancelled),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| {
        io::Error::other(match target.family {
            Some(Family::V4) => "there is no IPv4 address, and no other is allowed",
            Some(Family::V6) => "there is no IPv6 address, and no other is allowed",
            None => "the name has no address",
        })
    });
    Err(cannot_dial(target, &error))
}

/// Resolves the name on a thread of its own: the system's resolver can neither be cancelled nor hurried.
fn resolve(
    target: &SshTarget,
    cancel: &Cancel,
    end: Instant,
) -> Result<Vec<SocketAddr>, TransportError> {
    if let Ok(ip) = target.address.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, target.port)]);
    }
    let (sender, answer) = mpsc::channel();
    let name = (target.address.clone(), target.port);
    std::thread::spawn(move || {
        let _nobody_waits = sender.send(name.to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    });
    let unresolved = |why: String| TransportError::Connect {
        target: target.name.clone(),
        why: format!("the name `{}` cannot be resolved: {why}", target.address),
        hint: Some("Check the name, or give the address itself.".to_owned()),
    };
    loop {
        match answer.recv_timeout(TICK) {
            Ok(Ok(addresses)) => return Ok(addresses),
            Ok(Err(error)) => return Err(unresolved(error.to_string())),
            Err(_) if cancel.is_cancelled() => return Err(TransportError::Cancelled),
            Err(_) if Instant::now() >= end => {
                return Err(unresolved("the name server does not answer".to_owned()));
            }
            Err(_) => {}
        }
    }
}

/// Connects to one address; none if cancelled.
fn dial_one(address: SocketAddr, cancel: &Cancel, end: Instant) -> io::Result<Option<TcpStream>> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&fd, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    loop {
        let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
        if poll_for(&mut fds, TICK)? > 0 {
            rustix::net::sockopt::socket_error(&fd)??;
            return Ok(Some(TcpStream::from(fd)));
        }
        if cancel.is_cancelled() {
            return Ok(None);
        }
        if Instant::now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Makes the kernel notice a dead peer: what is sent must be acknowledged within a little less than the silence that is
/// allowed, keepalives included.
fn tune(stream: &TcpStream, silence: Duration) -> io::Result<()> {
    use rustix::net::sockopt;

    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    let acknowledged = u32::try_from((silence * 10 / 13).as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, acknowledged)?;
    Ok(())
}

fn cannot_dial(target: &SshTarget, error: &io::Error) -> TransportError {
    let at = format!("{}:{}", target.address, target.port);
    let (why, hint) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            format!("{at} refuses connections"),
            "Check that sshd runs there and that the port is right.",
        ),
        io::ErrorKind::TimedOut => (
            format!(
                "{at} does not answer within {}",
                crate::units::say_duration(target.connect_timeout)
            ),
            "Check that the host is up and that no firewall drops the connection.",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (format!("there is no route to {at}"), "Check the address, the network and the VPN.")
        }
        _ => (format!("{at}: {error}"), "Check the address and the network."),
    };
    TransportError::Connect { target: target.name.clone(), why, hint: Some(hint.to_owned()) }
}

fn poll_for(fds: &mut [PollFd<'_>], time: Duration) -> io::Result<usize> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    match poll(fds, Some(&timeout)) {
        Ok(ready) => Ok(ready),
        Err(rustix::io::Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// A session that is not logged in yet, with whom and how long to talk.
pub(super) struct Dialogue<'a> {
    pub(super) target: &'a SshTarget,
    pub(super) session: &'a Session,
    fd: &'a OwnedFd,
    cancel: &'a Cancel,
    /// How long a person has been asked, which counts against nobody.
    pub(super) paused: Cell<Duration>,
}

/// Why an operation of a dialogue did not come to an end.
pub(super) enum Broken {
    Cancelled,
    TimedOut,
    Ssh(ssh2::Error),
}

impl Dialogue<'_> {
    /// Repeats an operation until it is done, waiting in between for what it waits for.
    pub(super) fn run<T>(
        &self,
        mut operation: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, Broken> {
        let (begun, before) = (Instant::now(), self.paused.get());
        loop {
            match operation() {
                Ok(value) => return Ok(value),
                Err(error) if error.code() == ErrorCode::Session(raw::LIBSSH2_ERROR_EAGAIN) => {}
                Err(error) => return Err(Broken::Ssh(error)),
            }
            if self.cancel.is_cancelled() {
                return Err(Broken::Cancelled);
            }
            let asked = self.paused.get().saturating_sub(before);
            if begun.elapsed().saturating_sub(asked) >= self.target.connect_timeout {
                return Err(Broken::TimedOut);
            }
            let flags = match self.session.block_directions() {
                BlockDirections::Outbound => PollFlags::OUT,
                BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
                BlockDirections::Inbound | BlockDirections::None => PollFlags::IN,
            };
            // A failing poll shows in the next attempt.
            let _ready = poll_for(&mut [PollFd::from_borrowed_fd(self.fd.as_fd(), flags)], TICK);
        }
    }
}

impl Broken {
    fn in_handshake(self, target: &SshTarget) -> TransportError {
        let at = format!("{}:{}", target.address, target.port);
        let (why, hint) = match self {
            Self::Cancelled => return TransportError::Cancelled,
            Self::TimedOut => (
                format!("{at} accepts the connection, but says nothing as ssh"),
                "Check that the port is sshd's, and that the host is not overloaded.",
            ),
            Self::Ssh(error) => match error.code() {
                ErrorCode::Session(
                    raw::LIBSSH2_ERROR_KEX_FAILURE | raw::LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE,
                ) => (
                    format!("no common algorithms with {at}: {}", error.message()),
                    "The server may be too old (SHA-1 only), or too strict.",
                ),
                ErrorCode::Session(
                    raw::LIBSSH2_ERROR_SOCKET_DISCONNECT
                    | raw::LIBSSH2_ERROR_SOCKET_RECV
                    | raw::LIBSSH2_ERROR_SOCKET_SEND
                    | raw::LIBSSH2_ERROR_BANNER_RECV
                    | raw::LIBSSH2_ERROR_BANNER_SEND,
                ) => (
                    format!("{at} closed the connection at once, or is no ssh server"),
                    "The server may have too many logins under way (MaxStartups) or have banned this address.",
                ),
                _ => {
                    (format!("handshake with {at}: {error}"), "See the log of sshd on the target.")
                }
            },
        };
        TransportError::Connect { target: target.name.clone(), why, hint: Some(hint.to_owned()) }
    }

    /// Returns whether the server has closed the connection.
    pub(super) fn is_hung_up(error: &ssh2::Error) -> bool {
        matches!(
            error.code(),
            ErrorCode::Session(
                raw::LIBSSH2_ERROR_SOCKET_DISCONNECT
                    | raw::LIBSSH2_ERROR_SOCKET_RECV
                    | raw::LIBSSH2_ERROR_SOCKET_SEND
            )
        )
    }

    /// Tells an error that ends the connection, or none if only this attempt failed, with its text.
    pub(super) fn in_login(self, target: &SshTarget) -> Result<String, TransportError> {
        let why = match self {
            Self::Cancelled => return Err(TransportError::Cancelled),
            Self::TimedOut => "the server does not answer the login".to_owned(),
            Self::Ssh(error) => match error.code() {
                // For a wrong passphrase libssh2 says that the format is not supported.
                ErrorCode::Session(raw::LIBSSH2_ERROR_FILE) => {
                    return Ok(NOT_OPENED.to_owned());
                }
                _ => return Ok(error.message().to_owned()),
            },
        };
        Err(TransportError::Connect { target: target.name.clone(), why, hint: None })
    }
}
