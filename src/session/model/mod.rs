//! Random scripts, random crashes, random faults, against a model that says what must come of them.
//!
//! The journal, the calls, undo, obligations, locks and the ends of runs are the real ones; the script, its actions and
//! what they act on are the model's. A process dies at any moment: before and after each write of the journal, each look
//! and each change. What was handed to the journal and was not durable is lost then. It is taken up again until it ends.
//!
//! `PROPTEST_CASES` is the number of cases. A case that failed is kept in `proptest-regressions` and tried first.

mod actions;
mod case;
mod journal;
mod script;
mod target;
mod world;

use std::sync::atomic::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;

use self::case::Case;
use self::script::{Op, Outlook, outlook, script};
use self::world::Fate;
use crate::event::Status;

/// More processes than a run can need: each but the first follows a crash, a pause or a failed undo.
const PROCESSES: usize = 60;

/// Brings a script to its end, whatever happens, and returns what must not be.
fn endure(ops: &[Op], fates: &[(u64, Fate)], back: Option<usize>) -> Vec<String> {
    let case = Case::new(fates.iter().copied().collect());
    let outlook = outlook(ops);
    let mut forward = true;
    let mut wrong = Vec::new();
    for number in 0..PROCESSES {
        let known = case.status();
        // Who pauses for ever and who ends with something off is rolled back by the operator, others when they like.
        let stuck = outlook == Outlook::Stuck && number + 5 >= PROCESSES / 2;
        let asked = known == Status::Failed || stuck || back.is_some_and(|at| number >= at);
        forward &= !asked;
        let ended = case.process(ops, asked, number == 0);
        wrong.extend(case.unlisted());
        match ended {
            _ if case.world.is_dead() => {}
            Err(halt) => wrong.push(format!("process {number} ends with {halt:?}")),
            Ok(ended) => match (ended.status, &outlook) {
                (Status::Paused, _) if forward && ended.failure.is_some() => {
                    case.world.pauses.fetch_add(1, Ordering::SeqCst);
                }
                (Status::Failed, Outlook::Through(expected)) if forward => {
                    wrong.extend(case.not_through(expected));
                    if expected.owed.is_empty() {
                        wrong.push("it failed, and nothing is owed".to_owned());
                    }
                }
                _ => {}
            },
        }
        match (case.status(), &outlook) {
            (Status::Done, Outlook::Through(expected)) => {
                wrong.extend(case.not_through(expected));
                break;
            }
            (Status::Done, _) => wrong.push("it is done, and should not".to_owned()),
            (Status::RolledBack, Outlook::Through(_)) if forward => {
                wrong.push("it is rolled back, and should not".to_owned());
            }
            (Status::RolledBack, _) => {
                wrong.extend(case.not_back());
                break;
            }
            _ if !wrong.is_empty() => break,
            _ => {}
        }
        if number + 1 == PROCESSES {
            wrong.push(format!("it does not end, and is {:?}", case.status()));
        }
    }
    wrong.extend(case.world.wrong.lock().unwrap().iter().cloned());
    let locks = std::fs::read_dir(case.dir.path()).unwrap().map(|file| file.unwrap().file_name());
    wrong.extend(locks.filter(|name| name != "state").map(|name| format!("{name:?} is left")));
    wrong
}

/// So many cases that they take some twenty seconds at most, unless another number is asked for.
fn config() -> ProptestConfig {
    let config = ProptestConfig { max_shrink_time: 60_000, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        config
    } else {
        ProptestConfig { cases: 60, ..config }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![3 => Just(Fate::Die), 1 => Just(Fate::Lose), 1 => Just(Fate::Reboot)]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_a_run_ends_as_the_model_says(
        ops in script(),
        fates in vec((0..250_u64, fate()), 0..7),
        back in proptest::option::weighted(0.3, 1..4_usize),
    ) {
        let wrong = endure(&ops, &fates, back);
        prop_assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
