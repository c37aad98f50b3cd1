//! Ranges in names, as Ansible writes them: `web[01:20]`, `db[a:c]`, with a step `[0:10:2]`.

/// More names than one text may stand for.
const MOST: usize = 100_000;

/// Returns the names that a text stands for, in order; without a range, itself. A bracket without a colon is no range.
///
/// # Errors
/// A fragment that says what is wrong with the range.
pub(in crate::session) fn expand(text: &str) -> Result<Vec<String>, String> {
    let mut names = vec![String::new()];
    let mut rest = text;
    while let Some((before, inner, after)) = first(rest) {
        let parts = values(inner).map_err(|why| format!("the range `[{inner}]` {why}"))?;
        if parts.len().saturating_mul(names.len()) > MOST {
            return Err(format!("`{text}` stands for more than {MOST} names"));
        }
        names = names
            .iter()
            .flat_map(|name| parts.iter().map(move |part| format!("{name}{before}{part}")))
            .collect();
        rest = after;
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(names)
}

/// Splits a text at its first range: what is before it, within it, after it.
fn first(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find('[').map(|at| from + at) {
        let close = open + text[open..].find(']')?;
        let inner = &text[open + 1..close];
        if inner.contains(':') && !inner.contains('[') {
            return Some((&text[..open], inner, &text[close + 1..]));
        }
        from = open + 1;
    }
    None
}

/// Returns what a range stands for: `begin:end` or `begin:end:step`, the end included.
fn values(inner: &str) -> Result<Vec<String>, String> {
    let mut parts = inner.split(':');
    let (begin, end) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let step = parts.next().unwrap_or("1");
    if parts.next().is_some() {
        return Err("has more parts than a begin, an end and a step".to_owned());
    }
    if end.is_empty() {
        return Err("has no end".to_owned());
    }
    let step = match number(step) {
        Some(step) if step > 0 => step,
        _ => return Err(format!("has the step `{step}`, expected a number from 1")),
    };
    let letter = |text: &str| {
        let mut chars = text.chars();
        chars.next().filter(|c| c.is_ascii_alphabetic() && chars.next().is_none())
    };
    if let (Some(first), Some(last)) = (letter(begin), letter(end)) {
        if first.is_ascii_lowercase() != last.is_ascii_lowercase() {
            return Err("mixes upper and lower case".to_owned());
        }
        let codes = span(u64::from(first as u32), u64::from(last as u32), step)?;
        let letter = |code: u64| u8::try_from(code).map(|code| char::from(code).to_string());
        return Ok(codes.filter_map(|code| letter(code).ok()).collect());
    }
    let first = if begin.is_empty() { Some(0) } else { number(begin) };
    let (Some(first), Some(last)) = (first, number(end)) else {
        return Err("is not from one number or letter to another".to_owned());
    };
    let padded = begin.len() > 1 && begin.starts_with('0');
    if padded && begin.len() != end.len() {
        return Err("begins with zeros, so begin and end must have as many digits".to_owned());
    }
    let width = if padded { begin.len() } else { 0 };
    Ok(span(first, last, step)?.map(|number| format!("{number:0width$}")).collect())
}

fn span(first: u64, last: u64, step: u64) -> Result<impl Iterator<Item = u64>, String> {
    if first > last {
        return Err("ends before it begins".to_owned());
    }
    let count = usize::try_from((last - first) / step).unwrap_or(usize::MAX);
    if count >= MOST {
        return Err(format!("stands for more than {MOST} names"));
    }
    Ok((0..=count as u64).map(move |index| first + index * step))
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stand_for_names() {
        for (text, names) in [
            ("web1", "web1"),
            ("web[1:3]", "web1 web2 web3"),
            ("web[08:11]x", "web08x web09x web10x web11x"),
            ("web[1:7:3]", "web1 web4 web7"),
            ("web[:2]", "web0 web1 web2"),
            ("db[a:c]", "dba dbb dbc"),
            ("[a:b][1:2]", "a1 a2 b1 b2"),
            ("obs[1-3]", "obs[1-3]"),
            ("a[1-2]b[3:4]", "a[1-2]b3 a[1-2]b4"),
            ("a[1", "a[1"),
        ] {
            assert_eq!(expand(text).map(|names| names.join(" ")), Ok(names.to_owned()), "{text}");
        }
    }

    #[test]
    fn ranges_that_stand_for_nothing_are_told() {
        for (text, why) in [
            ("w[1:]", "has no end"),
            ("w[3:1]", "ends before it begins"),
            ("w[01:100]", "as many digits"),
            ("w[a:3]", "is not from one number or letter to another"),
            ("w[a:C]", "mixes upper and lower case"),
            ("w[1:3:0]", "expected a number from 1"),
            ("w[1:3:1:1]", "more parts"),
            ("w[1:99999999999999999999]", "is not from one number"),
            ("w[0:18446744073709551615]", "more than 100000"),
            ("w[1:1000][1:1000]", "more than 100000"),
        ] {
            let said = expand(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
