//! Reads what is in the journal, and makes sure that it is what was written.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use super::schema::{check, connect};
use crate::event::Status;
use crate::journal::{DebtRow, JournalError, Record, RunInfo, Source, SwitchRow, armed, fault};

/// What is listed of a run.
const LISTED: &str = "id, runbook, title, targets, operator, version, status, started, ended, due";

const RECORD: &str = "SELECT run, seq, at, body, sum FROM records";

/// What the records of dead-man switches begin with.
const DEADMAN: &str = "{\"kind\":\"deadman\"*";

/// A connection that only reads.
pub(super) struct Reader<'a> {
    connection: Connection,
    path: &'a Path,
}

impl<'a> Reader<'a> {
    /// Opens the file.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub(super) fn open(path: &'a Path) -> Result<Self, JournalError> {
        let connection = connect(path).map_err(|error| fault::of(path, &error))?;
        Ok(Self { connection, path })
    }

    /// Reads all rows of a query.
    fn all<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        mut each: impl FnMut(&Row<'_>) -> Result<T, Wrong>,
    ) -> Result<Vec<T>, JournalError> {
        let io = |error: rusqlite::Error| fault::of(self.path, &error);
        let mut statement = self.connection.prepare(sql).map_err(io)?;
        let mut rows = statement.query(parameters).map_err(io)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(io)? {
            all.push(each(row).map_err(|wrong| match wrong {
                Wrong::Sqlite(error) => io(error),
                Wrong::Row(what) => fault::damaged(self.path, &what),
            })?);
        }
        Ok(all)
    }

    /// Returns the records of a run in their order.
    pub(super) fn records(&self, run: &str) -> Result<Vec<Record>, JournalError> {
        let mut next = 1;
        self.all(&format!("{RECORD} WHERE run = ? ORDER BY seq"), [run], |row| {
            let seq: i64 = row.get(1)?;
            if seq != next {
                return Err(Wrong::Row(format!("record {next} of run {run} is missing")));
            }
            next += 1;
            record(row).map(|(_, record)| record)
        })
    }

    /// Returns the dead-man switches that may be armed, over all runs, the one that fires first at the top.
    pub(super) fn switches(&self) -> Result<Vec<SwitchRow>, JournalError> {
        let sql = format!("{RECORD} WHERE body GLOB ? ORDER BY run, seq");
        let mut by_run: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for (run, record) in self.all(&sql, [DEADMAN], record)? {
            by_run.entry(run).or_default().push(record);
        }
        let mut rows: Vec<_> =
            by_run.iter().flat_map(|(run, records)| armed(run, records)).collect();
        rows.sort_by_key(|row| row.due);
        Ok(rows)
    }

    /// Returns all runs, newest first, without their sources and settings, which may be large: a run with thousands of
    /// targets has megabytes of them. What is not read is not checked either.
    pub(super) fn runs(&self) -> Result<Vec<RunInfo>, JournalError> {
        let sql = format!("SELECT {LISTED} FROM runs ORDER BY started DESC, id DESC");
        self.all(&sql, [], |row| listed(row).map(|(info, ..)| info))
    }

    /// Returns the run that `name` stands for.
    pub(super) fn find(&self, name: &str) -> Result<RunInfo, JournalError> {
        let nothing = |text: String| Err(JournalError::NoSuchRun(text));
        let mut found = if name == "last" {
            self.all(&format!("{} ORDER BY started DESC, id DESC LIMIT 1", whole()), [], run)?
        } else {
            let matching =
                "substr(id, 1, length(?1)) = ?1 OR substr(id, -length(?1) - 1) = '-' || ?1";
            self.all(&format!("{} WHERE {matching} ORDER BY started DESC", whole()), [name], run)?
        };
        if found.len() > 1 && found.iter().any(|run| run.id == name) {
            found.retain(|run| run.id == name);
        }
        if found.len() > 1 {
            let ids: Vec<_> = found.iter().map(|run| run.id.as_str()).collect();
            return nothing(format!(
                "`{name}` is the beginning of several runs: {}",
                ids.join(", ")
            ));
        }
        match found.pop() {
            Some(run) => Ok(RunInfo { sources: self.sources(&run.id)?, ..run }),
            None if name == "last" => nothing("there is no run yet".to_owned()),
            None => nothing(format!("there is no run `{name}`; `upgrade-host runs` lists them")),
        }
    }

    fn sources(&self, run: &str) -> Result<Vec<Source>, JournalError> {
        let sql = "SELECT position, name, text, sum FROM sources WHERE run = ? ORDER BY position";
        self.all(sql, [run], |row| {
            let position: i64 = row.get(0)?;
            let source = Source { name: row.get(1)?, text: row.get(2)? };
            let sum: Option<String> = row.get(3)?;
            check(sum.as_deref(), &[run, &position.to_string(), &source.name, &source.text])
                .map_err(|what| Wrong::Row(format!("source {position} of run {run}: {what}")))?;
            Ok(source)
        })
    }

    /// Returns the open obligations, newest first.
    pub(super) fn debts(&self) -> Result<Vec<DebtRow>, JournalError> {
        let sql = "SELECT d.target, d.what, d.since, d.run, d.due, r.operator, d.key, d.locks_out, d.kept, d.sum
             FROM debts d JOIN runs r ON r.id = d.run ORDER BY d.since DESC, d.target";
        self.all(sql, [], |row| {
            let since: String = row.get(2)?;
            let debt = DebtRow {
                target: row.get(0)?,
                what: row.get(1)?,
                since: time(&since)?,
                run: row.get(3)?,
                due: maybe_time(row, 4)?,
                by: row.get(5)?,
                key: row.get(6)?,
                locks_out: row.get(7)?,
                kept: row.get(8)?,
            };
            let locks_out = if debt.locks_out { "1" } else { "0" };
            let parts = [&debt.run, &debt.target, &debt.key, &debt.what, locks_out, &since];
            let sum: Option<String> = row.get(9)?;
            check(sum.as_deref(), &parts).map_err(|what| {
                Wrong::Row(format!("obligation {} on {}: {what}", debt.key, debt.target))
            })?;
            Ok(debt)
        })
    }
}

/// Why a row cannot be taken.
enum Wrong {
    Sqlite(rusqlite::Error),
    Row(String),
}

impl From<rusqlite::Error> for Wrong {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            // Types and texts that no writer of ours puts there.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => Self::Row(error.to_string()),
            error => Self::Sqlite(error),
        }
    }
}

/// Reads a row of [`RECORD`], with the run that it belongs to.
fn record(row: &Row<'_>) -> Result<(String, Record), Wrong> {
    let (run, seq): (String, i64) = (row.get(0)?, row.get(1)?);
    let (at, body): (String, String) = (row.get(2)?, row.get(3)?);
    let damaged = |what: String| Wrong::Row(format!("record {seq} of run {run}: {what}"));
    let sum: Option<String> = row.get(4)?;
    check(sum.as_deref(), &[&run, &seq.to_string(), &at, &body]).map_err(damaged)?;
    let record = Record {
        seq: u64::try_from(seq).map_err(|error| damaged(error.to_string()))?,
        at: at.parse().map_err(|error: jiff::Error| damaged(error.to_string()))?,
        body: serde_json::from_str(&body).map_err(|error| damaged(error.to_string()))?,
    };
    Ok((run, record))
}

/// The query of runs with their settings.
fn whole() -> String {
    format!("SELECT {LISTED}, settings, sum FROM runs")
}

/// Reads a row of [`LISTED`]; the texts of its targets and of when it started come as they stand.
fn listed(row: &Row<'_>) -> Result<(RunInfo, String, String), Wrong> {
    let id: String = row.get(0)?;
    let damaged = |what: String| Wrong::Row(format!("run {id}: {what}"));
    let (targets, status): (String, String) = (row.get(3)?, row.get(6)?);
    let started: String = row.get(7)?;
    let info = RunInfo {
        runbook: row.get(1)?,
        title: row.get(2)?,
        targets: serde_json::from_str(&targets).map_err(|error| damaged(error.to_string()))?,
        operator: row.get(4)?,
        version: row.get(5)?,
        status: Status::parse(&status)
            .ok_or_else(|| damaged(format!("its status `{status}` is not known")))?,
        started: time(&started)?,
        ended: maybe_time(row, 8)?,
        due: maybe_time(row, 9)?,
        settings: serde_json::Value::Null,
        sources: Vec::new(),
        id: id.clone(),
    };
    Ok((info, targets, started))
}

/// Reads a row of [`whole`].
fn run(row: &Row<'_>) -> Result<RunInfo, Wrong> {
    let (info, targets, started) = listed(row)?;
    let damaged = |what: String| Wrong::Row(format!("run {}: {what}", info.id));
    let settings: String = row.get(10)?;
    let sum: Option<String> = row.get(11)?;
    let parts = [
        &info.id,
        &info.runbook,
        &info.title,
        &targets,
        &info.operator,
        &info.version,
        &started,
        &settings,
    ];
    check(sum.as_deref(), &parts.map(String::as_str)).map_err(damaged)?;
    let settings = serde_json::from_str(&settings).map_err(|error| damaged(error.to_string()))?;
    Ok(RunInfo { settings, ..info })
}

fn time(text: &str) -> Result<Timestamp, Wrong> {
    text.parse().map_err(|error: jiff::Error| Wrong::Row(error.to_string()))
}

fn maybe_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Wrong> {
    row.get::<_, Option<String>>(column)?.map(|text| time(&text)).transpose()
}
