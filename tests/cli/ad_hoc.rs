//! One command on many targets, without a runbook.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::cli::Cli;
use crate::support::proxy::{Fault, Proxy};
use crate::support::sshd::Sshd;

/// Three targets on one server, and one that nothing answers for.
fn site() -> Option<(Sshd, Cli)> {
    let sshd = Sshd::start()?;
    let cli = Cli::new();
    let one = sshd.config("id", Some("host"));
    let dead = one.replace("targets.box", "targets.dead").replace(&sshd.port.to_string(), "1");
    let named = |name: &str| one.replace("targets.box", &format!("targets.{name}"));
    cli.write("c.toml", &[named("a"), named("b"), named("c"), dead].join("\n"));
    Some((sshd, cli))
}

#[test]
fn equal_answers_are_grouped_and_the_status_counts_failures() {
    let Some((_sshd, cli)) = site() else { return };
    let on = |on: &'static str, command: &[&str]| {
        cli.run(&[&["run", "--on", on, "--config", "c.toml", "--"], command].concat())
    };
    let said = on("a,b,c", &["echo", "it's", "here"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out, "─── a, b, c (3)\nit's here\n\n3 targets\n");
    let said = on("a,b,c", &["mkdir only-once-$$; echo made"]);
    assert_eq!(said.code, Some(0), "{said:?}");

    let said = on("a,b,dead", &["echo out; echo err >&2; exit 3"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("─── a, b (2) · status 3\nout\nerr\n"), "{said:?}");
    assert!(said.out.contains("─── dead · cannot reach dead"), "{said:?}");
    assert!(said.out.contains("\nhelp: Check that sshd runs there"), "{said:?}");
    assert!(said.out.ends_with("3 of 3 failed\n"), "{said:?}");
    // It is a run like any other: on record, done, nothing undone.
    assert_eq!(cli.runs()[0]["status"], "done");
    let said = cli.run(&["run", "--on", "a", "--config", "c.toml", "--read", "--", "uname"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "─── a\nLinux\n"), "{said:?}");
}

#[test]
fn a_link_that_is_lost_for_good_leaves_what_became_of_it_to_a_resume() {
    let Some(sshd) = Sshd::start() else { return };
    let cli = Cli::new();
    let down = Arc::new(AtomicBool::new(false));
    let cut = Arc::clone(&down);
    let proxy =
        Proxy::start(sshd.port, move |_| cut.load(Ordering::SeqCst).then_some((0, Fault::Cut)));
    let near = sshd.config("id", Some("host"));
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    let [here, there] = [sshd.port, proxy.port].map(|port| port.to_string());
    std::fs::write(sshd.path("known_hosts"), known.replace(&here, &there)).unwrap();
    let target = near.replace(&format!("port = {here}"), &format!("port = {there}"));
    cli.write("c.toml", &format!("{target}silence = \"3s\"\n[defaults]\nreconnect = \"1s\"\n"));
    let [began, ran] = ["began", "ran"].map(|name| cli.path(name).display().to_string());
    let command = format!("touch {began}; sleep 1; echo once >>{ran}");

    let child = cli.start(&["run", "--on", "box", "--config", "c.toml", "--", &command]);
    cli.wait("the command begins", || cli.path("began").exists());
    down.store(true, Ordering::SeqCst);
    proxy.stall();
    let said = cli.end(child);

    assert!(said.out.contains("─── box · whether it ran there is not known: "), "{said:?}");
    assert_eq!(cli.runs()[0]["status"], "paused", "{said:?}");
    down.store(false, Ordering::SeqCst);
    let run = cli.runs()[0]["id"].as_str().unwrap().to_owned();
    let said = cli.run(&["resume", &run, "--config", "c.toml", "--yes"]);
    assert_eq!((said.code, cli.runs()[0]["status"].as_str()), (Some(0), Some("done")), "{said:?}");
    assert_eq!(cli.read("ran"), "once\n");
}

#[test]
fn lines_come_with_their_target_and_events_as_json() {
    let Some((_sshd, cli)) = site() else { return };
    let said = cli.run(&["run", "-v", "--on", "a,b", "--config", "c.toml", "--", "echo", "x"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let mut lines: Vec<&str> = said.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["", "2 targets", "a: x", "b: x"]);
    let said = cli.run(&["run", "--json", "--on", "a,b", "--config", "c.toml", "--", "echo", "x"]);
    let lines = said.events();
    let outputs = lines.iter().filter(|event| event["what"]["event"] == "output");
    assert_eq!(outputs.count(), 2, "{said:?}");
}

#[test]
fn what_does_not_go_together_is_told() {
    let cli = Cli::new();
    for arguments in [&["plan", "--", "uptime"][..], &["run", "-e", "1", "--", "uptime"]] {
        let said = cli.run(arguments);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("error: "), "{said:?}");
    }
    let said = cli.run(&["run", "--read", "book.rhai"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(cli.runs().is_empty());
}
