//! Time: `now`, `timestamp`, `sleep`, `wait`, `window`, `downtime`. Whatever a clock says is recorded once.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use rhai::{Dynamic, NativeCallContext};
use serde::{Deserialize, Serialize};

use super::bridge::{
    Face, Primitive, RhaiResultOf, Type, act, ask, field, lane, place, raise, to_dynamic, wrong,
};
use crate::call::Access;
use crate::effect::{
    Action, Cx, Lane, Mode, Owes, Plan, Query, Reconciled, Registry, Window, perform,
};
use crate::error::{Failure, Kind, Pause, Place, Result, Stop};
use crate::event::Progress;
use crate::journal::Inverse;
use crate::units;

/// A wait that ends within this time is sat out; a longer one ends the process, unless it was told to stay.
const SIT_OUT: Duration = Duration::from_secs(120);

const NOW: Primitive = Primitive {
    name: "now",
    family: "time",
    summary: "Returns the time, once: a resumed run sees the same.",
    params: &[field("format", Type::Text, "RFC 3339", "As strftime: `%Y-%m-%d`.")],
    options: &[],
    returns: "String: the time in the zone of this machine",
    example: r#"let stamp = now("%Y%m%d-%H%M");"#,
    failure: "`input` if the format is none.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "The recorded time.",
};

const TIMESTAMP: Primitive = Primitive {
    name: "timestamp",
    family: "time",
    summary: "Returns the time in milliseconds since 1970, once: a resumed run sees the same.",
    params: &[],
    options: &[],
    returns: "int: milliseconds",
    example: r"let began = timestamp(); note(`${(timestamp() - began) / 1000} s`);",
    failure: "Does not fail.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "The recorded time.",
};

const SLEEP: Primitive = Primitive {
    name: "sleep",
    family: "time",
    summary: "Waits a short time. To wait for something to become so, use the `wait_…` functions.",
    params: &[field("duration", Type::Duration, "", "A duration such as \"5s\", or seconds.")],
    options: &[],
    returns: "(): nothing",
    example: r#"sleep("5s");"#,
    failure: "`input` if it is no duration.",
    plan: "Does not wait.",
    undo: "Nothing.",
    resume: "Waits for what is left.",
};

const WAIT: Primitive = Primitive {
    name: "wait",
    family: "time",
    summary: "Waits a long time, durably: the process ends, and `upgrade-host resume RUN` goes on when the time has come.",
    params: &[field("duration", Type::Duration, "", "A duration such as \"7d\".")],
    options: &[],
    returns: "(): nothing",
    example: r#"wait("7d"); client_update(true);"#,
    failure: "`input` if it is no duration.",
    plan: "Says until when.",
    undo: "Nothing.",
    resume: "Waits for what is left, or pauses again. What ends within two minutes is sat out; `--stay` sits out everything.",
};

const WINDOW: Primitive = Primitive {
    name: "window",
    family: "time",
    summary: "Waits until the maintenance window opens; no step begins after it has closed, as long as there is a way back.",
    params: &[
        field(
            "start",
            Type::Text,
            "",
            "`2026-11-28 22:00`, `22:00` (the next one, or the one that is open), or `now`.",
        ),
        field("length", Type::Duration, "", "How long it is open."),
        field("zone", Type::Text, "this machine's", "A time zone such as `Europe/Vienna`."),
    ],
    options: &[],
    returns: "map: `opens`, `closes` (texts), `seconds` (int, its length)",
    example: r#"window("22:00", "4h", "Europe/Vienna");"#,
    failure: "`conflict` if it is over; `input` if start, length or zone are none.",
    plan: "Says when it opens and closes.",
    undo: "Nothing.",
    resume: "The same window.",
};

const DOWNTIME: Primitive = Primitive {
    name: "downtime",
    family: "time",
    summary: "Returns how long users have been locked out in this run, from the first lock-out to the last release.",
    params: &[],
    options: &[],
    returns: "float: seconds",
    example: r"note(`users were locked out for ${downtime()} s`);",
    failure: "Does not fail.",
    plan: "Returns 0.",
    undo: "Nothing: it only reads.",
    resume: "The recorded value.",
};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Now {
    format: String,
}

impl Query for Now {
    const NAME: &'static str = "now";
    type Output = String;

    fn summary(&self) -> String {
        "read the clock".to_owned()
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<String> {
        let now = cx.now().to_zoned(crate::zone::local());
        if self.format.is_empty() {
            return Ok(now.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
        }
        jiff::fmt::strtime::format(&self.format, &now).map_err(|error| {
            Failure::input(format!("`{}` is no time format: {error}", self.format)).into()
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Milliseconds {}

impl Query for Milliseconds {
    const NAME: &'static str = "timestamp";
    type Output = i64;

    fn summary(&self) -> String {
        "read the clock".to_owned()
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<i64> {
        Ok(cx.now().as_millisecond())
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Downtime {}

impl Query for Downtime {
    const NAME: &'static str = "downtime";
    type Output = f64;

    fn summary(&self) -> String {
        "read the downtime clock".to_owned()
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<f64> {
        let downtime = cx.lane.run().obligations.downtime(cx.now());
        Ok((downtime.as_secs_f64() * 10.0).round() / 10.0)
    }
}

/// What a wait follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct After {
    /// What it is, for people.
    pub(super) what: String,
    /// When it ended. The wait counts from there, whatever came between.
    pub(super) at: Timestamp,
}

/// Waits until a time that is fixed when the wait begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wait {
    duration_ms: u64,
    durable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<After>,
}

impl Action for Wait {
    const NAME: &'static str = "wait";
    const ACCESS: Access = Access::Wait;
    type Before = Timestamp;
    type Output = ();

    fn summary(&self) -> String {
        let duration = units::say_duration(Duration::from_millis(self.duration_ms));
        match &self.after {
            Some(after) => format!("wait {duration} after {}", after.what),
            None => format!("wait {duration}"),
        }
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Timestamp> {
        let from = self.after.as_ref().map_or_else(|| cx.now(), |after| after.at);
        from.checked_add(Duration::from_millis(self.duration_ms)).map_err(|error| {
            Failure::input(format!("the wait ends beyond all calendars: {error}")).into()
        })
    }

    fn plan(&self, before: &Timestamp) -> Plan<Timestamp, ()> {
        let changes =
            if self.durable { vec![format!("until {}", local(*before))] } else { Vec::new() };
        Plan::Would { changes, output: (), after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Timestamp) -> Result<()> {
        until(cx, *before, !self.durable, "continues")
    }

    fn reconcile(&self, _cx: &Cx<'_>, _before: &Timestamp) -> Result<Reconciled<()>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, _before: &Timestamp) -> Inverse {
        Inverse::Nothing { why: "it only waits".to_owned() }
    }

    fn owes(&self, _before: &Timestamp) -> Owes {
        Owes::Nothing
    }
}

/// Waits for the maintenance window.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    start: String,
    length_ms: u64,
    zone: String,
}

impl Action for Open {
    const NAME: &'static str = "window";
    const ACCESS: Access = Access::Wait;
    type Before = Window;
    type Output = Window;

    fn summary(&self) -> String {
        format!(
            "wait for the window: {} for {}",
            self.start,
            units::say_duration(Duration::from_millis(self.length_ms))
        )
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Window> {
        let zone = if self.zone.is_empty() {
            crate::zone::local()
        } else {
            TimeZone::get(&self.zone).map_err(|_| {
                Failure::input(format!("`{}` is no time zone", self.zone))
                    .with_hint("For example Europe/Vienna or UTC.")
            })?
        };
        let length = Duration::from_millis(self.length_ms);
        let opens = opening(&self.start, length, &cx.now().to_zoned(zone))?;
        let closes =
            opens.checked_add(length).map_err(|error| Failure::input(error.to_string()))?;
        Ok(Window { opens, closes })
    }

    fn plan(&self, before: &Window) -> Plan<Window, Window> {
        let changes = vec![
            format!("opens {}", local(before.opens)),
            format!("closes {}", local(before.closes)),
        ];
        Plan::Would { changes, output: *before, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Window) -> Result<Window> {
        if cx.now() >= before.closes {
            return Err(Failure::new(
                Kind::Conflict,
                format!("the maintenance window closed at {}", local(before.closes)),
            )
            .with_hint("Schedule another one with --set window_start=….")
            .into());
        }
        until(cx, before.opens, false, "the window opens")?;
        Ok(*before)
    }

    fn reconcile(&self, _cx: &Cx<'_>, _before: &Window) -> Result<Reconciled<Window>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, _before: &Window) -> Inverse {
        Inverse::Nothing { why: "it only waits".to_owned() }
    }

    fn owes(&self, _before: &Window) -> Owes {
        Owes::Nothing
    }
}

/// When a window that begins at `start` opens, seen from `now`.
fn opening(start: &str, length: Duration, now: &Zoned) -> Result<Timestamp> {
    let expected = || {
        Failure::input(format!("`{start}` is no beginning of a window"))
            .with_hint("For example `2026-11-28 22:00`, `22:00` or `now`.")
    };
    if start == "now" {
        return Ok(now.timestamp());
    }
    if let Some(moment) = moment(start, now.time_zone()) {
        return Ok(moment);
    }
    let in_zone = |civil: DateTime| -> Result<Zoned> {
        civil.to_zoned(now.time_zone().clone()).map_err(|_| expected().into())
    };
    if start.len() <= 8
        && let Ok(time) = start.parse::<Time>()
    {
        let today = in_zone(now.date().to_datetime(time))?;
        let yesterday = today.checked_sub(1.day()).map_err(|_| expected())?;
        let still_open = |opens: &Zoned| {
            opens.timestamp().checked_add(length).is_ok_and(|closes| closes > now.timestamp())
        };
        if still_open(&yesterday) {
            return Ok(yesterday.timestamp());
        }
        if still_open(&today) {
            return Ok(today.timestamp());
        }
        return Ok(today.checked_add(1.day()).map_err(|_| expected())?.timestamp());
    }
    Err(expected().into())
}

/// Reads a moment: `2026-11-28 22:00`, `2026-11-28` (its beginning) in a time zone, or RFC 3339.
pub(super) fn moment(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
    })
}

/// Waits until `end`, or pauses the run if that is far.
fn until(cx: &Cx<'_>, end: Timestamp, sit_out: bool, what: &str) -> Result<()> {
    let total = Duration::try_from(end.duration_since(cx.now())).unwrap_or_default();
    if total > SIT_OUT && !sit_out && !cx.lane.run().stay {
        let why = format!("{what} on {}", local(end));
        return Err(Stop::Paused(Pause { why, until: Some(end), unknown: false }).into());
    }
    loop {
        let left = Duration::try_from(end.duration_since(cx.now())).unwrap_or_default();
        if left.is_zero() {
            return Ok(());
        }
        cx.progress(Progress {
            done: total.saturating_sub(left).as_secs(),
            total: Some(total.as_secs()),
            unit: "seconds".to_owned(),
            message: format!("until {}", local(end)),
            eta_seconds: Some(left.as_secs()),
        });
        // A clock that is set meanwhile is noticed within a second.
        cx.sleep(left.min(Duration::from_secs(1)))?;
    }
}

fn local(at: Timestamp) -> String {
    at.to_zoned(crate::zone::local()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Waits a short time as a call of its own.
pub(super) fn pause(ctx: &NativeCallContext<'_>, duration: Duration) -> RhaiResultOf<()> {
    pause_after(&lane(ctx)?, place(ctx), duration, None).map_err(|halt| raise(ctx, halt))
}

/// As [`pause`], on a lane, and counted from the end of something if that is given.
pub(super) fn pause_after(
    lane: &Lane,
    place: Option<Place>,
    duration: Duration,
    after: Option<After>,
) -> Result<()> {
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    perform(lane, place, &Wait { duration_ms, durable: false, after })
}

fn duration(ctx: &NativeCallContext<'_>, value: &Dynamic) -> RhaiResultOf<Duration> {
    if let Ok(seconds) = value.as_float() {
        return Duration::try_from_secs_f64(seconds)
            .map_err(|_| wrong(ctx, format!("{}: `{seconds}` is no duration", ctx.fn_name())));
    }
    if let Ok(seconds) = value.as_int() {
        return u64::try_from(seconds)
            .map(Duration::from_secs)
            .map_err(|_| wrong(ctx, format!("{}: `{seconds}` is negative", ctx.fn_name())));
    }
    units::duration(&value.to_string())
        .map_err(|why| wrong(ctx, format!("{}: {why}", ctx.fn_name())))
}

fn wait(ctx: &NativeCallContext<'_>, value: &Dynamic) -> RhaiResultOf<()> {
    let duration_ms = u64::try_from(duration(ctx, value)?.as_millis()).unwrap_or(u64::MAX);
    act(ctx, &Wait { duration_ms, durable: true, after: None })
}

fn window(
    ctx: &NativeCallContext<'_>,
    start: &str,
    length: &Dynamic,
    zone: &str,
) -> RhaiResultOf<Dynamic> {
    let length_ms = u64::try_from(duration(ctx, length)?.as_millis()).unwrap_or(u64::MAX);
    let window = act(ctx, &Open { start: start.to_owned(), length_ms, zone: zone.to_owned() })?;
    *lane(ctx)?.run().window.lock().unwrap_or_else(PoisonError::into_inner) = Some(window);
    let seconds = window.closes.duration_since(window.opens).as_secs();
    Ok(to_dynamic(
        serde_json::json!({ "opens": local(window.opens), "closes": local(window.closes), "seconds": seconds }),
    ))
}

fn downtime(ctx: &NativeCallContext<'_>) -> RhaiResultOf<f64> {
    if lane(ctx)?.run().mode == Mode::Plan {
        return Ok(0.0);
    }
    ask(ctx, Downtime {})
}

fn now(ctx: &NativeCallContext<'_>, format: &str) -> RhaiResultOf<String> {
    ask(ctx, Now { format: format.to_owned() }).map_err(|error| {
        match super::closure::halt_of(&error) {
            crate::error::Halt::Failure(failure) => raise(ctx, (*failure).into()),
            crate::error::Halt::Stop(_) => error,
        }
    })
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&NOW, |ctx: NativeCallContext<'_>| now(&ctx, ""));
    face.add(&NOW, |ctx: NativeCallContext<'_>, format: &str| now(&ctx, format));
    face.add(&TIMESTAMP, |ctx: NativeCallContext<'_>| ask(&ctx, Milliseconds {}));
    // Every overload that Rhai has of its own, so that none of them sleeps outside of the journal.
    face.add(&SLEEP, |ctx: NativeCallContext<'_>, value: &str| {
        pause(&ctx, duration(&ctx, &value.to_owned().into())?)
    });
    face.add(&SLEEP, |ctx: NativeCallContext<'_>, value: i64| {
        pause(&ctx, duration(&ctx, &value.into())?)
    });
    face.add(&SLEEP, |ctx: NativeCallContext<'_>, value: f64| {
        pause(&ctx, duration(&ctx, &value.into())?)
    });
    face.add(&WAIT, |ctx: NativeCallContext<'_>, value: Dynamic| wait(&ctx, &value));
    face.add(&WINDOW, |ctx: NativeCallContext<'_>, start: &str, length: Dynamic| {
        window(&ctx, start, &length, "")
    });
    face.add(&WINDOW, |ctx: NativeCallContext<'_>, start: &str, length: Dynamic, zone: &str| {
        window(&ctx, start, &length, zone)
    });
    face.add(&DOWNTIME, |ctx: NativeCallContext<'_>| downtime(&ctx));
}

/// The family changes nothing.
pub(super) fn actions(_registry: &mut Registry) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_of_day_means_the_open_window_or_the_next() {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        for (now, start, length, opens) in [
            ("2026-11-23T20:00[UTC]", "22:00", 4, "2026-11-23T22:00:00Z"),
            ("2026-11-23T23:00[UTC]", "22:00", 4, "2026-11-23T22:00:00Z"),
            ("2026-11-24T01:00[UTC]", "22:00", 4, "2026-11-23T22:00:00Z"),
            ("2026-11-24T03:00[UTC]", "22:00", 4, "2026-11-24T22:00:00Z"),
            ("2026-11-24T03:00[UTC]", "2026-11-28 22:00", 4, "2026-11-28T22:00:00Z"),
            ("2026-11-24T03:00[Europe/Vienna]", "22:00", 4, "2026-11-24T21:00:00Z"),
        ] {
            assert_eq!(
                opening(start, hours(length), &at(now)).unwrap().to_string(),
                opens,
                "{now} {start}"
            );
        }
        assert!(
            opening("soon", hours(1), &at("2026-11-23T20:00[UTC]"))
                .unwrap_err()
                .to_string()
                .contains("`soon`")
        );
    }
}
