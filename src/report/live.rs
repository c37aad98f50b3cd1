//! What goes on right now: a line or two for each running call, redrawn many times a second, and its plain form for
//! pipes and files.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use super::line::{Line, Tone};
use super::style::Style;
use super::words::{between, clock, part};
use crate::call::Access;
use crate::error::Place;
use crate::event::Progress;
use crate::units::{say_duration, say_size};

/// Over how long the rate is measured.
const SPAN: Duration = Duration::from_secs(10);
/// How often a pipe hears of progress.
const EVERY: Duration = Duration::from_secs(10);
/// How often a pipe hears of a call that tells no progress.
const STILL: Duration = Duration::from_secs(60);

/// The lines below everything that was said, replaced by the next ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveLines {
    /// From top to bottom; none is wider than the terminal.
    pub lines: Vec<Line>,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) call: String,
    pub(super) lane: String,
    pub(super) target: String,
    pub(super) summary: String,
    pub(super) access: Access,
    pub(super) place: Option<Place>,
    pub(super) began: Timestamp,
    progress: Option<(Timestamp, Progress)>,
    samples: VecDeque<(Timestamp, u64)>,
    /// The last lines of output, and whether each is standard error.
    pub(super) output: VecDeque<(bool, String)>,
    /// How many lines there were in all.
    pub(super) lines: usize,
    /// When a pipe heard of it last.
    said: Timestamp,
    silent: bool,
}

impl Running {
    pub(super) fn new(
        call: &str,
        lane: &str,
        target: &str,
        summary: &str,
        access: Access,
        place: Option<Place>,
        began: Timestamp,
    ) -> Self {
        Self {
            call: call.to_owned(),
            lane: lane.to_owned(),
            target: target.to_owned(),
            summary: summary.to_owned(),
            access,
            place,
            began,
            progress: None,
            samples: VecDeque::new(),
            output: VecDeque::new(),
            lines: 0,
            said: began,
            silent: true,
        }
    }

    pub(super) fn heard(&mut self, error: bool, line: &str, keep: usize) {
        self.lines += 1;
        self.output.push_back((error, line.to_owned()));
        if self.output.len() > keep {
            self.output.pop_front();
        }
    }

    pub(super) fn progressed(&mut self, at: Timestamp, progress: &Progress) {
        // A count that falls back belongs to another pass, and has its own rate.
        if self.samples.back().is_some_and(|(_, done)| *done > progress.done) {
            self.samples.clear();
        }
        self.samples.push_back((at, progress.done));
        while self.samples.len() > 2 && between(self.samples[1].0, at) > SPAN {
            self.samples.pop_front();
        }
        self.progress = Some((at, progress.clone()));
    }

    /// Units a second, once enough was seen.
    fn rate(&self, now: Timestamp) -> Option<f64> {
        let ((from, less), (to, more)) = (self.samples.front()?, self.samples.back()?);
        // A rate of long ago says nothing about now.
        if between(*to, now) > SPAN {
            return None;
        }
        let seconds = between(*from, *to).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "three figures are shown")]
        (seconds >= 1.0 && more > less).then(|| (more - less) as f64 / seconds)
    }

    /// How long it still takes, if that can be told.
    fn left(&self, now: Timestamp) -> Option<Duration> {
        let (at, progress) = self.progress.as_ref()?;
        let passed = between(*at, now);
        if let Some(seconds) = progress.eta_seconds {
            return Some(Duration::from_secs(seconds).saturating_sub(passed));
        }
        let todo = progress.total?.checked_sub(progress.done).filter(|todo| *todo > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "three figures are shown")]
        let seconds = todo as f64 / self.rate(now)?;
        Duration::try_from_secs_f64(seconds.min(1e7)).ok().map(|left| left.saturating_sub(passed))
    }

    /// The words on how far it is: amount, rate, time to go.
    fn words(&self, now: Timestamp) -> Vec<String> {
        let Some((_, progress)) = &self.progress else { return Vec::new() };
        let mut words = Vec::new();
        if progress.done > 0 || progress.total.is_some() {
            words.push(part(progress.done, progress.total, &progress.unit));
        }
        if let ("bytes", Some(rate)) = (progress.unit.as_str(), self.rate(now)) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate is positive and far below the limit"
            )]
            words.push(format!("{}/s", say_size(rate as u64)));
        }
        if let Some(left) = self.left(now).filter(|left| *left >= Duration::from_secs(1)) {
            words.push(format!("{} to go", say_duration(Duration::from_secs(left.as_secs()))));
        }
        words
    }

    /// How much of it is done, from 0 to 1.
    fn share(&self) -> Option<f64> {
        let (_, progress) = self.progress.as_ref()?;
        let total = progress.total.filter(|total| *total > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a bar has few cells")]
        Some((progress.done as f64 / total as f64).clamp(0.0, 1.0))
    }

    /// The live lines: what it does and how far it is; what it says.
    pub(super) fn live(&self, style: &Style, now: Timestamp, head: &Line, on: &str) -> Vec<Line> {
        let ellipsis = style.pick("…", "...");
        let passed = between(self.began, now);
        let clock = (passed >= Duration::from_secs(1)).then(|| clock(passed));
        let clock_width = clock.as_ref().map_or(0, |clock| clock.len() + 2);
        // What is told least urgently gives way first, so that the summary stays readable.
        let wanted = (head.width() + 2 + self.summary.width() + on.width()).min(style.width / 2);
        let room_for = |tail: &Line| style.width.saturating_sub(tail.width() + clock_width);
        let mut tail = self.tail(style, now, true, usize::MAX);
        for words in [3, 2, 1, 0] {
            if room_for(&tail) >= wanted {
                break;
            }
            tail = self.tail(style, now, false, words);
        }
        let room = room_for(&tail);

        let mark = if self.access == Access::Ask { "?" } else { spinner(style, now) };
        let mut first = head.clone().with(Tone::Info, mark).with(Tone::Plain, " ");
        first.push(Tone::Plain, &self.summary);
        first.push(Tone::Dim, on);
        let mut first = first.cut(room, ellipsis);
        for (tone, text) in tail.pieces() {
            first.push(*tone, text);
        }
        let first = first.right(clock, style.right_edge()).cut(style.width, ellipsis);

        let said = self
            .progress
            .as_ref()
            .map(|(_, progress)| (false, progress.message.clone()))
            .filter(|(_, message)| !message.is_empty())
            .or_else(|| self.output.back().cloned());
        let mut lines = vec![first];
        if let Some((error, said)) = said {
            let tone = if error { Tone::Err } else { Tone::Dim };
            let line = head.clone().with(Tone::Plain, "  ").with(tone, said.trim_end());
            lines.push(line.cut(style.width, ellipsis));
        }
        lines
    }

    /// What stands behind the summary: the bar, the share, and up to so many `words`.
    fn tail(&self, style: &Style, now: Timestamp, with_bar: bool, words: usize) -> Line {
        let mut tail = Line::new();
        if let Some(share) = self.share() {
            if with_bar {
                tail.push(Tone::Plain, "  ");
                bar(&mut tail, style, share, if style.width >= 100 { 20 } else { 10 });
            }
            tail.push(Tone::Plain, &format!("  {:>3.0}%", (share * 100.0).floor()));
        }
        let said = self.words(now);
        // Of the words the time to go, which is the last, stays longest.
        for words in &said[said.len().saturating_sub(words)..] {
            tail.push(Tone::Plain, "  ");
            tail.push(Tone::Dim, words);
        }
        tail
    }

    /// The plain words for a pipe, if it is time for some.
    pub(super) fn plain(&mut self, now: Timestamp) -> Option<Vec<String>> {
        let every = if self.progress.is_some() || self.silent { EVERY } else { STILL };
        if between(self.said, now) < every {
            return None;
        }
        (self.said, self.silent) = (now, false);
        let mut words = self.words(now);
        if let Some((_, progress)) = &self.progress
            && !progress.message.is_empty()
        {
            words.push(progress.message.clone());
        }
        if words.is_empty() {
            words.push("goes on".to_owned());
        }
        Some(words)
    }
}

fn spinner(style: &Style, now: Timestamp) -> &'static str {
    const BRAILLE: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
    const ASCII: [&str; 4] = ["|", "/", "-", "\\"];
    let tick = usize::try_from(now.as_millisecond().unsigned_abs() / 100).unwrap_or_default();
    if style.unicode { BRAILLE[tick % 10] } else { ASCII[tick % 4] }
}

fn bar(line: &mut Line, style: &Style, share: f64, cells: usize) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a few cells"
    )]
    let full = (share * cells as f64) as usize;
    line.push(Tone::Info, &style.pick("━", "#").repeat(full));
    line.push(Tone::Dim, &style.pick("─", ".").repeat(cells - full));
}
