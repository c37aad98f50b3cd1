//! What a plan says: of each call what it would do and whether there is a way back, and at the end what that sums up to.

use super::line::{Line, Tone};
use super::style::{Mark, Style};
use super::words::count;
use crate::event::{PlanState, Planned};

/// How many changes of one call are listed, unless everything is wanted.
const LISTED: usize = 12;

/// What the plan has come to so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    changes: usize,
    already: usize,
    waits: usize,
    asks: usize,
    /// Whether it says how anything would be undone.
    undoes: bool,
    /// How many of what is taken back would meet what somebody changed since.
    drifted: usize,
    /// What cannot be undone.
    final_ones: Vec<String>,
    /// How many changes stood before the point of no return, where there is one.
    before_no_return: Option<usize>,
    /// Notes, and warnings, in their order.
    notes: Vec<(bool, String)>,
}

impl Tally {
    pub(super) fn note(&mut self, warning: bool, text: &str) {
        let note = (warning, text.to_owned());
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// From here on nothing is undone on its own.
    pub(super) fn no_return(&mut self) {
        self.before_no_return.get_or_insert(self.changes);
    }

    /// Counts a call, and returns its lines, to be indented.
    pub(super) fn call(
        &mut self,
        style: &Style,
        summary: &str,
        on: &str,
        planned: &Planned,
    ) -> Vec<Line> {
        let (mark, tone) = match planned.state {
            PlanState::Would => (Mark::Would, Tone::Info),
            PlanState::Already => (Mark::Nothing, Tone::Dim),
            PlanState::Waits => (Mark::Waits, Tone::Info),
            PlanState::Asks => (Mark::Asked, Tone::Info),
        };
        let mut line = Line::new().with(tone, mark.glyph(style)).with(Tone::Plain, " ");
        match planned.state {
            PlanState::Already => {
                self.already += 1;
                line.push(Tone::Dim, summary);
                line.push(Tone::Dim, on);
                line.push(Tone::Dim, style.dot());
                line.push(Tone::Dim, "already so");
            }
            state => {
                line.push(Tone::Plain, summary);
                line.push(Tone::Dim, on);
                match state {
                    PlanState::Waits => self.waits += 1,
                    PlanState::Asks => self.asks += 1,
                    _ => self.changes += 1,
                }
            }
        }
        let mut lines = vec![line];
        let shown = if style.verbose { usize::MAX } else { LISTED };
        for change in planned.changes.iter().take(shown) {
            lines.push(Line::new().with(Tone::Plain, "    ").with(Tone::Plain, change));
        }
        if let Some(more) = planned.changes.len().checked_sub(shown).filter(|more| *more > 0) {
            let text = format!("    {} {more} more", style.pick("…", "..."));
            lines.push(Line::new().with(Tone::Dim, text));
        }
        if let Some(drift) = &planned.drift {
            self.drifted += 1;
            let line = Line::new().with(Tone::Plain, "    ").with(Tone::Warn, "changed since");
            lines.push(line.with(Tone::Plain, format!(" by somebody: {drift}")));
        }
        if let Some(undo) = &planned.undo {
            self.undoes = true;
            let tone = if undo.starts_with("cannot be undone") {
                self.final_ones.push(summary.to_owned());
                Tone::Warn
            } else {
                Tone::Dim
            };
            lines.push(Line::new().with(Tone::Plain, "    ").with(tone, undo));
        }
        lines
    }

    /// What it sums up to.
    pub(super) fn summary(&self, style: &Style) -> Vec<Line> {
        let mut parts = vec![count(self.changes, "change"), format!("{} already so", self.already)];
        for (number, noun) in [(self.waits, "wait"), (self.asks, "question")] {
            if number > 0 {
                parts.push(count(number, noun));
            }
        }
        let mut first = Line::new().with(Tone::Strong, "plan").with(Tone::Plain, "  ");
        first.push(Tone::Plain, &parts.join(", "));
        let mut lines = vec![first];
        if self.final_ones.is_empty() {
            let text = match self.before_no_return {
                None => "      everything can be undone",
                Some(0) => {
                    "      after the point of no return nothing is undone on its own: the operator decides"
                }
                Some(_) => {
                    "      everything before the point of no return can be undone; after it the operator decides"
                }
            };
            if self.undoes {
                lines.push(Line::new().with(Tone::Plain, text));
            }
        } else {
            let text = format!("      {} cannot be undone: ", self.final_ones.len());
            lines.push(
                Line::new().with(Tone::Warn, text).with(Tone::Plain, self.final_ones.join(", ")),
            );
        }
        if self.drifted > 0 {
            let text = "      somebody changed what a rollback would meet: it asks, and keeps what it finds";
            lines.push(Line::new().with(Tone::Warn, text));
        }
        for (warning, text) in &self.notes {
            let (tone, word) =
                if *warning { (Tone::Warn, "warning") } else { (Tone::Info, "note") };
            let line = Line::new().with(Tone::Plain, "      ").with(tone, word);
            lines.push(line.with(Tone::Plain, format!(": {text}")));
        }
        lines.push(Line::new().with(Tone::Good, "      nothing was changed"));
        lines
            .into_iter()
            .flat_map(|line| if style.live { line.wrap(style.right_edge(), 8) } else { vec![line] })
            .collect()
    }
}
