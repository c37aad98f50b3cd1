//! The parameter `deadman`: the controller dies and the link is cut while users are locked out; they come back by
//! themselves, and the run knows.

use super::server::{BY_CONSOLE, Server};

#[test]
fn users_come_back_by_themselves_and_the_resumed_run_knows() {
    let Some(server) = Server::new(&["api_latency_ms=20"]) else { return };
    let mut run = server.begin(&[&BY_CONSOLE[..], &["--set", "deadman=8s"]].concat());
    run.wait("some users are out", |_| (10..36).contains(&server.changes("SUSPENDED").len()));
    run.kill();
    let holding = server.host.ok("grep -rlF 'p&ss w' /var/tmp /etc/systemd || :");
    assert!(holding.ends_with("/files/password") && holding.lines().count() == 1, "{holding}");
    let debts = server.program(&["debts"]).expect(4);
    assert!(debts.out.contains("dead-man switch for"), "{}", debts.tail());
    server.host.cut();

    server.wait("users come back", |server| server.states() == server.users);

    server.host.heal();
    let ended = server.resume().expect(7);
    assert_eq!(ended.last("deadman")["state"]["deadman"], "fired");
    server.users_are_as_before();
    assert_eq!(server.debts(), ["replication on"]);
    let shown = server.program(&["show", "last"]).expect(0);
    assert!(shown.out.contains("dead-man switch fired at"), "{}", shown.tail());
    assert_eq!(server.host.ok("grep -rlF 'p&ss w' /var/tmp /etc/systemd || :"), "");

    // The operator says: again.
    let ended = server.resume().expect(0);
    assert_eq!(ended.last("deadman")["state"]["deadman"], "disarmed");
    server.is_upgraded_after_a_cut();
    server.the_password_is_nowhere();
    server.host.reset();
}
