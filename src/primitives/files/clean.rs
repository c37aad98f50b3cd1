//! The end of a run on a target: nothing of ours stays.

use serde_json::Value;

use super::back::Back;
use super::restore::Restore;
use super::unpack::UnpackUndo;

/// $1 run. Removes what the run's list names, only where the name is of our own form, and the run's directory. Ends with
/// 0 if there is nothing.
const CLEAN: &str = r#"
base=/var/tmp/upgrade-host-$(id -u); S=$base/$1
case $1 in ''|*/*|.|..) echo "no run: $1" >&2; exit 2 ;; esac
[ ! -L "$base" ] && [ -d "$S" ] && [ ! -L "$S" ] || exit 0
[ "$(stat -c %u "$base")" = "$(id -u)" ] || { echo "$base belongs to somebody else" >&2; exit 1; }
failed=0
if [ -f "$S/leftovers" ]; then
  while IFS= read -r p; do
    case ${p##*/} in ".upgrade-host-$1-"*) ;; *) continue ;; esac
    case $p in /*) ;; *) continue ;; esac
    for q in "$p" "$p.part"; do
      if [ -e "$q" ] || [ -L "$q" ]; then rm -rf "$q" || failed=1; fi
    done
  done <"$S/leftovers"
fi
# What could not be removed stays listed, so that it can be tried again.
[ $failed = 0 ] || exit 1
rm -rf "$S" || exit
rmdir "$base" 2>/dev/null || :
"#;

/// $1 run, $2 user. Removes the receipts of a run that were another user's; what else that user kept is his to name.
const CLEAN_RECEIPTS: &str = r#"
case $1 in ''|*/*|.|..) echo "no run: $1" >&2; exit 2 ;; esac
case $2 in ''|*[!0-9]*) echo "no user: $2" >&2; exit 2 ;; esac
base=/var/tmp/upgrade-host-$2
[ -d "$base" ] && [ ! -L "$base" ] || exit 0
rm -rf "$base/$1" || exit
rmdir "$base" 2>/dev/null || :
"#;

/// Returns whether an undo needs what its run kept on the target, which [`clean_script`] removes.
pub fn needs_kept(name: &str, action: &Value) -> bool {
    match name {
        UnpackUndo::NAME => true,
        // Where nothing was there before, nothing was kept.
        Restore::NAME => action["was"] != "",
        _ => false,
    }
}

/// Returns the shell script that removes what a run left on a target: `$1` is the run's id. It changes the target, and
/// may be run again. The session runs it on every touched target once nothing of the run can be undone any more.
pub fn clean_script() -> &'static str {
    CLEAN
}

/// Returns the shell script that removes the receipts that a run left on a target as another user: `$1` is the run's id,
/// `$2` the user's number. Only root may.
pub fn clean_receipts_script() -> &'static str {
    CLEAN_RECEIPTS
}
