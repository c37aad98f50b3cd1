use super::look::parse;
use super::*;
use crate::effect::bench::Bench;
use crate::effect::{Action, Cx, Mode, Reconciled, perform, roll_back};
use crate::error::{Halt, Kind};

/// A service whose whole state is one file, and which notes each start and stop.
fn bench() -> (Bench, Service) {
    let mut registry = Registry::default();
    actions(&mut registry);
    let bench = Bench::new(registry);
    let dir = bench.path().display();
    let commands = ServiceCommands {
        start: Some(format!("echo start >>{dir}/calls; touch {dir}/up; exit 1")),
        stop: Some(format!("echo stop >>{dir}/calls; rm -f {dir}/up; exit 1")),
        status: Some(format!("test -e {dir}/up")),
        ..ServiceCommands::default()
    };
    std::fs::write(bench.path().join("up"), "").unwrap();
    (bench, Service { name: "obsr".to_owned(), commands, timeout_ms: Some(2000), deadman: None })
}

fn calls(bench: &Bench) -> Vec<String> {
    let text = std::fs::read_to_string(bench.path().join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_script_that_always_ends_with_1_still_stops_the_service() {
    let (bench, service) = bench();
    let lane = bench.lane(Mode::Run);

    assert_eq!(perform(&lane, None, &Stop(service.clone())), Ok(true));
    assert_eq!(perform(&lane, None, &Stop(service)), Ok(false));

    assert_eq!(calls(&bench), ["stop"]);
    assert_eq!(lane.run().obligations.all()[0].debt.what, "service obsr running");
}

#[test]
fn what_a_restart_stopped_is_owed_until_it_runs_again() {
    let (bench, mut service) = bench();
    let dir = bench.path().display().to_string();
    service.commands.start = Some(format!("test -e {dir}/may && touch {dir}/up"));
    service.timeout_ms = Some(300);

    let lane = bench.lane(Mode::Run);
    let Err(Halt::Failure(failure)) = perform(&lane, None, &Restart(service.clone())) else {
        panic!()
    };

    assert_eq!(lane.run().obligations.all()[0].debt.what, "service obsr running");
    assert_eq!(lane.run().store.as_ref().unwrap().debts().unwrap().len(), 1);
    bench.pause_after(&failure);
    std::fs::write(bench.path().join("may"), "").unwrap();
    let lane = bench.lane(Mode::Run);
    assert_eq!(perform(&lane, None, &Restart(service)), Ok(true));
    assert!(lane.run().obligations.all().is_empty());
    assert!(lane.run().store.as_ref().unwrap().debts().unwrap().is_empty());
}

#[test]
fn a_restart_that_came_to_its_end_is_told_by_what_runs_now() {
    let (bench, mut service) = bench();
    let pid = bench.path().join("pid");
    service.commands.pid_file = Some(pid.display().to_string());
    let lane = bench.lane(Mode::Run);
    let call = lane.next_call(Restart::NAME);
    let cx = Cx { lane: &lane, target: lane.target(), call: &call };
    std::fs::write(&pid, std::process::id().to_string()).unwrap();
    let before = service.state(&cx).unwrap();
    let restart = Restart(service);

    assert_eq!(restart.reconcile(&cx, &before), Ok(Reconciled::Redo));

    std::fs::write(&pid, std::os::unix::process::parent_id().to_string()).unwrap();
    assert_eq!(restart.reconcile(&cx, &before), Ok(Reconciled::Done(true)));
    std::fs::write(&pid, "0").unwrap();
    assert_eq!(restart.reconcile(&cx, &before), Ok(Reconciled::Redo));
}

#[test]
fn plan_does_not_stop_the_service_and_knows_it_stopped_afterwards() {
    let (bench, service) = bench();
    let lane = bench.lane(Mode::Plan);

    assert_eq!(perform(&lane, None, &Stop(service.clone())), Ok(true));
    assert_eq!(perform(&lane, None, &Start(service)), Ok(true));

    assert_eq!(calls(&bench), [""; 0]);
}

#[test]
fn resume_skips_finished_actions() {
    let (bench, service) = bench();
    assert_eq!(perform(&bench.lane(Mode::Run), None, &Stop(service.clone())), Ok(true));

    let lane = bench.lane(Mode::Run);
    assert_eq!(perform(&lane, None, &Stop(service.clone())), Ok(true));
    assert_eq!(perform(&lane, None, &Start(service)), Ok(true));

    assert_eq!(calls(&bench), ["stop", "start"]);
    assert!(lane.run().obligations.all().is_empty());
}

#[test]
fn rollback_starts_what_was_stopped_in_another_process() {
    let (bench, service) = bench();
    perform(&bench.lane(Mode::Run), None, &Stop(service.clone())).unwrap();

    let lane = bench.lane(Mode::Rebuild);
    perform(&lane, None, &Stop(service)).unwrap();
    let undone = roll_back(&lane).unwrap();

    assert_eq!((undone.done, undone.failed.len()), (1, 0));
    assert_eq!(calls(&bench), ["stop", "start"]);
    assert!(lane.run().obligations.all().is_empty());
}

#[test]
fn a_service_that_does_not_stop_fails_with_its_output() {
    let (bench, mut service) = bench();
    service.commands.stop = Some("echo cannot >&2".to_owned());
    service.timeout_ms = Some(300);

    let Err(Halt::Failure(failure)) = perform(&bench.lane(Mode::Run), None, &Stop(service)) else {
        panic!()
    };

    assert_eq!((failure.kind, failure.stderr.as_str()), (Kind::Timeout, "cannot\n"));
    assert_eq!(failure.message, "service `obsr` still runs after 300ms");
}

#[test]
fn evidence_is_read_line_by_line() {
    let state = parse(
        "manager sysv\nprocess yes process 12\ninstance process= 12\nport no nothing listens on 80\n",
    );

    assert!(state.running && !state.up);
    assert_eq!(state.evidence, ["process: process 12", "port: nothing listens on 80"]);
    assert_eq!(state.instance, "instance process= 12");
}
