//! What only reads: text, digests, what is there.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::path::At;
use super::shell::{failure, no_digest, read, script};
use super::state::{Sort, State};
use crate::effect::{Cx, Query};
use crate::error::{Failure, Kind, Result};
use crate::transport::{Command, Stream};
use crate::units;

/// The largest file that is read unless said otherwise.
pub(super) const LIMIT: u64 = 16 << 20;

/// $1 path, $2 how many bytes at most.
const READ: &str = script!(
    r#"
[ ! -d "$1" ] || fail conflict "it is a directory, not a file: $1"
there "$1" || fail not_found "there is no file $1"
exec head -c "$2" "$1"
"#
);

/// $1 path, then globs to leave out. Prints a digest.
pub(super) const CHECKSUM: &str = script!(
    r#"
p=$1; shift
if [ -f "$p" ]; then
  digest "$p" || exit
  echo "$sum"; exit 0
fi
[ -d "$p" ] || { there "$p" && fail conflict "it is neither a file nor a directory: $p"; fail not_found "there is nothing at $p"; }
cd "$p" || exit
n=$#
set -- "$@" -name '.upgrade-host-*' -prune
while [ "$n" -gt 0 ]; do
  g=${1#/}; g=${g%/}; shift; n=$((n - 1))
  set -- "$@" -o -path "./$g" -prune
  case $g in */*) ;; *) set -- "$@" -o -name "$g" -prune ;; esac
done
list() { find . "$@" | sort -z; }
# Names with odd letters as they are: the sha256sum of coreutils writes them in its own way.
u=$(printf '\001'); r=$(printf '\r')
plain() {
  sed '/^\\/{
s/^\\//
s/\\\\/'"$u"'/g
s/\\n/\
/g
s/\\r/'"$r"'/g
s/'"$u"'/\\/g
}'
}
{ errors=$(
  {
    {
      list "$@" -o -type d -print0 | xargs -0 -r stat -c '%f %n'
      list "$@" -o ! -type d -print0 | xargs -0 -r stat -c '%f %s %n'
      list "$@" -o -type f -print0 | xargs -0 -r sha256sum | plain
      list "$@" -o -type l -print0 | xargs -0 -r sh -c 'for f; do printf "%s -> %s\n" "$f" "$(readlink "$f")"; done' sh
    } | sha256sum >&3
  } 2>&1 3>&4
); } 4>&1
if [ -n "$errors" ]; then printf '%s\n' "$errors" >&2; exit 1; fi
"#
);

/// Reads a file, at most `limit` bytes.
pub(super) fn bytes(cx: &Cx<'_>, path: &At, limit: u64) -> Result<Vec<u8>> {
    let command =
        Command::script(READ, [path.as_str().to_owned(), (limit + 1).to_string()]).reading();
    let mut all = Vec::new();
    let exit = cx.exec_with(&command, false, &mut |stream, bytes| {
        if stream == Stream::Out {
            all.extend_from_slice(bytes);
        }
    })?;
    if !exit.success() {
        return Err(failure(&exit).with_target(&cx.target.name).into());
    }
    if all.len() as u64 > limit {
        let message = format!("the file is larger than {}: {path}", units::say_size(limit));
        return Err(Failure::input(message).with_target(&cx.target.name).into());
    }
    Ok(all)
}

/// Reads a text file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReadFile {
    /// The path.
    pub(super) path: At,
    /// The largest size.
    pub(super) max: u64,
}

impl Query for ReadFile {
    const NAME: &'static str = "read_file";
    type Output = String;

    fn summary(&self) -> String {
        format!("read {}", self.path)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<String> {
        let all = bytes(cx, &self.path, self.max).map_err(|halt| match halt {
            crate::error::Halt::Failure(failure) if failure.kind == Kind::Input => {
                (*failure).with_hint("Give `max` a larger size.").into()
            }
            halt => halt,
        })?;
        String::from_utf8(all).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::input(format!("the file is not UTF-8 text at byte {at}: {}", self.path))
                .with_target(&cx.target.name)
                .into()
        })
    }

    fn result(&self, output: &String) -> Option<String> {
        Some(units::say_size(output.len() as u64))
    }
}

/// Takes a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    /// The file or directory.
    pub(super) path: At,
    /// Globs of what in a directory to leave out.
    pub(super) exclude: Vec<String>,
}

/// Returns the digest of a file or directory.
pub(super) fn checksum(cx: &Cx<'_>, path: &str, exclude: &[String]) -> Result<String> {
    let arguments = [path].into_iter().chain(exclude.iter().map(String::as_str));
    let digest = read(cx, CHECKSUM, arguments)?.trim().to_owned();
    let digest = digest.split(' ').next().unwrap_or_default().to_owned();
    if digest.len() == 64 {
        return Ok(digest);
    }
    Err(no_digest(cx, path))
}

impl Query for Checksum {
    const NAME: &'static str = "checksum";
    type Output = String;

    fn summary(&self) -> String {
        format!("take the digest of {}", self.path)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<String> {
        checksum(cx, self.path.as_str(), &self.exclude)
    }

    fn result(&self, output: &String) -> Option<String> {
        Some(output.chars().take(12).collect())
    }
}

/// Tells whether something is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exists {
    /// The path.
    pub(super) path: At,
}

impl Query for Exists {
    const NAME: &'static str = "exists";
    type Output = bool;

    fn summary(&self) -> String {
        format!("look for {}", self.path)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<bool> {
        Ok(State::look(cx, &self.path, false, false)?.is_there())
    }

    fn result(&self, output: &bool) -> Option<String> {
        Some(if *output { "there" } else { "not there" }.to_owned())
    }
}

/// Tells what is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileInfo {
    /// The path.
    pub(super) path: At,
}

impl Query for FileInfo {
    const NAME: &'static str = "file_info";
    type Output = Value;

    fn summary(&self) -> String {
        format!("look at {}", self.path)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Value> {
        let state = State::look(cx, &self.path, false, false)?;
        let sort = match state.sort {
            Sort::Absent => {
                return Err(Failure::new(
                    Kind::NotFound,
                    format!("there is nothing at {}", self.path),
                )
                .with_target(&cx.target.name)
                .into());
            }
            Sort::File => "file",
            Sort::Directory => "directory",
            Sort::Link => "link",
            Sort::Other => "other",
        };
        let (user, group) = state.owner.split_once(':').unwrap_or_default();
        Ok(json!({
            "type": sort,
            "size": state.size,
            "mode": format!("{:0>4}", state.mode),
            "user": user,
            "group": group,
            "modified": state.modified,
            "link": state.link,
        }))
    }
}
