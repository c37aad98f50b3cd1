//! Failures as rustc shows errors: the place in the runbook with a caret, what was run where, the last lines of its
//! output, a hint, and the next command to type.

use std::fmt::Write;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, MietteError,
    MietteSpanContents, NamedSource, Severity, SourceCode, SourceSpan, SpanContents,
    ThemeCharacters, ThemeStyles,
};

use super::Sources;
use super::line::{Line, Tone, clean, text_of};
use super::style::Style;
use crate::error::{Failure, Mismatch, Place};

/// How many lines of a command's output are shown.
const OUTPUT: usize = 10;

/// Renders a failure: of a call, of a script that does not compile, of a configuration file. `next` is the command to
/// type next.
pub fn failure(
    style: &Style,
    failure: &Failure,
    sources: Sources<'_>,
    next: Option<&str>,
) -> String {
    let mut text = headline(style, "error", &failure.message, failure.place.as_ref(), sources);
    let mut facts = Facts::new(style);
    facts.add("on", failure.target.as_deref());
    facts.add("ran", failure.command.as_deref());
    facts.add("status", failure.code.map(|code| code.to_string()).as_deref());
    facts.output("stdout", Tone::Dim, &failure.stdout);
    facts.output("stderr", Tone::Plain, &failure.stderr);
    facts.add("call", failure.call.as_deref());
    text.push_str(&facts.text());
    text.push_str(&advice(style, failure.hint.as_deref(), next));
    text
}

/// Renders a warning about a place, as `check` gives it.
pub fn warning(
    style: &Style,
    message: &str,
    place: Option<&Place>,
    hint: Option<&str>,
    sources: Sources<'_>,
) -> String {
    let mut text = headline(style, "warning", message, place, sources);
    text.push_str(&advice(style, hint, None));
    text
}

/// Renders why a script does not fit the record of its run, and the ways on.
pub fn mismatch(style: &Style, mismatch: &Mismatch, run: &str, sources: Sources<'_>) -> String {
    let message = format!("the script does not match the journal of run {run}");
    let mut text = headline(style, "error", &message, mismatch.place.as_ref(), sources);
    let mut facts = Facts::new(style);
    facts
        .add("recorded", Some(mismatch.recorded.as_deref().unwrap_or("nothing more in this lane")));
    facts.add("attempted", Some(&mismatch.attempted));
    for (at, difference) in mismatch.differences.iter().enumerate() {
        let arrow = style.pick("→", "->");
        facts.add(if at == 0 { "differs" } else { "" }, Some(&difference.replace('→', arrow)));
    }
    facts.add("cause", Some(cause(mismatch)));
    text.push_str(&facts.text());
    text.push('\n');
    text.push_str("nothing was done or undone; ways on:\n");
    for (what, command) in [
        ("restore the script as it was, and", format!("upgrade-host resume {run}")),
        ("keep the change, and", format!("upgrade-host resume {run} --accept-change")),
        ("give up, and", format!("upgrade-host rollback {run}")),
    ] {
        let line = Line::new().with(Tone::Dim, format!("  {what:<35}")).with(Tone::Strong, command);
        text.push_str(&text_of(&[line], style.color));
    }
    text
}

/// Tells the likely cause from what differs.
fn cause(mismatch: &Mismatch) -> &'static str {
    let field =
        |name: &str| mismatch.differences.iter().any(|line| line.split(':').next() == Some(name));
    if mismatch.recorded.is_none() {
        "the script makes more calls here than it did; something that it depends on is not recorded"
    } else if field("step") {
        "a step was renamed, moved, added or removed since the run began"
    } else if field("action") || field("number in its step") {
        "calls of this step were added, removed or reordered since the run began"
    } else if field("target") {
        "the call goes to another target than it did"
    } else {
        "the call has other arguments than it had: the script, a parameter or the inventory changed"
    }
}

/// The message, and the excerpt with the caret if the place is known.
fn headline(
    style: &Style,
    word: &str,
    message: &str,
    place: Option<&Place>,
    sources: Sources<'_>,
) -> String {
    let tone = if word == "error" { Tone::Bad } else { Tone::Warn };
    let line = Line::new().with(tone, word).with(Tone::Strong, format!(": {message}"));
    let lines = if style.live { line.wrap(style.right_edge(), 2) } else { vec![line] };
    let mut text = text_of(&lines, style.color);
    let Some(place) = place else { return text };
    let excerpt = sources(&place.file).and_then(|source| excerpt(style, word, place, &source));
    text.push_str(&excerpt.unwrap_or_else(|| {
        let arrow = style.pick("──▸", "-->");
        text_of(&[Line::new().with(Tone::Dim, format!("  {arrow} {place}"))], style.color)
    }));
    text
}

fn excerpt(style: &Style, word: &str, place: &Place, source: &str) -> Option<String> {
    let (offset, length) = span(source, place)?;
    let severity = if word == "error" { Severity::Error } else { Severity::Warning };
    // The headline is ours; miette draws what is below it.
    let report = MietteDiagnostic::new(String::new())
        .with_severity(severity)
        .with_label(LabeledSpan::new(None, offset, length));
    let (name, source) = (clean(&place.file), printable(source));
    // Around a line that was typed at a prompt there are lines that have nothing to do with it.
    let report = if place.file == "<repl>" {
        miette::Report::new(report).with_source_code(Alone { name, source })
    } else {
        miette::Report::new(report).with_source_code(NamedSource::new(name, source))
    };
    let mut drawn = String::new();
    GraphicalReportHandler::new_themed(theme(style))
        .with_width(style.width)
        .with_links(false)
        .with_context_lines(1)
        .without_syntax_highlighting()
        .render_report(&mut drawn, report.as_ref())
        .ok()?;
    let mut text = String::new();
    let frame = drawn.lines().skip_while(|line| !line.contains(&place.file));
    for line in frame {
        let _infallible = writeln!(text, "{}", line.trim_end());
    }
    Some(text)
}

/// A source of which only the line in question is shown.
#[derive(Debug)]
struct Alone {
    name: String,
    source: String,
}

impl SourceCode for Alone {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (head, rest) =
            self.source.split_at_checked(span.offset()).ok_or(MietteError::OutOfBounds)?;
        let start = head.rfind('\n').map_or(0, |at| at + 1);
        let end = rest.find('\n').map_or(self.source.len(), |at| span.offset() + at);
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            &self.source.as_bytes()[start..end],
            (start, end - start).into(),
            head[..start].matches('\n').count(),
            0,
            1,
        )))
    }
}

fn theme(style: &Style) -> GraphicalTheme {
    GraphicalTheme {
        characters: if style.unicode {
            ThemeCharacters::unicode()
        } else {
            ThemeCharacters::ascii()
        },
        styles: if style.color { ThemeStyles::ansi() } else { ThemeStyles::none() },
    }
}

/// Control characters would be drawn; a caret counts on one column for each, and on the same number of bytes.
fn printable(source: &str) -> String {
    source
        .chars()
        .map(
            |char| if char.is_ascii_control() && char != '\n' && char != '\t' { ' ' } else { char },
        )
        .collect()
}

/// Finds the bytes of the word at a place; none if the place is not in the text.
fn span(source: &str, place: &Place) -> Option<(usize, usize)> {
    let line = place.line.checked_sub(1)?;
    let column = place.column.checked_sub(1)?;
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let text = source.split_inclusive('\n').nth(line)?.trim_end_matches(['\n', '\r']);
    if column > text.chars().count() {
        return None;
    }
    let within = text.char_indices().nth(column).map_or(text.len(), |(at, _)| at);
    let word = |char: char| char.is_alphanumeric() || char == '_';
    let rest = &text[within..];
    let length = rest.find(|char| !word(char)).unwrap_or(rest.len());
    let length = length.max(rest.chars().next().map_or(0, char::len_utf8));
    Some((start + within, length))
}

fn advice(style: &Style, hint: Option<&str>, next: Option<&str>) -> String {
    let mut lines = Vec::new();
    if let Some(hint) = hint {
        let line = Line::new().with(Tone::Info, "help").with(Tone::Plain, format!(": {hint}"));
        lines.extend(if style.live { line.wrap(style.right_edge(), 6) } else { vec![line] });
    }
    if let Some(next) = next {
        lines.push(
            Line::new().with(Tone::Info, "next").with(Tone::Plain, ": ").with(Tone::Strong, next),
        );
    }
    text_of(&lines, style.color)
}

/// Named values below the excerpt.
struct Facts<'a> {
    style: &'a Style,
    rows: Vec<(&'static str, Vec<(Tone, String)>)>,
}

impl<'a> Facts<'a> {
    fn new(style: &'a Style) -> Self {
        Self { style, rows: Vec::new() }
    }

    fn add(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            let lines = value.lines().map(|line| (Tone::Plain, line.to_owned())).collect();
            self.rows.push((name, lines));
        }
    }

    fn output(&mut self, name: &'static str, tone: Tone, text: &str) {
        let lines: Vec<&str> = text.trim_end().lines().collect();
        if lines.is_empty() {
            return;
        }
        let kept = if self.style.verbose { lines.len() } else { OUTPUT.min(lines.len()) };
        let mut shown = Vec::new();
        if kept < lines.len() {
            let more = super::words::count(lines.len() - kept, "earlier line");
            shown.push((Tone::Dim, format!("{} {more}", self.style.pick("…", "..."))));
        }
        let bar = self.style.pick("│", "|");
        shown.extend(
            lines[lines.len() - kept..].iter().map(|line| (tone, format!("{bar} {}", clean(line)))),
        );
        self.rows.push((name, shown));
    }

    fn text(&self) -> String {
        let width = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, lines) in &self.rows {
            for (at, (tone, value)) in lines.iter().enumerate() {
                let name = if at == 0 { name } else { "" };
                let line =
                    Line::new().with(Tone::Dim, format!("  {name:<width$}  ")).with(*tone, value);
                let lines = if self.style.live {
                    line.wrap(self.style.width, width + 6)
                } else {
                    vec![line]
                };
                text.push_str(&text_of(&lines, self.style.color));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;
