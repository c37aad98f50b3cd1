//! Writing a text file, and replacing in one.

use regex::bytes::{NoExpand, Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use similar::{ChangeTag, TextDiff};

use super::path::At;
use super::read::{LIMIT, bytes};
use super::restore::Restore;
use super::shell::{change, script};
use super::state::{Left, Mark, Sort, State, require};
use crate::call::Access;
use crate::effect::{Action, Cx, Mode, Owes, Plan, Reconciled, SecretRef};
use crate::error::{Failure, Kind, Result};
use crate::journal::Inverse;
use crate::units;

/// How many changed lines a plan shows.
const SHOWN: usize = 20;
/// The largest file whose changed lines a plan shows.
const DIFF_LIMIT: u64 = 256 << 10;

/// $1 run, $2 path, $3 new file, $4 kept file, $5 mode, $6 owner, $7 backup, $8 digest that must still be there, $9 the
/// length of the content, which is standard input: it ends early when the connection is cut, $10 stem.
const WRITE: &str = script!(
    r#"
spool "$1"
note "$3"; [ -z "$4" ] || note "$4"
rm -f "$3"; like "$2"
if [ -f "$2" ]; then
  # A copy carries ACLs, attributes and context over; only its content is replaced.
  cp -a "$2" "$3" 2>/dev/null || cp -p "$2" "$3" || exit
  chmod u+rw,go-rwx "$3" || exit
else
  (umask 077; : >"$3") || exit
fi
cat >"$3" || exit
[ "$(wc -c <"$3")" -eq "$9" ] || { rm -f "$3"; fail connect "the content did not come whole: $2"; }
dress "$3" "$5" "$6"
if [ -f "$2" ] && cmp -s "$3" "$2" && [ "$(stat -c %a:%u:%g "$3")" = "$(stat -c %a:%u:%g "$2")" ]; then
  rm -f "$3"
  if [ -n "$4" ] && there "$4"; then echo changed; else echo same; fi
  exit 0
fi
if [ -n "$8" ]; then
  sum=$(sha256sum <"$2"); [ "${sum%% *}" = "$8" ] || { rm -f "$3"; fail conflict "the file changed meanwhile: $2"; }
fi
sync "$3" 2>/dev/null || :
if [ -n "$7" ] && [ -f "$2" ] && ! there "$7"; then cp -p "$2" "$7.part" && mv -f "$7.part" "$7" || exit; fi
show "$3" "$2" "$4" "${10}"
echo changed
"#
);

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    /// A secret, revealed only when it is written.
    Secret(SecretRef),
    /// Text.
    Text(String),
}

/// What was found where something is to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    /// What is there.
    pub(super) state: State,
    /// What identifies what is kept.
    pub(super) mark: Mark,
    /// Whether it is so already.
    pub(super) same: bool,
    /// The number of places to replace.
    #[serde(default)]
    pub(super) count: u64,
    /// The digest that the file will have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
    /// The lines that would change, in a plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) diff: Vec<String>,
}

impl Found {
    /// What the call leaves there.
    fn left(&self) -> Left {
        self.next.clone().map_or(Left::Since, Left::Digest)
    }
}

/// Writes a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WriteFile {
    /// The path.
    pub(super) path: At,
    /// What to write.
    pub(super) content: Content,
    /// The permission bits, octal; those of the old file, else what the umask leaves of 0666.
    pub(super) mode: Option<String>,
    /// The owner; that of the old file, else whoever acts.
    pub(super) owner: Option<String>,
    /// Whether the old file is kept beside it for good.
    pub(super) backup: bool,
}

fn hex(bytes: &[u8]) -> String {
    hex_of(Sha256::new_with_prefix(bytes))
}

/// Returns a digest in hexadecimal digits.
pub(super) fn hex_of(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}

/// Looks at what a write would replace.
fn target(cx: &Cx<'_>, path: &At, digest: bool) -> Result<(State, At)> {
    let state = State::look(cx, path, true, digest)?;
    let real = At::new(&state.real)?;
    if !matches!(state.sort, Sort::File | Sort::Absent) {
        let message = format!("it is a {}, not a file: {path}", state.sort.as_str());
        return Err(Failure::new(Kind::Conflict, message).with_target(&cx.target.name).into());
    }
    require(
        cx,
        state.parent,
        &format!("directory {}", real.parent()),
        "Make it with `make_dir` first.",
    )?;
    Ok((state, real))
}

fn write(
    cx: &Cx<'_>,
    found: &Found,
    content: &[u8],
    [mode, owner]: [Option<&str>; 2],
    backup: bool,
    expected: Option<&str>,
) -> Result<bool> {
    let real = At::new(&found.state.real)?;
    let backup = if backup { format!("{real}.{}", found.mark.run) } else { String::new() };
    // A call within another one, as an adapter makes it, is never undone on its own.
    let kept = if cx.call.nth == 0 { String::new() } else { found.mark.kept(&real) };
    let out = change(
        cx,
        WRITE,
        [
            &found.mark.run,
            real.as_str(),
            &found.mark.fresh(&real),
            &kept,
            mode.unwrap_or_default(),
            owner.unwrap_or_default(),
            &backup,
            expected.unwrap_or_default(),
            &content.len().to_string(),
            &found.mark.stem,
        ],
        content,
    )?;
    Ok(out.contains("changed") || !found.state.is_there())
}

/// The changed lines of a text that everybody on the target may read; nothing of others, which may hold secrets.
fn diff(state: &State, old: &[u8], new: &[u8]) -> Vec<String> {
    let open = u32::from_str_radix(&state.mode, 8).is_ok_and(|mode| mode & 0o004 != 0);
    if !open || state.size > DIFF_LIMIT {
        return Vec::new();
    }
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let lines = TextDiff::from_lines(old.as_ref(), new.as_ref());
    let mut changed: Vec<String> = lines
        .iter_all_changes()
        .filter_map(|line| {
            let sign = match line.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => return None,
            };
            let text: String = line.value().trim_end().chars().take(160).collect();
            Some(format!("{sign}{text}"))
        })
        .collect();
    let more = changed.len().saturating_sub(SHOWN);
    changed.truncate(SHOWN);
    if more > 0 {
        changed.push(format!("and {more} more changed lines"));
    }
    changed
}

impl Action for WriteFile {
    const NAME: &'static str = "write_file";
    const ACCESS: Access = Access::Change;
    type Before = Found;
    type Output = bool;

    fn summary(&self) -> String {
        match &self.content {
            Content::Secret(secret) => format!("write secret {} to {}", secret.name, self.path),
            Content::Text(text) => {
                format!("write {} to {}", units::say_size(text.len() as u64), self.path)
            }
        }
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Found> {
        let text = match &self.content {
            Content::Text(text) => Some(text.as_bytes()),
            // A digest of a secret could be guessed from, so neither the old nor the new one is recorded.
            Content::Secret(_) => None,
        };
        let (state, _) = target(cx, &self.path, text.is_some())?;
        let next = text.map(hex);
        let same = next.is_some()
            && state.digest == next
            && self.mode.as_deref().is_none_or(|mode| state.has_mode(mode))
            && self.owner.as_deref().is_none_or(|owner| state.owned_by(owner));
        let mut lines = Vec::new();
        if let (Mode::Plan, Some(text), Sort::File, true) =
            (cx.lane.run().mode, text, state.sort, state.size <= DIFF_LIMIT)
        {
            lines = diff(&state, &bytes(cx, &At::new(&state.real)?, LIMIT)?, text);
        }
        Ok(Found { state, mark: Mark::of(cx), same, count: 0, next, diff: lines })
    }

    fn plan(&self, before: &Found) -> Plan<Found, bool> {
        if before.same {
            return Plan::Already(false);
        }
        let mut changes = before.diff.clone();
        if !before.state.is_there() {
            changes.push("the file is new".to_owned());
        }
        if let Some(mode) = self.mode.as_deref().filter(|mode| !before.state.has_mode(mode)) {
            changes.push(format!("mode {mode}"));
        }
        if let Some(owner) = self.owner.as_deref().filter(|owner| !before.state.owned_by(owner)) {
            changes.push(format!("owner {owner}"));
        }
        Plan::Would { changes, output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Found) -> Result<bool> {
        let how = [self.mode.as_deref(), self.owner.as_deref()];
        match &self.content {
            Content::Text(text) => write(cx, before, text.as_bytes(), how, self.backup, None),
            Content::Secret(name) => {
                let secret = cx.secret(name)?;
                write(cx, before, secret.reveal().as_bytes(), how, self.backup, None)
            }
        }
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Found) -> Result<Reconciled<bool>> {
        let state = State::look(cx, &At::new(&before.state.real)?, false, before.next.is_some())?;
        let done = before.next.is_some()
            && state.digest == before.next
            && self.mode.as_deref().is_none_or(|mode| state.has_mode(mode))
            && self.owner.as_deref().is_none_or(|owner| state.owned_by(owner));
        // A secret is written again: that is the same as finding out, and `same` is told from `changed` there.
        Ok(if done { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &Found) -> Inverse {
        match At::new(&before.state.real) {
            Ok(real) => Restore::of(&real, &before.mark, &before.state, before.left()),
            Err(failure) => Inverse::Impossible { why: failure.message },
        }
    }

    fn owes(&self, _before: &Found) -> Owes {
        Owes::Nothing
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

/// Replaces in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReplaceInFile {
    /// The path.
    pub(super) path: At,
    /// What to find: a regular expression, or text as it is.
    pub(super) pattern: String,
    /// What to put there; `$1` and `${name}` stand for groups, unless literal.
    pub(super) replacement: String,
    /// Whether pattern and replacement are text as it is.
    pub(super) literal: bool,
    /// How many places at most; all if none.
    pub(super) count: Option<u64>,
    /// Whether it is a failure that nothing matches.
    pub(super) must_match: bool,
}

impl ReplaceInFile {
    /// Compiles the pattern.
    ///
    /// # Errors
    /// `input`, with what is wrong with it.
    pub(super) fn regex(&self) -> Result<Regex, Box<Failure>> {
        let pattern =
            if self.literal { regex::escape(&self.pattern) } else { self.pattern.clone() };
        RegexBuilder::new(&pattern).multi_line(true).build().map_err(|error| {
            // The first lines draw the pattern with a caret; the last one says what is wrong.
            let why = error.to_string();
            let why =
                why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let message = format!("`{}` is no regular expression: {why}", self.pattern);
            Box::new(
                Failure::input(message)
                    .with_hint("Give `literal: true` to find the text as it is."),
            )
        })
    }

    /// Returns the text after the replacement, and the number of replacements.
    fn replace(&self, old: &[u8]) -> Result<(Vec<u8>, u64)> {
        let regex = self.regex()?;
        let limit =
            self.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let count = regex.find_iter(old).take(limit).count();
        let limit = if limit == usize::MAX { 0 } else { limit };
        let new = if self.literal {
            regex.replacen(old, limit, NoExpand(self.replacement.as_bytes()))
        } else {
            regex.replacen(old, limit, self.replacement.as_bytes())
        };
        Ok((new.into_owned(), count as u64))
    }

    fn nothing_matches(&self, cx: &Cx<'_>) -> Failure {
        Failure::new(Kind::NotFound, format!("nothing in {} matches `{}`", self.path, self.pattern))
            .with_target(&cx.target.name)
            .with_hint("Give `must_match: false` if that is fine.")
    }
}

impl Action for ReplaceInFile {
    const NAME: &'static str = "replace_in_file";
    const ACCESS: Access = Access::Change;
    type Before = Found;
    type Output = u64;

    fn summary(&self) -> String {
        format!("replace `{}` in {}", self.pattern, self.path)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Found> {
        self.regex()?;
        let (mut state, real) = target(cx, &self.path, false)?;
        require(cx, state.is_there(), &format!("file {}", self.path), "")?;
        let mark = Mark::of(cx);
        if !state.is_there() {
            return Ok(Found { state, mark, same: false, count: 0, next: None, diff: Vec::new() });
        }
        let old = bytes(cx, &real, LIMIT)?;
        let (new, count) = self.replace(&old)?;
        if count == 0 && self.must_match {
            // Called twice, the second call finds what the first one made.
            let there = self.replacement.as_bytes();
            let plain = self.literal || !self.replacement.contains('$');
            let done =
                plain && !there.is_empty() && old.windows(there.len()).any(|part| part == there);
            if !done {
                return Err(self.nothing_matches(cx).into());
            }
        }
        state.digest = Some(hex(&old));
        let diff =
            if cx.lane.run().mode == Mode::Plan { diff(&state, &old, &new) } else { Vec::new() };
        Ok(Found { state, mark, same: old == new, count, next: Some(hex(&new)), diff })
    }

    fn plan(&self, before: &Found) -> Plan<Found, u64> {
        if before.same {
            return Plan::Already(0);
        }
        let places = if before.count == 1 {
            "1 place".to_owned()
        } else {
            format!("{} places", before.count)
        };
        let changes = [places].into_iter().chain(before.diff.iter().cloned()).collect();
        Plan::Would { changes, output: before.count, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Found) -> Result<u64> {
        let old = bytes(cx, &At::new(&before.state.real)?, LIMIT)?;
        let digest = hex(&old);
        if before.next.as_ref() == Some(&digest) {
            return Ok(before.count);
        }
        if before.state.digest.as_ref() != Some(&digest) {
            let message = format!("the file changed meanwhile: {}", self.path);
            return Err(Failure::new(Kind::Conflict, message).with_target(&cx.target.name).into());
        }
        let (new, count) = self.replace(&old)?;
        write(cx, before, &new, [None, None], false, Some(&digest))?;
        Ok(count)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Found) -> Result<Reconciled<u64>> {
        let state = State::look(cx, &At::new(&before.state.real)?, false, true)?;
        Ok(if state.digest == before.next {
            Reconciled::Done(before.count)
        } else {
            Reconciled::Redo
        })
    }

    fn inverse(&self, before: &Found) -> Inverse {
        match At::new(&before.state.real) {
            Ok(real) => Restore::of(&real, &before.mark, &before.state, before.left()),
            Err(failure) => Inverse::Impossible { why: failure.message },
        }
    }

    fn owes(&self, _before: &Found) -> Owes {
        Owes::Nothing
    }

    fn changed(&self, output: &u64) -> bool {
        *output > 0
    }

    fn result(&self, output: &u64) -> Option<String> {
        Some(format!("{output} replaced"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn content_that_ends_early_never_becomes_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "old").unwrap();
        let run = format!("test-early-{}", std::process::id());
        let write = |content: &str, length: &str| {
            let fresh = format!("{}.new", path.display());
            let path = path.to_str().unwrap();
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", WRITE, "sh", &run, path, &fresh, "", "", "", "", "", length]);
            let mut shell = shell.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            shell.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
            let ended = shell.wait_with_output().unwrap();
            (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
        };

        let (code, stderr) = write("new cont", "11");
        let entries = std::fs::read_dir(dir.path()).unwrap().count();

        assert_eq!(code, Some(9));
        assert!(stderr.contains("did not come whole"), "{stderr}");
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), entries), ("old", 1));
        assert_eq!(write("new content", "11").0, Some(0));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new content");
        let id = Command::new("id").arg("-u").output().unwrap().stdout;
        let base = format!("/var/tmp/upgrade-host-{}", String::from_utf8_lossy(&id).trim());
        std::fs::remove_dir_all(std::path::Path::new(&base).join(&run)).unwrap();
    }
}
