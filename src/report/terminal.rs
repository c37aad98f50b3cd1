//! The event stream as a tree for the terminal: steps as headings, a line for each call, what is owed, the clock of the
//! lock-out, and how it ended. Durations and times stand in a column of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::diagnostic;
use super::line::{Line, Tone};
use super::live::{LiveLines, Running};
use super::plan::Tally;
use super::style::{Mark, Style};
use super::words::{ago, between, clock, count, took};
use crate::call::Access;
use crate::error::Failure;
use crate::event::{CallEnd, Event, Status, What};
use crate::journal::DebtRow;
use crate::units::say_duration;

/// How many lines of a command's output are shown once it has ended.
const OUTPUT: usize = 5;
/// How many calls are shown at once while they run.
const LIVE: usize = 8;

type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Renders the events of one run, in their order.
pub struct Terminal {
    style: Style,
    sources: Option<Lookup>,
    run: Option<String>,
    planning: bool,
    undoing: bool,
    began: Timestamp,
    targets: Vec<String>,
    lanes: BTreeMap<String, Lane>,
    running: Vec<Running>,
    lockouts: Lockouts,
    tally: Tally,
    /// The width of the names in front of the lines of parallel lanes.
    prefix: usize,
    /// Whether the last line said is blank.
    blank: bool,
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("run", &self.run).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Lane {
    steps: Vec<Step>,
    /// Calls answered from the record since something was said, and their steps.
    recalled: usize,
    recalled_steps: BTreeSet<String>,
    /// Lines that belong below the call that is under way.
    after: Vec<Line>,
}

#[derive(Debug)]
struct Step {
    path: String,
    at: Timestamp,
    said: bool,
    /// Calls that took long enough to be told how long.
    timed: usize,
    recalled: bool,
}

/// The clock of the time during which users of any target are locked out.
#[derive(Debug, Default)]
struct Lockouts {
    open: BTreeSet<(String, String)>,
    since: Option<Timestamp>,
    /// When the first of all began, and how long they took that are over.
    total: Duration,
}

impl Lockouts {
    fn open(&mut self, target: &str, what: &str, at: Timestamp) -> bool {
        self.open.insert((target.to_owned(), what.to_owned()));
        let first = self.since.is_none();
        self.since.get_or_insert(at);
        first
    }

    /// Returns how long users were out, if the last lock-out ends.
    fn close(&mut self, target: &str, what: &str, at: Timestamp) -> Option<Duration> {
        self.open.remove(&(target.to_owned(), what.to_owned()));
        if !self.open.is_empty() {
            return None;
        }
        let out = between(self.since.take()?, at);
        self.total += out;
        Some(out)
    }

    fn now(&self, now: Timestamp) -> Option<Duration> {
        self.since.map(|since| self.total + between(since, now))
    }
}

impl Terminal {
    /// Makes one that has seen nothing.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            sources: None,
            run: None,
            planning: false,
            undoing: false,
            began: Timestamp::UNIX_EPOCH,
            targets: Vec::new(),
            lanes: BTreeMap::new(),
            running: Vec::new(),
            lockouts: Lockouts::default(),
            tally: Tally::default(),
            prefix: 0,
            blank: true,
        }
    }

    /// Shows excerpts of the runbook with failures, from this lookup by name.
    #[must_use]
    pub fn with_sources(
        mut self,
        lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.sources = Some(Arc::new(lookup));
        self
    }

    /// Changes the lookup of [`Terminal::with_sources`].
    pub fn set_sources(&mut self, lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        self.sources = Some(Arc::new(lookup));
    }

    /// Adapts to a terminal that was resized.
    pub fn set_width(&mut self, width: usize) {
        self.style.width = width.clamp(60, 200);
    }

    /// Tells what the run owed already when this process took it up, so that the clock of the lock-out goes on.
    pub fn owed_before(&mut self, debts: &[DebtRow], now: Timestamp) -> Vec<Line> {
        let mut lines = Vec::new();
        for debt in debts {
            if debt.locks_out {
                self.lockouts.open(&debt.target, &debt.what, debt.since);
            }
            let mut line = Line::new().with(Tone::Warn, "still owed").with(Tone::Plain, ": ");
            line.push(Tone::Plain, &debt.what);
            let since = self.style.date(debt.since);
            let since = format!(" on {}, since {since} ({})", debt.target, ago(debt.since, now));
            line.push(Tone::Dim, &since);
            if debt.locks_out {
                line.push(Tone::Warn, self.style.dot());
                line.push(Tone::Warn, "users are locked out");
            }
            lines.extend(self.laid(line, 2, None));
        }
        self.blank &= lines.is_empty();
        lines
    }

    /// Returns the lines that an event adds.
    pub fn event(&mut self, event: &Event) -> Vec<Line> {
        let mut out = Vec::new();
        self.take(event, &mut out);
        if let Some(last) = out.last() {
            self.blank = last.is_empty();
        }
        out
    }

    fn take(&mut self, event: &Event, out: &mut Vec<Line>) {
        match &event.what {
            What::RunBegan { title, runbook, targets, mode } => {
                self.run_began(event, title, runbook, targets, mode, out);
            }
            What::StepBegan => self.step_began(event),
            What::StepEnded { took_ms, .. } => self.step_ended(event, *took_ms, out),
            What::CallBegan { call, summary, access, place } => {
                self.approach(event, out);
                let running = Running::new(
                    call,
                    &event.lane,
                    &event.target,
                    summary,
                    *access,
                    place.clone(),
                    event.at,
                );
                if self.style.verbose {
                    let mut line = Line::new().with(Tone::Dim, self.style.pick("▸ ", "> "));
                    line.push(Tone::Dim, summary);
                    line.push(Tone::Dim, &self.on(event));
                    let place = running.place.as_ref().map(ToString::to_string);
                    self.row(event, line, 2, place, out);
                }
                self.running.push(running);
            }
            What::CallProgress { call, progress } => {
                let live = self.style.live;
                let Some(running) = self.running.iter_mut().find(|one| one.call == *call) else {
                    return;
                };
                running.progressed(event.at, progress);
                if let (false, Some(words)) = (live, running.plain(event.at)) {
                    let summary = running.summary.clone();
                    let line = self.going(&summary, &words);
                    self.row(event, line, 2, None, out);
                }
            }
            What::Output { call, error, line } => {
                if self.style.verbose {
                    self.output(event, &[(*error, line.clone())], 0, out);
                } else if let Some(running) = self.running.iter_mut().find(|one| one.call == *call)
                {
                    running.heard(*error, line, OUTPUT);
                }
            }
            What::CallEnded { call, summary, end, result, took_ms } => {
                self.call_ended(event, call, summary, end, result.as_deref(), *took_ms, out);
            }
            What::CallPlanned { summary, planned, .. } => {
                self.approach(event, out);
                let on = self.on(event);
                for line in self.tally.call(&self.style, summary, &on, planned) {
                    self.row(event, line, 6, None, out);
                }
            }
            What::Note { text } | What::Warning { text } => {
                self.approach(event, out);
                let warning = matches!(event.what, What::Warning { .. });
                self.tally.note(warning, text);
                let (tone, word) =
                    if warning { (Tone::Warn, "warning") } else { (Tone::Info, "note") };
                let line = Line::new().with(tone, word).with(Tone::Plain, format!(": {text}"));
                self.row(event, line, 2, None, out);
            }
            What::DebtOpened { what, locks_out } => self.debt_opened(event, what, *locks_out, out),
            What::DebtClosed { what, locks_out } => self.debt_closed(event, what, *locks_out, out),
            What::PointOfNoReturn { why } => {
                self.approach(event, out);
                self.space(out);
                out.extend(self.rule("point of no return", Tone::Warn));
                let line = Line::new().with(Tone::Plain, why);
                self.row(event, line, 0, Some(self.style.time(event.at)), out);
            }
            What::UndoBegan { why } => {
                self.flush_all(out);
                self.undoing = true;
                self.space(out);
                let mut line = Line::new().with(Tone::Warn, "undo");
                line.push(Tone::Plain, self.style.dot());
                line.push(Tone::Plain, why);
                out.extend(self.laid(line, 2, Some(self.style.time(event.at))));
            }
            What::UndoEnded { done, failed } => {
                self.undoing = false;
                let mut line = Line::new().with(Tone::Plain, "  ");
                let done = count(usize::try_from(*done).unwrap_or_default(), "change");
                line.push(Tone::Good, &format!("{done} undone"));
                if *failed > 0 {
                    line.push(Tone::Bad, &format!(", {failed} failed"));
                }
                out.push(line);
            }
            What::RunEnded { .. } => self.run_ended(event, out),
        }
    }

    fn run_began(
        &mut self,
        event: &Event,
        title: &str,
        runbook: &str,
        targets: &[String],
        mode: &str,
        out: &mut Vec<Line>,
    ) {
        let again = self.run.as_deref() == Some(event.run.as_str());
        self.run = Some(event.run.clone());
        self.began = event.at;
        self.targets = targets.to_vec();
        self.planning = mode == "plan";
        self.undoing = mode == "rollback";
        self.lanes.clear();
        if again {
            self.space(out);
            let line = Line::new().with(Tone::Strong, "taken up again");
            out.extend(self.laid(line, 2, Some(self.style.date(event.at))));
            return;
        }
        let title = if title.is_empty() { runbook } else { title };
        let line = Line::new().with(Tone::Strong, title);
        out.extend(self.laid(line, 2, Some(self.style.date(event.at))));
        let does = match mode {
            "plan" => format!("plan of {runbook}"),
            "resume" => format!("resumes run {}", event.run),
            "rollback" => format!("rolls back run {}", event.run),
            _ => format!("run {}", event.run),
        };
        let mut line = Line::new().with(Tone::Plain, does);
        if !targets.is_empty() {
            line.push(Tone::Plain, &format!(" on {}", targets.join(", ")));
        }
        line.push(Tone::Dim, self.style.dot());
        line.push(
            Tone::Dim,
            if self.planning { "reads for real, changes nothing" } else { runbook },
        );
        out.extend(self.laid(line, 2, None));
        out.push(Line::new());
    }

    fn step_began(&mut self, event: &Event) {
        let lane = self.lanes.entry(event.lane.clone()).or_default();
        let path = event.step.clone();
        lane.steps.push(Step { path, at: event.at, said: false, timed: 0, recalled: false });
    }

    fn step_ended(&mut self, event: &Event, took_ms: u64, out: &mut Vec<Line>) {
        let Some(lane) = self.lanes.get_mut(&event.lane) else { return };
        let Some(at) = lane.steps.iter().rposition(|step| step.path == event.step) else { return };
        let (said, recalled, timed) = {
            let step = &lane.steps[at];
            (step.said, step.recalled, step.timed)
        };
        if said {
            self.flush(&event.lane, out);
        }
        if !said && !recalled {
            self.approach(event, out);
            let line = Line::new().with(Tone::Dim, "nothing to do");
            self.row(event, line, 0, None, out);
        } else if said
            && timed > 1
            && let Some(took) = took(took_ms)
        {
            let right = format!("{} {took}", self.style.pick("Σ", "="));
            self.row(event, Line::new(), 0, Some(right), out);
        }
        if let Some(lane) = self.lanes.get_mut(&event.lane) {
            let ended = lane.steps.split_off(at);
            if recalled {
                // Its enclosing step counts as recalled as well, so that it is not called empty.
                if let Some(outer) = lane.steps.last_mut() {
                    outer.recalled = true;
                }
            }
            drop(ended);
        }
    }

    /// Says everything that must be said before a line of this lane: recalled calls, headings of its steps.
    fn approach(&mut self, event: &Event, out: &mut Vec<Line>) {
        let lanes: Vec<String> = self
            .lanes
            .keys()
            .filter(|name| {
                **name == event.lane
                    || event
                        .lane
                        .strip_prefix(name.as_str())
                        .is_some_and(|rest| rest.starts_with(" > each "))
            })
            .cloned()
            .collect();
        for name in lanes {
            self.flush(&name, out);
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            let mut headings = Vec::new();
            for (depth, step) in lane.steps.iter_mut().enumerate() {
                if !std::mem::replace(&mut step.said, true) {
                    headings.push((depth, step.path.clone(), step.at));
                }
            }
            for (depth, path, at) in headings {
                let own = lane_key(&name);
                if depth == 0 && own.is_none() {
                    self.space(out);
                }
                let name = path.rsplit(" > ").next().unwrap_or_default();
                let line = Line::new().with(Tone::Strong, name);
                let time = (!self.planning).then(|| self.style.time(at));
                self.laid_in(own, depth * 2, line, 2, time, out);
                self.blank = false;
            }
        }
    }

    /// Says how many calls of the lane came from the record.
    fn flush(&mut self, name: &str, out: &mut Vec<Line>) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        let recalled = std::mem::take(&mut lane.recalled);
        let steps = std::mem::take(&mut lane.recalled_steps).len();
        if recalled == 0 {
            return;
        }
        let inside = lane.steps.iter().filter(|step| step.said).count();
        let mut text = format!("{} from the record", count(recalled, "call"));
        if steps > 1 {
            text = format!("{} in {steps} steps from the record", count(recalled, "call"));
        }
        let mark = Mark::Recalled.glyph(&self.style);
        let line = Line::new().with(Tone::Dim, format!("{mark} {text}"));
        if inside == 0 && lane_key(name).is_none() {
            self.space(out);
        }
        self.laid_in(lane_key(name), inside * 2, line, 2, None, out);
        self.blank = false;
    }

    fn flush_all(&mut self, out: &mut Vec<Line>) {
        let names: Vec<String> = self.lanes.keys().cloned().collect();
        for name in names {
            self.flush(&name, out);
        }
    }

    fn timed(&mut self, event: &Event) {
        let step = self.lanes.get_mut(&event.lane).and_then(|lane| lane.steps.last_mut());
        if let Some(step) = step {
            step.timed += 1;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    fn call_ended(
        &mut self,
        event: &Event,
        call: &str,
        summary: &str,
        end: &CallEnd,
        result: Option<&str>,
        took_ms: u64,
        out: &mut Vec<Line>,
    ) {
        let at = self.running.iter().position(|one| one.call == call);
        let running = at.map(|at| self.running.remove(at));
        if matches!(end, CallEnd::Recalled) && !self.style.verbose {
            let lane = self.lanes.entry(event.lane.clone()).or_default();
            lane.recalled += 1;
            lane.recalled_steps.insert(event.step.clone());
            for step in &mut lane.steps {
                step.recalled = true;
            }
            return;
        }
        self.approach(event, out);
        let took = took(took_ms);
        if took.is_some() {
            self.timed(event);
        }
        let access = running.as_ref().map_or(Access::Change, |one| one.access);
        let (mark, tone) = match (end, access) {
            (CallEnd::Done, Access::Read) | (CallEnd::Already, _) => (Mark::Nothing, Tone::Dim),
            (CallEnd::Done, Access::Ask) => (Mark::Asked, Tone::Info),
            (CallEnd::Recalled, _) => (Mark::Recalled, Tone::Dim),
            (CallEnd::Failed(_), _) => (Mark::Failed, Tone::Bad),
            (CallEnd::Stopped(_), _) => (Mark::Stopped, Tone::Warn),
            (CallEnd::Done, _) if self.is_undo(event) => (Mark::Undone, Tone::Good),
            (CallEnd::Done, _) => (Mark::Done, Tone::Good),
        };
        let aside =
            if mark == Mark::Nothing || mark == Mark::Recalled { Tone::Dim } else { Tone::Plain };
        let mut line = Line::new().with(tone, mark.glyph(&self.style)).with(Tone::Plain, " ");
        line.push(aside, summary);
        line.push(Tone::Dim, &self.on(event));
        let already = matches!(end, CallEnd::Already).then_some("already so");
        for words in already.into_iter().chain(result) {
            line.push(Tone::Dim, self.style.dot());
            line.push(if access == Access::Ask { Tone::Strong } else { Tone::Dim }, words);
        }
        self.row(event, line, 2, took, out);
        if let (Some(running), false) = (&running, self.style.verbose) {
            let output: Vec<_> = running.output.iter().cloned().collect();
            self.output(event, &output, running.lines - output.len(), out);
        }
        match end {
            CallEnd::Failed(failure) => {
                let line = Line::new().with(Tone::Plain, "  ").with(Tone::Bad, &failure.message);
                self.row(event, line, 4, None, out);
            }
            CallEnd::Stopped(why) => {
                let line = Line::new().with(Tone::Plain, "  ").with(Tone::Warn, why);
                self.row(event, line, 4, None, out);
            }
            _ => {}
        }
        let after = self.lanes.get_mut(&event.lane).map(|lane| std::mem::take(&mut lane.after));
        for line in after.into_iter().flatten() {
            self.row(event, line, 4, None, out);
        }
    }

    fn debt_opened(&mut self, event: &Event, what: &str, locks_out: bool, out: &mut Vec<Line>) {
        let mut line = Line::new().with(Tone::Plain, "  ");
        line.push(Tone::Warn, "owed");
        line.push(Tone::Plain, &format!(": {what}"));
        if locks_out && self.lockouts.open(&event.target, what, event.at) {
            line.push(Tone::Dim, self.style.dot());
            let text = format!("users are locked out from {}", self.style.time(event.at));
            line.push(Tone::Warn, &text);
        }
        // It is told before the call ends that opens it, and belongs below that.
        if self.running.iter().any(|one| one.lane == event.lane) {
            self.lanes.entry(event.lane.clone()).or_default().after.push(line);
        } else {
            self.approach(event, out);
            self.row(event, line, 4, None, out);
        }
    }

    fn debt_closed(&mut self, event: &Event, what: &str, locks_out: bool, out: &mut Vec<Line>) {
        self.approach(event, out);
        let mut line = Line::new().with(Tone::Plain, "  ");
        line.push(Tone::Good, "met");
        line.push(Tone::Plain, &format!(": {what}"));
        if locks_out && let Some(out) = self.lockouts.close(&event.target, what, event.at) {
            line.push(Tone::Dim, self.style.dot());
            let text = format!("users are in again, after {}", say_duration(out));
            line.push(Tone::Good, &text);
        }
        self.row(event, line, 4, None, out);
    }

    fn run_ended(&mut self, event: &Event, out: &mut Vec<Line>) {
        let What::RunEnded { status, message, failure, downtime_ms, took_ms, debts, next } =
            &event.what
        else {
            return;
        };
        self.flush_all(out);
        self.running.clear();
        if let Some(failure) = failure {
            self.space(out);
            out.extend(self.diagnose(failure));
        }
        self.space(out);
        if *status == Status::Planned || (self.planning && failure.is_none()) {
            out.extend(std::mem::take(&mut self.tally).summary(&self.style));
            return;
        }
        let (tone, mark) = match status {
            Status::Done => (Tone::Good, Mark::Done),
            Status::Paused | Status::Running => (Tone::Info, Mark::Waits),
            Status::RolledBack => (Tone::Warn, Mark::Undone),
            _ => (Tone::Bad, Mark::Failed),
        };
        let head = format!("{} {}", mark.glyph(&self.style), status.as_str());
        let mut line = Line::new().with(tone, head);
        if !message.is_empty() {
            line.push(Tone::Plain, self.style.dot());
            line.push(Tone::Plain, message);
        }
        out.extend(self.laid(line, 2, None));
        let fact = |name: &str, tone: Tone, value: &str| {
            Line::new().with(Tone::Dim, format!("  {name:<12}")).with(tone, value)
        };
        let time = |ms: u64| say_duration(Duration::from_millis(ms));
        if *downtime_ms > 0 {
            let still = if self.lockouts.since.is_some() { ", and still are" } else { "" };
            let text = format!("{}{still}", time(*downtime_ms));
            let tone = if still.is_empty() { Tone::Plain } else { Tone::Warn };
            out.extend(self.laid(fact("users out", tone, &text), 14, None));
        }
        out.push(fact("took", Tone::Plain, &time(*took_ms)));
        for (at, debt) in debts.iter().enumerate() {
            let name = if at == 0 { "still owed" } else { "" };
            out.extend(self.laid(fact(name, Tone::Warn, debt), 14, None));
        }
        if let Some(next) = next {
            // A command is never broken: it is there to be copied.
            out.push(fact("next", Tone::Strong, next));
        }
    }

    fn diagnose(&self, failure: &Failure) -> Vec<Line> {
        let nothing = |_: &str| None;
        let text = match &self.sources {
            Some(lookup) => diagnostic::failure(&self.style, failure, &|name| lookup(name), None),
            None => diagnostic::failure(&self.style, failure, &nothing, None),
        };
        text.lines().map(Line::raw).collect()
    }

    /// Returns what goes on now, if anything does and this is a terminal.
    pub fn live(&self, now: Timestamp) -> Option<LiveLines> {
        if !self.style.live || self.run.is_none() {
            return None;
        }
        let mut lines = Vec::new();
        for running in self.running.iter().take(LIVE) {
            let own = lane_key(&running.lane);
            let depth = self.depth(&running.lane);
            let head = self.head(own, depth * 2);
            let on = self.on_target(&running.lane, &running.target);
            lines.extend(running.live(&self.style, now, &head, &on));
        }
        if let Some(more) = self.running.len().checked_sub(LIVE).filter(|more| *more > 0) {
            lines.push(
                Line::new()
                    .with(Tone::Dim, format!("  {} {more} more", self.style.pick("…", "..."))),
            );
        }
        if lines.is_empty() {
            return None;
        }
        let mut last = Line::new().with(Tone::Plain, "  ");
        if let Some(out) = self.lockouts.now(now) {
            last.push(Tone::Warn, &format!("users locked out for {}", clock(out)));
            last.push(Tone::Dim, self.style.dot());
        }
        last.push(Tone::Dim, &format!("run {}", clock(between(self.began, now))));
        lines.push(last.cut(self.style.width, self.style.pick("…", "...")));
        Some(LiveLines { lines })
    }

    /// Returns the lines that a pipe should have of calls that run for long and say nothing.
    pub fn still(&mut self, now: Timestamp) -> Vec<Line> {
        if self.style.live {
            return Vec::new();
        }
        let mut told = Vec::new();
        for running in &mut self.running {
            if let Some(words) = running.plain(now) {
                told.push((running.lane.clone(), running.summary.clone(), running.began, words));
            }
        }
        let mut out = Vec::new();
        for (lane, summary, began, words) in told {
            let line = self.going(&summary, &words);
            let right = Some(clock(between(began, now)));
            self.laid_in(lane_key(&lane), self.depth(&lane) * 2, line, 2, right, &mut out);
        }
        out
    }

    fn going(&self, summary: &str, words: &[String]) -> Line {
        let mut line = Line::new().with(Tone::Dim, Mark::Waits.glyph(&self.style));
        line.push(Tone::Dim, &format!(" {summary}"));
        for words in words {
            line.push(Tone::Dim, self.style.dot());
            line.push(Tone::Dim, words);
        }
        line
    }

    fn output(
        &mut self,
        event: &Event,
        lines: &[(bool, String)],
        before: usize,
        out: &mut Vec<Line>,
    ) {
        let bar = self.style.pick("│ ", "| ");
        if before > 0 {
            let text =
                format!("  {} {}", self.style.pick("…", "..."), count(before, "earlier line"));
            self.row(event, Line::new().with(Tone::Dim, text), 4, None, out);
        }
        for (error, text) in lines {
            let tone = if *error { Tone::Err } else { Tone::Dim };
            let line = Line::new().with(Tone::Plain, "  ").with(Tone::Dim, bar).with(tone, text);
            self.row(event, line, 4, None, out);
        }
    }

    fn rule(&self, text: &str, tone: Tone) -> Option<Line> {
        let dash = self.style.pick("━", "=");
        let text = format!("{} {text} ", dash.repeat(3));
        let line = Line::new().with(tone, &text);
        let rest = self.style.right_edge().saturating_sub(line.width());
        Some(line.with(tone, dash.repeat(rest)))
    }

    fn is_undo(&self, event: &Event) -> bool {
        self.undoing || event.lane.starts_with("undo ")
    }

    /// Says the target where it is not plain from the rest of the line.
    fn on(&self, event: &Event) -> String {
        self.on_target(&event.lane, &event.target)
    }

    fn on_target(&self, lane: &str, target: &str) -> String {
        let only = matches!(self.targets.as_slice(), [one] if one == target);
        let said = lane_key(lane) == Some(target);
        let nowhere = self.targets.is_empty() && target == "local";
        if only || said || nowhere { String::new() } else { format!(" on {target}") }
    }

    fn depth(&self, lane: &str) -> usize {
        if lane.starts_with("undo ") {
            return 1;
        }
        self.lanes.get(lane).map_or(0, |lane| lane.steps.iter().filter(|step| step.said).count())
    }

    fn space(&mut self, out: &mut Vec<Line>) {
        let blank = out.last().map_or(self.blank, Line::is_empty);
        if !blank {
            out.push(Line::new());
        }
    }

    fn head(&self, own: Option<&str>, indent: usize) -> Line {
        let mut head = Line::new();
        if let Some(own) = own {
            let bar = self.style.pick("│", "|");
            head.push(Tone::Info, &format!("{own:<width$}", width = self.prefix.max(own.len())));
            head.push(Tone::Dim, &format!(" {bar} "));
        }
        head.push(Tone::Plain, &" ".repeat(indent));
        head
    }

    fn row(
        &mut self,
        event: &Event,
        line: Line,
        hang: usize,
        right: Option<String>,
        out: &mut Vec<Line>,
    ) {
        let indent = self.depth(&event.lane) * 2;
        self.laid_in(lane_key(&event.lane), indent, line, hang, right, out);
    }

    fn laid_in(
        &mut self,
        own: Option<&str>,
        indent: usize,
        line: Line,
        hang: usize,
        right: Option<String>,
        out: &mut Vec<Line>,
    ) {
        if own.is_some() {
            // Names of lanes are those of targets, all known from the start, if they are not made up by the runbook.
            let known = self.targets.iter().map(String::len).max().unwrap_or(0).min(16);
            self.prefix = self.prefix.max(known).max(own.map_or(0, str::len)).min(24);
        }
        let head = self.head(own, indent);
        let edge = self.style.right_edge();
        let reserve = right.as_ref().map_or(0, |right| right.chars().count() + 2);
        let room = edge.saturating_sub(head.width() + reserve).max(20);
        let lines = if self.style.live { line.wrap(room, hang) } else { vec![line] };
        for (at, line) in lines.into_iter().enumerate() {
            let mut full = head.clone();
            for (tone, text) in line.pieces() {
                full.push(*tone, text);
            }
            out.push(full.right(right.clone().filter(|_| at == 0), edge));
        }
    }

    fn laid(&mut self, line: Line, hang: usize, right: Option<String>) -> Vec<Line> {
        let mut out = Vec::new();
        self.laid_in(None, 0, line, hang, right, &mut out);
        out
    }
}

/// Returns the name of a parallel lane among its siblings; the main lane and those that undo have none.
fn lane_key(lane: &str) -> Option<&str> {
    if lane.starts_with("undo ") || !lane.contains(" > each ") {
        return None;
    }
    lane.rsplit(" > ").next()
}

#[cfg(test)]
mod tests;
