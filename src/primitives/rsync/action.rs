//! The copy as an action.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::end::meaning;
use super::output::{Able, Output, Stats, Step, step};
use super::sides::{Side, apart};
use super::through;
use crate::call::Access;
use crate::effect::{Action, Cx, Mode, Owes, Plan, Reconciled};
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::Progress;
use crate::journal::Inverse;
use crate::primitives::disk;
use crate::primitives::files::shell::{change, read, script};
use crate::transport::{Command, Ended, Exit, Stream};
use crate::units;

/// How many itemised changes a plan shows.
const SHOWN: usize = 20;
/// Where rsync keeps the parts of a file that it could not finish, in the file's directory. It removes it itself; the
/// name is one that it neither copies nor deletes.
const PARTIAL: &str = ".upgrade-host-partial";
/// How often progress is told at most.
const TELL: Duration = Duration::from_millis(200);

/// Prints `rsync --version`, or which package manager there is.
const PROBE: &str = script!(
    r#"
if command -v rsync >/dev/null 2>&1; then rsync --version; exit; fi
for m in apt-get dnf yum zypper apk pacman; do
  if command -v $m >/dev/null 2>&1; then echo "missing $m"; exit 0; fi
done
echo "missing -"
"#
);

/// $1 the local target or nothing, then the local sources: says what is there, and where it really is.
const LOOK: &str = script!(
    r#"
to=$1; shift
if [ -n "$to" ]; then
  if there "$to"; then echo "to $(readlink -f "$to")"
  else
    # What is not there yet is found by the part of its path that is.
    d=$to; rest=
    while ! there "$d"; do rest=/$(basename "$d")$rest; d=$(dirname "$d"); done
    d=$(readlink -f "$d"); echo "new ${d%/}$rest"
  fi
fi
for f; do
  if there "$f"; then
    r=$(readlink -f "$f") || r=
    echo "from ${r:-$f}"
  else echo "gone $f"; fi
done
"#
);

/// $1 the directory that is to be there.
const MAKE: &str = script!(r#"[ -d "$1" ] || mkdir -p "$1""#);

/// Copies with rsync.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the primitive")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rsync {
    /// What is copied.
    pub(super) from: Vec<Side>,
    /// Where to.
    pub(super) to: Side,
    /// Patterns of what is left out.
    pub(super) exclude: Vec<String>,
    /// Patterns of what is copied though a later one leaves it out.
    pub(super) include: Vec<String>,
    /// Whether what the source does not have is deleted at the target.
    pub(super) delete: bool,
    /// Whether contents are compared instead of sizes and times.
    pub(super) checksum: bool,
    /// Bytes a second at most.
    pub(super) bandwidth: Option<u64>,
    /// More options of rsync.
    pub(super) options: Vec<String>,
    /// How long one pass may take, in milliseconds.
    pub(super) timeout_ms: Option<u64>,
    /// The pass time that is aimed at, in milliseconds.
    pub(super) until_ms: Option<u64>,
    /// How many passes at most.
    pub(super) passes_max: u32,
    /// Whether the sources keep their whole paths.
    pub(super) relative: bool,
    /// Whether nothing is copied, only counted.
    pub(super) dry: bool,
}

/// What a dry run would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Preview {
    /// The first changes, itemised.
    items: Vec<String>,
    /// All of them in numbers.
    stats: Stats,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    /// Whether the target of the copy was there.
    existed: bool,
    /// What the rsync of the target can do.
    able: Able,
    /// The dry run of a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preview: Option<Preview>,
}

/// What the copy did, all passes together; `total_bytes` is that of the last one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Copied {
    /// Files transferred.
    pub(super) files: u64,
    /// Bytes transferred.
    pub(super) bytes: u64,
    /// Bytes in the source.
    pub(super) total_bytes: u64,
    /// Entries deleted.
    pub(super) deleted: u64,
    /// Whether anything changed.
    pub(super) changed: bool,
    /// How long each pass took, in seconds.
    pub(super) passes: Vec<f64>,
    /// Whether the last pass was, or the next one will be, as short as wished.
    pub(super) fits: bool,
}

impl Rsync {
    /// Returns the sources that are on the target.
    fn on_target(&self) -> impl Iterator<Item = &str> {
        self.from.iter().filter(|side| !side.is_remote() && !side.is_here()).map(Side::as_str)
    }

    fn is_remote(&self) -> bool {
        self.to.is_remote() || self.from.iter().any(Side::is_remote)
    }

    /// Returns whether it goes between the machine that upgrade-host runs on and the target.
    pub(super) fn is_through(&self) -> bool {
        self.to.is_here() || self.from.iter().any(Side::is_here)
    }

    /// Returns the copy as it is made: where this machine is the target, its paths are the target's.
    fn on(&self, cx: &Cx<'_>) -> Cow<'_, Self> {
        if !self.is_through() || cx.target.name != through::THIS_MACHINE {
            return Cow::Borrowed(self);
        }
        let from = self.from.iter().map(Side::on_target).collect();
        Cow::Owned(Self { from, to: self.to.on_target(), ..self.clone() })
    }

    /// Finds out what the rsync that does it can do; those of both machines, if it is done by two.
    fn able(&self, cx: &Cx<'_>) -> Result<Able> {
        if !self.is_through() {
            return Self::able_there(cx);
        }
        let there = Self::able_there(cx).map_err(|halt| match halt {
            Halt::Failure(mut failure) if failure.kind == Kind::NotFound => {
                let install = failure.hint.take().unwrap_or_default();
                failure.hint = Some(format!("{install} {}", through::WITHOUT));
                Halt::Failure(failure)
            }
            halt => halt,
        })?;
        through::able(cx, &there)
    }

    fn able_there(cx: &Cx<'_>) -> Result<Able> {
        const KEY: &str = "rsync";
        let known = cx.target.cache.lock().ok().and_then(|cache| cache.get(KEY).cloned());
        if let Some(able) = known.and_then(|value| serde_json::from_value(value).ok()) {
            return Ok(able);
        }
        let out = read(cx, PROBE, [""; 0])?;
        if let Some(manager) = out.strip_prefix("missing ") {
            let install = match manager.trim() {
                "apt-get" => "Install it: `apt-get install rsync`.",
                "dnf" => "Install it: `dnf install rsync`.",
                "yum" => "Install it: `yum install rsync`.",
                "zypper" => "Install it: `zypper install rsync`.",
                "apk" => "Install it: `apk add rsync`.",
                "pacman" => "Install it: `pacman -S rsync`.",
                _ => "Install the package `rsync` there.",
            };
            return Err(Failure::new(Kind::NotFound, "rsync is not installed")
                .with_target(&cx.target.name)
                .with_hint(install)
                .into());
        }
        let able = Able::read(&out);
        if let (Ok(mut cache), Ok(value)) = (cx.target.cache.lock(), serde_json::to_value(&able)) {
            cache.insert(KEY.to_owned(), value);
        }
        Ok(able)
    }

    /// Returns the words up to the sides.
    fn words(&self, able: &Able, dry: bool) -> Vec<String> {
        let mut words: Vec<String> = ["rsync", "-a", "--numeric-ids"].map(str::to_owned).to_vec();
        let mut add = |on: bool, word: &str| {
            if on {
                words.push(word.to_owned());
            }
        };
        add(able.hardlinks, "-H");
        // The rsync of another machine may not know them, and would refuse.
        add(able.acls && !self.is_remote(), "-A");
        add(able.xattrs && !self.is_remote(), "-X");
        add(self.delete, "--delete");
        add(self.checksum, "--checksum");
        add(self.relative, "--relative");
        add(dry, "-n");
        // A file that is cut off goes on from what is kept of it, beside it: under its own name it would be torn. What
        // writes into the file itself was asked for by the runbook, and cannot be had with that.
        let in_place = ["--inplace", "--append", "--append-verify"];
        let in_place = self.options.iter().any(|option| in_place.contains(&option.as_str()));
        add(!dry && !in_place, &format!("--partial-dir={PARTIAL}"));
        add(able.tells_progress() && !dry, "--info=progress2");
        add(able.tells_progress(), "--outbuf=L");
        add(able.tells_progress(), "--no-human-readable");
        add(able.version >= (3, 0), "--no-inc-recursive");
        add(true, "--stats");
        add(true, if dry { "--out-format=@%i %n%L" } else { "--out-format=@%i" });
        // What a run keeps for its undo is no part of what is copied, nor deleted at the other side.
        add(true, "--exclude=.upgrade-host-*");
        if let Some(bandwidth) = self.bandwidth {
            words.push(format!("--bwlimit={}", (bandwidth / 1024).max(1)));
        }
        words.extend(self.include.iter().map(|pattern| format!("--include={pattern}")));
        words.extend(self.exclude.iter().map(|pattern| format!("--exclude={pattern}")));
        words.extend(self.options.iter().cloned());
        words
    }

    fn command(&self, able: &Able, dry: bool) -> Command {
        let mut words = self.words(able, dry);
        words.push("--".to_owned());
        words.extend(self.from.iter().map(Side::to_string));
        words.push(self.to.to_string());
        let mut command = Command::list(words)
            .timeout(self.timeout_ms.map(Duration::from_millis))
            .tied(Duration::ZERO);
        command.env.push(("LC_ALL".to_owned(), "C".to_owned()));
        if dry { command.reading() } else { command }
    }

    /// Runs rsync once.
    fn pass(&self, cx: &Cx<'_>, able: &Able, dry: bool, note: &str) -> Result<Output> {
        let mut output = Output::keeping(if dry { SHOWN } else { 0 });
        let mut told: Option<Instant> = None;
        let mut watch = |stream, bytes: &[u8]| {
            if stream == Stream::Out {
                output.push(bytes, |line| {
                    if told.is_none_or(|told| told.elapsed() >= TELL)
                        && let Some(step) = step(line)
                    {
                        told = Some(Instant::now());
                        cx.progress(progress(&step, note));
                    }
                });
            }
        };
        let (command, exit) = if self.is_through() {
            let timeout = self.timeout_ms.map(Duration::from_millis);
            through::pass(
                cx,
                self.words(able, dry),
                &self.from,
                &self.to,
                timeout,
                dry,
                &mut watch,
            )?
        } else {
            let command = self.command(able, dry);
            let exit = cx.exec_with(&command, false, &mut watch)?;
            (command, exit)
        };
        output.finish();
        self.check(cx, &command, &exit)?;
        Ok(output)
    }

    /// Decides what rsync's status means.
    fn check(&self, cx: &Cx<'_>, command: &Command, exit: &Exit) -> Result<()> {
        if exit.success() {
            return Ok(());
        }
        let stderr = crate::effect::tail(&exit.stderr);
        if exit.ended == Ended::Code(24) {
            let vanished = stderr.lines().filter(|line| line.contains("vanished")).count();
            cx.warn(format!("{vanished} files vanished while rsync read them, which is no fault while users work"));
            return Ok(());
        }
        let mut failure = cx.exit_failure(command, exit);
        let (kind, message, hint) = meaning(exit, &stderr);
        failure.kind = kind;
        failure.message = message;
        failure.hint = hint;
        if failure.kind == Kind::Conflict
            && failure.message.contains("no space left")
            && !self.to.is_remote()
        {
            let free = (!self.to.is_here()).then(|| disk::free(cx, self.to.as_str()));
            failure.hint = Some(match free {
                Some(Ok(free)) => format!(
                    "{} are free of {} there. Make room, then resume the run: it copies what is missing.",
                    units::say_size(free.left),
                    units::say_size(free.total)
                ),
                _ => "Make room there, then resume the run: it copies what is missing.".to_owned(),
            });
        }
        Err(failure.into())
    }

    /// Predicts from the last two passes whether the next is short enough: each pass copies what changed during the one
    /// before, so that times shrink by about the same factor.
    fn fits(passes: &[f64], until: f64) -> bool {
        match passes {
            [.., before, last] if *before > 0.0 => {
                *last <= until || last * (last / before).min(1.0) <= until
            }
            [.., last] => *last <= until,
            [] => false,
        }
    }
}

fn progress(step: &Step, note: &str) -> Progress {
    let total = (step.percent > 0).then(|| step.bytes.saturating_mul(100) / step.percent);
    let files = step.files.map(|(done, all)| format!("{done} of {all} files"));
    let words =
        [Some(note.to_owned()).filter(|note| !note.is_empty()), Some(step.rate.clone()), files];
    Progress {
        done: step.bytes,
        total,
        unit: "bytes".to_owned(),
        message: words.into_iter().flatten().collect::<Vec<_>>().join(", "),
        // At the end of a file rsync shows the time gone instead.
        eta_seconds: step.files.is_none().then_some(step.seconds),
    }
}

fn lines(stats: &Stats, items: &[String]) -> Vec<String> {
    let mut lines = items.to_vec();
    let more = stats.changes.saturating_sub(items.len() as u64);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    let mut sum = format!(
        "{} files, {} of {}",
        stats.files,
        units::say_size(stats.bytes),
        units::say_size(stats.total_bytes)
    );
    if stats.deleted > 0 {
        let _infallible = write!(sum, ", {} deleted", stats.deleted);
    }
    lines.push(sum);
    lines
}

impl Action for Rsync {
    const NAME: &'static str = "rsync";
    const ACCESS: Access = Access::Change;
    type Before = Found;
    type Output = Copied;

    fn summary(&self) -> String {
        let from = match &self.from[..] {
            [one] => one.to_string(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
            [] => String::new(),
        };
        let verb = if self.dry { "compare" } else { "copy" };
        format!("{verb} {from} to {} by rsync", self.to)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Found> {
        let this = self.on(cx);
        let able = this.able(cx)?;
        let elsewhere = this.to.is_remote() || this.to.is_here();
        let to = if elsewhere { "" } else { this.to.as_str() };
        let out = read(cx, LOOK, [to].into_iter().chain(this.on_target()))?;
        let (mut existed, mut place) = (this.to.is_remote(), None);
        let mut missing = through::missing(&this.from);
        if this.to.is_here() {
            existed = std::path::Path::new(this.to.as_str()).exists();
        }
        for line in out.lines() {
            match line.split_once(' ') {
                Some(("to", path)) => (existed, place) = (true, Some(path.to_owned())),
                Some(("new", path)) => place = Some(path.to_owned()),
                Some(("gone", path)) => missing.push(path.to_owned()),
                Some(("from", path)) => {
                    // Where links lead decides, not how the paths are spelt.
                    if let Some(place) = &place {
                        apart(path, place)?;
                    }
                }
                _ => {}
            }
        }
        let planning = cx.lane.run().mode == Mode::Plan;
        for path in &missing {
            crate::primitives::files::require(
                cx,
                false,
                path,
                "Name what is there, or leave it out.",
            )?;
        }
        // Before a big copy a dry run costs what the copy itself costs, so only a plan makes it.
        let preview = if planning && missing.is_empty() {
            let output = this.pass(cx, &able, true, "")?;
            Some(Preview { items: output.items, stats: output.stats })
        } else {
            None
        };
        Ok(Found { existed, able, preview })
    }

    fn plan(&self, before: &Found) -> Plan<Found, Copied> {
        let Some(preview) = &before.preview else {
            return Plan::Would { changes: Vec::new(), output: Copied::default(), after: None };
        };
        let stats = &preview.stats;
        let output = Copied {
            files: stats.files,
            bytes: stats.bytes,
            total_bytes: stats.total_bytes,
            deleted: stats.deleted,
            changed: stats.changes > 0,
            passes: Vec::new(),
            fits: true,
        };
        if stats.changes == 0 {
            return Plan::Already(output);
        }
        Plan::Would { changes: lines(stats, &preview.items), output, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Found) -> Result<Copied> {
        let this = self.on(cx);
        if !this.to.is_remote() && !self.dry && !before.existed {
            // rsync makes the last directory only.
            let to = this.to.as_str();
            let end = if this.to.ends_with_slash() {
                to.trim_end_matches('/')
            } else {
                to.rsplit_once('/').map_or("/", |(dir, _)| dir)
            };
            if this.to.is_here() {
                through::make(end)?;
            } else if !end.is_empty() {
                change(cx, MAKE, [end], b"")?;
            }
        }
        let until = self.until_ms.map(|until| Duration::from_millis(until).as_secs_f64());
        let mut sum = Copied::default();
        for pass in 1..=if until.is_some() { self.passes_max } else { 1 } {
            let note = if until.is_some() { format!("pass {pass}") } else { String::new() };
            let started = Instant::now();
            let output = this.pass(cx, &before.able, self.dry, &note)?;
            let took = started.elapsed();
            let stats = output.stats;
            sum.files += stats.files;
            sum.bytes += stats.bytes;
            sum.deleted += stats.deleted;
            sum.total_bytes = stats.total_bytes;
            sum.changed |= stats.changes > 0;
            sum.passes.push((took.as_secs_f64() * 1000.0).round() / 1000.0);
            let Some(until) = until else {
                sum.fits = true;
                break;
            };
            cx.progress(Progress {
                done: stats.bytes,
                total: Some(stats.bytes),
                unit: "bytes".to_owned(),
                message: format!(
                    "pass {pass} took {}: {} files, {}",
                    units::say_duration(took),
                    stats.files,
                    units::say_size(stats.bytes)
                ),
                eta_seconds: None,
            });
            sum.fits = Self::fits(&sum.passes, until);
            if sum.fits {
                break;
            }
        }
        if let (Some(until), false) = (self.until_ms, sum.fits) {
            cx.warn(format!(
                "after {} passes rsync still takes {}, longer than {}",
                sum.passes.len(),
                units::say_duration(Duration::from_secs_f64(
                    sum.passes.last().copied().unwrap_or_default()
                )),
                units::say_duration(Duration::from_millis(until))
            ));
        }
        Ok(sum)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Found) -> Result<Reconciled<Copied>> {
        // A dry run would tell, but costs what the copy costs; rsync goes on where it was, and copies nothing twice.
        let _there = (self.on(cx).able(cx)?, before.existed);
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, _before: &Found) -> Inverse {
        Inverse::Nothing { why: "the copy stays, and the source is untouched".to_owned() }
    }

    fn owes(&self, _before: &Found) -> Owes {
        Owes::Nothing
    }

    fn changed(&self, output: &Copied) -> bool {
        output.changed && !self.dry
    }

    fn result(&self, output: &Copied) -> Option<String> {
        let seconds: f64 = output.passes.iter().sum();
        let took = units::say_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        Some(format!("{} files, {} in {took}", output.files, units::say_size(output.bytes)))
    }
}
