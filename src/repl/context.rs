//! Where the cursor is: in which call, at which argument, in which map, in a text or a word. Completion and hints ask.

use super::lex::{Cut, Kind, Token, lex};

/// A bracket that is open at the cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// The bracket: `(`, `[`, `{`, `#{`.
    pub(super) open: String,
    /// The name in front of a `(`.
    pub(super) call: Option<String>,
    /// How many arguments or items are complete.
    pub(super) nth: usize,
    /// The keys that a `#{` has so far.
    pub(super) keys: Vec<String>,
    /// The key whose value is being typed.
    pub(super) key: Option<String>,
}

/// What stands at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The end of a word, or the place where one would begin, with the names before it and their dots (`a.b.`).
    Word {
        /// Where it begins.
        start: usize,
        /// What there is of it.
        word: String,
        /// `["a", "b"]` for `a.b.w`; empty without a dot.
        path: Vec<String>,
        /// Whether there is a dot.
        dotted: bool,
    },
    /// Inside of a text: where its contents begin, and what there is of them.
    Text {
        /// Where the contents begin.
        start: usize,
        /// What there is.
        text: String,
    },
    /// Somewhere where nothing can be completed: a comment, a number.
    Nowhere,
}

/// The surroundings of the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// The open brackets, outermost first.
    pub(super) frames: Vec<Frame>,
    pub(super) at: At,
}

impl Context {
    /// Returns the call around the cursor, if nothing but a map of its own stands in between.
    pub(super) fn call(&self) -> Option<&str> {
        match self.frames.as_slice() {
            [.., call, map] if map.open == "#{" => call.call.as_deref(),
            [.., call] => call.call.as_deref(),
            [] => None,
        }
    }

    /// Returns the call whose options are being typed, with the map.
    pub(super) fn options(&self) -> Option<(&str, &Frame)> {
        match self.frames.as_slice() {
            [.., call, map] if map.open == "#{" => Some((call.call.as_deref()?, map)),
            _ => None,
        }
    }

    /// Returns the call and the number of the argument that is being typed.
    pub(super) fn argument(&self) -> Option<(&str, usize)> {
        let frame = self.frames.last()?;
        Some((frame.call.as_deref()?, frame.nth))
    }
}

/// Finds out where the cursor is at the end of a text.
pub(super) fn context(text: &str) -> Context {
    let lexed = lex(text);
    let tokens = &lexed.tokens;
    let mut frames: Vec<Frame> = Vec::new();
    let mut before: Option<Token> = None;
    for token in tokens {
        let word = token.of(text);
        match token.kind {
            Kind::Space | Kind::Comment => continue,
            Kind::Open => {
                let call = before
                    .filter(|before| word == "(" && before.kind == Kind::Word)
                    .map(|before| before.of(text).to_owned());
                frames.push(Frame { open: word.to_owned(), call, ..Frame::default() });
            }
            Kind::Close => drop(frames.pop()),
            Kind::Sign => {
                if let Some(frame) = frames.last_mut() {
                    match word {
                        "," => {
                            frame.nth += 1;
                            frame.key = None;
                        }
                        ":" if frame.open == "#{" && frame.key.is_none() => {
                            if let Some(before) = before {
                                let key = before.of(text).trim_matches('"').to_owned();
                                frame.keys.push(key.clone());
                                frame.key = Some(key);
                            }
                        }
                        _ => {}
                    }
                }
            }
            Kind::Word | Kind::Text | Kind::Number => {}
        }
        before = Some(*token);
    }
    Context { frames, at: at(text, tokens, lexed.cut) }
}

fn at(text: &str, tokens: &[Token], cut: Option<Cut>) -> At {
    let Some(last) = tokens.last() else { return place(text, tokens, text.len()) };
    match (last.kind, cut) {
        (Kind::Text, Some(_)) => {
            let start = last.start + 1;
            At::Text { start, text: text[start..].to_owned() }
        }
        (Kind::Comment, Some(_)) | (Kind::Number, _) => At::Nowhere,
        (Kind::Comment, None) if last.of(text).starts_with("//") => At::Nowhere,
        (Kind::Word, _) => place(text, &tokens[..tokens.len() - 1], last.start),
        _ => place(text, tokens, text.len()),
    }
}

/// The word that begins at `start`, after these tokens.
fn place(text: &str, before: &[Token], start: usize) -> At {
    let mut path = Vec::new();
    let mut rest = before;
    let mut dotted = false;
    loop {
        match rest {
            [head @ .., word, dot] if dot.of(text) == "." && word.kind == Kind::Word => {
                path.push(word.of(text).to_owned());
                dotted = true;
                rest = head;
            }
            // What is before the dot is no plain name.
            [.., dot] if dot.of(text) == "." => {
                path.clear();
                dotted = true;
                break;
            }
            _ => break,
        }
    }
    path.reverse();
    At::Word { start, word: text[start..].to_owned(), path, dotted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_and_its_options_are_known() {
        let found = context("step(\"a\", || { rsync(\"/a\", \"/b\", #{ delete: true, ti");
        assert_eq!(found.call(), Some("rsync"));
        let (call, map) = found.options().unwrap();
        assert_eq!(
            (call, map.keys.clone(), map.key.clone()),
            ("rsync", vec!["delete".into()], None)
        );
        assert!(matches!(found.at, At::Word { ref word, .. } if word == "ti"));

        let found = context("rsync(\"/a\", \"/b\", #{ delete: ");
        assert_eq!(found.options().unwrap().1.key.as_deref(), Some("delete"));

        let found = context("http(url, #{ form: #{ pa");
        assert_eq!(found.options(), None);
        assert_eq!(context("rsync(a, [1, 2], ").argument(), Some(("rsync", 2)));
        assert_eq!(context("rsync(a, b); ").call(), None);
    }

    #[test]
    fn texts_words_and_paths_are_told_apart() {
        assert_eq!(context("on(\"ob").at, At::Text { start: 4, text: "ob".into() });
        assert_eq!(context("1 // se").at, At::Nowhere);
        assert_eq!(context("1 // se\nx").at, {
            At::Word { start: 8, word: "x".into(), path: vec![], dotted: false }
        });
        assert_eq!(context("a.b.c").at, {
            At::Word {
                start: 4,
                word: "c".into(),
                path: vec!["a".into(), "b".into()],
                dotted: true,
            }
        });
        assert_eq!(context("f().c").at, {
            At::Word { start: 4, word: "c".into(), path: vec![], dotted: true }
        });
        assert_eq!(context("12").at, At::Nowhere);
    }
}
