//! Command line options: `--name value`, `--name=value`, flags and words.

use super::Outcome;

/// Options that take no value.
const FLAGS: &[&str] = &["foreground", "copy-exe", "without-exe", "outside"];

/// What follows the name of an option.
#[derive(Debug)]
enum Given {
    Nothing,
    Value(String),
}

/// What was given on the command line and is not consumed yet.
#[derive(Debug, Default)]
pub struct Arguments {
    options: Vec<(String, Given)>,
    words: Vec<String>,
}

impl Arguments {
    /// Splits the words after the command into options and plain words.
    pub fn parse(given: Vec<String>) -> Outcome<Self> {
        let mut parsed = Self::default();
        let mut given = given.into_iter();
        while let Some(word) = given.next() {
            let Some(option) = word.strip_prefix("--") else {
                parsed.words.push(word);
                continue;
            };
            if option.is_empty() {
                parsed.words.extend(given.by_ref());
            } else if let Some((name, value)) = option.split_once('=') {
                parsed.options.push((name.to_owned(), Given::Value(value.to_owned())));
            } else if FLAGS.contains(&option) {
                parsed.options.push((option.to_owned(), Given::Nothing));
            } else {
                let value = given.next().ok_or_else(|| format!("--{option} needs a value"))?;
                parsed.options.push((option.to_owned(), Given::Value(value)));
            }
        }
        Ok(parsed)
    }

    fn take(&mut self, name: &str) -> Outcome<Option<Given>> {
        let Some(position) = self.options.iter().position(|(n, _)| n == name) else {
            return Ok(None);
        };
        let (_, value) = self.options.remove(position);
        if self.options.iter().any(|(n, _)| n == name) {
            return Err(format!("--{name} is given twice"));
        }
        Ok(Some(value))
    }

    /// The value of an option that may be left out.
    pub fn optional(&mut self, name: &str) -> Outcome<Option<String>> {
        Ok(match self.take(name)? {
            Some(Given::Value(value)) => Some(value),
            Some(Given::Nothing) | None => None,
        })
    }

    /// The value of an option that must be given.
    pub fn required(&mut self, name: &str) -> Outcome<String> {
        self.optional(name)?.filter(|v| !v.is_empty()).ok_or_else(|| format!("--{name} is missing"))
    }

    /// An option with a number, or its default.
    pub fn number<N: std::str::FromStr>(&mut self, name: &str, default: N) -> Outcome<N> {
        match self.optional(name)? {
            None => Ok(default),
            Some(text) => {
                text.parse().map_err(|_| format!("--{name}: '{text}' is not a number in range"))
            }
        }
    }

    /// Whether a flag was given.
    pub fn flag(&mut self, name: &str) -> Outcome<bool> {
        match self.take(name)? {
            None => Ok(false),
            Some(Given::Nothing) => Ok(true),
            Some(Given::Value(_)) => Err(format!("--{name} takes no value")),
        }
    }

    /// The plain words, once no unknown option is left over.
    pub fn finish(&mut self, most_words: usize) -> Outcome<Vec<String>> {
        if let Some((name, _)) = self.options.first() {
            return Err(format!("unknown option --{name}; see --help"));
        }
        if self.words.len() > most_words {
            return Err(format!("unexpected '{}'; see --help", self.words[most_words]));
        }
        Ok(std::mem::take(&mut self.words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Arguments {
        Arguments::parse(words.iter().map(|&w| w.to_owned()).collect()).expect("parses")
    }

    #[test]
    fn options_flags_and_words_are_told_apart() {
        let mut given = parse(&["--home", "/h", "a=1", "--outside", "--port=80", "b"]);
        assert_eq!(given.required("home"), Ok("/h".to_owned()));
        assert_eq!(given.number("port", 1_u16), Ok(80));
        assert_eq!(given.flag("outside"), Ok(true));
        assert_eq!(given.finish(9), Ok(vec!["a=1".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn leftovers_are_errors() {
        assert!(parse(&["--hoem", "x"]).finish(0).is_err());
        assert!(parse(&["word"]).finish(0).is_err());
        assert!(parse(&["--port", "x"]).number("port", 1_u16).is_err());
    }
}
