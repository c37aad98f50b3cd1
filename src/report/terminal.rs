//! The event stream as a tree for the terminal: steps as headings, a line for each call, what is owed, the clock of the
//! lock-out, and how it ended. Durations and times stand in a column of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::line::{Line, Tone};
use super::live::{LiveLines, Running};
use super::plan::Tally;
use super::style::Style;
use super::words::{ago, between, clock, count};
use crate::call::Access;
use crate::event::{CallEnd, DeadmanState, Event, Status, What};
use crate::journal::DebtRow;

/// How many lines of a command's output are shown once it has ended.
const OUTPUT: usize = 5;
/// How many calls are shown at once while they run.
const LIVE: usize = 8;

mod calls;
mod layout;
mod lockouts;
mod steps;
mod waves;

use lockouts::Lockouts;

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
    /// The heading of a run of a line of code, until it does more than read and print: then its output is all there is.
    heading: Option<Vec<Line>>,
    /// The heading of an undo, until something is undone.
    undo: Option<(String, Timestamp)>,
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
            heading: None,
            undo: None,
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

    /// Takes users as let in by somebody else: nothing of this run locks them out any more.
    pub(super) fn let_in(&mut self) {
        self.lockouts.since = None;
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

    /// Returns whether nothing was told but what the script printed: a line of code that only read.
    pub fn is_quiet(&self) -> bool {
        self.heading.is_some()
    }

    /// Says the headings that were kept back, once an event shows that they are wanted. Returns whether it is told too.
    fn wanted(&mut self, event: &Event, out: &mut Vec<Line>) -> bool {
        match &event.what {
            What::UndoEnded { done: 0, failed: 0 } if self.undo.take().is_some() => {
                self.undoing = false;
                return false;
            }
            What::RunEnded { .. } => {}
            _ => {
                if let Some((why, at)) = self.undo.take() {
                    self.say_heading(out);
                    self.space(out);
                    let mut line = Line::new().with(Tone::Warn, "undo");
                    line.push(Tone::Plain, self.style.dot());
                    line.push(Tone::Plain, &why);
                    out.extend(self.laid(line, 2, Some(self.style.time(at))));
                }
            }
        }
        if self.heading.is_none() {
            return true;
        }
        match &event.what {
            What::Printed { .. }
            | What::Note { .. }
            | What::Warning { .. }
            | What::UndoBegan { .. }
            | What::CallBegan { access: Access::Read, .. }
            | What::CallProgress { .. }
            | What::Output { .. } => true,
            What::CallEnded { call, end, .. } => {
                let reads = |one: &Running| one.call == *call && one.access == Access::Read;
                if self.running.iter().any(reads) && !matches!(end, CallEnd::Stopped(_)) {
                    self.running.retain(|one| one.call != *call);
                    return false;
                }
                self.say_heading(out);
                true
            }
            What::RunEnded { status: Status::Done | Status::RolledBack, .. } => false,
            _ => {
                self.say_heading(out);
                true
            }
        }
    }

    fn say_heading(&mut self, out: &mut Vec<Line>) {
        if let Some(heading) = self.heading.take() {
            self.space(out);
            out.extend(heading);
        }
    }

    fn take(&mut self, event: &Event, out: &mut Vec<Line>) {
        if !self.wanted(event, out) {
            return;
        }
        match &event.what {
            What::RunBegan { title, runbook, targets, mode } => {
                self.run_began(event, title, runbook, targets, mode, out);
            }
            What::StepBegan => self.step_began(event),
            What::StepEnded { ok, took_ms } => self.step_ended(event, *ok, *took_ms, out),
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
                let drawn = self.style.live;
                let Some(running) = self.running.iter_mut().find(|one| one.call == *call) else {
                    return;
                };
                running.progressed(event.at, progress);
                if let (false, Some(words)) = (drawn, running.plain(event.at)) {
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
            What::Printed { text } => {
                self.approach(event, out);
                for text in text.lines() {
                    self.row(event, Line::new().with(Tone::Plain, text), 2, None, out);
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
            What::Deadman { what, state } => {
                self.approach(event, out);
                let warning = matches!(state, DeadmanState::Fired { .. } | DeadmanState::Gone);
                let text = state.say(what);
                if warning {
                    self.tally.note(true, &text);
                }
                let (tone, word) =
                    if warning { (Tone::Warn, "warning") } else { (Tone::Info, "note") };
                let line = Line::new().with(tone, word).with(Tone::Plain, format!(": {text}"));
                self.row(event, line, 2, None, out);
            }
            What::DebtOpened { what, locks_out } => self.debt_opened(event, what, *locks_out, out),
            What::DebtClosed { what, locks_out } => self.debt_closed(event, what, *locks_out, out),
            What::WaveBegan { .. } | What::WaveEnded { .. } => self.wave(event, out),
            What::PointOfNoReturn { why } => {
                self.tally.no_return();
                self.approach(event, out);
                self.space(out);
                out.push(self.rule("point of no return", Tone::Warn));
                let line = Line::new().with(Tone::Plain, why);
                self.row(event, line, 0, Some(self.style.time(event.at)), out);
            }
            What::UndoBegan { why } => {
                self.flush_all(out);
                self.undoing = true;
                self.undo = Some((why.clone(), event.at));
            }
            What::UndoEnded { done, failed } => {
                self.undoing = false;
                let mut line = Line::new().with(Tone::Plain, "  ");
                let number = count(usize::try_from(*done).unwrap_or_default(), "change");
                let tone = if *done > 0 { Tone::Good } else { Tone::Dim };
                line.push(tone, &format!("{number} undone"));
                if *failed > 0 {
                    line.push(Tone::Bad, &format!(", {failed} failed"));
                }
                out.push(line);
            }
            What::RunEnded { .. } => self.run_ended(event, out),
        }
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
