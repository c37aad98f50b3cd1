//! The one function that quotes an argument for a POSIX shell.

/// Quotes `word` so that a POSIX shell reads back exactly these characters.
///
/// # Errors
/// A fragment that says so if `word` holds a NUL, which no argument can carry.
pub fn quote(word: &str) -> Result<String, String> {
    shlex::try_quote(word).map(std::borrow::Cow::into_owned).map_err(|_| {
        format!("the argument {word:?} holds a NUL character, which no command line can carry")
    })
}

/// Quotes and joins `words` with spaces.
///
/// # Errors
/// As [`quote`].
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<String, String> {
    Ok(words.into_iter().map(quote).collect::<Result<Vec<_>, _>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn sh_reads_back_what_was_quoted(word in "[^\0]*") {
            let line = format!("printf %s {}", quote(&word).unwrap());
            let output = std::process::Command::new("sh").arg("-c").arg(line).output().unwrap();
            prop_assert_eq!(output.stdout, word.as_bytes());
        }
    }

    #[test]
    fn a_nul_is_refused() {
        assert!(quote("a\0b").unwrap_err().contains("NUL"));
    }
}
