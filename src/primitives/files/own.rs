//! Files that an application rewrites when the run has it change something, such as a setting: noted down before and after,
//! so that taking an earlier call back tells that from what somebody else did. `as_left` of the scripts reads it.

use super::shell::{change, script};
use crate::effect::Cx;
use crate::error::Result;

/// $1 run, then paths. Notes down what is there, and prints the name of each note: three lines, the file as links lead to
/// it, its SHA-256, its size and time, which is also the time of the note.
const BEGIN: &str = script!(
    r#"
spool "$1"; shift
for p; do
  r=$(readlink -f "$p") && [ -f "$r" ] && digest "$r" || continue
  n=1; o=$S/own-0001
  until (set -C; : >"$o") 2>/dev/null; do
    n=$((n + 1)); [ "$n" -lt 10000 ] || exit 1
    o=$S/own-$(printf %04d "$n")
  done
  printf '%s\n' "$r" "$sum" "$(stat -c %s:%Y "$r")" >"$o" && touch -r "$r" "$o" || exit
  printf '%s\n' "$o"
done
"#
);

/// The notes. Notes down beside each the SHA-256 of what is there now.
const END: &str = script!(
    r#"
for o; do
  IFS= read -r r <"$o" && digest "$r" || continue
  printf '%s\n' "$sum" >"$o.after" || exit
done
"#
);

/// Files that are about to be rewritten. Where this does not come to its end, they count as changed by somebody else.
#[derive(Debug)]
pub(in crate::primitives) struct Rewritten(Vec<String>);

impl Rewritten {
    /// Notes down what they are before.
    ///
    /// # Errors
    /// As [`Cx::exec`].
    pub(in crate::primitives) fn begin(cx: &Cx<'_>, paths: &[String]) -> Result<Self> {
        if paths.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let run = std::iter::once(&cx.lane.run().id);
        let notes = change(cx, BEGIN, run.chain(paths).map(String::as_str), b"")?;
        Ok(Self(notes.lines().map(str::to_owned).collect()))
    }

    /// Notes down what they are after it.
    ///
    /// # Errors
    /// As [`Cx::exec`].
    pub(in crate::primitives) fn end(self, cx: &Cx<'_>) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { change(cx, END, self.0, b"").map(drop) }
    }
}
