//! Space and size: `disk_free`, `estimate_listing`.

use std::time::{Duration, Instant};

use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::bridge::{
    Face, Options, Primitive, RhaiResultOf, Type, ask, field, raise, texts, to_dynamic, type_name,
    wrong,
};
use super::files::path::At;
use super::files::shell::{failure, read, script};
use crate::effect::{Cx, Query, Registry};
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::Progress;
use crate::transport::{Command, Stream};
use crate::units;

const DISK_FREE: Primitive = Primitive {
    name: "disk_free",
    family: "disk",
    summary: "Tells how much space is left where a path is, or would be.",
    params: &[field("path", Type::Text, "", "The absolute path on the target.")],
    options: &[],
    returns: "map: `free`, `total` (bytes, for whoever acts), `used_percent`, `free_inodes` (nothing where the file system does not count them), `mount`",
    example: r#"if disk_free("/var/backups").free < 4 * 1024 * 1024 * 1024 { fail("too little space"); }"#,
    failure: "`denied`, `input` for a path that is not absolute.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

const ESTIMATE: Primitive = Primitive {
    name: "estimate_listing",
    family: "disk",
    summary: "Times a real, parallel, recursive listing with the size of each file: the rule of thumb for how long a server takes to look through its files.",
    params: &[field("paths", Type::TextOrList, "", "An absolute path of a directory, or several.")],
    options: &[
        field("parallel", Type::Int, "4", "How many listings run side by side."),
        field(
            "limit",
            Type::Duration,
            "\"10m\"",
            "After which time it is extrapolated from the directories that are listed.",
        ),
    ],
    returns: "map: `seconds` (float), `files`, `bytes`, `complete` (bool; else extrapolated), `cache` (`cold`, `warm` or `unknown`: warm is faster than it will be after a while)",
    example: r#"let listing = estimate_listing("/usr/local/obs/user", #{ limit: "5m" });"#,
    failure: "`not_found` if a directory is not there, `timeout` if no directory was listed within `limit`.",
    plan: "Lists for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was measured; measures again if that was not recorded.",
};

/// $1 path. Prints a line of `df` for the nearest part of it that is there, and one for its inodes.
const FREE: &str = script!(
    r#"
d=$1
while ! [ -e "$d" ]; do d=$(dirname "$d"); done
df -Pk "$d" | tail -n 1 || exit
df -Pi "$d" 2>/dev/null | tail -n 1
"#
);

/// $1 how many side by side, then directories. Prints `units N`, then `FILES BYTES` for each one done, then what was read
/// from disks.
const LISTING: &str = script!(
    r#"
jobs=$1; shift
for p; do
  [ -d "$p" ] || { there "$p" && fail conflict "it is no directory: $p"; fail not_found "there is no directory $p"; }
done
heads() { for p; do find "${p%/}/" -mindepth 1 -maxdepth 1 -type d -print0; done 2>/dev/null; }
echo "units $(($(heads "$@" | tr -dc '\000' | wc -c) + $#))"
count='/^[-lcbps]/ && NF >= 8 { n++; if (/^-/) b += $5 } END { printf "%d %.0f\n", n, b }'
for p; do ls -lAn "${p%/}/" 2>/dev/null | awk "$count"; done
heads "$@" | COUNT=$count xargs -0 -r -n 1 -P "$jobs" sh -c 'ls -lRAn "$1" 2>/dev/null | awk "$COUNT"' sh
while read -r key value; do
  [ "$key" != read_bytes: ] || echo "read $value"
done 2>/dev/null </proc/$$/io
exit 0
"#
);

/// Space left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Free {
    /// Bytes left.
    pub(super) left: u64,
    /// Bytes in all.
    pub(super) total: u64,
    /// How full it is, in percent, as `df` says.
    pub(super) used_percent: u64,
    /// Inodes left.
    pub(super) inodes: Option<u64>,
    /// Where it is mounted.
    pub(super) mount: String,
}

/// Reads `df -P`: the numbers before the column with the percent sign, and the mount point after it.
fn df(line: &str) -> Option<(Vec<u64>, u64, String)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let percent = words.iter().rposition(|word| {
        *word == "-" || word.strip_suffix('%').is_some_and(|digits| digits.parse::<u64>().is_ok())
    })?;
    let numbers = words
        .get(percent.checked_sub(3)?..percent)?
        .iter()
        .map(|word| word.parse().unwrap_or(0))
        .collect();
    let used = words[percent].trim_end_matches('%').parse().unwrap_or(0);
    Some((numbers, used, words[percent + 1..].join(" ")))
}

fn parse_free(out: &str) -> Option<Free> {
    let mut lines = out.lines();
    let (blocks, used_percent, mount) = df(lines.next()?)?;
    let inodes = lines.next().and_then(df).and_then(|(numbers, ..)| {
        // A file system that does not count them says 0 of 0.
        (*numbers.first()? > 0).then(|| numbers.get(2).copied()).flatten()
    });
    Some(Free {
        left: blocks.get(2)?.saturating_mul(1024),
        total: blocks.first()?.saturating_mul(1024),
        used_percent,
        inodes,
        mount,
    })
}

/// Reads how much space is left where a path is.
pub(super) fn free(cx: &Cx<'_>, path: &str) -> Result<Free> {
    let out = read(cx, FREE, [path])?;
    parse_free(&out).ok_or_else(|| {
        Failure::new(Kind::Exit, format!("`df` cannot be read: {}", out.trim()))
            .with_target(&cx.target.name)
            .into()
    })
}

/// Tells how much space is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DiskFree {
    path: At,
}

impl Query for DiskFree {
    const NAME: &'static str = "disk_free";
    type Output = Free;

    fn summary(&self) -> String {
        format!("look at the space left at {}", self.path)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Free> {
        free(cx, self.path.as_str())
    }

    fn result(&self, output: &Free) -> Option<String> {
        Some(format!("{} free of {}", units::say_size(output.left), units::say_size(output.total)))
    }
}

/// Times a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EstimateListing {
    paths: Vec<At>,
    parallel: u32,
    limit_ms: u64,
}

/// How long a listing takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Estimate {
    seconds: f64,
    files: u64,
    bytes: u64,
    complete: bool,
    cache: String,
}

/// What the listing printed so far.
#[derive(Debug, Default)]
struct Count {
    part: Vec<u8>,
    units: u64,
    done: u64,
    files: u64,
    bytes: u64,
    read: Option<u64>,
}

impl Count {
    /// Takes output; returns whether there is something to tell.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let before = self.done;
        for byte in bytes {
            if *byte != b'\n' {
                self.part.push(*byte);
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.part)).into_owned();
            let Some((key, value)) = line.split_once(' ') else { continue };
            let Ok(value) = value.trim().parse::<u64>() else { continue };
            match (key, key.parse::<u64>()) {
                ("units", _) => self.units = value,
                ("read", _) => self.read = Some(value),
                (_, Ok(files)) => {
                    self.done += 1;
                    self.files = self.files.saturating_add(files);
                    self.bytes = self.bytes.saturating_add(value);
                }
                _ => {}
            }
        }
        self.done > before
    }

    /// Whether the disks were read for it: less than an inode a file says that it was in memory.
    fn cache(&self) -> &'static str {
        match self.read {
            None => "unknown",
            Some(read) if read >= (64 << 10) && read / 64 >= self.files => "cold",
            Some(_) => "warm",
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate; none of the factors is negative"
    )]
    fn estimate(&self, took: Duration, complete: bool) -> Estimate {
        let factor =
            if complete { 1.0 } else { self.units.max(self.done) as f64 / self.done.max(1) as f64 };
        Estimate {
            seconds: (took.as_secs_f64() * factor * 1000.0).round() / 1000.0,
            files: (self.files as f64 * factor) as u64,
            bytes: (self.bytes as f64 * factor) as u64,
            complete,
            cache: self.cache().to_owned(),
        }
    }
}

impl Query for EstimateListing {
    const NAME: &'static str = "estimate_listing";
    type Output = Estimate;

    fn summary(&self) -> String {
        match &self.paths[..] {
            [one] => format!("time a listing of {one}"),
            paths => format!("time a listing of {} directories", paths.len()),
        }
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Estimate> {
        let limit = Duration::from_millis(self.limit_ms);
        let arguments =
            [self.parallel.to_string()].into_iter().chain(self.paths.iter().map(At::to_string));
        let command = Command::script(LISTING, arguments).reading().timeout(Some(limit));
        let mut count = Count::default();
        let started = Instant::now();
        let result = cx.exec_with(&command, false, &mut |stream, bytes| {
            if stream == Stream::Out && count.push(bytes) {
                let left = count.units.saturating_sub(count.done);
                let elapsed = started.elapsed().as_secs();
                cx.progress(Progress {
                    done: count.done,
                    total: Some(count.units),
                    unit: "directories".to_owned(),
                    message: format!("{} files", count.files),
                    eta_seconds: Some(elapsed.saturating_mul(left) / count.done.max(1)),
                });
            }
        });
        let took = started.elapsed();
        match result {
            Ok(exit) if exit.success() => Ok(count.estimate(took, true)),
            Ok(exit) => Err(failure(&exit).with_target(&cx.target.name).into()),
            // The first ones are the files beside the directories; they tell nothing about those.
            Err(Halt::Failure(late))
                if late.kind == Kind::Timeout && count.done > self.paths.len() as u64 =>
            {
                Ok(count.estimate(limit, false))
            }
            Err(Halt::Failure(late)) if late.kind == Kind::Timeout => {
                let message = format!(
                    "no directory was listed to its end within {}",
                    units::say_duration(limit)
                );
                Err(Failure::new(Kind::Timeout, message)
                    .with_target(&cx.target.name)
                    .with_hint("Give `limit` more time, or name directories that are further in.")
                    .into())
            }
            Err(halt) => Err(halt),
        }
    }

    fn result(&self, output: &Estimate) -> Option<String> {
        let seconds = Duration::try_from_secs_f64(output.seconds).unwrap_or_default();
        let how = if output.complete { "" } else { ", extrapolated" };
        Some(format!(
            "{} for {} files{how}, {} cache",
            units::say_duration(seconds),
            output.files,
            output.cache
        ))
    }
}

fn path(ctx: &NativeCallContext<'_>, text: &str) -> RhaiResultOf<At> {
    At::new(text).map_err(|mut failure| {
        failure.message = format!("{}: {}", ctx.fn_name(), failure.message);
        raise(ctx, failure.into())
    })
}

fn estimate(ctx: &NativeCallContext<'_>, paths: &Dynamic, options: Map) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &ESTIMATE, options)?;
    let paths = if let Ok(text) = paths.clone().into_string() {
        vec![text]
    } else if paths.is_array() {
        texts(paths).map_err(|why| wrong(ctx, format!("estimate_listing: `paths`: {why}")))?
    } else {
        return Err(wrong(
            ctx,
            format!(
                "estimate_listing: `paths` is text or a list of texts, found {}",
                type_name(paths)
            ),
        ));
    };
    if paths.is_empty() {
        return Err(wrong(ctx, "estimate_listing: `paths` is an empty list"));
    }
    let parallel = options.int("parallel").unwrap_or(4);
    let parallel =
        u32::try_from(parallel).ok().filter(|jobs| (1..=64).contains(jobs)).ok_or_else(|| {
            options.wrong("parallel", &format!("expected a number from 1 to 64, found {parallel}"))
        })?;
    let limit = options.duration("limit")?.unwrap_or(Duration::from_secs(600));
    let paths = paths.iter().map(|text| path(ctx, text)).collect::<RhaiResultOf<Vec<_>>>()?;
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let found = ask(ctx, EstimateListing { paths, parallel, limit_ms })?;
    serde_json::to_value(found).map(to_dynamic).map_err(|error| wrong(ctx, error.to_string()))
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&DISK_FREE, |ctx: NativeCallContext<'_>, text: &str| {
        let free = ask(&ctx, DiskFree { path: path(&ctx, text)? })?;
        Ok::<_, Box<rhai::EvalAltResult>>(to_dynamic(json!({
            "free": free.left,
            "total": free.total,
            "used_percent": free.used_percent,
            "free_inodes": free.inodes,
            "mount": free.mount,
        })))
    });
    face.add(&ESTIMATE, |ctx: NativeCallContext<'_>, paths: Dynamic| {
        estimate(&ctx, &paths, Map::new())
    });
    face.add(&ESTIMATE, |ctx: NativeCallContext<'_>, paths: Dynamic, options: Map| {
        estimate(&ctx, &paths, options)
    });
}

/// Makes the family's actions known, for undo from the record: it only reads.
pub(super) fn actions(_registry: &mut Registry) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::bench::Bench;
    use crate::effect::{Mode, query};
    use proptest::prelude::*;

    fn listing(bench: &Bench, names: &[&str]) -> EstimateListing {
        let path = |name: &&str| At::new(bench.path().join(name).to_str().unwrap()).unwrap();
        EstimateListing { paths: names.iter().map(path).collect(), parallel: 2, limit_ms: 20_000 }
    }

    #[test]
    fn a_listing_counts_every_file_whatever_its_name() {
        let bench = Bench::new(Registry::default());
        for name in ["u/a b/x/1", "u/a b/2", "u/-c/3", "u/'d'$x/4", "u/top", "v/e/5"] {
            let path = bench.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "12345").unwrap();
        }

        let found = query(&bench.lane(Mode::Plan), None, listing(&bench, &["u", "v"])).unwrap();

        assert_eq!((found.files, found.bytes, found.complete), (6, 30, true));
        let Err(Halt::Failure(failure)) =
            query(&bench.lane(Mode::Run), None, listing(&bench, &["none"]))
        else {
            panic!()
        };
        assert_eq!(failure.kind, Kind::NotFound);
    }

    #[test]
    fn what_the_limit_cuts_off_is_extrapolated() {
        let mut count = Count::default();
        assert!(!count.push(b"units 10\n"));
        assert!(count.push(b"0 0\n100 50"));
        assert!(count.push(b"00\n"));

        let estimate = count.estimate(Duration::from_secs(60), false);

        assert_eq!((estimate.seconds, estimate.files, estimate.bytes), (300.0, 500, 25_000));
        assert_eq!((estimate.complete, estimate.cache.as_str()), (false, "unknown"));
    }

    #[test]
    fn reads_from_disk_tell_a_cold_cache() {
        let mut count = Count::default();
        count.push(b"units 1\n1000 0\nread 4096\n");
        assert_eq!(count.cache(), "warm");
        count.push(b"read 900000\n");
        assert_eq!(count.cache(), "cold");
    }

    #[test]
    fn space_is_read_of_the_nearest_directory_that_is_there() {
        let bench = Bench::new(Registry::default());
        let path = At::new(bench.path().join("not/there").to_str().unwrap()).unwrap();

        let free = query(&bench.lane(Mode::Plan), None, DiskFree { path }).unwrap();

        assert!(free.total >= free.left && free.left > 0 && free.used_percent <= 100, "{free:?}");
    }

    #[test]
    fn df_is_read_with_spaces_and_without_inodes() {
        let out = "/dev/my disk 1000 400 600 40% /mnt/my data\n/dev/my disk 0 0 0 - /mnt/my data\n";
        let free = parse_free(out).unwrap();
        assert_eq!(
            (free.left, free.total, free.used_percent, free.inodes),
            (614_400, 1_024_000, 40, None)
        );
        assert_eq!(free.mount, "/mnt/my data");
        assert_eq!(
            parse_free("tmpfs 1 0 1 0% /x\ntmpfs 100 1 99 1% /x\n").unwrap().inodes,
            Some(99)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in r"[ 0-9%/a-z\n-]{0,80}") {
            let mut count = Count::default();
            count.push(&bytes);
            count.push(text.as_bytes());
            count.estimate(Duration::from_secs(1), false);
            parse_free(&text);
        }
    }
}
