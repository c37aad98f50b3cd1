//! Whole directories as a stream of tar, for targets that have nothing but `tar`. A tree is unpacked beside its place, and
//! shown by a rename once the digest of the stream is the same on both sides.

use std::os::unix::net::UnixStream;

use sha2::{Digest, Sha256};

use super::joined::{Teller, null, pump, receive, send};
use super::path::At;
use super::read::CHECKSUM;
use super::shell::{digest_said, failure, read, script};
use super::write::hex_of;
use crate::effect::Cx;
use crate::error::{Failure, Halt, Kind, Result, Stop};
use crate::transport::{Command, Exit, Local, Streams, Transport as _, TransportError};

/// The status of a program that wrote to what nobody read any more.
const PIPE: i32 = 141;

/// $1 path: prints how many bytes the files in it have.
const SIZE: &str = script!(
    r#"
cd "$1" || exit
find . -name '.upgrade-host-*' -prune -o -type f -print0 | xargs -0 -r stat -c %s | awk '{ n += $1 } END { printf "%.0f\n", n }'
"#
);

macro_rules! needs_tar {
    () => {
        "
command -v tar >/dev/null 2>&1 || fail not_found 'a directory needs `tar`; install the package `tar`'
"
    };
}

/// The beginning of a script that writes the directory `$1`: makes its arguments those of tar. What a run keeps for its undo
/// is no part of it.
macro_rules! packing {
    () => {
        concat!(
            needs_tar!(),
            r#"
cd "$1" || exit
set -- .
if [ -n "$(find . -name '.upgrade-host-*' | head -n 1)" ]; then set -- '--exclude=.upgrade-host-*' .; fi
"#
        )
    };
}

/// The end of a script for which `$said` holds the status of tar and a digest.
macro_rules! end {
    () => {
        r#"
set -- $said
[ "$1" = 0 ] || exit "$1"
say_digest "$2"
"#
    };
}

/// $1 path: writes it to standard output.
const PACK_HERE: &str = script!(concat!(packing!(), r#"exec tar -cf - "$@""#));

/// $1 path: writes it to standard output, and says the digest of what it wrote.
const PACK: &str = script!(concat!(
    packing!(),
    r#"
exec 5>&1
said=$({ { { tar -cf - "$@"; echo $? >&4; } | tee /dev/fd/3 >&5; } 3>&1 | sum_of 9999999; } 4>&1)
"#,
    end!()
));

/// The beginning of a script that makes the directory `$1`, from the beginning.
macro_rules! unpacking {
    () => {
        concat!(
            needs_tar!(),
            r#"
rm -rf "$1"
(umask 077; mkdir "$1") || exit
cd "$1" || exit
"#
        )
    };
}

/// $1 new directory: makes it of standard input. There is no run to note it for.
const UNPACK_HERE: &str = script!(concat!(unpacking!(), "tar -xpof - && cat >/dev/null"));

/// $1 run, $2 kept directory, $3 new directory: makes it of standard input, and says the digest of that.
const UNPACK: &str = script!(concat!(
    r#"
spool "$1"; note "$3"; note "$2"; shift 2
"#,
    unpacking!(),
    r#"
said=$({ { tee /dev/fd/3 | { tar -xpof - && cat >/dev/null; echo $? >&4; }; } 3>&1 | sum_of 9999999; } 4>&1)
"#,
    end!()
));

/// $1 run, $2 new directory, $3 path, $4 kept directory, $5 owner, $6 stem.
pub(super) const SHOW_TREE: &str = script!(
    r#"
spool "$1"
if [ -n "$5" ]; then chown -R -h "$5" "$2" || exit; fi
show "$2" "$3" "$4" "$6"
"#
);

/// Runs one of our scripts on this machine.
fn run_here(cx: &Cx<'_>, command: &Command) -> Result<Exit> {
    let exit = Local.exec(command, &cx.lane.run().cancel, &mut |_, _| {});
    let exit = exit.map_err(|error| match error {
        TransportError::Cancelled => Halt::from(Stop::Cancelled),
        error => Failure::new(Kind::Conflict, format!("on this machine: {error}")).into(),
    })?;
    if exit.success() { Ok(exit) } else { Err(failed_here(&exit).into()) }
}

fn failed_here(exit: &Exit) -> Failure {
    let mut failure = failure(exit);
    failure.message = format!("on this machine: {}", failure.message);
    failure
}

/// Returns how many bytes the files in a directory of this machine have.
pub(super) fn size_here(cx: &Cx<'_>, path: &str) -> Result<u64> {
    size(&run_here(cx, &Command::script(SIZE, [path]).reading())?.out())
}

/// Returns how many bytes the files in a directory of the target have.
pub(super) fn size_there(cx: &Cx<'_>, path: &str) -> Result<u64> {
    size(&read(cx, SIZE, [path])?)
}

fn size(said: &str) -> Result<u64> {
    let wrong = |_| Failure::new(Kind::Exit, "no size of the directory; is `xargs` there?");
    Ok(said.trim().parse().map_err(wrong)?)
}

/// Returns the digest of a directory of this machine.
pub(super) fn digest_here(cx: &Cx<'_>, path: &str) -> Result<String> {
    let said = run_here(cx, &Command::script(CHECKSUM, [path]).reading())?.out();
    let digest = said.split_whitespace().next().unwrap_or_default();
    if digest.len() == 64 {
        return Ok(digest.to_owned());
    }
    let message = format!("on this machine: no digest of {path}; is `sha256sum` there?");
    Err(Failure::new(Kind::Exit, message).into())
}

/// Runs tar here, joined to a stream whose bytes are told on the way.
fn tar_here(cx: &Cx<'_>, command: Command, streams: Streams) -> Result<()> {
    run_here(cx, &command.joined(streams)).map(drop)
}

fn no_stream(error: &std::io::Error) -> Halt {
    Failure::new(Kind::Conflict, format!("on this machine: {error}")).into()
}

/// Sends the directory `from` of this machine, whose files have `size` bytes; it becomes `fresh` on the target.
pub(super) fn upload(
    cx: &Cx<'_>,
    from: &str,
    size: u64,
    [run, kept, fresh]: [&str; 3],
) -> Result<()> {
    let unpack = Command::script(UNPACK, [run, kept, fresh]).tied(std::time::Duration::ZERO);
    let mut hash = Sha256::new();
    let (exit, packed) = send(cx, unpack, |socket| {
        let (ours, theirs) = UnixStream::pair().map_err(|error| no_stream(&error))?;
        let streams = Streams::new(null().map_err(|error| no_stream(&error))?, theirs);
        let (teller, hash) = (Teller::new(cx, Some(size)), Some(&mut hash));
        std::thread::scope(|scope| {
            // It ends with either side; the digest says whether all came.
            scope.spawn(move || pump(&mut &ours, &mut &socket, 0, hash, teller));
            tar_here(cx, Command::script(PACK_HERE, [from]), streams)
        })
    })?;
    match packed {
        // What failed there ended it here, and says why.
        Err(Halt::Failure(failure)) if failure.code == Some(PIPE) => {}
        packed => packed?,
    }
    if !exit.success() {
        return Err(failure(&exit).with_target(&cx.target.name).into());
    }
    same(&hex_of(hash), &digest_said(cx, &exit)?, from)
}

/// Fetches the directory `from` of the target, whose files have `size` bytes; it becomes `fresh` on this machine.
pub(super) fn download(cx: &Cx<'_>, from: &At, size: u64, fresh: &str) -> Result<()> {
    let pack = Command::script(PACK, [from.as_str()]).reading();
    let mut hash = Sha256::new();
    let (exit, unpacked) = receive(cx, pack, |socket| {
        let (ours, theirs) = UnixStream::pair().map_err(|error| no_stream(&error))?;
        let streams = Streams::new(theirs, null().map_err(|error| no_stream(&error))?);
        let (teller, hash) = (Teller::new(cx, Some(size)), Some(&mut hash));
        std::thread::scope(|scope| {
            scope.spawn(move || pump(&mut &socket, &mut &ours, 0, hash, teller));
            tar_here(cx, Command::script(UNPACK_HERE, [fresh]), streams)
        })
    })?;
    if !exit.success() {
        return Err(failure(&exit).with_target(&cx.target.name).into());
    }
    unpacked?;
    same(&hex_of(hash), &digest_said(cx, &exit)?, from.as_str())
}

fn same(sent: &str, arrived: &str, what: &str) -> Result<()> {
    if sent == arrived {
        return Ok(());
    }
    Err(Failure::new(Kind::Check, format!("what arrived is not what was sent: {what}")).into())
}
