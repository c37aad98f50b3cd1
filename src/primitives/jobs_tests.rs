use std::sync::Arc;

use super::*;
use crate::effect::bench::Bench;
use crate::effect::{Lane, Mode, perform};
use crate::error::Halt;
use crate::primitives::app::mock::{Answers, Mock, app, bench};

fn drain(timeout_ms: u64) -> Drain {
    Drain { app: app(), timeout_ms, pause_ms: 1, ask: true }
}

fn asked(bench: Bench, mock: &Mock, answer: &'static str) -> Lane {
    let bench = bench.asker(Arc::new(Answers(answer)));
    mock.lane(&bench, Mode::Run)
}

#[test]
fn it_ends_when_the_last_job_does() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    mock.world().jobs = vec![vec!["a", "b"], vec!["a", "b"], vec!["b"], vec![]];

    let drained = perform(&mock.lane(&bench, Mode::Run), None, &drain(60_000)).unwrap();

    assert_eq!(drained.left, 0);
}

#[test]
fn where_nobody_can_be_asked_the_run_pauses_and_waits_again() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    mock.world().jobs = vec![vec!["a", "b"]];

    let Err(Halt::Stop(Stop::Paused(pause))) =
        perform(&mock.lane(&bench, Mode::Run), None, &drain(10))
    else {
        panic!()
    };
    assert!(pause.why.contains("there still run 2 jobs: a, b"), "{}", pause.why);

    mock.world().jobs = vec![];
    assert_eq!(perform(&mock.lane(&bench, Mode::Run), None, &drain(10)).unwrap().left, 0);
}

#[test]
fn the_operator_decides_at_the_limit() {
    let mock = Mock::with_users(0);
    mock.world().jobs = vec![vec!["a"]];

    let went_on = perform(&asked(bench(), &mock, "go on"), None, &drain(5)).unwrap();
    assert_eq!(went_on.left, 1);

    let Err(Halt::Failure(failure)) = perform(&asked(bench(), &mock, "give up"), None, &drain(5))
    else {
        panic!()
    };
    assert_eq!(failure.kind, Kind::Timeout);
    assert!(failure.message.ends_with("there still run 1 job: a"), "{}", failure.message);

    mock.world().jobs = vec![vec!["a"]; 12].into_iter().chain([vec![]]).collect();
    assert_eq!(perform(&asked(bench(), &mock, "wait"), None, &drain(3)).unwrap().left, 0);
}

#[test]
fn plan_names_the_jobs_and_waits_for_none() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    mock.world().jobs = vec![vec!["a"]];

    let lane = mock.lane(&bench, Mode::Plan);
    assert_eq!(perform(&lane, None, &drain(60_000)).unwrap().left, 0);
}

#[test]
fn an_adapter_that_cannot_list_jobs_is_named() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    mock.world().lacks.push("jobs");

    let Err(Halt::Failure(failure)) = perform(&mock.lane(&bench, Mode::Run), None, &drain(1))
    else {
        panic!()
    };

    assert_eq!(failure.message, "adapter `mock` cannot list running jobs");
}
