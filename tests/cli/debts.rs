//! What is owed, as monitoring polls it, and whoever meets it.

use super::contract::service;
use crate::support::cli::Cli;

#[test]
fn what_is_overdue_can_be_polled_alone() {
    let cli = Cli::new();
    service(&cli);
    assert_eq!(cli.run(&["debts", "--overdue"]).code, Some(0));
    cli.run(&["-e", "service_stop(\"web\"); keep_off(\"until somebody has looked\", \"1ms\")"]);
    cli.wait("it is overdue", || cli.run(&["debts", "--overdue"]).code == Some(4));

    let debts = cli.run(&["debts", "--overdue", "--json"]).json();
    assert_eq!(
        (&debts[0]["overdue"], &debts[0]["kept"]),
        (&true.into(), &"until somebody has looked".into())
    );

    let other = Cli::new();
    service(&other);
    other.run(&["-e", "service_stop(\"web\"); keep_off(\"a while\", \"2999-01-02 03:04\")"]);
    let said = other.run(&["debts", "--overdue"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "nothing is overdue\n"));
    let debts = other.run(&["debts", "--json"]).json();
    assert_eq!(
        (&debts[0]["due"], &debts[0]["overdue"]),
        (&"2999-01-02T03:04:00Z".into(), &false.into())
    );
}

#[test]
fn a_deadline_that_is_none_or_over_is_refused() {
    let cli = Cli::new();
    service(&cli);
    for (due, why) in [("soon", "or a moment such as"), ("2001-01-01", "is over already")] {
        let said = cli.run(&["-e", &format!("service_stop(\"web\"); keep_off(\"x\", \"{due}\")")]);
        assert!(said.out.contains(why), "{said:?}");
        assert!(cli.path("up").exists(), "it was not started again");
    }
}

#[test]
fn what_one_run_owes_another_can_meet() {
    let cli = Cli::new();
    service(&cli);
    assert_eq!(cli.run(&["-e", "service_stop(\"web\")"]).code, Some(4));
    let first = cli.runs()[0]["id"].as_str().unwrap().to_owned();
    assert!(cli.run(&["show", &first]).out.contains("still owed"));

    assert_eq!(cli.run(&["-e", "service_start(\"web\")"]).code, Some(0));

    assert_eq!(cli.run(&["debts"]).code, Some(0));
    let shown = cli.run(&["show", &first]).out;
    assert!(!shown.contains("still owed") && !shown.contains("still are"), "{shown}");
    assert!(shown.contains("met since   service web running on local, by another run"), "{shown}");
}

#[test]
fn what_is_on_again_cannot_be_handed_over() {
    let cli = Cli::new();
    service(&cli);
    let code = "service_stop(\"web\"); service_start(\"web\"); keep_off(\"why ever\")";

    let said = cli.run(&["-e", code]);

    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("keep_off: service web on local is not off any more"), "{said:?}");
    assert_eq!(cli.run(&["debts"]).code, Some(0));
}

#[test]
fn what_was_off_before_the_run_is_not_owed_once_it_is_so_again() {
    let cli = Cli::new();
    service(&cli);
    std::fs::remove_file(cli.path("up")).unwrap();
    let code =
        "service_start(\"web\"); service_stop(\"web\"); service_start(\"web\"); fail(\"no\")";

    let said = cli.run(&["-e", code]);

    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(!cli.path("up").exists());
    assert_eq!(cli.run(&["debts", "--json"]).out.trim(), "[]", "{said:?}");
}
