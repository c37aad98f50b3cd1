//! Calls, what they switch off and on, and how it all ended.

use std::time::Duration;

use super::super::diagnostic;
use super::super::line::{Line, Tone};
use super::super::style::Mark;
use super::super::words::took;
use super::Terminal;
use crate::call::Access;
use crate::error::Failure;
use crate::event::{CallEnd, Event, Status, What};
use crate::units::say_duration;

impl Terminal {
    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    pub(super) fn call_ended(
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
        let told = [" / point_of_no_return #", " / wave #", " / wave_over #"];
        if told.iter().any(|name| call.contains(name)) && matches!(end, CallEnd::Done) {
            // A line of its own says it.
            return;
        }
        if matches!(end, CallEnd::Recalled) && !self.style.verbose {
            // Each undo is a lane of its own, and not worth a line.
            let undo = event.lane.starts_with("undo ");
            let name = if undo { "undo".to_owned() } else { event.lane.clone() };
            let lane = self.lanes.entry(name).or_default();
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
        // How the others go on is no business of one target.
        if !call.contains(" / rolling_") {
            line.push(Tone::Dim, &self.on(event));
        }
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

    pub(super) fn debt_opened(
        &mut self,
        event: &Event,
        what: &str,
        locks_out: bool,
        out: &mut Vec<Line>,
    ) {
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

    pub(super) fn debt_closed(
        &mut self,
        event: &Event,
        what: &str,
        locks_out: bool,
        out: &mut Vec<Line>,
    ) {
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

    pub(super) fn run_ended(&mut self, event: &Event, out: &mut Vec<Line>) {
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
        // The message stands alone elsewhere, and may begin with what the head says.
        let said = message.strip_prefix(status.as_str()).unwrap_or(message);
        let said = said.trim_start_matches([';', ',', ' ']);
        if !said.is_empty() {
            line.push(Tone::Plain, self.style.dot());
            line.push(Tone::Plain, said);
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

    pub(super) fn diagnose(&self, failure: &Failure) -> Vec<Line> {
        let nothing = |_: &str| None;
        let text = match &self.sources {
            Some(lookup) => diagnostic::failure(&self.style, failure, &|name| lookup(name), None),
            None => diagnostic::failure(&self.style, failure, &nothing, None),
        };
        text.lines().map(Line::raw).collect()
    }
}
