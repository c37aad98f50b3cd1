//! Values as people read them: a text as it is, a list or map on one line where it fits and indented where not.

use super::paint;
use crate::script::Shown;

/// How many lines of a list or map are shown.
const MOST: usize = 400;

/// Returns a value in lines for the terminal; nothing for no value.
pub(super) fn render(value: &Shown, width: usize, color: bool) -> String {
    let text = match value {
        Shown::Nothing => return String::new(),
        Shown::Text(text) if !text.is_empty() => return plain(text),
        value => {
            let mut lines = Vec::new();
            lay(value, String::new(), 0, width, &mut lines);
            let more = lines.len().saturating_sub(MOST);
            lines.truncate(MOST);
            if more > 0 {
                lines.push(paint::paint(paint::DIM, &format!("and {more} more lines")));
            }
            lines.join("\n") + "\n"
        }
    };
    if color { text } else { anstream::adapter::strip_str(&text).to_string() }
}

/// A text as it is, without what would drive the terminal.
fn plain(text: &str) -> String {
    let shown = |char: &char| !char.is_control() || matches!(char, '\n' | '\t');
    let mut text: String =
        anstream::adapter::strip_str(text).to_string().chars().filter(shown).collect();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Adds the lines of a value, the first of which begins with `head`.
fn lay(value: &Shown, head: String, indent: usize, width: usize, out: &mut Vec<String>) {
    let flat = flat(value);
    let seen = |text: &str| anstream::adapter::strip_str(text).to_string().chars().count();
    let (items, brackets): (Vec<(String, &Shown)>, _) = match value {
        Shown::List(items) if !items.is_empty() => {
            (items.iter().map(|item| (String::new(), item)).collect(), ("[", "]"))
        }
        Shown::Map(items) if !items.is_empty() => {
            let longest = items.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
            let pad = |key: &str| longest.min(24).saturating_sub(key.chars().count());
            let keys = items
                .iter()
                .map(|(key, value)| (format!("{}:{} ", name(key), " ".repeat(pad(key))), value));
            (keys.collect(), ("#{", "}"))
        }
        _ => return out.push(format!("{head}{flat}")),
    };
    // What fits on a line and is not crowded stays there.
    let comma = usize::from(indent > 0);
    if seen(&head) + seen(&flat) + comma <= width.min(80) && !nested_twice(value) {
        return out.push(format!("{head}{flat}"));
    }
    out.push(head + brackets.0);
    let inner = " ".repeat(indent + 2);
    for (key, item) in items {
        lay(item, format!("{inner}{key}"), indent + 2, width, out);
        if let Some(last) = out.last_mut() {
            last.push(',');
        }
    }
    out.push(format!("{}{}", " ".repeat(indent), brackets.1));
}

fn nested_twice(value: &Shown) -> bool {
    let inner = |value: &Shown| match value {
        Shown::List(items) => {
            items.iter().any(|item| matches!(item, Shown::List(_) | Shown::Map(_)))
        }
        Shown::Map(items) => {
            items.iter().any(|(_, item)| matches!(item, Shown::List(_) | Shown::Map(_)))
        }
        _ => false,
    };
    match value {
        Shown::List(items) => items.iter().any(inner),
        Shown::Map(items) => items.iter().any(|(_, item)| inner(item)),
        _ => false,
    }
}

fn flat(value: &Shown) -> String {
    match value {
        Shown::Nothing => paint::paint(paint::DIM, "()"),
        Shown::Plain(text) => paint::number(text),
        Shown::Text(text) => paint::text(&format!("{text:?}")),
        Shown::Other(text) => paint::paint(paint::DIM, &format!("<{text}>")),
        Shown::List(items) => {
            let items: Vec<String> = items.iter().map(flat).collect();
            format!("[{}]", items.join(", "))
        }
        Shown::Map(items) if items.is_empty() => "#{}".to_owned(),
        Shown::Map(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|(key, value)| format!("{}: {}", name(key), flat(value)))
                .collect();
            format!("#{{ {} }}", items.join(", "))
        }
    }
}

/// A key as Rhai writes it.
fn name(key: &str) -> String {
    let word = key.chars().all(|char| char.is_alphanumeric() || char == '_')
        && key.starts_with(|char: char| char.is_alphabetic() || char == '_');
    if word { key.to_owned() } else { format!("{key:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Shown {
        Shown::Text(text.to_owned())
    }

    fn number(number: i64) -> Shown {
        Shown::Plain(number.to_string())
    }

    fn map(items: &[(&str, Shown)]) -> Shown {
        Shown::Map(items.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    #[test]
    fn short_values_take_a_line_and_long_ones_are_indented() {
        let show = |value: &Shown| render(value, 60, false);
        assert_eq!(show(&Shown::Nothing), "");
        assert_eq!(show(&text("two\nlines")), "two\nlines\n");
        assert_eq!(show(&text("")), "\"\"\n");
        assert_eq!(show(&text("\u{1b}[31mred\u{7}")), "red\n");
        assert_eq!(show(&Shown::List(vec![])), "[]\n");
        assert_eq!(show(&map(&[("a", number(1)), ("b-c", text("x\"y"))])), {
            "#{ a: 1, \"b-c\": \"x\\\"y\" }\n"
        });
        let user = map(&[
            ("name", text("a long name of a user")),
            ("enabled", Shown::Plain("true".into())),
        ]);
        assert_eq!(
            show(&Shown::List(vec![user.clone(), user.clone()])),
            "[\n  #{ name: \"a long name of a user\", enabled: true },\n  #{ name: \"a long name of a user\", enabled: true },\n]\n"
        );
        assert_eq!(
            show(&map(&[("total", number(10)), ("by", map(&[("user", user)]))])),
            "#{\n  total: 10,\n  by:    #{\n    user: #{ name: \"a long name of a user\", enabled: true },\n  },\n}\n"
        );
    }

    #[test]
    fn endless_lists_are_cut() {
        let rows = (0..1000).map(|at| map(&[("id", number(at)), ("of", text(&"x".repeat(40)))]));
        let shown = render(&Shown::List(rows.collect()), 80, false);
        assert_eq!(shown.lines().count(), MOST + 1);
        assert!(shown.ends_with("and 602 more lines\n"), "{}", &shown[shown.len() - 40..]);
    }
}
