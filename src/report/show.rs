//! One run in detail, from its journal: the tree that it told when it ran, and what `resume` would do.

use jiff::Timestamp;

use super::line::{Line, Tone};
use super::style::Style;
use super::terminal::Terminal;
use super::words::ago;
use super::{events_of, table};
use crate::call::Access;
use crate::event::{Status, What};
use crate::journal::{Body, Cursor, DebtRow, Outcome, Record, Recorded, RunInfo, armed};

/// What [`show`] shows.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The run.
    pub run: &'a RunInfo,
    /// Its records.
    pub records: &'a [Record],
    /// The open obligations, of this run or of all.
    pub debts: &'a [DebtRow],
    /// Whether a live process drives it.
    pub held: bool,
}

/// Renders a run in detail. Excerpts in failures come from the sources recorded with the run.
pub fn show(style: &Style, shown: Shown<'_>, now: Timestamp) -> Vec<Line> {
    let Shown { run, records, debts, held } = shown;
    let sources = run.sources.clone();
    let mut terminal = Terminal::new(style.clone()).with_sources(move |name| {
        sources.iter().find(|source| source.name == name).map(|source| source.text.clone())
    });
    let mut events = events_of(run, records);
    let last = events.iter().rposition(|event| matches!(event.what, What::RunEnded { .. }));
    let ended = matches!(records.last().map(|record| &record.body), Some(Body::Ended { .. }));
    let own: Vec<&DebtRow> = debts.iter().filter(|debt| debt.run == run.id).collect();
    let mut met = Vec::new();
    for (at, event) in events.iter_mut().enumerate() {
        if let What::RunEnded { next, debts, .. } = &mut event.what {
            // What to do next is said once, below.
            *next = None;
            if Some(at) != last || !ended {
                debts.clear();
            } else {
                // Other runs may have met them since.
                let open = |owed: &String| own.iter().any(|row| row.to_string() == *owed);
                (*debts, met) = std::mem::take(debts).into_iter().partition(open);
            }
        }
    }
    let mut lines = Vec::new();
    for (at, event) in events.iter().enumerate() {
        if Some(at) == last && !own.iter().any(|debt| debt.locks_out) {
            terminal.let_in();
        }
        lines.extend(terminal.event(event));
    }
    lines.push(Line::new());
    let fact = |name: &str, tone: Tone, value: String| {
        Line::new().with(Tone::Dim, format!("  {name:<12}")).with(tone, value)
    };
    let (word, tone) = table::standing(run, held);
    lines.push(fact("status", tone, word.to_owned()));
    let started =
        format!("{} ({}) by {}", style.date(run.started), ago(run.started, now), run.operator);
    lines.push(fact("started", Tone::Plain, started));
    if let Some(ended) = run.ended.filter(|_| !held) {
        lines.push(fact(
            "ended",
            Tone::Plain,
            format!("{} ({})", style.date(ended), ago(ended, now)),
        ));
    }
    if let Some(due) = run.due {
        lines.push(fact("due", Tone::Plain, format!("{} ({})", style.date(due), ago(due, now))));
    }
    lines.push(fact("version", Tone::Plain, run.version.clone()));
    for owed in met {
        lines.push(fact("met since", Tone::Good, format!("{owed}, by another run")));
    }
    for debt in &own {
        let mut line = fact("still owed", Tone::Warn, debt.what.clone());
        line.push(Tone::Plain, &format!(" on {}, since {}", debt.target, style.date(debt.since)));
        if let Some(kept) = &debt.kept {
            line.push(Tone::Dim, &format!(", kept: {kept}"));
        }
        lines.push(line);
    }
    for it in armed(&run.id, records) {
        let mut line = fact("armed", Tone::Warn, format!("dead-man switch for {}", it.what));
        let fires = table::fires(style, &it, held, now);
        line.push(Tone::Plain, &format!(" on {}: {fires}", it.target));
        lines.push(line);
    }
    if typed(run) && !held && run.status != Status::RolledBack {
        // There is no script to go on with.
        let cursor = Cursor::new(records, false);
        let open = |call: &&&Recorded| call.outcome.is_none() && call.access == Access::Change;
        for call in cursor.all().iter().filter(open) {
            let words = format!("what became of: {} on {}", call.summary, call.target);
            lines.push(fact("not known", Tone::Warn, words));
        }
        lines.push(fact("undo", Tone::Strong, format!("upgrade-host rollback {}", run.id)));
        return lines;
    }
    for (at, words) in next(run, records, held).into_iter().enumerate() {
        lines.push(fact(if at == 0 { "resume" } else { "" }, Tone::Plain, words));
    }
    let word = match run.status {
        status if resumable(status) => Some("resume"),
        Status::Failed if !own.is_empty() || !failed_calls(records).is_empty() => Some("rollback"),
        _ => None,
    };
    if let (Some(word), false) = (word, held) {
        lines.push(fact("next", Tone::Strong, format!("upgrade-host {word} {}", run.id)));
    }
    lines
}

/// Returns whether the run was typed at the REPL.
fn typed(run: &RunInfo) -> bool {
    run.runbook == "<repl>"
}

fn resumable(status: Status) -> bool {
    matches!(status, Status::Running | Status::Paused | Status::Unknown)
}

/// Returns the calls whose failure ended the run.
fn failed_calls(records: &[Record]) -> &[String] {
    let ended = records.iter().rev().find_map(|record| match &record.body {
        Body::Ended { failed, .. } => Some(failed.as_slice()),
        _ => None,
    });
    ended.unwrap_or_default()
}

/// Says what `resume` would do.
fn next(run: &RunInfo, records: &[Record], held: bool) -> Vec<String> {
    if held {
        return vec!["not now: a process drives the run".to_owned()];
    }
    if run.status == Status::Failed {
        return vec!["not any more: it is over".to_owned()];
    }
    if !resumable(run.status) {
        return vec!["nothing is left to do".to_owned()];
    }
    let cursor = Cursor::new(records, false);
    let all = cursor.all();
    let undoing = records.iter().any(|record| matches!(record.body, Body::UndoBegan { .. }));
    let mut words = Vec::new();
    let done = all.iter().filter(|call| matches!(call.outcome, Some(Outcome::Done { .. }))).count();
    if done > 0 {
        words.push(format!("takes {} from the record", super::words::count(done, "call")));
    }
    let failed = failed_calls(records);
    for call in all {
        match &call.outcome {
            None => {
                words
                    .push(format!("finds out what became of: {} on {}", call.summary, call.target));
            }
            Some(Outcome::Failed { .. }) if failed.contains(&call.call.to_string()) => {
                words.push(format!("tries again: {} on {}", call.summary, call.target));
            }
            Some(_) => {}
        }
    }
    words.push(
        if undoing { "goes on undoing" } else { "goes on with the script from there" }.to_owned(),
    );
    words
}

#[cfg(test)]
mod tests;
