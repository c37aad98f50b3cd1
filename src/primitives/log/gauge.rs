//! Progress out of lines: which group of a pattern is what, how fast it goes, how long it will take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use regex::bytes::{Captures, Regex};

use crate::event::Progress;

/// The part of the past that tells the speed.
const WINDOW: Duration = Duration::from_secs(120);
/// How many points of it are kept.
const POINTS: usize = 240;
/// How long one must look before the speed means anything.
const SHORTEST: Duration = Duration::from_secs(1);
/// How often progress is told at most.
const EVERY: Duration = Duration::from_millis(250);

/// Which groups of the pattern mean what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Roles {
    done: Option<usize>,
    total: Option<usize>,
    what: Option<usize>,
}

/// Measures progress.
#[derive(Debug)]
pub(super) struct Gauge {
    unit: String,
    roles: Roles,
    /// Without a number to catch, each line that matches is one more.
    counted: u64,
    points: VecDeque<(Instant, u64)>,
    now: Option<Progress>,
    told: Option<Instant>,
}

impl Gauge {
    /// Makes a gauge for a pattern, which is valid.
    pub(super) fn new(pattern: &str, unit: &str) -> Self {
        Self {
            unit: unit.to_owned(),
            roles: roles(pattern),
            counted: 0,
            points: VecDeque::new(),
            now: None,
            told: None,
        }
    }

    /// Takes what the pattern caught in a line.
    pub(super) fn note(&mut self, _pattern: &Regex, captures: &Captures<'_>, now: Instant) {
        let text = |group: Option<usize>| {
            let group = captures.get(group?)?;
            Some(String::from_utf8_lossy(group.as_bytes()).trim().to_owned())
        };
        let number = |group| {
            let digits: String = text(group)?.chars().filter(|c| !",._' ".contains(*c)).collect();
            digits.parse::<u64>().ok()
        };
        self.counted += 1;
        let done = match self.roles.done {
            None => self.counted,
            Some(_) => match number(self.roles.done) {
                Some(done) => done,
                None => return,
            },
        };
        // Counting started again: what was before says nothing about the speed now.
        if self.points.back().is_some_and(|(_, last)| done < *last) {
            self.points.clear();
        }
        self.points.push_back((now, done));
        while self.points.len() > POINTS
            || self
                .points
                .front()
                .is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW)
                && self.points.len() > 2
        {
            self.points.pop_front();
        }
        let total = number(self.roles.total);
        self.now = Some(Progress {
            done,
            total,
            unit: self.unit.clone(),
            message: text(self.roles.what).unwrap_or_default(),
            eta_seconds: None,
        });
    }

    /// Forgets the speed, not the state.
    pub(super) fn forget_speed(&mut self) {
        let last = self.points.pop_back();
        self.points.clear();
        self.points.extend(last);
    }

    /// Returns what is to be told now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Progress> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            return None;
        }
        let progress = self.untold()?;
        self.told = Some(now);
        Some(progress)
    }

    /// Returns what has not been told.
    pub(super) fn untold(&mut self) -> Option<Progress> {
        let mut progress = self.now.take()?;
        progress.eta_seconds = self.eta(&progress);
        Some(progress)
    }

    fn eta(&self, progress: &Progress) -> Option<u64> {
        let left = progress.total?.saturating_sub(progress.done);
        if left == 0 {
            return Some(0);
        }
        let ((began, first), (ended, last)) = (self.points.front()?, self.points.back()?);
        let took = ended.saturating_duration_since(*began);
        let gained = last.saturating_sub(*first);
        if took < SHORTEST || gained == 0 {
            return None;
        }
        let millis = took.as_millis() * u128::from(left) / u128::from(gained);
        u64::try_from(millis.div_ceil(1000)).ok()
    }
}

/// Finds out what the groups of a pattern mean: by the names `done`, `total` and `what`; else the groups that catch
/// digits alone are done and total in this order, and the first other one is what.
fn roles(pattern: &str) -> Roles {
    let groups = groups(pattern);
    let named = |name: &str| groups.iter().position(|group| group.name == name).map(|at| at + 1);
    let by_name = Roles { done: named("done"), total: named("total"), what: named("what") };
    if by_name != Roles::default() {
        return by_name;
    }
    let is_number = |body: &str| {
        let rest = body.replace(r"\d", "0").replace("[0-9]", "0").replace("[[:digit:]]", "0");
        rest.contains('0')
            && rest.chars().all(|c| c.is_ascii_digit() || "+*?{},. _'[]\\".contains(c))
    };
    let mut numbers = (1..=groups.len()).filter(|at| is_number(groups[at - 1].body));
    let (done, total) = (numbers.next(), numbers.next());
    let what = (1..=groups.len()).find(|at| !is_number(groups[at - 1].body));
    match done {
        Some(_) => Roles { done, total, what },
        // `(.*) of (.*)`: taken as they come.
        None if groups.len() >= 2 => {
            Roles { done: Some(1), total: Some(2), what: (groups.len() >= 3).then_some(3) }
        }
        None => Roles { what, ..Roles::default() },
    }
}

#[derive(Debug, PartialEq)]
struct Group<'a> {
    name: &'a str,
    body: &'a str,
}

/// Returns the capture groups of a valid pattern in their order.
fn groups(pattern: &str) -> Vec<Group<'_>> {
    let bytes = pattern.as_bytes();
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut open: Vec<Option<(usize, usize)>> = Vec::new();
    let (mut at, mut class) = (0, 0_u32);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'[' => class += 1,
            b']' if class > 0 => class -= 1,
            b'(' if class == 0 => {
                let rest = &pattern[at + 1..];
                let name = rest.strip_prefix("?P<").or_else(|| rest.strip_prefix("?<"));
                let name = name.and_then(|name| name.split_once('>').map(|(name, _)| name));
                if rest.starts_with('?') && name.is_none() {
                    open.push(None);
                } else {
                    let body = at + 1 + name.map_or(0, |_| rest.find('>').unwrap_or_default() + 1);
                    groups.push(Group { name: name.unwrap_or_default(), body: "" });
                    open.push(Some((groups.len() - 1, body)));
                }
            }
            b')' if class == 0 => {
                if let Some(Some((group, body))) = open.pop() {
                    groups[group].body = &pattern[body..at];
                }
            }
            _ => {}
        }
        at += 1;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = r"\[Indexing\] user '(.*)' \((\d+) of (\d+)\)";

    fn note(gauge: &mut Gauge, pattern: &str, line: &str, now: Instant) {
        let pattern = Regex::new(pattern).unwrap();
        let captures = pattern.captures(line.as_bytes()).unwrap();
        gauge.note(&pattern, &captures, now);
    }

    #[test]
    fn groups_find_their_meaning() {
        let some = |done, total, what| Roles { done, total, what };
        for (pattern, expected) in [
            (INDEX, some(Some(2), Some(3), Some(1))),
            (r"(\d+)/(\d+)", some(Some(1), Some(2), None)),
            (r"(\d+) of ([0-9]+): (.+)", some(Some(1), Some(2), Some(3))),
            (r"(?<total>\d+) .* (?<done>\d+)", some(Some(2), Some(1), None)),
            (r"(?:a|b) ([(\d]+) \((\d{1,3})%\)", some(Some(2), None, Some(1))),
            (r"(.*) of (.*)", some(Some(1), Some(2), None)),
            (r"user (\w+) finished", some(None, None, Some(1))),
            (r"finished", some(None, None, None)),
        ] {
            assert_eq!(roles(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn a_name_that_is_a_number_is_still_a_name() {
        let mut gauge = Gauge::new(INDEX, "users");

        note(&mut gauge, INDEX, "[Indexing] user '42' (7 of 40) finished", Instant::now());

        let progress = gauge.untold().unwrap();
        assert_eq!((progress.done, progress.total, &*progress.message), (7, Some(40), "42"));
    }

    #[test]
    fn the_time_to_go_follows_the_speed_and_survives_a_new_count() {
        let (mut gauge, start) = (Gauge::new(INDEX, "users"), Instant::now());
        let line = |done: u64| format!("[Indexing] user 'a' ({done} of 40)");
        let at = |seconds| start + Duration::from_secs(seconds);

        note(&mut gauge, INDEX, &line(10), at(0));
        assert_eq!(gauge.untold().unwrap().eta_seconds, None);
        note(&mut gauge, INDEX, &line(20), at(10));
        assert_eq!(gauge.untold().unwrap().eta_seconds, Some(20));
        note(&mut gauge, INDEX, &line(1), at(20));
        assert_eq!(gauge.untold().unwrap().eta_seconds, None);
        note(&mut gauge, INDEX, &line(2), at(22));
        assert_eq!(gauge.untold().unwrap().eta_seconds, Some(76));
        note(&mut gauge, INDEX, &line(40), at(30));
        assert_eq!(gauge.untold().unwrap().eta_seconds, Some(0));
    }

    #[test]
    fn progress_is_told_four_times_a_second_and_the_last_is_not_lost() {
        let (mut gauge, start) = (Gauge::new(INDEX, "users"), Instant::now());
        let mut told = Vec::new();
        for step in 0..1000_u64 {
            let now = start + Duration::from_millis(step);
            note(&mut gauge, INDEX, &format!("[Indexing] user 'a' ({step} of 1000)"), now);
            told.extend(gauge.due(now).map(|progress| progress.done));
        }

        assert_eq!(told, [0, 250, 500, 750]);
        assert_eq!(gauge.due(start + Duration::from_secs(1)).unwrap().done, 999);
        assert_eq!(gauge.due(start + Duration::from_secs(2)), None);
    }

    #[test]
    fn without_numbers_lines_are_counted() {
        let mut gauge = Gauge::new(r"user (\w+) finished", "users");

        for name in ["a", "b"] {
            note(
                &mut gauge,
                r"user (\w+) finished",
                &format!("user {name} finished"),
                Instant::now(),
            );
        }

        let progress = gauge.untold().unwrap();
        assert_eq!((progress.done, progress.total, &*progress.message), (2, None, "b"));
    }
}
