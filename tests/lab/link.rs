//! Real hosts whose link is cut and that reboot while something is under way; and the journal of a real systemd.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::lab::{Host, Lab, config_toml};
use crate::support::site::{Ended, Site};

/// The write of the journal that says what became of the first change: the run, the intent, this.
const BEFORE_OUTCOME: &str = "3 before";
/// What every run of these tests is to end within.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn site(host: &Host, book: &str) -> Site {
    let site = Site::new().with_usual_locks();
    let config = config_toml(&[host]) + "[defaults]\nsilence = \"4s\"\nreconnect = \"90s\"\n";
    site.write("upgrade-host.toml", &config);
    site.write("book.rhai", &format!("//! A test\n{book}"));
    site
}

pub(super) fn wait(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(super) fn end(mut child: Child) -> Ended {
    wait("the run ends", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    let out = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    Ended { code: output.status.code(), out: String::from_utf8_lossy(&out).into_owned() }
}

/// A unit that counts the boots of a host.
fn count_boots(host: &Host) {
    host.ok("rm -f /srv/boots
        cat >/etc/systemd/system/count-boots.service <<'END'
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo boot >>/srv/boots'
[Install]
WantedBy=multi-user.target
END
        systemctl daemon-reload; systemctl -q enable count-boots");
}

fn boots(host: &Host) -> usize {
    std::fs::read_to_string(host.root().join("srv/boots")).unwrap_or_default().lines().count()
}

/// Whether the runbook has made its mark and goes on to wait.
pub(super) fn begun(host: &Host) -> bool {
    host.root().join("srv/begun").exists()
}

#[test]
fn a_reboot_is_planned_done_once_and_waited_for() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    count_boots(&host);
    let site = site(
        &host,
        r#"
write_file("/srv/before", "1");
reboot(#{ timeout: "90s", reason: "a new kernel" });
write_file("/srv/after", output(["cat", "/proc/sys/kernel/random/boot_id"]));
"#,
    );
    let boot = host.ok("cat /proc/sys/kernel/random/boot_id");

    let planned = site.program(&["plan", "book.rhai", "--on", host.name()]);
    assert_eq!(planned.code, Some(0), "{}", planned.out);
    assert!(planned.out.contains("reboot by `systemctl reboot`"), "{}", planned.out);
    assert_eq!(boots(&host), 0);

    let ended = site.program(&["run", "book.rhai", "--on", host.name(), "--yes"]);

    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let after = host.ok("cat /srv/after");
    assert_eq!(after.trim(), host.ok("cat /proc/sys/kernel/random/boot_id").trim());
    assert_ne!(after.trim(), boot.trim());
    wait("the boot is counted", || boots(&host) > 0);
    assert_eq!(boots(&host), 1);
    // It was asked for, so it is no news.
    assert!(!ended.out.contains("was rebooted meanwhile"), "{}", ended.out);
}

#[test]
fn a_run_killed_while_the_target_reboots_does_not_reboot_it_again() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    count_boots(&host);
    let site = site(&host, r#"reboot(#{ timeout: "90s" }); write_file("/srv/gone_on", "1");"#);
    // Just before what became of it is written: the host has come back.
    let dying = site.dying(BEFORE_OUTCOME, &["run", "book.rhai", "--on", host.name(), "--yes"]);
    assert_eq!(dying.code, None, "{}", dying.out);
    wait("the boot is counted", || boots(&host) == 1);

    let ended = site.program(&["resume", "last", "--yes"]);

    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert_eq!((host.ok("cat /srv/gone_on").trim(), boots(&host)), ("1", 1));
}

#[test]
fn a_reboot_that_nobody_asked_for_is_told_and_the_run_goes_on() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    let book = r#"
log_mark("/srv/log");
write_file("/srv/begun", "1");
wait_log("^go on$", #{ file: "/srv/log", timeout: "100s" });
write_file("/srv/gone_on", "1");
"#;
    host.ok("rm -f /srv/gone_on /srv/begun; echo begin >/srv/log");
    let site = site(&host, book);
    let run = site.start(&["run", "book.rhai", "--on", host.name(), "--yes"]);
    wait("the run waits", || begun(&host));

    host.kill();
    host.boot();
    host.ok("echo 'go on' >>/srv/log");

    let ended = end(run);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.contains("was rebooted meanwhile"), "{}", ended.out);
    assert_eq!(host.ok("cat /srv/gone_on").trim(), "1");
}

#[test]
fn a_copy_that_is_cut_off_goes_on_and_is_never_torn() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    host.ok(
        "rm -rf /srv/from /srv/to; mkdir -p /srv/from /srv/to
        head -c 40000000 /dev/urandom >/srv/from/big; echo small >/srv/from/small; echo old >/srv/to/big",
    );
    let book = r#"rsync("/srv/from/", "/srv/to/", #{ bandwidth: "2MiB", delete: true });"#;
    let site = site(&host, book);
    let old = || {
        std::fs::read_to_string(host.root().join("srv/to/big")).is_ok_and(|text| text == "old\n")
    };
    let copies = || {
        let processes = host.processes();
        processes.iter().filter(|line| line.contains("--bwlimit=2048")).count()
    };
    let run = site.start(&["run", "book.rhai", "--on", host.name(), "--yes"]);
    wait("it copies", || copies() > 0);
    let one = {
        std::thread::sleep(Duration::from_secs(2));
        copies()
    };

    host.cut();
    std::thread::sleep(Duration::from_secs(8));
    assert!(old());
    host.heal();
    let mut most = 0;
    wait("the copy is whole", || {
        most = most.max(copies());
        !old()
    });

    let ended = end(run);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.contains("finding out what became of it"), "{}", ended.out);
    host.ok("diff -r /srv/from /srv/to");
    assert_eq!(host.ok("ls -A /srv/to"), host.ok("ls -A /srv/from"));
    // Its own shell leads each copy, and each copy is three processes; two copies at once would be twice as many.
    assert!(most <= one, "{most} processes at once, {one} for one copy");
    host.reset();
}

#[test]
fn a_wait_that_is_cut_off_sees_what_was_written_in_the_dark() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    host.ok("rm -f /srv/log* /srv/begun; echo begin >/srv/log");
    let site = site(
        &host,
        r#"
log_mark("/srv/log");
write_file("/srv/begun", "1");
let seen = wait_log("^ready in ([0-9]+)", #{ file: "/srv/log", timeout: "100s" });
write_file("/srv/seen", seen.captures["1"]);
"#,
    );
    let run = site.start(&["run", "book.rhai", "--on", host.name(), "--yes"]);
    wait("the run waits", || begun(&host));

    host.cut();
    let log = host.root().join("srv/log");
    std::fs::write(&log, "begin\nready in 42\n").unwrap();
    std::thread::sleep(Duration::from_secs(7));
    std::fs::rename(&log, host.root().join("srv/log.1")).unwrap();
    std::fs::write(&log, "a new file\n").unwrap();
    host.heal();

    let ended = end(run);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert_eq!(host.ok("cat /srv/seen").trim(), "42");
    host.reset();
}

#[test]
fn the_journal_of_a_unit_is_a_log() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    host.ok(
        r"cat >/etc/systemd/system/demo.service <<'END'
[Service]
ExecStart=/bin/sh -c 'echo starting; sleep 1; printf \'raw \\001\\377 bytes\\n\'; echo \'users done (3 of 3)\'; echo ready to serve 42; exec sleep 1000'
END
        systemctl daemon-reload; systemctl start demo; sleep 2; logger -t other 'ready to serve 1'",
    );
    let site = site(
        &host,
        r#"
let mark = log_mark("journal:demo.service");
service_restart("demo");
let first = wait_log("ready to serve ([0-9]+)", #{ file: "journal:demo.service", timeout: "60s", since: mark });
let raw = wait_log("^raw (?-u:.)* bytes$", #{ file: "journal:demo.service", timeout: "30s", since: mark });
service_stop("demo");
service_start("demo");
let second = wait_log("ready to serve ([0-9]+)", #{
  file: "journal:demo.service", timeout: "60s", fail: "never", progress: "\\(([0-9]+) of ([0-9]+)\\)",
});
let failed = attempt(|| wait_log("cannot come", #{ file: "journal:demo.service", timeout: "2s" }));
write_file("/srv/seen", `${first.captures["1"]} ${second.captures["1"]} ${first.lines_seen} ${failed.error.kind}`);
"#,
    );

    let ended = site.program(&["run", "book.rhai", "--on", host.name(), "--yes"]);

    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let seen = host.ok("cat /srv/seen");
    let words: Vec<&str> = seen.trim().split(' ').collect();
    assert_eq!((words[0], words[1], words[3]), ("42", "42", "timeout"), "{seen}");
    // What it serves must not be found by the host's next test.
    host.ok("systemctl stop demo; rm /etc/systemd/system/demo.service; systemctl daemon-reload");
}

#[test]
fn a_wait_on_the_journal_survives_a_cut_and_a_rotation() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    let site = site(
        &host,
        r#"
log_mark("journal:lab-says.service");
write_file("/srv/begun", "1");
let seen = wait_log("lab says ([0-9]+)", #{ file: "journal:lab-says.service", timeout: "100s" });
write_file("/srv/seen", seen.captures["1"]);
"#,
    );
    host.ok("rm -f /srv/begun; systemd-run -q --wait --unit=lab-says echo nothing yet");
    let run = site.start(&["run", "book.rhai", "--on", host.name(), "--yes"]);
    wait("the run waits", || begun(&host));
    host.ok("systemd-run -q --on-active=2 --timer-property=AccuracySec=100ms --unit=lab-says sh -c 'echo lab says 7; journalctl --rotate'");

    host.cut();
    std::thread::sleep(Duration::from_secs(7));
    host.heal();

    let ended = end(run);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert_eq!(host.ok("cat /srv/seen").trim(), "7");
    host.reset();
}
