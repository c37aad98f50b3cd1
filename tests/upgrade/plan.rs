//! A plan changes nothing on the server that it is made for.

use super::server::{HOME, RUNBOOK, Server};

#[test]
fn a_plan_only_reads() {
    let Some(server) = Server::new(&[]) else { return };
    // What the server itself writes because it is asked.
    let own = ["logs", "obs.audit.log", "system/SystemLog"];
    let tree = || {
        let tree = server.host.tree(&[
            "/usr/local",
            "/etc",
            "/root",
            "/home",
            "/opt",
            "/srv",
            "/var/backups",
            "/var/tmp",
            "/var/lib",
            "/tmp",
        ]);
        let lines = tree.lines().filter(|line| {
            !own.iter().any(|own| {
                line.contains(&format!("/usr/local/{own}"))
                    || line.contains(&format!("{HOME}/{own}"))
            })
        });
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (files, audit) = (tree(), server.audit().len());

    for lockout in ["lockout=users", "lockout=interface"] {
        let ended = server
            .program(&[
                "plan",
                RUNBOOK,
                "--on",
                server.host.name(),
                "--json",
                "--set",
                lockout,
                "--set",
                "interface=svc0",
            ])
            .expect(0);
        assert_eq!(ended.last("run_ended")["status"], "planned");
        assert!(ended.events().iter().any(|event| event["what"]["event"] == "call_planned"));
    }

    let now = tree();
    assert!(files.len() > 500);
    let changed: Vec<_> = now.iter().filter(|line| !files.contains(line)).collect();
    assert!(changed.is_empty() && now.len() == files.len(), "{changed:#?}");
    let audit = server.audit().split_off(audit);
    assert!(audit.len() > 5);
    assert!(audit.iter().all(|line| line.kind == "READ"), "{audit:#?}");
    server.nothing_of_ours_is_left();
}
