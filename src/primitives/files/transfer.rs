//! Files and directories from the machine that upgrade-host runs on to a target, and back. What arrives is shown by a rename
//! once it is whole and its digest is right; the transfer of a file that was cut off goes on from what has arrived.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::joined::{Teller, pump, receive, send};
use super::path::At;
use super::read::checksum;
use super::restore::Restore;
use super::shell::{change, digest_said, failure, script};
use super::state::{Left, Mark, Sort, State, require};
use super::tree::{self, SHOW_TREE};
use super::write::hex_of;
use crate::call::Access;
use crate::effect::{Action, Cx, Mode, Owes, Plan, Reconciled};
use crate::error::{Failure, Kind, Result, Stop};
use crate::journal::Inverse;
use crate::transport::Command;
use crate::units;

/// $1 run, $2 new file, $3 kept file: prints how much has arrived.
const BEGIN: &str = script!(
    r#"
spool "$1"
note "$2"; note "$3"
[ -f "$2" ] || (umask 077; : >"$2") || exit
stat -c %s "$2"
"#
);

/// $1 run, $2 stem, $3 new file, $4 how long it is, $5 how long it is to become; the rest is standard input. Its digest is
/// taken on the way where `tee` can end with the first error, for to read a large file again takes as long as to send it.
const APPEND: &str = script!(
    r#"
spool "$1"
[ "$(stat -c %s "$3")" = "$4" ] || fail conflict "it is not as long as it was: $3"
if tee --output-error=exit </dev/null >/dev/null 2>&1; then
  whole=$(
    {
      { cat "$3" && tee --output-error=exit -a "$3" || exit; echo whole >&3; } | sum_of "$5" >"$S/$2.sum"
    } 3>&1
  )
  [ -n "$whole" ] || exit 1
else
  rm -f "$S/$2.sum"; cat >>"$3" || exit
fi
[ "$(stat -c %s "$3")" = "$5" ] || fail connect "the content did not come whole: $3"
"#
);

/// $1 run, $2 new file, $3 digest, $4 path, $5 kept file, $6 mode, $7 owner, $8 stem.
const SHOW: &str = script!(
    r#"
spool "$1"
if [ -s "$S/$8.sum" ]; then read -r sum _ <"$S/$8.sum"; rm -f "$S/$8.sum"; else digest "$2" || exit; fi
[ "$sum" = "$3" ] || { rm -f "$2"; fail check "what arrived is not what was sent, so it was removed: $2"; }
like "$4"; dress "$2" "$6" "$7"
sync "$2" 2>/dev/null || :
show "$2" "$4" "$5" "$8"
"#
);

/// $1 path, $2 how much is here already. Says the digest of the whole file meanwhile.
const SEND: &str = script!(
    r#"
[ -f "$1" ] || { there "$1" && fail conflict "it is no file: $1"; fail not_found "there is no file $1"; }
{ digest "$1" && say_digest "$sum"; } >/dev/null &
tail -c "+$(($2 + 1))" "$1" || exit
wait
"#
);

/// What is to be transferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Whole {
    /// Its size in bytes; that of the files in a directory.
    size: u64,
    /// Its SHA-256, for a directory that of everything in it. Empty where nothing is compared with it before it moves.
    digest: String,
    /// Whether it is a directory.
    #[serde(default)]
    tree: bool,
}

impl Whole {
    /// Looks at a file or directory of this machine.
    fn here(cx: &Cx<'_>, path: &At) -> Result<Self> {
        let meta = fs::metadata(path.as_str()).map_err(|error| here(path, &error))?;
        if !meta.is_dir() && !meta.is_file() {
            let message = format!("on this machine it is neither a file nor a directory: {path}");
            return Err(Failure::new(Kind::Conflict, message).into());
        }
        let size = if meta.is_dir() { tree::size_here(cx, path.as_str())? } else { meta.len() };
        Ok(Self { size, digest: String::new(), tree: meta.is_dir() })
    }

    /// Takes its digest on this machine, unless it has it.
    fn read_here(mut self, cx: &Cx<'_>, path: &At) -> Result<Self> {
        if self.digest.is_empty() && self.tree {
            self.digest = tree::digest_here(cx, path.as_str())?;
        } else if self.digest.is_empty() {
            let mut hash = Sha256::new();
            self.size = pass_over(cx, path, &mut hash)?;
            self.digest = hex_of(hash);
        }
        Ok(self)
    }

    fn sort(&self) -> Sort {
        if self.tree { Sort::Directory } else { Sort::File }
    }

    fn words(&self) -> String {
        format!("{}, {}", self.sort().as_str(), units::say_size(self.size))
    }
}

/// Puts a file of this machine into `hash`; returns how long it is.
fn pass_over(cx: &Cx<'_>, path: &At, hash: &mut Sha256) -> Result<u64> {
    let wrong = |error: io::Error| here(path, &error);
    let mut file = File::open(path.as_str()).map_err(wrong)?;
    let (mut size, mut piece) = (0, vec![0; 1 << 20]);
    loop {
        if cx.lane.run().cancel.is_cancelled() {
            return Err(Stop::Cancelled.into());
        }
        match file.read(&mut piece).map_err(wrong)? {
            0 => return Ok(size),
            count => {
                hash.update(&piece[..count]);
                size += count as u64;
            }
        }
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

/// Sends a file or a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    /// What is on this machine.
    pub(super) from: At,
    /// Its path on the target.
    pub(super) to: At,
    /// The permission bits of a file; those of the old file, else what the umask leaves of 0666.
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
        state.sort == whole.sort()
            && state.digest.as_ref() == Some(&whole.digest)
            && self.mode.as_deref().is_none_or(|mode| state.has_mode(mode))
            && self.owner.as_deref().is_none_or(|owner| state.owned_by(owner))
    }

    /// Looks at the place; reads it only where its size does not tell already that it is another.
    fn state(&self, cx: &Cx<'_>, whole: &Whole) -> Result<State> {
        let mut state = State::look(cx, &self.to, true, false)?;
        let comparable = match state.sort {
            Sort::File => !whole.tree && state.size == whole.size,
            Sort::Directory => whole.tree,
            _ => false,
        };
        if comparable {
            state.digest = Some(checksum(cx, &state.real, &[])?);
        }
        Ok(state)
    }

    /// Looks at both sides; reads this one only where the place may hold the same.
    fn compare(&self, cx: &Cx<'_>) -> Result<(Whole, State)> {
        let whole = Whole::here(cx, &self.from)?;
        let state = self.state(cx, &whole)?;
        let whole = if state.digest.is_some() { whole.read_here(cx, &self.from)? } else { whole };
        Ok((whole, state))
    }

    /// Sends the rest of a file, which becomes `fresh` there.
    fn send(&self, cx: &Cx<'_>, before: &Sent, fresh: &str, at: u64) -> Result<()> {
        let wrong = |error: io::Error| here(&self.from, &error);
        let (whole, mark) = (&before.whole, &before.mark);
        let mut file = File::open(self.from.as_str()).map_err(wrong)?;
        file.seek(SeekFrom::Start(at)).map_err(wrong)?;
        let (run, stem, fresh) = (mark.run.clone(), mark.stem.clone(), fresh.to_owned());
        let arguments = [run, stem, fresh, at.to_string(), whole.size.to_string()];
        let append = Command::script(APPEND, arguments).tied(Duration::ZERO);
        let teller = Teller::new(cx, Some(whole.size));
        teller.say(at);
        let (exit, sent) = send(cx, append, move |mut socket: UnixStream| {
            pump(&mut file, &mut socket, at, None, teller)
        })?;
        match sent {
            // What failed there ended it here, and says why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(wrong(error).into()),
            _ if !exit.success() => Err(failure(&exit).with_target(&cx.target.name).into()),
            _ => Ok(()),
        }
    }

    fn apply_tree(&self, cx: &Cx<'_>, before: &Sent) -> Result<bool> {
        let (mark, real) = (&before.mark, At::new(&before.state.real)?);
        let (fresh, kept) = (mark.fresh(&real), mark.kept(&real));
        tree::upload(cx, self.from.as_str(), before.whole.size, [&mark.run, &kept, &fresh])?;
        let owner = self.owner.as_deref().unwrap_or_default();
        let arguments = [&mark.run, &fresh, real.as_str(), &kept, owner, &mark.stem];
        change(cx, SHOW_TREE, arguments, b"")?;
        Ok(true)
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
        let (mut whole, state) = self.compare(cx)?;
        if state.is_there() && state.sort != whole.sort() {
            let (is, wanted) = (state.sort.as_str(), whole.sort().as_str());
            let message = format!("it is a {is}, not a {wanted}: {}", self.to);
            return Err(Failure::new(Kind::Conflict, message).with_target(&cx.target.name).into());
        }
        if whole.tree {
            if self.mode.is_some() {
                let message =
                    format!("`mode` is for a file, and this is a directory: {}", self.from);
                let hint = "Leave it out: what is in a directory keeps the modes that it has here.";
                return Err(Failure::input(message).with_hint(hint).into());
            }
            if state.is_there() && !self.is_so(&whole, &state) {
                At::new(&state.real)?.expendable("replace")?;
            }
        }
        let directory = format!("directory {}", At::new(&state.real)?.parent());
        require(cx, state.parent, &directory, "Make it with `make_dir` first.")?;
        if !whole.tree && cx.lane.run().mode != Mode::Plan {
            // By this what arrives is checked, and what is there when it is taken back.
            whole = whole.read_here(cx, &self.from)?;
        }
        Ok(Sent { whole, state, mark: Mark::of(cx) })
    }

    fn plan(&self, before: &Sent) -> Plan<Sent, bool> {
        if self.is_so(&before.whole, &before.state) {
            return Plan::Already(false);
        }
        let mut changes = vec![before.whole.words()];
        if before.state.is_there() {
            let old = match before.state.sort {
                Sort::File => format!("file, {}", units::say_size(before.state.size)),
                sort => sort.as_str().to_owned(),
            };
            changes.push(format!("replaces what is there: {old}"));
        }
        Plan::Would { changes, output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Sent) -> Result<bool> {
        if before.whole.tree {
            return self.apply_tree(cx, before);
        }
        let (mark, whole, real) = (&before.mark, &before.whole, At::new(&before.state.real)?);
        let (fresh, kept) = (mark.fresh(&real), mark.kept(&real));
        let there = change(cx, BEGIN, [&mark.run, &fresh, &kept], b"")?;
        self.send(cx, before, &fresh, there.trim().parse().unwrap_or(0))?;
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
        let done = if before.whole.digest.is_empty() {
            let (whole, state) = self.compare(cx)?;
            self.is_so(&whole, &state)
        } else {
            // What was to be sent counts, not what has become of it here since.
            self.is_so(&before.whole, &self.state(cx, &before.whole)?)
        };
        Ok(if done { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &Sent) -> Inverse {
        let left =
            if before.whole.tree { Left::Since } else { Left::Digest(before.whole.digest.clone()) };
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

/// Fetches a file or a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Download {
    /// What is on the target.
    pub(super) from: At,
    /// Its path on this machine.
    pub(super) to: At,
    /// Whether something else that is there is replaced.
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
    /// Returns whether this machine may have it, by what its size tells.
    fn may_have(&self, whole: &Whole) -> bool {
        match fs::metadata(self.to.as_str()) {
            Ok(meta) if whole.tree => meta.is_dir(),
            Ok(meta) => meta.is_file() && meta.len() == whole.size,
            Err(_) => false,
        }
    }

    /// Returns whether this machine has it.
    fn has(&self, cx: &Cx<'_>, whole: &Whole) -> Result<bool> {
        Ok(self.may_have(whole) && Whole::here(cx, &self.to)?.read_here(cx, &self.to)? == *whole)
    }

    /// Returns what is to be fetched, and whether this machine has it; reads it only where that may be.
    fn compare(&self, cx: &Cx<'_>, state: &State) -> Result<(Whole, bool)> {
        let tree = state.sort == Sort::Directory;
        let size = if tree { tree::size_there(cx, &state.real)? } else { state.size };
        let mut whole = Whole { size, digest: String::new(), tree };
        if !self.may_have(&whole) {
            return Ok((whole, false));
        }
        whole.digest = checksum(cx, &state.real, &[])?;
        let has = self.has(cx, &whole)?;
        Ok((whole, has))
    }

    /// Puts a directory that was fetched in its place.
    fn show_tree(&self, mark: &Mark, fresh: &str) -> io::Result<()> {
        let old = mark.kept(&self.to);
        if fs::symlink_metadata(self.to.as_str()).is_ok() {
            fs::rename(self.to.as_str(), &old)?;
        }
        fs::rename(fresh, self.to.as_str())?;
        if fs::symlink_metadata(&old).is_ok() { fs::remove_dir_all(&old) } else { Ok(()) }
    }

    fn fetch(&self, cx: &Cx<'_>, whole: &Whole, fresh: &str) -> Result<()> {
        let wrong = |error: std::io::Error| here(&self.to, &error);
        let mut file = OpenOptions::new().create(true).append(true).open(fresh).map_err(wrong)?;
        let mut hash = Sha256::new();
        let from = pass_over(cx, &At::new(fresh)?, &mut hash)?;
        let command = Command::script(SEND, [self.from.as_str().to_owned(), from.to_string()]);
        let teller = Teller::new(cx, Some(whole.size));
        teller.say(from);
        let (exit, taken) = receive(cx, command.reading(), |mut socket: UnixStream| {
            pump(&mut socket, &mut file, from, Some(&mut hash), teller)
        })?;
        taken.map_err(wrong)?;
        if !exit.success() {
            return Err(failure(&exit).with_target(&cx.target.name).into());
        }
        file.sync_all().map_err(wrong)?;
        let there = digest_said(cx, &exit)?;
        if hex_of(hash) == there && (whole.digest.is_empty() || whole.digest == there) {
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
        if !matches!(state.sort, Sort::File | Sort::Directory) {
            let (is, from) = (state.sort.as_str(), &self.from);
            let message = format!("it is a {is}, neither a file nor a directory: {from}");
            let failure = Failure::new(Kind::Conflict, message);
            return Err(failure.with_target(&cx.target.name).into());
        }
        if !Path::new(self.to.parent()).is_dir() {
            let message = format!("on this machine there is no directory {}", self.to.parent());
            return Err(Failure::new(Kind::NotFound, message).into());
        }
        let (whole, same) = self.compare(cx, &state)?;
        if let (false, Ok(meta)) = (same, fs::symlink_metadata(self.to.as_str())) {
            if meta.is_dir() != whole.tree {
                let wanted = whole.sort().as_str();
                let message = format!("on this machine it is there, and no {wanted}: {}", self.to);
                return Err(Failure::new(Kind::Conflict, message)
                    .with_hint("Remove it first.")
                    .into());
            }
            if !self.overwrite {
                let message = format!("on this machine it is there, and not the same: {}", self.to);
                return Err(Failure::new(Kind::Conflict, message)
                    .with_hint("Give `overwrite: true` to replace it.")
                    .into());
            }
            if whole.tree {
                self.to.expendable("replace")?;
            }
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
        if before.whole.tree {
            tree::download(cx, &self.from, before.whole.size, &fresh)?;
            self.show_tree(&before.mark, &fresh).map_err(|error| here(&self.to, &error))?;
            return Ok(true);
        }
        self.fetch(cx, &before.whole, &fresh)?;
        fs::rename(&fresh, self.to.as_str()).map_err(|error| here(&self.to, &error))?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Fetched) -> Result<Reconciled<bool>> {
        // The way to the target must be back before anything goes on.
        let state = State::look(cx, &self.from, true, false)?;
        let done = if before.whole.digest.is_empty() {
            self.compare(cx, &state)?.1
        } else {
            self.has(cx, &before.whole)?
        };
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
