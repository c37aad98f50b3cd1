//! Removes runs: all of each, or nothing.

use std::path::Path;

use rusqlite::params;

use super::schema::{begin, connect};
use crate::event::Status;
use crate::journal::{JournalError, fault};

/// Removes those of `runs` that are over, owe nothing and are not `held`, in one transaction. Returns which those were.
///
/// Nobody can take one up meanwhile: that begins with a write, which waits for this transaction and then finds no run.
///
/// # Errors
/// [`JournalError::Io`]; nothing was removed then.
pub(super) fn remove(
    path: &Path,
    runs: &[String],
    held: &dyn Fn(&str) -> bool,
) -> Result<Vec<String>, JournalError> {
    let io = |error: rusqlite::Error| fault::of(path, &error);
    let mut connection = connect(path).map_err(io)?;
    let transaction = begin(&mut connection, path)?;
    let over = [Status::Done, Status::RolledBack, Status::Failed].map(Status::as_str);
    let mut removed = Vec::new();
    for run in runs {
        let sql = "SELECT count(*) FROM runs WHERE id = ?1 AND status IN (?2, ?3, ?4)
             AND NOT EXISTS (SELECT 1 FROM debts WHERE debts.run = runs.id)";
        let found: u32 = transaction
            .query_row(sql, params![run, over[0], over[1], over[2]], |row| row.get(0))
            .map_err(io)?;
        if found == 0 || held(run) {
            continue;
        }
        for sql in [
            "DELETE FROM records WHERE run = ?",
            "DELETE FROM sources WHERE run = ?",
            "DELETE FROM runs WHERE id = ?",
        ] {
            transaction.execute(sql, [run]).map_err(io)?;
        }
        removed.push(run.clone());
    }
    transaction.commit().map_err(io)?;
    Ok(removed)
}
