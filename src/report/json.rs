//! `--json`: a run is one event a line, a listing is one array, newest first. The keys named here are a contract; more
//! may come.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::event::Event;
use crate::journal::{DebtRow, RunInfo, SwitchRow};

/// Returns an event as one line, without its end.
pub fn event(event: &Event) -> String {
    // Events hold nothing but text, numbers and lists, so this cannot fail; a reader is told if it ever does.
    serde_json::to_string(event).unwrap_or_else(|error| {
        json!({ "event": "warning", "text": error.to_string() }).to_string()
    })
}

/// Returns the runs as an array: `id status runbook targets started ended`, and more. `held` says whether a live
/// process drives a run.
pub fn runs(runs: &[RunInfo], held: &dyn Fn(&str) -> bool) -> Value {
    runs.iter()
        .map(|run| {
            json!({
                "id": run.id,
                "status": run.status.as_str(),
                "runbook": run.runbook,
                "targets": run.targets,
                "started": run.started,
                "ended": run.ended,
                "title": run.title,
                "by": run.operator,
                "due": run.due,
                "driven": held(&run.id),
            })
        })
        .collect()
}

/// Returns the open obligations as an array: `target what since run due overdue by`, and more. `switch` is null, or the dead-man
/// switch that meets it without us: when it `fires`, and what waits on the target, `by`.
pub fn debts(debts: &[DebtRow], switches: &[SwitchRow], now: Timestamp) -> Value {
    debts
        .iter()
        .map(|debt| {
            let switch = switches.iter().find(|it| {
                it.run == debt.run
                    && it.target == debt.target
                    && it.key.as_deref() == Some(&debt.key)
            });
            json!({
                "target": debt.target,
                "what": debt.what,
                "since": debt.since,
                "run": debt.run,
                "due": debt.due,
                "overdue": debt.is_overdue(now),
                "by": debt.by,
                "locks_out": debt.locks_out,
                "kept": debt.kept,
                "switch": switch.map(|it| json!({ "fires": it.due, "by": it.by })),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Status, What};

    #[test]
    fn a_listing_has_the_keys_of_the_contract() {
        let run = RunInfo {
            id: "20261122-2020-k3f9".into(),
            runbook: "a.rhai".into(),
            title: "A".into(),
            targets: vec!["obs1".into()],
            operator: "root".into(),
            version: "0.1.0".into(),
            status: Status::RolledBack,
            started: Timestamp::UNIX_EPOCH,
            ended: None,
            due: None,
            settings: Value::Null,
            sources: vec![],
        };
        insta::assert_snapshot!(runs(&[run], &|_| false), @r#"[{"id":"20261122-2020-k3f9","status":"rolled back","runbook":"a.rhai","targets":["obs1"],"started":"1970-01-01T00:00:00Z","ended":null,"title":"A","by":"root","due":null,"driven":false}]"#);

        let debt = DebtRow {
            target: "obs1".into(),
            what: "replication on".into(),
            since: Timestamp::UNIX_EPOCH,
            run: "20261122-2020-k3f9".into(),
            due: None,
            by: "root".into(),
            key: "replication".into(),
            locks_out: false,
            kept: Some("until checkout".into()),
        };
        let switch = SwitchRow {
            run: debt.run.clone(),
            call: "main//replication#1".into(),
            target: "obs1".into(),
            key: Some("replication".into()),
            what: "switch replication off".into(),
            due: Timestamp::UNIX_EPOCH,
            after_ms: 60_000,
            fixed: false,
            by: Some("systemd".into()),
        };
        insta::assert_snapshot!(debts(std::slice::from_ref(&debt), &[], Timestamp::UNIX_EPOCH), @r#"[{"target":"obs1","what":"replication on","since":"1970-01-01T00:00:00Z","run":"20261122-2020-k3f9","due":null,"overdue":false,"by":"root","locks_out":false,"kept":"until checkout","switch":null}]"#);
        assert_eq!(
            debts(&[debt], &[switch], Timestamp::UNIX_EPOCH)[0]["switch"],
            json!({ "fires": "1970-01-01T00:00:00Z", "by": "systemd" })
        );
    }

    #[test]
    fn an_event_is_one_line_that_reads_back() {
        let told = Event {
            at: Timestamp::UNIX_EPOCH,
            run: "r".into(),
            lane: "main".into(),
            step: "s".into(),
            target: "t".into(),
            what: What::Note { text: "two\nlines".into() },
        };
        let line = event(&told);
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), told);
    }
}
