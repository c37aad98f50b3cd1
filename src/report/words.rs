//! Small phrases that several reports share.

use std::time::Duration;

use jiff::Timestamp;

use crate::units::{say_duration, say_size};

/// Says a number of things: `1 change`, `3 changes`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Says a running clock: `0:42`, `1:02:03`.
pub(super) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Returns the time from one moment to a later one; zero if it is not later.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Says how far a duration reaches, in one unit: `45s`, `12m`, `3h`, `6d`, `5w`.
fn coarse(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m", seconds / 60),
        3600..=86_399 => format!("{}h", seconds / 3600),
        86_400..=2_419_199 => format!("{}d", seconds / 86_400),
        _ => format!("{}w", seconds / 604_800),
    }
}

/// Says when something was, seen from now.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    if now < at && between(now, at) > Duration::from_secs(5) {
        format!("in {}", coarse(between(now, at)))
    } else if between(at, now) < Duration::from_secs(5) {
        "just now".to_owned()
    } else {
        format!("{} ago", coarse(between(at, now)))
    }
}

/// Says a duration that is worth a word; what passes at once is not.
pub(super) fn took(ms: u64) -> Option<String> {
    (ms >= 1000).then(|| say_duration(Duration::from_millis(ms)))
}

/// Says an amount in its unit.
pub(super) fn amount(amount: u64, unit: &str) -> String {
    match unit {
        "bytes" => say_size(amount),
        "seconds" => say_duration(Duration::from_secs(amount)),
        "" => amount.to_string(),
        unit if amount == 1 => format!("1 {}", unit.strip_suffix('s').unwrap_or(unit)),
        unit => format!("{amount} {unit}"),
    }
}

/// Says a part of a whole in its unit: `17 of 36 users`, `1.20 of 3.00 GiB`.
pub(super) fn part(done: u64, total: Option<u64>, unit: &str) -> String {
    let Some(total) = total else { return amount(done, unit) };
    let (part, whole) = (amount(done, unit), amount(total, unit));
    match unit {
        "bytes" => match (part.split_once(' '), whole.split_once(' ')) {
            (Some((number, small)), Some((_, large))) if small == large => {
                format!("{number} of {whole}")
            }
            _ => format!("{part} of {whole}"),
        },
        "seconds" => format!("{part} of {whole}"),
        _ => format!("{done} of {whole}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_said_with_their_unit_once() {
        assert_eq!(part(17, Some(36), "users"), "17 of 36 users");
        assert_eq!(part(1, None, "users"), "1 user");
        assert_eq!(part(1 << 30, Some(3 << 30), "bytes"), "1.00 of 3.00 GiB");
        assert_eq!(part(1 << 20, Some(3 << 30), "bytes"), "1.00 MiB of 3.00 GiB");
        assert_eq!(part(12, Some(300), "seconds"), "12s of 5m 00s");
    }

    #[test]
    fn times_are_said_from_now() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let said = [0, 45, 720, 10_800, 500_000, 9_000_000].map(|s| ago(at(0), at(s)));
        assert_eq!(said, ["just now", "45s ago", "12m ago", "3h ago", "5d ago", "14w ago"]);
        assert_eq!(ago(at(7200), at(0)), "in 2h");
        assert_eq!(clock(Duration::from_secs(42)), "0:42");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }
}
