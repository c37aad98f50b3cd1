//! The writer: one thread that takes what has gathered, commits it in one transaction, and only then acknowledges. So
//! lanes that write at the same time share one wait for the disk.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::schema::{begin, sum};
use crate::event::Status;
use crate::failpoint::Failpoint;
use crate::journal::{Body, DebtChange, JournalError, RunInfo, Source, fault};

/// The acknowledgement of a durable write.
pub(super) type Ack = Sender<Result<(), JournalError>>;

/// How many writes share one commit at most.
const MOST: usize = 512;
/// How long what nobody waits for waits itself: it rides with the next durable write instead of costing one.
const GRACE: Duration = Duration::from_millis(20);
/// How long a commit is put off at most for lanes that are about to write again.
const GATHER: Duration = Duration::from_millis(1);

/// The first failure. Whatever comes after it is refused as well: a record must not be there without those before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Broken(Arc<Mutex<Option<JournalError>>>);

impl Broken {
    /// Returns the failure, if there was one.
    pub(super) fn check(&self) -> Result<(), JournalError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn note(&self, error: &JournalError) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| error.clone());
    }
}

/// What is to be written.
pub(super) enum Job {
    Append {
        run: String,
        at: Timestamp,
        body: Box<Body>,
        debts: Vec<DebtChange>,
        ack: Option<Ack>,
    },
    Create {
        run: Box<RunInfo>,
        ack: Ack,
    },
    Turn {
        run: String,
        at: Timestamp,
        body: Box<Body>,
        status: Status,
        due: Option<Timestamp>,
        ack: Ack,
    },
    Sources {
        run: String,
        sources: Vec<Source>,
        ack: Ack,
    },
}

impl Job {
    fn ack(&self) -> Option<&Ack> {
        match self {
            Self::Append { ack, .. } => ack.as_ref(),
            Self::Create { ack, .. } | Self::Turn { ack, .. } | Self::Sources { ack, .. } => {
                Some(ack)
            }
        }
    }
}

/// The writing end of a journal.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) broken: Broken,
    pub(super) failpoint: Failpoint,
}

impl Writer {
    /// Writes until nobody can send any more.
    pub(super) fn run(mut self, inbox: &Receiver<Job>) {
        // How many waited for the last commit, and how long it took.
        let (mut lanes, mut took) = (0, Duration::ZERO);
        while let Ok(first) = inbox.recv() {
            let mut batch = vec![first];
            let most = if self.failpoint.is_armed() { 1 } else { MOST };
            while batch.iter().all(|job| job.ack().is_none()) && batch.len() < most {
                match inbox.recv_timeout(GRACE) {
                    Ok(job) => batch.push(job),
                    Err(_) => break,
                }
            }
            batch.extend(inbox.try_iter().take(most - batch.len()));
            // Lanes that were acknowledged together come back together, a moment apart: without this, the first of them
            // would have a commit of its own, and all others wait for that.
            let until = Instant::now() + (took / 2).min(GATHER);
            while batch.len() < lanes.min(most) {
                match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(job) => batch.push(job),
                    Err(_) => break,
                }
            }
            let started = Instant::now();
            let result = self.broken.check().and_then(|()| self.commit(&batch));
            (lanes, took) =
                (batch.iter().filter(|job| job.ack().is_some()).count(), started.elapsed());
            if let Err(error) = &result {
                self.broken.note(error);
            }
            for job in &batch {
                if let Some(ack) = job.ack() {
                    let _nobody_waits = ack.send(result.clone());
                }
            }
        }
    }

    fn commit(&mut self, batch: &[Job]) -> Result<(), JournalError> {
        let io = |error: rusqlite::Error| fault::of(&self.path, &error);
        let transaction = begin(&mut self.connection, &self.path)?;
        for job in batch {
            write(&transaction, job).map_err(io)?;
        }
        self.failpoint.before();
        transaction.commit().map_err(io)?;
        self.failpoint.after();
        Ok(())
    }
}

fn write(connection: &Connection, job: &Job) -> rusqlite::Result<()> {
    match job {
        Job::Append { run, at, body, debts, .. } => {
            write_record(connection, run, *at, body)?;
            debts.iter().try_for_each(|debt| change_debt(connection, run, *at, debt))
        }
        Job::Create { run, .. } => {
            write_run(connection, run)?;
            write_sources(connection, &run.id, &run.sources)
        }
        Job::Turn { run, at, body, status, due, .. } => {
            write_record(connection, run, *at, body)?;
            let ended = (*status != Status::Running).then(|| at.to_string());
            connection.execute(
                "UPDATE runs SET status = ?2, ended = ?3, due = ?4 WHERE id = ?1",
                params![run, status.as_str(), ended, due.map(|at| at.to_string())],
            )?;
            Ok(())
        }
        Job::Sources { run, sources, .. } => write_sources(connection, run, sources),
    }
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn write_run(connection: &Connection, run: &RunInfo) -> rusqlite::Result<()> {
    let (targets, started) = (json(&run.targets)?, run.started.to_string());
    let settings = run.settings.to_string();
    let sum = sum(&[
        &run.id,
        &run.runbook,
        &run.title,
        &targets,
        &run.operator,
        &run.version,
        &started,
        &settings,
    ]);
    connection.execute(
        "INSERT INTO runs (id, runbook, title, targets, operator, version, status, started, ended, due, settings, sum)
         VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        params![
            run.id,
            run.runbook,
            run.title,
            targets,
            run.operator,
            run.version,
            run.status.as_str(),
            started,
            run.ended.map(|at| at.to_string()),
            run.due.map(|at| at.to_string()),
            settings,
            sum,
        ],
    )?;
    Ok(())
}

fn write_record(
    connection: &Connection,
    run: &str,
    at: Timestamp,
    body: &Body,
) -> rusqlite::Result<()> {
    let seq: i64 = connection
        .prepare_cached("SELECT COALESCE(MAX(seq), 0) + 1 FROM records WHERE run = ?")?
        .query_row([run], |row| row.get(0))?;
    let (at, body) = (at.to_string(), json(body)?);
    let sum = sum(&[run, &seq.to_string(), &at, &body]);
    connection
        .prepare_cached("INSERT INTO records (run, seq, at, body, sum) VALUES (?,?,?,?,?)")?
        .execute(params![run, seq, at, body, sum])?;
    Ok(())
}

fn write_sources(connection: &Connection, run: &str, sources: &[Source]) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM sources WHERE run = ?", [run])?;
    for (position, source) in (0_i64..).zip(sources) {
        let sum = sum(&[run, &position.to_string(), &source.name, &source.text]);
        connection.execute(
            "INSERT INTO sources (run, position, name, text, sum) VALUES (?,?,?,?,?)",
            params![run, position, source.name, source.text, sum],
        )?;
    }
    Ok(())
}

fn change_debt(
    connection: &Connection,
    run: &str,
    at: Timestamp,
    change: &DebtChange,
) -> rusqlite::Result<()> {
    match change {
        DebtChange::Open { target, debt } => {
            let since = at.to_string();
            let locks_out = if debt.locks_out { "1" } else { "0" };
            let sum = sum(&[run, target, &debt.key, &debt.what, locks_out, &since]);
            connection.execute(
                "INSERT INTO debts (run, target, key, what, locks_out, since, sum) VALUES (?,?,?,?,?,?,?)
                 ON CONFLICT DO NOTHING",
                params![run, target, debt.key, debt.what, debt.locks_out, since, sum],
            )
        }
        // Whoever switches it on meets the obligation, in whichever run it was opened.
        DebtChange::Close { target, key } => connection
            .execute("DELETE FROM debts WHERE target = ? AND key = ?", params![target, key]),
        DebtChange::Keep { target, key, reason, due } => connection.execute(
            "UPDATE debts SET kept = ?4, due = ?5 WHERE run = ?1 AND target = ?2 AND key = ?3",
            params![run, target, key, reason, due.map(|at| at.to_string())],
        ),
    }?;
    Ok(())
}
