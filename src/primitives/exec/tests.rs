use std::sync::Arc;

use pretty_assertions::assert_eq;
use rhai::Engine;

use super::job::{Become, refused};
use super::*;
use crate::effect::bench::Bench;
use crate::effect::{Lane, Mode, SecretRef, perform, roll_back};
use crate::error::{Failure, Halt, Kind, Result, Stop};
use crate::event::What;
use crate::primitives::bridge::{Seat, failure_from_dynamic, stop_from_dynamic};

fn bench() -> Bench {
    let mut registry = Registry::default();
    actions(&mut registry);
    Bench::new(registry)
}

/// Evaluates a script on the lane, with `dir` and a secret `pw` in its scope.
fn script(bench: &Bench, lane: &Lane, text: &str) -> Result<Dynamic> {
    let mut face = Face::new();
    register(&mut face);
    let mut engine = Engine::new();
    engine.register_global_module(face.module.into());
    let engine = Arc::new_cyclic(|weak| {
        let seat = Seat { lane: lane.clone(), engine: weak.clone(), anchor: Arc::default() };
        engine.set_default_tag(Dynamic::from(seat));
        engine
    });
    let mut scope = rhai::Scope::new();
    scope.push("dir", bench.path().display().to_string());
    scope.push("pw", SecretRef { name: "pw".to_owned() });
    engine.eval_with_scope(&mut scope, text).map_err(|error| match *error {
        rhai::EvalAltResult::ErrorRuntime(value, _) => {
            failure_from_dynamic(&value).unwrap_or_else(|| panic!("{value}")).into()
        }
        rhai::EvalAltResult::ErrorTerminated(value, _) => stop_from_dynamic(&value).unwrap().into(),
        other => panic!("{other}"),
    })
}

fn eval(bench: &Bench, text: &str) -> Result<Dynamic> {
    script(bench, &bench.lane(Mode::Run), text)
}

fn failure(result: Result<Dynamic>) -> Failure {
    match result {
        Err(Halt::Failure(failure)) => *failure,
        other => panic!("{other:?}"),
    }
}

fn file(bench: &Bench, name: &str) -> String {
    std::fs::read_to_string(bench.path().join(name)).unwrap_or_default()
}

#[test]
fn a_change_returns_how_it_ended() {
    let bench = bench();

    let ran = eval(&bench, r#"sh("echo out; echo err >&2; exit 3", #{ ok: [0, 3] })"#).unwrap();

    let ran: Ran = rhai::serde::from_dynamic(&ran).unwrap_or_else(|_| panic!());
    assert_eq!(ran, Ran { code: 3, stdout: "out".into(), stderr: "err".into() });
    let lines: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|what| match what {
            What::Output { line, error, .. } => Some((line, error)),
            _ => None,
        })
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.contains(&("out".into(), false)) && lines.contains(&("err".into(), true)));
}

#[test]
fn arguments_arrive_as_they_are() {
    let text = r#"run(["printf", "[%s]", "a b", "it's", "$HOME", "", "*", 7]).stdout"#;
    let said = eval(&bench(), text).unwrap().into_string().unwrap();
    assert_eq!(said, "[a b][it's][$HOME][][*][7]");
}

#[test]
fn output_takes_either_form_and_loses_only_the_last_newline() {
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    for text in [r#"output("printf 'a\n\n'")"#, r#"output(["printf", "a\n\n"])"#] {
        assert_eq!(script(&bench, &lane, text).unwrap().into_string().unwrap(), "a\n");
    }
}

#[test]
fn environment_directory_and_input_arrive() {
    let bench = bench();
    let text = r#"sh("echo \"$A|$B|$(pwd)|$(cat)\"", #{ env: #{ A: "x y", B: 2 }, dir: dir, stdin: "in" }).stdout"#;
    let said = eval(&bench, text).unwrap().into_string().unwrap();
    assert_eq!(said, format!("x y|2|{}|in", bench.path().canonicalize().unwrap().display()));
}

#[test]
fn a_failure_says_everything() {
    let failure = failure(eval(&bench(), r#"sh("echo out; echo bad >&2; exit 4")"#));

    assert_eq!((failure.kind, failure.code), (Kind::Exit, Some(4)));
    assert_eq!((failure.stdout.as_str(), failure.stderr.as_str()), ("out\n", "bad\n"));
    assert_eq!(failure.target.as_deref(), Some("local"));
    assert_eq!(failure.command.as_deref(), Some("echo out; echo bad >&2; exit 4"));
    assert!(failure.message.ends_with("ended with status 4: bad"), "{failure}");
}

#[test]
fn a_missing_program_is_not_found() {
    let failure = failure(eval(&bench(), r#"run(["no-such-program-x"])"#));
    assert_eq!((failure.kind, failure.code), (Kind::NotFound, Some(127)));
    assert!(failure.hint.unwrap().contains("no-such-program-x"));
}

#[test]
fn a_timeout_keeps_what_was_said_and_ends_the_group() {
    let bench = bench();
    let text =
        r#"sh("echo begun; sleep 300 & echo $! >pid; wait", #{ timeout: "500ms", dir: dir })"#;

    let failure = failure(eval(&bench, text));

    assert_eq!((failure.kind, failure.stdout.as_str()), (Kind::Timeout, "begun\n"));
    let pid = file(&bench, "pid");
    let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[test]
fn secrets_reach_the_command_and_nothing_else() {
    let bench = bench();
    let text = r#"
        sh("cat >stdin; printf %s \"$TOKEN\" >env; cat /proc/$$/cmdline /proc/$PPID/cmdline >argv; echo \"$TOKEN\"",
            #{ dir: dir, stdin: pw, env: #{ TOKEN: pw } }).stdout
    "#;

    let said = eval(&bench, text).unwrap().into_string().unwrap();

    assert_eq!(
        (file(&bench, "stdin"), file(&bench, "env")),
        ("value-of-pw".into(), "value-of-pw".into())
    );
    assert!(!file(&bench, "argv").contains("value-of-pw"));
    assert_eq!(said, "[secret]");
    let events = format!("{:?}", bench.events());
    assert!(!events.contains("value-of-pw"), "{events}");
    let lane = bench.lane(Mode::Run);
    let records = lane.run().store.as_ref().unwrap().records(&lane.run().id).unwrap();
    let records = serde_json::to_string(&records).unwrap();
    assert!(!records.contains("value-of-pw") && records.contains("$secret"), "{records}");
}

#[test]
fn sudo_with_a_password_that_is_not_asked_for_leaves_the_input_alone() {
    if !rustix::process::geteuid().is_root() || std::fs::metadata("/usr/bin/sudo").is_err() {
        eprintln!("SKIPPED: needs root and sudo");
        return;
    }
    let bench = bench();
    let text = r#"sh("id -un; printf '%s|' \"$T\"; cat", #{ stdin: "in", env: #{ T: pw }, sudo: #{ user: "nobody", password: pw } }).stdout"#;
    let said = eval(&bench, text).unwrap().into_string().unwrap();
    assert_eq!(said, "nobody\n[secret]|in");
}

#[test]
fn plan_says_the_command_and_runs_only_reads() {
    let bench = bench();
    let lane = bench.lane(Mode::Plan);
    let text = r#"
        sh("touch a", #{ dir: dir, sudo: true });
        run(["touch", "b"], #{ dir: dir, undo: "rm b" });
        output("echo really")
    "#;

    assert_eq!(script(&bench, &lane, text).unwrap().into_string().unwrap(), "really");

    assert_eq!((bench.path().join("a").exists(), bench.path().join("b").exists()), (false, false));
    let planned: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|what| match what {
            What::CallPlanned { planned, .. } => {
                Some((planned.changes.join(""), planned.undo.unwrap()))
            }
            _ => None,
        })
        .collect();
    let dir = bench.path().display();
    assert_eq!(planned[0].0, format!("run `touch a` in {dir} as root"));
    assert!(planned[0].1.starts_with("cannot be undone: a command"), "{}", planned[0].1);
    assert_eq!(planned[1].1, "undo: run `rm b`");
}

#[test]
fn undo_runs_what_was_registered_also_of_a_command_that_failed() {
    let bench = bench();
    let text = r#"sh("echo did >>log; exit 1", #{ dir: dir, undo: "echo undid $X >>log", env: #{ X: "x" } })"#;
    failure(eval(&bench, text));

    let lane = bench.lane(Mode::Rebuild);
    drop(script(&bench, &lane, text));
    let undone = roll_back(&lane).unwrap();

    assert_eq!((undone.done, undone.failed), (1, vec![]));
    assert_eq!(file(&bench, "log"), "did\nundid x\n");
    // A rollback that is taken up again does not undo twice.
    let lane = bench.lane(Mode::Rebuild);
    drop(script(&bench, &lane, text));
    roll_back(&lane).unwrap();
    assert_eq!(file(&bench, "log"), "did\nundid x\n");
}

/// Runs a command that is cancelled in the middle, which leaves an intent without outcome.
fn cut_off(bench: &Bench, text: &str) {
    let lane = bench.lane(Mode::Run);
    let cancel = lane.run().cancel.clone();
    let mark = bench.path().join("began");
    let waker = std::thread::spawn(move || {
        while !mark.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        cancel.cancel();
    });
    assert_eq!(script(bench, &lane, text).unwrap_err(), Stop::Cancelled.into());
    waker.join().unwrap();
}

#[test]
fn a_command_that_was_cut_off_does_not_run_again_on_its_own() {
    let bench = bench();
    let text = r#"sh("echo x >>log; touch began; [ -e go ] || sleep 60", #{ dir: dir })"#;
    cut_off(&bench, text);

    let stop = eval(&bench, text).unwrap_err();

    assert!(matches!(&stop, Halt::Stop(Stop::Paused(pause)) if pause.unknown), "{stop}");
    assert_eq!(file(&bench, "log"), "x\n");
}

#[test]
fn an_idempotent_command_that_was_cut_off_runs_again() {
    let bench = bench();
    let text = r#"sh("echo x >>log; touch began; [ -e go ] || sleep 60", #{ dir: dir, idempotent: true })"#;
    cut_off(&bench, text);
    std::fs::write(bench.path().join("go"), "").unwrap();

    assert!(eval(&bench, text).is_ok());
    assert!(eval(&bench, text).is_ok());

    assert_eq!(file(&bench, "log"), "x\nx\n");
}

#[test]
fn bad_input_names_the_place() {
    let bench = bench();
    for (text, message) in [
        (r"run([])", "run: the command is empty"),
        (r#"sh("  ")"#, "sh: the command is empty"),
        (r#"run("ls -l")"#, "run: expected a list of words, found text; `sh` takes shell lines"),
        (r#"sh(["ls"])"#, "sh: expected a shell line, found list; `run` takes lists"),
        (r#"run(["ls", #{}])"#, "run: item 1 is map, expected text"),
        (r#"run(["ls", "a\x00b"])"#, "run: item 1 holds a NUL character"),
        (r#"output("a\x00b")"#, "output: the line holds a NUL character"),
        (r"output(1)", "output: expected a shell line or a list of words, found int"),
        (
            r#"run(["login", pw])"#,
            "run: item 1 is a secret, which everyone on the target could read in the process list; pass it in `env` or `stdin`",
        ),
        (r#"sh("x", #{ timout: "1s" })"#, "sh: unknown option `timout` (did you mean `timeout`?)"),
        (
            r#"output("x", #{ undo: "y" })"#,
            "output: unknown option `undo` (it takes timeout, env, dir, sudo, stdin, ok)",
        ),
        (
            r#"sh("x", #{ timeout: "soon" })"#,
            "sh: option `timeout`: `soon` is no duration; expected for example `90s`, `1h 30m` or `7d`",
        ),
        (
            r#"sh("x", #{ env: #{ "A-B": 1 } })"#,
            "sh: option `env`: `A-B` is no name for an environment variable",
        ),
        (
            r#"sh("x", #{ env: #{ A: [1] } })"#,
            "sh: option `env`: `A`: expected text or a secret, found list",
        ),
        (
            r#"sh("x", #{ ok: [0, "1"] })"#,
            "sh: option `ok`: `1` is no exit status; expected numbers from 0 to 255",
        ),
        (
            r#"sh("x", #{ sudo: #{ password: "plain" } })"#,
            "sh: option `sudo`: `password` must be a secret: `secret(\"name\")`",
        ),
        (r#"sh("x", #{ sudo: "-u root" })"#, "sh: option `sudo`: `-u root` is no user's name"),
        (r#"sh("x", #{ undo: [] })"#, "sh: option `undo`: the command is empty"),
    ] {
        let failure = failure(eval(&bench, text));
        assert_eq!((failure.kind, failure.message.as_str()), (Kind::Input, message), "{text}");
    }
}

#[test]
fn output_that_is_not_text_is_read_as_far_as_it_is() {
    let said = eval(&bench(), r#"output("printf 'a\\377b'")"#).unwrap().into_string().unwrap();
    assert_eq!(said, "a\u{fffd}b");
}

#[test]
fn sudo_refusals_are_recognised() {
    assert_eq!(refused("sudo: a password is required\n").unwrap().0, Kind::Auth);
    assert_eq!(refused("bob is not in the sudoers file.\n").unwrap().0, Kind::Denied);
    assert!(refused("make: *** [all] Error 1\n").is_none());
}

#[test]
fn an_action_is_the_same_after_the_journal() {
    let job = Job {
        words: Words::List(vec!["a".into()]),
        env: vec![("A".into(), Text::Secret(SecretRef { name: "pw".into() }))],
        dir: None,
        sudo: Some(Become { user: None, password: None }),
        stdin: None,
        ok: None,
        timeout_ms: Some(5),
        undo: Some(Words::Shell("b".into())),
        idempotent: true,
        deadman: None,
        probe: None,
    };
    let text = serde_json::to_string(&Run(job.clone())).unwrap();
    assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), Run(job));
}

#[test]
fn a_wrong_status_is_not_hidden_by_ok() {
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let job = Job {
        words: Words::Shell("exit 5".into()),
        env: vec![],
        dir: None,
        sudo: None,
        stdin: None,
        ok: Some(vec![1, 2]),
        timeout_ms: None,
        undo: None,
        idempotent: false,
        deadman: None,
        probe: None,
    };
    let Err(Halt::Failure(failure)) = perform(&lane, None, &Sh(job)) else { panic!() };
    assert_eq!(failure.code, Some(5));
}
