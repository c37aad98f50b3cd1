//! The program is killed, or the link to the server is cut: the run goes on, and nothing is done twice.

use super::server::{BACKUP, BY_CONSOLE, Server};

#[test]
fn killed_at_any_moment_it_is_resumed() {
    let Some(mut server) = Server::new(&["api_latency_ms=20"]) else { return };

    let moment = |server: &Server, what: &str, happened: &dyn Fn() -> bool| {
        let mut run = server.begin(&BY_CONSOLE);
        run.wait(what, |_| happened());
        run.kill();
        assert!(happened());
        server.resume().expect(0);
        server.is_upgraded();
        server.users_went_out_and_in_once();
        assert_eq!(server.count("START", "ready"), 2);
        assert_eq!(server.count("STOP", "clean"), 1);
    };
    moment(&server, "some users are out", &|| {
        (10..36).contains(&server.changes("SUSPENDED").len())
    });

    server.again(&["stop_delay_ms=1000"]);
    moment(&server, "the server stops", &|| {
        server.count("CONTROL", "SHUTDOWN") == 1 && server.count("STOP", "clean") <= 1
    });

    server.again(&["index_ms_per_user=50"]);
    moment(&server, "some users are indexed", &|| server.count("INDEX", "user") >= 5);
}

#[test]
fn a_cut_link_is_sat_out() {
    let Some(server) = Server::new(&["index_ms_per_user=60"]) else { return };
    let mut run = server.begin(&BY_CONSOLE);
    run.wait("some users are indexed", |_| server.count("INDEX", "user") >= 5);

    server.host.cut();
    run.wait("the index ends in the dark", |_| server.count("INDEX", "end") == 1);
    std::thread::sleep(std::time::Duration::from_secs(18));
    assert!(run.child.try_wait().unwrap().is_none());
    server.host.heal();

    run.end().expect(0);
    server.is_upgraded_after_a_cut();
    server.users_went_out_and_in_once();
    assert_eq!(server.count("START", "ready"), 2);
    // The half of the cut connection that sshd still holds must not be found by the host's next test.
    server.host.reset();
}

#[test]
fn a_server_that_a_reboot_started_is_stopped_before_it_is_upgraded() {
    let Some(server) = Server::new(&[]) else { return };
    server.host.ok("for n in 2 3 4 5; do ln -sf ../init.d/obsr /etc/rc$n.d/S01obsr; done");
    let mut run = server.begin(&BY_CONSOLE);
    let second = server.on_host(&format!("{BACKUP}/logs"));
    run.wait("the second copy is taken", |_| second.exists());
    run.kill();
    assert_eq!(server.count("START", "ready"), 1);

    server.host.kill();
    server.host.boot();
    server.wait("the boot starts it", |server| server.count("START", "ready") == 2);
    let ended = server.resume().expect(0);

    assert!(ended.out.contains("so it is done again: stop service obsr"), "{}", ended.tail());
    assert_eq!(server.count("STOP", "clean"), 2, "not stopped again: {}", ended.tail());
    assert_eq!(server.count("START", "ready"), 3);
    server.is_upgraded();
    server.users_went_out_and_in_once();
    server.host.ok("rm /etc/rc?.d/S01obsr");
}
