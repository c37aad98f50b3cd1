//! The REPL in a terminal of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rexpect::process::WaitStatus;
use rexpect::session::{PtySession, spawn_command};
use tempfile::TempDir;

use crate::support::patience::{end, output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_upgrade-host");

/// A REPL with a state and a working directory of its own.
struct Repl {
    dir: TempDir,
    pty: PtySession,
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(args)
        .current_dir(dir)
        .env("UPGRADE_HOST_STATE", dir.join("state"))
        .env("UPGRADE_HOST_LOCK_DIR", dir)
        .env("HOME", dir)
        .env("TERM", "xterm")
        .env("LANG", "C")
        .env_remove("LC_ALL")
        .env("NO_COLOR", "1");
    command
}

impl Repl {
    fn open(config: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if !config.is_empty() {
            fs::write(dir.path().join("upgrade-host.toml"), config).unwrap();
        }
        let pty = spawn_command(command(dir.path(), args), Some(30_000)).unwrap();
        let mut repl = Self { dir, pty };
        repl.see("Ctrl-D leaves");
        repl.prompt("local");
        repl
    }

    /// Waits for a text.
    fn see(&mut self, text: &str) -> String {
        self.pty.exp_string(text).unwrap_or_else(|error| panic!("no {text:?}: {error}"))
    }

    /// Waits until the editor is ready for a line.
    fn prompt(&mut self, target: &str) -> String {
        // The editor says so once when it begins; the prompt alone is drawn anew with every key.
        self.see("\u{1b}[?2004h");
        self.see(&format!("{target} > "))
    }

    fn send(&mut self, keys: &str) {
        self.pty.send(keys).unwrap();
        self.pty.flush().unwrap();
    }

    fn line(&mut self, line: &str) {
        self.send(&format!("{line}\r"));
    }

    fn control(&mut self, key: char) {
        self.pty.send_control(key).unwrap();
        self.pty.flush().unwrap();
    }

    /// Leaves, and returns the exit status.
    fn leave(mut self) -> (TempDir, i32) {
        self.control('d');
        self.wait()
    }

    fn wait(mut self) -> (TempDir, i32) {
        let rest = self.pty.exp_eof();
        let since = Instant::now();
        loop {
            match self.pty.process().status() {
                Some(WaitStatus::Exited(_, code)) => return (self.dir, code),
                Some(WaitStatus::StillAlive) if since.elapsed() < Duration::from_secs(30) => {}
                status => panic!("{status:?}: {rest:?}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

/// Runs the program without a terminal and returns what it writes.
fn tell(dir: &TempDir, args: &[&str]) -> (String, i32) {
    let output = output(&mut command(dir.path(), args));
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &*String::from_utf8_lossy(&output.stderr);
    (text, output.status.code().unwrap_or(-1))
}

#[test]
fn lines_keep_variables_and_functions_and_a_failure_does_not_end_it() {
    let mut repl = Repl::open("", &[]);
    repl.line("fn greet(name) {");
    repl.line("  \"hello \" + name");
    repl.line("}");
    repl.prompt("local");
    // What is typed ahead is not lost.
    repl.line("let who = \"pty\";\rwait(\"300ms\");\rgreet(who)");
    repl.see("hello pty\r\n");
    repl.line("fail(\"not \" + who)");
    repl.see("error: not pty");
    repl.see("<repl>:7:1");
    repl.see("fail(");
    repl.line("#{ a: [1, 2], b: greet(\"x\") }");
    repl.see("#{ a: [1, 2], b: \"hello x\" }\r\n");
    let (dir, code) = repl.leave();
    assert_eq!(code, 0);

    let history = dir.path().join("state/history");
    assert_eq!(fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&history).unwrap().contains("greet(who)"));
}

#[test]
fn bare_and_unused_it_leaves_no_run() {
    let mut repl = Repl::open("", &["repl"]);
    repl.line(":help");
    repl.see(":undo [all]");
    let (dir, code) = repl.leave();
    assert_eq!(code, 0);
    assert!(tell(&dir, &["runs"]).0.contains("no runs yet"));
}

#[test]
fn tab_completes_and_a_slip_gets_a_suggestion() {
    let mut repl = Repl::open("", &[]);
    repl.send("let a = tar");
    repl.send("\tg");
    repl.control('c');
    repl.prompt("local");
    repl.send("type_of(fac\t)\r");
    repl.see("map\r\n");
    repl.line("servce_stop(\"x\")");
    repl.see("there is no function `servce_stop`");
    repl.see("Did you mean `service_stop`?");
    repl.line("output(\"true\", #{ timeot: \"5s\" })");
    repl.see("timeot");
    repl.see("did you mean `timeout`?");
    repl.line("let number = 1;");
    repl.prompt("local");
    repl.line("numbr + 1");
    repl.see("Did you mean `number`?");
    repl.line(":dco rsync");
    repl.see("did you mean `:doc`?");
    repl.line(":doc service_stop");
    repl.see("service_stop(name, ");
    repl.see("returns");
    repl.line(":plan write_file(\"never\", \"x\")");
    repl.see("nothing was changed");
    let path = repl.path("never");
    assert!(!Path::new(&path).exists());
    repl.line(":quit");
    let (dir, code) = repl.wait();
    assert_eq!(code, 0);
    assert!(tell(&dir, &["runs"]).0.contains("REPL"));
}

#[test]
fn ctrl_c_clears_a_line_and_interrupts_a_call() {
    let mut repl = Repl::open("", &[]);
    repl.send("fail(\"never");
    repl.control('c');
    repl.prompt("local");
    repl.line("wait(\"60s\")");
    repl.see("1s of");
    repl.control('c');
    repl.see("interrupted");
    repl.prompt("local");
    repl.line("loop {}");
    std::thread::sleep(Duration::from_millis(300));
    repl.control('c');
    repl.see("interrupted");
    repl.prompt("local");
    repl.line("1 + 1");
    repl.see("2\r\n");
    let (dir, code) = repl.leave();
    assert_eq!(code, 0);
    assert!(tell(&dir, &["show", "last"]).0.contains("status      done"));
}

#[test]
fn undo_takes_back_the_last_line_and_then_everything() {
    let mut repl = Repl::open("", &[]);
    for name in ["one", "two", "three"] {
        let path = repl.path(name);
        repl.line(&format!("write_file(\"{path}\", \"{name}\")"));
        repl.see("true\r\n");
        repl.prompt("local");
    }
    let exist =
        |repl: &Repl| ["one", "two", "three"].map(|name| Path::new(&repl.path(name)).exists());
    repl.line(":undo");
    repl.see("Undo this? [Y/n]");
    repl.line("y");
    repl.see("undone");
    repl.prompt("local");
    assert_eq!(exist(&repl), [true, true, false]);
    repl.line(":undo all");
    repl.see("in this order? [Y/n]");
    repl.line("n");
    repl.see("nothing was undone");
    repl.line(":undo all");
    repl.see("[Y/n]");
    repl.line("y");
    repl.see("2 changes undone");
    repl.prompt("local");
    assert_eq!(exist(&repl), [false, false, false]);
    repl.line(":undo");
    repl.see("nothing to undo");
    assert_eq!(repl.leave().1, 0);
}

/// A service of files: it runs while `running` exists.
fn service(dir: &str) -> String {
    format!(
        "[services.toy]\nstart = \"touch {dir}/running\"\nstop = \"rm -f {dir}/running\"\nstatus = \"test -e {dir}/running\"\n"
    )
}

#[test]
fn what_is_owed_is_asked_about_before_it_is_left() {
    let service_dir = tempfile::tempdir().unwrap();
    let running = service_dir.path().join("running");
    fs::write(&running, "").unwrap();
    let mut repl = Repl::open(&service(&service_dir.path().display().to_string()), &[]);
    repl.line("service_stop(\"toy\")");
    repl.see("owed");
    repl.see("true\r\n");
    repl.prompt("local");
    assert!(!running.exists());
    repl.control('d');
    repl.see("still owed");
    repl.see("1-3:");
    repl.line("3");
    repl.prompt("local");
    repl.line("1 + 1");
    repl.see("2\r\n");
    repl.prompt("local");
    repl.control('d');
    repl.see("1-3:");
    repl.line("2");
    repl.see("failed");
    let (dir, code) = repl.wait();
    assert_eq!(code, 4);
    let (debts, code) = tell(&dir, &["debts"]);
    assert!(debts.contains("toy") && code == 4, "{debts}");

    // Days later, from the record alone, by replaying what was typed.
    let (text, code) = tell(&dir, &["rollback", "last", "--yes"]);
    assert!(text.contains("rolled back") && code == 0, "{text}");
    assert!(running.exists());
    assert_eq!(tell(&dir, &["debts"]).1, 0);
}

#[test]
fn leaving_can_undo_everything_also_what_closures_registered() {
    let service_dir = tempfile::tempdir().unwrap();
    let running = service_dir.path().join("running");
    fs::write(&running, "").unwrap();
    let mut repl = Repl::open(&service(&service_dir.path().display().to_string()), &[]);
    let path = repl.path("told");
    repl.line(&format!("let to = \"{path}\"; on_rollback(|| write_file(to, \"undone\"));"));
    repl.prompt("local");
    repl.line("to = \"elsewhere\"; service_stop(\"toy\")");
    repl.see("true\r\n");
    repl.prompt("local");
    repl.control('d');
    repl.see("1-3:");
    repl.line("1");
    repl.see("rolled back");
    let (dir, code) = repl.wait();
    assert_eq!(code, 0);
    assert!(running.exists());
    assert_eq!(fs::read_to_string(dir.path().join("told")).unwrap(), "undone");
    assert!(tell(&dir, &["runs"]).0.contains("rolled back"));
}

#[test]
fn a_killed_session_is_rolled_back_from_what_was_typed() {
    let mut repl = Repl::open("", &[]);
    let (one, two) = (repl.path("one"), repl.path("two"));
    repl.line(&format!("let path = \"{two}\"; fn write(path) {{ write_file(path, \"x\") }}"));
    repl.prompt("local");
    repl.line(&format!(
        "on_rollback(|| write_file(\"{one}\", \"closure\")); fail(\"caught by nobody\")"
    ));
    repl.see("error: caught by nobody");
    repl.prompt("local");
    repl.line("write(path)");
    repl.see("true\r\n");
    repl.prompt("local");
    repl.line("\"id=\" + output(\"echo $PPID\") + \";\"");
    // Not where it is typed, and not where it is told that it is read.
    repl.see("\u{1b}[?2004l");
    repl.see("id=");
    let id = repl.see(";");
    repl.prompt("local");
    repl.line("loop {}");
    std::thread::sleep(Duration::from_millis(300));
    assert!(Command::new("kill").args(["-9", &id]).status().unwrap().success());
    let _rest = repl.pty.exp_eof();
    let dir = repl.dir;

    let (runs, _) = tell(&dir, &["runs"]);
    assert!(runs.contains("cut off"), "{runs}");
    let (text, code) = tell(&dir, &["resume", "last"]);
    assert!(text.contains("was a session of the REPL") && code == 2, "{text}");
    let (text, code) = tell(&dir, &["rollback", "last", "--yes"]);
    assert_eq!(code, 0, "{text}");
    assert!(!Path::new(&two).exists(), "{text}");
    assert_eq!(fs::read_to_string(&one).unwrap(), "closure");
}

#[test]
fn targets_parameters_and_files() {
    let config = "[targets.web1]\naddress = \"203.0.113.1\"\n";
    let mut repl = Repl::open(config, &["repl", "--set", "home=/srv/app"]);
    repl.line("param(\"home\")");
    repl.see("/srv/app\r\n");
    repl.line(":targets");
    repl.see("203.0.113.1");
    repl.line(":on web2");
    repl.see("Did you mean `web1`?");
    repl.prompt("local");
    repl.line(":on local");
    repl.prompt("local");
    let file = repl.path("lib.rhai");
    fs::write(&file, "fn triple(x) { x * 3 }\nlet loaded = triple(2);\n").unwrap();
    repl.line(":load lib.rhai");
    repl.prompt("local");
    repl.line("triple(loaded)");
    repl.see("18\r\n");
    let file = repl.path("book.rhai");
    fs::write(
        &file,
        "//! Book\nconst RUNBOOK = #{ params: #{ a: 1 } };\nfn four() { 4 }\nfail(\"was run\");\n",
    )
    .unwrap();
    repl.line(":load book.rhai");
    repl.see("nothing of it is run");
    repl.line("four() + 1");
    repl.see("5\r\n");
    repl.line("each([\"a\", \"b\"], |it| it + four())");
    repl.see("[\"a4\", \"b4\"]");
    assert_eq!(repl.leave().1, 0);
}

#[test]
fn questions_are_answered_in_the_middle_of_a_line() {
    let mut repl = Repl::open("", &[]);
    repl.line("confirm(\"Sure?\")");
    repl.see("Sure? [");
    repl.line("y");
    repl.see("true\r\n");
    assert_eq!(repl.leave().1, 0);
}

#[test]
fn without_a_terminal_lines_are_evaluated_all_the_same() {
    use std::io::Write;
    use std::process::Stdio;
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), &["repl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"let x = 20;\nx * 2 + 2\n").unwrap();
    let said = end(child);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(text.contains("42\n"), "{text}");
    assert!(said.status.success());

    let said = output(&mut command(dir.path(), &["repl", "--json"]));
    assert_eq!(said.status.code(), Some(2));
}
