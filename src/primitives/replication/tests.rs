use super::*;
use crate::effect::{App, Mode, perform, roll_back};
use crate::error::{Failure, Halt, Kind, Result};
use crate::primitives::app::mock::{Mock, app, bench};

fn to(on: bool) -> Switch {
    Switch { app: app(), on, keep_off: None, mend: false, timeout_ms: Some(50), deadman: None }
}

fn in_step(timeout_ms: u64) -> InStep {
    InStep { app: app(), state: None, timeout_ms, pause_ms: 1 }
}

fn failure<T: std::fmt::Debug>(result: Result<T>) -> Failure {
    match result {
        Err(Halt::Failure(failure)) => *failure,
        other => panic!("no failure: {other:?}"),
    }
}

#[test]
fn off_is_owed_until_it_is_on_again() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    let lane = mock.lane(&bench, Mode::Run);

    assert_eq!(perform(&lane, None, &to(false)), Ok(true));
    assert_eq!(perform(&lane, None, &to(false)), Ok(false));
    assert_eq!(lane.run().obligations.all()[0].debt.what, "replication on");
    assert_eq!(perform(&lane, None, &to(true)), Ok(true));

    assert!(lane.run().obligations.all().is_empty());
    assert_eq!(mock.world().changes, ["replication false", "replication true"]);
}

#[test]
fn off_before_the_run_owes_nothing() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    mock.world().replication = false;
    let lane = mock.lane(&bench, Mode::Run);

    assert_eq!(perform(&lane, None, &to(false)), Ok(false));

    assert!(lane.run().obligations.all().is_empty());
    roll_back(&lane).unwrap();
    assert!(mock.world().changes.is_empty());
}

#[test]
fn rollback_switches_it_on_unless_it_is_to_stay_off() {
    for keep_off in [None, Some("the safety copy".to_owned())] {
        let (bench, mock) = (bench(), Mock::with_users(0));
        let action = Switch { keep_off: keep_off.clone(), ..to(false) };
        perform(&mock.lane(&bench, Mode::Run), None, &action).unwrap();

        let lane = mock.lane(&bench, Mode::Rebuild);
        perform(&lane, None, &action).unwrap();
        let undone = roll_back(&lane).unwrap();

        assert!(undone.failed.is_empty());
        assert_eq!(mock.world().replication, keep_off.is_none());
        assert_eq!(lane.run().obligations.all().len(), usize::from(keep_off.is_some()));
    }
}

#[test]
fn an_application_that_does_not_switch_is_a_failure() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    mock.world().frozen = true;

    let failed = failure(perform(&mock.lane(&bench, Mode::Run), None, &to(false)));

    assert_eq!(failed.kind, Kind::Check);
    assert_eq!(
        failed.message,
        "replication was switched off, but 50ms later it still is on (SYNC)"
    );
}

/// The restart that makes the application read its configuration was cut off: it is down.
#[test]
fn an_application_left_down_by_a_cut_off_switch_is_mended_by_resume_and_by_rollback() {
    #[derive(Debug)]
    struct Restarts(Mock, std::sync::atomic::AtomicBool);
    impl crate::effect::Adapters for Restarts {
        fn has(&self, adapter: &str, verb: &str) -> bool {
            self.0.has(adapter, verb)
        }
        fn call(
            &self,
            lane: &crate::effect::Lane,
            app: &App,
            verb: &str,
            arguments: &[Value],
        ) -> Result<Value> {
            if verb == "replication_set" {
                self.0.world().down = true;
                if self.1.swap(false, std::sync::atomic::Ordering::SeqCst) {
                    return Err(crate::error::Stop::Cancelled.into());
                }
                self.0.world().down = false;
            }
            self.0.call(lane, app, verb, arguments)
        }
    }
    for mode in [Mode::Run, Mode::Rebuild] {
        let (bench, mock) = (bench(), Mock::with_users(0));
        let action = Switch { keep_off: Some("safety copy".to_owned()), ..to(false) };
        let lane = |mode, dies: bool| {
            let lane = bench.lane(mode);
            let adapter = Restarts(mock.clone(), dies.into());
            lane.run().adapters.set(std::sync::Arc::new(adapter)).unwrap();
            lane
        };
        perform(&lane(Mode::Run, true), None, &action).unwrap_err();
        assert!(mock.world().down);

        let lane = lane(mode, false);
        if mode == Mode::Run {
            assert_eq!(perform(&lane, None, &action), Ok(true));
        } else {
            perform(&lane, None, &action).unwrap_err();
            assert!(roll_back(&lane).unwrap().failed.is_empty());
        }

        assert!(!mock.world().down && !mock.world().replication);
        assert_eq!(lane.run().obligations.all().len(), 1);
    }
}

#[test]
fn plan_switches_nothing_and_knows_it_is_off_afterwards() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    let lane = mock.lane(&bench, Mode::Plan);

    assert_eq!(perform(&lane, None, &to(false)), Ok(true));
    assert_eq!(perform(&lane, None, &to(true)), Ok(true));
    assert!(perform(&lane, None, &in_step(1000)).unwrap().in_step);

    assert!(mock.world().changes.is_empty());
}

#[test]
fn waiting_ends_when_it_is_in_step() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    mock.world().modes = vec!["UNSYNC", "LOGGING"];

    let standing = perform(&mock.lane(&bench, Mode::Run), None, &in_step(60_000)).unwrap();

    assert_eq!(standing.say(), "on (SYNC)");
    assert!(mock.world().modes.is_empty());
}

#[test]
fn waiting_for_what_cannot_come_fails() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    let lane = mock.lane(&bench, Mode::Run);
    let word = InStep { state: Some("logging".to_owned()), ..in_step(20) };
    assert_eq!(
        failure(perform(&lane, None, &word)).message,
        "replication is not logging after 20ms: on (SYNC)"
    );

    mock.world().replication = false;
    assert_eq!(failure(perform(&lane, None, &in_step(60_000))).kind, Kind::Conflict);

    mock.world().down = true;
    let failed = failure(perform(&lane, None, &in_step(60_000)));
    assert_eq!((failed.kind, failed.message.as_str()), (Kind::Connect, "nothing listens on 8080"));
}

#[test]
fn a_switch_that_failed_is_not_tried_again_by_rollback_and_nothing_is_owed() {
    for keep_off in [None, Some("safety copy".to_owned())] {
        let (bench, mock) = (bench(), Mock::with_users(0));
        mock.world().frozen = true;
        let lane = mock.lane(&bench, Mode::Run);
        failure(perform(&lane, None, &Switch { keep_off, ..to(false) }));

        assert!(roll_back(&lane).unwrap().failed.is_empty());

        assert_eq!(mock.world().changes, ["replication false"]);
        assert!(lane.run().obligations.all().is_empty());
    }
}
