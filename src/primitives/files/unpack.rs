//! Unpacking an archive over a directory, so that it can be taken back: what it would replace is saved first, what it
//! adds is listed, both before the first file changes.

use serde::{Deserialize, Serialize};

use super::back::{Back, TakeBack};
use super::listing::{Listing, Rules};
use super::path::At;
use super::shell::{change, failure, read, script};
use super::state::{Mark, Sort, State, require};
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Query, Reconciled, inverse_of};
use crate::error::{Failure, Kind, Result};
use crate::journal::Inverse;
use crate::transport::{Command, Stream};
use crate::units;

/// `archive FILE` finds the format out by the content; `through FILE COMMAND…` unpacks into a command and tells a damaged
/// archive; `members` prints the names as they will be, directories with a slash, those on the way too.
macro_rules! archive {
    ($body:expr) => {
        script!(concat!(
            r#"
archive() {
  [ -f "$1" ] || { there "$1" && fail input "it is no archive but something else: $1"; fail not_found "there is no archive $1"; }
  [ -r "$1" ] || fail denied "may not read $1"
  [ -s "$1" ] || fail input "it is no archive but an empty file: $1"
  kind=other; tar --version 2>/dev/null | grep -q 'GNU tar' && kind=gnu
  tool=tar
  case $(head -c 6 "$1" | od -An -tx1 | tr -d ' \n') in
    1f8b*) format=gzip tool=gzip ;;
    425a68*) format=bzip2 tool=bzip2 ;;
    fd377a585a00) format=xz tool=xz ;;
    28b52ffd*) format=zstd tool=zstd ;;
    504b0304*|504b0506*) format=zip tool=unzip ;;
    *) format=tar
      tar -tf "$1" >/dev/null 2>&1 || fail input "it is no archive (tar, tar.gz, tar.bz2, tar.xz, tar.zst or zip): $1" ;;
  esac
  for t in "$tool" tar; do
    command -v "$t" >/dev/null 2>&1 || fail not_found "unpacking $1 needs \`$t\`; install the package \`$t\`"
  done
  if [ $format = zip ] && unzip --help 2>&1 | grep -q BusyBox; then
    fail not_found 'the `unzip` of BusyBox cannot list a zip safely; install the package `unzip`'
  fi
}
through() {
  a=$1; shift
  { st=$( { { case $format in
      gzip) gzip -dc "$a" ;; bzip2) bzip2 -dc "$a" ;; xz) xz -dc "$a" ;; zstd) zstd -dcq "$a" ;; *) cat "$a" ;;
    esac 3>&-; echo "d$?" >&3; } | { "$@" >&4 3>&-; echo "t$?" >&3; }; } 3>&1 ); } 4>&1
  case $st in *d0*|*d141*) ;; *d2*) [ "$format" = gzip ] || fail input "the archive is damaged: $a" ;;
    *) fail input "the archive is damaged: $a" ;; esac
  case $st in *t0*) ;; *) return 1 ;; esac
}
excludes() {
  [ $# -eq 0 ] || [ $kind = gnu ] || tar --help 2>&1 | grep -q -e --exclude ||
    fail input "the tar of this target cannot leave files out; install GNU tar"
}
members() {
  m=$1; s=$2; shift 2
  literal=; [ $kind = gnu ] && literal=--quoting-style=literal
  if [ $format = zip ]; then names=$(if [ $# -gt 0 ]; then unzip -Z1 "$m" -x "$@"; else unzip -Z1 "$m"; fi </dev/null) || exit
  else
    n=$#
    while [ "$n" -gt 0 ]; do set -- "$@" "--exclude=$1"; shift; n=$((n - 1)); done
    names=$(through "$m" tar -tf - $literal "$@") || exit
  fi
  printf '%s\n' "$names" | awk -v n="$s" '
    { name = $0
      for (i = 0; i < n && name != ""; i++) {
        p = index(name, "/")
        name = p ? substr(name, p + 1) : ""
        sub(/^\/+/, "", name)
      }
      while (sub(/^\.\/+/, "", name)) continue
      if (name == "" || name == ".") next
      m = split(name, part, "/"); path = ""
      for (i = 1; i < m; i++) {
        if (part[i] == "" || part[i] == ".") continue
        path = path part[i] "/"
        if (!(path in seen)) { seen[path]; print path }
      }
      if (part[m] != "") { path = path part[m]; if (!(path in seen)) { seen[path]; print path } } }'
}
"#,
            $body
        ))
    };
}

/// $1 archive, then globs: prints what it holds.
const LIST: &str = archive!(
    r#"
a=$1; shift
archive "$a"; excludes "$@"
echo "format $format $kind $(stat -c %s:%Y "$a")"
if [ $format = zip ]; then
  unzip -Z -s "$a" </dev/null || fail input "the archive is damaged: $a"
else
  n=$#
  while [ "$n" -gt 0 ]; do set -- "$@" "--exclude=$1"; shift; n=$((n - 1)); done
  [ $kind = other ] || set -- "$@" --numeric-owner
  through "$a" tar -tvf - "$@" || fail input "the archive is damaged: $a"
fi
"#
);

/// $1 archive, $2 directory, $3 strip, then globs: says what of it is there already.
const COMPARE: &str = archive!(
    r#"
a=$1; d=$2; s=$3; shift 3
archive "$a"
all=$(members "$a" "$s" "$@") || exit
[ -n "$all" ] || fail input "nothing of the archive is left to unpack: $a"
old=0; new=0; files=0
while IFS= read -r n; do
  p=$d/${n%/}
  if there "$p"; then
    case $n in
      */) [ -d "$p" ] || fail conflict "the archive has a directory where a file is: $p" ;;
      *) [ ! -d "$p" ] || [ -L "$p" ] || fail conflict "the archive has a file where a directory is: $p"
        files=$((files + 1)); [ $files -gt 20 ] || printf 'replaces %s\n' "$n" ;;
    esac
  else
    new=$((new + 1)); [ $new -gt 20 ] || printf 'adds %s\n' "${n%/}"
  fi
done <<END
$all
END
echo "replaced $files"
echo "new $new"
"#
);

/// $1 run, $2 stem, $3 archive, $4 directory, $5 size and time of the archive, $6 strip, $7 owner, $8 whether links in a
/// zip may lead anywhere, then globs.
pub(super) const UNPACK: &str = archive!(
    r#"
spool "$1"
k=$S/$2; a=$3; d=$4; token=$5; s=$6; owner=$7; links=$8; shift 8
archive "$a"
[ "$(stat -c %s:%Y "$a")" = "$token" ] || fail conflict "the archive changed meanwhile: $a"
cd "$d" || exit
zipped=; [ $format = zip ] && zipped=yes
if [ ! -f "$k.ready" ]; then
  if [ -n "$zipped" ]; then
    rm -rf "$k.zip"; mkdir "$k.zip" || exit
    if [ $# -gt 0 ]; then unzip -q -o "$a" -d "$k.zip" -x "$@" </dev/null >&2 || exit
    else unzip -q -o "$a" -d "$k.zip" </dev/null >&2 || exit; fi
    if [ -z "$links" ]; then
      bad=$(find "$k.zip" -type l -exec sh -c 'for l; do case $(readlink "$l") in /*|..|../*|*/..|*/../*) echo "$l" ;; esac; done' sh {} +)
      [ -z "$bad" ] || fail input "the archive holds a link that leads out of the directory: ${bad#"$k.zip/"}"
    fi
    tar -C "$k.zip" -cf "$k.tar" . || exit
    rm -rf "$k.zip"
  fi
fi
if [ -n "$zipped" ]; then a=$k.tar; format=tar; set --; fi
if [ ! -f "$k.ready" ]; then
  members "$a" "$s" "$@" >"$k.all" || exit
  while IFS= read -r n; do
    if there "${n%/}"; then printf './%s\n' "$n" >&5; else printf './%s\n' "$n" >&6; fi
  done <"$k.all" 5>"$k.old" 6>"$k.new"
  if [ -s "$k.old" ]; then
    if [ $kind = gnu ]; then tar --acls --xattrs -cf "$k.saved" --no-recursion --no-unquote -T "$k.old" || exit
    elif command -v cpio >/dev/null 2>&1; then sed 's|/$||' "$k.old" | cpio -o -H newc >"$k.saved" 2>"$k.err" || { cat "$k.err" >&2; exit 1; }
    else fail not_found 'saving what is replaced needs GNU tar or `cpio`; install one of them'
    fi
  fi
  sync "$k.saved" "$k.new" 2>/dev/null || :
  # From here on the lists stand: an interrupted attempt that is repeated must not take new files for old ones.
  : >"$k.ready" || exit
fi
n=$#
while [ "$n" -gt 0 ]; do set -- "$@" "--exclude=$1"; shift; n=$((n - 1)); done
[ "$owner" = keep ] || set -- "$@" -o
[ "$s" = 0 ] || set -- "$@" "--strip-components=$s"
[ $kind = other ] || set -- "$@" --no-overwrite-dir --keep-directory-symlink
through "$a" tar -xf - "$@" || exit 1
case $owner in ''|keep) ;; *)
  { grep -v '/$' "$k.old"; cat "$k.new"; } | tr '\n' '\0' | xargs -0 -r chown -h "$owner" || exit ;;
esac
sync -f . 2>/dev/null || :
: >"$k.done" || exit
"#
);

/// $1 `look` or `act`, $2 run, $3 stem, $4 directory, then some names that were not there before.
const REMOVE: &str = script!(
    r#"
how=$1; run=$2; S=$(spool_of "$2"); k=$S/$3; d=$4; shift 4
# What is newer than the end of unpacking, somebody else made; directories that hold something stay anyway.
theirs() {
  [ -f "$k.done" ] || return 0
  cat "$k.old" "$k.new" | while IFS= read -r n; do
    case $n in */) continue ;; esac
    if [ -f "$d/$n" ] && [ ! -L "$d/$n" ] && [ "$d/$n" -nt "$k.done" ] && ! ours "$d/$n" since "$k.done"; then printf '%s\n' "$n"; fi
  done
}
if [ "$how" = look ]; then
  [ ! -f "$k.ready" ] || theirs | while IFS= read -r n; do printf '%s\n' "$d/${n#./}"; done
  exit 0
fi
spool "$run"
if [ ! -f "$k.ready" ]; then
  for n; do ! there "$d/$n" || fail not_found "what was kept for the undo is gone, but this is there: $d/$n"; done
  exit 0
fi
cd "$d" || exit
theirs >"$k.theirs" || exit
while IFS= read -r n; do keep_theirs "$d/${n#./}" "$d/${n#./}.changed-$run"; done <"$k.theirs"
grep -v '/$' "$k.new" | tr '\n' '\0' | xargs -0 -r rm -f || exit
grep '/$' "$k.new" | sort -r | tr '\n' '\0' | xargs -0 -r rmdir 2>/dev/null
left=$(grep '/$' "$k.new" | while IFS= read -r n; do ! there "${n%/}" || printf '%s\n' "$n"; done | head -n 3 | tr '\n' ' ')
[ -z "$left" ] || echo "warning: not empty any more, so it stays in $d: $left" >&2
if [ -s "$k.old" ]; then
  [ -f "$k.saved" ] || fail not_found "what was kept for the undo is gone: $k.saved"
  if tar --version 2>/dev/null | grep -q 'GNU tar'; then tar --acls --xattrs -xpf "$k.saved" --keep-directory-symlink || exit
  else cpio -idmu <"$k.saved" 2>"$k.err" || { cat "$k.err" >&2; exit 1; }
  fi
fi
rm -f "$k.done"
echo changed
"#
);

/// $1 run, $2 stem: ends with 0 if it was unpacked to the end.
const DONE: &str =
    script!(r#"if [ -f "/var/tmp/upgrade-host-$(id -u)/$1/$2.done" ]; then echo done; fi"#);

/// Unpacks an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unpack {
    /// The archive.
    pub(super) archive: At,
    /// Where to.
    pub(super) directory: At,
    /// Globs of what to leave out.
    pub(super) exclude: Vec<String>,
    /// How many leading parts of each name go away.
    pub(super) strip: u32,
    /// `keep` for the archive's, `user:group`, or none for whoever unpacks.
    pub(super) owner: Option<String>,
    /// Whether symbolic links may lead out of the directory.
    pub(super) any_links: bool,
}

/// What was found about an archive and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// What identifies what is kept.
    pub(super) mark: Mark,
    /// The archive's size and time.
    pub(super) token: String,
    /// The archive's format.
    pub(super) format: String,
    /// The number of its entries.
    pub(super) entries: u64,
    /// The bytes in its files.
    pub(super) bytes: u64,
    /// How many files it replaces.
    pub(super) replaced: u64,
    /// How many entries it adds.
    pub(super) new: u64,
    /// Some files that it replaces.
    pub(super) replaces: Vec<String>,
    /// Some entries that it adds.
    pub(super) adds: Vec<String>,
}

/// What unpacking did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unpacked {
    /// The number of entries.
    pub(super) entries: u64,
    /// How many files were replaced.
    pub(super) replaced: u64,
    /// How many entries are new.
    pub(super) new: u64,
}

impl Unpack {
    fn list(&self, cx: &Cx<'_>) -> Result<Listing> {
        let arguments =
            [self.archive.as_str()].into_iter().chain(self.exclude.iter().map(String::as_str));
        let command = Command::script(LIST, arguments).reading();
        let rules = Rules {
            directory: self.directory.as_str(),
            strip: self.strip as usize,
            any_links: self.any_links,
        };
        let mut listing = Listing::default();
        let mut bad = None;
        let exit = cx.exec_with(&command, false, &mut |stream, bytes| {
            if stream == Stream::Out && bad.is_none() {
                bad = listing.push(bytes, rules).err();
            }
        })?;
        if !exit.success() {
            return Err(failure(&exit).with_target(&cx.target.name).into());
        }
        // BusyBox shows such names without what is bad about them, and says so.
        let cut = String::from_utf8_lossy(&exit.stderr)
            .lines()
            .find_map(|line| line.split_once("removing leading ").map(|(_, what)| what.to_owned()));
        let bad =
            bad.or(cut.map(|what| format!("it holds an absolute path or one with `..`: {what}")));
        if let Some(why) = bad {
            let failure = Failure::input(format!("the archive {} is refused: {why}", self.archive))
                .with_target(&cx.target.name);
            let hint = why.contains("leads out of the directory") && why.contains("` to `");
            return Err(if hint {
                failure.with_hint("Give `links: \"any\"` if the package is trusted.")
            } else {
                failure
            }
            .into());
        }
        Ok(listing)
    }

    pub(super) fn arguments(&self, before: &Contents) -> Vec<String> {
        let mut arguments = vec![
            before.mark.run.clone(),
            before.mark.stem.clone(),
            self.archive.to_string(),
            self.directory.to_string(),
            before.token.clone(),
            self.strip.to_string(),
            self.owner.clone().unwrap_or_default(),
            if self.any_links { "any" } else { "" }.to_owned(),
        ];
        arguments.extend(self.exclude.iter().cloned());
        arguments
    }

    fn output(before: &Contents) -> Unpacked {
        Unpacked { entries: before.entries, replaced: before.replaced, new: before.new }
    }
}

impl Action for Unpack {
    const NAME: &'static str = "unpack";
    const ACCESS: Access = Access::Change;
    type Before = Contents;
    type Output = Unpacked;

    fn summary(&self) -> String {
        format!("unpack {} into {}", self.archive, self.directory)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Contents> {
        let mut found = Contents { mark: Mark::of(cx), ..Contents::default() };
        let archive = State::look(cx, &self.archive, true, false)?;
        require(cx, archive.is_there(), &format!("archive {}", self.archive), "")?;
        let directory = State::look(cx, &self.directory, true, false)?;
        let what = format!("directory {}", self.directory);
        require(cx, directory.is_there(), &what, "Make it with `make_dir` first.")?;
        if directory.is_there() && directory.sort != Sort::Directory {
            let message = format!("it is no directory: {}", self.directory);
            return Err(Failure::new(Kind::Conflict, message).with_target(&cx.target.name).into());
        }
        if !archive.is_there() {
            return Ok(found);
        }
        let listing = self.list(cx)?;
        found.token = listing.token;
        found.format = listing.format;
        found.entries = listing.entries;
        found.bytes = listing.bytes;
        let strip = self.strip.to_string();
        let arguments = [self.archive.as_str(), self.directory.as_str(), &strip]
            .into_iter()
            .chain(self.exclude.iter().map(String::as_str));
        for line in read(cx, COMPARE, arguments)?.lines() {
            match line.split_once(' ') {
                Some(("replaces", name)) => found.replaces.push(name.to_owned()),
                Some(("adds", name)) => found.adds.push(name.to_owned()),
                Some(("replaced", count)) => found.replaced = count.parse().unwrap_or_default(),
                Some(("new", count)) => found.new = count.parse().unwrap_or_default(),
                _ => {}
            }
        }
        Ok(found)
    }

    fn plan(&self, before: &Contents) -> Plan<Contents, Unpacked> {
        let mut changes = Vec::new();
        if before.entries > 0 {
            let size = units::say_size(before.bytes);
            changes.push(format!("{}: {} entries, {size}", before.format, before.entries));
            changes
                .push(format!("replaces {} files, adds {} entries", before.replaced, before.new));
            changes.extend(before.replaces.iter().map(|name| format!("replaces {name}")));
            let more = before.replaced.saturating_sub(before.replaces.len() as u64);
            if more > 0 {
                changes.push(format!("and {more} more"));
            }
        }
        Plan::Would { changes, output: Self::output(before), after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Contents) -> Result<Unpacked> {
        change(cx, UNPACK, self.arguments(before), b"")?;
        Ok(Self::output(before))
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Contents) -> Result<Reconciled<Unpacked>> {
        let done = read(cx, DONE, [&before.mark.run, &before.mark.stem])?;
        Ok(if done.starts_with("done") {
            Reconciled::Done(Self::output(before))
        } else {
            Reconciled::Redo
        })
    }

    fn inverse(&self, before: &Contents) -> Inverse {
        inverse_of(&TakeBack(UnpackUndo {
            directory: self.directory.clone(),
            archive: self.archive.clone(),
            mark: before.mark.clone(),
            adds: before.adds.clone(),
        }))
    }

    fn owes(&self, _before: &Contents) -> Owes {
        Owes::Nothing
    }

    fn result(&self, output: &Unpacked) -> Option<String> {
        Some(format!("{} entries, {} files replaced", output.entries, output.replaced))
    }
}

/// Makes sure that an archive can be unpacked, and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnpackDry(pub(super) Unpack);

impl Query for UnpackDry {
    const NAME: &'static str = "unpack_dry";
    type Output = Unpacked;

    fn summary(&self) -> String {
        format!("look through {}", self.0.archive)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Unpacked> {
        self.0.look(cx).map(|found| Unpack::output(&found))
    }

    fn result(&self, output: &Unpacked) -> Option<String> {
        Some(format!("{} entries, {} files would be replaced", output.entries, output.replaced))
    }
}

/// Removes what unpacking added and puts back what it replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnpackUndo {
    /// Where it was unpacked.
    pub(super) directory: At,
    /// The archive.
    pub(super) archive: At,
    /// Which call did it.
    pub(super) mark: Mark,
    /// Some entries that were added: if they are there but the lists are gone, that is said.
    pub(super) adds: Vec<String>,
}

impl Back for UnpackUndo {
    const NAME: &'static str = "unpack_undo";
    const SCRIPT: &'static str = REMOVE;

    fn summary(&self) -> String {
        format!("put back what {} replaced in {}", self.archive.name(), self.directory)
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments =
            vec![self.mark.run.clone(), self.mark.stem.clone(), self.directory.to_string()];
        arguments.extend(self.adds.iter().cloned());
        arguments
    }
}
