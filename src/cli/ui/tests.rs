use std::io::BufRead;
use std::time::Duration;

use insta::assert_snapshot;

use super::editor::Key;
use super::prompt::{answer, asked};
use super::*;
use crate::event::{CallEnd, Status};

fn confirm(default: Option<bool>) -> Question {
    Question::Confirm { text: "Did the check-out go well?".into(), default }
}

fn choose() -> Question {
    Question::Choose {
        text: "The script failed; what now?".into(),
        options: vec!["roll back".into(), "pause".into(), "retry".into()],
        default: Some("pause".into()),
    }
}

#[test]
fn questions_show_their_answers_and_the_safe_one() {
    let style = Style::plain();
    let text = Question::Text { text: "Where to?".into(), default: Some("/backup".into()) };
    let shown = [confirm(None), confirm(Some(true)), confirm(Some(false)), text, choose()]
        .map(|question| asked(&style, &question));
    assert_snapshot!(shown.join("|\n"), @"
    ? Did the check-out go well? [y/n] |
    ? Did the check-out go well? [Y/n] |
    ? Did the check-out go well? [y/N] |
    ? Where to? [/backup] |
    ? The script failed; what now?
      1  roll back
      2  pause (default)
      3  retry
      1-3:
    ");
}

#[test]
fn answers_are_taken_as_people_type_them() {
    for (question, typed, expected) in [
        (confirm(None), "Y", Some("yes")),
        (confirm(None), " no ", Some("no")),
        (confirm(None), "", None),
        (confirm(None), "maybe", None),
        (confirm(Some(false)), "", Some("no")),
        (choose(), "1", Some("roll back")),
        (choose(), "Pause", Some("pause")),
        (choose(), "re", Some("retry")),
        (choose(), "r", None),
        (choose(), "4", None),
        (choose(), "0", None),
        (choose(), "", Some("pause")),
        (Question::Text { text: String::new(), default: None }, "", None),
        (Question::Text { text: String::new(), default: None }, " a b ", Some("a b")),
    ] {
        let given = answer(&question, typed).ok();
        assert_eq!(given.as_deref(), expected, "{question:?} {typed:?}");
    }
}

#[test]
fn yes_answers_only_what_has_a_safe_answer() {
    let ui = Ui::new(Options { yes: true, ..Options::default() });
    assert_eq!(ui.ask(&confirm(Some(false))).as_deref(), Some("no"));
    assert_eq!(ui.ask(&choose()).as_deref(), Some("pause"));
    if !ui.can_ask() {
        assert_eq!(ui.ask(&confirm(None)), None);
    }
}

#[test]
fn the_locale_and_the_console_decide_what_is_drawn() {
    let shows = |all: &str, ctype: &str, lang: &str, term: &str| {
        shows_unicode(&|name| {
            match name {
                "LC_ALL" => all,
                "LC_CTYPE" => ctype,
                "LANG" => lang,
                _ => term,
            }
            .to_owned()
        })
    };
    assert!(shows("", "", "en_US.UTF-8", "xterm"));
    assert!(shows("", "de_DE.utf8", "C", "screen"));
    assert!(!shows("C", "", "en_US.UTF-8", "xterm"));
    assert!(!shows("", "", "", "xterm"));
    assert!(!shows("", "", "en_US.UTF-8", "linux"));
}

/// Runs one of the ignored tests below in a terminal of its own.
fn in_terminal(name: &str) -> rexpect::session::PtySession {
    let program = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.arg(format!("cli::ui::tests::{name}"));
    command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
    rexpect::session::spawn_command(command, Some(20_000)).unwrap()
}

#[test]
fn a_secret_is_not_shown_and_ctrl_c_is_no_answer() {
    let mut session = in_terminal("child_prompts");
    session.exp_string("Password of obs1: ").unwrap();
    session.send_line("hunter2").unwrap();
    let between = session.exp_string("length 7").unwrap();
    assert!(!between.contains("hunter2"), "{between}");

    session.exp_string("go well? ").unwrap();
    session.send_line("perhaps").unwrap();
    session.exp_string("yes or no").unwrap();
    session.send_line("y").unwrap();
    session.exp_string("answer Some(\"yes\")").unwrap();

    session.exp_string("1-3: ").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("answer None").unwrap();

    session.exp_string("go well? ").unwrap();
    session.exp_string("answer None").unwrap();
    session.exp_string("echo is back").unwrap();
    session.exp_eof().unwrap();
}

#[test]
#[ignore = "a child of a_secret_is_not_shown_and_ctrl_c_is_no_answer"]
fn child_prompts() {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    // A terminal as people have it; the one that the test makes does not echo.
    let mut modes = tcgetattr(io::stdin()).unwrap();
    modes.local_modes |= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    tcsetattr(io::stdin(), OptionalActions::Now, &modes).unwrap();

    let ui = Ui::new(Options::default());
    let secret = ui.ask_secret("Password of obs1").unwrap();
    ui.print(&format!("length {}\n", secret.reveal().len()));
    ui.print(&format!("answer {:?}\n", ui.ask(&confirm(None))));
    ui.print(&format!("answer {:?}\n", ui.ask(&choose())));
    // An interrupt from elsewhere closes the question.
    let cancel = Cancel::new();
    ui.set_cancel(cancel.clone());
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        cancel.cancel();
    });
    ui.print(&format!("answer {:?}\n", ui.ask(&confirm(None))));
    other.join().unwrap();
    let after = tcgetattr(io::stdin()).unwrap().local_modes;
    if after == modes.local_modes {
        ui.print("echo is back\n");
    }
}

#[test]
fn live_lines_are_drawn_and_give_way_to_questions() {
    let mut session = in_terminal("child_runs");
    session.exp_string("copy conf").unwrap();
    session.exp_string("40%").unwrap();
    session.exp_string("go well? ").unwrap();
    session.send_line("yes").unwrap();
    let held = session.exp_string("said meanwhile").unwrap();
    assert!(held.contains("yes"), "{held:?}");
    session.exp_string("done").unwrap();
    session.exp_string("took").unwrap();
    session.exp_eof().unwrap();
}

fn tell(ui: &Ui, what: What) {
    ui.event(&Event {
        at: Timestamp::now(),
        run: "run-0001".into(),
        lane: "main".into(),
        step: String::new(),
        target: "obs1".into(),
        what,
    });
}

#[test]
#[ignore = "a child of live_lines_are_drawn_and_give_way_to_questions"]
fn child_runs() {
    let ui = Ui::new(Options::default());
    tell_began(&ui);
    let progress = crate::event::Progress {
        done: 40,
        total: Some(100),
        unit: "files".into(),
        ..crate::event::Progress::default()
    };
    tell(&ui, What::CallProgress { call: "c".into(), progress });
    std::thread::sleep(Duration::from_millis(400));
    let other = ui.clone();
    let meanwhile = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        tell(&other, What::Note { text: "said meanwhile".into() });
    });
    assert_eq!(ui.ask(&confirm(None)).as_deref(), Some("yes"));
    meanwhile.join().unwrap();
    tell_ended(&ui);
}

fn tell_began(ui: &Ui) {
    tell(
        ui,
        What::RunBegan {
            title: "Upgrade".into(),
            runbook: "up.rhai".into(),
            targets: vec!["obs1".into()],
            mode: "run".into(),
        },
    );
    let (call, summary) = ("c".to_owned(), "copy conf".to_owned());
    let access = crate::call::Access::Change;
    tell(ui, What::CallBegan { call, summary, access, place: None });
}

fn tell_ended(ui: &Ui) {
    let (call, summary) = ("c".to_owned(), "copy conf".to_owned());
    tell(ui, What::CallEnded { call, summary, end: CallEnd::Done, result: None, took_ms: 5 });
    tell(
        ui,
        What::RunEnded {
            status: Status::Done,
            message: String::new(),
            failure: None,
            downtime_ms: 0,
            took_ms: 5,
            debts: vec![],
            next: None,
        },
    );
}

/// Runs one of the ignored tests below with its stdout in a pipe.
fn piped(name: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.arg(format!("cli::ui::tests::{name}"));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

#[test]
fn json_is_one_event_a_line_and_nothing_else() {
    let output = piped("child_json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // The test harness says something before and after.
    let events: Vec<Event> = text
        .lines()
        .filter_map(|line| {
            serde_json::from_str(line.trim_start_matches("test cli::ui::tests::child_json ... "))
                .ok()
        })
        .collect();
    assert_eq!(events.len(), 4, "{text}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("for people"));
}

#[test]
#[ignore = "a child of json_is_one_event_a_line_and_nothing_else"]
fn child_json() {
    let ui = Ui::new(Options { json: true, ..Options::default() });
    tell_began(&ui);
    ui.error("for people");
    tell_ended(&ui);
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("went on");
    let mut child = piped("child_without_reader").env("MARK", &mark).spawn().unwrap();
    // The harness must have said its own first, which a closed pipe would end.
    let reader = std::io::BufReader::new(child.stdout.take().unwrap());
    assert!(reader.lines().any(|line| line.is_ok_and(|line| line.contains("text"))));
    child.wait().unwrap();
    assert!(mark.exists());
}

#[test]
#[ignore = "a child of a_reader_that_goes_away_does_not_end_the_run"]
fn child_without_reader() {
    let Some(mark) = std::env::var_os("MARK") else { return };
    // The reader is gone once a write fails.
    let ui = Ui::new(Options::default());
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while !ui.0.gone.load(Ordering::Relaxed) && std::time::Instant::now() < until {
        ui.print("text\n");
    }
    assert!(ui.0.gone.load(Ordering::Relaxed));
    tell_began(&ui);
    tell_ended(&ui);
    std::fs::write(mark, "").unwrap();
}

#[test]
fn a_key_that_shows_nothing_is_not_typed() {
    assert_eq!(editor::Editor::default().key(0x01), Key::Show(String::new()));
}
