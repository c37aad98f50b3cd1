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
