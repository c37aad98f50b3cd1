//! The shipped adapters of applications against real processes: `ahsay_obs` against the simulated server, `command`
//! against shell scripts.

mod deadman;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::site::{PASSWORD, Site};

const ROUND: &str = "let out = suspend_all_users();
print(`suspended ${out.changed}, before ${out.already}, enabled ${users(#{ state: \"enabled\" }).len()}`);
let back = resume_users();
print(`enabled ${back.changed}, drift ${back.drift.len()}`);";

fn each_once(changes: &[String]) {
    let mut seen = BTreeMap::<&String, u32>::new();
    for change in changes {
        *seen.entry(change).or_default() += 1;
    }
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
}

/// Every file below, with its bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(
                entry.path().display().to_string(),
                fs::read(entry.path()).unwrap_or_default(),
            );
        }
    }
    found
}

#[test]
fn users_with_every_kind_of_name_go_out_and_come_back() {
    for settings in
        [vec!["http_503_every=7"], vec!["no_modify_user_status=true", "root_case=Users"]]
    {
        let site = Site::with_server(40, &settings);
        let before = site.states();
        site.runbook("", ROUND);

        let ended = site.run("run");

        assert_eq!(ended.code, Some(0), "{}", ended.out);
        assert!(ended.out.contains("suspended 36, before 4, enabled 0"), "{}", ended.out);
        assert!(ended.out.contains("enabled 36, drift 0"), "{}", ended.out);
        assert_eq!(site.states(), before);
        for to in ["to=SUSPENDED", "to=ENABLE"] {
            assert_eq!(site.changes(to).len(), 36);
            each_once(&site.changes(to));
        }
    }
}

#[test]
fn killed_half_way_it_is_resumed_or_rolled_back_and_nobody_is_changed_twice() {
    for verb in ["resume", "rollback"] {
        let site = Site::with_server(40, &["api_latency_ms=20"]);
        let before = site.states();
        site.runbook("", ROUND);
        site.kill_when("half of them are suspended", || site.changes("to=SUSPENDED").len() >= 18);
        let half = site.changes("to=SUSPENDED").len();
        assert!((18..36).contains(&half), "{half}");

        let ended = site.program(&[verb, "last"]);

        assert_eq!(site.states(), before, "{}", ended.out);
        each_once(&site.changes("to=SUSPENDED"));
        each_once(&site.changes("to=ENABLE"));
        if verb == "resume" {
            assert_eq!(ended.code, Some(0), "{}", ended.out);
            assert_eq!(site.changes("to=ENABLE").len(), 36);
        } else {
            assert!(site.changes("to=ENABLE").len() >= half);
        }
        assert!(!site.program(&["debts"]).out.contains("users enabled"));
    }
}

#[test]
fn one_user_that_the_server_refuses_to_change_fails_the_run_and_all_come_back() {
    let site = Site::with_server(40, &["deny_status_for=mia.brandt"]);
    let before = site.states();
    site.runbook("", ROUND);

    let ended = site.run("run");

    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(
        ended.out.contains("1 of 36 users could not be suspended: mia.brandt:"),
        "{}",
        ended.out
    );
    assert_eq!(site.changes("to=SUSPENDED").len(), 35);
    assert_eq!(site.states(), before);
}

#[test]
fn a_wrong_password_is_said_as_the_server_says_it() {
    let site = Site::with_server(3, &[]);
    site.runbook("", ROUND);
    let book = site.read("book.rhai").replace("user: \"system\"", "user: \"nobody\"");
    site.write("book.rhai", &book);

    let ended = site.run("run");

    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(ended.out.contains("Login name or password incorrect"), "{}", ended.out);
    assert!(ended.out.contains("Check the password of nobody."), "{}", ended.out);
}

#[test]
fn the_password_is_nowhere() {
    let site = Site::with_server(3, &[]);
    site.runbook("", &format!("{ROUND}\nprint(replication_status());\nfail(\"the end\");"));

    let ended = site.run("run");

    let mut texts: Vec<String> = files(&site.path("state"))
        .values()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    texts.push(ended.out);
    texts.push(site.read("obs/logs/access_log.txt"));
    // Unencoded, as in a form, and as in JSON.
    for text in texts {
        for form in [PASSWORD, "p%26ss", "p&ss w\\\"rd"] {
            assert!(!text.contains(form), "{form} in {text}");
        }
    }
}

#[test]
fn plan_reads_for_real_and_changes_nothing() {
    let site = Site::with_server(10, &[]);
    site.runbook(
        "",
        &format!(
            "drain();\nreplication(false);\n{ROUND}\nreplication(true);\nclient_update(true);"
        ),
    );
    let before =
        (files(&site.home().join("conf")), files(&site.home().join("webapps")), site.states());

    let ended = site.run("plan");

    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.contains("9 users suspended:"), "{}", ended.out);
    assert!(ended.out.contains("9 users enabled:"), "{}", ended.out);
    let after =
        (files(&site.home().join("conf")), files(&site.home().join("webapps")), site.states());
    assert!(before == after);
    assert!(!site.audit().contains("\tCHANGE\t"), "{}", site.audit());
}

const OFF: &str = "replication(false, #{ keep_off: \"the safety copy\", due: \"3d\" });\n";

#[test]
fn the_file_driver_changes_one_letter_and_restarts_the_server() {
    let site = Site::with_server(3, &["rps_rewrite_on_stop=true"]);
    let before = files(&site.home().join("conf"));
    site.runbook("replication_restart: true", &format!("{OFF}print(replication_status().state);"));

    let ended = site.run("run");
    assert!(ended.out.contains("DISABLED"), "{}", ended.out);
    assert!(site.read("obs/conf/rpsSend.xml").contains("enable=\"N\""));
    assert!(site.program(&["debts"]).out.contains("the safety copy"));

    site.runbook(
        "replication_restart: true",
        "replication(true);\nprint(wait_replication(#{ timeout: \"20s\" }).state);",
    );
    let ended = site.run("run");
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.contains("SYNC"), "{}", ended.out);
    assert_eq!(
        files(&site.home().join("conf")).keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    assert!(files(&site.home().join("conf")) == before);
}

#[test]
fn without_a_restart_the_file_driver_says_so_and_leaves_the_file_as_it_was() {
    let site = Site::with_server(3, &[]);
    let before = files(&site.home().join("conf"));
    site.runbook("", OFF);

    let ended = site.run("run");

    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(ended.out.contains("`replication_restart`"), "{}", ended.out);
    assert!(files(&site.home().join("conf")) == before);
    assert!(!site.program(&["debts"]).out.contains("replication"));
}

#[test]
fn killed_while_the_server_restarts_it_is_up_again_after_resume_and_after_rollback() {
    for verb in ["resume", "rollback"] {
        let site = Site::with_server(3, &["stop_delay_ms=500"]);
        site.runbook("replication_restart: true", OFF);
        site.kill_when("the server stops", || site.audit().contains("STOP\t"));
        site.wait("the server is down", || !site.alive());

        let ended = site.program(&[verb, "last"]);

        assert!(site.alive(), "{}", ended.out);
        assert!(site.read("obs/conf/rpsSend.xml").contains("enable=\"N\""), "{}", ended.out);
    }
}

#[test]
fn the_other_drivers_switch_or_ask() {
    let site = Site::with_server(3, &[]);
    let line = |state: &str| {
        format!(
            "{} replication --home {} {state}",
            site.home().join("jvm/bin/obs-jvm").display(),
            site.home().display()
        )
    };
    let settings = format!(
        "driver: \"command\", replication_off: \"{}\", replication_on: \"{}\"",
        line("off"),
        line("on")
    );
    site.runbook(&settings, "replication(false);\nprint(replication_status().state);\nreplication(true);\nwait_replication(#{ timeout: \"20s\", pause: \"100ms\" });");
    let ended = site.run("run");
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.contains("DISABLED"), "{}", ended.out);

    site.runbook("driver: \"manual\"", "replication(false);");
    let ended = site.run("run");
    assert_eq!(ended.code, Some(3), "{}", ended.out);
    assert!(ended.out.contains("Switch replication off in the console now"), "{}", ended.out);
}

#[test]
fn drain_waits_for_running_backups() {
    let site = Site::with_server(10, &[]);
    site.set(&["jobs_running_s=2"]);
    site.runbook("", "print(`${app_jobs().len()} jobs`);\nlet left = drain(#{ timeout: \"30s\", pause: \"200ms\" });\nprint(`${left.left} left, ${app_jobs().len()} now`);");

    let ended = site.run("run");

    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.contains("2 jobs"), "{}", ended.out);
    assert!(ended.out.contains("0 left, 0 now"), "{}", ended.out);

    site.set(&["jobs_running_s=600"]);
    site.runbook("", "drain(#{ timeout: \"300ms\", pause: \"100ms\" });");
    let ended = site.run("run");
    assert_eq!(ended.code, Some(3), "{}", ended.out);
    assert!(ended.out.contains("there still run 2 jobs"), "{}", ended.out);
}

#[test]
fn version_health_homes_and_clients_are_read_and_set() {
    let site = Site::with_server(3, &[]);
    let file = "obs/webapps/obs/liveUpdate/index.xml";
    let held = site.read(file);
    site.runbook(
        "",
        "print(app_version());\nprint(app_health().all(|check| check.ok));\nclient_update(true);",
    );

    let ended = site.run("run");

    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.contains("5.5.2.0") && ended.out.contains("true"), "{}", ended.out);
    assert_eq!(site.read(file), held.replace("include-users=\"\"", "include-users=\"*\""));
}

#[test]
fn a_misspelt_setting_and_a_password_in_the_runbook_are_refused() {
    let site = Site::with_server(1, &[]);
    site.runbook("replication_restrat: true", "app_version();");
    let ended = site.run("run");
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(ended.out.contains("has no setting `replication_restrat`"), "{}", ended.out);

    site.runbook("", "app_version();");
    let book = site.read("book.rhai").replace("secret(\"password\")", "\"plain\"");
    site.write("book.rhai", &book);
    let ended = site.run("run");
    assert!(
        ended.out.contains("setting `password` of adapter `ahsay_obs` is a secret"),
        "{}",
        ended.out
    );
}

#[test]
fn an_application_behind_own_scripts_has_every_verb() {
    let site = Site::new();
    fs::create_dir(site.path("u")).unwrap();
    for (name, state) in [("ann", "enabled"), ("bob & co", "suspended"), ("o'neil", "enabled")] {
        site.write(&format!("u/{name}"), state);
    }
    site.write("on", "");
    let book = r#"//! A test
app("command", #{
  dir: "@DIR@",
  users: `for f in u/*; do printf '%s\towner of it\t%s\n' "$(basename "$f")" "$(cat "$f")"; done`,
  suspend: `printf suspended >"u/$UH_USER"; echo "$UH_USER $UH_OWNER" >>log`,
  resume: `printf enabled >"u/$UH_USER"`,
  replication_status: `if [ -e on ]; then printf 'on\tstreaming\tyes\t0 s\n'; else echo off; fi`,
  replication_on: ": >on",
  replication_off: "rm -f on",
  jobs: `printf '1\tann\tnightly\n' | sed "s/x/y/;$(test -e done && echo d)"; : >done`,
  health: `printf 'disk\tyes\nload\tno\t12\n'`,
  version: "echo ' 3.1 '",
  clients: "if [ -e clients ]; then echo on; else echo off; fi",
  clients_on: ": >clients",
});
print(`<${app_version()}>`);
print(app_health());
drain(#{ pause: "10ms" });
replication(false);
print(`replication ${replication_status().enabled}`);
suspend_all_users();
print(`${users(#{ state: "enabled" }).len()} enabled`);
resume_users();
replication(true);
print(wait_replication().lag);
client_update(true);
"#;
    site.write("book.rhai", &book.replace("@DIR@", &site.path("").display().to_string()));

    let ended = site.program(&["run", "book.rhai"]);

    assert_eq!(ended.code, Some(0), "{}", ended.out);
    for expected in ["<3.1>", "replication false", "0 enabled", "0 s"] {
        assert!(ended.out.contains(expected), "{expected}: {}", ended.out);
    }
    let states = ["ann", "bob & co", "o'neil"].map(|name| site.read(&format!("u/{name}")));
    assert_eq!(states, ["enabled", "suspended", "enabled"]);
    assert_eq!(site.read("log"), "ann owner of it\no'neil owner of it\n");

    site.write("book.rhai", "app(\"command\", #{ users: \"echo one field\" });\nusers();\n");
    let ended = site.program(&["run", "book.rhai"]);
    assert!(ended.out.contains("setting `users` printed `one field"), "{}", ended.out);
    site.write("book.rhai", "app(\"command\");\nusers();\n");
    let ended = site.program(&["run", "book.rhai"]);
    assert!(ended.out.contains("has no setting `users`"), "{}", ended.out);
}
