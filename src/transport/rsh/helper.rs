//! The other side of the door: this program as rsync's remote shell.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{SOCKET, TOKEN};

/// The status of a remote shell that has none to tell, as ssh has it.
const FAILED: u8 = 255;

/// Whether this program answers when it is called as the helper.
static ASKED: AtomicBool = AtomicBool::new(false);

pub(super) fn was_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Does what rsync's remote shell does if these are the arguments of one, and returns its status. A program that offers
/// rsync through its sessions calls this first of all in its `main`.
pub fn answer(args: &[OsString]) -> Option<ExitCode> {
    ASKED.store(true, Ordering::Relaxed);
    if !super::is_asked(args) {
        return None;
    }
    let words: Vec<&OsStr> = args[2..].iter().map(OsString::as_os_str).collect();
    Some(run(&words).unwrap_or_else(|error| {
        let _nobody_reads = writeln!(io::stderr(), "upgrade-host: no way to the session: {error}");
        FAILED.into()
    }))
}

fn run(words: &[&OsStr]) -> io::Result<ExitCode> {
    let variable = |name| {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is not set"));
        std::env::var(name).map_err(|_| missing())
    };
    let mut socket = knock(Path::new(&variable(SOCKET)?), &variable(TOKEN)?, words)?;
    // The other process holds them now. As long as we did too, rsync would not see them end.
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    let mut status = [0; 4];
    socket.read_exact(&mut status)?;
    Ok(u8::try_from(i32::from_be_bytes(status)).unwrap_or(FAILED).into())
}

/// Goes to the door with the token, our descriptors and the words of the command.
pub(super) fn knock(socket: &Path, token: &str, words: &[&OsStr]) -> io::Result<UnixStream> {
    let mut socket = UnixStream::connect(socket)?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let fds = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let sent =
        sendmsg(&socket, &[IoSlice::new(token.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    socket.write_all(&token.as_bytes()[sent..])?;
    for word in words {
        socket.write_all(word.as_bytes())?;
        socket.write_all(b"\0")?;
    }
    socket.shutdown(Shutdown::Write)?;
    Ok(socket)
}
