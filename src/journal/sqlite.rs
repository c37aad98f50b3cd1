//! The embedded store: `SQLite` in WAL mode with `synchronous=FULL`, one writer thread that commits what has gathered.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::record::{Body, FORMAT, Record};
use super::{DebtChange, DebtRow, Hold, JournalError, RunInfo, Source, Store, SwitchRow, armed};
use crate::event::Status;
use crate::failpoint::Failpoint;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS runs (
        id TEXT PRIMARY KEY, runbook TEXT NOT NULL, title TEXT NOT NULL, targets TEXT NOT NULL, operator TEXT NOT NULL,
        version TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, due TEXT, settings TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS sources (
        run TEXT NOT NULL REFERENCES runs(id), position INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (run, position)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS records (
        run TEXT NOT NULL REFERENCES runs(id), seq INTEGER NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (run, seq)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS debts (
        run TEXT NOT NULL REFERENCES runs(id), target TEXT NOT NULL, key TEXT NOT NULL, what TEXT NOT NULL,
        locks_out INTEGER NOT NULL, since TEXT NOT NULL, due TEXT, kept TEXT,
        PRIMARY KEY (run, target, key)) WITHOUT ROWID;
";

/// What the records of dead-man switches begin with.
const DEADMAN: &str = "{\"kind\":\"deadman\"*";

/// The acknowledgement of a durable write.
type Ack = Sender<Result<(), String>>;

enum Job {
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

/// A journal in a directory of its own.
pub struct Sqlite {
    path: PathBuf,
    locks: PathBuf,
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    /// The first failed write that nobody waited for; the next durable write reports it.
    broken: Arc<Mutex<Option<String>>>,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the journal in `dir`, making both if need be (0700, 0600).
    ///
    /// # Errors
    /// [`JournalError::Io`] with the file and the cause, [`JournalError::Future`] for a later format.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join("journal.db");
        let locks = dir.join("locks");
        let io = |path: &Path, why: String| JournalError::Io { path: path.to_owned(), why };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&locks)
            .map_err(|error| io(&locks, error.to_string()))?;
        // One process at a time: a file that is turned into a journal is locked in a way that nobody waits for.
        let opening = locks.join("opening");
        let _opening = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&opening)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|error| io(&opening, error.to_string()))?;
        // The file before SQLite makes it, so that no moment exists in which others could read it. WAL and shared
        // memory files take their mode from it.
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let loose =
                    fs::metadata(&path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0);
                if loose {
                    fs::set_permissions(&path, Permissions::from_mode(0o600))
                        .map_err(|error| io(&path, error.to_string()))?;
                }
            }
            Err(error) => return Err(io(&path, error.to_string())),
        }
        let connection = connect(&path).map_err(|error| io(&path, error.to_string()))?;
        prepare(&connection, &path)?;
        let failpoint = Failpoint::from_environment().map_err(|why| io(&path, why))?;
        let (jobs, inbox) = channel();
        let broken = Arc::new(Mutex::new(None));
        let writer = {
            let broken = Arc::clone(&broken);
            std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || write_all(connection, &inbox, &broken, failpoint))
                .map_err(|error| io(&path, error.to_string()))?
        };
        Ok(Self { path, locks, jobs: Some(jobs), writer: Some(writer), broken })
    }

    fn io(&self, why: impl std::fmt::Display) -> JournalError {
        JournalError::Io { path: self.path.clone(), why: why.to_string() }
    }

    fn send(&self, job: Job) -> Result<(), JournalError> {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(self.io("its writer thread has ended")) }
    }

    fn wait(&self, job: impl FnOnce(Ack) -> Job) -> Result<(), JournalError> {
        let (ack, done) = channel();
        self.send(job(ack))?;
        match done.recv() {
            Ok(result) => result.map_err(|why| self.io(why)),
            Err(_) => Err(self.io("its writer thread has ended")),
        }
    }

    fn reader(&self) -> Result<Connection, JournalError> {
        connect(&self.path).map_err(|error| self.io(error))
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            let _ended = writer.join();
        }
    }
}

impl Store for Sqlite {
    fn create(&self, run: &RunInfo) -> Result<(), JournalError> {
        self.wait(|ack| Job::Create { run: Box::new(run.clone()), ack })
    }

    fn append(&self, run: &str, body: Body) -> Result<(), JournalError> {
        if let Some(why) = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(self.io(why));
        }
        let job = Job::Append {
            run: run.to_owned(),
            at: Timestamp::now(),
            body: Box::new(body),
            debts: Vec::new(),
            ack: None,
        };
        self.send(job)
    }

    fn append_durable(
        &self,
        run: &str,
        body: Body,
        debts: Vec<DebtChange>,
    ) -> Result<(), JournalError> {
        if let Some(why) = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(self.io(why));
        }
        let (run, at, body) = (run.to_owned(), Timestamp::now(), Box::new(body));
        self.wait(|ack| Job::Append { run, at, body, debts, ack: Some(ack) })
    }

    fn turn(
        &self,
        run: &str,
        body: Body,
        status: Status,
        due: Option<Timestamp>,
    ) -> Result<(), JournalError> {
        let (run, at, body) = (run.to_owned(), Timestamp::now(), Box::new(body));
        self.wait(|ack| Job::Turn { run, at, body, status, due, ack })
    }

    fn set_sources(&self, run: &str, sources: &[Source]) -> Result<(), JournalError> {
        self.wait(|ack| Job::Sources { run: run.to_owned(), sources: sources.to_vec(), ack })
    }

    fn records(&self, run: &str) -> Result<Vec<Record>, JournalError> {
        let found = self.select("WHERE run = ?", [run])?;
        Ok(found.into_iter().map(|(_, record)| record).collect())
    }

    fn runs(&self) -> Result<Vec<RunInfo>, JournalError> {
        let connection = self.reader()?;
        let mut statement = connection
            .prepare(&format!("SELECT {COLUMNS} FROM runs ORDER BY started DESC, id DESC"))
            .map_err(|error| self.io(error))?;
        let rows = statement.query_map([], read_run).map_err(|error| self.io(error))?;
        rows.map(|row| row.map_err(|error| self.io(error))).collect()
    }

    fn find(&self, name: &str) -> Result<RunInfo, JournalError> {
        let connection = self.reader()?;
        let found: Vec<RunInfo> = if name == "last" {
            let sql = format!("SELECT {COLUMNS} FROM runs ORDER BY started DESC, id DESC LIMIT 1");
            connection
                .query_row(&sql, [], read_run)
                .optional()
                .map_err(|error| self.io(error))?
                .into_iter()
                .collect()
        } else {
            let sql = format!(
                "SELECT {COLUMNS} FROM runs WHERE substr(id, 1, length(?1)) = ?1 OR substr(id, -length(?1) - 1) = '-' || ?1 ORDER BY started DESC"
            );
            let mut statement = connection.prepare(&sql).map_err(|error| self.io(error))?;
            let rows = statement.query_map([name], read_run).map_err(|error| self.io(error))?;
            rows.collect::<Result<_, _>>().map_err(|error| self.io(error))?
        };
        let mut run = match found.len() {
            0 if name == "last" => {
                return Err(JournalError::NoSuchRun("there is no run yet".to_owned()));
            }
            0 => {
                return Err(JournalError::NoSuchRun(format!(
                    "there is no run `{name}`; `upgrade-host runs` lists them"
                )));
            }
            1 => found.into_iter().next(),
            _ => {
                let ids: Vec<_> = found.iter().map(|run| run.id.as_str()).collect();
                return match found.iter().find(|run| run.id == name) {
                    Some(run) => self.find_sources(&connection, run.clone()),
                    None => Err(JournalError::NoSuchRun(format!(
                        "`{name}` is the beginning of several runs: {}",
                        ids.join(", ")
                    ))),
                };
            }
        };
        match run.take() {
            Some(run) => self.find_sources(&connection, run),
            None => Err(JournalError::NoSuchRun(format!("there is no run `{name}`"))),
        }
    }

    fn debts(&self) -> Result<Vec<DebtRow>, JournalError> {
        let connection = self.reader()?;
        let mut statement = connection
            .prepare(
                "SELECT d.target, d.what, d.since, d.run, d.due, r.operator, d.key, d.locks_out, d.kept
                 FROM debts d JOIN runs r ON r.id = d.run ORDER BY d.since DESC, d.target",
            )
            .map_err(|error| self.io(error))?;
        let rows = statement
            .query_map([], |row| {
                Ok(DebtRow {
                    target: row.get(0)?,
                    what: row.get(1)?,
                    since: time(row, 2)?,
                    run: row.get(3)?,
                    due: maybe_time(row, 4)?,
                    by: row.get(5)?,
                    key: row.get(6)?,
                    locks_out: row.get(7)?,
                    kept: row.get(8)?,
                })
            })
            .map_err(|error| self.io(error))?;
        rows.map(|row| row.map_err(|error| self.io(error))).collect()
    }

    fn switches(&self) -> Result<Vec<SwitchRow>, JournalError> {
        let mut by_run: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for (run, record) in self.select("WHERE body GLOB ?", [DEADMAN])? {
            by_run.entry(run).or_default().push(record);
        }
        let mut rows: Vec<_> =
            by_run.iter().flat_map(|(run, records)| armed(run, records)).collect();
        rows.sort_by_key(|row| row.due);
        Ok(rows)
    }

    fn hold(&self, run: &str) -> Result<Hold, JournalError> {
        Hold::take(&self.locks, run)
    }

    fn is_held(&self, run: &str) -> bool {
        Hold::is_taken(&self.locks, run)
    }

    fn ask_pause(&self, run: &str) -> Result<(), JournalError> {
        super::hold::ask_pause(&self.locks, run)
    }

    fn take_pause(&self, run: &str) -> Result<bool, JournalError> {
        super::hold::take_pause(&self.locks, run)
    }
}

impl Sqlite {
    /// Reads the records that a condition with one parameter chooses, each with its run, in order.
    fn select(
        &self,
        condition: &str,
        parameter: [&str; 1],
    ) -> Result<Vec<(String, Record)>, JournalError> {
        let connection = self.reader()?;
        let mut statement = connection
            .prepare(&format!(
                "SELECT run, seq, at, body FROM records {condition} ORDER BY run, seq"
            ))
            .map_err(|error| self.io(error))?;
        let rows = statement
            .query_map(parameter, |row| {
                let run: String = row.get(0)?;
                Ok((run, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
            })
            .map_err(|error| self.io(error))?;
        rows.map(|row| {
            let (run, seq, at, body) = row.map_err(|error| self.io(error))?;
            let damaged =
                |what: String| self.io(format!("record {seq} of run {run} is damaged: {what}"));
            let record = Record {
                seq: u64::try_from(seq).map_err(|error| damaged(error.to_string()))?,
                at: at.parse().map_err(|error: jiff::Error| damaged(error.to_string()))?,
                body: serde_json::from_str(&body).map_err(|error| damaged(error.to_string()))?,
            };
            Ok((run, record))
        })
        .collect()
    }

    fn find_sources(
        &self,
        connection: &Connection,
        mut run: RunInfo,
    ) -> Result<RunInfo, JournalError> {
        let mut statement = connection
            .prepare("SELECT name, text FROM sources WHERE run = ? ORDER BY position")
            .map_err(|error| self.io(error))?;
        let rows = statement
            .query_map([&run.id], |row| Ok(Source { name: row.get(0)?, text: row.get(1)? }))
            .map_err(|error| self.io(error))?;
        run.sources = rows.collect::<Result<_, _>>().map_err(|error| self.io(error))?;
        Ok(run)
    }
}

const COLUMNS: &str =
    "id, runbook, title, targets, operator, version, status, started, ended, due, settings";

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    )?;
    Ok(connection)
}

fn prepare(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let io =
        |error: rusqlite::Error| JournalError::Io { path: path.to_owned(), why: error.to_string() };
    let found: u32 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(io)?;
    match found {
        FORMAT => Ok(()),
        0 => connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version={FORMAT}; COMMIT;"
            ))
            .map_err(io),
        found => Err(JournalError::Future { path: path.to_owned(), found }),
    }
}

/// Takes what has gathered, writes it in one transaction, commits, and only then acknowledges.
fn write_all(
    mut connection: Connection,
    inbox: &Receiver<Job>,
    broken: &Mutex<Option<String>>,
    mut failpoint: Failpoint,
) {
    while let Ok(first) = inbox.recv() {
        let mut batch = vec![first];
        let most = if failpoint.is_armed() { 1 } else { 512 };
        // What nobody waits for may wait itself: it rides with the next durable write instead of costing a sync.
        let grace = Duration::from_millis(20);
        while batch.iter().all(|job| job.ack().is_none()) && batch.len() < most {
            match inbox.recv_timeout(grace) {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        batch.extend(inbox.try_iter().take(most - batch.len()));
        let result =
            commit(&mut connection, &batch, &mut failpoint).map_err(|error| error.to_string());
        if let Err(why) = &result {
            *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
        }
        for job in &batch {
            if let Some(ack) = job.ack() {
                let _nobody_waits = ack.send(result.clone());
            }
        }
    }
}

fn commit(
    connection: &mut Connection,
    batch: &[Job],
    failpoint: &mut Failpoint,
) -> Result<(), Box<dyn std::error::Error>> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for job in batch {
        match job {
            Job::Append { run, at, body, debts, .. } => {
                write_record(&transaction, run, *at, body)?;
                for debt in debts {
                    change_debt(&transaction, run, *at, debt)?;
                }
            }
            Job::Create { run, .. } => {
                transaction.execute(
                    &format!("INSERT INTO runs ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)"),
                    params![
                        run.id,
                        run.runbook,
                        run.title,
                        serde_json::to_string(&run.targets)?,
                        run.operator,
                        run.version,
                        run.status.as_str(),
                        run.started.to_string(),
                        run.ended.map(|at| at.to_string()),
                        run.due.map(|at| at.to_string()),
                        run.settings.to_string(),
                    ],
                )?;
                write_sources(&transaction, &run.id, &run.sources)?;
            }
            Job::Turn { run, at, body, status, due, .. } => {
                write_record(&transaction, run, *at, body)?;
                let ended = (*status != Status::Running).then(|| at.to_string());
                transaction.execute(
                    "UPDATE runs SET status = ?2, ended = ?3, due = ?4 WHERE id = ?1",
                    params![run, status.as_str(), ended, due.map(|at| at.to_string())],
                )?;
            }
            Job::Sources { run, sources, .. } => write_sources(&transaction, run, sources)?,
        }
    }
    failpoint.before();
    transaction.commit()?;
    failpoint.after();
    Ok(())
}

fn write_record(
    connection: &Connection,
    run: &str,
    at: Timestamp,
    body: &Body,
) -> Result<(), Box<dyn std::error::Error>> {
    connection
        .prepare_cached(
            "INSERT INTO records (run, seq, at, body)
             VALUES (?1, (SELECT COALESCE(MAX(seq), 0) + 1 FROM records WHERE run = ?1), ?2, ?3)",
        )?
        .execute(params![run, at.to_string(), serde_json::to_string(body)?])?;
    Ok(())
}

fn write_sources(connection: &Connection, run: &str, sources: &[Source]) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM sources WHERE run = ?", [run])?;
    for (position, source) in (0_i64..).zip(sources) {
        connection.execute(
            "INSERT INTO sources (run, position, name, text) VALUES (?,?,?,?)",
            params![run, position, source.name, source.text],
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
        DebtChange::Open { target, debt } => connection.execute(
            "INSERT INTO debts (run, target, key, what, locks_out, since) VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            params![run, target, debt.key, debt.what, debt.locks_out, at.to_string()],
        ),
        // Whoever switches it on meets the obligation, in whichever run it was opened.
        DebtChange::Close { target, key } => {
            connection.execute("DELETE FROM debts WHERE target = ? AND key = ?", params![target, key])
        }
        DebtChange::Keep { target, key, reason, due } => connection.execute(
            "UPDATE debts SET kept = ?4, due = ?5 WHERE run = ?1 AND target = ?2 AND key = ?3",
            params![run, target, key, reason, due.map(|at| at.to_string())],
        ),
    }?;
    Ok(())
}

fn read_run(row: &rusqlite::Row<'_>) -> rusqlite::Result<RunInfo> {
    let bad = |column: usize, why: String| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, why.into())
    };
    let targets: String = row.get(3)?;
    let status: String = row.get(6)?;
    let settings: String = row.get(10)?;
    Ok(RunInfo {
        id: row.get(0)?,
        runbook: row.get(1)?,
        title: row.get(2)?,
        targets: serde_json::from_str(&targets).map_err(|error| bad(3, error.to_string()))?,
        operator: row.get(4)?,
        version: row.get(5)?,
        status: Status::parse(&status)
            .ok_or_else(|| bad(6, format!("unknown status `{status}`")))?,
        started: time(row, 7)?,
        ended: maybe_time(row, 8)?,
        due: maybe_time(row, 9)?,
        settings: serde_json::from_str(&settings).map_err(|error| bad(10, error.to_string()))?,
        sources: Vec::new(),
    })
}

fn time(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error: jiff::Error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            error.to_string().into(),
        )
    })
}

fn maybe_time(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null {
        Ok(None)
    } else {
        time(row, column).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Debt;
    use serde_json::json;

    fn run(id: &str) -> RunInfo {
        RunInfo {
            id: id.to_owned(),
            runbook: "book.rhai".into(),
            title: "A book".into(),
            targets: vec!["obs1".into()],
            operator: "jim".into(),
            version: "0.1.0".into(),
            status: Status::Running,
            started: Timestamp::now(),
            ended: None,
            due: None,
            settings: json!({"yes": false}),
            sources: vec![Source { name: "book.rhai".into(), text: "print(1)".into() }],
        }
    }

    fn note(text: &str) -> Body {
        Body::Note { text: text.to_owned(), warning: false }
    }

    #[test]
    fn what_was_written_is_read_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path()).unwrap();
        store.create(&run("20261122-2020-aaaa")).unwrap();
        store.append("20261122-2020-aaaa", note("one")).unwrap();
        store.append_durable("20261122-2020-aaaa", note("two"), vec![]).unwrap();
        drop(store);

        let store = Sqlite::open(dir.path()).unwrap();

        let bodies: Vec<_> = store
            .records("20261122-2020-aaaa")
            .unwrap()
            .into_iter()
            .map(|record| record.body)
            .collect();
        assert_eq!(bodies, [note("one"), note("two")]);
        assert_eq!(store.find("last").unwrap().sources[0].text, "print(1)");
        assert_eq!(
            fs::metadata(dir.path().join("journal.db")).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::metadata(dir.path().join("journal.db-wal")).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_run_is_found_by_a_unique_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path()).unwrap();
        store.create(&run("20261122-2020-aaaa")).unwrap();
        store.create(&run("20261122-2021-bbbb")).unwrap();

        assert_eq!(store.find("20261122-2021").unwrap().id, "20261122-2021-bbbb");
        assert_eq!(store.find("aaaa").unwrap().id, "20261122-2020-aaaa");
        assert!(store.find("2026").unwrap_err().to_string().contains("several runs"));
        assert!(store.find("%").unwrap_err().to_string().contains("no run `%`"));
    }

    #[test]
    fn obligations_open_are_kept_and_close() {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path()).unwrap();
        store.create(&run("r1")).unwrap();
        let debt =
            Debt { key: "replication".into(), what: "replication on".into(), locks_out: false };
        let target = || "obs1".to_owned();
        store
            .append_durable("r1", note(""), vec![DebtChange::Open { target: target(), debt }])
            .unwrap();
        let keep = DebtChange::Keep {
            target: target(),
            key: "replication".into(),
            reason: "checkout".into(),
            due: None,
        };
        store.append_durable("r1", note(""), vec![keep]).unwrap();

        let debts = store.debts().unwrap();
        assert_eq!(
            (debts[0].what.as_str(), debts[0].kept.as_deref(), debts[0].by.as_str()),
            ("replication on", Some("checkout"), "jim")
        );
        store
            .append_durable(
                "r1",
                note(""),
                vec![DebtChange::Close { target: target(), key: "replication".into() }],
            )
            .unwrap();
        assert_eq!(store.debts().unwrap(), []);
    }

    #[test]
    fn a_run_is_driven_by_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path()).unwrap();
        let hold = store.hold("r1").unwrap();

        assert!(
            matches!(store.hold("r1"), Err(JournalError::Held { who, .. }) if who.contains("process"))
        );
        assert!(store.is_held("r1"));
        drop(hold);
        assert!(!store.is_held("r1"));
    }

    #[test]
    fn many_who_open_a_new_journal_at_once_all_can() {
        for _ in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            std::thread::scope(|scope| {
                for number in 0..8 {
                    let path = dir.path();
                    scope.spawn(move || {
                        for _ in 0..5 {
                            let store = Sqlite::open(path).unwrap();
                            let _known = store.create(&run(&format!("r{number}")));
                            store.runs().unwrap();
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn a_later_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Sqlite::open(dir.path()).unwrap());
        Connection::open(dir.path().join("journal.db"))
            .unwrap()
            .execute_batch("PRAGMA user_version=99")
            .unwrap();

        assert!(matches!(Sqlite::open(dir.path()), Err(JournalError::Future { found: 99, .. })));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_new_journal() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path()).unwrap();
        fs::write(
            dir.path().join("journal.db"),
            b"this is no database, but it is long enough to look at",
        )
        .unwrap();

        assert!(matches!(Sqlite::open(dir.path()), Err(JournalError::Io { .. })));
    }
}
