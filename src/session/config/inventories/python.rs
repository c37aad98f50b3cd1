//! Literals of Python, as Ansible reads values in its INI inventories: numbers, text in quotes, lists, maps, `True`,
//! `False` and `None`. What is none of these is text as it stands.

use std::iter::Peekable;
use std::str::Chars;

use crate::session::config::tree::{DEEPEST, Entry, Node, Span, Table, Tree};

/// Reads a value.
pub(super) fn value(text: &str) -> Tree {
    literal(text).unwrap_or_else(|| Tree::Text(text.to_owned()))
}

fn literal(text: &str) -> Option<Tree> {
    let mut reader = Reader { rest: text.chars().peekable(), depth: 0 };
    let first = reader.value()?;
    reader.blanks();
    // `1, 2` is a list without its brackets.
    let tree = if reader.rest.peek() == Some(&',') {
        let mut items = vec![node(first)];
        while reader.takes(',') {
            if reader.is_over() {
                break;
            }
            items.push(node(reader.value()?));
        }
        Tree::List(items)
    } else {
        first
    };
    reader.is_over().then_some(tree)
}

/// A value within another, which stands where that stands.
fn node(tree: Tree) -> Node {
    Node { tree, span: Span { source: 0, start: 0, end: 0 } }
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    depth: usize,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while self.rest.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
    }

    /// Whether nothing but a comment follows.
    fn is_over(&mut self) -> bool {
        self.blanks();
        self.rest.peek().is_none_or(|c| *c == '#')
    }

    fn takes(&mut self, wanted: char) -> bool {
        self.blanks();
        self.rest.next_if_eq(&wanted).is_some()
    }

    fn value(&mut self) -> Option<Tree> {
        self.blanks();
        match self.rest.peek()? {
            '[' => self.items('[', ']').map(|(items, _)| Tree::List(items)),
            '(' => {
                let (mut items, commas) = self.items('(', ')')?;
                // Parentheses alone only hold together.
                if commas == 0 && items.len() == 1 {
                    return items.pop().map(|item| item.tree);
                }
                Some(Tree::List(items))
            }
            '{' => self.map(),
            '"' | '\'' => self.texts(),
            c if c.is_ascii_digit() || matches!(c, '+' | '-' | '.') => self.number(),
            _ => self.word(),
        }
    }

    /// Reads values between brackets; also returns how many commas there are.
    fn items(&mut self, open: char, close: char) -> Option<(Vec<Node>, usize)> {
        self.enter(open)?;
        let (mut items, mut commas) = (Vec::new(), 0);
        while !self.takes(close) {
            items.push(node(self.value()?));
            if self.takes(',') {
                commas += 1;
            } else if !self.takes(close) {
                return None;
            } else {
                break;
            }
        }
        self.depth -= 1;
        Some((items, commas))
    }

    fn map(&mut self) -> Option<Tree> {
        self.enter('{')?;
        let mut table = Table::new();
        while !self.takes('}') {
            let key = match self.value()? {
                Tree::Text(text) => text,
                Tree::Int(number) => number.to_string(),
                _ => return None,
            };
            if !self.takes(':') {
                return None;
            }
            let node = node(self.value()?);
            table.insert(key, Entry { key: node.span, node });
            if !self.takes(',') {
                if self.takes('}') {
                    break;
                }
                return None;
            }
        }
        self.depth -= 1;
        Some(Tree::Table(table))
    }

    fn enter(&mut self, open: char) -> Option<()> {
        self.depth += 1;
        (self.takes(open) && self.depth < DEEPEST).then_some(())
    }

    fn word(&mut self) -> Option<Tree> {
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
            word.push(c);
        }
        match word.as_str() {
            "True" => Some(Tree::Bool(true)),
            "False" => Some(Tree::Bool(false)),
            "None" => Some(Tree::Nothing),
            "r" | "R" | "u" | "U" if matches!(self.rest.peek(), Some('"' | '\'')) => {
                self.text(matches!(word.as_str(), "r" | "R")).map(Tree::Text)
            }
            _ => None,
        }
    }

    /// Reads texts, which are one if they stand next to each other.
    fn texts(&mut self) -> Option<Tree> {
        let mut whole = String::new();
        while matches!(self.rest.peek(), Some('"' | '\'')) {
            whole.push_str(&self.text(false)?);
            self.blanks();
        }
        Some(Tree::Text(whole))
    }

    fn text(&mut self, raw: bool) -> Option<String> {
        let quote = self.rest.next()?;
        let mut text = String::new();
        let mut triple = false;
        if self.rest.next_if_eq(&quote).is_some() {
            if self.rest.next_if_eq(&quote).is_none() {
                return Some(text);
            }
            triple = true;
        }
        loop {
            match self.rest.next()? {
                c if c == quote && !triple => return Some(text),
                c if c == quote => {
                    let mut ahead = self.rest.clone();
                    if ahead.next() == Some(quote) && ahead.next() == Some(quote) {
                        self.rest = ahead;
                        return Some(text);
                    }
                    text.push(c);
                }
                '\\' if raw => text.extend(['\\', self.rest.next()?]),
                '\\' => self.escape(&mut text)?,
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Option<()> {
        let c = self.rest.next()?;
        match c {
            '\\' | '\'' | '"' => text.push(c),
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'a' => text.push('\u{7}'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'v' => text.push('\u{b}'),
            'x' => text.push(self.code(2, 16, 0)?),
            'u' => text.push(self.code(4, 16, 0)?),
            'U' => text.push(self.code(8, 16, 0)?),
            '0'..='7' => text.push(self.code(2, 8, c.to_digit(8)?)?),
            // A name of a character is not known here.
            'N' => return None,
            other => text.extend(['\\', other]),
        }
        Some(())
    }

    /// Reads a character by its number: exactly so many hexadecimal digits, or at most so many octal ones.
    fn code(&mut self, digits: usize, radix: u32, begun: u32) -> Option<char> {
        let mut code = begun;
        for _ in 0..digits {
            match self.rest.next_if(|c| c.is_digit(radix)) {
                Some(c) => code = code * radix + c.to_digit(radix)?,
                None if radix == 8 => break,
                None => return None,
            }
        }
        char::from_u32(code)
    }

    fn number(&mut self) -> Option<Tree> {
        let sign = self.rest.next_if(|c| matches!(c, '+' | '-'));
        self.blanks();
        let mut digits = String::new();
        while let Some(c) =
            self.rest.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
        {
            digits.push(c);
            let exponent = matches!(c, 'e' | 'E') && !digits.starts_with("0x");
            if let (true, Some(c)) = (exponent, self.rest.next_if(|c| matches!(c, '+' | '-'))) {
                digits.push(c);
            }
        }
        let negative = sign == Some('-');
        if let Some(number) = whole(&digits) {
            return Some(Tree::Int(if negative { -number } else { number }));
        }
        let number = fraction(&digits)?;
        Some(Tree::Float(if negative { -number } else { number }))
    }
}

/// Takes single underscores between digits out.
fn plain(digits: &str, prefixed: bool) -> Option<String> {
    let fits =
        digits.split('_').enumerate().all(|(at, part)| !part.is_empty() || (at == 0 && prefixed));
    (fits && !digits.is_empty()).then(|| digits.replace('_', ""))
}

fn whole(digits: &str) -> Option<i64> {
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = digits.to_ascii_lowercase().strip_prefix(prefix) {
            return i64::from_str_radix(&plain(rest, true)?, radix).ok();
        }
    }
    let digits = plain(digits, false)?;
    let zeros = digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|c| c != b'0');
    if zeros || !digits.bytes().all(|c| c.is_ascii_digit()) { None } else { digits.parse().ok() }
}

fn fraction(digits: &str) -> Option<f64> {
    let lower = digits.to_ascii_lowercase();
    let (mantissa, exponent) = match lower.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (lower.as_str(), None),
    };
    if exponent.is_none() && !mantissa.contains('.') {
        return None;
    }
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let part = |part: &str| {
        let digits = if part.is_empty() { Some(String::new()) } else { plain(part, false) };
        digits.filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()))
    };
    let (before, after) = (part(before)?, part(after)?);
    if before.is_empty() && after.is_empty() {
        return None;
    }
    let exponent = match exponent {
        Some(exponent) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            format!("{}{}", &exponent[..exponent.len() - digits.len()], plain(digits, false)?)
        }
        None => "0".to_owned(),
    };
    format!("0{before}.{after}0e{exponent}").parse().ok().filter(|number: &f64| number.is_finite())
}
