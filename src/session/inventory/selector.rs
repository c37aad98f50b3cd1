//! The grammar of selectors: items separated by commas, each of factors joined by `&`, each perhaps after `!`.

use crate::error::Failure;

/// What a factor is before it is looked up: a name, a tag, a glob, a range, an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Factor<'t> {
    /// Whether it stands after `!`.
    pub(super) not: bool,
    /// The text without `!`.
    pub(super) text: &'t str,
    /// Where the text begins in the selector, in characters from 1.
    pub(super) column: usize,
}

/// Factors joined by `&`; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<'t> {
    /// The text as it was written.
    pub(super) text: &'t str,
    /// Its factors.
    pub(super) factors: Vec<Factor<'t>>,
}

impl Item<'_> {
    /// Returns whether it only takes away.
    pub(super) fn takes_away(&self) -> bool {
        self.factors.iter().all(|factor| factor.not)
    }
}

/// Reads a selector. An empty item, as after a last comma, does not matter.
pub(super) fn parse(selector: &str) -> Result<Vec<Item<'_>>, Box<Failure>> {
    let mut items = Vec::new();
    for item in selector.split(',') {
        if item.trim().is_empty() {
            continue;
        }
        let pieces: Vec<&str> = item.split('&').collect();
        let last = pieces.len() - 1;
        let mut factors = Vec::new();
        for (index, piece) in pieces.into_iter().enumerate() {
            let side = if index == last && last > 0 { "after" } else { "before" };
            factors.push(factor(selector, piece, side)?);
        }
        items.push(Item { text: item.trim(), factors });
    }
    if items.is_empty() {
        let hint = "Write a name, @tag, all, a glob such as obs*, or several with commas.";
        return Err(Box::new(Failure::input("the selector of targets is empty").with_hint(hint)));
    }
    Ok(items)
}

fn factor<'t>(selector: &'t str, piece: &'t str, side: &str) -> Result<Factor<'t>, Box<Failure>> {
    let wrong = |part: &str, message: &str, hint: &str| {
        let message = format!("{message} (column {} of `{selector}`)", column(selector, part));
        Box::new(Failure::input(message).with_hint(hint))
    };
    let text = piece.trim();
    if text.is_empty() {
        let hint = "`&` joins two terms that must both hold, such as `@web & !web1`.";
        return Err(wrong(piece, &format!("nothing stands {side} `&`"), hint));
    }
    let (not, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, text),
    };
    if text.is_empty() {
        let hint = "`!` takes away what follows it, such as `@web, !web1`.";
        return Err(wrong(piece.trim(), "nothing stands after `!`", hint));
    }
    if text.starts_with('!') {
        return Err(wrong(text, "`!` stands twice", "Write it once, or not at all."));
    }
    if let Some(name) = text.strip_suffix(':') {
        let hint = format!(
            "Terms are separated by commas or joined by `&` alone: `{name}, other` or `{name} & other`."
        );
        return Err(wrong(text, &format!("`{text}` ends with a colon"), &hint));
    }
    if let Some(space) = text.find(char::is_whitespace) {
        let (first, second) = (&text[..space], text[space..].trim_start());
        let hint =
            format!("Separate terms with a comma, `{first}, {second}`, or join them by `&`.");
        return Err(wrong(second, &format!("`{text}` is two words"), &hint));
    }
    Ok(Factor { not, text, column: column(selector, text) })
}

/// Returns where `part`, a piece of `whole`, begins, in characters from 1.
fn column(whole: &str, part: &str) -> usize {
    let offset = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    whole.char_indices().take_while(|(at, _)| *at < offset).count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_and_factors_are_told_apart_with_their_places() {
        let selector = "ü1, tag:web & ! web1* ,,!@eu&!x";
        let items = parse(selector).unwrap();
        let shown: Vec<String> = items
            .iter()
            .map(|item| {
                let factor = |factor: &Factor<'_>| {
                    let not = if factor.not { "!" } else { "" };
                    format!("{not}{}@{}", factor.text, factor.column)
                };
                item.factors.iter().map(factor).collect::<Vec<_>>().join(" & ")
            })
            .collect();
        assert_eq!(shown, ["ü1@1", "tag:web@5 & !web1*@17", "!@eu@26 & !x@31"]);
        let takes: Vec<bool> = items.iter().map(Item::takes_away).collect();
        assert_eq!(takes, [false, false, true]);
    }

    #[test]
    fn what_is_no_selector_is_told_with_its_column() {
        for (selector, message) in [
            (" , ", "the selector of targets is empty"),
            ("a, @b &", "nothing stands after `&` (column 8 of `a, @b &`)"),
            ("& a", "nothing stands before `&` (column 1 of `& a`)"),
            ("a && b", "nothing stands before `&` (column 4 of `a && b`)"),
            ("a, !", "nothing stands after `!` (column 4 of `a, !`)"),
            ("!!a", "`!` stands twice (column 2 of `!!a`)"),
            ("web:&db", "`web:` ends with a colon (column 1 of `web:&db`)"),
            ("web db", "`web db` is two words (column 5 of `web db`)"),
        ] {
            assert_eq!(parse(selector).unwrap_err().message, message, "{selector}");
        }
    }
}
