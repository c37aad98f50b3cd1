//! Files from the machine that upgrade-host runs on to a target, and back. What arrives is shown by a rename once it is
//! whole and its digest is right; a transfer that was cut off goes on from what has arrived.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::path::At;
use super::read::checksum;
use super::restore::Restore;
use super::shell::{change, failure, script};
use super::state::{Left, Mark, Sort, State, require};
use super::write::hex_of;
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Reconciled};
use crate::error::{Failure, Kind, Result, Stop};
use crate::event::Progress;
use crate::journal::Inverse;
use crate::transport::{Command, Stream};
use crate::units;

/// How much is sent at once: so much is held in memory, and a command each is little beside it.
const PIECE: usize = 4 << 20;

/// $1 run, $2 new file, $3 kept file: prints how much has arrived.
const BEGIN: &str = script!(
    r#"
spool "$1"
note "$2"; note "$3"
[ -f "$2" ] || (umask 077; : >"$2") || exit
stat -c %s "$2"
"#
);

/// $1 new file, $2 how long it is, $3 how long it is to become; the rest is standard input.
const APPEND: &str = script!(
    r#"
[ "$(stat -c %s "$1")" = "$2" ] || fail conflict "it is not as long as it was: $1"
cat >>"$1" || exit
[ "$(stat -c %s "$1")" = "$3" ] || fail connect "the content did not come whole: $1"
"#
);

/// $1 run, $2 new file, $3 digest, $4 path, $5 kept file, $6 mode, $7 owner, $8 stem.
const SHOW: &str = script!(
    r#"
spool "$1"
sum=$(sha256sum <"$2") || exit
[ "${sum%% *}" = "$3" ] || { rm -f "$2"; fail check "what arrived is not what was sent, so it was removed: $2"; }
like "$4"; dress "$2" "$6" "$7"
sync "$2" 2>/dev/null || :
show "$2" "$4" "$5" "$8"
"#
);

/// $1 path, $2 how much is there already.
const SEND: &str = script!(
    r#"
[ -f "$1" ] || { there "$1" && fail conflict "it is no file: $1"; fail not_found "there is no file $1"; }
exec tail -c "+$(($2 + 1))" "$1"
"#
);

/// What is to be transferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Whole {
    /// Its size in bytes.
    size: u64,
    /// Its SHA-256; empty if it is not there, which only a plan lets pass.
    digest: String,
}

impl Whole {
    /// Reads a file of this machine.
    fn here(cx: &Cx<'_>, path: &At) -> Result<Self> {
        let mut file = File::open(path.as_str()).map_err(|error| here(path, &error))?;
        if !file.metadata().is_ok_and(|meta| meta.is_file()) {
            let message = format!("on this machine it is no file: {path}");
            return Err(Failure::new(Kind::Conflict, message).into());
        }
        let (mut hash, mut size, mut piece) = (Sha256::new(), 0, vec![0; 1 << 20]);
        loop {
            if cx.lane.run().cancel.is_cancelled() {
                return Err(Stop::Cancelled.into());
            }
            match file.read(&mut piece).map_err(|error| here(path, &error))? {
                0 => break,
                count => {
                    hash.update(&piece[..count]);
                    size += count as u64;
                }
            }
        }
        Ok(Self { size, digest: hex_of(hash) })
    }

    fn words(&self) -> String {
        format!("file, {}", units::say_size(self.size))
    }
}

/// The failure of a file of this machine.
fn here(path: &At, error: &std::io::Error) -> Box<Failure> {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        std::io::ErrorKind::PermissionDenied => Kind::Denied,
        _ => Kind::Conflict,
    };
    let hint = "The path is one of the machine that upgrade-host runs on.";
    Box::new(Failure::new(kind, format!("on this machine: {path}: {error}")).with_hint(hint))
}

fn tell(cx: &Cx<'_>, done: u64, whole: &Whole) {
    cx.progress(Progress {
        done,
        total: Some(whole.size),
        unit: "bytes".to_owned(),
        ..Progress::default()
    });
}

/// Sends a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    /// The file of this machine.
    pub(super) from: At,
    /// Its path on the target.
    pub(super) to: At,
    /// The permission bits; those of the old file, else what the umask leaves of 0666.
    pub(super) mode: Option<String>,
    /// The owner; that of the old file, else whoever acts.
    pub(super) owner: Option<String>,
}

/// What was found before a file is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    whole: Whole,
    /// What is at its place.
    state: State,
    pub(super) mark: Mark,
}

impl Upload {
    fn is_so(&self, whole: &Whole, state: &State) -> bool {
        state.digest.as_ref() == Some(&whole.digest)
            && self.mode.as_deref().is_none_or(|mode| state.has_mode(mode))
            && self.owner.as_deref().is_none_or(|owner| state.owned_by(owner))
    }

    /// Looks at the place; reads it only where its size does not tell already that it is another.
    fn state(&self, cx: &Cx<'_>, whole: &Whole) -> Result<State> {
        let mut state = State::look(cx, &self.to, true, false)?;
        if state.sort == Sort::File && state.size == whole.size {
            state.digest = Some(checksum(cx, &state.real, &[])?);
        }
        Ok(state)
    }
}

impl Action for Upload {
    const NAME: &'static str = "upload";
    const ACCESS: Access = Access::Change;
    type Before = Sent;
    type Output = bool;

    fn summary(&self) -> String {
        format!("upload {} to {}", self.from, self.to)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Sent> {
        let whole = Whole::here(cx, &self.from)?;
        let state = self.state(cx, &whole)?;
        if !matches!(state.sort, Sort::File | Sort::Absent) {
            let message = format!("it is a {}, not a file: {}", state.sort.as_str(), self.to);
            return Err(Failure::new(Kind::Conflict, message).with_target(&cx.target.name).into());
        }
        let directory = format!("directory {}", At::new(&state.real)?.parent());
        require(cx, state.parent, &directory, "Make it with `make_dir` first.")?;
        Ok(Sent { whole, state, mark: Mark::of(cx) })
    }

    fn plan(&self, before: &Sent) -> Plan<Sent, bool> {
        if self.is_so(&before.whole, &before.state) {
            return Plan::Already(false);
        }
        let mut changes = vec![before.whole.words()];
        if before.state.is_there() {
            let old = units::say_size(before.state.size);
            changes.push(format!("replaces what is there: file, {old}"));
        }
        Plan::Would { changes, output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Sent) -> Result<bool> {
        let (mark, whole, real) = (&before.mark, &before.whole, At::new(&before.state.real)?);
        let (fresh, kept) = (mark.fresh(&real), mark.kept(&real));
        let there = change(cx, BEGIN, [&mark.run, &fresh, &kept], b"")?;
        let mut at: u64 = there.trim().parse().unwrap_or(0);
        let mut file = File::open(self.from.as_str()).map_err(|error| here(&self.from, &error))?;
        file.seek(SeekFrom::Start(at)).map_err(|error| here(&self.from, &error))?;
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            tell(cx, at, whole);
            piece.clear();
            let part = (&mut file).take(PIECE as u64).read_to_end(&mut piece);
            part.map_err(|error| here(&self.from, &error))?;
            if piece.is_empty() {
                break;
            }
            let next = at + piece.len() as u64;
            change(cx, APPEND, [fresh.clone(), at.to_string(), next.to_string()], &piece)?;
            at = next;
        }
        let (mode, owner) = (self.mode.clone(), self.owner.clone());
        let arguments = [
            mark.run.clone(),
            fresh,
            whole.digest.clone(),
            real.to_string(),
            kept,
            mode.unwrap_or_default(),
            owner.unwrap_or_default(),
            mark.stem.clone(),
        ];
        change(cx, SHOW, arguments, b"")?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Sent) -> Result<Reconciled<bool>> {
        let done = self.is_so(&before.whole, &self.state(cx, &before.whole)?);
        Ok(if done { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &Sent) -> Inverse {
        let left = Left::Digest(before.whole.digest.clone());
        match At::new(&before.state.real) {
            Ok(real) => Restore::of(&real, &before.mark, &before.state, left),
            Err(failure) => Inverse::Impossible { why: failure.message },
        }
    }

    fn owes(&self, _before: &Sent) -> Owes {
        Owes::Nothing
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

/// Fetches a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Download {
    /// The file of the target.
    pub(super) from: At,
    /// Its path on this machine.
    pub(super) to: At,
    /// Whether another file that is there is replaced.
    pub(super) overwrite: bool,
}

/// What was found before a file is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fetched {
    whole: Whole,
    /// Whether this machine has it already.
    same: bool,
    pub(super) mark: Mark,
}

impl Download {
    fn has(&self, cx: &Cx<'_>, whole: &Whole) -> Result<bool> {
        match fs::metadata(self.to.as_str()) {
            Ok(meta) if meta.is_file() && meta.len() == whole.size => {
                Ok(Whole::here(cx, &self.to)? == *whole)
            }
            _ => Ok(false),
        }
    }

    fn fetch(&self, cx: &Cx<'_>, whole: &Whole, fresh: &str) -> Result<()> {
        let wrong = |error: std::io::Error| here(&self.to, &error);
        let mut file = OpenOptions::new().create(true).append(true).open(fresh).map_err(wrong)?;
        let mut at = file.metadata().map_err(wrong)?.len();
        tell(cx, at, whole);
        let command = Command::script(SEND, [self.from.as_str().to_owned(), at.to_string()]);
        let mut bad = None;
        let (mut told, from) = (at, at);
        let exit = cx.exec_with(&command.reading(), false, &mut |stream, bytes| {
            if stream == Stream::Out && bad.is_none() {
                bad = file.write_all(bytes).err();
                at += bytes.len() as u64;
                if at - told >= PIECE as u64 {
                    told = at;
                    tell(cx, at, whole);
                }
            }
        })?;
        if let Some(error) = bad {
            return Err(wrong(error).into());
        }
        if !exit.success() {
            return Err(failure(&exit).with_target(&cx.target.name).into());
        }
        tell(cx, at, whole);
        file.sync_all().map_err(wrong)?;
        if Whole::here(cx, &At::new(fresh)?)? == *whole {
            return Ok(());
        }
        fs::remove_file(fresh).map_err(wrong)?;
        let what = if from > 0 { "the rest of it" } else { "it" };
        let message = format!("{what} is not what was there before: {} changed", self.from);
        Err(Failure::new(Kind::Check, message).with_target(&cx.target.name).into())
    }
}

impl Action for Download {
    const NAME: &'static str = "download";
    const ACCESS: Access = Access::Change;
    type Before = Fetched;
    type Output = bool;

    fn summary(&self) -> String {
        format!("download {} to {}", self.from, self.to)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Fetched> {
        let state = State::look(cx, &self.from, true, false)?;
        require(cx, state.is_there(), self.from.as_str(), "")?;
        let mark = Mark::of(cx);
        if !state.is_there() {
            return Ok(Fetched { whole: Whole::default(), same: false, mark });
        }
        if state.sort != Sort::File {
            let message = format!("it is a {}, not a file: {}", state.sort.as_str(), self.from);
            return Err(Failure::new(Kind::Conflict, message).with_target(&cx.target.name).into());
        }
        let whole = Whole { size: state.size, digest: checksum(cx, &state.real, &[])? };
        if !Path::new(self.to.parent()).is_dir() {
            let message = format!("on this machine there is no directory {}", self.to.parent());
            return Err(Failure::new(Kind::NotFound, message).into());
        }
        let same = self.has(cx, &whole)?;
        if !same && !self.overwrite && fs::symlink_metadata(self.to.as_str()).is_ok() {
            let message = format!("on this machine it is there, and not the same: {}", self.to);
            return Err(Failure::new(Kind::Conflict, message)
                .with_hint("Give `overwrite: true` to replace it.")
                .into());
        }
        Ok(Fetched { whole, same, mark })
    }

    fn plan(&self, before: &Fetched) -> Plan<Fetched, bool> {
        if before.same {
            return Plan::Already(false);
        }
        Plan::Would { changes: vec![before.whole.words()], output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Fetched) -> Result<bool> {
        let fresh = before.mark.fresh(&self.to);
        self.fetch(cx, &before.whole, &fresh)?;
        fs::rename(&fresh, self.to.as_str()).map_err(|error| here(&self.to, &error))?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Fetched) -> Result<Reconciled<bool>> {
        // The way to the target must be back before anything goes on.
        State::look(cx, &self.from, true, false)?;
        let done = self.has(cx, &before.whole)?;
        Ok(if done { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, _before: &Fetched) -> Inverse {
        Inverse::Nothing { why: "the copy here stays, and the target is untouched".to_owned() }
    }

    fn owes(&self, _before: &Fetched) -> Owes {
        Owes::Nothing
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}
