//! How lines are laid: prefix of the lane, indentation, breaks, the column of times.

use super::super::line::{Line, Tone};
use super::super::style::Mark;
use super::super::words::count;
use super::{Terminal, lane_key};
use crate::event::Event;

impl Terminal {
    pub(super) fn going(&self, summary: &str, words: &[String]) -> Line {
        let mut line = Line::new().with(Tone::Dim, Mark::Waits.glyph(&self.style));
        line.push(Tone::Dim, &format!(" {summary}"));
        for words in words {
            line.push(Tone::Dim, self.style.dot());
            line.push(Tone::Dim, words);
        }
        line
    }

    pub(super) fn output(
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

    pub(super) fn rule(&self, text: &str, tone: Tone) -> Line {
        let dash = self.style.pick("━", "=");
        let text = format!("{} {text} ", dash.repeat(3));
        let line = Line::new().with(tone, &text);
        let rest = self.style.right_edge().saturating_sub(line.width());
        line.with(tone, dash.repeat(rest))
    }

    pub(super) fn is_undo(&self, event: &Event) -> bool {
        self.undoing || event.lane.starts_with("undo ")
    }

    /// Says the target where it is not plain from the rest of the line.
    pub(super) fn on(&self, event: &Event) -> String {
        self.on_target(&event.lane, &event.target)
    }

    pub(super) fn on_target(&self, lane: &str, target: &str) -> String {
        let only = matches!(self.targets.as_slice(), [one] if one == target);
        let said = lane_key(lane) == Some(target);
        let nowhere = self.targets.is_empty() && target == "local";
        if only || said || nowhere { String::new() } else { format!(" on {target}") }
    }

    pub(super) fn depth(&self, lane: &str) -> usize {
        if lane.starts_with("undo ") {
            return 1;
        }
        self.lanes.get(lane).map_or(0, |lane| lane.steps.iter().filter(|step| step.said).count())
    }

    pub(super) fn space(&mut self, out: &mut Vec<Line>) {
        let blank = out.last().map_or(self.blank, Line::is_empty);
        if !blank {
            out.push(Line::new());
        }
    }

    pub(super) fn head(&self, own: Option<&str>, indent: usize) -> Line {
        let mut head = Line::new();
        if let Some(own) = own {
            let bar = self.style.pick("│", "|");
            head.push(Tone::Info, &format!("{own:<width$}", width = self.prefix.max(own.len())));
            head.push(Tone::Dim, &format!(" {bar} "));
        }
        head.push(Tone::Plain, &" ".repeat(indent));
        head
    }

    pub(super) fn row(
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

    pub(super) fn laid_in(
        &mut self,
        own: Option<&str>,
        indent: usize,
        line: Line,
        hang: usize,
        mut right: Option<String>,
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
            out.push(full.right(if at == 0 { right.take() } else { None }, edge));
        }
    }

    pub(super) fn laid(&mut self, line: Line, hang: usize, right: Option<String>) -> Vec<Line> {
        let mut out = Vec::new();
        self.laid_in(None, 0, line, hang, right, &mut out);
        out
    }
}
