//! Taking a change of one path back, from the record alone: what was there before was kept beside it.

use serde::{Deserialize, Serialize};

use super::path::At;
use super::shell::{change, script};
use super::state::{Mark, Sort, State};
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Reconciled, inverse_of};
use crate::error::Result;
use crate::journal::Inverse;

/// $1 run, $2 path, $3 where the old thing is kept, $4 size and time of the old thing or nothing, $5 where to put what
/// is there now.
const RESTORE: &str = script!(
    r#"
spool "$1"
if [ -z "$4" ]; then
  if there "$2"; then aside "$2" "$5"; echo changed; fi
elif there "$3"; then
  if there "$2" && ! { [ -f "$2" ] && [ ! -L "$2" ] && [ -f "$3" ] && [ ! -L "$3" ]; }; then aside "$2" "$5"; fi
  mv -f "$3" "$2" || exit
  echo changed
elif there "$2"; then
  [ "$(stat -c %s:%Y "$2")" = "$4" ] || fail not_found "what was kept for the undo is gone: $3"
else
  fail not_found "what was kept for the undo is gone: $3"
fi
"#
);

/// Puts back what was at a path, or takes away what was put there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Restore {
    /// The path.
    pub(super) path: At,
    /// Which call kept it.
    pub(super) mark: Mark,
    /// What was there.
    pub(super) sort: Sort,
    /// Its size and time; empty if nothing was there.
    pub(super) was: String,
}

impl Restore {
    /// Makes the inverse of a change of what `state` says.
    pub(super) fn of(path: &At, mark: &Mark, state: &State) -> Inverse {
        inverse_of(&Self {
            path: path.clone(),
            mark: mark.clone(),
            sort: state.sort,
            was: state.token(),
        })
    }
}

impl Action for Restore {
    const NAME: &'static str = "file_restore";
    const ACCESS: Access = Access::Change;
    type Before = ();
    type Output = bool;

    fn summary(&self) -> String {
        if self.was.is_empty() {
            format!("remove {} again", self.path)
        } else {
            format!("put the old {} {} back", self.sort.as_str(), self.path)
        }
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, (): &()) -> Plan<(), bool> {
        Plan::Would { changes: vec![self.summary()], output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, (): &()) -> Result<bool> {
        let now = self.path.beside(&self.mark.run, &self.mark.stem, "undone");
        let kept = self.mark.kept(&self.path);
        let arguments = [&self.mark.run, self.path.as_str(), &kept, &self.was, &now];
        Ok(change(cx, RESTORE, arguments, b"")?.contains("changed"))
    }

    fn reconcile(&self, _cx: &Cx<'_>, (): &()) -> Result<Reconciled<bool>> {
        // The script looks at what is kept first, so that doing it again is the same as finding out.
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, (): &()) -> Inverse {
        Inverse::Nothing { why: "it is an undo itself".to_owned() }
    }

    fn owes(&self, (): &()) -> Owes {
        Owes::Nothing
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}
