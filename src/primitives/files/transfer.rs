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
use super::shell::{change, failure, script};
use super::state::{Left, Mark, Sort, State, require};
use super::tree::{self, SHOW_TREE};
use super::write::hex_of;
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Reconciled};
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
digest "$2" || exit
[ "$sum" = "$3" ] || { rm -f "$2"; fail check "what arrived is not what was sent, so it was removed: $2"; }
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
    /// Its size in bytes; that of the files in a directory.
    size: u64,
    /// Its SHA-256, for a directory that of everything in it; empty if it is not there, which only a plan lets pass.
    digest: String,
    /// Whether it is a directory.
    #[serde(default)]
    tree: bool,
}

impl Whole {
    /// Reads a file or directory of this machine.
    fn here(cx: &Cx<'_>, path: &At) -> Result<Self> {
        let mut file = File::open(path.as_str()).map_err(|error| here(path, &error))?;
        let meta = file.metadata().map_err(|error| here(path, &error))?;
        if meta.is_dir() {
            return tree::here(cx, path.as_str());
        }
        if !meta.is_file() {
            let message = format!("on this machine it is neither a file nor a directory: {path}");
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
        Ok(Self { size, digest: hex_of(hash), tree: false })
    }

    /// Reads what the scripts say of a directory.
    pub(super) fn of_tree(size: &str, digest: &str) -> Result<Self> {
        let digest = digest.split_whitespace().next().unwrap_or_default().to_owned();
        match size.trim().parse() {
            Ok(size) if digest.len() == 64 => Ok(Self { size, digest, tree: true }),
            _ => Err(Failure::new(Kind::Exit, "no digest of the directory; is `sha256sum` there?")
                .into()),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn sort(&self) -> Sort {
        if self.tree { Sort::Directory } else { Sort::File }
    }

    fn words(&self) -> String {
        format!("{}, {}", self.sort().as_str(), units::say_size(self.size))
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

    /// Sends the rest of a file, which becomes `fresh` there.
    fn send(&self, cx: &Cx<'_>, whole: &Whole, fresh: &str, at: u64) -> Result<()> {
        let wrong = |error: io::Error| here(&self.from, &error);
        let mut file = File::open(self.from.as_str()).map_err(wrong)?;
        file.seek(SeekFrom::Start(at)).map_err(wrong)?;
        let arguments = [fresh.to_owned(), at.to_string(), whole.size.to_string()];
        let append = Command::script(APPEND, arguments).tied(Duration::ZERO);
        let teller = Teller::new(cx, Some(whole.size));
        teller.say(at);
        let (exit, sent) = send(cx, append, move |mut socket: UnixStream| {
            pump(&mut file, &mut socket, at, teller)
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
        tree::upload(cx, self.from.as_str(), &before.whole, [&mark.run, &fresh, &kept])?;
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
        let whole = Whole::here(cx, &self.from)?;
        let state = self.state(cx, &whole)?;
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
        self.send(cx, whole, &fresh, there.trim().parse().unwrap_or(0))?;
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
    fn has(&self, cx: &Cx<'_>, whole: &Whole) -> Result<bool> {
        match fs::metadata(self.to.as_str()) {
            Ok(meta) if meta.is_file() && !whole.tree && meta.len() == whole.size => {
                Ok(Whole::here(cx, &self.to)? == *whole)
            }
            Ok(meta) if meta.is_dir() && whole.tree => Ok(Whole::here(cx, &self.to)? == *whole),
            _ => Ok(false),
        }
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
        let from = file.metadata().map_err(wrong)?.len();
        let command = Command::script(SEND, [self.from.as_str().to_owned(), from.to_string()]);
        let teller = Teller::new(cx, Some(whole.size));
        teller.say(from);
        let (exit, taken) = receive(cx, command.reading(), |mut socket: UnixStream| {
            pump(&mut socket, &mut file, from, teller)
        })?;
        taken.map_err(wrong)?;
        if !exit.success() {
            return Err(failure(&exit).with_target(&cx.target.name).into());
        }
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
        let whole = match state.sort {
            Sort::File => {
                let digest = checksum(cx, &state.real, &[])?;
                Whole { size: state.size, digest, tree: false }
            }
            Sort::Directory => tree::there(cx, &state.real)?,
            sort => {
                let (is, from) = (sort.as_str(), &self.from);
                let message = format!("it is a {is}, neither a file nor a directory: {from}");
                let failure = Failure::new(Kind::Conflict, message);
                return Err(failure.with_target(&cx.target.name).into());
            }
        };
        if !Path::new(self.to.parent()).is_dir() {
            let message = format!("on this machine there is no directory {}", self.to.parent());
            return Err(Failure::new(Kind::NotFound, message).into());
        }
        let same = self.has(cx, &whole)?;
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
            tree::download(cx, &self.from, &before.whole, &fresh)?;
            self.show_tree(&before.mark, &fresh).map_err(|error| here(&self.to, &error))?;
            return Ok(true);
        }
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
