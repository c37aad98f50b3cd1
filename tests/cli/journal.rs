//! The journal fails in the middle of a run: the run stops with 6 and says why, nothing is begun that is not on record,
//! and once the cause is gone `resume` goes on without doing anything twice.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::cli::{Cli, Said};
use crate::support::mount::Mount;

/// Commands that count themselves; the second goes on until it may end.
const BOOK: &str = "//! Counted\n\
    let undo = #{ undo: \"true\" };\n\
    sh(\"echo 1 >>ran\", undo);\n\
    sh(\"echo 2 >>ran; touch waits; until test -e go; do sleep 0.02; done\", undo);\n\
    for number in 3..=8 { sh(`echo ${number} >>ran`, undo); }\n";

fn begun(cli: &Cli) -> Child {
    cli.write("book.rhai", BOOK);
    let child = cli.start(&["book.rhai"]);
    cli.wait("the second command runs", || cli.path("waits").exists());
    child
}

fn go(cli: &Cli) {
    cli.write("go", "");
}

/// It ended with 6, said all of `words`, and did nothing more.
#[track_caller]
fn stopped(cli: &Cli, said: &Said, words: &[&str]) {
    assert_eq!(said.code, Some(6), "{said:?}");
    let text = format!("{}{}", said.out, said.err);
    for word in words {
        assert!(text.contains(word), "{word}: {said:?}");
    }
    assert_eq!(cli.read("ran"), "1\n2\n");
}

/// `resume` comes to the end, and every command ran once.
#[track_caller]
fn resumed(cli: &Cli) {
    let said = cli.run(&["resume", "last"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(cli.read("ran"), "1\n2\n3\n4\n5\n6\n7\n8\n");
}

#[test]
fn a_full_disk_stops_the_run() {
    let cli = Cli::new();
    let Some(_mount) = Mount::tmpfs(&cli.state(), "2m") else {
        eprintln!("not run: this user may not mount a file system here");
        return;
    };
    let child = begun(&cli);
    let filler = cli.state().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    drop(file);
    go(&cli);
    let path = cli.state().join("journal.db").display().to_string();

    let said = cli.end(child);

    stopped(&cli, &said, &[&path, "disk is full", "make room on its file system", "resume"]);
    stopped(&cli, &cli.run(&["resume", "last"]), &["make room on its file system"]);
    fs::remove_file(filler).unwrap();
    resumed(&cli);
}

#[test]
fn a_file_system_that_becomes_read_only_stops_the_run() {
    let cli = Cli::new();
    let image = cli.path("image");
    let Some(mount) = Mount::ext4(&cli.state(), &image) else {
        eprintln!("not run: this user may not mount a file system here");
        return;
    };
    let child = begun(&cli);
    if !mount.fail() {
        eprintln!("not run: the kernel does not let a file system fail here");
        go(&cli);
        assert_eq!(cli.end(child).code, Some(0));
        return;
    }
    go(&cli);

    let said = cli.end(child);

    stopped(&cli, &said, &["journal.db", "its file system is read-only", "resume"]);
    stopped(&cli, &cli.run(&["resume", "last"]), &["its file system is read-only"]);
    mount.again();
    resumed(&cli);
}

#[test]
fn a_directory_that_may_not_be_written_to_is_said() {
    use std::os::unix::fs::PermissionsExt as _;
    if rustix::process::getuid().is_root() {
        eprintln!("not run: root may write everywhere");
        return;
    }
    let cli = Cli::new();
    fs::create_dir(cli.state()).unwrap();
    let mode = |mode| fs::set_permissions(cli.state(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    let said = cli.run(&["-e", "sh(\"touch ran\")"]);
    mode(0o700);
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(said.err.contains("--state"), "{said:?}");
    assert!(!cli.path("ran").exists());
}

/// Calls the program while no file may grow beyond so many blocks of 512 bytes, and lives on when one would.
fn limited(cli: &Cli, blocks: u32, arguments: &[&str]) -> Said {
    let inner = cli.command(arguments);
    let mut command = Command::new("/bin/sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(inner.get_current_dir().unwrap()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    cli.end(command.spawn().unwrap())
}

fn done(events: &[Value]) -> BTreeSet<String> {
    let ended = events.iter().filter(|event| event["what"]["event"] == "call_ended");
    ended.map(|event| event["what"]["call"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_was_told_as_done_is_in_the_journal_that_cannot_grow_any_more() {
    let cli = Cli::new();
    cli.write(
        "book.rhai",
        "//! Many\nfor n in 0..60 { sh(`echo ${n} >>ran`, #{ undo: \"true\" }); }\n",
    );

    let said = limited(&cli, 400, &["book.rhai", "--json"]);

    assert_eq!(said.code, Some(6), "{said:?}");
    let events = said.events();
    let last = &events.last().unwrap()["what"];
    assert_eq!(last["event"], "run_ended", "{last}");
    let message = last["message"].as_str().unwrap();
    assert!(message.contains("journal.db") && message.contains("ulimit -f"), "{message}");
    let told = done(&events);
    let kept = done(&cli.run(&["show", "last", "--json"]).events());
    assert!(!told.is_empty() && told.len() < 60 && told.is_subset(&kept), "{told:?} {kept:?}");
    let ran = cli.read("ran").lines().count();
    assert!((told.len()..=told.len() + 1).contains(&ran), "{ran} {told:?}");

    assert_eq!(cli.run(&["resume", "last"]).code, Some(0));

    let ran: Vec<String> = cli.read("ran").lines().map(str::to_owned).collect();
    let once: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    assert_eq!(ran, once);
}

/// Ends the run as if by a power failure, while its second command goes on and ends by itself.
fn cut_off(cli: &Cli) {
    let mut child = begun(cli);
    child.kill().unwrap();
    child.wait().unwrap();
    go(cli);
    // Whoever opens and closes it moves all of it into one file.
    assert_eq!(cli.runs()[0]["status"], "running");
}

/// Changes the journal's file, looks what `resume` says, and puts a copy of before back.
#[track_caller]
fn damaged(cli: &Cli, words: &[&str], damage: impl FnOnce(&mut Vec<u8>, usize)) {
    let path = cli.state().join("journal.db");
    let sound = fs::read(&path).unwrap();
    let intent = b"summary\":\"run `echo 2";
    let at = sound.windows(intent.len()).position(|bytes| bytes == intent).unwrap();
    let mut bytes = sound.clone();
    damage(&mut bytes, at);
    fs::write(&path, bytes).unwrap();
    stopped(cli, &cli.run(&["resume", "last"]), words);
    fs::write(&path, sound).unwrap();
}

#[test]
fn a_damaged_page_stops_before_anything_is_done() {
    let cli = Cli::new();
    cut_off(&cli);
    let advice = ["journal.db", "it is damaged", "Copy its directory away first"];
    damaged(&cli, &[&advice[..], &["malformed"]].concat(), |bytes, at| {
        let page = at / 4096 * 4096;
        bytes[page..page + 4096].fill(0xa5);
    });
    damaged(&cli, &[&advice[..], &["record 3 of run"]].concat(), |bytes, at| {
        bytes[at + 20] = b'3';
    });
    damaged(&cli, &advice, |bytes, _| bytes[..100].fill(0));
    damaged(&cli, &advice, |bytes, _| bytes.truncate(4096));
    resumed(&cli);
}

#[test]
fn of_two_who_resume_a_run_one_does() {
    let cli = Cli::new();
    let mut first = begun(&cli);
    first.kill().unwrap();
    first.wait().unwrap();

    let mut both = [cli.start(&["resume", "last"]), cli.start(&["resume", "last"])];
    let mut refused = None;
    cli.wait("one of them is refused", || {
        refused = both.iter_mut().position(|child| child.try_wait().unwrap().is_some());
        refused.is_some()
    });
    let [one, other] = both;
    let (refused, driving) = if refused == Some(0) { (one, other) } else { (other, one) };
    let driver = format!("(process {})", driving.id());
    let hint = "upgrade-host pause";
    stopped(&cli, &cli.end(refused), &["is being driven by another process", &driver, hint]);
    go(&cli);
    assert_eq!(cli.end(driving).code, Some(0));
    assert_eq!(cli.read("ran"), "1\n2\n3\n4\n5\n6\n7\n8\n");
}

fn set_format(state: &Path, format: u32) -> u32 {
    let journal = rusqlite::Connection::open(state.join("journal.db")).unwrap();
    let was = journal.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    journal.pragma_update(None, "user_version", format).unwrap();
    was
}

#[test]
fn a_format_from_the_future_is_not_written_to() {
    let cli = Cli::new();
    let child = begun(&cli);
    let own = set_format(&cli.state(), 99);
    go(&cli);
    let words = ["journal.db has format 99", &format!("reads up to {own}"), "use the program"];

    stopped(&cli, &cli.end(child), &words);
    stopped(&cli, &cli.run(&["resume", "last"]), &words);
    assert_eq!(cli.run(&["runs"]).code, Some(6));

    set_format(&cli.state(), own);
    resumed(&cli);
}
