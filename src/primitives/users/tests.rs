use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::effect::bench::Bench;
use crate::effect::{Mode, perform, recall_inverses, roll_back};
use crate::error::{Halt, Kind, Stop};
use crate::event::What;
use crate::primitives::app::mock::{Mock, app, bench};

fn all() -> Suspend {
    Suspend { app: app(), except: Vec::new(), only: None, timeout_ms: None, deadman: None }
}

fn of_run(lane: &Lane) -> Resume {
    let ledger = Ledger::of_run(lane, &app()).unwrap();
    Resume { app: app(), users: ledger.users, others: ledger.others, timeout_ms: None }
}

fn failure<T: std::fmt::Debug>(result: Result<T>) -> Failure {
    match result {
        Err(Halt::Failure(failure)) => *failure,
        other => panic!("no failure: {other:?}"),
    }
}

fn warnings(bench: &Bench) -> Vec<String> {
    let events = bench.events().into_iter();
    events
        .filter_map(|what| if let What::Warning { text } = what { Some(text) } else { None })
        .collect()
}

#[test]
fn only_the_enabled_are_suspended_and_only_they_are_enabled_again() {
    let (bench, mock) = (bench(), Mock::with_users(40));
    let purpose = mock.having(false);
    let lane = mock.lane(&bench, Mode::Run);

    let suspended = perform(&lane, None, &all()).unwrap();
    assert_eq!((suspended.changed, suspended.already), (36, 4));
    assert!(mock.having(true).is_empty());
    assert_eq!(lane.run().obligations.all()[0].debt.what, "users enabled (36)");

    let resumed = perform(&lane, None, &of_run(&lane)).unwrap();
    assert_eq!((resumed.changed, resumed.already, resumed.drift.len()), (36, 0, 0));
    assert_eq!(mock.having(false), purpose);
    assert!(lane.run().obligations.all().is_empty());
    assert_eq!(mock.world().changes.len(), 72);
    assert!(warnings(&bench).is_empty());
}

#[test]
fn a_kill_half_way_is_taken_up_with_the_list_from_before() {
    for dies_after in [1, 18, 36] {
        let (bench, mock) = (bench(), Mock::with_users(40));
        let purpose = mock.having(false);
        mock.world().dies_after = Some(dies_after);
        let died = perform(&mock.lane(&bench, Mode::Run), None, &all());
        assert_eq!(died, Err(Halt::Stop(Stop::Cancelled)));
        assert_eq!(mock.world().changes.len(), dies_after);

        let lane = mock.lane(&bench, Mode::Run);
        let suspended = perform(&lane, None, &all()).unwrap();
        assert_eq!((suspended.changed, suspended.users.len()), (36, 36));
        assert_eq!(mock.world().changes.len(), 36, "nobody twice");

        perform(&lane, None, &of_run(&lane)).unwrap();
        assert_eq!(mock.having(false), purpose);
    }
}

#[test]
fn rollback_after_a_kill_half_way_enables_those_suspended_until_then() {
    for without_script in [false, true] {
        let (bench, mock) = (bench(), Mock::with_users(40));
        let purpose = mock.having(false);
        mock.world().dies_after = Some(18);
        perform(&mock.lane(&bench, Mode::Run), None, &all()).unwrap_err();

        let lane = mock.lane(&bench, Mode::Rebuild);
        if without_script {
            recall_inverses(&lane);
        } else {
            perform(&lane, None, &all()).unwrap_err();
        }
        let undone = roll_back(&lane).unwrap();

        assert_eq!((undone.done, undone.failed.len()), (1, 0));
        assert_eq!(mock.having(false), purpose);
        assert_eq!(mock.world().changes.len(), 36);
        assert!(lane.run().obligations.all().is_empty());
    }
}

#[test]
fn a_kill_while_enabling_is_taken_up() {
    let (bench, mock) = (bench(), Mock::with_users(40));
    let purpose = mock.having(false);
    let lane = mock.lane(&bench, Mode::Run);
    perform(&lane, None, &all()).unwrap();
    mock.world().dies_after = Some(36 + 10);
    perform(&lane, None, &of_run(&lane)).unwrap_err();

    let lane = mock.lane(&bench, Mode::Run);
    perform(&lane, None, &all()).unwrap();
    let resumed = perform(&lane, None, &of_run(&lane)).unwrap();

    assert_eq!((resumed.changed, resumed.drift.len()), (36, 0));
    assert_eq!(mock.having(false), purpose);
    assert_eq!(mock.world().changes.len(), 72);
    assert!(lane.run().obligations.all().is_empty());
}

#[test]
fn one_user_that_cannot_be_changed_does_not_hold_up_the_others() {
    let (bench, mock) = (bench(), Mock::with_users(40));
    mock.world().stubborn.insert("u03".to_owned());
    let lane = mock.lane(&bench, Mode::Run);

    let failed = failure(perform(&lane, None, &all()));
    assert_eq!(failed.kind, Kind::Check);
    assert_eq!(
        failed.message,
        "1 of 36 users could not be suspended: u03: the trial of this user ran out"
    );
    assert_eq!(mock.having(true), ["u03"]);

    // A runbook that catches this can still let everybody in, now and when it is replayed.
    assert_eq!(perform(&lane, None, &of_run(&lane)).unwrap().changed, 35);
    assert_eq!(mock.having(false), ["u06", "u16", "u26", "u36"]);
    let replay = mock.lane(&bench, Mode::Run);
    assert_eq!(failure(perform(&replay, None, &all())).message, failed.message);
    assert_eq!(perform(&replay, None, &of_run(&replay)).unwrap().changed, 35);
    assert_eq!(mock.world().changes.len(), 70);
}

#[test]
fn when_nobody_answers_any_more_it_gives_up_soon_and_says_who_is_left() {
    #[derive(Debug)]
    struct Silent(Mock);
    impl crate::effect::Adapters for Silent {
        fn has(&self, adapter: &str, verb: &str) -> bool {
            self.0.has(adapter, verb)
        }
        fn call(&self, lane: &Lane, app: &App, verb: &str, arguments: &[Value]) -> Result<Value> {
            if verb == "user_set" {
                self.0.world().changes.push("tried".to_owned());
                return Err(Failure::new(Kind::Connect, "connection refused").into());
            }
            self.0.call(lane, app, verb, arguments)
        }
    }
    let (bench, mock) = (bench(), Mock::with_users(40));
    let lane = bench.lane(Mode::Run);
    lane.run().adapters.set(std::sync::Arc::new(Silent(mock.clone()))).unwrap();

    let failed = failure(perform(&lane, None, &all()));
    assert_eq!(mock.world().changes.len(), 5);
    assert_eq!(
        failed.message,
        "36 of 36 users could not be suspended (gave up, for the application itself seems to fail): \
         u00: connection refused; u01: connection refused; u02: connection refused; \
         u03, u04, u05, u07, u08 and 28 more"
    );
}

#[test]
fn what_others_change_meanwhile_is_reported_and_left_so() {
    let (bench, mock) = (bench(), Mock::with_users(20));
    let lane = mock.lane(&bench, Mode::Run);
    perform(&lane, None, &all()).unwrap();
    {
        let mut world = mock.world();
        world.users.insert("u00".to_owned(), true); // enabled by an administrator
        world.users.remove("u01");
        world.users.insert("u06".to_owned(), true); // paid his bill
        world.users.insert("unpaid".to_owned(), false); // new, and suspended
    }

    let resumed = perform(&lane, None, &of_run(&lane)).unwrap();

    assert_eq!((resumed.changed, resumed.already), (16, 1));
    assert_eq!(
        resumed.drift,
        [
            "enabled by others meanwhile: u00",
            "removed by others meanwhile: u01",
            "suspended before, and enabled by others meanwhile: u06",
            "suspended by others meanwhile, and left so: unpaid",
        ]
    );
    assert_eq!(warnings(&bench).len(), 4);
    assert_eq!(mock.having(false), ["u16", "unpaid"]);
}

#[test]
fn users_added_while_it_suspends_are_reported_and_not_touched() {
    let (bench, mock) = (bench(), Mock::with_users(10));
    mock.world().dies_after = Some(3);
    perform(&mock.lane(&bench, Mode::Run), None, &all()).unwrap_err();
    mock.world().users.insert("new".to_owned(), true);

    let suspended = perform(&mock.lane(&bench, Mode::Run), None, &all()).unwrap();

    assert_eq!(suspended.changed, 9);
    assert_eq!(suspended.drift, ["added or enabled by others meanwhile, and left so: new"]);
    assert_eq!(mock.having(true), ["new"]);
}

#[test]
fn plan_lists_and_changes_nothing() {
    let (bench, mock) = (bench(), Mock::with_users(40));
    let lane = mock.lane(&bench, Mode::Plan);

    assert_eq!(perform(&lane, None, &all()).unwrap().changed, 36);
    let resumed = perform(&lane, None, &of_run(&lane)).unwrap();

    assert_eq!((resumed.changed, resumed.drift.len()), (36, 0));
    assert!(mock.world().changes.is_empty());
    let planned = bench.events().into_iter().find_map(|what| match what {
        What::CallPlanned { planned, .. } => Some(planned),
        _ => None,
    });
    assert_eq!(
        planned.unwrap().changes,
        [
            "36 users suspended: u00, u01, u02, u03, u04 and 31 more",
            "4 users suspended already, left so"
        ]
    );
}

#[test]
fn exceptions_stay_enabled_and_misspelt_ones_are_refused() {
    let (bench, mock) = (bench(), Mock::with_users(5));
    let lane = mock.lane(&bench, Mode::Run);
    let but = |id: &str| Suspend { except: vec![id.to_owned()], ..all() };

    let failed = failure(perform(&lane, None, &but("u0")));
    assert_eq!(failed.message, "option `except`: there is no user `u0`");
    assert!(mock.world().changes.is_empty());

    assert_eq!(perform(&lane, None, &but("u02")).unwrap().changed, 4);
    assert_eq!(mock.having(true), ["u02"]);
}

#[test]
fn nobody_enabled_is_nothing_to_do_and_nothing_owed() {
    let (bench, mock) = (bench(), Mock::with_users(5));
    mock.world().users.values_mut().for_each(|enabled| *enabled = false);
    let lane = mock.lane(&bench, Mode::Run);

    assert_eq!(perform(&lane, None, &all()).unwrap().changed, 0);

    assert!(mock.world().changes.is_empty());
    assert!(lane.run().obligations.all().is_empty());
}

#[test]
fn a_second_suspension_begins_a_new_list() {
    let (bench, mock) = (bench(), Mock::with_users(5));
    let lane = mock.lane(&bench, Mode::Run);
    perform(&lane, None, &all()).unwrap();
    perform(&lane, None, &of_run(&lane)).unwrap();
    mock.world().users.insert("u00".to_owned(), false); // on purpose, by an administrator
    perform(&lane, None, &all()).unwrap();
    perform(&lane, None, &of_run(&lane)).unwrap();

    assert_eq!(mock.having(false), ["u00"]);
}

#[test]
fn thousands_of_users_take_no_time_of_ours() {
    let (bench, mock) = (bench(), Mock::with_users(5000));
    let lane = mock.lane(&bench, Mode::Run);
    let started = Instant::now();

    perform(&lane, None, &all()).unwrap();
    perform(&lane, None, &of_run(&lane)).unwrap();

    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(mock.having(false).len(), 500);
    let told =
        bench.events().iter().filter(|what| matches!(what, What::CallProgress { .. })).count();
    assert!((2..500).contains(&told), "{told} messages of progress");
}

#[test]
fn out_of_time_it_says_who_is_left() {
    let (bench, mock) = (bench(), Mock::with_users(5));
    let lane = mock.lane(&bench, Mode::Run);

    let failed = failure(perform(&lane, None, &Suspend { timeout_ms: Some(0), ..all() }));

    assert_eq!(failed.kind, Kind::Timeout);
    assert_eq!(
        failed.message,
        "5 of 5 users could not be suspended within 0s: u00, u01, u02, u03, u04"
    );
}

#[test]
fn a_name_that_the_record_would_hide_is_refused_before_anything_happens() {
    let (bench, mock) = (bench(), Mock::with_users(3));
    mock.world().users.insert("value-of-pw-paris".to_owned(), true);
    let lane = mock.lane(&bench, Mode::Run);
    lane.run().reveal("pw").unwrap();

    let failed = failure(perform(&lane, None, &all()));

    assert_eq!(
        failed.message,
        "user `[secret]-paris` cannot be recorded: a password of this run is a part of the name"
    );
    assert!(mock.world().changes.is_empty());
}

#[test]
fn an_adapter_without_the_verb_is_named() {
    let (bench, mock) = (bench(), Mock::with_users(3));
    mock.world().lacks.push("user_set");

    let failed = failure(perform(&mock.lane(&bench, Mode::Run), None, &all()));

    assert_eq!(failed.message, "adapter `mock` cannot suspend or resume users");
    assert_eq!(failed.kind, Kind::Input);
}

#[test]
fn an_answer_that_breaks_the_contract_is_named() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    mock.world().users.insert(String::new(), true);

    let failed = failure(perform(&mock.lane(&bench, Mode::Run), None, &all()));

    assert_eq!(failed.message, "`mock_users` returned a user without id: ``");
}

#[test]
fn the_owner_belongs_to_the_identity() {
    let who = |id: &str, owner: &str| Who { id: id.to_owned(), owner: owner.to_owned() };
    let listing = Listing { enabled: vec![who("a", ""), who("a", "shop")], suspended: vec![] };

    let after = listing.with(&[who("a", "shop")], State::Suspended);

    assert_eq!(after, Listing { enabled: vec![who("a", "")], suspended: vec![who("a", "shop")] });
    assert_eq!(json!(after.suspended), json!([{ "id": "a", "owner": "shop" }]));
    assert_eq!(names(&after.suspended), "a of shop");
}

#[test]
fn what_suspend_returned_is_a_ledger() {
    let (bench, mock) = (bench(), Mock::with_users(3));
    let output = perform(&mock.lane(&bench, Mode::Run), None, &all()).unwrap();

    let read = ledger(json!(output)).unwrap();

    assert_eq!((read.users.len(), read.others), (3, Some(vec![])));
    assert!(ledger(json!({ "changed": 3 })).unwrap_err().contains("users"));
}
