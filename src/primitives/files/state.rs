//! What is at a path: read before each change, and recorded with its intent.

use serde::{Deserialize, Serialize};

use super::path::At;
use super::shell::{read, script};
use crate::effect::{Cx, Mode};
use crate::error::{Failure, Kind, Result};

/// What a path leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    /// Nothing.
    #[default]
    Absent,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Other,
}

impl Sort {
    /// Returns the word for people.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "symbolic link",
            Self::Other => "special file",
        }
    }
}

/// What a change leaves at a path, as far as that is known before it happens: by this an undo tells whether somebody
/// changed it since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Left {
    /// Not known; it counts as left by the run.
    #[default]
    Unknown,
    /// Nothing.
    Nothing,
    /// A file with this SHA-256.
    Digest(String),
    /// Something with this size and time.
    Token(String),
    /// A symbolic link that leads there.
    Link(String),
    /// What was not changed since the call noted down that it was through.
    Since,
}

impl Left {
    /// Returns the word that the scripts know it by.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Unknown => String::new(),
            Self::Nothing => "nothing".to_owned(),
            Self::Digest(digest) => format!("digest:{digest}"),
            Self::Token(token) => format!("token:{token}"),
            Self::Link(to) => format!("link:{to}"),
            Self::Since => "since".to_owned(),
        }
    }

    /// Returns what a copy of something leaves, which keeps its size and time.
    pub(super) fn copy_of(state: &State) -> Self {
        match (state.sort, &state.link) {
            (Sort::File, _) => Self::Token(state.token()),
            (Sort::Link, Some(to)) => Self::Link(to.clone()),
            (Sort::Directory, _) => Self::Since,
            _ => Self::Unknown,
        }
    }
}

/// What is at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// What it is.
    pub(super) sort: Sort,
    /// The path that it was found at, links followed if they were to be.
    pub(super) real: String,
    /// Whether the directory for it is there.
    pub(super) parent: bool,
    /// The permission bits, octal.
    pub(super) mode: String,
    /// The owner and group by number, and by name.
    pub(super) ids: String,
    /// `user:group`.
    pub(super) owner: String,
    /// The size in bytes.
    pub(super) size: u64,
    /// The time of the last change, seconds since 1970.
    pub(super) modified: i64,
    /// The device that it is on, or would be on.
    pub(super) device: String,
    /// Its number on that device.
    #[serde(default)]
    pub(super) inode: String,
    /// The SHA-256 of a file, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    /// Where a link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
    /// Whether a directory holds nothing.
    #[serde(default)]
    pub(super) empty: bool,
}

/// $1 path, $2 `follow` to look behind a link, $3 `digest` to read a file.
const STATE: &str = script!(
    r#"
p=$1
if [ "$2" = follow ] && [ -L "$p" ]; then
  r=$(readlink -f "$p") && [ -n "$r" ] && p=$r || fail conflict "the link leads nowhere: $p"
fi
d=$(dirname "$p")
if [ -d "$d" ]; then echo "parent $(stat -L -c %d "$d")"; fi
if [ -L "$p" ]; then sort=link
elif [ -f "$p" ]; then sort=file
elif [ -d "$p" ]; then sort=directory
elif [ -e "$p" ]; then sort=other
else sort=absent
  # Told apart from "not there", because a rollback would otherwise remove what it could not see.
  while [ ! -d "$d" ] && [ "$d" != / ]; do d=$(dirname "$d"); done
  [ -x "$d" ] || fail denied "may not look into $d"
fi
echo "sort $sort"
if [ $sort != absent ]; then
  stat -c 'stat %a %u:%g %U:%G %s %Y %d %i' "$p" || exit
fi
if [ $sort = file ] && [ "$3" = digest ]; then
  sum=$(sha256sum <"$p") || exit
  echo "digest ${sum%% *}"
fi
if [ $sort = directory ] && [ -z "$(ls -A "$p" 2>/dev/null | head -n 1)" ]; then echo empty; fi
if [ $sort = link ]; then echo "link $(readlink "$p")"; fi
echo "real $p"
"#
);

impl State {
    /// Looks at a path; `follow` looks behind a link at its end, `digest` reads a file.
    pub(super) fn look(cx: &Cx<'_>, at: &At, follow: bool, digest: bool) -> Result<Self> {
        let flag = |on: bool, word: &'static str| if on { word } else { "" };
        let out = read(cx, STATE, [at.as_str(), flag(follow, "follow"), flag(digest, "digest")])?;
        Ok(Self::parse(&out))
    }

    fn parse(out: &str) -> Self {
        let mut state = Self::default();
        for line in out.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "parent" => {
                    state.parent = true;
                    value.clone_into(&mut state.device);
                }
                "sort" => {
                    state.sort = match value {
                        "link" => Sort::Link,
                        "file" => Sort::File,
                        "directory" => Sort::Directory,
                        "other" => Sort::Other,
                        _ => Sort::Absent,
                    }
                }
                "stat" => {
                    let words: Vec<_> = value.split(' ').collect();
                    if let [mode, ids, owner, size, modified, device, inode] = words[..] {
                        mode.clone_into(&mut state.mode);
                        ids.clone_into(&mut state.ids);
                        owner.clone_into(&mut state.owner);
                        device.clone_into(&mut state.device);
                        inode.clone_into(&mut state.inode);
                        state.size = size.parse().unwrap_or_default();
                        state.modified = modified.parse().unwrap_or_default();
                    }
                }
                "digest" => state.digest = Some(value.to_owned()),
                "link" => state.link = Some(value.to_owned()),
                "empty" => state.empty = true,
                "real" => value.clone_into(&mut state.real),
                _ => {}
            }
        }
        state
    }

    pub(super) fn is_there(&self) -> bool {
        self.sort != Sort::Absent
    }

    /// Returns what tells that nobody touched the file since, as the restore script compares it.
    pub(super) fn token(&self) -> String {
        if self.is_there() { format!("{}:{}", self.size, self.modified) } else { String::new() }
    }

    /// Returns whether the owner is what `wanted` (`user`, `user:group`, `:group`, names or numbers) says.
    pub(super) fn owned_by(&self, wanted: &str) -> bool {
        let same = |wanted: &str, index: usize| {
            wanted.is_empty()
                || [&self.owner, &self.ids]
                    .iter()
                    .any(|have| have.split(':').nth(index) == Some(wanted))
        };
        let (user, group) = wanted.split_once(':').unwrap_or((wanted, ""));
        same(user, 0) && same(group, 1)
    }

    pub(super) fn has_mode(&self, wanted: &str) -> bool {
        u32::from_str_radix(&self.mode, 8).ok() == u32::from_str_radix(wanted, 8).ok()
    }
}

/// Says that something has to be there. A plan only warns: an earlier step of it may be what makes it.
pub(in crate::primitives) fn require(
    cx: &Cx<'_>,
    there: bool,
    what: &str,
    hint: &str,
) -> Result<()> {
    if there {
        return Ok(());
    }
    if cx.lane.run().mode == Mode::Plan {
        cx.warn(format!("{what} is not there now; an earlier step has to make it"));
        return Ok(());
    }
    let failure =
        Failure::new(Kind::NotFound, format!("{what} is not there")).with_target(&cx.target.name);
    Err(if hint.is_empty() { failure } else { failure.with_hint(hint) }.into())
}

/// What identifies what a call keeps for its undo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The run.
    pub(super) run: String,
    /// The call.
    pub(super) stem: String,
}

impl Mark {
    pub(super) fn of(cx: &Cx<'_>) -> Self {
        Self { run: cx.lane.run().id.clone(), stem: cx.file_stem() }
    }

    /// Returns where the thing at a path is kept.
    pub(super) fn kept(&self, at: &At) -> String {
        at.beside(&self.run, &self.stem, "old")
    }

    /// Returns where the new thing for a path is prepared.
    pub(super) fn fresh(&self, at: &At) -> String {
        at.beside(&self.run, &self.stem, "new")
    }
}

/// Checks permission bits.
///
/// # Errors
/// A fragment that says what was expected.
pub(super) fn check_mode(text: &str) -> Result<(), String> {
    let octal =
        (3..=5).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    if octal {
        Ok(())
    } else {
        Err(format!("`{text}` is no mode; expected octal digits such as `0644`"))
    }
}

/// Checks an owner.
///
/// # Errors
/// A fragment that says what was expected.
pub(super) fn check_owner(text: &str) -> Result<(), String> {
    let fine = |part: &str| {
        !part.starts_with('-')
            && part.chars().all(|c| c.is_alphanumeric() || "._-$@\\+".contains(c))
    };
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    if !text.is_empty() && text != ":" && fine(user) && fine(group) {
        Ok(())
    } else {
        Err(format!("`{text}` is no owner; expected `user`, `user:group` or `:group`"))
    }
}
