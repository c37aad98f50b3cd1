//! `wait_log`: the loop between the poll and the two machines that know no I/O.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::feed::Feed;
use super::follower::Step;
use super::mark::{Mark, end_of};
use super::matcher::{Matcher, Verdict};
use super::segment::Position;
use super::source::Source;
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Reconciled};
use crate::error::{Failure, Halt, Kind, Pause, Result, Stop};
use crate::event::Progress;
use crate::journal::Inverse;
use crate::primitives::pace::Pace;
use crate::units::say_duration;

/// The longest pause between two polls while nothing is new.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one goes on after the timeout to read what had been written before it.
const CATCH_UP: Duration = Duration::from_secs(30);
/// How often one polls without a pause while no lines come of it.
const SPINS: u32 = 20;

/// Waits for a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WaitLog {
    /// The regular expression waited for.
    pub(super) pattern: String,
    /// The log.
    pub(super) file: String,
    /// Regular expressions that end the wait with a failure.
    pub(super) fail: Vec<String>,
    /// The regular expression that catches progress.
    pub(super) progress: Option<String>,
    /// What progress counts.
    pub(super) unit: String,
    /// How long it may take, in milliseconds.
    pub(super) timeout_ms: u64,
    /// After how long without a line to warn, in milliseconds; 0 for never.
    pub(super) quiet_ms: u64,
    /// Where to begin.
    pub(super) since: Option<Mark>,
    /// How many last lines a failure shows.
    pub(super) lines: usize,
}

/// Where a wait begins. It is recorded with the intent, so that a wait that was killed misses nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    /// The place.
    pub(super) position: Position,
    /// The file that is written to now.
    pub(super) now: Option<String>,
    /// Whether its directory exists.
    pub(super) directory: bool,
    /// Lines that tell of failures for which the run was paused already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) known: Vec<String>,
}

/// What a wait saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "runbooks read it by these names")]
pub(super) struct Seen {
    /// The line.
    pub(super) line: String,
    /// What the groups of the pattern caught, by number and name.
    pub(super) captures: Map<String, Value>,
    /// The file that it was in.
    pub(super) file: String,
    /// How many lines were read.
    pub(super) lines_seen: u64,
    /// How long it took.
    pub(super) seconds: f64,
}

impl WaitLog {
    /// Compiles the patterns, which the caller has checked.
    pub(super) fn matcher(&self) -> Result<Matcher> {
        let progress = self.progress.as_deref().map(|pattern| (pattern, self.unit.as_str()));
        Matcher::new(&self.pattern, &self.fail, progress, self.lines)
            .map_err(|error| Failure::input(error.to_string()).into())
    }

    /// After a failure: what a writer has to say of it often comes in several lines.
    fn read_on(cx: &Cx<'_>, feed: &mut Feed, matcher: &mut Matcher) {
        // The failure is known; that it cannot be told more exactly, or is not waited for, is no other.
        for _ in 0..SPINS {
            match feed.round(cx, matcher) {
                Ok(Step::More) => {}
                Ok(_) if cx.sleep(PAUSE).is_ok() => {
                    drop(feed.round(cx, matcher));
                    return;
                }
                _ => return,
            }
        }
    }

    fn timed_out(&self, path: Option<&str>, silent: Duration, matcher: &Matcher) -> Failure {
        let timeout = say_duration(Duration::from_millis(self.timeout_ms));
        let came = match matcher.seen() {
            0 => "no line came".to_owned(),
            1 => format!("1 line came, {} ago", say_duration(silent)),
            n => format!("{n} lines came, the last {} ago", say_duration(silent)),
        };
        let message = format!("no line matched `{}` within {timeout}: {came}", self.pattern);
        let hint = match path {
            Some(path) => format!("It was looked for in {path}."),
            None if self.file.starts_with("journal:") => {
                "See what the unit says with `journalctl -u`.".to_owned()
            }
            None => format!("There was never a file {}.", self.file),
        };
        failed(Kind::Timeout, message, matcher).with_hint(hint)
    }
}

/// Makes a failure that shows the last lines.
fn failed(kind: Kind, message: String, matcher: &Matcher) -> Failure {
    let mut failure = Failure::new(kind, message);
    failure.stdout = matcher.last_lines();
    failure
}

/// Turns what ended the wait into its outcome.
fn ended(verdict: &Verdict, matcher: &Matcher, started: Instant) -> Result<Seen> {
    if let Some(pattern) = &verdict.failed {
        let message = format!("the log tells of a failure: {}", verdict.line.trim());
        return Err(failed(Kind::Check, message, matcher)
            .with_hint(format!("The line matches `{pattern}` and is in {}.", verdict.file))
            .into());
    }
    Ok(Seen {
        line: verdict.line.clone(),
        captures: verdict.captures.clone(),
        file: verdict.file.clone(),
        lines_seen: matcher.seen(),
        seconds: (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
    })
}

/// Tells where the log stands.
fn tell(cx: &Cx<'_>, mut progress: Progress) {
    progress.message = cx.lane.run().redactor.text(&progress.message);
    cx.progress(progress);
}

impl Action for WaitLog {
    const NAME: &'static str = "wait_log";
    const ACCESS: Access = Access::Wait;
    type Before = Start;
    type Output = Seen;

    fn summary(&self) -> String {
        format!("wait for `{}` in {}", self.pattern, self.file)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Start> {
        let source = Source::parse(&self.file)?;
        let (end, directory) = end_of(cx, &source)?;
        let now = end.path.clone();
        let position = self.since.as_ref().map_or(end, |mark| mark.position.clone());
        Ok(Start { position, now, directory, known: Vec::new() })
    }

    fn plan(&self, before: &Start) -> Plan<Start, Seen> {
        let timeout = say_duration(Duration::from_millis(self.timeout_ms));
        let mut changes = vec![format!("wait up to {timeout} for a line with `{}`", self.pattern)];
        if !self.fail.is_empty() {
            changes.push(format!("fail on a line with `{}`", self.fail.join("` or `")));
        }
        if !self.file.starts_with("journal:") {
            changes.push(match &before.now {
                Some(path) => format!("now it would read {path}"),
                None if before.directory => format!("{} does not exist yet", self.file),
                None => format!("the directory of {} does not exist yet", self.file),
            });
        }
        changes.push(if self.since.is_some() {
            format!("begin at the mark: {}", before.position.describe())
        } else {
            "begin at the end of the log; a `log_mark` before what is waited for would miss nothing"
                .to_owned()
        });
        Plan::Would {
            changes,
            output: Seen { file: before.now.clone().unwrap_or_default(), ..Seen::default() },
            after: None,
        }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Start) -> Result<Seen> {
        let mut feed = Feed::new(Source::parse(&self.file)?, &before.position);
        let mut matcher = self.matcher()?.knowing(&before.known);
        let timeout = Duration::from_millis(self.timeout_ms);
        let quiet = Duration::from_millis(self.quiet_ms);
        let started = Instant::now();
        let (mut came, mut warned, mut told) = (started, started, started);
        let (mut caught_up, mut spins) = (false, 0);
        let mut pace = Pace::up_to(PAUSE);
        let mut lost: Option<Instant> = None;
        if !before.directory {
            cx.warn(format!("the directory of {} does not exist yet", self.file));
        }
        loop {
            let step = match feed.round(cx, &mut matcher) {
                Ok(step) => step,
                Err(Halt::Failure(failure)) if failure.lost => {
                    // What was read so far stays read: polls hold nothing open.
                    wait_for_way(cx, *failure, &mut lost)?;
                    continue;
                }
                Err(halt) => return Err(halt),
            };
            let now = Instant::now();
            if lost.take().is_some() {
                (came, warned) = (now, now);
            }
            feed.warn(cx);
            if matcher.came() {
                (came, warned, spins) = (now, now, 0);
                pace.quicken();
            }
            if let Some(verdict) = matcher.verdict().cloned() {
                if let Some(progress) = matcher.last_progress() {
                    tell(cx, progress);
                }
                if verdict.failed.is_some() {
                    Self::read_on(cx, &mut feed, &mut matcher);
                }
                return ended(&verdict, &matcher, started);
            }
            if let Some(progress) = matcher.progress(now) {
                tell(cx, progress);
            } else if self.progress.is_none() && came > told + Duration::from_secs(1) {
                told = now;
                tell(cx, matcher.activity());
            }
            let elapsed = started.elapsed();
            if elapsed >= timeout && (step == Step::Idle || elapsed >= timeout + CATCH_UP) {
                return Err(self.timed_out(feed.path(), came.elapsed(), &matcher).into());
            }
            spins += 1;
            if step == Step::More && spins < SPINS {
                continue;
            }
            if !std::mem::replace(&mut caught_up, true) {
                matcher.caught_up();
            }
            if !quiet.is_zero() && warned.elapsed() >= quiet {
                warned = Instant::now();
                let silent = say_duration(came.elapsed());
                cx.warn(format!(
                    "nothing new in {} for {silent}",
                    feed.path().unwrap_or(&self.file)
                ));
            }
            cx.sleep(pace.pause().min(timeout.saturating_sub(elapsed)))?;
        }
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &Start) -> Result<Reconciled<Seen>> {
        // To read again from the same place is right always; the look makes sure that the log can be reached.
        end_of(cx, &Source::parse(&self.file)?)?;
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, _before: &Start) -> Inverse {
        Inverse::Nothing { why: "it only waits".to_owned() }
    }

    fn owes(&self, _before: &Start) -> Owes {
        Owes::Nothing
    }

    fn again(&self, before: &mut Start, failure: &Failure) {
        let Ok(matcher) = self.matcher() else { return };
        let told = failure.stdout.lines().filter(|line| matcher.tells_failure(line));
        before.known.extend(told.map(str::to_owned));
    }

    fn changed(&self, _output: &Seen) -> bool {
        false
    }

    fn result(&self, output: &Seen) -> Option<String> {
        Some(output.line.trim().to_owned())
    }
}

/// Waits until the target can be reached again, as long as the run allows.
fn wait_for_way(cx: &Cx<'_>, failure: Failure, lost: &mut Option<Instant>) -> Result<()> {
    let limit = cx.lane.run().reconnect;
    let since = *lost.get_or_insert_with(|| {
        cx.warn(format!("{failure}; trying again for {}", say_duration(limit)));
        Instant::now()
    });
    let elapsed = since.elapsed();
    if elapsed >= limit {
        if cx.lane.is_undoing() {
            return Err(failure.into());
        }
        let why = format!("{failure}; gave up after {}", say_duration(limit));
        return Err(Stop::Paused(Pause { why, until: None, unknown: false }).into());
    }
    let pause = elapsed.clamp(Duration::from_secs(1), Duration::from_secs(15));
    cx.sleep(pause.min(limit.saturating_sub(elapsed)).max(Duration::from_millis(50)))
}
