//! Hosts as Ansible names them, with ranges and a port: `web[01:20].example.com:2222`, `[2001:db8::1]:22`.

use crate::session::config::ranges;

/// Returns the names that a pattern stands for, and the port that they have in common.
///
/// # Errors
/// A fragment that says what is wrong with the range.
pub(super) fn named(pattern: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let (pattern, port) = split_port(pattern);
    Ok((ranges::expand(&pattern)?, port))
}

/// Splits a port off: `host:22`, but nothing of an IPv6 address or of a range.
fn split_port(text: &str) -> (String, Option<u16>) {
    if let Some((host, port)) = text.rsplit_once(':')
        && !port.is_empty()
        && let Ok(number) = port.parse()
    {
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return (address.to_owned(), Some(number));
        }
        let outside = host.rfind('[').is_none_or(|open| host[open..].contains(']'));
        if outside && ranges_aside(host).matches(':').count() == 0 {
            return (host.to_owned(), Some(number));
        }
    }
    (text.to_owned(), None)
}

fn ranges_aside(text: &str) -> String {
    let mut depth = 0_usize;
    let keep = |c: &char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(keep).collect()
}
