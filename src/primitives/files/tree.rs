//! Whole directories as a stream of tar, for targets that have nothing but `tar`, and their digests on either side. A tree
//! is unpacked beside its place and shown by a rename once its digest is right.

use std::os::unix::net::UnixStream;

use super::joined::{Teller, null, pump, receive, send};
use super::path::At;
use super::read::CHECKSUM;
use super::shell::{failure, read, script};
use super::transfer::Whole;
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

/// $1 path: writes it to standard output. What a run keeps for its undo is no part of it.
const PACK: &str = script!(concat!(
    needs_tar!(),
    r#"
cd "$1" || exit
if [ -n "$(find . -name '.upgrade-host-*' | head -n 1)" ]; then exec tar -cf - --exclude='.upgrade-host-*' .; fi
exec tar -cf - .
"#
));

/// The script that makes the directory `$1` of standard input, from the beginning, after `$before`.
macro_rules! unpack {
    ($before:literal) => {
        script!(concat!(
            needs_tar!(),
            $before,
            r#"
rm -rf "$1"
(umask 077; mkdir "$1") || exit
cd "$1" || exit
exec tar -xpof -
"#
        ))
    };
}

/// $1 run, $2 new directory, $3 kept directory.
const UNPACK: &str = unpack!("spool \"$1\"; shift; note \"$1\"; note \"$2\"");

/// $1 new directory, where there is no run to note it for.
const UNPACK_HERE: &str = unpack!("");

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

/// Returns size and digest of a directory of this machine.
pub(super) fn here(cx: &Cx<'_>, path: &str) -> Result<Whole> {
    let script =
        |text| run_here(cx, &Command::script(text, [path]).reading()).map(|exit| exit.out());
    Whole::of_tree(&script(SIZE)?, &script(CHECKSUM)?)
}

/// Returns size and digest of a directory of the target.
pub(super) fn there(cx: &Cx<'_>, path: &str) -> Result<Whole> {
    Whole::of_tree(&read(cx, SIZE, [path])?, &read(cx, CHECKSUM, [path])?)
}

/// Runs tar here, joined to a stream whose bytes are told on the way.
fn tar_here(cx: &Cx<'_>, command: Command, streams: Streams) -> Result<()> {
    run_here(cx, &command.joined(streams)).map(drop)
}

fn no_stream(error: &std::io::Error) -> Halt {
    Failure::new(Kind::Conflict, format!("on this machine: {error}")).into()
}

/// Sends the directory `from` of this machine; it becomes `fresh` on the target.
pub(super) fn upload(
    cx: &Cx<'_>,
    from: &str,
    whole: &Whole,
    [run, fresh, kept]: [&str; 3],
) -> Result<()> {
    let unpack = Command::script(UNPACK, [run, fresh, kept]).tied(std::time::Duration::ZERO);
    let (exit, packed) = send(cx, unpack, |socket| {
        let (ours, theirs) = UnixStream::pair().map_err(|error| no_stream(&error))?;
        let streams = Streams::new(null().map_err(|error| no_stream(&error))?, theirs);
        std::thread::scope(|scope| {
            let teller = Teller::new(cx, Some(whole.size()));
            // It ends with either side; the digest says whether all came.
            scope.spawn(move || pump(&mut &ours, &mut &socket, 0, teller));
            tar_here(cx, Command::script(PACK, [from]), streams)
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
    let arrived = there(cx, fresh)?;
    same(whole, &arrived, from).map_err(Into::into)
}

/// Fetches the directory `from` of the target; it becomes `fresh` on this machine.
pub(super) fn download(cx: &Cx<'_>, from: &At, whole: &Whole, fresh: &str) -> Result<()> {
    let pack = Command::script(PACK, [from.as_str()]).reading();
    let (exit, unpacked) = receive(cx, pack, |socket| {
        let (ours, theirs) = UnixStream::pair().map_err(|error| no_stream(&error))?;
        let streams = Streams::new(theirs, null().map_err(|error| no_stream(&error))?);
        std::thread::scope(|scope| {
            let teller = Teller::new(cx, Some(whole.size()));
            scope.spawn(move || pump(&mut &socket, &mut &ours, 0, teller));
            tar_here(cx, Command::script(UNPACK_HERE, [fresh]), streams)
        })
    })?;
    // tar says 1 for a file that changed while it was read; the digest says whether that matters.
    if !exit.success() && exit.code() != 1 {
        return Err(failure(&exit).with_target(&cx.target.name).into());
    }
    unpacked?;
    same(whole, &here(cx, fresh)?, from.as_str()).map_err(Into::into)
}

fn same(wanted: &Whole, arrived: &Whole, from: &str) -> Result<(), Box<Failure>> {
    if wanted == arrived {
        return Ok(());
    }
    let message = format!("what arrived is not what was there before: {from} changed meanwhile");
    Err(Failure::new(Kind::Check, message).into())
}
