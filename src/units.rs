//! Durations and sizes as people write them: `90s`, `1h 30m`, `7d`, `2GiB`; and names, as many as people read.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// How many names are listed where all of them would be too many to read.
const LISTED: usize = 8;

/// Says names: all of a few, the first of many and how many more there are.
pub fn say_names<N: AsRef<str>>(names: &[N]) -> String {
    let said: Vec<&str> = names.iter().take(LISTED).map(AsRef::as_ref).collect();
    match names.len() - said.len() {
        0 => said.join(", "),
        more => format!("{} and {more} more", said.join(", ")),
    }
}

/// Parses a duration such as `500ms`, `90s`, `1h 30m` or `7d`. A day is 24 hours.
///
/// # Errors
/// A sentence fragment that names the text and what was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected =
        || format!("`{text}` is no duration; expected for example `90s`, `1h 30m` or `7d`");
    let span: Span = text.trim().parse().map_err(|_| expected())?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| expected())?;
    Duration::try_from(signed).map_err(|_| format!("`{text}` is negative; a duration cannot be"))
}

/// Says a duration in the words that [`duration`] reads, rounded to what a person needs.
pub fn say_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_millis() == 0 => "0s".to_owned(),
        0 => format!("{}ms", duration.as_millis()),
        1..=9 => format!("{:.1}s", duration.as_secs_f64()).replace(".0s", "s"),
        10..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Parses a size such as `512`, `64KiB`, `2GiB`, `10 GB` into bytes.
///
/// # Errors
/// A sentence fragment that names the text and what was expected.
pub fn size(text: &str) -> Result<u64, String> {
    let expected = || format!("`{text}` is no size; expected for example `512KiB` or `2GiB`");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let number: f64 = trimmed[..digits].parse().map_err(|_| expected())?;
    let factor: f64 = match trimmed[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "kb" => 1e3,
        "m" | "mib" => 1024.0 * 1024.0,
        "mb" => 1e6,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "gb" => 1e9,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "tb" => 1e12,
        _ => return Err(expected()),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the digits are not negative"
    )]
    Ok((number * factor) as u64)
}

/// Says a size in binary units with three figures.
pub fn say_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "three figures are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 100.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// Returns the candidate nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(3) / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_the_first_are_said() {
        let names: Vec<String> = (0..1000).map(|n| format!("t{n}")).collect();
        assert_eq!(say_names(&names), "t0, t1, t2, t3, t4, t5, t6, t7 and 992 more");
        assert_eq!(say_names(&names[..8]), "t0, t1, t2, t3, t4, t5, t6, t7");
        assert_eq!(say_names::<&str>(&[]), "");
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in
            [("90s", 90), ("1h 30m", 5400), ("7d", 604_800), ("5min", 300), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(duration("soon").unwrap_err().contains("`soon` is no duration"));
        assert!(duration("-5s").unwrap_err().contains("negative"));
        assert!(duration("").is_err());
    }

    #[test]
    fn sizes_are_read_and_said() {
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert_eq!(size("10 kb"), Ok(10_000));
        assert_eq!(size("512"), Ok(512));
        assert!(size("many").is_err());
        assert_eq!(say_size(2 << 30), "2.00 GiB");
        assert_eq!(say_size(999), "999 B");
    }

    #[test]
    fn durations_are_said_briefly() {
        let said = [0, 900, 1500, 45_000, 192_000, 7_500_000, 700_000_000]
            .map(|ms| say_duration(Duration::from_millis(ms)));
        assert_eq!(said, ["0s", "900ms", "1.5s", "45s", "3m 12s", "2h 05m", "8d 02h"]);
    }

    #[test]
    fn the_nearest_word_is_near() {
        assert_eq!(nearest("delet", ["delete", "checksum"]), Some("delete"));
        assert_eq!(nearest("zzz", ["delete", "checksum"]), None);
    }
}
