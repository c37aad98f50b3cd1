use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pretty_assertions::assert_eq;

use super::launch::launcher;
use super::*;
use crate::secret::Secret;
use crate::transport::{Connection, Local, Watch};

/// This machine, with another program as `sh`.
#[derive(Debug)]
struct Shell {
    bin: tempfile::TempDir,
    /// The next command that is not marked as a read is cut off while it runs: its way back breaks.
    cut: AtomicBool,
}

impl Shell {
    fn new(program: &[&str]) -> Self {
        let bin = tempfile::tempdir().unwrap();
        let sh = bin.path().join("sh");
        fs::write(&sh, format!("#!/bin/sh\nexec {} \"$@\"\n", program.join(" "))).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&sh, mode).unwrap();
        Self { bin, cut: AtomicBool::new(false) }
    }
}

impl Transport for Shell {
    fn exec(
        &self,
        command: &Command,
        cancel: &Cancel,
        watch: Watch<'_>,
    ) -> Result<Exit, TransportError> {
        let mut command = command.clone();
        let path = format!("{}:{}", self.bin.path().display(), std::env::var("PATH").unwrap());
        command.env.push(("PATH".to_owned(), path));
        if !command.reads && self.cut.swap(false, Ordering::SeqCst) {
            command.timeout = Some(Duration::from_millis(400));
            let error = Local.exec(&command, cancel, watch).unwrap_err();
            assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
            return Err(TransportError::Lost { target: "t".into(), why: "cut".into() });
        }
        Local.exec(&command, cancel, watch)
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> Result<Box<dyn Connection>, TransportError> {
        Local.connect(host, port, timeout)
    }

    fn describe(&self) -> String {
        "t".to_owned()
    }

    fn own_address(&self) -> Option<std::net::IpAddr> {
        None
    }
}

/// A run's directory, removed in the end.
struct Run {
    shell: Shell,
    dir: String,
    /// For files of the commands.
    files: tempfile::TempDir,
}

impl Drop for Run {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.dir);
    }
}

impl Run {
    fn new(program: &[&str]) -> Self {
        static NUMBER: Mutex<u32> = Mutex::new(0);
        let mut number = NUMBER.lock().unwrap();
        *number += 1;
        let shell = Shell::new(program);
        let run = format!("test-{}-{number}", std::process::id());
        let dir = prepare(&shell, &run, None, &Cancel::new()).unwrap().unwrap();
        Self { shell, dir, files: tempfile::tempdir().unwrap() }
    }

    fn at(&self, call: &str) -> At {
        At { dir: self.dir.clone(), call: call.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Launches; returns how it ended and all that was newly seen.
    fn launch(
        &self,
        call: &str,
        command: &Command,
        seen: &mut Seen,
        cancel: &Cancel,
    ) -> (Result<Launched, TransportError>, Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let launched =
            run(&self.shell, command, &self.at(call), seen, cancel, &mut |stream, bytes| {
                if stream == Stream::Out { &mut out } else { &mut err }.extend_from_slice(bytes);
            });
        (launched, out, err)
    }

    fn simple(&self, call: &str, command: &Command) -> (Launched, Vec<u8>, Vec<u8>) {
        let (launched, out, err) = self.launch(call, command, &mut Seen::default(), &Cancel::new());
        (launched.unwrap(), out, err)
    }

    fn found(&self, call: &str) -> Found {
        look(&self.shell, &self.at(call), None, &Cancel::new()).unwrap()
    }

    /// A command that counts that it ran.
    fn counted(&self, rest: &str) -> Command {
        Command::shell(format!("echo ran >>'{}'; {rest}", self.path("count").display()))
    }

    fn count(&self) -> usize {
        fs::read_to_string(self.path("count")).unwrap_or_default().lines().count()
    }

    fn receipt(&self, name: &str) -> PathBuf {
        Path::new(&self.dir).join(name)
    }

    fn until(what: &str, happened: impl Fn() -> bool) {
        let started = Instant::now();
        while !happened() {
            assert!(started.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

fn every(claim: impl Fn(&Run)) {
    for program in SHELLS {
        eprintln!("with {program:?}");
        claim(&Run::new(program));
    }
}

const fn code(code: i32) -> Launched {
    Launched::Ended(Ended::Code(code))
}

#[test]
fn output_status_and_input_pass_and_a_second_launch_only_repeats_the_answer() {
    every(|run| {
        let command = run.counted("cat; echo problem >&2; exit 3").stdin("hello\0\u{1}");
        for _ in 0..2 {
            let (launched, out, err) = run.simple("c", &command);
            assert_eq!(
                (launched, out.as_slice(), err.as_slice()),
                (code(3), &b"hello\0\x01"[..], &b"problem\n"[..])
            );
        }
        assert_eq!(run.count(), 1);
        assert_eq!(run.found("c"), Found::Ended(Ended::Code(3)));
        assert_eq!(run.found("other"), Found::Never);
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&run.dir).unwrap());
        assert_eq!(mode & 0o777, 0o700);
        assert!(fs::read_to_string(run.receipt("c.cmd")).unwrap().contains("cat; echo problem"));
    });
}

#[test]
fn words_directory_environment_and_secrets_are_as_without_a_receipt() {
    every(|run| {
        let mut command = Command::list([
            "sh",
            "-c",
            "printf '%s|%s|%s|%s' \"$0\" \"$A\" \"$B\" \"$(pwd)\"",
            "a b'c",
        ]);
        command.env.push(("A".to_owned(), "x y".to_owned()));
        command.secret_env.push(("B".to_owned(), Secret::new("hunter2".to_owned())));
        command.dir = Some(run.files.path().display().to_string());
        let (launched, out, _) = run.simple("c", &command);
        let here = run.files.path().canonicalize().unwrap();
        let said = format!("a b'c|x y|hunter2|{}", here.display());
        assert_eq!((launched, String::from_utf8(out).unwrap()), (code(0), said));
        for entry in fs::read_dir(&run.dir).unwrap() {
            let text = fs::read(entry.unwrap().path()).unwrap();
            assert!(
                !String::from_utf8_lossy(&text)
                    .replace("a b'c|x y|hunter2", "")
                    .contains("hunter2")
            );
        }
        command.dir = Some("/no/such/directory".to_owned());
        let (launched, ..) = run.simple("d", &command);
        assert!(matches!(launched, Launched::Refused(exit) if !exit.success()));
        assert_eq!(run.found("d"), Found::Never);
    });
}

#[test]
fn the_command_inherits_what_it_would_without_a_receipt() {
    every(|run| {
        let line = "umask; trap; echo $#";
        let mask = run.shell.exec(&Command::shell(line), &Cancel::new(), &mut |_, _| {}).unwrap();
        let (_, out, _) = run.simple("c", &Command::shell(line));
        assert_eq!(String::from_utf8(out).unwrap(), mask.out());
    });
}

#[test]
fn megabytes_and_binary_come_whole_from_short_and_long_commands() {
    every(|run| {
        for (call, wait) in [("short", ""), ("long", "sleep 0.3;")] {
            let line = format!(
                "head -c 3000000 /dev/urandom | tee '{0}'; {wait} head -c 3000000 /dev/urandom | tee '{1}' >&2; {wait} printf '\\0end'",
                run.path("out").display(),
                run.path("err").display()
            );
            let (launched, out, err) = run.simple(call, &Command::shell(line));
            assert_eq!(launched, code(0));
            let mut expected = fs::read(run.path("out")).unwrap();
            expected.extend_from_slice(b"\0end");
            assert!(out == expected, "{} of {}", out.len(), expected.len());
            assert!(err == fs::read(run.path("err")).unwrap());
        }
    });
}

#[test]
fn output_is_seen_while_the_command_runs() {
    every(|run| {
        let go = run.path("go");
        let command = Command::shell(format!(
            "echo first; until [ -e '{}' ]; do sleep 0.05; done; echo second",
            go.display()
        ));
        let mut all = Vec::new();
        let launched = super::run(
            &run.shell,
            &command,
            &run.at("c"),
            &mut Seen::default(),
            &Cancel::new(),
            &mut |_, bytes| {
                all.extend_from_slice(bytes);
                // Only what was seen lets it go on.
                if all == b"first\n" {
                    fs::write(&go, "").unwrap();
                }
            },
        );
        assert_eq!((launched.unwrap(), all.as_slice()), (code(0), &b"first\nsecond\n"[..]));
    });
}

#[test]
fn after_a_cut_it_is_followed_further_and_ran_once() {
    every(|run| {
        let command = run.counted("echo one; sleep 1; echo two; echo err >&2; exit 7");
        run.shell.cut.store(true, Ordering::SeqCst);
        let mut seen = Seen::default();
        let (launched, first, _) = run.launch("c", &command, &mut seen, &Cancel::new());
        assert!(matches!(launched, Err(TransportError::Lost { .. })), "{launched:?}");
        assert_eq!(run.found("c"), Found::Running);

        let (launched, rest, err) = run.launch("c", &command, &mut seen, &Cancel::new());

        assert_eq!(launched.unwrap(), code(7));
        assert_eq!([first, rest].concat(), b"one\ntwo\n");
        assert_eq!(err, b"err\n");
        assert_eq!(run.count(), 1);
    });
}

#[test]
fn a_command_that_ended_while_nobody_looked_is_found() {
    every(|run| {
        let command = run.counted("sleep 0.6; echo late; exit 4");
        run.shell.cut.store(true, Ordering::SeqCst);
        let _lost = run.launch("c", &command, &mut Seen::default(), &Cancel::new());
        Run::until("its end", || run.found("c") == Found::Ended(Ended::Code(4)));
        let (launched, out, _) = run.simple("c", &command);
        assert_eq!((launched, out.as_slice(), run.count()), (code(4), &b"late\n"[..], 1));
    });
}

#[test]
fn a_reboot_is_told_from_a_kill() {
    every(|run| {
        fs::write(run.receipt("c.start"), "1 0 another-boot\n").unwrap();
        fs::write(run.receipt("c.pid"), "1 1 0 another-boot\n").unwrap();
        assert_eq!(run.found("c"), Found::Lost("the target rebooted while it ran".to_owned()));
        let (launched, ..) = run.simple("c", &run.counted("true"));
        assert!(matches!(launched, Launched::Lost(why) if why.contains("rebooted")));

        let command = run.counted("sleep 300");
        run.shell.cut.store(true, Ordering::SeqCst);
        let _lost = run.launch("k", &command, &mut Seen::default(), &Cancel::new());
        let pid = fs::read_to_string(run.receipt("k.pid")).unwrap();
        let pid: i32 = pid.split(' ').next().unwrap().parse().unwrap();
        let group = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        Run::until(
            "its death",
            || matches!(run.found("k"), Found::Lost(why) if why.contains("killed")),
        );
        assert_eq!(run.count(), 1);
    });
}

#[test]
fn a_launcher_that_died_before_the_start_is_made_void_for_good() {
    every(|run| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        // No process has this number.
        fs::write(run.receipt("c.start"), format!("99999999 5 {boot}")).unwrap();
        let (launched, ..) = run.simple("c", &run.counted("true"));
        assert_eq!((launched, run.count()), (Launched::Void, 0));
        assert_eq!(run.found("c"), Found::Void);
        assert_eq!(run.simple("c", &run.counted("true")).0, Launched::Void);
    });
}

#[test]
fn what_died_while_it_was_about_to_begin_is_not_taken_as_running_for_ever() {
    every(|run| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let lost = || "whether it began cannot be told".to_owned();
        // Its shell had made the file that says that it begins, and died, or its machine did, before a word was in it.
        fs::write(run.receipt("c.start"), format!("99999999 5 {boot}")).unwrap();
        fs::write(run.receipt("c.pid"), "").unwrap();
        // Here its launcher was in the middle of that.
        fs::write(run.receipt("d.start"), "").unwrap();
        std::thread::scope(|scope| {
            for call in ["c", "d"] {
                scope.spawn(move || assert_eq!(run.found(call), Found::Lost(lost()), "{call}"));
                scope.spawn(move || {
                    let (launched, ..) = run.simple(call, &run.counted("true"));
                    assert_eq!(launched, Launched::Lost(lost()), "{call}");
                });
            }
        });
        assert_eq!(run.count(), 0);
    });
}

#[test]
fn timeout_and_cancel_end_the_whole_group() {
    every(|run| {
        let pids = run.path("pids");
        let line =
            format!("trap '' TERM; sleep 300 & echo $! >'{0}'; wait; sleep 300", pids.display());
        let dead = || {
            let pid = fs::read_to_string(&pids).unwrap();
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        let limit = Duration::from_millis(700);
        let command = Command::shell(&line).timeout(Some(limit));
        let (launched, ..) = run.launch("t", &command, &mut Seen::default(), &Cancel::new());
        assert_eq!(launched, Err(TransportError::Timeout { after: limit }));
        assert!(dead());
        assert_eq!(
            run.found("t"),
            Found::Lost("it was ended: it took longer than allowed".to_owned())
        );

        let cancel = Cancel::new();
        let other = cancel.clone();
        fs::remove_file(&pids).unwrap();
        let wait = pids.clone();
        let thread = std::thread::spawn(move || {
            while !wait.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            other.cancel();
        });
        let (launched, ..) = run.launch("x", &Command::shell(&line), &mut Seen::default(), &cancel);
        thread.join().unwrap();
        assert_eq!(launched, Err(TransportError::Cancelled));
        assert!(dead());
    });
}

#[test]
fn after_a_second_cancel_it_is_left_running() {
    let run = Run::new(SHELLS[0]);
    let cancel = Cancel::new();
    cancel.cancel();
    cancel.cancel();
    let go = run.path("go");
    let command =
        run.counted(&format!("until [ -e '{}' ]; do sleep 0.05; done; echo done", go.display()));
    let (launched, ..) = run.launch("c", &command, &mut Seen::default(), &cancel);
    assert_eq!(launched, Err(TransportError::Cancelled));
    fs::write(&go, "").unwrap();
    let (launched, out, _) = run.simple("c", &command);
    assert_eq!((launched, out.as_slice(), run.count()), (code(0), &b"done\n"[..], 1));
}

#[test]
fn half_of_its_input_never_starts_it() {
    every(|run| {
        let command = run.counted("cat >/dev/null").stdin("0123456789");
        let mut launch = launcher(&command, &run.at("c"), "M", Seen::default()).unwrap();
        launch.stdin.truncate(4);
        let exit = run.shell.exec(&launch, &Cancel::new(), &mut |_, _| {}).unwrap();
        assert_eq!((exit.out().as_str(), run.count()), ("M short\n", 0));
        assert_eq!(run.found("c"), Found::Never);
        let (launched, ..) = run.simple("c", &command);
        assert_eq!((launched, run.count()), (code(0), 1));
        let left = fs::read_dir(&run.dir).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!left.into_iter().any(|name| name.to_string_lossy().contains(".in.")));
    });
}

#[test]
fn many_who_launch_the_same_start_it_once() {
    let run = Run::new(SHELLS[0]);
    let command = run.counted("sleep 0.2; echo out");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (launched, out, _) = run.simple("c", &command);
                assert_eq!((launched, out.as_slice()), (code(0), &b"out\n"[..]));
            });
        }
    });
    assert_eq!(run.count(), 1);
}

#[test]
fn what_a_hostile_target_says_is_bounded_and_read_strictly() {
    for (line, found) in [
        ("ended 3 whole ", Found::Ended(Ended::Code(3))),
        ("ended 99999999999 whole", Found::Ended(Ended::Code(255))),
        ("ended -7 whole", Found::Ended(Ended::Code(255))),
        ("none", Found::Never),
        ("void 0 whole", Found::Void),
    ] {
        assert_eq!(Said::read(line).found(), found, "{line}");
    }
    for line in ["", "xyz", "\u{1b}[31m 0 0 0", "killed 0 whole \u{7}why", "reboot"] {
        let Found::Lost(why) = Said::read(line).found() else { panic!("{line}") };
        assert!(why.len() < 400 && !why.contains(char::is_control), "{why}");
    }
    let long = format!("killed 0 whole {}", "x".repeat(1 << 20));
    assert!(matches!(Said::read(&long).found(), Found::Lost(why) if why.len() < 300));

    let run = Run::new(SHELLS[0]);
    let command = run.counted("true");
    for (name, text) in [
        ("a.rc", "0; rm -rf /\n"),
        ("b.rc", ""),
        ("c.pid", "$(touch x) 1 1 1\n"),
        ("d.start", "\u{0}\u{0}\n"),
    ] {
        fs::write(run.receipt(name), text).unwrap();
        let call = &name[..1];
        if !name.ends_with("start") {
            fs::write(run.receipt(&format!("{call}.start")), "1 1 x\n").unwrap();
        }
        let (launched, ..) = run.simple(call, &command);
        assert!(!matches!(launched, Launched::Ended(Ended::Code(0))), "{name} {launched:?}");
    }
    assert_eq!(run.count(), 0);
}

#[test]
fn a_directory_of_somebody_else_or_behind_a_link_is_refused() {
    let run = Run::new(SHELLS[0]);
    let base = Path::new(&run.dir).parent().unwrap();
    let link = base.join(format!("link-{}", std::process::id()));
    std::os::unix::fs::symlink("/tmp", &link).unwrap();
    let name = link.file_name().unwrap().to_string_lossy().into_owned();
    let refused = prepare(&run.shell, &name, None, &Cancel::new()).unwrap().unwrap_err();
    fs::remove_file(&link).unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("symbolic link"));
}

#[test]
fn a_directory_that_went_away_is_told() {
    every(|run| {
        fs::remove_dir_all(&run.dir).unwrap();
        assert_eq!(run.simple("c", &run.counted("true")).0, Launched::NoDirectory);
        assert_eq!(run.count(), 0);
    });
}

#[test]
fn a_command_that_we_had_ended_counts_only_if_it_came_to_a_good_end_before() {
    let found = |line: &str| Said::read(line).found();

    assert!(matches!(found("ended 0 whole it was interrupted"), Found::Ended(Ended::Code(0))));
    for code in [1, 143] {
        let line = format!("ended {code} whole it was interrupted");
        assert!(matches!(found(&line), Found::Lost(why) if why.contains("it was interrupted")));
        assert!(matches!(found(&format!("ended {code} whole ")), Found::Ended(_)));
    }
}
