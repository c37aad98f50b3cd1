//! Rhai's tokens as far as a prompt needs them: what is a text, a comment, a word, and which brackets are open. It works
//! on what is half typed, where the compiler only says that something is missing.

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Comment,
    Text,
    Number,
    Word,
    /// `(`, `[`, `{`, `#{` or `${`.
    Open,
    Close,
    Sign,
    Space,
}

/// A piece of text with its place in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    pub(super) fn of<'a>(&self, text: &'a str) -> &'a str {
        &text[self.start..self.end]
    }
}

/// What the end of the text cuts off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// `"…`, which ends with its line.
    Text,
    /// `` `… `` or `#"…`, which may span lines.
    LongText,
    /// `/* …`
    Comment,
}

/// A text in tokens.
#[derive(Debug)]
pub(super) struct Lexed {
    pub(super) tokens: Vec<Token>,
    pub(super) cut: Option<Cut>,
}

/// Takes a text apart.
pub(super) fn lex(text: &str) -> Lexed {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), cut: None, braces: Vec::new() };
    while lexer.at < text.len() {
        lexer.next();
    }
    Lexed { tokens: lexer.tokens, cut: lexer.cut }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    cut: Option<Cut>,
    /// For every open brace, whether it is one of a `${` in a text that goes on after it.
    braces: Vec<bool>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: Kind, length: usize) {
        if length > 0 {
            self.tokens.push(Token { kind, start: self.at, end: self.at + length });
            self.at += length;
        }
    }

    fn run(&mut self, kind: Kind, belongs: impl Fn(char) -> bool) {
        let rest = self.rest();
        let length = rest.find(|char| !belongs(char)).unwrap_or(rest.len());
        self.push(kind, length);
    }

    fn next(&mut self) {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return };
        match first {
            char if char.is_whitespace() => self.run(Kind::Space, char::is_whitespace),
            _ if rest.starts_with("//") => self.run(Kind::Comment, |char| char != '\n'),
            _ if rest.starts_with("/*") => self.block_comment(),
            '"' => self.text(),
            '`' => self.template(1),
            '\'' => self.letter(),
            '#' if rest.starts_with("#{") => {
                self.braces.push(false);
                self.push(Kind::Open, 2);
            }
            '#' if rest.trim_start_matches('#').starts_with('"') => self.raw(),
            '(' | '[' => self.push(Kind::Open, 1),
            '{' => {
                self.braces.push(false);
                self.push(Kind::Open, 1);
            }
            ')' | ']' => self.push(Kind::Close, 1),
            '}' => {
                let goes_on = self.braces.pop().unwrap_or(false);
                self.push(Kind::Close, 1);
                if goes_on {
                    self.template(0);
                }
            }
            digit if digit.is_ascii_digit() => self.number(),
            char if char.is_alphabetic() || char == '_' => {
                self.run(Kind::Word, |char| char.is_alphanumeric() || char == '_');
            }
            other => self.push(Kind::Sign, other.len_utf8()),
        }
    }

    /// Comments nest.
    fn block_comment(&mut self) {
        let rest = self.rest();
        let (mut depth, mut at) = (0_usize, 0);
        while at < rest.len() {
            if rest[at..].starts_with("/*") {
                depth += 1;
                at += 2;
            } else if rest[at..].starts_with("*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    break;
                }
            } else {
                at += rest[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        if depth > 0 {
            self.cut = Some(Cut::Comment);
        }
        self.push(Kind::Comment, at);
    }

    fn text(&mut self) {
        let rest = self.rest();
        let mut escaped = false;
        for (at, char) in rest.char_indices().skip(1) {
            match char {
                '"' if !escaped => return self.push(Kind::Text, at + 1),
                // It ends with its line, unless the line's end is escaped.
                '\n' if !escaped => return self.push(Kind::Text, at),
                _ => escaped = char == '\\' && !escaped,
            }
        }
        self.cut = Some(if escaped { Cut::LongText } else { Cut::Text });
        self.push(Kind::Text, rest.len());
    }

    fn letter(&mut self) {
        let rest = self.rest();
        let mut escaped = false;
        for (at, char) in rest.char_indices().skip(1) {
            match char {
                '\'' if !escaped => return self.push(Kind::Text, at + 1),
                '\n' => break,
                _ => escaped = char == '\\' && !escaped,
            }
        }
        self.push(Kind::Sign, 1);
    }

    /// A text in backticks, up to its end or the next `${`; doubled backticks are part of it.
    fn template(&mut self, from: usize) {
        let rest = self.rest();
        let mut at = from;
        while at < rest.len() {
            let here = &rest[at..];
            if here.starts_with("``") {
                at += 2;
            } else if here.starts_with('`') {
                return self.push(Kind::Text, at + 1);
            } else if here.starts_with("${") {
                self.push(Kind::Text, at);
                self.braces.push(true);
                return self.push(Kind::Open, 2);
            } else {
                at += here.chars().next().map_or(1, char::len_utf8);
            }
        }
        self.cut = Some(Cut::LongText);
        let length = rest.len();
        self.push(Kind::Text, length);
    }

    fn raw(&mut self) {
        let rest = self.rest();
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let found = rest[hashes + 1..].find(&end);
        if found.is_none() {
            self.cut = Some(Cut::LongText);
        }
        self.push(Kind::Text, found.map_or(rest.len(), |at| hashes + 1 + at + end.len()));
    }

    fn number(&mut self) {
        let rest = self.rest();
        let mut length = 0;
        let mut dot = false;
        for (at, char) in rest.char_indices() {
            let next = rest[at + char.len_utf8()..].chars().next();
            match char {
                // `1..5` and `1.to_string()` are no fractions.
                '.' if !dot && next.is_some_and(|next| next.is_ascii_digit()) => dot = true,
                '_' => {}
                char if char.is_ascii_alphanumeric() => {}
                _ => break,
            }
            length = at + char.len_utf8();
        }
        self.push(Kind::Number, length);
    }
}

/// Returns the index of the token that closes or opens what the token at `index` opens or closes.
pub(super) fn partner(tokens: &[Token], index: usize) -> Option<usize> {
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => open.push(at),
            Kind::Close => {
                let opened = open.pop();
                if at == index {
                    return opened;
                }
                if opened == Some(index) {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        let lexed = lex(text);
        let joined: String = lexed.tokens.iter().map(|token| token.of(text)).collect();
        assert_eq!(joined, text, "every byte is in a token");
        lexed
            .tokens
            .iter()
            .filter(|token| token.kind != Kind::Space)
            .map(|token| (token.kind, token.of(text)))
            .collect()
    }

    #[test]
    fn a_line_is_taken_apart() {
        use Kind::{Close, Comment, Number, Open, Sign, Text, Word};
        assert_eq!(
            kinds(r#"wait("9s", #{ a: 0x1f, b: 1.5 }); // so"#),
            [
                (Word, "wait"),
                (Open, "("),
                (Text, "\"9s\""),
                (Sign, ","),
                (Open, "#{"),
                (Word, "a"),
                (Sign, ":"),
                (Number, "0x1f"),
                (Sign, ","),
                (Word, "b"),
                (Sign, ":"),
                (Number, "1.5"),
                (Close, "}"),
                (Close, ")"),
                (Sign, ";"),
                (Comment, "// so"),
            ]
        );
        assert_eq!(
            kinds("`a ${b + `c`} d` 'x' 1..2 /* a /* b */ c */ z"),
            [
                (Text, "`a "),
                (Open, "${"),
                (Word, "b"),
                (Sign, "+"),
                (Text, "`c`"),
                (Close, "}"),
                (Text, " d`"),
                (Text, "'x'"),
                (Number, "1"),
                (Sign, "."),
                (Sign, "."),
                (Number, "2"),
                (Comment, "/* a /* b */ c */"),
                (Word, "z"),
            ]
        );
        assert_eq!(kinds(r##"#"raw " text"# x"##), [(Text, r##"#"raw " text"#"##), (Word, "x")]);
        assert_eq!(kinds("\"a\\\"b\" 'é' ''"), {
            [(Text, "\"a\\\"b\""), (Text, "'é'"), (Text, "''")]
        });
    }

    #[test]
    fn what_is_cut_off_is_known() {
        for (text, cut) in [
            ("`open ${a} and", Some(Cut::LongText)),
            ("/* open", Some(Cut::Comment)),
            ("/* /* */", Some(Cut::Comment)),
            ("\"open", Some(Cut::Text)),
            ("\"open \\", Some(Cut::LongText)),
            ("#\"open\"", Some(Cut::LongText)),
            ("\"done\" // `", None),
            ("\"`\"", None),
            ("// /*", None),
            ("ä \"ö", Some(Cut::Text)),
        ] {
            assert_eq!(lex(text).cut, cut, "{text}");
        }
    }

    #[test]
    fn brackets_find_their_partners() {
        let text = "f([1, 2], `${x}`)";
        let tokens = lex(text).tokens;
        let find = |at: usize| tokens.iter().position(|token| token.start == at).unwrap();
        for (open, close) in [(1, 16), (2, 7), (11, 14)] {
            assert_eq!(partner(&tokens, find(open)), Some(find(close)));
            assert_eq!(partner(&tokens, find(close)), Some(find(open)));
        }
        assert_eq!(partner(&lex("(").tokens, 0), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken_apart_without_loss(text in "[ab1\"'`#{}()\\[\\]$/*\\\\\n é.:;]{0,60}") {
            let lexed = lex(&text);
            let joined: String = lexed.tokens.iter().map(|token| token.of(&text)).collect();
            proptest::prop_assert_eq!(joined, text);
        }
    }
}
