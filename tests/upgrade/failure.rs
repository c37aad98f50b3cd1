//! A failure in each step before the first start of the new version: everything is rolled back, but the replica stays
//! as it is and is owed.

use std::fs;

use super::server::{BACKUP, BY_CONSOLE, PACKAGE, Server};

const REPLICATION_OWED: [&str; 1] = ["replication on"];
const NOTHING: [&str; 0] = [];

#[test]
fn in_steps_1_to_3_users_notice_nothing() {
    let Some(mut server) = Server::new(&[]) else { return };

    server.upgrade(&["--set", "window_start=2020-01-01 22:00"]).expect(1).expect_failure("window");
    server.is_as_it_was();
    assert_eq!(server.debts(), NOTHING);

    server
        .upgrade(&[
            "--set",
            "replication_driver=command",
            "--set",
            "replication_off=echo no >&2; exit 3",
        ])
        .expect(1)
        .expect_failure("ended with status 3");
    server
        .upgrade(&["--set", "replication_restart=false"])
        .expect(1)
        .expect_failure("does not heed");
    server.is_as_it_was();
    server.replication_is(true);
    assert_eq!(server.debts(), NOTHING);
    assert_eq!(server.count("START", "ready"), 1, "it was restarted for nothing");

    server.again(&[]);
    server.host.ok(&format!("mkdir -p {BACKUP} && mount -t tmpfs -o size=12k tmpfs {BACKUP}"));
    let ended = server.upgrade(&[]).expect(4).expect_failure("No space left on device");
    assert_eq!(ended.last("run_ended")["failure"]["kind"], "conflict");
    server.is_as_it_was();
    server.replication_is(false);
    assert_eq!(server.debts(), REPLICATION_OWED);
    assert!(server.changes("SUSPENDED").is_empty());
}

#[test]
fn in_step_4_users_that_are_out_come_in_again() {
    let Some(mut server) = Server::new(&["deny_status_for=jonas.ito"]) else { return };

    server.upgrade(&BY_CONSOLE).expect(4).expect_failure("jonas.ito");
    server.is_as_it_was();
    server.nobody_was_changed_twice();
    server.replication_is(false);
    assert_eq!(server.debts(), REPLICATION_OWED);

    // A server that is out of its mind for so long that not even the undo gets through: users are owed.
    server.again(&["api_latency_ms=20"]);
    let mut run = server.begin(&BY_CONSOLE);
    run.wait("half of the users are out", |_| server.changes("SUSPENDED").len() > 17);
    server.set(&["http_503_every=1"]);
    run.end().expect(4).expect_failure("503");
    let debts = server.debts();
    assert!(
        debts.len() == 2 && debts.iter().any(|debt| debt.contains("users enabled")),
        "{debts:?}"
    );
    server.set(&["http_503_every=0"]);
    server.roll_back().expect(4);
    server.is_as_it_was();
    server.nobody_was_changed_twice();
    assert_eq!(server.debts(), REPLICATION_OWED);
}

#[test]
fn in_steps_5_to_7_the_old_version_runs_again() {
    let Some(mut server) = Server::new(&["stop_hangs=true", "stop_wait_s=600"]) else { return };

    server
        .upgrade(&[&BY_CONSOLE[..], &["--set", "stop_timeout=2s"]].concat())
        .expect(4)
        .expect_failure("timed out after 2s");
    server.set(&["stop_hangs=false"]);
    server.is_as_it_was();
    server.users_went_out_and_in_once();
    assert_eq!(server.debts(), REPLICATION_OWED);
    assert_eq!(server.count("START", "ready"), 1);

    server.again(&["api_latency_ms=5"]);
    server.host.ok(&format!("mkdir -p {BACKUP} && mount -t tmpfs -o size=2m tmpfs {BACKUP}"));
    let mut run = server.begin(&BY_CONSOLE);
    run.until_step("4");
    // Full: what comes with the second copy finds no place.
    server.host.ok(&format!("head -c 3145728 /dev/zero >{BACKUP}/filler || :"));
    run.end().expect(4).expect_failure("No space left on device");
    server.is_as_it_was();
    server.users_went_out_and_in_once();
    server.replication_is(false);
    assert_eq!(server.debts(), REPLICATION_OWED);

    // Slow, so that the file is damaged in time.
    server.again(&["api_latency_ms=50"]);
    let home = || {
        server.host.tree(&[
            "/usr/local/obs/conf",
            "/usr/local/obs/webapps",
            "/usr/local/obs/bin",
            "/usr/local/obs/version.txt",
            "/usr/local/obs/util",
        ])
    };
    let before = home();
    let mut run = server.begin(&BY_CONSOLE);
    run.until_step("4");
    let package = fs::read(server.on_host(PACKAGE)).unwrap();
    fs::write(server.on_host(PACKAGE), &package[..package.len() - 100]).unwrap();
    run.end().expect(4).expect_failure("damaged");
    let unchanged = |line: &&str| !line.contains("rpsSend.xml") && !line.starts_with('d');
    assert!(before.lines().filter(unchanged).eq(home().lines().filter(unchanged)));
    server.is_as_it_was();

    // Here the interface: it is up again.
    server.again(&[]);
    let mut run = server.begin(&["--set", "lockout=interface", "--set", "interface=svc0"]);
    run.until_step("4");
    fs::write(server.on_host(PACKAGE), "rubbish").unwrap();
    run.end().expect(4).expect_failure("no archive");
    server.is_as_it_was();
    assert_eq!(server.debts(), REPLICATION_OWED);
}

#[test]
fn a_package_that_is_no_archive_is_found_out_before_anything_happens() {
    let Some(server) = Server::new(&[]) else { return };
    server.host.ok(&format!("echo rubbish >{PACKAGE}"));

    server.upgrade(&[]).expect(1).expect_failure("no archive");

    server.is_as_it_was();
    assert!(server.audit().iter().all(|line| line.kind != "CHANGE"));
    assert_eq!(server.count("START", "ready"), 1);
    assert_eq!(server.debts(), NOTHING);
}
