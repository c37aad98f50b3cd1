//! The remote shell that an rsync of this machine is given (`--rsh`): this very program, which hands rsync's own
//! descriptors to the process that holds the session, and waits for the status. So rsync runs over the session that is
//! there, without another login, and its bytes take no detour.
//!
//! The way between the two is a socket in a directory that only the user may enter. Who comes through it must be that
//! user, or root, and say a token that is made for one command, is in no argument, and opens the door once.

mod helper;

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::Streams;
use super::marks;
use crate::secret::Secret;

pub use helper::answer;

/// The first argument of the program when it is the remote shell.
const WORD: &str = "--as-rsync-shell";
/// Where the socket is.
const SOCKET: &str = "UPGRADE_HOST_RSH";
/// What opens the door.
const TOKEN: &str = "UPGRADE_HOST_RSH_TOKEN";
/// How long a token is.
const TOKEN_LENGTH: usize = 32;
/// How long whoever came in may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether anybody still may come.
const TICK: Duration = Duration::from_millis(20);
/// How long a command may be.
const LONGEST: u64 = 1 << 20;
/// What the kernel takes as the path of a socket, with a reserve.
const LONGEST_PATH: usize = 100;

/// The program that is the helper, as far as it was said.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Names the program that is rsync's remote shell: one that calls [`answer`] first of all. Needed only by a program that
/// does not do so itself. The first call counts.
pub fn set_program(path: impl Into<PathBuf>) {
    let _the_first_counts = PROGRAM.set(path.into());
}

/// Returns the program, as this process names it.
fn program() -> io::Result<PathBuf> {
    if let Some(program) = PROGRAM.get() {
        return Ok(program.clone());
    }
    let why = "this program cannot be rsync's remote shell: it has to call \
               `transport::rsh::answer` first of all, or `set_program` with one that does";
    if helper::was_asked() {
        // Not the path: the file may have been replaced by a new version meanwhile.
        Ok(PathBuf::from(format!("/proc/{}/exe", std::process::id())))
    } else {
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }
}

/// A door for one remote shell.
#[derive(Debug)]
pub struct Door {
    dir: tempfile::TempDir,
    listener: UnixListener,
    program: PathBuf,
    token: Secret,
}

impl Door {
    /// Makes a door.
    ///
    /// # Errors
    /// If the directory or the socket cannot be made, or this program cannot be the helper.
    pub fn open() -> io::Result<Self> {
        let program = program()?;
        let usual = std::env::temp_dir();
        let place =
            if usual.as_os_str().len() > LONGEST_PATH / 2 { Path::new("/tmp") } else { &usual };
        let dir = tempfile::Builder::new()
            .prefix("upgrade-host-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(place)?;
        let listener = UnixListener::bind(dir.path().join("rsh"))?;
        listener.set_nonblocking(true)?;
        let token = marks::random()?;
        Ok(Self { dir, listener, program, token: Secret::new(token) })
    }

    /// Returns the value of rsync's `--rsh`.
    pub fn rsh(&self) -> String {
        // As rsync splits it: at blanks, with quotes doubled within quotes.
        format!("'{}' {WORD}", self.program.display().to_string().replace('\'', "''"))
    }

    /// Returns the environment of that rsync. It is not for arguments.
    pub fn environment(&self) -> Vec<(String, Secret)> {
        let socket = self.dir.path().join("rsh").display().to_string();
        vec![(SOCKET.to_owned(), Secret::new(socket)), (TOKEN.to_owned(), self.token.clone())]
    }

    /// Waits for the one with the token, until `over`; the door is closed then. Others are turned away.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn wait(self, over: &dyn Fn() -> bool) -> io::Result<Option<Caller>> {
        while !over() {
            match self.listener.accept() {
                // Others are somebody else, or ended too early.
                Ok((socket, _)) => {
                    if let Ok(caller) = self.let_in(socket) {
                        return Ok(Some(caller));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.sleep(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn sleep(&self) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        let _again = poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&tick));
    }

    fn let_in(&self, socket: UnixStream) -> io::Result<Caller> {
        let denied = |why: &str| io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned());
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let peer = rustix::net::sockopt::socket_peercred(&socket)?.uid;
        if peer != rustix::process::geteuid() && !peer.is_root() {
            return Err(denied("another user"));
        }
        let (token, fds) = receive(&socket)?;
        if token != self.token.reveal().as_bytes() {
            return Err(denied("a wrong token"));
        }
        let [input, output, errors] =
            <[OwnedFd; 3]>::try_from(fds).map_err(|_| denied("not three descriptors"))?;
        let mut text = String::new();
        (&socket).take(LONGEST).read_to_string(&mut text)?;
        let words = text.split_terminator('\0').map(str::to_owned).collect();
        let streams = Streams::new(input, output);
        Ok(Caller { words, streams, errors: errors.into(), socket })
    }
}

/// Receives a token and the descriptors that come with its first byte.
fn receive(socket: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut token = vec![0; TOKEN_LENGTH];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut token)], &mut control, flags)?.bytes;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let mut socket = socket;
    socket.read_exact(&mut token[got..])?;
    Ok((token, fds))
}

/// A remote shell that came in: what it is to run, and its descriptors.
#[derive(Debug)]
pub struct Caller {
    /// The host as rsync names it, and the command.
    pub words: Vec<String>,
    /// What the command is to be joined to.
    pub streams: Streams,
    errors: File,
    socket: UnixStream,
}

impl Caller {
    /// Writes to rsync's standard error.
    pub fn say(&mut self, bytes: &[u8]) {
        let _gone = self.errors.write_all(bytes);
    }

    /// Tells how the command ended; the helper ends with that status.
    pub fn end(mut self, status: i32) {
        let _gone = self.socket.write_all(&status.to_be_bytes());
        let _gone = self.socket.shutdown(Shutdown::Both);
    }
}

/// Returns whether these are the arguments of the remote shell.
fn is_asked(args: &[OsString]) -> bool {
    args.get(1).is_some_and(|word| word == WORD)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use super::*;

    fn door() -> Door {
        set_program("/it's here");
        Door::open().unwrap()
    }

    fn entry(door: &Door) -> (PathBuf, String) {
        let [(_, socket), (_, token)] = <[_; 2]>::try_from(door.environment()).unwrap();
        (PathBuf::from(socket.reveal()), token.reveal().to_owned())
    }

    /// Waits at the door until somebody was let in, or none may come any more.
    fn waiting(door: Door, over: &AtomicBool) -> Option<Caller> {
        let end = Instant::now() + Duration::from_secs(20);
        door.wait(&|| over.load(Ordering::SeqCst) || Instant::now() > end).unwrap()
    }

    #[test]
    fn only_the_user_may_enter_where_the_socket_is() {
        let door = door();
        let (socket, token) = entry(&door);
        let mode = std::fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(token.len(), TOKEN_LENGTH);
        assert!(!door.rsh().contains(&token) && !format!("{door:?}").contains(&token));
        assert_eq!(door.rsh(), format!("'/it''s here' {WORD}"));
        drop(door);
        assert!(!socket.parent().unwrap().exists());
    }

    #[test]
    fn the_token_opens_the_door_once_and_nothing_else_does() {
        let door = door();
        let (socket, token) = entry(&door);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| waiting(door, &over));
            let said = |token: &str| {
                let words = ["target", "rsync", "--server"].map(OsStr::new);
                helper::knock(&socket, token, &words)
            };
            for wrong in ["", "0123456789abcdef0123456789abcdef", &token[1..]] {
                // It is turned away: the door closes the connection without a status.
                if let Ok(mut turned_away) = said(wrong) {
                    assert_eq!(turned_away.read(&mut [0; 4]).unwrap_or(0), 0, "{wrong}");
                }
                assert!(!inside.is_finished());
            }
            let mut status = [0; 4];
            let mut first = said(&token).unwrap();
            let caller = inside.join().unwrap().unwrap();
            assert_eq!(caller.words, ["target", "rsync", "--server"]);
            caller.end(23);
            first.read_exact(&mut status).unwrap();
            assert_eq!(i32::from_be_bytes(status), 23);

            said(&token).unwrap_err();
        });
    }

    #[test]
    fn nobody_comes_and_nobody_is_waited_for() {
        let door = door();
        let over = AtomicBool::new(true);
        assert!(waiting(door, &over).is_none());
    }

    #[test]
    fn another_user_cannot_use_the_socket() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let door = door();
        let (socket, token) = entry(&door);
        // Even where somebody opened the directory.
        for path in [socket.parent().unwrap(), &socket] {
            std::fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| waiting(door, &over));
            let script = "$SIG{PIPE} = 'IGNORE'; my $s = IO::Socket::UNIX->new(shift) or die 'not connected'; \
                          syswrite $s, shift; print 0 + sysread $s, my $status, 4;";
            let other = std::process::Command::new("setpriv")
                .args([
                    "--reuid=65534",
                    "--clear-groups",
                    "perl",
                    "-MIO::Socket::UNIX",
                    "-e",
                    script,
                ])
                .args([socket.as_os_str(), OsStr::new(&token)])
                .output();
            over.store(true, Ordering::SeqCst);
            assert!(inside.join().unwrap().is_none());
            assert_eq!(String::from_utf8(other.unwrap().stdout).unwrap(), "0");
        });
    }
}
