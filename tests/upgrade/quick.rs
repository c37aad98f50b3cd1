//! The everyday runbook: new files and a restart, without a lock-out.

use super::server::{HOME, Server};

#[test]
fn a_quick_restart_locks_nobody_out() {
    let Some(server) = Server::new(&[]) else { return };
    let arguments =
        ["run", "scripts/ahsay_quick.rhai", "--on", server.host.name(), "--json", "--yes"];

    let ended = server.program(&arguments).expect(0);

    server.runs("5.5.3.0");
    server.users_are_as_before();
    server.replication_is(true);
    server.nothing_of_ours_is_left();
    assert!(server.audit().iter().all(|line| line.kind != "CHANGE"), "a user's status was changed");
    assert_eq!(server.count("START", "ready"), 2);
    assert_eq!(server.read(&format!("{HOME}/conf/server.xml")).matches("port=\"80\"").count(), 1);
    let down = ended.last("run_ended")["downtime_ms"].as_u64().unwrap();
    assert!((1..10_000).contains(&down), "{down}");
    assert_eq!(server.debts(), [""; 0]);
}
