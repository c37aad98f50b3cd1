//! Brings many users to one state, one after the other: whom it fails for does not hold up the others, and what counts in
//! the end is what the application lists, not what it answered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Listing, State, User, Who, count, list, names};
use crate::effect::{App, Cx};
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::Progress;
use crate::primitives::app::verb;
use crate::units;

/// How many failures in a row mean that it is the application that fails, not a user.
const FAILURES_IN_A_ROW: usize = 5;
/// How often progress is told at most.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What was found when all was done.
#[derive(Debug)]
pub(super) struct Brought {
    /// All users as they are now.
    pub(super) now: Listing,
    /// Those that do not exist any more.
    pub(super) gone: Vec<Who>,
}

/// Brings `wanted` to `state`, skipping those that are so already, and verifies it by listing again.
///
/// # Errors
/// `check` with the names of those that are not so in the end, `timeout` if the limit came first.
pub(super) fn bring(
    cx: &Cx<'_>,
    app: &App,
    wanted: &[Who],
    state: State,
    limit: Option<Duration>,
) -> Result<Brought> {
    let found: BTreeMap<Who, User> =
        list(cx, app)?.into_iter().map(|user| (user.who(), user)).collect();
    let pending: Vec<&User> =
        wanted.iter().filter_map(|who| found.get(who)).filter(|user| user.state != state).collect();
    let mut work = Work {
        cx,
        app,
        state,
        started: Instant::now(),
        limit,
        total: wanted.len(),
        ready: wanted.len() - pending.len(),
        failed: BTreeMap::new(),
    };
    let left = work.through(&pending)?;
    let users = match list(cx, app) {
        Ok(users) => users,
        // The failures so far say more than that the list cannot be had either.
        Err(Halt::Failure(failure)) if !failure.lost && !work.failed.is_empty() => {
            let missed: Vec<Who> = work.failed.keys().cloned().collect();
            return Err(work.failure(&missed, left).into());
        }
        Err(halt) => return Err(halt),
    };
    let after: BTreeMap<Who, State> = users.iter().map(|user| (user.who(), user.state)).collect();
    let missed: Vec<Who> = wanted
        .iter()
        .filter(|who| after.get(who).is_some_and(|now| *now != state))
        .cloned()
        .collect();
    if !missed.is_empty() {
        return Err(work.failure(&missed, left).into());
    }
    let gone = wanted.iter().filter(|who| !after.contains_key(who)).cloned().collect();
    Ok(Brought { now: Listing::of(&users), gone })
}

/// Why some were not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nobody,
    OutOfTime,
    GaveUp,
}

struct Work<'a> {
    cx: &'a Cx<'a>,
    app: &'a App,
    state: State,
    started: Instant,
    limit: Option<Duration>,
    total: usize,
    ready: usize,
    failed: BTreeMap<Who, Failure>,
}

impl Work<'_> {
    fn through(&mut self, pending: &[&User]) -> Result<Left> {
        let enable = self.state == State::Enabled;
        let mut in_a_row = 0;
        let mut told = None::<Instant>;
        for (number, user) in pending.iter().enumerate() {
            if self.limit.is_some_and(|limit| self.started.elapsed() >= limit) {
                return Ok(Left::OutOfTime);
            }
            match verb::<Value>(self.cx, self.app, "user_set", &[json!(user), json!(enable)]) {
                Ok(_) => in_a_row = 0,
                Err(Halt::Failure(failure)) if !failure.lost => {
                    // A refusal is about one user; no answer, or no access, is about all of them.
                    let silent = matches!(failure.kind, Kind::Connect | Kind::Timeout);
                    in_a_row = if silent { in_a_row + 1 } else { 0 };
                    let hopeless = failure.kind == Kind::Auth || in_a_row >= FAILURES_IN_A_ROW;
                    self.failed.insert(user.who(), *failure);
                    if hopeless && number + 1 < pending.len() {
                        return Ok(Left::GaveUp);
                    }
                }
                Err(halt) => return Err(halt),
            }
            let last = number + 1 == pending.len();
            if last || told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                told = Some(Instant::now());
                self.tell(number + 1, pending.len(), user);
            }
        }
        Ok(Left::Nobody)
    }

    fn tell(&self, done: usize, of: usize, user: &User) {
        let each = self.started.elapsed() / u32::try_from(done).unwrap_or(u32::MAX).max(1);
        let left = each.saturating_mul(u32::try_from(of - done).unwrap_or(u32::MAX));
        let (now, total) = (self.ready + done, self.total);
        self.cx.progress(Progress {
            done: now as u64,
            total: Some(total as u64),
            unit: "users".to_owned(),
            message: user.who().to_string(),
            eta_seconds: Some(left.as_secs()),
        });
    }

    fn failure(&self, missed: &[Who], left: Left) -> Failure {
        const EXPLAINED: usize = 3;
        let verb = if self.state == State::Enabled { "enabled" } else { "suspended" };
        // Those with a reason first.
        let (explained, rest): (Vec<_>, Vec<_>) =
            missed.iter().partition(|who| self.failed.contains_key(who));
        let mut reasons: Vec<String> = explained
            .iter()
            .take(EXPLAINED)
            .filter_map(|who| Some(format!("{who}: {}", self.failed.get(who)?.message)))
            .collect();
        let others: Vec<&Who> = explained.into_iter().skip(EXPLAINED).chain(rest).collect();
        if !others.is_empty() {
            reasons.push(names(others));
        }
        let why = match left {
            Left::OutOfTime => {
                format!(" within {}", units::say_duration(self.limit.unwrap_or_default()))
            }
            Left::GaveUp => " (gave up, for the application itself seems to fail)".to_owned(),
            Left::Nobody => String::new(),
        };
        let message = format!(
            "{} of {} could not be {verb}{why}: {}",
            missed.len(),
            count(self.total),
            reasons.join("; ")
        );
        let kind = if left == Left::OutOfTime { Kind::Timeout } else { Kind::Check };
        Failure::new(kind, message).with_target(&self.cx.target.name).with_hint(match self.state {
            State::Enabled => "All others are enabled. `resume` tries these again; until then they are listed by `debts`.",
            State::Suspended => "`resume` tries these again; `rollback` lets in those that were suspended.",
        })
    }
}
