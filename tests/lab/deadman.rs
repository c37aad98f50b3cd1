//! Dead-man switches on real hosts: the controller dies, the link is cut, the host reboots; what was switched off comes
//! back by itself, and the run knows.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::cli::{Cli, Said};
use crate::support::lab::{Host, Lab, config_toml};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A runbook's part that lasts until a test lets it go on.
const PAUSE: &str = "sh(\"touch /srv/held; while [ ! -e /srv/go ]; do sleep 0.1; done\", #{ idempotent: true, undo: \"true\" });";

struct Desk {
    cli: Cli,
    host: Host,
}

impl Desk {
    fn new() -> Option<Self> {
        let lab = Lab::shared()?;
        let [host] = lab.hosts();
        let cli = Cli::new();
        cli.write("upgrade-host.toml", &config_toml(&[&host]));
        host.ok("rm -f /srv/go /srv/held /srv/off");
        Some(Self { cli, host })
    }

    /// As somebody who is not root, and who has no systemd to arm anything with.
    fn as_deploy() -> Option<Self> {
        let desk = Self::new()?;
        let config = config_toml(&[&desk.host]).replace("\"root\"", "\"deploy\"");
        desk.cli.write("upgrade-host.toml", &config);
        // With each boot it is root's alone again.
        desk.host.ok("chmod 1777 /srv");
        Some(desk)
    }

    fn arguments<'a>(&'a self, code: &'a str) -> [&'a str; 5] {
        ["-e", code, "--on", self.host.name(), "--json"]
    }

    #[track_caller]
    fn wait(what: &str, mut happened: impl FnMut() -> bool) {
        let since = Instant::now();
        while !happened() {
            assert!(since.elapsed() < PATIENCE, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn there(&self, path: &str) -> bool {
        self.host.root().join(path.trim_start_matches('/')).exists()
    }

    #[track_caller]
    fn resume(&self, code: i32) -> Said {
        let said = self.cli.run(&["resume", "last", "--json"]);
        assert_eq!(said.code, Some(code), "{said:?}");
        said
    }

    /// The states of switches that a run told of, in their order.
    fn states(said: &Said) -> Vec<String> {
        let events = said.events();
        let states = events.iter().filter(|event| event["what"]["event"] == "deadman");
        states.map(|event| event["what"]["state"]["deadman"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        let left = self.host.ok(
            "ls -d /var/tmp/upgrade-host-* /run/upgrade-host /etc/systemd/system/upgrade-host-* \
             /etc/systemd/system/*.wants/upgrade-host-* 2>/dev/null; \
             systemctl list-units --all --plain --no-legend 'upgrade-host-*'; \
             ps ax -o args | grep '[d]eadman/'; atq; :",
        );
        assert_eq!(left, "");
    }

    fn reachable(&self) -> bool {
        let users = SocketAddr::new(self.host.service_address().parse().unwrap(), 22);
        TcpStream::connect_timeout(&users, Duration::from_millis(300)).is_ok()
    }
}

#[test]
fn an_interface_comes_back_though_the_controller_is_dead_and_the_link_is_cut() {
    let Some(desk) = Desk::new() else { return };
    let code = format!("ifdown(\"svc0\", #{{ deadman: \"8s\" }}); {PAUSE} ifup(\"svc0\");");
    let mut run = desk.cli.start(&desk.arguments(&code));
    Desk::wait("it is held", || desk.there("/srv/held"));
    assert!(!desk.reachable());
    // As long as we are there, the deadline moves on.
    std::thread::sleep(Duration::from_secs(12));
    assert!(!desk.reachable(), "it fired though the run lives");

    run.kill().unwrap();
    run.wait().unwrap();
    desk.host.cut();
    Desk::wait("it comes back by itself", || desk.reachable());
    desk.host.heal();

    let said = desk.resume(7);
    assert!(said.out.contains("dead-man switch fired at"), "{said:?}");
    assert_eq!(Desk::states(&said), ["fired"]);
    assert_eq!(desk.cli.run(&["debts", "--json"]).out.trim(), "[]");
    let shown = desk.cli.run(&["show", "last"]);
    assert!(shown.out.contains("dead-man switch fired at"), "{shown:?}");

    // The operator says: again.
    desk.host.ok("touch /srv/go");
    let said = desk.resume(0);
    assert_eq!(Desk::states(&said), ["armed", "disarmed"]);
    assert!(desk.reachable());
    desk.nothing_is_left();
    desk.host.reset();
}

#[test]
fn a_service_is_started_by_its_switch_and_a_rollback_has_nothing_more_to_do() {
    let Some(desk) = Desk::new() else { return };
    desk.host.ok("printf '[Service]\\nExecStart=/bin/sleep 987653\\n' >/etc/systemd/system/toy.service; systemctl daemon-reload; systemctl start toy");
    let active = || desk.host.sh("systemctl is-active --quiet toy").status.success();
    let code = format!("service_stop(\"toy\", #{{ deadman: \"5s\" }}); {PAUSE}");
    let mut run = desk.cli.start(&desk.arguments(&code));
    Desk::wait("it is held", || desk.there("/srv/held"));
    assert!(!active());

    run.kill().unwrap();
    run.wait().unwrap();
    Desk::wait("it runs again", active);
    let said = desk.cli.run(&["rollback", "last", "--json"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(Desk::states(&said), ["fired"]);
    assert!(active());
    assert_eq!(desk.cli.run(&["debts", "--json"]).out.trim(), "[]");
    desk.host.ok("touch /srv/go; systemctl stop toy; rm /etc/systemd/system/toy.service");
    desk.nothing_is_left();
}

#[test]
fn a_reboot_of_the_target_does_not_disarm_it() {
    let Some(desk) = Desk::new() else { return };
    let code =
        format!("sh(\"touch /srv/off\", #{{ undo: \"rm /srv/off\", deadman: \"15s\" }}); {PAUSE}");
    let mut run = desk.cli.start(&desk.arguments(&code));
    Desk::wait("it is held", || desk.there("/srv/held"));
    run.kill().unwrap();
    run.wait().unwrap();
    desk.host.kill();
    assert!(!desk.host.tree(&["/srv/off"]).is_empty());
    desk.host.boot();

    Desk::wait("it is taken back", || !desk.there("/srv/off"));

    let said = desk.resume(7);
    assert_eq!(Desk::states(&said), ["fired"]);
    desk.host.ok("touch /srv/go");
    let said = desk.resume(0);
    assert_eq!(Desk::states(&said), ["armed", "disarmed"]);
    assert!(desk.there("/srv/off"));
    desk.nothing_is_left();
}

#[test]
fn the_interface_of_our_own_connection_goes_down_only_with_a_switch_and_comes_back() {
    let Some(desk) = Desk::new() else { return };
    let address = desk.host.address();
    let name =
        desk.host.ok(&format!("ip -o address show | awk '$4 ~ \"^{address}/\" {{ print $2 }}'"));
    let refused = desk.cli.run(&desk.arguments(&format!("ifdown(\"{name}\")")));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.out.contains("must stay up"), "{refused:?}");

    let code = format!("ifdown(\"{name}\", #{{ deadman: \"10s\" }}); sh(\"touch /srv/off\");");
    let said = desk.cli.run(&desk.arguments(&code));

    assert_eq!(said.code, Some(7), "{said:?}");
    assert_eq!(Desk::states(&said), ["armed", "fired"]);
    assert!(!desk.there("/srv/off"));
    let said = desk.cli.run(&["rollback", "last", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    desk.nothing_is_left();
    desk.host.reset();
}

/// What waits for the run, as its events tell it.
fn by(said: &Said) -> String {
    let events = said.events();
    let armed = events.iter().find(|event| event["what"]["state"]["deadman"] == "armed").unwrap();
    armed["what"]["state"]["by"].as_str().unwrap().to_owned()
}

#[test]
fn who_is_not_root_gets_it_fired_by_at_also_after_a_reboot() {
    let Some(desk) = Desk::as_deploy() else { return };
    let code = format!(
        "sh(\"touch /home/deploy/off\", #{{ undo: \"rm /home/deploy/off\", deadman: \"5s\" }}); {PAUSE}"
    );
    let mut run = desk.cli.start(&desk.arguments(&code));
    Desk::wait("it is held", || desk.there("/srv/held"));
    run.kill().unwrap();
    assert_eq!(by(&desk.cli.end(run)), "at");
    desk.host.kill();
    assert!(!desk.host.tree(&["/home/deploy/off"]).is_empty());
    desk.host.boot();

    Desk::wait("it is taken back", || !desk.there("/home/deploy/off"));

    let said = desk.resume(7);
    assert_eq!(Desk::states(&said), ["fired"]);
    desk.host.ok("touch /srv/go");
    let said = desk.resume(0);
    assert_eq!(Desk::states(&said), ["armed", "disarmed"]);
    desk.nothing_is_left();
    desk.host.ok("chmod 755 /srv");
}

#[test]
fn without_systemd_and_at_a_process_waits() {
    let Some(desk) = Desk::as_deploy() else { return };
    desk.host.ok("systemctl stop atd");
    let code = format!(
        "sh(\"touch /home/deploy/off\", #{{ undo: \"rm /home/deploy/off\", deadman: \"5s\" }}); {PAUSE}"
    );
    let mut run = desk.cli.start(&desk.arguments(&code));
    Desk::wait("it is held", || desk.there("/srv/held"));
    run.kill().unwrap();
    assert_eq!(by(&desk.cli.end(run)), "sh");
    desk.host.cut();

    Desk::wait("it is taken back", || !desk.there("/home/deploy/off"));

    desk.host.heal();
    let said = desk.resume(7);
    assert_eq!(Desk::states(&said), ["fired"]);
    assert_eq!(desk.cli.run(&["rollback", "last"]).code, Some(0));
    assert!(!desk.there("/home/deploy/off"));
    desk.nothing_is_left();
    desk.host.reset();
}
