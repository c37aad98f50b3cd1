//! Real files, a real shell, a writer on another thread.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::mark::{LogMark, Mark};
use super::wait::{Seen, WaitLog};
use super::{LINES, actions};
use crate::effect::bench::Bench;
use crate::effect::{Lane, Mode, Registry, Target, perform, query};
use crate::error::{Failure, Halt, Kind, Result, Stop};
use crate::event::{CallEnd, What};
use crate::transport::{Local, Transport, TransportError};

/// A bench with a directory for logs.
fn bench() -> (Bench, PathBuf) {
    let mut registry = Registry::default();
    actions(&mut registry);
    let bench = Bench::new(registry);
    let dir = bench.path().join("log dir");
    fs::create_dir(&dir).unwrap();
    (bench, dir)
}

fn wait(pattern: &str, file: &Path) -> WaitLog {
    WaitLog {
        pattern: pattern.to_owned(),
        file: file.to_str().unwrap().to_owned(),
        fail: Vec::new(),
        progress: None,
        unit: "users".to_owned(),
        timeout_ms: 20_000,
        quiet_ms: 0,
        since: None,
        lines: LINES,
    }
}

fn mark(lane: &Lane, file: &Path) -> Mark {
    query(lane, None, LogMark { file: file.to_str().unwrap().to_owned(), name: None }).unwrap()
}

fn append(file: &Path, text: impl AsRef<[u8]>) {
    let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(text.as_ref()).unwrap();
}

fn failure(result: Result<Seen>) -> Failure {
    match result {
        Err(Halt::Failure(failure)) => *failure,
        other => panic!("{other:?}"),
    }
}

/// Waits on one thread while `writer` writes on this one, begun once the wait has.
fn while_waiting(bench: &Bench, action: &WaitLog, writer: impl FnOnce()) -> Result<Seen> {
    let lane = bench.lane(Mode::Run);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        scope.spawn(move || sender.send(perform(&lane, None, action)).unwrap());
        until(|| {
            let state = bench.path().join("state");
            let store = crate::journal::Sqlite::open(&state).unwrap();
            let records = crate::journal::Store::records(&store, bench.run_id()).unwrap();
            records.iter().any(|record| matches!(record.body, crate::journal::Body::Intent { .. }))
        });
        writer();
        receiver.recv_timeout(Duration::from_secs(30)).unwrap()
    })
}

fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it did not come about");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_line_that_came_after_the_mark_and_before_the_wait_is_seen() {
    let (bench, dir) = bench();
    let file = dir.join("catalina.out");
    append(&file, "Server startup in 1 ms\n");
    let lane = bench.lane(Mode::Run);

    let since = mark(&lane, &file);
    append(&file, "starting\nServer startup in 4711 ms\n");
    let seen = perform(
        &lane,
        None,
        &WaitLog { since: Some(since), ..wait(r"startup in (?<ms>\d+) ms", &file) },
    )
    .unwrap();

    assert_eq!(seen.line, "Server startup in 4711 ms");
    assert_eq!((&seen.captures["ms"], &seen.captures["1"]), (&"4711".into(), &"4711".into()));
    assert_eq!((seen.lines_seen, Path::new(&seen.file)), (2, file.as_path()));
}

#[test]
fn without_a_mark_only_what_comes_from_now_on_counts() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "ready old\n");

    let seen = while_waiting(&bench, &wait("ready (.*)", &file), || {
        append(&file, b"noise \xff\0\n");
        append(&file, "ready ");
        append(&file, "new\n");
    })
    .unwrap();

    assert_eq!(seen.line, "ready new");
}

#[test]
fn a_match_is_reported_within_300_milliseconds() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "");
    let mut written = None;

    let result = while_waiting(&bench, &wait("ready", &file), || {
        thread::sleep(Duration::from_millis(730));
        append(&file, "ready\n");
        written = Some(Instant::now());
    });
    let latency = written.unwrap().elapsed();

    result.unwrap();
    // Loose: the machine may be busy. The pause between polls is 200 ms.
    assert!(latency < Duration::from_millis(1500), "{latency:?}");
    eprintln!("latency {latency:?}");
}

#[test]
fn a_file_that_appears_late_in_a_directory_that_appears_late_is_read() {
    let (bench, dir) = bench();
    let file = dir.join("new/app.log");

    let seen = while_waiting(&bench, &wait("ready", &file), || {
        fs::create_dir(dir.join("new")).unwrap();
        append(&file, "first\nready\n");
    })
    .unwrap();

    assert_eq!(seen.lines_seen, 2);
    assert!(warnings(&bench).iter().any(|text| text.contains("does not exist yet")));
}

#[test]
fn rotation_in_the_middle_of_a_line_loses_nothing() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "old\n");

    let seen = while_waiting(&bench, &wait("^end$", &file), || {
        let mut writer = OpenOptions::new().append(true).open(&file).unwrap();
        for round in 0..4 {
            writeln!(writer, "a {round}").unwrap();
            write!(writer, "first half of {round}, ").unwrap();
            for n in (1..=round).rev() {
                fs::rename(
                    dir.join(format!("app.log.{n}")),
                    dir.join(format!("app.log.{}", n + 1)),
                )
                .unwrap();
            }
            fs::rename(&file, dir.join("app.log.1")).unwrap();
            writeln!(writer, "second half").unwrap();
            writer = File::create_new(&file).unwrap();
            if round % 2 == 0 {
                thread::sleep(Duration::from_millis(450));
            }
        }
        writeln!(writer, "end").unwrap();
    })
    .unwrap();

    assert_eq!(seen.lines_seen, 9);
    assert_eq!(warnings(&bench), [""; 0]);
}

#[test]
fn two_rotations_and_a_compression_before_anyone_looked_lose_nothing() {
    let (bench, dir) = bench();
    let file = dir.join("catalina.out");
    append(&dir.join("catalina.out.1"), "ready, but long ago\n");
    append(&file, "this stood here before the mark\n");
    let lane = bench.lane(Mode::Run);
    let since = mark(&lane, &file);

    append(&file, "one\n");
    fs::rename(dir.join("catalina.out.1"), dir.join("catalina.out.3")).unwrap();
    fs::rename(&file, dir.join("catalina.out.2")).unwrap();
    assert!(
        std::process::Command::new("gzip")
            .arg(dir.join("catalina.out.2"))
            .status()
            .unwrap()
            .success()
    );
    append(&dir.join("catalina.out.1"), "two\n");
    append(&file, "three\nready\n");
    let seen =
        perform(&lane, None, &WaitLog { since: Some(since), ..wait("^ready", &file) }).unwrap();

    assert_eq!((seen.line.as_str(), seen.lines_seen), ("ready", 4));
}

#[test]
fn a_file_replaced_by_one_with_the_same_inode_is_read_from_its_begin() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "0123456789 ready 0123456789\n");
    let lane = bench.lane(Mode::Run);
    let since = mark(&lane, &file);

    // The same inode, and longer than the old one was: only the content tells.
    fs::write(&file, "ready at the begin of something else, which is longer\n").unwrap();
    let seen =
        perform(&lane, None, &WaitLog { since: Some(since), ..wait("^ready", &file) }).unwrap();

    assert_eq!(seen.lines_seen, 1);
}

#[test]
fn truncation_starts_over_and_the_copy_is_read_first() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "this stood here before the mark\n");
    let lane = bench.lane(Mode::Run);
    let since = mark(&lane, &file);

    // As logrotate's copytruncate does, while nobody looks.
    append(&file, "in the copy\n");
    fs::copy(&file, dir.join("app.log.1")).unwrap();
    fs::write(&file, "").unwrap();
    append(&file, "ready\n");
    let seen =
        perform(&lane, None, &WaitLog { since: Some(since), ..wait("^ready", &file) }).unwrap();

    assert_eq!(seen.lines_seen, 2);
}

#[test]
fn truncation_under_the_reader_is_seen() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "a long line that stood here before\n");

    let seen = while_waiting(&bench, &wait("^ready", &file), || {
        append(&file, "more\n");
        thread::sleep(Duration::from_millis(450));
        fs::write(&file, "ready\n").unwrap();
    })
    .unwrap();

    assert_eq!(seen.line, "ready");
}

#[test]
fn removal_and_creation_anew_is_seen() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "a long line that stood here before\n");

    let seen = while_waiting(&bench, &wait("^ready", &file), || {
        fs::remove_file(&file).unwrap();
        thread::sleep(Duration::from_millis(450));
        append(&file, "ready, in a file which is longer than the one before it\n");
    })
    .unwrap();

    assert_eq!(seen.lines_seen, 1);
}

#[test]
fn a_dated_log_is_followed_over_midnight() {
    let (bench, dir) = bench();
    let day = |day: &str| dir.join(format!("{day}.log"));
    append(&day("2026-11-21"), "all users finished\n");
    append(&day("2026-11-30"), "1,INFO,Index,[Indexing] user 'a' (1 of 3) finished\n");
    append(&dir.join("notes.log"), "all users finished\n");
    let action = wait("all users finished", &dir.join("{date:%Y-%m-%d}.log"));

    let seen = while_waiting(&bench, &action, || {
        append(&day("2026-11-30"), "2,INFO,Index,[Indexing] user 'b' (2 of 3) finished\n");
        thread::sleep(Duration::from_millis(450));
        append(&day("2026-12-01"), "3,INFO,Index,[Indexing] user 'c' (3 of 3) finished\n");
        // A thread of the server that is late.
        append(&day("2026-11-30"), "2,INFO,Index,late\n");
        thread::sleep(Duration::from_millis(450));
        append(&day("2026-12-02"), "4,INFO,Index,[Indexing] all users finished (3 of 3)\n");
    })
    .unwrap();

    assert_eq!(Path::new(&seen.file), day("2026-12-02"));
    assert_eq!(seen.lines_seen, 4);
}

#[test]
fn days_that_passed_unseen_are_read_in_order_also_compressed() {
    let (bench, dir) = bench();
    let day = |day: &str| dir.join(format!("{day}.log"));
    append(&day("2026-11-29"), "ready: long ago\n");
    append(&day("2026-11-30"), "ready: before the mark\n");
    let lane = bench.lane(Mode::Run);
    let file = dir.join("{date:%Y-%m-%d}.log");
    let since = mark(&lane, &file);

    append(&day("2026-11-30"), "one\n");
    append(&day("2026-12-01"), "two\n");
    append(&day("2026-12-02"), "three\nready: now\n");
    for packed in ["2026-11-29", "2026-11-30", "2026-12-01"] {
        assert!(std::process::Command::new("gzip").arg(day(packed)).status().unwrap().success());
    }
    let seen =
        perform(&lane, None, &WaitLog { since: Some(since), ..wait("ready", &file) }).unwrap();

    assert_eq!((seen.line.as_str(), seen.lines_seen), ("ready: now", 4));
}

#[test]
fn resume_finds_what_was_written_while_nobody_looked() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "ready old\n");
    let action = wait("ready", &file);

    let lane = bench.lane(Mode::Run);
    let killed = thread::scope(|scope| {
        let waiting = scope.spawn(|| perform(&lane, None, &action));
        until(|| bench.events().iter().any(|what| matches!(what, What::CallBegan { .. })));
        thread::sleep(Duration::from_millis(300));
        lane.run().cancel.cancel();
        waiting.join().unwrap()
    });
    assert_eq!(killed, Err(Halt::Stop(Stop::Cancelled)));

    append(&file, "one\nready new\n");
    fs::rename(&file, dir.join("app.log.1")).unwrap();
    append(&file, "two\n");
    let seen = perform(&bench.lane(Mode::Run), None, &action).unwrap();

    assert_eq!((seen.line.as_str(), seen.lines_seen), ("ready new", 2));
    let again = perform(&bench.lane(Mode::Run), None, &action).unwrap();
    assert_eq!(again, seen);
    let ends = bench.events();
    assert!(matches!(
        ends.iter().rev().find(|what| matches!(what, What::CallEnded { .. })),
        Some(What::CallEnded { end: CallEnd::Recalled, .. })
    ));
}

#[test]
fn a_run_that_a_failure_in_the_log_paused_is_resumed_behind_that_failure() {
    let (bench, dir) = bench();
    let file = dir.join("index.log");
    append(&file, "0,INFO,before\n");
    let wait_after_mark = || {
        let lane = bench.lane(Mode::Run);
        let action = WaitLog {
            since: Some(mark(&lane, &file)),
            fail: vec!["failed for|stopped after".to_owned()],
            ..wait("all users finished", &file)
        };
        (lane, action)
    };
    let (lane, action) = wait_after_mark();
    append(&file, "1,ERROR,failed for user 'b'\n2,ERROR,stopped after 1 of 2 users\n");
    let first = failure(perform(&lane, None, &action));
    assert!(first.message.contains("failed for user 'b'"), "{}", first.message);
    assert!(first.stdout.ends_with("stopped after 1 of 2 users\n"), "{}", first.stdout);
    bench.pause_after(&first);

    // It fails again, elsewhere, before it is resumed: that is news.
    append(&file, "3,INFO,started\n4,ERROR,failed for user 'c'\n");
    let (lane, action) = wait_after_mark();
    let second = failure(perform(&lane, None, &action));
    assert!(second.message.contains("failed for user 'c'"), "{}", second.message);
    bench.pause_after(&second);

    append(&file, "5,INFO,started\n6,INFO,all users finished\n");
    let (lane, action) = wait_after_mark();
    let seen = perform(&lane, None, &action).unwrap();
    assert_eq!(seen.line, "6,INFO,all users finished");
}

#[test]
fn a_failure_in_the_log_ends_the_wait_with_the_last_lines() {
    let (bench, dir) = bench();
    let file = dir.join("{date:%Y-%m-%d}.log");
    let today = dir.join("2026-11-22.log");
    let action = WaitLog {
        fail: vec!["OutOfMemory".to_owned(), r"\[Indexing\] failed".to_owned()],
        ..wait("all users finished", &file)
    };

    let failure = failure(while_waiting(&bench, &action, || {
        append(&today, "1,INFO,Index,[Indexing] user 'a' (1 of 3) finished\n");
        append(&today, "2,ERROR,Index,[Indexing] failed for user 'b': disk full\n");
        append(&today, "3,INFO,Index,[Indexing] all users finished\n");
    }));

    assert_eq!(failure.kind, Kind::Check);
    assert!(failure.message.contains("failed for user 'b': disk full"), "{}", failure.message);
    assert!(failure.hint.unwrap().contains("2026-11-22.log"));
    assert_eq!(failure.stdout.lines().count(), 2);
}

#[test]
fn a_timeout_says_what_came_and_how_long_ago() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "");
    let action = WaitLog { timeout_ms: 900, quiet_ms: 300, ..wait("ready", &file) };

    let ended = failure(while_waiting(&bench, &action, || append(&file, "only this\n")));

    assert_eq!((ended.kind, ended.stdout.as_str()), (Kind::Timeout, "only this\n"));
    assert!(ended.message.starts_with("no line matched `ready` within 900ms: 1 line came, "));
    let quiet = warnings(&bench).iter().filter(|text| text.starts_with("nothing new in")).count();
    assert!((1..=3).contains(&quiet), "{quiet}");

    let nowhere = WaitLog { timeout_ms: 300, ..wait("ready", &dir.join("none.log")) };
    let lane = bench.lane(Mode::Run);
    let _recalled = perform(&lane, None, &action);
    let ended = failure(perform(&lane, None, &nowhere));
    assert!(ended.hint.unwrap().starts_with("There was never a file "));
}

#[test]
fn a_line_without_end_matches_after_a_second() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "");

    let seen = while_waiting(&bench, &wait("ready", &file), || append(&file, "ready")).unwrap();

    assert_eq!((seen.line.as_str(), seen.lines_seen), ("ready", 0));
    assert!(seen.seconds >= 1.0);
}

#[test]
fn progress_is_told_with_what_the_pattern_caught() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    let action = WaitLog {
        progress: Some(r"user '(.*)' \((\d+) of (\d+)\)".to_owned()),
        ..wait(r"all users finished", &file)
    };

    while_waiting(&bench, &action, || {
        append(&file, "1,INFO,Index,[Indexing] user 'O'Brien & Sons' (7 of 40) finished\n");
        until(|| bench.events().iter().any(|what| matches!(what, What::CallProgress { .. })));
        append(&file, "[Indexing] user 'z' (40 of 40) finished\n[Indexing] all users finished\n");
    })
    .unwrap();

    let told: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|what| match what {
            What::CallProgress { progress, .. } => {
                Some((progress.done, progress.total, progress.message))
            }
            _ => None,
        })
        .collect();
    let expected = [(7, Some(40), "O'Brien & Sons"), (40, Some(40), "z")];
    assert_eq!(told, expected.map(|(done, total, what)| (done, total, what.to_owned())));
}

#[test]
fn plan_says_what_it_would_read_and_waits_for_nothing() {
    let (bench, dir) = bench();
    append(&dir.join("2026-11-22.log"), "x\n");
    let action = wait("ready", &dir.join("{date:%Y-%m-%d}.log"));
    let lane = bench.lane(Mode::Plan);

    let since = mark(&lane, &dir.join("{date:%Y-%m-%d}.log"));
    let seen = perform(&lane, None, &WaitLog { since: Some(since), ..action }).unwrap();
    perform(&lane, None, &wait("x", &dir.join("none/app.log"))).unwrap();

    assert_eq!(seen.line, "");
    let planned: Vec<String> = bench
        .events()
        .into_iter()
        .filter_map(|what| match what {
            What::CallPlanned { planned, .. } => Some(planned.changes.join("\n")),
            _ => None,
        })
        .collect();
    let dir = dir.display();
    assert_eq!(
        planned[0],
        format!(
            "wait up to 20s for a line with `ready`\nnow it would read {dir}/2026-11-22.log\nbegin at the mark: byte 2 of {dir}/2026-11-22.log"
        )
    );
    assert!(planned[1].contains("the directory of"));
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let (bench, dir) = bench();

    let ended = failure(perform(&bench.lane(Mode::Run), None, &wait("x", &dir)));

    assert_eq!(ended.kind, Kind::Input);
    assert!(ended.message.ends_with("is no regular file"), "{}", ended.message);
}

#[test]
fn a_hundred_megabytes_are_read_at_a_bearable_speed() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "");
    let lane = bench.lane(Mode::Run);
    let since = mark(&lane, &file);
    let text = "1763800000000,INFO,Backup,[user] some line of a length that lines in logs have, more or less\n";
    let count = (100 << 20) / text.len();
    append(&file, text.repeat(count));
    append(&file, "ready\n");

    let begun = Instant::now();
    let seen = perform(
        &lane,
        None,
        &WaitLog {
            since: Some(since),
            fail: vec!["failed for user '(.*)'".to_owned()],
            progress: Some(r"user '(.*)' \((\d+) of (\d+)\)".to_owned()),
            timeout_ms: 300_000,
            ..wait("^ready$", &file)
        },
    )
    .unwrap();

    assert_eq!(seen.lines_seen, count as u64 + 1);
    eprintln!("100 MiB in {:?}", begun.elapsed());
}

/// Runs a script as a session does.
fn script(
    bench: &Bench,
    mode: Mode,
    text: &str,
) -> std::result::Result<rhai::Dynamic, Box<Failure>> {
    let lane = bench.lane(mode);
    let mut face = crate::primitives::bridge::Face::new();
    super::register(&mut face);
    let mut engine = rhai::Engine::new();
    engine.register_global_module(face.module.into());
    let seat = crate::primitives::bridge::Seat {
        lane,
        engine: std::sync::Weak::new(),
        anchor: std::sync::Arc::default(),
    };
    engine.set_default_tag(rhai::Dynamic::from(seat));
    engine.eval::<rhai::Dynamic>(text).map_err(|error| match *error {
        rhai::EvalAltResult::ErrorRuntime(value, _) => {
            Box::new(crate::primitives::bridge::failure_from_dynamic(&value).unwrap())
        }
        other => panic!("{other}"),
    })
}

#[test]
fn a_script_marks_waits_and_reads_what_was_caught() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "ready in 1 s\n");
    let text = format!(
        r#"
        let file = "{}";
        let first = log_mark(file, #{{ name: "first" }});
        let seen = wait_log("ready in (?<s>\\d+) s", #{{ file: file, timeout: "10s", since: "first" }});
        let same = wait_log("ready in (\\d+)", #{{ file: file, timeout: "10s" }});
        let given = wait_log("ready", #{{ file: file, timeout: "10s", since: first, quiet: "0s", fail: ["never", "b$"] }});
        seen.captures.s + seen.captures["1"] + same.captures["1"] + given.lines_seen
        "#,
        file.display()
    );
    let writer = thread::spawn({
        let state = bench.path().join("state");
        let run = bench.run_id().to_owned();
        move || {
            until(|| {
                let store = crate::journal::Sqlite::open(&state).unwrap();
                crate::journal::Store::records(&store, &run)
                    .is_ok_and(|records| !records.is_empty())
            });
            append(&file, "ready in 7 s\n");
        }
    });

    let value = script(&bench, Mode::Run, &text).unwrap();
    writer.join().unwrap();

    assert_eq!(value.to_string(), "7771");
    // In another process, from the record alone.
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(script(&bench, Mode::Run, &text).unwrap().to_string(), "7771");
}

/// A way that breaks for a while.
#[derive(Debug)]
struct Flaky {
    calls: AtomicU32,
    broken: std::ops::Range<u32>,
}

impl Transport for Flaky {
    fn exec(
        &self,
        command: &crate::transport::Command,
        cancel: &crate::transport::Cancel,
        watch: crate::transport::Watch<'_>,
    ) -> std::result::Result<crate::transport::Exit, TransportError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let exit = Local.exec(command, cancel, watch)?;
        if self.broken.contains(&call) {
            let (target, why) = ("local".to_owned(), "the cable".to_owned());
            return Err(TransportError::Lost { target, why });
        }
        Ok(exit)
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> std::result::Result<Box<dyn crate::transport::Connection>, TransportError> {
        Local.connect(host, port, timeout)
    }

    fn describe(&self) -> String {
        "a bad cable".to_owned()
    }

    fn own_address(&self) -> Option<std::net::IpAddr> {
        None
    }
}

fn over_a_bad_cable(bench: &Bench, broken: std::ops::Range<u32>) -> Lane {
    let lane = bench.lane(Mode::Run);
    let transport = Arc::new(Flaky { calls: AtomicU32::new(0), broken });
    lane.push_target(Arc::new(Target::new("local", transport)));
    lane
}

#[test]
fn a_cut_link_repeats_and_loses_no_line() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "x");
    // A mark takes two polls, and so does the look; the answer to the third poll of the wait is lost.
    let lane = over_a_bad_cable(&bench, 6..8);
    let since = mark(&lane, &file);
    append(&file, "a line\n".repeat(200_000));
    append(&file, "ready\n");

    let seen =
        perform(&lane, None, &WaitLog { since: Some(since), ..wait("^ready", &file) }).unwrap();

    assert_eq!(seen.lines_seen, 200_001);
    let told = warnings(&bench);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("lost the connection to local: the cable"), "{told:?}");
}

#[test]
fn a_link_that_stays_cut_pauses_the_run_and_resume_reads_on() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "x\n");

    let stopped = perform(&over_a_bad_cable(&bench, 4..1000), None, &wait("^ready", &file));
    assert!(matches!(stopped, Err(Halt::Stop(Stop::Paused(_)))), "{stopped:?}");
    append(&file, "ready\n");

    let seen = perform(&bench.lane(Mode::Run), None, &wait("^ready", &file)).unwrap();
    assert_eq!(seen.lines_seen, 1);
}

#[test]
fn secrets_in_the_log_are_hidden() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "");
    let lane = bench.lane(Mode::Run);
    let since = mark(&lane, &file);
    lane.run().reveal("password").unwrap();
    append(&file, "login with value-of-password failed\n");
    let action = WaitLog {
        since: Some(since),
        fail: vec!["failed".to_owned()],
        progress: Some("login with (.*)".to_owned()),
        ..wait("ready", &file)
    };

    let failure = failure(perform(&lane, None, &action));

    assert!(!format!("{failure:?} {:?}", bench.events()).contains("value-of-password"));
    assert!(failure.stdout.starts_with("login with "));
}

#[test]
fn wrong_input_is_said_at_the_call() {
    let cases = [
        (r#"wait_log("x(", #{ file: "/l/a" })"#, "the pattern cannot be used: regex parse error:"),
        (r#"wait_log("x(", #{ file: "/l/a" })"#, "\n     ^\n"),
        (r#"wait_log("", #{ file: "/l/a" })"#, "every line would match"),
        (
            r#"wait_log("x", #{ file: "/l/a", fail: ["ok", "a{2,1}"] })"#,
            "option `fail`: regex parse error",
        ),
        (
            r#"wait_log("x", #{ file: "/l/a", progress: "*" })"#,
            "option `progress`: regex parse error",
        ),
        (r#"wait_log("x", #{ timeout: "1s" })"#, "the option `file` is missing"),
        (r#"wait_log("x", #{ file: "/l/a", timeuot: "1s" })"#, "did you mean `timeout`?"),
        (r#"wait_log("x", #{ file: "/l/a", timeout: "soon" })"#, "`soon` is no duration"),
        (r#"wait_log("x", #{ file: "/l/a", lines: -1 })"#, "-1 is not from 0 to 1000"),
        (r#"wait_log("x", #{ file: "/l/a", since: "start" })"#, "there is no mark `start`"),
        (r#"wait_log("x", #{ file: "/l/a", since: 7 })"#, "this is no mark"),
        (r#"wait_log("x", #{ file: "/l/a", since: log_mark("/l/b") })"#, "the mark is of /l/b"),
        (r#"wait_log("x", #{ file: "/{home}/a" })"#, "`{home}` is not known"),
        (r#"log_mark("a.log")"#, "no absolute path"),
    ];
    for (text, message) in cases {
        let (bench, _dir) = bench();

        let failure = script(&bench, Mode::Run, text).unwrap_err();

        assert_eq!(failure.kind, Kind::Input, "{text}");
        assert!(failure.message.contains(message), "{text}: {}", failure.message);
    }
}

#[test]
fn a_file_that_is_gone_is_told_once() {
    let (bench, dir) = bench();
    let file = dir.join("app.log");
    append(&file, "a long line that stood here before\n");

    while_waiting(&bench, &wait("ready", &file), || {
        fs::remove_file(&file).unwrap();
        until(|| !warnings(&bench).is_empty());
        thread::sleep(Duration::from_millis(500));
        append(&file, "ready\n");
    })
    .unwrap();

    let told = warnings(&bench);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].ends_with("app.log is gone; what may have come after byte 35 of it is lost"),
        "{told:?}"
    );
}

fn warnings(bench: &Bench) -> Vec<String> {
    bench
        .events()
        .into_iter()
        .filter_map(|what| match what {
            What::Warning { text } => Some(text),
            _ => None,
        })
        .collect()
}
