//! How this family talks to a target: constant POSIX shell scripts, their common beginning, and what their ends mean.

use std::time::Duration;

use crate::effect::Cx;
use crate::error::{Failure, Halt, Kind, Result};
use crate::transport::{Command, Exit};

/// The beginning of each script. `fail KIND TEXT` ends it with a failure of that kind; `spool RUN` makes the run's
/// directory and sets `S`; `note PATH` lists a leftover before it comes to be, so that a kill leaves nothing unlisted;
/// `aside PATH KEPT` takes what stands at a path out of the way by a rename; `keep_theirs PATH NAME` does so for good, with
/// what somebody else made. `like PATH` sets `mode` and `owner` to those of the file there, else of a new one; `dress NEW MODE
/// OWNER` gives them to a new file, unless others are wanted; `show NEW PATH KEPT STEM` puts it in its place and notes down
/// that. `as_left PATH LEFT MARKER` tells whether a path is as the run left it: as the call did, or as a later one did that
/// noted down how it found it and how it left it. `digest FILE` sets `sum` to its SHA-256. `sum_of SIZE` prints that of
/// standard input; of much by openssl where that is, which is several times faster. `say_digest` says one to [`digest_said`].
macro_rules! script {
    ($body:expr) => {
        concat!(
            r#"
LC_ALL=C; export LC_ALL
fail() { printf 'upgrade-host %s %s\n' "$1" "$2" >&2; exit 9; }
sum_of() {
  if [ "$1" -gt 8388608 ] && openssl dgst -sha256 -r </dev/null >/dev/null 2>&1; then openssl dgst -sha256 -r
  else sha256sum
  fi
}
say_digest() { printf 'upgrade-host-digest %s\n' "${1%% *}" >&2; }
digest() { sum=$(sum_of "$(stat -L -c %s "$1")" <"$1") || return; sum=${sum%% *}; }
there() { [ -e "$1" ] || [ -L "$1" ]; }
spool_of() { printf '%s' "/var/tmp/upgrade-host-$(id -u)/$1"; }
spool() {
  S=$(spool_of "$1"); base=${S%/*}
  if [ -L "$base" ]; then fail denied "$base is a symbolic link"; fi
  (umask 077; mkdir -p "$base") || exit
  [ "$(stat -c %u "$base")" = "$(id -u)" ] || fail denied "$base belongs to somebody else"
  (umask 077; mkdir -p "$S") || exit
}
note() { printf '%s\n' "$1" >>"$S/leftovers" || exit; }
aside() {
  n=$2; i=2
  while there "$n"; do n=$2.$i; i=$((i + 1)); done
  note "$n"; mv -f "$1" "$n" || exit
}
keep_theirs() {
  n=$2; i=2
  while there "$n"; do n=$2.$i; i=$((i + 1)); done
  mv "$1" "$n" || exit
  printf 'warning: %s was changed since; what was there is kept as %s\n' "$1" "$n" >&2
}
as_left() { as_it_was "$@" || ours "$@"; }
ours() {
  [ -f "$1" ] && [ ! -L "$1" ] && real=$(readlink -f "$1") && digest "$1" || return 1
  at=
  for o in "$S"/own-[0-9][0-9][0-9][0-9]; do
    [ -f "$o.after" ] && { IFS= read -r p; read -r was; read -r token; } <"$o" && [ "$p" = "$real" ] || continue
    # What it found is what the call left, or the last of its kind; else somebody else was at it.
    if [ "$was" != "$at" ]; then
      case $2 in
        "digest:$was"|"token:$token") ;;
        since) [ ! "$o" -nt "$3" ] || { at=; continue; } ;;
        *) at=; continue ;;
      esac
    fi
    read -r at <"$o.after"
  done
  [ "$sum" = "$at" ]
}
as_it_was() {
  case $2 in
    '') return 0 ;;
    nothing) ! there "$1" ;;
    digest:*) [ -f "$1" ] && [ ! -L "$1" ] && digest "$1" && [ "digest:$sum" = "$2" ] ;;
    token:*) [ ! -L "$1" ] && [ "token:$(stat -c %s:%Y "$1")" = "$2" ] ;;
    link:*) [ -L "$1" ] && [ "link:$(readlink "$1")" = "$2" ] ;;
    since) [ ! -f "$3" ] || [ -z "$(find "$1" -newer "$3" 2>/dev/null | head -n 1)" ] ;;
    *) return 1 ;;
  esac
}
like() {
  if [ -f "$1" ]; then mode=$(stat -c %a "$1"); owner=$(stat -c %u:%g "$1")
  else mode=$(printf '%o' $((0666 & ~$(umask)))); owner=
  fi
}
dress() {
  if [ -n "$3" ]; then chown "$3" "$1" || exit
  elif [ -n "$owner" ] && [ "$(stat -c %u:%g "$1")" != "$owner" ]; then chown "$owner" "$1" || exit
  fi
  chmod "${2:-$mode}" "$1" || exit
}
show() {
  [ -z "$3" ] || keep "$2" "$3"
  [ ! -d "$2" ] || fail conflict "it is a directory now: $2"
  mv -f "$1" "$2" || exit
  : >"$S/$4.made" || exit
  sync "$(dirname "$2")" 2>/dev/null || :
}
keep() {
  there "$1" || return 0
  if [ -f "$1" ] && [ ! -L "$1" ]; then
    there "$2" && return 0
    ln "$1" "$2" 2>/dev/null && return 0
    cp -a "$1" "$2.part" && mv -f "$2.part" "$2" || exit
  else
    aside "$1" "$2"
  fi
}
"#,
            $body
        )
    };
}
pub(in crate::primitives) use script;

/// Runs a script that only reads.
pub(in crate::primitives) fn read<S: Into<String>>(
    cx: &Cx<'_>,
    script: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Result<String> {
    ended(cx, &cx.quiet(&Command::script(script, arguments).reading())?)
}

/// Runs a script that changes something.
pub(in crate::primitives) fn change<S: Into<String>>(
    cx: &Cx<'_>,
    script: &str,
    arguments: impl IntoIterator<Item = S>,
    stdin: &[u8],
) -> Result<String> {
    // Scripts of this family are given again after a lost connection, and must not run twice at once.
    let command = Command::script(script, arguments).stdin(stdin).tied(Duration::ZERO);
    ended(cx, &cx.quiet(&command)?)
}

/// Tells the standard error of a script that ended well, as warnings: what could not be done but does not matter.
pub(in crate::primitives) fn ended(cx: &Cx<'_>, exit: &Exit) -> Result<String> {
    if !exit.success() {
        return Err(failure(exit).with_target(&cx.target.name).into());
    }
    for line in String::from_utf8_lossy(&exit.stderr).lines() {
        if let Some(text) = line.strip_prefix("warning: ") {
            cx.warn(text);
        }
    }
    Ok(exit.out())
}

/// Returns the digest that a script said on its standard error.
///
/// # Errors
/// If it said none.
pub(super) fn digest_said(cx: &Cx<'_>, exit: &Exit) -> Result<String> {
    let stderr = String::from_utf8_lossy(&exit.stderr);
    let said = stderr.lines().find_map(|line| line.strip_prefix("upgrade-host-digest "));
    match said {
        Some(digest) if digest.len() == 64 => Ok(digest.to_owned()),
        _ => Err(no_digest(cx, "what was sent")),
    }
}

/// The failure of a target that cannot take the digest of something.
pub(super) fn no_digest(cx: &Cx<'_>, what: &str) -> Halt {
    Failure::new(Kind::Exit, format!("no digest of {what}; is `sha256sum` there?"))
        .with_target(&cx.target.name)
        .into()
}

/// Makes the failure that a script, or a tool in it, ended with.
pub(in crate::primitives) fn failure(exit: &Exit) -> Failure {
    let stderr = crate::effect::tail(&exit.stderr);
    let mut failure = classify(&stderr, exit.code());
    // A script of ours that gave up said why in a line of its own; its status is no news to anybody.
    let own = |line: &&str| line.starts_with("upgrade-host ");
    if stderr.lines().any(|line| own(&line)) {
        failure.stderr = stderr.lines().filter(|line| !own(line)).collect::<Vec<_>>().join("\n");
    } else {
        failure.code = Some(exit.code());
        failure.stderr = stderr;
    }
    failure
}

fn classify(stderr: &str, code: i32) -> Failure {
    let mut lines = stderr.lines().filter(|line| !line.trim().is_empty());
    if let Some((word, text)) = stderr
        .lines()
        .find_map(|line| line.strip_prefix("upgrade-host ").and_then(|line| line.split_once(' ')))
    {
        let kind = match word {
            "not_found" => Kind::NotFound,
            "conflict" => Kind::Conflict,
            "denied" => Kind::Denied,
            "check" => Kind::Check,
            "connect" => Kind::Connect,
            _ => Kind::Input,
        };
        return Failure::new(kind, text);
    }
    let pick = |needle: &str| stderr.lines().find(|line| line.contains(needle)).map(str::trim);
    for (needle, kind, hint) in [
        ("No space left on device", Kind::Conflict, "Make room there, then resume the run."),
        (
            "Disk quota exceeded",
            Kind::Conflict,
            "Raise the quota or make room, then resume the run.",
        ),
        (
            "Permission denied",
            Kind::Denied,
            "Act as a user who may do this, for example with `sudo` of the target.",
        ),
        (
            "Operation not permitted",
            Kind::Denied,
            "Act as a user who may do this, for example with `sudo` of the target.",
        ),
        ("Read-only file system", Kind::Denied, "The file system is mounted read-only."),
        ("No such file or directory", Kind::NotFound, ""),
    ] {
        if let Some(line) = pick(needle) {
            let failure = Failure::new(kind, line);
            return if hint.is_empty() { failure } else { failure.with_hint(hint) };
        }
    }
    let said = lines.next_back().unwrap_or_default().trim();
    if said.is_empty() {
        Failure::new(Kind::Exit, format!("a script on the target ended with status {code}"))
    } else {
        Failure::new(Kind::Exit, said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_scripts_become_kinds() {
        for (stderr, kind, message) in [
            ("upgrade-host conflict it changed: /a\n", Kind::Conflict, "it changed: /a"),
            (
                "cat: write error: No space left on device\n",
                Kind::Conflict,
                "cat: write error: No space left on device",
            ),
            (
                "cp: cannot open '/x': Permission denied\n",
                Kind::Denied,
                "cp: cannot open '/x': Permission denied",
            ),
            ("odd\n\n", Kind::Exit, "odd"),
            ("", Kind::Exit, "a script on the target ended with status 7"),
        ] {
            let failure = classify(stderr, 7);
            assert_eq!((failure.kind, failure.message.as_str()), (kind, message));
        }
    }
}
