//! Which files a log is: one name that is rotated, a name with a date in it, or a unit of the systemd journal. Knows
//! names and their order, no contents.

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;

use crate::error::{Failure, Halt, Result};

/// The date in a name, as far as the name has it: year, month, day, day of the year, week, hour, minute, second.
pub(super) type Date = (i16, i8, i8, i16, i8, i8, i8, i8);

/// What the name of a file says about when it was rotated away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// The higher the number, the older.
    Number(u32),
    /// It has a date, in whatever notation.
    Date,
}

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// One name; what is rotated away from it lies beside it.
    Plain {
        /// The directory.
        dir: String,
        /// The name in it.
        base: String,
    },
    /// `dir/head{date:format}tail`: a new file for each day, hour or month.
    Dated {
        /// The directory in which the glob starts.
        dir: String,
        /// What stands before the date.
        head: String,
        /// The date, in the notation of strftime.
        format: String,
        /// What stands after it.
        tail: String,
    },
    /// A unit of the systemd journal.
    Journal {
        /// Its name.
        unit: String,
    },
}

/// The endings of files that were compressed after they were rotated away.
const PACKED: [&str; 4] = [".gz", ".bz2", ".xz", ".zst"];

/// Returns whether a file is compressed, by its name.
pub(super) fn is_packed(path: &str) -> bool {
    PACKED.iter().any(|ending| path.ends_with(ending))
}

/// Returns the name that a file had before it was compressed.
pub(super) fn unpacked(path: &str) -> &str {
    PACKED.iter().find_map(|ending| path.strip_suffix(ending)).unwrap_or(path)
}

impl Source {
    /// Reads what a runbook calls a log.
    ///
    /// # Errors
    /// A failure of kind `input` that names the part that is wrong.
    pub(super) fn parse(text: &str) -> Result<Self> {
        if let Some(unit) = text.strip_prefix("journal:") {
            let valid = !unit.is_empty()
                && !unit.starts_with('-')
                && unit.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c));
            return if valid {
                Ok(Self::Journal { unit: unit.to_owned() })
            } else {
                Err(Failure::input(format!("`{unit}` is no name of a systemd unit")).into())
            };
        }
        if !text.starts_with('/') {
            return Err(Failure::input(format!("`{text}` is no absolute path"))
                .with_hint("Write the path from `/` on; what is current differs between targets.")
                .into());
        }
        if text.contains(['\n', '\0']) {
            return Err(Failure::input("the path of a log cannot hold a line break or NUL").into());
        }
        let Some(open) = text.find('{') else {
            if text.contains('}') {
                return Err(unbalanced(text).into());
            }
            let (dir, base) = split(text);
            return if base.is_empty() || base == "." || base == ".." {
                Err(Failure::input(format!("`{text}` is a directory, not a log")).into())
            } else {
                Ok(Self::Plain { dir: dir.to_owned(), base: base.to_owned() })
            };
        };
        let close = text[open..].find('}').map(|at| open + at).ok_or_else(|| unbalanced(text))?;
        let (before, inside, tail) = (&text[..open], &text[open + 1..close], &text[close + 1..]);
        let format = match inside.split_once(':') {
            Some(("date", format)) => format,
            None if inside == "date" => "%Y-%m-%d",
            _ => {
                return Err(Failure::input(format!("`{{{inside}}}` is not known in `{text}`"))
                    .with_hint("Only a date such as `{date:%Y-%m-%d}` is filled in here; put other values in before the call.").into());
            }
        };
        if tail.contains("{date") {
            return Err(Failure::input(format!("`{text}` has more than one date"))
                .with_hint("Put all conversions into one: `{date:%Y-%m/%d}`.")
                .into());
        }
        if before.contains('}') || tail.contains(['{', '}']) {
            return Err(unbalanced(text).into());
        }
        check_format(format)?;
        let (dir, head) = split(before);
        Ok(Self::Dated {
            dir: dir.to_owned(),
            head: head.to_owned(),
            format: format.to_owned(),
            tail: tail.to_owned(),
        })
    }

    /// Returns the date in the name of a file of this log, and nothing for any other file.
    pub(super) fn date(&self, path: &str) -> Option<Date> {
        let Self::Dated { dir, head, format, tail } = self else { return None };
        let name =
            path.strip_prefix(dir.as_str())?.strip_prefix('/')?.strip_prefix(head.as_str())?;
        let middle = match name.strip_suffix(tail.as_str()) {
            Some(middle) => middle,
            None => unpacked(name).strip_suffix(tail.as_str())?,
        };
        read_date(format, middle)
    }

    /// Returns the path of a log with one name.
    pub(super) fn path(&self) -> Option<String> {
        match self {
            Self::Plain { dir, base } => Some(format!("{dir}/{base}")),
            _ => None,
        }
    }

    /// Returns the age of a file that was rotated away from this name, and nothing if the file is something else that
    /// lies beside it.
    pub(super) fn rotated(&self, path: &str) -> Option<Age> {
        let Self::Plain { dir, base } = self else { return None };
        let name = unpacked(path.strip_prefix(dir.as_str())?.strip_prefix('/')?);
        if let Some(age) = name.strip_prefix(base.as_str()).and_then(age) {
            return Some(age);
        }
        // `app.1.log`, `app-20261122.log`: the ending stays at the end.
        let (stem, ending) = base.rsplit_once('.')?;
        age(name.strip_suffix(ending)?.strip_suffix('.')?.strip_prefix(stem)?)
    }
}

/// Reads what rotation put into a name: `.1`, `-20261122`, `.2026-11-22_04`, `.old`.
fn age(suffix: &str) -> Option<Age> {
    let rest = suffix.strip_prefix(['.', '-', '_'])?;
    if ["old", "prev", "0"].contains(&rest) {
        return Some(Age::Number(0));
    }
    let plain = rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.chars().all(|c| c.is_ascii_digit() || "-_.:T".contains(c));
    plain.then(|| match rest.parse() {
        Ok(number) if rest.len() <= 3 => Age::Number(number),
        _ => Age::Date,
    })
}

fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some((dir, name)) => (dir, name),
        None => ("", path),
    }
}

fn unbalanced(text: &str) -> Failure {
    Failure::input(format!("`{text}` has a brace without its other half"))
        .with_hint("A date is written as `{date:%Y-%m-%d}`.")
}

fn read_date(format: &str, text: &str) -> Option<Date> {
    let time = BrokenDownTime::parse(format, text).ok()?;
    Some((
        time.year().or(time.iso_week_year())?,
        time.month().unwrap_or_default(),
        time.day().unwrap_or_default(),
        time.day_of_year().unwrap_or_default(),
        time.iso_week().unwrap_or_default(),
        time.hour().unwrap_or_default(),
        time.minute().unwrap_or_default(),
        time.second().unwrap_or_default(),
    ))
}

/// A date is only of use if names with it can be recognised and put in order.
fn check_format(format: &str) -> Result<()> {
    let wrong = |why: String| -> Halt {
        Failure::input(format!("the date `{format}`: {why}"))
            .with_hint("It is written as for strftime: `%Y-%m-%d`, `%Y%m%d-%H`, `%F`.")
            .into()
    };
    let sample = DateTime::constant(2026, 11, 22, 13, 14, 15, 0);
    let zoned = sample.to_zoned(jiff::tz::TimeZone::UTC).map_err(|why| wrong(why.to_string()))?;
    let text = jiff::fmt::strtime::format(format, &zoned).map_err(|why| wrong(why.to_string()))?;
    if text == format {
        return Err(wrong("it has no conversion".to_owned()));
    }
    match BrokenDownTime::parse(format, &text) {
        Err(why) => Err(wrong(format!("it cannot be read back from a name: {why}"))),
        Ok(_) if read_date(format, &text).is_none() => {
            Err(wrong("it has no year, so the files cannot be put in order".to_owned()))
        }
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dated_names_are_recognised_and_ordered() {
        let source = Source::parse("/obs/system/SystemLog/{date:%Y-%m-%d}.log").unwrap();

        let date = |name: &str| source.date(&format!("/obs/system/SystemLog/{name}"));
        assert!(date("2026-11-22.log") < date("2026-12-01.log"));
        assert!(date("2026-11-22.log").is_some());
        assert_eq!(date("2026-11-22.log.gz"), date("2026-11-22.log"));
        assert_eq!(date("2026-11-22.log.1"), None);
        assert_eq!(date("*.log"), None);
        assert_eq!(date("2026-13-22.log"), None);
    }

    #[test]
    fn several_conversions_order_by_time_and_not_by_spelling() {
        for (template, older, newer) in [
            ("/l/app-{date:%d.%m.%Y}.log", "/l/app-30.11.2026.log", "/l/app-01.12.2026.log"),
            ("/l/{date:%Y%m%d-%H}", "/l/20261122-09", "/l/20261122-10"),
            ("/l/{date:%Y/%b/%d}/x.log", "/l/2026/Aug/30/x.log", "/l/2026/Sep/01/x.log"),
            ("/l/{date:%Y-%m}.log", "/l/2026-11.log", "/l/2026-12.log"),
            ("/l/{date:%Y.%j}", "/l/2026.100", "/l/2027.001"),
            ("/l/{date}", "/l/2026-11-22", "/l/2026-11-23"),
        ] {
            let source = Source::parse(template).unwrap();
            let (older, newer) = (source.date(older), source.date(newer));
            assert!(older.is_some() && older < newer, "{template}: {older:?} {newer:?}");
        }
    }

    #[test]
    fn bad_templates_say_what_is_wrong() {
        for (template, message) in [
            ("/a/{home}/x.log", "`{home}` is not known"),
            ("/a/{date:%Y-%m-%d", "without its other half"),
            ("/a/x}.log", "without its other half"),
            ("/a/{date:%Y}/{date:%m}", "more than one date"),
            ("/a/{date:today}.log", "has no conversion"),
            ("/a/{date:%m-%d}.log", "has no year"),
            ("/a/{date:%Y-%!}.log", "the date `%Y-%!`"),
            ("a.log", "no absolute path"),
            ("/var/log/", "is a directory"),
            ("journal:", "no name of a systemd unit"),
            ("journal:a b", "no name of a systemd unit"),
        ] {
            let failure = Source::parse(template).unwrap_err().to_string();
            assert!(failure.contains(message), "{template}: {failure}");
        }
    }

    #[test]
    fn what_was_rotated_away_is_told_from_what_lies_beside() {
        let source = Source::parse("/l/app.log").unwrap();

        let age = |name: &str| source.rotated(&format!("/l/{name}"));
        assert_eq!(age("app.log.1"), Some(Age::Number(1)));
        assert_eq!(age("app.log.12.gz"), Some(Age::Number(12)));
        assert_eq!(age("app.log-20261122"), Some(Age::Date));
        assert_eq!(age("app.log.2026-11-22_04.xz"), Some(Age::Date));
        assert_eq!(age("app.1.log"), Some(Age::Number(1)));
        assert_eq!(age("app.log.old"), Some(Age::Number(0)));
        for other in
            ["app.log", "app.log.bak", "app.log.offset", "apple.log", "app.log~", "app.logger.1"]
        {
            assert_eq!(age(other), None, "{other}");
        }
    }
}
