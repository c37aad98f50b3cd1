//! Dead-man switches on this machine: what fires, what is refused, and what people are told.

use crate::support::cli::Cli;

/// A runbook's part that lasts until the switch has taken the change back.
fn until(path: &str) -> String {
    format!("sh(\"while {path}; do sleep 0.1; done\", #{{ undo: \"true\" }});")
}

fn states(events: &[serde_json::Value]) -> Vec<&str> {
    let told = events.iter().filter(|event| event["what"]["event"] == "deadman");
    told.filter_map(|event| event["what"]["state"]["deadman"].as_str()).collect()
}

#[test]
fn fired_is_7_and_a_resume_does_it_again() {
    let cli = Cli::new();
    let off = cli.path("off").display().to_string();
    let code = format!(
        "sh(\"echo x >>log; touch {off}\", #{{ undo: \"rm {off}\", deadman: #{{ after: \"3s\", fixed: true }} }}); \
         {} print(\"later\");",
        until("[ -e off ] && [ ! -e go ]")
    );

    let said = cli.run(&["-e", &code, "--json"]);
    assert_eq!(said.code, Some(7), "{said:?}");
    assert_eq!(states(&said.events()), ["armed", "fired"]);
    assert_eq!(cli.runs()[0]["status"], "paused");
    assert!(cli.show(&["show", "last"]).contains("dead-man switch fired at"));

    cli.write("go", "");
    let said = cli.run(&["resume", "last", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(states(&said.events()), ["armed", "disarmed"]);
    assert_eq!(cli.read("log"), "x\nx\n");
    assert!(cli.path("off").exists());
}

#[test]
fn what_a_switch_took_back_is_not_taken_back_twice() {
    let cli = Cli::new();
    let off = cli.path("off").display().to_string();
    let log = cli.path("log").display().to_string();
    let code = format!(
        "sh(\"touch {off}\", #{{ undo: \"echo back >>{log}; rm {off}\", deadman: #{{ after: \"3s\", fixed: true }} }}); {}",
        until("[ -e off ]")
    );
    assert_eq!(cli.run(&["-e", &code]).code, Some(7));

    let said = cli.run(&["rollback", "last"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(cli.read("log"), "back\n");
}

#[test]
fn users_are_let_in_by_the_switch_of_their_suspension() {
    let cli = Cli::new();
    let users = cli.path("users").display().to_string();
    cli.write("users", "ann\t\tenabled\nbob\t\tsuspended\ncid\t\tenabled\n");
    let code = format!(
        r#"app("command", #{{
            users: "cat {users}",
            suspend: "sed -i \"s/^$UH_USER\t\t.*/$UH_USER\t\tsuspended/\" {users}",
            resume: "sed -i \"s/^$UH_USER\t\t.*/$UH_USER\t\tenabled/\" {users}",
        }});
        suspend_all_users(#{{ deadman: #{{ after: "3s", fixed: true }} }});
        {}"#,
        until("! grep -q 'cid.*enabled' users")
    );

    let said = cli.run(&["-e", &code, "--json"]);

    assert_eq!(said.code, Some(7), "{said:?}");
    assert_eq!(cli.read("users"), "ann\t\tenabled\nbob\t\tsuspended\ncid\t\tenabled\n");
    assert_eq!(cli.run(&["debts", "--json"]).out.trim(), "[]");
}

#[test]
fn what_has_no_inverse_as_a_command_is_refused_before_anything_happens() {
    let cli = Cli::new();
    for (code, words) in [
        (r#"sh("touch went", #{ deadman: "1m" })"#, "option `deadman`: it needs `undo`"),
        (
            r#"sh("touch went", #{ undo: "true", sudo: true, deadman: "1m" })"#,
            "set `sudo` for the target",
        ),
        (r#"sh("touch went", #{ undo: "true", deadman: "1s" })"#, "is not between 3s and 30d"),
        (
            r#"sh("touch went", #{ undo: "true", deadman: #{ after: "1m", fix: true } })"#,
            "unknown key `fix`",
        ),
        (r#"service_start("x", #{ deadman: "1m" })"#, "unknown option `deadman`"),
        (
            r#"app("command", #{}); replication(true, #{ deadman: "1m" })"#,
            "`replication(false)` only",
        ),
    ] {
        let said = cli.run(&["-e", code]);
        assert!(said.out.contains(words) || said.err.contains(words), "{code}: {said:?}");
        assert_ne!(said.code, Some(0));
    }
    assert!(!cli.path("went").exists());
}

#[test]
fn a_plan_tells_of_the_switch_and_arms_none() {
    let cli = Cli::new();
    let said =
        cli.run(&["plan", "-e", r#"sh("touch went", #{ undo: "rm went", deadman: "30m" })"#]);
    assert!(said.out.contains("arm a dead-man switch that takes it back after 30m"), "{said:?}");
    assert!(!cli.path("went").exists());
}

/// A runbook whose switch stays armed until the test lets it go on.
fn armed(off: &str, after: &str) -> String {
    format!(
        "sh(\"touch {off}\", #{{ undo: \"rm {off}\", deadman: \"{after}\" }}); \
         sh(\"touch held; while test -e held && ! test -e go; do sleep 0.05; done\", #{{ idempotent: true, undo: \"true\" }});"
    )
}

#[test]
fn an_armed_switch_is_listed_and_removed_once_its_run_is_over() {
    let cli = Cli::new();
    let off = cli.path("off").display().to_string();
    let mut child = cli.start(&["-e", &armed(&off, "1h")]);
    cli.wait("it is held", || cli.path("held").exists());
    let run = cli.runs()[0]["id"].as_str().unwrap().to_owned();

    // While it is driven, the deadline moves on.
    let said = cli.run(&["debts"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("nothing is owed\n"), "{said:?}");
    assert!(said.out.contains("after the run is gone"), "{said:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let said = cli.run(&["debts"]);
    assert!(said.out.contains(&off) && said.out.contains("(in 59m)"), "{said:?}");
    let said = cli.run(&["show", "last"]);
    assert!(said.out.contains("dead-man switch for") && said.out.contains("(in 59m)"), "{said:?}");

    // What may still be needed stays.
    let rows = cli.run(&["clean", "--json"]).json();
    let row = rows.as_array().unwrap().iter().find(|row| row["run"] == run.as_str()).unwrap();
    assert_eq!((&row["switches"], &row["removed"]), (&1.into(), &false.into()), "{row}");
    std::fs::write(cli.path("go"), "").unwrap();
    let said = cli.run(&["rollback", "last"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(cli.run(&["debts"]).out, "nothing is owed\n");

    // As if the target had been out of reach when it was to be disarmed.
    let user = rustix::process::getuid().as_raw();
    let dir = format!("/var/tmp/upgrade-host-{user}/deadman/{run}-0123456789abcdef");
    std::fs::create_dir_all(format!("{dir}/files")).unwrap();
    std::fs::write(format!("{dir}/files/password"), "secret\n").unwrap();
    std::fs::write(format!("{dir}/due"), "1700000000 x 1\n").unwrap();
    std::fs::write(format!("{dir}/run"), "run\n").unwrap();
    let rows = cli.run(&["clean", "--json"]).json();
    let row = rows.as_array().unwrap().iter().find(|row| row["run"] == run.as_str()).unwrap();
    assert_eq!((&row["switches"], &row["removed"]), (&1.into(), &true.into()), "{row}");
    assert!(!std::path::Path::new(&dir).exists());
}

#[test]
fn a_debt_says_when_its_switch_meets_it() {
    let cli = Cli::new();
    let users = cli.path("users").display().to_string();
    cli.write("users", "ann\t\tenabled\n");
    let code = format!(
        r#"app("command", #{{ users: "cat {users}", suspend: "sed -i s/enabled/suspended/ {users}", resume: "sed -i s/suspended/enabled/ {users}" }});
        suspend_all_users(#{{ deadman: "2h" }}); ask("?");"#
    );
    assert_eq!(cli.run(&["-e", &code]).code, Some(3));

    let said = cli.run(&["debts", "--json"]);

    assert_eq!(said.code, Some(4), "{said:?}");
    let switch = &said.json()[0]["switch"];
    let fires: jiff::Timestamp = switch["fires"].as_str().unwrap().parse().unwrap();
    assert!(fires > jiff::Timestamp::now(), "{switch}");
    assert!(["systemd", "at", "sh"].contains(&switch["by"].as_str().unwrap()), "{switch}");
    assert_eq!(cli.run(&["rollback", "last"]).code, Some(0));
    assert_eq!(cli.run(&["debts"]).out, "nothing is owed\n");
}

#[test]
fn who_takes_a_target_over_is_told_of_the_switches_there_and_they_fire() {
    let locks = tempfile::tempdir().unwrap();
    let path = locks.path().display().to_string();
    let cli = || Cli::new().env("UPGRADE_HOST_LOCK_DIR", &path);
    let (one, other) = (cli(), cli());
    let off = one.path("off").display().to_string();
    let child = one.start(&["-e", &armed(&off, "4s"), "--json"]);
    one.wait("it is held", || one.path("held").exists());
    let run = one.runs()[0]["id"].as_str().unwrap().to_owned();

    let said = other.run(&["-e", "sh(\"true\", #{ undo: \"true\" })", "--take-over"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let words = format!("a dead-man switch of run {run} is armed on local");
    assert!(said.out.contains(&words) && said.out.contains(&off), "{said:?}");
    assert!(other.run(&["show", "last"]).out.contains(&words));

    // The displaced run lives on, but what it armed is not its own to move on any more while another holds the target.
    let said = other.start(&[
        "-e",
        "sh(\"touch mine; while test -e mine && ! test -e go; do sleep 0.05; done\", #{ undo: \"true\" })",
    ]);
    other.wait("the other holds it", || other.path("mine").exists());
    one.wait("it is taken back", || !one.path("off").exists());
    std::fs::write(other.path("go"), "").unwrap();
    assert_eq!(other.end(said).code, Some(0));
    std::fs::write(one.path("go"), "").unwrap();
    let said = one.end(child);
    // It finds out: by its lock, or by its switch.
    assert!(matches!(said.code, Some(3 | 7)), "{said:?}");
    assert!(said.out.contains("has taken the target over"), "{said:?}");
    let said = one.run(&["rollback", "last", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("\"fired\"") || one.run(&["show", "last"]).out.contains("fired at"));
    let rows = one.run(&["clean", "--json"]).json();
    assert!(rows.as_array().unwrap().iter().all(|row| row["run"] != run.as_str()), "{rows}");
}
