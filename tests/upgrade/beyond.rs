//! Beyond the point of no return nothing is undone on its own: the run pauses, and goes on or back as it is told.

use std::fs;

use super::server::{BY_CONSOLE, HOME, Server};

#[test]
fn a_new_version_that_does_not_start_is_repaired_or_taken_back() {
    let Some(mut server) = Server::new(&["start_fails=true"]) else { return };
    let settings = [&BY_CONSOLE[..], &["--set", "stop_timeout=2s"]].concat();
    let broken = |server: &Server| {
        let ended = server.upgrade(&settings).expect(3).expect_failure("is not up");
        let next = ended.last("run_ended")["next"].clone();
        assert!(next.as_str().is_some_and(|next| next.contains("resume")), "{next}");
        assert_eq!(server.debts().len(), 3, "{:?}", server.debts());
        assert!(server.get("/alive.txt").is_none());
    };

    broken(&server);
    server.set(&["start_fails=false"]);
    server.resume().expect(0);
    server.is_upgraded();
    server.users_went_out_and_in_once();

    server.again(&["start_fails=true"]);
    let files = [
        "/usr/local/obs/conf",
        "/usr/local/obs/webapps",
        "/usr/local/obs/bin",
        "/usr/local/obs/util",
        "/usr/local/obs/version.txt",
    ];
    let before = server.host.tree(&files);
    broken(&server);
    server.roll_back().expect(4);
    server.is_as_it_was();
    server.users_went_out_and_in_once();
    server.replication_is(false);
    assert_eq!(server.debts(), ["replication on"]);
    let unchanged = |line: &&str| !line.contains("rpsSend.xml") && !line.starts_with('d');
    let after = server.host.tree(&files);
    let changed: Vec<_> =
        after.lines().filter(unchanged).filter(|line| !before.contains(line)).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

#[test]
fn an_index_that_fails_is_waited_for_again() {
    let Some(server) = Server::new(&["index_fail_at=5"]) else { return };

    server.upgrade(&BY_CONSOLE).expect(3).expect_failure("[Indexing] failed");
    assert!(server.states().values().all(|status| status == "SUSPENDED"));
    assert_eq!(server.debts().len(), 2);

    // The operator repairs the user's files and starts the server again.
    server.set(&["index_fail_at=0"]);
    server.host.ok("/etc/init.d/obsr stop; /etc/init.d/obsr start; true");
    server.resume().expect(0);

    server.is_upgraded();
    server.users_went_out_and_in_once();
}

#[test]
fn in_steps_8_to_10_it_goes_on_where_it_stopped() {
    let Some(server) = Server::new(&["index_ms_per_user=30"]) else {
        return;
    };
    let file = server.on_host(&format!("{HOME}/webapps/obs/liveUpdate/index.xml"));
    let clients = fs::read_to_string(&file).unwrap();
    fs::write(&file, "<AutoUpdate/>").unwrap();

    let mut run = server.begin(&[&BY_CONSOLE[..], &["--set", "replication_timeout=1s"]].concat());
    run.wait("the index begins", |_| server.count("INDEX", "user") > 0);
    server.set(&["deny_status_for=ops@example.com", "sync_delay_ms=100000"]);
    run.end().expect(3).expect_failure("ops@example.com");
    let out = |server: &Server| {
        let states = server.states();
        states.iter().filter(|(user, status)| server.users[user] != **status).count()
    };
    assert_eq!(out(&server), 1, "one user who cannot be enabled keeps the others out");
    assert_eq!(server.debts().len(), 2);

    server.set(&["deny_status_for="]);
    server.resume().expect(3).expect_failure("replication");
    assert_eq!(out(&server), 0);

    server.set(&["sync_delay_ms=200"]);
    server.resume().expect(3).expect_failure("<patch>");
    server.replication_is(true);

    fs::write(&file, clients).unwrap();
    server.resume().expect(0);
    server.is_upgraded();
    server.users_went_out_and_in_once();
}

#[test]
fn without_an_operator_the_checkout_waits_for_one() {
    let Some(server) = Server::new(&[]) else { return };
    let arguments = ["run", super::server::RUNBOOK, "--on", server.host.name(), "--json"];

    server.program(&[&arguments[..], &BY_CONSOLE[..]].concat()).expect(3);

    server.runs("5.5.3.0");
    server.users_are_as_before();
    server.replication_is(false);
    assert_eq!(server.debts(), ["replication on"]);
    server.resume().expect(0);
    server.is_upgraded();
}
