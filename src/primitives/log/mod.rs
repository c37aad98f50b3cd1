//! Waiting on logs: `log_mark`, `wait_log`.
//!
//! What runs on the target is one small shell command per poll ([`poll`]). Which files a log is ([`source`]), how they
//! are followed ([`follower`], [`segment`], [`lines`]) and what lines mean ([`matcher`], [`gauge`]) are machines without I/O;
//! [`feed`] and [`wait`] are what goes on between them. [`journal`] is the one other source.

mod feed;
mod follower;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod gauge;
mod journal;
mod lines;
mod mark;
mod matcher;
mod poll;
mod segment;
mod source;
mod wait;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use rhai::{Dynamic, Map, NativeCallContext};

use super::bridge::{
    Face, Field, Options, Primitive, RhaiResultOf, Type, act, ask, field, lane, raise, to_dynamic,
    to_json, wrong,
};
use crate::effect::Registry;
use mark::{LogMark, Mark};
use source::Source;
use wait::WaitLog;

/// How long a wait takes at most unless said otherwise.
const TIMEOUT_MS: u64 = 600_000;
/// After how long without a line one is warned unless said otherwise.
const QUIET_MS: u64 = 300_000;
/// How many last lines a failure shows unless said otherwise.
const LINES: usize = 20;

const FILE: &[Field] = &[field(
    "file",
    Type::Text,
    "",
    "The absolute path, which may hold a date as `{date:%Y-%m-%d}`, or `journal:UNIT`.",
)];

const MARK: Primitive = Primitive {
    name: "log_mark",
    family: "log",
    summary: "Marks where a log ends now, so that a later `wait_log` misses nothing.",
    params: FILE,
    options: &[field(
        "name",
        Type::Text,
        "",
        "A name, for `wait_log(…, #{ since: \"NAME\" })`, where one log has several marks.",
    )],
    returns: "map: `file`, `name`, `position`; for `since`, and remembered as the newest mark of this log",
    example: r#"log_mark("/usr/local/obs/logs/catalina.out");
service_start("obsr");
wait_log("Server startup in", #{ file: "/usr/local/obs/logs/catalina.out" });"#,
    failure: "`denied` if the file may not be read; `input` if the name cannot be understood. That there is no file yet is none.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns the mark that was recorded; marks again if that was not.",
};

const WAIT: Primitive = Primitive {
    name: "wait_log",
    family: "log",
    summary: "Waits until a line of a log matches a regular expression.",
    params: &[field(
        "pattern",
        Type::Text,
        "",
        "The regular expression; its groups, numbered or named `(?<name>…)`, are returned.",
    )],
    options: &[
        field("file", Type::Text, "", "The log, as `log_mark` takes it. Required."),
        field("timeout", Type::Duration, "\"10m\"", "How long it may take."),
        field(
            "fail",
            Type::TextOrList,
            "",
            "Regular expressions that end the wait with a failure, if they match first.",
        ),
        field(
            "progress",
            Type::Text,
            "",
            "A regular expression that catches progress in groups named `done`, `total`, `what`, or numbered: two of digits, and text.",
        ),
        field("unit", Type::Text, "\"steps\"", "What `progress` counts: `users`, `files`."),
        field(
            "quiet",
            Type::Duration,
            "\"5m\"",
            "Warns each time when nothing has come for this long; `\"0s\"` for never.",
        ),
        field(
            "since",
            Type::Any,
            "the newest mark",
            "The mark at which to begin, or its name; without any mark the end of the log as the wait begins.",
        ),
        field("lines", Type::Int, "20", "How many of the last lines a failure shows."),
    ],
    returns: "map: `line`, `captures` (by name, and by number as `\"1\"`), `file`, `lines_seen`, `seconds`",
    example: r#"wait_log("all users finished", #{
  file: "/usr/local/obs/system/SystemLog/{date:%Y-%m-%d}.log",
  fail: "\\[Indexing\\] failed",
  progress: "user '(.*)' \\((\\d+) of (\\d+)\\)",
  unit: "users",
  timeout: "2h",
});"#,
    failure: "`check` if a failure pattern matched, `timeout` if nothing did in time; each with the last lines. `denied` if the file may not be read.",
    plan: "Says what it would wait for, how long, and which file it would read now.",
    undo: "Nothing: it only waits.",
    resume: "Reads on from the place that was recorded when it began, also through files rotated away or compressed meanwhile; the timeout begins anew. Lines that told of the failure which paused the run are passed over.",
};

fn log_mark(
    ctx: &NativeCallContext<'_>,
    file: &str,
    options: &Options<'_>,
) -> RhaiResultOf<Dynamic> {
    Source::parse(file).map_err(|halt| raise(ctx, halt))?;
    let name = options.text("name");
    let mark = ask(ctx, LogMark { file: file.to_owned(), name: name.clone() })?;
    let value = serde_json::to_value(mark).map_err(|error| wrong(ctx, error.to_string()))?;
    let lane = lane(ctx)?;
    lane.set_mark(file, value.clone());
    if let Some(name) = name {
        lane.set_mark(&named(&name), value.clone());
    }
    Ok(to_dynamic(value))
}

/// Returns the key of a mark with a name; no path begins so.
fn named(name: &str) -> String {
    format!("mark {name}")
}

fn wait_log(ctx: &NativeCallContext<'_>, pattern: &str, options: Map) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &WAIT, options)?;
    let action = wait_action(ctx, pattern, &options)?;
    let seen = act(ctx, &action)?;
    serde_json::to_value(seen).map(to_dynamic).map_err(|error| wrong(ctx, error.to_string()))
}

fn wait_action(
    ctx: &NativeCallContext<'_>,
    pattern: &str,
    options: &Options<'_>,
) -> RhaiResultOf<WaitLog> {
    let Some(file) = options.text("file") else {
        return Err(wrong(ctx, "wait_log: the option `file` is missing"));
    };
    Source::parse(&file).map_err(|halt| raise(ctx, halt))?;
    check_pattern(pattern)
        .map_err(|why| wrong(ctx, format!("wait_log: the pattern cannot be used: {why}")))?;
    let (fail, progress) = (options.texts("fail")?, options.text("progress"));
    for (key, pattern) in
        fail.iter().map(|pattern| ("fail", pattern)).chain(progress.iter().map(|p| ("progress", p)))
    {
        check_pattern(pattern).map_err(|why| options.wrong(key, &why))?;
    }
    let millis = |key, default| {
        let given = options.duration(key)?;
        RhaiResultOf::Ok(
            given.map_or(default, |given| u64::try_from(given.as_millis()).unwrap_or(u64::MAX)),
        )
    };
    let lines = match options.int("lines") {
        None => LINES,
        Some(lines) => usize::try_from(lines)
            .ok()
            .filter(|lines| *lines <= 1000)
            .ok_or_else(|| options.wrong("lines", &format!("{lines} is not from 0 to 1000")))?,
    };
    Ok(WaitLog {
        pattern: pattern.to_owned(),
        fail,
        progress,
        unit: options.text("unit").unwrap_or_else(|| "steps".to_owned()),
        timeout_ms: millis("timeout", TIMEOUT_MS)?,
        quiet_ms: millis("quiet", QUIET_MS)?,
        since: since(ctx, &file, options)?,
        lines,
        file,
    })
}

/// Returns the mark to begin at: the one given, the one named, or the newest of the log.
fn since(
    ctx: &NativeCallContext<'_>,
    file: &str,
    options: &Options<'_>,
) -> RhaiResultOf<Option<Mark>> {
    let lane = lane(ctx)?;
    let value = match options.get("since") {
        None => match lane.mark(file) {
            None => return Ok(None),
            Some(value) => value,
        },
        Some(given) => match given.clone().into_string() {
            Ok(name) => lane.mark(&named(&name)).ok_or_else(|| {
                options.wrong("since", &format!("there is no mark `{name}` on this target"))
            })?,
            Err(_) => to_json(given).map_err(|why| options.wrong("since", &why))?,
        },
    };
    let mark: Mark = serde_json::from_value(value)
        .map_err(|_| options.wrong("since", "this is no mark; `log_mark` returns one"))?;
    if mark.file != file {
        return Err(options.wrong("since", &format!("the mark is of {}", mark.file)));
    }
    Ok(Some(mark))
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("it is empty, so that every line would match".to_owned());
    }
    regex::bytes::Regex::new(pattern).map(drop).map_err(|error| error.to_string())
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&MARK, |ctx: NativeCallContext<'_>, file: &str| {
        log_mark(&ctx, file, &Options::none(&ctx, &MARK))
    });
    face.add(&MARK, |ctx: NativeCallContext<'_>, file: &str, options: Map| {
        log_mark(&ctx, file, &Options::new(&ctx, &MARK, options)?)
    });
    face.add(&WAIT, |ctx: NativeCallContext<'_>, pattern: &str, options: Map| {
        wait_log(&ctx, pattern, options)
    });
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<WaitLog>();
}
