//! The dead-man switches that may be armed, read off the records of runs.

use jiff::Timestamp;

use super::record::{Body, Record};
use crate::event::DeadmanState;

/// A dead-man switch that may be armed, as far as a journal knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchRow {
    /// The run that armed it.
    pub run: String,
    /// The call whose change it takes back.
    pub call: String,
    /// The target.
    pub target: String,
    /// The key of the obligation whose end disarms it, if there is one.
    pub key: Option<String>,
    /// What the change does, for people.
    pub what: String,
    /// When it fires unless its deadline is moved on.
    pub due: Timestamp,
    /// How long the target waits for the run, in milliseconds.
    pub after_ms: u64,
    /// Whether its deadline does not move on.
    pub fixed: bool,
    /// What waits on the target, `systemd`, `at` or `sh`; none if it may never have been armed.
    pub by: Option<String>,
}

/// Returns those that may be armed after the records of a run, in the order in which they were.
pub fn armed<'a>(run: &str, records: impl IntoIterator<Item = &'a Record>) -> Vec<SwitchRow> {
    let mut rows: Vec<SwitchRow> = Vec::new();
    for record in records {
        let Body::Deadman { call, target, key, what, after_ms, fixed, state } = &record.body else {
            continue;
        };
        let call = call.to_string();
        rows.retain(|row| row.call != call);
        let (due, by) = match state {
            DeadmanState::Arming { due } => (*due, None),
            DeadmanState::Armed { due, by, .. } => (*due, Some(by.clone())),
            _ => continue,
        };
        rows.push(SwitchRow {
            run: run.to_owned(),
            call,
            target: target.clone(),
            key: key.clone(),
            what: what.clone(),
            due,
            after_ms: *after_ms,
            fixed: *fixed,
            by,
        });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::CallKey;

    fn record(seq: u64, nth: u32, state: DeadmanState) -> Record {
        let call =
            CallKey { lane: "main".into(), step: String::new(), action: "ifdown".into(), nth };
        let body = Body::Deadman {
            call,
            target: "obs1".into(),
            key: Some("interface eth1".into()),
            what: "take eth1 down".into(),
            after_ms: 60_000,
            fixed: false,
            state,
        };
        Record { seq, at: Timestamp::UNIX_EPOCH, body }
    }

    #[test]
    fn the_last_record_of_each_call_counts() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let armed_at =
            |second| DeadmanState::Armed { due: at(second), by: "at".into(), reboot: true };
        let records = [
            record(1, 1, DeadmanState::Arming { due: at(60) }),
            record(2, 1, armed_at(61)),
            record(3, 2, armed_at(70)),
            record(4, 1, armed_at(90)),
            record(5, 2, DeadmanState::Disarmed),
            record(6, 3, DeadmanState::Arming { due: at(100) }),
        ];

        let rows = armed("r", &records);

        let told: Vec<_> = rows.iter().map(|row| (row.due, row.by.as_deref())).collect();
        assert_eq!(told, [(at(90), Some("at")), (at(100), None)]);
    }
}
