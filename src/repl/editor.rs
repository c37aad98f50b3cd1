//! The line editor: rustyline with our completion, hints, colours and idea of a whole line.

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustyline::completion::{Candidate, Completer, FilenameCompleter};
use rustyline::config::{BellStyle, Configurer};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::{DefaultHistory, History, SearchDirection};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::complete::{self, Offer, Offers};
use super::incomplete::is_incomplete;
use super::known::Known;
use super::{hint, meta, paint};
use crate::report::Style;
use crate::script::Probe;

/// How many lines the history keeps.
const KEPT: usize = 5000;
/// Up to how many offers are shown with what they are.
const TOLD: usize = 24;

/// What came of reading a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A line.
    Line(String),
    /// Ctrl-C.
    Cleared,
    /// Ctrl-D, or the terminal is gone.
    Left,
}

/// The editor with its history.
pub(super) struct Prompt {
    editor: Editor<Assistant, DefaultHistory>,
    history: PathBuf,
}

impl Prompt {
    /// Opens the editor; the history is kept in `history`, for its owner alone.
    pub(super) fn open(
        history: &Path,
        known: Known,
        probe: Probe,
        style: &Style,
    ) -> rustyline::Result<Self> {
        let (color, unicode) = (style.color, style.unicode);
        let mode = if color { ColorMode::Enabled } else { ColorMode::Disabled };
        let config = Config::builder()
            .max_history_size(KEPT)?
            .history_ignore_dups(true)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .color_mode(mode)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_bell_style(BellStyle::None);
        editor.set_helper(Some(Assistant {
            known,
            probe,
            files: FilenameCompleter::new(),
            color,
            unicode,
            width: style.width,
            prompt: 0,
            last: Cell::new(false),
        }));
        private(history);
        // Without a history there is still a prompt.
        let _without = editor.load_history(history);
        Ok(Self { editor, history: history.to_owned() })
    }

    /// Returns what is known, to be brought up to date.
    pub(super) fn known(&mut self) -> Option<&mut Known> {
        self.editor.helper_mut().map(|helper| &mut helper.known)
    }

    /// Reads a line, or several that belong together.
    pub(super) fn read(&mut self, plain: &str, styled: &str) -> Read {
        // As the editor itself counts, so that a hint never reaches the next row.
        let width = self.editor.dimensions().map_or(80, |(columns, _)| usize::from(columns));
        if let Some(helper) = self.editor.helper_mut() {
            helper.width = width;
            helper.prompt = plain.width();
        }
        match self.editor.readline(&(plain, styled)) {
            Ok(line) => {
                if !line.trim().is_empty() && self.editor.add_history_entry(&line).unwrap_or(false)
                {
                    let _without = self.editor.append_history(&self.history);
                    private(&self.history);
                }
                Read::Line(line)
            }
            Err(ReadlineError::Interrupted) => Read::Cleared,
            Err(_) => Read::Left,
        }
    }

    /// Returns the newest lines, oldest first.
    pub(super) fn newest(&self, count: usize) -> Vec<String> {
        let history = self.editor.history();
        let from = history.len().saturating_sub(count);
        (from..history.len())
            .filter_map(|at| history.get(at, SearchDirection::Forward).ok().flatten())
            .map(|found| found.entry.into_owned())
            .collect()
    }
}

/// Lines may name what others need not know.
fn private(path: &Path) {
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    if let Ok(file) = made {
        let _best = file.set_permissions(std::fs::Permissions::from_mode(0o600));
    }
}

struct Assistant {
    known: Known,
    probe: Probe,
    files: FilenameCompleter,
    color: bool,
    unicode: bool,
    width: usize,
    /// The columns of the prompt.
    prompt: usize,
    /// Whether the line is drawn for the last time.
    last: Cell<bool>,
}

impl Helper for Assistant {}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let code = match meta::parse(text) {
            Some((name, argument)) if meta::find(name).is_ok_and(|found| found.name == "plan") => {
                argument
            }
            Some(_) => return Ok(ValidationResult::Valid(None)),
            None => text,
        };
        Ok(if is_incomplete(&self.probe, code) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

/// An offer as the list shows it.
struct Row {
    shown: String,
    text: String,
}

impl Candidate for Row {
    fn display(&self) -> &str {
        &self.shown
    }

    fn replacement(&self) -> &str {
        &self.text
    }
}

impl Completer for Assistant {
    type Candidate = Row;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Row>)> {
        match complete::offers(&self.known, &line[..pos]) {
            Offers::These(at, offers) => Ok((at, self.rows(&offers))),
            Offers::Files(_) => {
                let (at, files) = self.files.complete_path(line, pos)?;
                let rows = files
                    .into_iter()
                    .map(|file| Row { shown: file.display, text: file.replacement });
                Ok((at, rows.collect()))
            }
        }
    }
}

impl Assistant {
    fn ellipsis(&self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }

    /// Few offers are told with what they are, one a line.
    fn rows(&self, offers: &[Offer]) -> Vec<Row> {
        let tell = offers.len() <= TOLD && offers.iter().any(|offer| !offer.about.is_empty());
        let longest = offers.iter().map(|offer| offer.name.width()).max().unwrap_or(0);
        let room = self.width.saturating_sub(longest + 5);
        let shown = |offer: &Offer| {
            if !tell || room < 20 {
                return offer.name.clone();
            }
            let about = cut(&offer.about, room, self.ellipsis());
            // As wide as the screen, so that the list has one column.
            let line = format!("{:<longest$}  {about}", offer.name);
            format!("{line:<width$}", width = self.width.saturating_sub(2))
        };
        offers.iter().map(|offer| Row { shown: shown(offer), text: offer.text.clone() }).collect()
    }
}

struct Aside(String);

impl Hint for Aside {
    fn display(&self) -> &str {
        &self.0
    }

    /// It tells; it is not to be typed.
    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Assistant {
    type Hint = Aside;

    fn hint(&self, line: &str, pos: usize, _context: &Context<'_>) -> Option<Aside> {
        if pos < line.len() {
            return None;
        }
        let hint = hint::hint(&self.known, line)?;
        let (first, last) = (!line.contains('\n'), line.rsplit('\n').next().unwrap_or(line));
        let used = last.width() + if first { self.prompt } else { 0 };
        let room = self.width.saturating_sub(used + 1);
        let hint = if self.unicode { hint } else { hint.replace('…', "...") };
        (room >= 8).then(|| Aside(cut(&hint, room, self.ellipsis())))
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        if !self.color {
            return Cow::Borrowed(line);
        }
        let cursor = (!self.last.get()).then_some(pos);
        Cow::Owned(paint::line(&self.known, line, cursor))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.color { Cow::Owned(paint::paint(paint::DIM, hint)) } else { Cow::Borrowed(hint) }
    }

    fn highlight_candidate<'c>(
        &self,
        candidate: &'c str,
        _completion: CompletionType,
    ) -> Cow<'c, str> {
        match candidate.split_once("  ") {
            Some((name, about)) if self.color => {
                Cow::Owned(format!("{name}  {}", paint::paint(paint::DIM, about)))
            }
            _ => Cow::Borrowed(candidate),
        }
    }

    fn highlight_char(&self, _line: &str, _pos: usize, kind: CmdKind) -> bool {
        self.last.set(kind == CmdKind::ForcedRefresh);
        true
    }
}

/// Shortens a text to a number of columns.
fn cut(text: &str, columns: usize, ellipsis: &str) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(ellipsis.width());
    let mut used = 0;
    let fits = |char: &char| {
        used += char.width().unwrap_or(0);
        used <= room
    };
    let kept: String = text.chars().take_while(fits).collect();
    format!("{}{ellipsis}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_has_its_room() {
        assert_eq!(cut("short", 5, "…"), "short");
        assert_eq!(cut("longer", 5, "…"), "long…");
        assert_eq!(cut("日本語テ", 5, "..."), "日...");
    }
}
