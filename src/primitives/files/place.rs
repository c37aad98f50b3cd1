//! Copy, move, remove, make a directory. What is overwritten or removed is renamed beside its place, so that even a big
//! tree costs nothing and comes back by a rename.

use serde::{Deserialize, Serialize};

use super::back::{Back, TakeBack};
use super::path::At;
use super::read::checksum;
use super::restore::Restore;
use super::shell::{change, read, script};
use super::state::{Left, Mark, Sort, State, require};
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Reconciled, inverse_of};
use crate::error::{Failure, Kind, Result};
use crate::journal::Inverse;
use crate::units;

/// $1 run, $2 from, $3 to, $4 new, $5 kept, $6 mode, $7 owner, $8 stem.
const COPY: &str = script!(
    r#"
spool "$1"
note "$4"; note "$5"
rm -rf "$4"
cp -a "$2" "$4" || exit
if [ -n "$7" ]; then chown -R -h "$7" "$4" || exit; fi
if [ -n "$6" ]; then chmod "$6" "$4" || exit; fi
if [ -f "$4" ]; then sync "$4" 2>/dev/null || :; fi
show "$4" "$3" "$5" "$8"
"#
);

/// $1 run, $2 from, $3 to, $4 new, $5 kept of `to`, $6 kept of `from`, $7 `was` if something was at `to`.
const MOVE: &str = script!(
    r#"
spool "$1"
note "$4"; note "$5"; note "$6"
if ! there "$2"; then
  there "$3" && exit 0
  fail not_found "there is nothing at $2"
fi
here=$(stat -c %d "$2"); over=$(stat -L -c %d "$(dirname "$3")") || exit
if [ "$here" != "$over" ]; then
  # Another file system: copied whole, shown by a rename; what was copied stays beside its place for the undo.
  if ! there "$3" || { [ "$7" = was ] && ! there "$5"; }; then
    rm -rf "$4"
    cp -a "$2" "$4" || exit
    keep "$3" "$5"
    mv -f "$4" "$3" || exit
  fi
  mv -f "$2" "$6" || exit
  exit 0
fi
if there "$3"; then
  [ "$7" = was ] || fail conflict "something is there meanwhile: $3"
  there "$5" || keep "$3" "$5"
fi
[ ! -d "$3" ] || fail conflict "it became a directory meanwhile: $3"
mv -f "$2" "$3" || exit
"#
);

/// $1 `look` or `act`, $2 run, $3 from, $4 to, $5 where to put what is in the way, $6 kept of `to`, $7 kept of `from`, $8
/// `was`, $9 the number of what was moved, $10 where to put what somebody else left.
const MOVE_BACK: &str = script!(
    r#"
theirs=
# A rename keeps the number, so that another one at the old place is somebody else's.
if [ -n "$9" ] && there "$3" && [ "$(stat -c %i "$3")" != "$9" ] && { there "$7" || there "$4"; }; then theirs=yes; fi
if [ "$1" = look ]; then [ -z "$theirs" ] || printf '%s\n' "$3"; exit 0; fi
spool "$2"
if [ -n "$theirs" ]; then keep_theirs "$3" "${10}"; fi
if there "$7"; then
  there "$3" && aside "$3" "$5"
  mv -f "$7" "$3" || exit
  there "$4" && aside "$4" "$5"
elif there "$3"; then
  # It was not moved, or not to the end, or is back already.
  if there "$4" && [ "$8" != was ]; then aside "$4" "$5"; fi
else
  there "$4" || fail not_found "what was moved is gone: $4"
  mv -f "$4" "$3" || exit
fi
if there "$6"; then
  if [ -d "$4" ] && [ ! -L "$4" ]; then aside "$4" "$5"; fi
  mv -f "$6" "$4" || exit
fi
echo changed
"#
);

/// $1 run, $2 path, $3 kept, $4 `now` to delete at once.
const REMOVE: &str = script!(
    r#"
spool "$1"
note "$3"
if there "$2"; then aside "$2" "$3"; fi
if [ "$4" = now ]; then rm -rf "$3" || exit; fi
"#
);

/// Prints the directories of $1 that are not there, the innermost first, and where the path leads.
const MISSING: &str = script!(
    r#"
d=$1
while ! there "$d"; do printf '%s\n' "$d"; d=$(dirname "$d"); done
[ -d "$d" ] || fail conflict "it is not a directory: $d"
"#
);

/// $1 mode, $2 owner, then the directories to make, the outermost first, and the directory itself last again.
const MAKE_DIR: &str = script!(
    r#"
mode=$1; owner=$2; shift 2
while [ $# -gt 1 ]; do
  if [ ! -d "$1" ]; then
    if [ $# -eq 2 ] && [ -n "$mode" ]; then mkdir -m "$mode" "$1" || exit; else mkdir "$1" || exit; fi
  fi
  shift
done
if [ -n "$owner" ]; then chown "$owner" "$1" || exit; fi
if [ -n "$mode" ]; then chmod "$mode" "$1" || exit; fi
"#
);

/// $1 `look` or `act`, $2 path, $3 mode and $4 ids that it had, empty if it was not there; then the directories to take
/// away, the innermost first. What is in them stays with them, so that nothing of anybody is lost.
const UNMAKE_DIR: &str = script!(
    r#"
[ "$1" != look ] || exit 0
if [ -n "$3" ] && [ -d "$2" ]; then
  [ "$(stat -c %u:%g "$2")" = "$4" ] || chown "$4" "$2" || exit
  chmod "$3" "$2" || exit
fi
shift 4
for d; do
  there "$d" || continue
  if [ -n "$(ls -A "$d" 2>/dev/null | head -n 1)" ]; then
    echo "warning: $d is not empty any more and stays" >&2
    break
  fi
  rmdir "$d" || exit
done
echo changed
"#
);

/// What was found at both ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ends {
    /// What is to be copied or moved.
    pub(super) from: State,
    /// What is where it goes.
    pub(super) to: State,
    /// What identifies what is kept.
    pub(super) mark: Mark,
    /// Whether both are the same already.
    pub(super) same: bool,
}

/// The path that is written: a name within `to` if that ends with a slash.
pub(super) fn into(from: &At, to: &str) -> Result<At, Box<Failure>> {
    let at = At::new(to)?;
    Ok(if to.ends_with('/') { at.join(from.name()) } else { at })
}

fn look(
    cx: &Cx<'_>,
    from: &At,
    to: &At,
    follow: bool,
    overwrite: bool,
    verb: &str,
) -> Result<Ends> {
    let source = State::look(cx, from, follow, false)?;
    let place = State::look(cx, to, follow, false)?;
    require(cx, source.is_there(), from.as_str(), "")?;
    require(
        cx,
        place.parent,
        &format!("directory {}", to.parent()),
        "Make it with `make_dir` first.",
    )?;
    let (real_from, real_to) = (At::new(&source.real)?, At::new(&place.real)?);
    let within = |inner: &At, outer: &At| inner.as_str().starts_with(&format!("{outer}/"));
    if real_from == real_to || within(&real_to, &real_from) || within(&real_from, &real_to) {
        return Err(Failure::input(format!("cannot {verb} {from} to {to}: one is in the other"))
            .with_target(&cx.target.name)
            .into());
    }
    if place.is_there() {
        real_to.expendable("replace")?;
        let conflict = |message: String, hint: &str| {
            Failure::new(Kind::Conflict, message).with_target(&cx.target.name).with_hint(hint)
        };
        if place.sort == Sort::Directory && source.sort != Sort::Directory {
            let hint = format!("End it with a slash to {verb} into it: `{to}/`.");
            return Err(conflict(format!("it is a directory: {to}"), &hint).into());
        }
        if place.sort != Sort::Directory && source.sort == Sort::Directory {
            return Err(conflict(
                format!("it is there and no directory: {to}"),
                "Remove it first.",
            )
            .into());
        }
        if !overwrite {
            return Err(conflict(
                format!("it is there already: {to}"),
                "Give `overwrite: true` to replace it.",
            )
            .into());
        }
    }
    Ok(Ends { from: source, to: place, mark: Mark::of(cx), same: false })
}

fn changes(ends: &Ends) -> Vec<String> {
    let size = |state: &State| match state.sort {
        Sort::File => format!("file, {}", units::say_size(state.size)),
        sort => sort.as_str().to_owned(),
    };
    let mut changes = Vec::new();
    if ends.from.is_there() {
        changes.push(size(&ends.from));
    }
    if ends.to.is_there() {
        changes.push(format!("replaces what is there: {}", size(&ends.to)));
    }
    changes
}

/// Copies a file or a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copy {
    /// What to copy.
    pub(super) from: At,
    /// The path of the copy.
    pub(super) to: At,
    /// The permission bits of the copy; those of the original if none.
    pub(super) mode: Option<String>,
    /// The owner of the copy and of what is in it; that of the original if none.
    pub(super) owner: Option<String>,
    /// Whether something that is there is replaced.
    pub(super) overwrite: bool,
}

impl Copy {
    fn same(&self, cx: &Cx<'_>, from: &State, to: &State) -> Result<bool> {
        let mode = self.mode.as_deref().unwrap_or(&from.mode);
        if from.sort != to.sort
            || !to.has_mode(mode)
            || !to.owned_by(self.owner.as_deref().unwrap_or(&from.ids))
            || (to.sort == Sort::File && to.size != from.size)
        {
            return Ok(false);
        }
        let from = checksum(cx, &from.real, &[])?;
        if self.mode.is_some() && to.sort == Sort::Directory {
            // The mode of the top is part of a directory's digest, and is to differ.
            return Ok(false);
        }
        Ok(from == checksum(cx, &to.real, &[])?)
    }
}

impl Action for Copy {
    const NAME: &'static str = "copy";
    const ACCESS: Access = Access::Change;
    type Before = Ends;
    type Output = bool;

    fn summary(&self) -> String {
        format!("copy {} to {}", self.from, self.to)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Ends> {
        let mut ends = look(cx, &self.from, &self.to, true, true, "copy")?;
        ends.same =
            ends.to.is_there() && ends.from.is_there() && self.same(cx, &ends.from, &ends.to)?;
        if ends.to.is_there() && !ends.same && !self.overwrite {
            let message = format!("it is there already, and not the same: {}", self.to);
            return Err(Failure::new(Kind::Conflict, message)
                .with_target(&cx.target.name)
                .with_hint("Leave `overwrite: false` out to replace it.")
                .into());
        }
        Ok(ends)
    }

    fn plan(&self, before: &Ends) -> Plan<Ends, bool> {
        if before.same {
            return Plan::Already(false);
        }
        Plan::Would { changes: changes(before), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Ends) -> Result<bool> {
        let to = At::new(&before.to.real)?;
        change(
            cx,
            COPY,
            [
                &before.mark.run,
                &before.from.real,
                to.as_str(),
                &before.mark.fresh(&to),
                &before.mark.kept(&to),
                self.mode.as_deref().unwrap_or_default(),
                self.owner.as_deref().unwrap_or_default(),
                &before.mark.stem,
            ],
            b"",
        )?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Ends) -> Result<Reconciled<bool>> {
        let (from, to) = (
            State::look(cx, &At::new(&before.from.real)?, false, false)?,
            State::look(cx, &At::new(&before.to.real)?, false, false)?,
        );
        let done = from.is_there() && to.is_there() && self.same(cx, &from, &to)?;
        Ok(if done { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &Ends) -> Inverse {
        match At::new(&before.to.real) {
            Ok(to) => Restore::of(&to, &before.mark, &before.to, Left::copy_of(&before.from)),
            Err(failure) => Inverse::Impossible { why: failure.message },
        }
    }

    fn owes(&self, _before: &Ends) -> Owes {
        Owes::Nothing
    }
}

/// Moves a file or a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    /// What to move.
    pub(super) from: At,
    /// Its new path.
    pub(super) to: At,
    /// Whether something that is there is replaced.
    pub(super) overwrite: bool,
}

/// Moves it back, and puts back what it replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MoveBack {
    /// Where it was.
    pub(super) from: At,
    /// Where it was moved.
    pub(super) to: At,
    /// Which call moved it.
    pub(super) mark: Mark,
    /// Whether something was there.
    pub(super) replaced: bool,
    /// The number of what was moved on its file system.
    #[serde(default)]
    pub(super) inode: String,
}

fn was(replaced: bool) -> &'static str {
    if replaced { "was" } else { "" }
}

impl Action for Move {
    const NAME: &'static str = "move";
    const ACCESS: Access = Access::Change;
    type Before = Ends;
    type Output = bool;

    fn summary(&self) -> String {
        format!("move {} to {}", self.from, self.to)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Ends> {
        self.from.expendable("move")?;
        look(cx, &self.from, &self.to, false, self.overwrite, "move")
    }

    fn plan(&self, before: &Ends) -> Plan<Ends, bool> {
        let mut changes = changes(before);
        if before.from.is_there() && before.to.parent {
            let device = &before.to.device;
            if before.from.device != *device {
                changes.push("onto another file system, so it is copied".to_owned());
            }
        }
        Plan::Would { changes, output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Ends) -> Result<bool> {
        let mark = &before.mark;
        change(
            cx,
            MOVE,
            [
                &mark.run,
                self.from.as_str(),
                self.to.as_str(),
                &mark.fresh(&self.to),
                &mark.kept(&self.to),
                &mark.kept(&self.from),
                was(before.to.is_there()),
            ],
            b"",
        )?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &Ends) -> Result<Reconciled<bool>> {
        let gone = !State::look(cx, &self.from, false, false)?.is_there();
        let there = State::look(cx, &self.to, false, false)?.is_there();
        Ok(if gone && there { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &Ends) -> Inverse {
        inverse_of(&TakeBack(MoveBack {
            from: self.from.clone(),
            to: self.to.clone(),
            mark: before.mark.clone(),
            replaced: before.to.is_there(),
            inode: before.from.inode.clone(),
        }))
    }

    fn owes(&self, _before: &Ends) -> Owes {
        Owes::Nothing
    }
}

impl Back for MoveBack {
    const NAME: &'static str = "file_move_back";
    const SCRIPT: &'static str = MOVE_BACK;

    fn summary(&self) -> String {
        format!("move {} back to {}", self.to, self.from)
    }

    fn arguments(&self) -> Vec<String> {
        vec![
            self.mark.run.clone(),
            self.from.to_string(),
            self.to.to_string(),
            self.to.beside(&self.mark.run, &self.mark.stem, "undone"),
            self.mark.kept(&self.to),
            self.mark.kept(&self.from),
            was(self.replaced).to_owned(),
            self.inode.clone(),
            self.from.theirs(&self.mark.run),
        ]
    }
}

/// Removes a file or a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remove {
    /// What to remove.
    pub(super) path: At,
    /// Whether a directory that holds something is removed.
    pub(super) recursive: bool,
    /// Whether it is kept until the run ends, so that it can be put back.
    pub(super) keep: bool,
}

/// What was found where something is to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doomed {
    /// What is there.
    pub(super) state: State,
    /// What identifies what is kept.
    pub(super) mark: Mark,
}

impl Action for Remove {
    const NAME: &'static str = "remove";
    const ACCESS: Access = Access::Change;
    type Before = Doomed;
    type Output = bool;

    fn summary(&self) -> String {
        format!("remove {}", self.path)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Doomed> {
        self.path.expendable("remove")?;
        let state = State::look(cx, &self.path, false, false)?;
        if state.sort == Sort::Directory {
            // Links on the way may lead to what its own words do not say.
            let real = read(cx, script!("cd \"$1\" && pwd -P"), [self.path.as_str()])?;
            At::new(real.trim_end_matches('\n'))?.expendable("remove")?;
            if !state.empty && !self.recursive {
                return Err(Failure::new(
                    Kind::Conflict,
                    format!("the directory is not empty: {}", self.path),
                )
                .with_target(&cx.target.name)
                .with_hint("Give `recursive: true` to remove what is in it.")
                .into());
            }
        }
        Ok(Doomed { state, mark: Mark::of(cx) })
    }

    fn plan(&self, before: &Doomed) -> Plan<Doomed, bool> {
        if !before.state.is_there() {
            return Plan::Already(false);
        }
        let mut changes = vec![before.state.sort.as_str().to_owned()];
        if before.state.sort == Sort::File {
            changes = vec![format!("file, {}", units::say_size(before.state.size))];
        }
        changes.push(
            if self.keep { "its space is free once the run has ended" } else { "deleted at once" }
                .to_owned(),
        );
        Plan::Would { changes, output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Doomed) -> Result<bool> {
        let kept = before.mark.kept(&self.path);
        let now = if self.keep { "" } else { "now" };
        change(cx, REMOVE, [before.mark.run.as_str(), self.path.as_str(), &kept, now], b"")?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &Doomed) -> Result<Reconciled<bool>> {
        let gone = !State::look(cx, &self.path, false, false)?.is_there();
        // What is to be deleted at once may be out of sight but not deleted yet.
        Ok(if gone && self.keep { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &Doomed) -> Inverse {
        if self.keep {
            Restore::of(&self.path, &before.mark, &before.state, Left::Nothing)
        } else {
            Inverse::Impossible { why: "it was deleted at once, as `keep: false` says".to_owned() }
        }
    }

    fn owes(&self, _before: &Doomed) -> Owes {
        Owes::Nothing
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

/// Makes a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MakeDir {
    /// The directory.
    pub(super) path: At,
    /// Its permission bits; what the umask leaves of 0777 if none.
    pub(super) mode: Option<String>,
    /// Its owner; whoever acts if none.
    pub(super) owner: Option<String>,
    /// Whether directories on the way are made too.
    pub(super) parents: bool,
}

/// What was found where a directory is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ground {
    /// What is there.
    pub(super) state: State,
    /// The directories that are not there, the innermost first.
    pub(super) missing: Vec<At>,
}

/// Takes directories away again, as far as they are empty, and gives one its mode and owner back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnmakeDir {
    /// The directory.
    pub(super) path: At,
    /// The mode that it had; empty if it was not there.
    pub(super) mode: String,
    /// The owner that it had, by number.
    pub(super) ids: String,
    /// The directories that were made, the innermost first.
    pub(super) made: Vec<At>,
}

impl MakeDir {
    fn is_so(&self, state: &State) -> bool {
        state.sort == Sort::Directory
            && self.mode.as_deref().is_none_or(|mode| state.has_mode(mode))
            && self.owner.as_deref().is_none_or(|owner| state.owned_by(owner))
    }
}

impl Action for MakeDir {
    const NAME: &'static str = "make_dir";
    const ACCESS: Access = Access::Change;
    type Before = Ground;
    type Output = bool;

    fn summary(&self) -> String {
        format!("make directory {}", self.path)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Ground> {
        let out = read(cx, MISSING, [self.path.as_str()])?;
        let missing = out.lines().map(At::new).collect::<Result<Vec<_>, Box<Failure>>>()?;
        if missing.len() > 1 && !self.parents {
            let hint = "Leave `parents: false` out to make it too.";
            require(cx, false, &format!("directory {}", self.path.parent()), hint)?;
        }
        Ok(Ground { state: State::look(cx, &self.path, true, false)?, missing })
    }

    fn plan(&self, before: &Ground) -> Plan<Ground, bool> {
        if self.is_so(&before.state) {
            return Plan::Already(false);
        }
        let steps = before.missing.iter().rev().map(|path| format!("makes {path}"));
        let bits = self.mode.iter().map(|mode| format!("mode {mode}"));
        let owner = self.owner.iter().map(|owner| format!("owner {owner}"));
        Plan::Would { changes: steps.chain(bits).chain(owner).collect(), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Ground) -> Result<bool> {
        let mut arguments = vec![
            self.mode.as_deref().unwrap_or_default(),
            self.owner.as_deref().unwrap_or_default(),
        ];
        arguments.extend(before.missing.iter().rev().map(At::as_str));
        arguments.push(self.path.as_str());
        change(cx, MAKE_DIR, arguments, b"")?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &Ground) -> Result<Reconciled<bool>> {
        let state = State::look(cx, &self.path, true, false)?;
        Ok(if self.is_so(&state) { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &Ground) -> Inverse {
        let had = before.state.is_there();
        inverse_of(&TakeBack(UnmakeDir {
            path: self.path.clone(),
            mode: if had { before.state.mode.clone() } else { String::new() },
            ids: if had { before.state.ids.clone() } else { String::new() },
            made: before.missing.clone(),
        }))
    }

    fn owes(&self, _before: &Ground) -> Owes {
        Owes::Nothing
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

impl Back for UnmakeDir {
    const NAME: &'static str = "dir_unmake";
    const SCRIPT: &'static str = UNMAKE_DIR;

    fn summary(&self) -> String {
        if self.made.is_empty() {
            format!("give directory {} its mode and owner back", self.path)
        } else {
            format!("remove directory {} again if it is empty", self.path)
        }
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![self.path.to_string(), self.mode.clone(), self.ids.clone()];
        arguments.extend(self.made.iter().map(At::to_string));
        arguments
    }
}
