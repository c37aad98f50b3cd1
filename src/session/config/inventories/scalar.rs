//! Plain words of YAML as Ansible's reader takes them, which is YAML 1.1: `yes` is true, `0x1f` and `1_000` are numbers,
//! `1:30` is ninety.

use saphyr_parser::{ScalarStyle, Tag};

use super::yaml::VAULT;
use crate::session::config::tree::Tree;

/// Reads a scalar.
pub(super) fn read(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Tree {
    let plain = Tree::Text(text.to_owned());
    if let Some(tag) = tag {
        let name = format!("{}{}", tag.handle, tag.suffix);
        return match name.as_str() {
            "!vault" | "!vault-encrypted" => Tree::Text(VAULT.to_owned()),
            "tag:yaml.org,2002:int" | "tag:yaml.org,2002:float" | "tag:yaml.org,2002:bool" => {
                resolved(text).unwrap_or(plain)
            }
            "tag:yaml.org,2002:null" => Tree::Nothing,
            _ => plain,
        };
    }
    if style == ScalarStyle::Plain { resolved(text).unwrap_or(plain) } else { plain }
}

fn resolved(text: &str) -> Option<Tree> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Tree::Nothing),
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Some(Tree::Bool(true));
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Some(Tree::Bool(false));
        }
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let negative = text.starts_with('-');
    if let Some(number) = whole(digits) {
        return Some(Tree::Int(if negative { -number } else { number }));
    }
    // A fraction without digits before its point has no sign.
    let number = fraction(digits).filter(|_| !digits.starts_with('.') || digits == text)?;
    Some(Tree::Float(if negative { -number } else { number }))
}

fn is(text: &str, digit: impl Fn(char) -> bool) -> bool {
    text.chars().all(|c| c == '_' || digit(c))
}

fn number(text: &str, radix: u32) -> Option<i64> {
    i64::from_str_radix(&text.replace('_', ""), radix).ok()
}

fn whole(digits: &str) -> Option<i64> {
    if let Some(rest) = digits.strip_prefix("0b") {
        return number(rest, 2).filter(|_| is(rest, |c| c.is_digit(2)));
    }
    if let Some(rest) = digits.strip_prefix("0x") {
        return number(rest, 16).filter(|_| is(rest, |c| c.is_ascii_hexdigit()));
    }
    if digits == "0" {
        return Some(0);
    }
    if let Some(rest) = digits.strip_prefix('0') {
        return number(rest, 8).filter(|_| is(rest, |c| c.is_digit(8)));
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (first, rest) = digits.split_once(':').unwrap_or((digits, ""));
    let first = number(first, 10).filter(|_| is(first, |c| c.is_ascii_digit()))?;
    if rest.is_empty() && digits.contains(':') {
        return None;
    }
    sixties(rest, first)
}

/// Reads what follows a number and a colon, `30` or `30:15`, each up to 59.
fn sixties(rest: &str, first: i64) -> Option<i64> {
    let parts = rest.split(':').filter(|_| !rest.is_empty());
    parts.into_iter().try_fold(first, |sum, part| {
        let fits = matches!(part.len(), 1 | 2) && part.bytes().all(|c| c.is_ascii_digit());
        let part = part.parse::<i64>().ok().filter(|part| fits && *part < 60)?;
        sum.checked_mul(60)?.checked_add(part)
    })
}

#[expect(clippy::cast_precision_loss, reason = "a count of seconds that somebody wrote")]
fn fraction(digits: &str) -> Option<f64> {
    let (before, after) = digits.split_once('.')?;
    let (after, exponent) = match after.find(['e', 'E']) {
        Some(at) => (&after[..at], Some(&after[at + 1..])),
        None => (after, None),
    };
    let decimal = |c: char| c.is_ascii_digit();
    let well = is(after, decimal)
        && exponent.is_none_or(|exponent| {
            // Its sign is not left out.
            exponent.strip_prefix(['+', '-']).is_some_and(|digits| {
                !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit())
            })
        });
    if !well {
        return None;
    }
    let after = after.replace('_', "");
    if before.is_empty() {
        let begins = digits[1..].starts_with(decimal);
        return format!("0.{after}e{}", exponent.unwrap_or("0")).parse().ok().filter(|_| begins);
    }
    if let Some((first, rest)) = before.split_once(':') {
        let first = number(first, 10).filter(|_| is(first, decimal) && exponent.is_none())?;
        let fraction: f64 = format!("0.{after}0").parse().ok()?;
        return Some(sixties(rest, first)? as f64 + fraction);
    }
    if !before.starts_with(decimal) || !is(before, decimal) {
        return None;
    }
    let before = before.replace('_', "");
    format!("{before}.{after}0e{}", exponent.unwrap_or("0")).parse().ok()
}
