//! What runs that are over left on a target is found and removed; what may still be needed is not.

use std::path::PathBuf;

use crate::support::cli::Cli;

fn spool(run: &str) -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    PathBuf::from(format!("/var/tmp/upgrade-host-{user}/{run}"))
}

fn newest(cli: &Cli) -> String {
    cli.runs()[0]["id"].as_str().unwrap().to_owned()
}

fn listed(cli: &Cli, arguments: &[&str], run: &str) -> Option<serde_json::Value> {
    let said = cli.run(&[&["clean", "--json"], arguments].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    said.json().as_array().unwrap().iter().find(|row| row["run"] == run).cloned()
}

#[test]
fn what_a_run_may_still_need_stays_and_what_is_over_goes() {
    let cli = Cli::new();
    let code = "sh(\"echo ran >>count\", #{ undo: \"true\" }); ask(\"go on?\")";
    assert_eq!(cli.run(&["-e", code]).code, Some(3));
    let run = newest(&cli);
    assert!(spool(&run).exists());

    let row = listed(&cli, &[], &run).unwrap();
    assert_eq!((&row["receipts"], &row["running"]), (&1.into(), &0.into()), "{row}");
    assert!(row["stays"].as_str().unwrap().contains("the run is paused"), "{row}");
    assert!(spool(&run).exists());

    // Another journal does not know it.
    let other = Cli::new();
    let row = listed(&other, &["local"], &run).unwrap();
    assert!(row["stays"].as_str().unwrap().contains("no run of this journal"), "{row}");
    assert!(spool(&run).exists());

    assert_eq!(cli.run(&["rollback", "last"]).code, Some(0));
    // As if it had been killed before it cleaned up.
    std::fs::create_dir_all(spool(&run)).unwrap();
    let row = listed(&cli, &[], &run).unwrap();
    assert_eq!(row["removed"], true, "{row}");
    assert!(!spool(&run).exists());
    assert!(listed(&cli, &[], &run).is_none());
}

#[test]
fn what_still_runs_is_named_and_stays() {
    let cli = Cli::new();
    let line = "touch begun; until test -e go; do sleep 0.05; done";
    let mut child = cli.start(&["-e", &format!("sh(\"{line}\", #{{ undo: \"true\" }})")]);
    cli.wait("the command begins", || cli.path("begun").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let run = newest(&cli);

    let row = listed(&cli, &[], &run).unwrap();
    assert!(row["stays"].as_str().unwrap().contains("still runs"), "{row}");

    std::fs::write(cli.path("go"), "").unwrap();
    assert_eq!(cli.run(&["resume", "last"]).code, Some(0));
    assert!(!spool(&run).exists());
}
