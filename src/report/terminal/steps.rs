//! Runs and steps: headings, said when something happens in them, and what comes from the record, folded.

use super::super::line::{Line, Tone};
use super::super::style::Mark;
use super::super::words::{count, took};
use super::{Step, Terminal, lane_key};
use crate::event::Event;

impl Terminal {
    pub(super) fn run_began(
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
        self.planning = matches!(mode, "plan" | "rollback plan");
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
        let mut heading = self.laid(line, 2, Some(self.style.date(event.at)));
        let does = match mode {
            "plan" => format!("plan of {runbook}"),
            "resume" => format!("resumes run {}", event.run),
            "rollback" => format!("rolls back run {}", event.run),
            "rollback plan" => format!("plan of rolling back run {}", event.run),
            _ => format!("run {}", event.run),
        };
        let mut line = Line::new().with(Tone::Plain, does);
        if !targets.is_empty() {
            line.push(Tone::Plain, &format!(" on {}", self.names(targets)));
        }
        line.push(Tone::Dim, self.style.dot());
        line.push(
            Tone::Dim,
            if self.planning { "reads for real, changes nothing" } else { runbook },
        );
        heading.extend(self.laid(line, 2, None));
        heading.push(Line::new());
        if runbook == "-e" && mode == "run" && !self.style.verbose {
            self.heading = Some(heading);
        } else {
            out.extend(heading);
        }
    }

    pub(super) fn step_began(&mut self, event: &Event) {
        let state = self.lanes.entry(event.lane.clone()).or_default();
        let path = event.step.clone();
        state.steps.push(Step { path, at: event.at, said: false, timed: 0, recalled: false });
    }

    pub(super) fn step_ended(
        &mut self,
        event: &Event,
        ok: bool,
        took_ms: u64,
        out: &mut Vec<Line>,
    ) {
        let Some(state) = self.lanes.get_mut(&event.lane) else { return };
        let Some(at) = state.steps.iter().rposition(|step| step.path == event.step) else { return };
        let (said, recalled, timed) = {
            let step = &state.steps[at];
            (step.said, step.recalled, step.timed)
        };
        if said {
            self.flush(&event.lane, out);
        }
        if !said && !recalled {
            self.approach(event, out);
            if ok {
                let line = Line::new().with(Tone::Dim, "nothing to do");
                self.row(event, line, 0, None, out);
            }
        } else if said
            && timed > 1
            && let Some(took) = took(took_ms)
        {
            let right = format!("{} {took}", self.style.pick("Σ", "="));
            self.row(event, Line::new(), 0, Some(right), out);
        }
        if let Some(state) = self.lanes.get_mut(&event.lane) {
            let ended = state.steps.split_off(at);
            if recalled {
                // Its enclosing step counts as recalled as well, so that it is not called empty.
                if let Some(outer) = state.steps.last_mut() {
                    outer.recalled = true;
                }
            }
            drop(ended);
        }
    }

    /// Says everything that must be said before a line of this lane: recalled calls, headings of its steps.
    pub(super) fn approach(&mut self, event: &Event, out: &mut Vec<Line>) {
        let lanes: Vec<String> = self
            .lanes
            .keys()
            .filter(|name| {
                **name == event.lane
                    || (*name == "undo" && event.lane.starts_with("undo "))
                    || event
                        .lane
                        .strip_prefix(name.as_str())
                        .is_some_and(|rest| rest.starts_with(" > each "))
            })
            .cloned()
            .collect();
        for name in lanes {
            self.flush(&name, out);
            let Some(state) = self.lanes.get_mut(&name) else { continue };
            let mut headings = Vec::new();
            for (depth, step) in state.steps.iter_mut().enumerate() {
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
    pub(super) fn flush(&mut self, name: &str, out: &mut Vec<Line>) {
        let Some(state) = self.lanes.get_mut(name) else { return };
        let recalled = std::mem::take(&mut state.recalled);
        let steps = std::mem::take(&mut state.recalled_steps).len();
        if recalled == 0 {
            return;
        }
        let inside = state.steps.iter().filter(|step| step.said).count();
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

    pub(super) fn flush_all(&mut self, out: &mut Vec<Line>) {
        let names: Vec<String> = self.lanes.keys().cloned().collect();
        for name in names {
            self.flush(&name, out);
        }
    }

    pub(super) fn timed(&mut self, event: &Event) {
        let step = self.lanes.get_mut(&event.lane).and_then(|state| state.steps.last_mut());
        if let Some(step) = step {
            step.timed += 1;
        }
    }
}
