//! Colours of what is typed and shown: one palette for the line, for values and for examples.

use anstyle::{AnsiColor, Style as Ansi};

use super::known::{KEYWORDS, Known};
use super::lex::{Kind, Token, lex, partner};
use super::meta;

const KEYWORD: Ansi = AnsiColor::Magenta.on_default();
const TEXT: Ansi = AnsiColor::Green.on_default();
const NUMBER: Ansi = AnsiColor::Yellow.on_default();
const PRIMITIVE: Ansi = AnsiColor::Cyan.on_default();
const FUNCTION: Ansi = AnsiColor::Blue.on_default();
const COMMENT: Ansi = Ansi::new().dimmed();
const MATCH: Ansi = Ansi::new().bold().underline();
const LONELY: Ansi = AnsiColor::Red.on_default().bold();
pub(super) const COMMAND: Ansi = Ansi::new().bold();
pub(super) const DIM: Ansi = Ansi::new().dimmed();

/// Puts a style around a text.
pub(super) fn paint(style: Ansi, text: &str) -> String {
    if style == Ansi::new() || text.is_empty() {
        text.to_owned()
    } else {
        format!("{style}{text}{style:#}")
    }
}

/// Colours a line; the bracket at the cursor and its partner stand out.
pub(super) fn line(known: &Known, text: &str, cursor: Option<usize>) -> String {
    let Some(rest) = text.strip_prefix(':') else { return code(known, text, cursor) };
    let name = rest.split(char::is_whitespace).next().unwrap_or_default();
    let end = 1 + name.len();
    let style = if meta::find(name).is_ok() { COMMAND } else { Ansi::new() };
    let argument = &text[end..];
    let argument = match meta::find(name) {
        Ok(command) if command.name == "plan" => {
            code(known, argument, cursor.and_then(|cursor| cursor.checked_sub(end)))
        }
        _ => argument.to_owned(),
    };
    format!("{}{argument}", paint(style, &text[..end]))
}

/// Colours code.
pub(super) fn code(known: &Known, text: &str, cursor: Option<usize>) -> String {
    let tokens = lex(text).tokens;
    let here = cursor.and_then(|cursor| bracket_at(&tokens, cursor));
    let there = here.and_then(|here| partner(&tokens, here));
    let mut out = String::with_capacity(text.len() * 2);
    for (at, token) in tokens.iter().enumerate() {
        let style = if there.is_some() && (Some(at) == here || Some(at) == there) {
            MATCH
        } else if Some(at) == here && token.kind == Kind::Close {
            LONELY
        } else {
            style_of(known, text, &tokens, at)
        };
        // Colours do not go on over the ends of lines, which the editor indents itself.
        let painted: Vec<String> =
            token.of(text).split('\n').map(|part| paint(style, part)).collect();
        out.push_str(&painted.join("\n"));
    }
    out
}

fn style_of(known: &Known, text: &str, tokens: &[Token], at: usize) -> Ansi {
    let token = tokens[at];
    match token.kind {
        Kind::Comment => COMMENT,
        Kind::Text => TEXT,
        Kind::Number => NUMBER,
        Kind::Word => {
            let word = token.of(text);
            let called = tokens[at + 1..]
                .iter()
                .find(|next| next.kind != Kind::Space)
                .is_some_and(|next| next.of(text) == "(");
            let dotted = at > 0 && tokens[at - 1].of(text) == ".";
            match word {
                "true" | "false" => NUMBER,
                _ if KEYWORDS.contains(&word) => KEYWORD,
                _ if called && !dotted && known.primitive(word).is_some() => PRIMITIVE,
                _ if called && (known.function(word).is_some() || word == "print") => FUNCTION,
                _ => Ansi::new(),
            }
        }
        Kind::Open | Kind::Close | Kind::Sign | Kind::Space => Ansi::new(),
    }
}

/// The bracket under the cursor, or else the one before it.
fn bracket_at(tokens: &[Token], cursor: usize) -> Option<usize> {
    let bracket = |token: &Token| matches!(token.kind, Kind::Open | Kind::Close);
    let under = tokens.iter().position(|token| bracket(token) && token.start == cursor);
    under.or_else(|| tokens.iter().position(|token| bracket(token) && token.end == cursor))
}

/// Colours of a text in a value.
pub(super) fn text(text: &str) -> String {
    paint(TEXT, text)
}

/// Colours of a number in a value.
pub(super) fn number(text: &str) -> String {
    paint(NUMBER, text)
}

/// Colours of a name that can be called.
pub(super) fn primitive(text: &str) -> String {
    paint(PRIMITIVE, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            primitives: crate::script::reference::catalogue(),
            functions: vec!["mine(a)".to_owned()],
            ..Known::default()
        }
    }

    /// The text with `<c:…>` around what is coloured, by the last letter of the code.
    fn marked(text: &str, cursor: Option<usize>) -> String {
        line(&known(), text, cursor)
            .replace("\u{1b}[0m", ">")
            .replace("\u{1b}[35m", "<key:")
            .replace("\u{1b}[32m", "<text:")
            .replace("\u{1b}[33m", "<num:")
            .replace("\u{1b}[36m", "<prim:")
            .replace("\u{1b}[34m", "<fn:")
            .replace("\u{1b}[2m", "<dim:")
            .replace("\u{1b}[1m\u{1b}[4m", "<match:")
            .replace("\u{1b}[1m", "<bold:")
    }

    #[test]
    fn every_kind_of_word_has_its_colour() {
        assert_eq!(
            marked("let x = mine(rsync(\"a\", 15)); // ok", None),
            "<key:let> x = <fn:mine>(<prim:rsync>(<text:\"a\">, <num:15>)); <dim:// ok>"
        );
        assert_eq!(marked("rsync + x.rsync()", None), "rsync + x.rsync()");
        assert_eq!(marked("`a\nb`", None), "<text:`a>\n<text:b`>");
        assert_eq!(marked(":plan rsync(1)", None), "<bold::plan> <prim:rsync>(<num:1>)");
        assert_eq!(marked(":nothing x", None), ":nothing x");
    }

    #[test]
    fn the_bracket_at_the_cursor_has_its_partner_marked() {
        assert_eq!(marked("(a)", Some(3)), "<match:(>a<match:)>");
        assert_eq!(marked("(a)", Some(0)), "<match:(>a<match:)>");
        assert_eq!(marked("((a)", Some(0)), "((a)");
        assert_eq!(marked("(a)", Some(2)), "<match:(>a<match:)>");
    }

    #[test]
    fn colours_change_nothing_that_is_seen() {
        for text in ["let x = `é ${1}`", "'a' /* b", ":doc x", "\"open", ""] {
            let painted = line(&known(), text, Some(0));
            assert_eq!(anstream::adapter::strip_str(&painted).to_string(), text);
        }
    }
}
