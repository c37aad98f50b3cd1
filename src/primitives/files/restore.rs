//! Putting back what was at a path, which was kept beside it.

use serde::{Deserialize, Serialize};

use super::back::{Back, TakeBack};
use super::path::At;
use super::shell::script;
use super::state::{Left, Mark, Sort, State};
use crate::effect::inverse_of;
use crate::journal::Inverse;

/// $1 `look` or `act`, $2 run, $3 path, $4 where the old thing is kept, $5 size and time of the old thing or nothing,
/// $6 where to put what the run left, $7 what the run left, $8 where to put what somebody else left, $9 stem.
const RESTORE: &str = script!(
    r#"
S=$(spool_of "$2"); theirs=
as_was() {
  [ -n "$5" ] || return 1
  if there "$4"; then [ "$3" -ef "$4" ]; else [ "$(stat -c %s:%Y "$3")" = "$5" ]; fi
}
if there "$3" && ! as_was "$@" && ! as_left "$3" "$7" "$S/$9.made"; then theirs=yes; fi
if [ "$1" = look ]; then [ -z "$theirs" ] || printf '%s\n' "$3"; exit 0; fi
spool "$2"
if [ -z "$5" ] || there "$4"; then
  if [ -n "$theirs" ]; then keep_theirs "$3" "$8"; echo changed
  elif there "$3" && ! { there "$4" && [ -f "$3" ] && [ ! -L "$3" ] && [ -f "$4" ] && [ ! -L "$4" ]; }; then aside "$3" "$6"; echo changed
  fi
  if [ -n "$5" ]; then mv -f "$4" "$3" || exit; echo changed; fi
elif ! there "$3" || [ "$(stat -c %s:%Y "$3")" != "$5" ]; then
  fail not_found "what was kept for the undo is gone: $4"
fi
"#
);

/// Puts back what was at a path, or takes away what was put there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Restore {
    /// The path.
    path: At,
    /// Which call kept it.
    mark: Mark,
    /// What was there.
    sort: Sort,
    /// Its size and time; empty if nothing was there.
    was: String,
    /// What the run left there.
    #[serde(default)]
    left: Left,
}

impl Restore {
    /// Makes the inverse of a change of what `state` says into what `left` says.
    pub(super) fn of(path: &At, mark: &Mark, state: &State, left: Left) -> Inverse {
        inverse_of(&TakeBack(Self {
            path: path.clone(),
            mark: mark.clone(),
            sort: state.sort,
            was: state.token(),
            left,
        }))
    }
}

impl Back for Restore {
    const NAME: &'static str = "file_restore";
    const SCRIPT: &'static str = RESTORE;

    fn summary(&self) -> String {
        if self.was.is_empty() {
            format!("remove {} again", self.path)
        } else {
            format!("put the old {} {} back", self.sort.as_str(), self.path)
        }
    }

    fn arguments(&self) -> Vec<String> {
        vec![
            self.mark.run.clone(),
            self.path.to_string(),
            self.mark.kept(&self.path),
            self.was.clone(),
            self.path.beside(&self.mark.run, &self.mark.stem, "undone"),
            self.left.word(),
            self.path.theirs(&self.mark.run),
            self.mark.stem.clone(),
        ]
    }
}
