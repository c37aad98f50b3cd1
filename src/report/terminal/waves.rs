//! Waves of lanes: who goes now, and what they came to.

use super::super::line::{Line, Tone};
use super::Terminal;
use crate::event::{Event, What};
use crate::units::say_names;

impl Terminal {
    pub(super) fn wave(&mut self, event: &Event, out: &mut Vec<Line>) {
        let (What::WaveBegan { number, of, .. } | What::WaveEnded { number, of, .. }) = &event.what
        else {
            return;
        };
        self.approach(event, out);
        let mut line = Line::new().with(Tone::Strong, format!("wave {number} of {of}"));
        match &event.what {
            What::WaveBegan { items, .. } => {
                self.space(out);
                line.push(Tone::Plain, self.style.dot());
                line.push(Tone::Plain, &self.names(items));
            }
            What::WaveEnded { done, failed, waits, .. } => {
                line.push(Tone::Plain, " is over");
                line.push(Tone::Plain, self.style.dot());
                line.push(if *done > 0 { Tone::Good } else { Tone::Dim }, &format!("{done} done"));
                for (names, word, tone) in
                    [(failed, "failed", Tone::Bad), (waits, "in a wait", Tone::Warn)]
                {
                    if !names.is_empty() {
                        line.push(tone, &format!(", {} {word}", names.len()));
                        line.push(Tone::Plain, &format!(" ({})", self.names(names)));
                    }
                }
            }
            _ => {}
        }
        let time = (!self.planning).then(|| self.style.time(event.at));
        self.row(event, line, 2, time, out);
    }

    pub(super) fn names(&self, names: &[String]) -> String {
        if self.style.verbose { names.join(", ") } else { say_names(names) }
    }
}
