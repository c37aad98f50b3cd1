//! The upgrade with either way to keep users out, and across midnight.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::server::{BACKUP, HOME, Server};

/// What a file of a tree is, by its path below `base`.
fn contents(tree: &str, base: &str) -> Vec<String> {
    tree.lines()
        .filter_map(|line| {
            let mut words = line.splitn(7, ' ');
            let (kind, digest, mode, owner) =
                (words.next()?, words.next()?, words.next()?, words.next()?);
            let path = words.nth(2)?.strip_prefix(base)?;
            Some(format!("{path}: {kind} {digest} {mode} {owner}"))
        })
        .collect()
}

#[test]
fn users_are_out_while_it_is_upgraded() {
    let Some(server) = Server::new(&[]) else { return };
    let read = |path: &str| server.read(&format!("{HOME}/{path}"));
    let before =
        server.host.tree(&["/usr/local/obs/conf", "/usr/local/obs/webapps", "/usr/local/obs/bin"]);
    let replication_file = read("conf/rpsSend.xml");
    let customised =
        ["conf/server.xml", "conf/obs.xml", "conf/obsr.opt", "webapps/ROOT/lib/common.js"];
    let kept = customised.map(read);

    let ended = server.upgrade(&[]).expect(0);

    server.is_upgraded();
    server.users_went_out_and_in_once();
    server.the_password_is_nowhere();
    assert_eq!(ended.last("run_ended")["status"], "done");

    // The replication was off around everything that changed something.
    let audit = server.audit();
    let switched: Vec<(usize, &str)> = audit
        .iter()
        .enumerate()
        .filter(|(_, line)| line.kind == "REPLICATION")
        .map(|(at, line)| (at, line.name.as_str()))
        .collect();
    assert_eq!(
        switched.iter().map(|(_, state)| *state).collect::<Vec<_>>(),
        ["on", "off", "off", "on"]
    );
    for (at, line) in audit.iter().enumerate() {
        if matches!(line.kind.as_str(), "CHANGE" | "INDEX") {
            assert!(at > switched[1].0 && at < switched[3].0, "{line:?}");
        }
    }

    // The copy is what it was made from; the logs and what grows with them, as they were at the stop.
    let trees = ["conf", "webapps", "bin"].map(|dir| format!("{BACKUP}/{dir}"));
    let copy = server.host.tree(&[&trees[0], &trees[1], &trees[2]]);
    let differing = |line: &String| !line.starts_with("/conf/rpsSend.xml");
    let (before, copy) = (contents(&before, HOME), contents(&copy, BACKUP));
    assert!(before.len() > 20);
    assert!(
        before.iter().filter(|line| differing(line)).eq(copy.iter().filter(|line| differing(line)))
    );
    let copied = server.read(&format!("{BACKUP}/conf/rpsSend.xml"));
    assert_eq!(copied, replication_file.replace("enable=\"Y\"", "enable=\"N\""));
    assert_eq!(server.read(&format!("{BACKUP}/logs/catalina.out")), read("logs/catalina.out.2"));
    let today =
        server.host.ok(&format!("basename $(ls {HOME}/system/SystemLog/*.log | tail -n 1)"));
    let copied = server.read(&format!("{BACKUP}/system/SystemLog/{today}"));
    assert!(copied.trim_end().ends_with("Backup server stopped"), "{copied}");
    assert!(read(&format!("system/SystemLog/{today}")).starts_with(&copied));

    // What the site had made its own stayed; what is new came.
    assert_eq!(customised.map(read), kept);
    assert_eq!(read("conf/rpsSend.xml"), replication_file);
    assert!(read("conf/afc.opt").contains("default options"));
    assert!(read("webapps/obs/lib/index-status.js").contains("new in this version"));
    assert!(read("webapps/obs/liveUpdate/index.xml").contains("include-users=\"*\""));
}

#[test]
fn the_interface_is_down_while_it_is_upgraded() {
    let Some(server) = Server::new(&["index_ms_per_user=60"]) else { return };
    let users = SocketAddr::new(server.host.service_address().parse().unwrap(), 80);
    let reachable = || TcpStream::connect_timeout(&users, Duration::from_millis(300)).is_ok();
    assert!(reachable());

    let mut run = server.begin(&["--set", "lockout=interface", "--set", "interface=svc0"]);
    run.wait("the index begins", |_| server.count("INDEX", "user") > 0);
    assert!(!reachable(), "users reach the server while it is indexed");
    assert_eq!(server.host.ok("echo here"), "here");
    assert_eq!(server.count("INDEX", "end"), 0, "too fast for this test");
    run.end().expect(0);

    assert!(reachable());
    server.is_upgraded();
    assert!(server.audit().iter().all(|line| line.kind != "CHANGE"), "a user's status was changed");
}

#[test]
fn the_end_of_the_index_is_found_in_the_log_of_the_next_day() {
    let Some(server) = Server::new(&["index_ms_per_user=60"]) else { return };
    let mut run = server.begin(&[]);
    run.until("the point of no return", |event| event["what"]["event"] == "point_of_no_return");
    // Two seconds to midnight, by the server's own clock.
    let now = server.host.ok("date +%s; date -d tomorrow\\ 0:00 +%s");
    let (now, midnight) = now.split_once('\n').unwrap();
    let offset = midnight.parse::<i64>().unwrap() - now.parse::<i64>().unwrap() - 2;
    server.set(&[&format!("clock_offset_s={offset}")]);

    run.end().expect(0);

    server.is_upgraded();
    let day = |day: &str| {
        let name = server.host.ok(&format!("date -d {day} +%Y-%m-%d"));
        server.read(&format!("{HOME}/system/SystemLog/{name}.log"))
    };
    assert!(day("today").contains("[Indexing]") && !day("today").contains("all users finished"));
    assert!(day("tomorrow").contains("[Indexing] all users finished"));
}
