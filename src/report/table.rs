//! Listings: runs, obligations, targets, the index of the documentation. One row, one thing; into a pipe a row is one
//! line, whatever its width.

use std::fmt::Write;
use std::time::Duration;

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::line::{Tone, clean};
use super::style::Style;
use super::words::{ago, between};
use crate::event::Status;
use crate::journal::{DebtRow, RunInfo, SwitchRow};
use crate::units::{say_duration, say_names};

/// A target, as `hosts` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The name in the inventory.
    pub name: String,
    /// Where it is, with the port if that is not the usual one.
    pub address: String,
    /// Who we are there.
    pub user: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The hosts that we jump over.
    pub via: Vec<String>,
}

/// How a target stands, as `hosts --check` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// The name in the inventory.
    pub name: String,
    /// What is in the way; none if nothing is.
    pub trouble: Option<String>,
    /// How long it took to reach it.
    pub reached: String,
    /// Who we are there.
    pub user: String,
    /// The version of rsync; empty if it is missing.
    pub rsync: String,
    /// What runs services there.
    pub services: String,
    /// How far its clock is away from ours; empty if it is not.
    pub clock: String,
    /// The free space of its root file system.
    pub free: String,
    /// What it runs.
    pub system: String,
}

/// Who holds a target, as `locks` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The target.
    pub target: String,
    /// The run.
    pub run: String,
    /// Who started it.
    pub operator: String,
    /// Since when.
    pub since: String,
    /// The title of the runbook.
    pub why: String,
    /// Whose journal knows the run.
    pub controller: String,
}

/// What a run left on a target, as `clean` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The target.
    pub target: String,
    /// The run.
    pub run: String,
    /// How many commands left receipts.
    pub calls: u32,
    /// How many of them still run.
    pub running: u32,
    /// How many dead-man switches of it are there.
    pub switches: usize,
    /// Why it stays; none if it was removed.
    pub stays: Option<String>,
}

/// A primitive, as `doc` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The family.
    pub family: String,
    /// The name.
    pub name: String,
    /// One sentence.
    pub summary: String,
}

/// Says how a run stands, for people: a run without a process was cut off.
pub(super) fn standing(run: &RunInfo, held: bool) -> (&'static str, Tone) {
    match run.status {
        Status::Running if !held => ("cut off", Tone::Bad),
        Status::Running => ("running", Tone::Info),
        Status::Paused => ("paused", Tone::Info),
        Status::Done => ("done", Tone::Good),
        Status::RolledBack => ("rolled back", Tone::Warn),
        status @ (Status::Failed | Status::Unknown) => (status.as_str(), Tone::Bad),
        status @ Status::Planned => (status.as_str(), Tone::Dim),
    }
}

/// Lists runs, newest first as given. `held` says whether a live process drives a run.
pub fn runs(
    style: &Style,
    runs: &[RunInfo],
    held: &dyn Fn(&str) -> bool,
    now: Timestamp,
) -> String {
    if runs.is_empty() {
        return "no runs yet\n".to_owned();
    }
    let mut table = table(style, &["run", "status", "runbook", "targets", "started", "took"]);
    for run in runs {
        let (word, tone) = standing(run, held(&run.id));
        let until = run.ended.unwrap_or(now);
        let took = match run.status {
            Status::Running if !held(&run.id) => String::new(),
            _ => say_duration(Duration::from_secs(between(run.started, until).as_secs())),
        };
        table.add_row(vec![
            cell(style, &run.id, Tone::Strong),
            cell(style, word, tone),
            cell(style, if run.title.is_empty() { &run.runbook } else { &run.title }, Tone::Plain),
            cell(style, &say_names(&run.targets), Tone::Plain),
            cell(style, &when(style, run.started, now), Tone::Plain),
            cell(style, &took, Tone::Dim),
        ]);
    }
    finished(&table)
}

/// Lists what runs left on targets, and what became of it.
pub fn kept(style: &Style, kept: &[Kept]) -> String {
    if kept.is_empty() {
        return "nothing is left there\n".to_owned();
    }
    let mut table = table(style, &["target", "run", "receipts", "running", "switches", ""]);
    for one in kept {
        let (word, tone) = match &one.stays {
            None => ("removed".to_owned(), Tone::Good),
            Some(why) => (format!("stays: {why}"), Tone::Warn),
        };
        table.add_row(vec![
            cell(style, &one.target, Tone::Strong),
            cell(style, &one.run, Tone::Plain),
            cell(style, &one.calls.to_string(), Tone::Plain),
            cell(style, &one.running.to_string(), Tone::Plain),
            cell(style, &one.switches.to_string(), Tone::Plain),
            cell(style, &word, tone),
        ]);
    }
    finished(&table)
}

/// Lists which runs hold which targets.
pub fn locks(style: &Style, held: &[Held]) -> String {
    if held.is_empty() {
        return "no target is held\n".to_owned();
    }
    let mut table = table(style, &["target", "run", "by", "since", "for", "on"]);
    for one in held {
        table.add_row(vec![
            cell(style, &one.target, Tone::Strong),
            cell(style, &one.run, Tone::Plain),
            cell(style, &one.operator, Tone::Plain),
            cell(style, &one.since, Tone::Plain),
            cell(style, &one.why, Tone::Plain),
            cell(style, &one.controller, Tone::Dim),
        ]);
    }
    finished(&table)
}

/// Lists what is owed. What is overdue, and what keeps users out, stands out.
pub fn debts(style: &Style, debts: &[DebtRow], now: Timestamp) -> String {
    if debts.is_empty() {
        return "nothing is owed\n".to_owned();
    }
    let tight = is_tight(style);
    let header: &[&str] = if tight {
        &["target", "owed", "since", "due", "run"]
    } else {
        &["target", "owed", "since", "due", "run", "by", "kept"]
    };
    let mut table = table(style, header);
    for debt in debts {
        let gap = if tight { "\n" } else { " " };
        let (due, tone) = match debt.due {
            Some(due) if debt.is_overdue(now) => {
                (format!("overdue{gap}{}", when(style, due, now)), Tone::Bad)
            }
            Some(due) => (when(style, due, now), Tone::Plain),
            None => (String::new(), Tone::Plain),
        };
        let mut what = debt.what.clone();
        if debt.locks_out {
            let _infallible = write!(what, "{gap}(users are locked out)");
        }
        let kept = debt.kept.clone().unwrap_or_default();
        let mut run = debt.run.clone();
        if tight {
            let _infallible = write!(run, "\nby {}", debt.by);
            if !kept.is_empty() {
                let _infallible = write!(what, "\nkept: {kept}");
            }
        }
        let mut row = vec![
            cell(style, &debt.target, Tone::Strong),
            cell(style, &what, if debt.locks_out { Tone::Bad } else { Tone::Warn }),
            cell(style, &when(style, debt.since, now), Tone::Plain),
            cell(style, &due, tone),
            cell(style, &run, Tone::Plain),
        ];
        if !tight {
            row.push(cell(style, &debt.by, Tone::Plain));
            row.push(cell(style, &kept, Tone::Dim));
        }
        table.add_row(row);
    }
    finished(&table)
}

/// Lists the dead-man switches that may be armed; nothing if there are none. `held` says whether a live process drives a
/// run.
pub fn switches(
    style: &Style,
    switches: &[SwitchRow],
    held: &dyn Fn(&str) -> bool,
    now: Timestamp,
) -> String {
    if switches.is_empty() {
        return String::new();
    }
    let mut table = table(style, &["target", "dead-man switch for", "when", "run"]);
    for it in switches {
        table.add_row(vec![
            cell(style, &it.target, Tone::Strong),
            cell(style, &it.what, Tone::Plain),
            cell(style, &fires(style, it, held(&it.run), now), Tone::Warn),
            cell(style, &it.run, Tone::Plain),
        ]);
    }
    finished(&table)
}

/// Says when a dead-man switch fires, as far as a journal knows.
pub(super) fn fires(style: &Style, it: &SwitchRow, held: bool, now: Timestamp) -> String {
    if held && !it.fixed {
        let after = say_duration(Duration::from_millis(it.after_ms));
        return format!("fires {after} after the run is gone");
    }
    let at = format!("{} ({})", style.date(it.due), ago(it.due, now));
    if it.due <= now { format!("was to fire {at}") } else { format!("fires {at}") }
}

/// Lists targets.
pub fn hosts(style: &Style, hosts: &[Host]) -> String {
    if hosts.is_empty() {
        return "no targets are configured; without --on, this machine is the target\n".to_owned();
    }
    let mut table = table(style, &["name", "address", "user", "tags", "via"]);
    for host in hosts {
        let arrow = style.pick(" → ", " > ");
        table.add_row(vec![
            cell(style, &host.name, Tone::Strong),
            cell(style, &host.address, Tone::Plain),
            cell(style, &host.user, Tone::Plain),
            cell(style, &host.tags.join(", "), Tone::Info),
            cell(style, &host.via.join(arrow), Tone::Dim),
        ]);
    }
    finished(&table)
}

/// Lists how targets stand.
pub fn inspected(style: &Style, targets: &[Inspected]) -> String {
    let header = ["name", "reached", "as", "rsync", "services", "clock", "free on /", "system"];
    let mut table = table(style, &header);
    for target in targets {
        let name = cell(style, &target.name, Tone::Strong);
        if let Some(trouble) = &target.trouble {
            let text = format!("{} {trouble}", style.pick("✗", "x"));
            let rest = std::iter::repeat_with(|| cell(style, "", Tone::Dim)).take(header.len() - 2);
            let row = [name, cell(style, &text, Tone::Bad)].into_iter().chain(rest);
            table.add_row(row.collect::<Vec<_>>());
            continue;
        }
        let or = |text: &str, other: &str, tone: Tone| match text {
            "" => cell(style, other, tone),
            text => cell(style, text, Tone::Plain),
        };
        let clock = match target.clock.as_str() {
            "" => cell(style, "right", Tone::Plain),
            away => cell(style, away, Tone::Warn),
        };
        table.add_row(vec![
            name,
            cell(style, &target.reached, Tone::Good),
            cell(style, &target.user, Tone::Plain),
            or(&target.rsync, "missing", Tone::Warn),
            or(&target.services, "none known", Tone::Warn),
            clock,
            or(&target.free, "unknown", Tone::Warn),
            cell(style, &target.system, Tone::Dim),
        ]);
    }
    finished(&table)
}

/// Lists primitives, family by family as given.
pub fn docs(style: &Style, entries: &[Entry]) -> String {
    let mut table = table(style, &["family", "name", "what it does"]);
    let mut last = None;
    for entry in entries {
        let family = if last == Some(&entry.family) && style.live { "" } else { &entry.family };
        last = Some(&entry.family);
        table.add_row(vec![
            cell(style, family, Tone::Dim),
            cell(style, &entry.name, Tone::Strong),
            cell(style, &entry.summary, Tone::Plain),
        ]);
    }
    finished(&table)
}

/// Says a time as it is looked for, and as it is felt.
fn when(style: &Style, at: Timestamp, now: Timestamp) -> String {
    let gap = if is_tight(style) { "\n" } else { " " };
    format!("{}{gap}({})", style.date(at), ago(at, now))
}

/// Whether there is so little room that what belongs together is stacked in one cell.
fn is_tight(style: &Style) -> bool {
    style.live && style.width < 120
}

fn table(style: &Style, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if style.color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    if style.live {
        table.set_width(u16::try_from(style.width).unwrap_or(200));
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header.iter().map(|name| cell(style, name, Tone::Dim)));
    let last = header.len().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at == last { 0 } else { 2 }));
        // What is copied or compared must stay in one piece; sentences and lists may break.
        if ["run", "status", "started", "since", "due", "took"].contains(&header[at]) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

fn finished(table: &Table) -> String {
    table.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

fn cell(style: &Style, text: &str, tone: Tone) -> Cell {
    let cell = Cell::new(text.split('\n').map(clean).collect::<Vec<_>>().join("\n"));
    if !style.color {
        return cell;
    }
    match tone {
        Tone::Strong => cell.add_attribute(Attribute::Bold),
        Tone::Dim => cell.add_attribute(Attribute::Dim),
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Bad | Tone::Err => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
        Tone::Warn => cell.fg(Color::DarkYellow).add_attribute(Attribute::Bold),
        Tone::Info => cell.fg(Color::DarkCyan),
        Tone::Plain | Tone::Raw => cell,
    }
}

#[cfg(test)]
mod tests;
