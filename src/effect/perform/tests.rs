use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::perform;
use crate::call::Access;
use crate::effect::bench::Bench;
use crate::effect::{Action, Cx, Lane, Mode, Owes, Plan, Reconciled, Registry};
use crate::error::{Halt, Kind, Result};
use crate::event::{CallEnd, What};
use crate::journal::Inverse;

/// A change that runs a command.
#[derive(Clone, Serialize, Deserialize)]
struct Change;

impl Action for Change {
    const NAME: &'static str = "change";
    const ACCESS: Access = Access::Change;
    type Before = ();
    type Output = bool;

    fn summary(&self) -> String {
        "change something".to_owned()
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, _before: &()) -> Plan<(), bool> {
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &()) -> Result<bool> {
        cx.change_script("true", [""; 0], b"").map(|_| true)
    }

    fn reconcile(&self, _cx: &Cx<'_>, _before: &()) -> Result<Reconciled<bool>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, _before: &()) -> Inverse {
        Inverse::Nothing { why: "it changes nothing".to_owned() }
    }

    fn owes(&self, _before: &()) -> Owes {
        Owes::Nothing
    }
}

/// The record of another run's lock.
fn held_by_another(bench: &Bench) -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    let dir = bench.path().join(format!("upgrade-host-lock-{user}"));
    fs::create_dir(&dir).unwrap();
    let record = dir.join("holder");
    fs::write(&record, "7 another process\nsomebody\nnow\nsomething\nelsewhere\n").unwrap();
    record
}

fn conflict(lane: &Lane) -> String {
    let Err(Halt::Failure(failure)) = perform(lane, None, &Change) else { panic!("it is held") };
    assert_eq!(failure.kind, Kind::Conflict);
    failure.call.unwrap()
}

#[test]
fn a_call_that_finds_its_target_held_by_another_run_ends_with_that_and_is_answered_so_by_a_resume()
{
    let bench = Bench::new(Registry::default());
    let record = held_by_another(&bench);
    let lane = bench.lane(Mode::Run);
    let call = conflict(&lane);
    let ended = bench.events().into_iter().any(|what| {
        matches!(what, What::CallEnded { call: ended, end: CallEnd::Failed(_), .. } if ended == call)
    });
    assert!(ended, "{:#?}", bench.events());
    // The script catches it, and goes on once the other is through.
    fs::remove_file(record).unwrap();
    assert!(perform(&lane, None, &Change).unwrap());

    let lane = bench.lane(Mode::Run);

    assert_eq!(conflict(&lane), call);
    assert!(perform(&lane, None, &Change).unwrap());
}
