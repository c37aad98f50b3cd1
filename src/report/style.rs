//! How text may look on this terminal.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What a terminal, or the file that stands in for it, can show.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent abilities of a terminal")]
pub struct Style {
    /// Whether ANSI colours are wanted.
    pub color: bool,
    /// Whether anything beyond ASCII can be shown.
    pub unicode: bool,
    /// The columns, from 60 to 200.
    pub width: usize,
    /// Whether everything is told: all output, all changes, the places of calls.
    pub verbose: bool,
    /// Whether it is a terminal with live lines. If not, lines are never broken, and progress becomes plain lines.
    pub live: bool,
    /// The zone in which times are said.
    pub zone: TimeZone,
}

impl Style {
    /// The style of a file or pipe: no colour, nothing live, 100 columns.
    pub fn plain() -> Self {
        Self {
            color: false,
            unicode: true,
            width: 100,
            verbose: false,
            live: false,
            zone: crate::zone::local(),
        }
    }

    /// Takes over a width, within bounds in which everything still reads well.
    #[must_use]
    pub fn with_width(mut self, width: usize) -> Self {
        self.width = width.clamp(60, 200);
        self
    }

    /// The column at which durations and times end: lines on wide screens stay readable.
    pub(super) fn right_edge(&self) -> usize {
        self.width.min(100)
    }

    /// Picks one of two texts by what can be shown.
    pub(super) fn pick<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.unicode { unicode } else { ascii }
    }

    /// Between a thing and a remark on it.
    pub(super) fn dot(&self) -> &'static str {
        if self.unicode { " · " } else { " - " }
    }

    /// Says a time of today: `02:14:05`.
    pub(super) fn time(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    /// Says a time of any day: `2026-11-22 20:20`.
    pub(super) fn date(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
    }
}

/// The mark in front of a line, one column wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Done,
    Nothing,
    Recalled,
    Failed,
    Stopped,
    Asked,
    Waits,
    Would,
    Undone,
}

impl Mark {
    pub(super) fn glyph(self, style: &Style) -> &'static str {
        let (unicode, ascii) = match self {
            Self::Done => ("✓", "+"),
            Self::Nothing => ("·", "-"),
            Self::Recalled => ("↺", "="),
            Self::Failed => ("✗", "x"),
            Self::Stopped => ("■", "#"),
            Self::Asked => ("?", "?"),
            Self::Waits => ("…", "~"),
            Self::Would => ("→", ">"),
            Self::Undone => ("↩", "<"),
        };
        if style.unicode { unicode } else { ascii }
    }
}
