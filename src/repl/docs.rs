//! `:help` and `:doc` for the terminal.

use std::fmt::Write as _;

use super::known::Known;
use super::meta::COMMANDS;
use super::paint::{self, COMMAND, DIM};
use crate::primitives::bridge::{Field, Primitive};
use crate::report::Style;
use crate::script::reference;

/// What `:help` shows.
pub(super) fn help(style: &Style) -> String {
    let mut out = String::from(
        "Every line is Rhai: a call acts on the current target at once, is journaled and can be undone.\n\n",
    );
    for command in COMMANDS {
        let head = format!(":{}", command.name);
        let pad = " ".repeat(18_usize.saturating_sub(head.len() + command.argument.len() + 1));
        let _infallible = writeln!(
            out,
            "  {} {}{pad}{}",
            paint::paint(COMMAND, &head),
            paint::paint(DIM, command.argument),
            command.about
        );
    }
    out.push('\n');
    for (keys, what) in [
        ("Tab", "completes functions, options, variables, targets"),
        ("Enter", "evaluates; a line with an open bracket or text goes on"),
        ("Ctrl-C", "clears the line; while something runs, interrupts it"),
        ("Ctrl-R", "searches the history; a line that begins with a space is not kept in it"),
        ("Ctrl-D", "leaves"),
    ] {
        let _infallible =
            writeln!(out, "  {}  {what}", paint::paint(COMMAND, &format!("{keys:<16}")));
    }
    coloured(style, out)
}

/// The reference of one primitive.
pub(super) fn primitive(style: &Style, known: &Known, primitive: &Primitive) -> String {
    let signature = reference::signature(primitive);
    let rest = signature.strip_prefix(primitive.name).unwrap_or_default();
    let mut out = format!("{}{rest}\n", paint::primitive(&paint::paint(COMMAND, primitive.name)));
    let width = style.width.min(100);
    wrapped(&mut out, "  ", "  ", primitive.summary, width);
    for fields in [primitive.params, primitive.options] {
        if fields.is_empty() {
            continue;
        }
        out.push('\n');
        let longest = fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
        for field in fields {
            let head = format!("  {:<longest$}  ", field.name);
            let hang = " ".repeat(longest + 4);
            let mut lines = String::new();
            wrapped(&mut lines, &head, &hang, &words(field), width);
            // The name is coloured after the line was broken by what is seen.
            let name = paint::paint(COMMAND, field.name);
            out.push_str(&lines.replacen(field.name, &name, 1));
        }
    }
    let returns =
        primitive.returns.split_once(':').map_or(primitive.returns, |(_, words)| words.trim());
    out.push('\n');
    for (title, words) in [
        ("returns", returns),
        ("fails", primitive.failure),
        ("plan", primitive.plan),
        ("undo", primitive.undo),
        ("resume", primitive.resume),
    ] {
        let mut lines = String::new();
        wrapped(&mut lines, &format!("  {title:<8}"), "          ", words, width);
        out.push_str(&lines.replacen(title, &paint::paint(DIM, title), 1));
    }
    out.push('\n');
    for line in primitive.example.lines() {
        let _infallible = writeln!(out, "  {}", paint::code(known, line, None));
    }
    coloured(style, out)
}

fn words(field: &Field) -> String {
    let default = match field.default {
        "" => String::new(),
        default => format!(", {default} if not given"),
    };
    format!("{}{default}. {}", field.kind.as_str(), field.doc)
}

/// Breaks a text at words.
fn wrapped(out: &mut String, head: &str, hang: &str, text: &str, width: usize) {
    let mut line = head.to_owned();
    let mut begun = false;
    for word in text.split_whitespace() {
        if begun && line.chars().count() + 1 + word.chars().count() > width {
            let _infallible = writeln!(out, "{}", line.trim_end());
            hang.clone_into(&mut line);
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        line.push_str(word);
        begun = true;
    }
    let _infallible = writeln!(out, "{}", line.trim_end());
}

fn coloured(style: &Style, text: String) -> String {
    if style.color { text } else { anstream::adapter::strip_str(&text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_fits_and_says_everything() {
        let style = Style { color: false, ..Style::plain() }.with_width(80);
        let known = Known { primitives: reference::catalogue(), ..Known::default() };
        for one in reference::catalogue() {
            let text = primitive(&style, &known, one);
            assert!(text.starts_with(&reference::signature(one)), "{text}");
            for field in one.params.iter().chain(one.options) {
                assert!(text.contains(field.name), "{}: {}", one.name, field.name);
            }
        }
        let help = help(&style);
        assert!(help.contains(":undo [all]"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}
