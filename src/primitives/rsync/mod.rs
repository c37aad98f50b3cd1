//! rsync on the target.

use super::bridge::Face;
use crate::effect::Registry;

/// Adds the family to the face of the language.
pub(super) fn register(_face: &mut Face) {}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(_registry: &mut Registry) {}

/// Returns the shell script that removes what a run kept on a target.
pub(super) fn clean_script() -> &'static str {
    "rm -rf -- \"/var/tmp/upgrade-host-$(id -u)/$1\""
}
