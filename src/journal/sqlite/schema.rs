//! Tables, the version of the format, and the sums that tell a damaged row.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use sha2::{Digest, Sha256};

use crate::journal::fault::{self, PATIENCE};
use crate::journal::{FORMAT, JournalError};

/// The tables as the present format has them.
const TABLES: &str = "
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, runbook TEXT NOT NULL, title TEXT NOT NULL, targets TEXT NOT NULL, operator TEXT NOT NULL,
        version TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, due TEXT, settings TEXT NOT NULL,
        sum TEXT);
    CREATE TABLE sources (
        run TEXT NOT NULL REFERENCES runs(id), position INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
        sum TEXT, PRIMARY KEY (run, position)) WITHOUT ROWID;
    CREATE TABLE records (
        run TEXT NOT NULL REFERENCES runs(id), seq INTEGER NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL,
        sum TEXT, PRIMARY KEY (run, seq)) WITHOUT ROWID;
    CREATE TABLE debts (
        run TEXT NOT NULL REFERENCES runs(id), target TEXT NOT NULL, key TEXT NOT NULL, what TEXT NOT NULL,
        locks_out INTEGER NOT NULL, since TEXT NOT NULL, due TEXT, kept TEXT,
        sum TEXT, PRIMARY KEY (run, target, key)) WITHOUT ROWID;
";

/// What brings a journal of format `N + 1` up to the next one, from format 1 on. None is ever changed or removed.
const STEPS: [&str; 1] = ["
    ALTER TABLE runs ADD COLUMN sum TEXT;
    ALTER TABLE sources ADD COLUMN sum TEXT;
    ALTER TABLE records ADD COLUMN sum TEXT;
    ALTER TABLE debts ADD COLUMN sum TEXT;
"];

/// Opens the file as every connection needs it.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    // Without this, SQLite compiles a prepared statement anew for each value, to see whether it has a better plan for it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    )?;
    Ok(connection)
}

/// Makes the tables of a new journal, or brings an older one up to the present format, in one transaction.
///
/// # Errors
/// [`JournalError::Future`] for a later format.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let io = |error: rusqlite::Error| fault::of(path, &error);
    if format(connection).map_err(io)? == FORMAT {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io)?;
    match format(&transaction).map_err(io)? {
        0 => transaction.execute_batch(TABLES).map_err(io)?,
        found if found > FORMAT => {
            return Err(JournalError::Future { path: path.to_owned(), found });
        }
        found => {
            for step in STEPS.iter().skip(usize::try_from(found - 1).unwrap_or(usize::MAX)) {
                transaction.execute_batch(step).map_err(io)?;
            }
        }
    }
    transaction.pragma_update(None, "user_version", FORMAT).map_err(io)?;
    transaction.commit().map_err(io)
}

/// Begins to write. Another program may have brought the journal up to a later format meanwhile: this one must not
/// write into that.
///
/// # Errors
/// The cause, for people.
pub(super) fn begin<'a>(
    connection: &'a mut Connection,
    path: &Path,
) -> Result<Transaction<'a>, JournalError> {
    let io = |error: rusqlite::Error| fault::of(path, &error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io)?;
    match format(&transaction).map_err(io)? {
        FORMAT => Ok(transaction),
        found => Err(JournalError::Future { path: path.to_owned(), found }),
    }
}

fn format(connection: &Connection) -> rusqlite::Result<u32> {
    connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))
}

/// Returns the sum over the parts of a row that never change once it is written.
pub(super) fn sum(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&digest.finalize()[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

/// Checks a row against its sum. Rows of format 1 have none.
///
/// # Errors
/// What is wrong.
pub(super) fn check(found: Option<&str>, parts: &[&str]) -> Result<(), String> {
    match found {
        Some(found) if found != sum(parts) => {
            Err("it is not what was written: its sum does not fit".to_owned())
        }
        _ => Ok(()),
    }
}
