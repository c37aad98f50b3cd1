//! The way to the files: one shell command per poll that lists candidates and returns a piece of one of them. Polls
//! hold nothing open on the target, so they survive a reconnect, a reboot and a kill of either side.

use super::source::Source;
use crate::effect::Cx;
use crate::error::{Failure, Kind, Result};
use crate::transport::{Command, Stream};

/// What `dd` counts in: reading at a block's begin is the one way to seek that GNU, busybox and BSD share.
const BLOCK: u64 = 4096;
/// How many blocks one poll returns at most: 1 MiB and what the begin is off.
const BLOCKS: u64 = 258;
/// How many bytes before the offset tell whether a file is still the same.
pub(super) const PRINT: u64 = 256;

/// Lists and reads. $1 `plain` or `dated`, $2 directory, $3 name or what stands before the date, $4 what stands after
/// it, $5 how many `/` are in the date, $6 the checksum of the names known already, $7 whether to list what was rotated
/// away, $8 an inode to look for; then file, first block and number of blocks to read; then the files to list.
///
/// The file is opened once, so that inode, size and bytes belong together whatever is renamed meanwhile. `ls -n` is the
/// one portable way to inode and size: `stat -c` may be missing, `wc -c` may read it all.
const POLL: &str = r#"
LC_ALL=C; export LC_ALL
kind=$1 dir=$2 head=$3 tail=$4 depth=$5 known=$6 wide=$7 seek=$8; shift 8
path=$1 skip=$2 count=$3; shift 3
[ -d "$dir/" ] || echo X
list() { ls -iLndtr -- "$@" 2>/dev/null | sed 's/^ */L /'; }
names() {
  case $depth in
    0) printf '%s\n' "$dir/$head"*"$tail" "$dir/$head"*"$tail".* ;;
    1) printf '%s\n' "$dir/$head"*/*"$tail" "$dir/$head"*/*"$tail".* ;;
    2) printf '%s\n' "$dir/$head"*/*/*"$tail" "$dir/$head"*/*/*"$tail".* ;;
    *) printf '%s\n' "$dir/$head"*/*/*/*"$tail" "$dir/$head"*/*/*/*"$tail".* ;;
  esac
}
if [ "$kind" = dated ]; then
  # Many names are not sent again as long as they are the same. Small busyboxes lack one or the other.
  sum=$(names | { cksum || md5sum || sha256sum; } 2>/dev/null)
  if [ -z "$sum" ] || [ "$sum" != "$known" ]; then echo "K $sum"; names | sed 's/^/N /'; fi
fi
if [ -n "$wide" ]; then
  stem=${head%.*} ending=${head##*.}
  if [ "$stem" = "$head" ]; then list "$@" "$dir/$head"[._-]*
  else list "$@" "$dir/$head"[._-]* "$dir/$stem"[._-]*".$ending"*
  fi
elif [ $# -gt 0 ]; then list "$@"
fi
[ -z "$seek" ] || find "$dir/" -maxdepth 2 -type f -inum "$seek" -exec ls -iLndtr -- {} + 2>/dev/null | sed 's/^ */L /'
if [ -n "$path" ]; then
  if [ -e "$path" ] && ! [ -r "$path" ]; then echo "D $path"
  else
    {
      self=/proc/self/fd/3
      [ -e "$self" ] || self=$path
      echo "R $(ls -iLnd -- "$self" | sed 's/^ *//')"
      dd bs=4096 skip="$skip" count="$count" <&3
    } 2>/dev/null 3<"$path"
  fi
fi
exit 0
"#;

/// Returns a piece of a file that may be compressed. $1 file, $2 the first byte, from 1, $3 how many; all if empty.
const UNPACK: &str = r#"
case $1 in
  *.gz) gzip -dc <"$1" ;;
  *.bz2) bzip2 -dc <"$1" ;;
  *.xz) xz -dc <"$1" ;;
  *.zst) zstd -dcq <"$1" ;;
  *) cat <"$1" ;;
esac 2>/dev/null | tail -c "+$2" | if [ -n "$3" ]; then head -c "$3"; else cat; fi
"#;

/// One poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Poll {
    /// Whether to list what was rotated away.
    pub(super) wide: bool,
    /// An inode to look for beside and below.
    pub(super) seek: Option<String>,
    /// The checksum of the names known already.
    pub(super) known: String,
    /// The files to list.
    pub(super) watch: Vec<String>,
    /// What to read.
    pub(super) read: Option<Read>,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// The name that the file had when it was listed.
    pub(super) path: String,
    /// Which file is meant.
    pub(super) inode: String,
    /// The first byte wanted; some before it are read too.
    pub(super) from: u64,
}

impl Read {
    /// Returns the first byte that is really read.
    pub(super) fn start(&self) -> u64 {
        self.from.saturating_sub(PRINT) / BLOCK * BLOCK
    }
}

/// A file as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Which file it is; opaque, some file systems use all 64 bits.
    pub(super) inode: String,
    /// Its size.
    pub(super) size: u64,
    /// Its name.
    pub(super) path: String,
    /// Whether it is a regular file.
    pub(super) regular: bool,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Which file it is of.
    pub(super) inode: String,
    /// Where it starts.
    pub(super) start: u64,
    /// The bytes.
    pub(super) bytes: Vec<u8>,
}

/// What a poll returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whether the directory is missing.
    pub(super) no_directory: bool,
    /// The checksum and the names of the files that may have a date, if they are others than before.
    pub(super) names: Option<(String, Vec<String>)>,
    /// The files listed, the longest unchanged first.
    pub(super) entries: Vec<Entry>,
    /// A file that may not be read.
    pub(super) denied: Option<String>,
    /// What was read.
    pub(super) chunk: Option<Chunk>,
}

impl Answer {
    /// Reads the output of the script.
    pub(super) fn parse(bytes: &[u8], start: u64) -> Self {
        let mut answer = Self::default();
        let mut names = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&rest[..end]);
            rest = &rest[end + 1..];
            // What is not of the script may be anything.
            let (tag, text) = line.split_at_checked(2).unwrap_or((&line, ""));
            match tag {
                "X" => answer.no_directory = true,
                "K " => answer.names = Some((text.to_owned(), Vec::new())),
                "N " => names.push(text.to_owned()),
                "D " => answer.denied = Some(text.to_owned()),
                "L " => answer.entries.extend(entry(text)),
                "R " => {
                    answer.chunk = entry(text).map(|entry| Chunk {
                        inode: entry.inode,
                        start,
                        bytes: rest.to_vec(),
                    });
                    break;
                }
                _ => {}
            }
        }
        if let Some((_, listed)) = &mut answer.names {
            *listed = names;
        }
        answer
    }
}

/// Reads a line of `ls -in`: inode, mode, links, user, group, size, three words of date, name.
fn entry(line: &str) -> Option<Entry> {
    let mut rest = line;
    let mut words = [""; 9];
    for word in &mut words {
        rest = rest.trim_start_matches(' ');
        let end = rest.find(' ')?;
        (*word, rest) = rest.split_at(end);
    }
    Some(Entry {
        inode: words[0].to_owned(),
        // Devices have two numbers here.
        size: words[5].parse().unwrap_or_default(),
        path: rest[1..].to_owned(),
        regular: words[1].starts_with('-'),
    })
}

/// Polls.
pub(super) fn poll(cx: &Cx<'_>, source: &Source, poll: &Poll) -> Result<Answer> {
    let (kind, dir, head, tail, depth) = match source {
        Source::Plain { dir, base } => ("plain", dir.as_str(), base.as_str(), "", 0),
        Source::Dated { dir, head, format, tail } => {
            ("dated", dir.as_str(), head.as_str(), tail.as_str(), format.matches('/').count())
        }
        Source::Journal { .. } => return Err(Failure::input("the journal has no files").into()),
    };
    let start = poll.read.as_ref().map(Read::start).unwrap_or_default();
    let path = poll.read.as_ref().map(|read| read.path.clone()).unwrap_or_default();
    let wide = if poll.wide { "yes" } else { "" };
    let seek = poll.seek.clone().unwrap_or_default();
    let mut arguments: Vec<String> =
        [kind, dir, head, tail, &depth.to_string(), &poll.known, wide, &seek, &path]
            .map(str::to_owned)
            .to_vec();
    arguments.extend([(start / BLOCK).to_string(), BLOCKS.to_string()]);
    arguments.extend(poll.watch.iter().cloned());
    let command = Command::script(POLL, arguments).reading();
    let exit = cx.quiet(&command)?;
    if !exit.success() {
        return Err(cx.exit_failure(&command, &exit).into());
    }
    let answer = Answer::parse(&exit.stdout, start);
    if let Some(path) = &answer.denied {
        return Err(Failure::new(Kind::Denied, format!("{path} may not be read"))
            .with_target(&cx.target.name)
            .with_hint("Log in as a user who may read it, or let the target use sudo.")
            .into());
    }
    if let Some(entry) = answer.entries.iter().find(|entry| {
        !entry.regular
            && (Some(&entry.path) == source.path().as_ref() || source.date(&entry.path).is_some())
    }) {
        return Err(Failure::input(format!("{} is no regular file", entry.path))
            .with_target(&cx.target.name)
            .into());
    }
    Ok(answer)
}

/// Returns `length` bytes of a file from `from` on, decompressed if its name says so.
pub(super) fn piece(cx: &Cx<'_>, path: &str, from: u64, length: u64) -> Result<Vec<u8>> {
    let arguments = [path.to_owned(), (from + 1).to_string(), length.to_string()];
    Ok(cx.quiet(&Command::script(UNPACK, arguments).reading())?.stdout)
}

/// Passes a file from `from` on to its end to `each`, decompressed if its name says so.
pub(super) fn unpack(
    cx: &Cx<'_>,
    path: &str,
    from: u64,
    each: &mut dyn FnMut(&[u8]),
) -> Result<()> {
    let arguments = [path.to_owned(), (from + 1).to_string(), String::new()];
    let command = Command::script(UNPACK, arguments).reading();
    cx.exec_with(&command, false, &mut |stream, bytes| {
        if stream == Stream::Out {
            each(bytes);
        }
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_parsed_and_its_bytes_are_left_alone() {
        let text = b"K 12 34\nN /l/2026-11-22.log\nL 77 -rw-r--r--+  1 0 0  1234 Nov 22 10:00 /l/a b.log\nL 7 crw------- 1 0 0 1, 3 Nov 22 10:00 /l/null\nR 77 -rw-r--r-- 1 0 0 1235 Nov 22 10:00 /proc/self/fd/3\nL \xff\0\nR x";

        let answer = Answer::parse(text, 4096);

        assert_eq!(answer.names, Some(("12 34".into(), vec!["/l/2026-11-22.log".into()])));
        assert_eq!(answer.entries[0].path, "/l/a b.log");
        assert_eq!((answer.entries[0].size, answer.entries[0].regular), (1234, true));
        assert!(!answer.entries[1].regular);
        let chunk = answer.chunk.unwrap();
        assert_eq!(
            (chunk.inode.as_str(), chunk.start, &*chunk.bytes),
            ("77", 4096, &b"L \xff\0\nR x"[..])
        );
    }

    /// Runs the script under a shell with a path of its own, as a target would.
    fn run_script(shell: &[&str], path: &str, arguments: &[String]) -> Vec<u8> {
        let output = std::process::Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", POLL, "sh"])
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .output()
            .unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        output.stdout
    }

    #[test]
    fn every_shell_and_every_userland_gives_the_same_answer() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let mut bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        bytes[1_500_000] = b'\n';
        std::fs::write(file("it's a log"), &bytes).unwrap();
        std::fs::write(file("it's a log.1"), "older\n").unwrap();
        std::fs::write(file("it's a log.1.bak"), "").unwrap();
        let applets = file("applets");
        std::fs::create_dir(&applets).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists());
        for applet in ["sh", "ls", "sed", "dd", "find", "md5sum"] {
            if let Some(busybox) = busybox {
                std::os::unix::fs::symlink(busybox, dir.path().join("applets").join(applet))
                    .unwrap();
            }
        }
        let from = 1_400_000_u64;
        let read = Read { path: file("it's a log"), inode: String::new(), from };
        let inode = {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata(file("it's a log.1")).unwrap().ino().to_string()
        };
        let mut arguments: Vec<String> =
            ["plain", dir.path().to_str().unwrap(), "it's a log", "", "0", "", "yes", &inode]
                .map(str::to_owned)
                .to_vec();
        arguments.extend([
            file("it's a log"),
            (read.start() / BLOCK).to_string(),
            BLOCKS.to_string(),
            file("it's a log"),
        ]);
        let mut dated: Vec<String> =
            ["dated", dir.path().to_str().unwrap(), "it's a ", "", "0", "", "", ""]
                .map(str::to_owned)
                .to_vec();
        dated.extend(["", "0", "0"].map(str::to_owned));

        let applets_sh = format!("{applets}/sh");
        let mut shells =
            vec![(vec!["/bin/sh"], "/usr/bin:/bin"), (vec!["/bin/bash"], "/usr/bin:/bin")];
        if busybox.is_some() {
            shells.push((vec![applets_sh.as_str()], applets.as_str()));
        }
        for (shell, path) in shells {
            let answer = Answer::parse(&run_script(&shell, path, &arguments), read.start());

            let chunk = answer.chunk.unwrap();
            let start = usize::try_from(chunk.start).unwrap();
            assert!(chunk.start + PRINT <= from);
            assert!(chunk.bytes.len() >= (1 << 20) + usize::try_from(from).unwrap() - start);
            assert!(chunk.bytes == bytes[start..start + chunk.bytes.len()], "{shell:?}");
            let listed =
                |name: &str| answer.entries.iter().find(|entry| entry.path == file(name)).cloned();
            let log = listed("it's a log").unwrap();
            assert_eq!((log.size, log.regular, log.inode == chunk.inode), (3_000_000, true, true));
            assert_eq!(listed("it's a log.1").unwrap().size, 6);
            assert!(answer.entries.iter().any(|entry| entry.inode == inode));

            let answer = Answer::parse(&run_script(&shell, path, &dated), 0);
            let (known, names) = answer.names.unwrap();
            assert!(names.contains(&file("it's a log.1")), "{names:?}");
            let mut again = dated.clone();
            again[5] = known;
            assert_eq!(Answer::parse(&run_script(&shell, path, &again), 0).names, None);
        }
    }

    #[test]
    fn a_missing_file_is_no_error() {
        let answer = Answer::parse(b"X\n", 0);

        assert!(answer.no_directory && answer.chunk.is_none() && answer.entries.is_empty());
    }
}
