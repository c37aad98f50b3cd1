//! A host that reboots in the middle of a run switches on by itself what the run has switched off: that is found and
//! switched off again before anything else is done there, whoever drives the run then.

use super::link::{begun, end, site, wait};
use crate::support::lab::{Host, Lab};
use crate::support::site::{Ended, Site};

/// Stops what each boot starts, and notes whether it was off when the next thing was done.
const STOP: &str = r#"service_stop("toy");"#;
const NOTE: &str = r#"sh("systemctl is-active toy >/srv/seen || :", #{ undo: "true" });"#;
/// Waits for the test in between.
const WAIT: &str = r#"
log_mark("/srv/log");
write_file("/srv/begun", "1");
wait_log("^go on$", #{ file: "/srv/log", timeout: "100s" });
"#;

/// A host with a service that starts at each boot and notes with which settings it does.
fn host() -> Option<Host> {
    let [host] = Lab::shared()?.hosts();
    host.ok("
        rm -f /srv/begun /srv/seen /srv/starts; echo begin >/srv/log; echo old >/srv/settings
        cat >/etc/systemd/system/toy.service <<'END'
[Service]
ExecStart=/bin/sh -c 'cat /srv/settings >>/srv/starts; exec sleep 987654'
[Install]
WantedBy=multi-user.target
END
        systemctl daemon-reload; systemctl -q enable --now toy");
    Some(host)
}

fn leave(host: &Host) {
    host.ok("systemctl -q disable --now toy; rm /etc/systemd/system/toy.service; systemctl daemon-reload");
}

fn run(host: &Host, site: &Site) -> std::process::Child {
    site.start(&["run", "book.rhai", "--on", host.name(), "--yes"])
}

fn reboot(host: &Host) {
    host.kill();
    host.boot();
    wait("it is on again by itself", || active(host));
}

fn active(host: &Host) -> bool {
    host.sh("systemctl is-active --quiet toy").status.success()
}

fn starts(host: &Host) -> Vec<String> {
    host.ok("cat /srv/starts").lines().map(str::to_owned).collect()
}

/// It was off when the run went on, is on now, and nothing is owed.
#[track_caller]
fn went_well(host: &Host, site: &Site, ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert_eq!(host.ok("cat /srv/seen"), "inactive", "{}", ended.out);
    assert!(active(host));
    let debts = site.program(&["debts", "--json"]);
    assert_eq!(debts.out.trim(), "[]");
}

#[test]
fn what_a_power_failure_switched_on_again_is_off_before_the_run_goes_on() {
    let Some(host) = host() else { return };
    let site = site(&host, &[STOP, WAIT, NOTE, r#"service_start("toy");"#].concat());
    let run = run(&host, &site);
    wait("the run waits", || begun(&host));
    assert!(!active(&host));

    reboot(&host);
    host.ok("echo 'go on' >>/srv/log");

    let ended = end(run);
    went_well(&host, &site, &ended);
    assert!(ended.out.contains("so it is done again: stop service toy"), "{}", ended.out);
    let shown = site.program(&["show", "last"]);
    assert!(shown.out.contains("so it is done again: stop service toy"), "{}", shown.out);
    assert_eq!(starts(&host).len(), 3, "before, at the boot, at the end");
    leave(&host);
}

#[test]
fn so_it_is_if_the_target_reboots_while_nobody_drives_the_run() {
    let Some(host) = host() else { return };
    let site = site(&host, &[STOP, WAIT, NOTE, r#"service_start("toy");"#].concat());
    let mut run = run(&host, &site);
    wait("the run waits", || begun(&host));
    run.kill().unwrap();
    run.wait().unwrap();

    reboot(&host);
    host.ok("echo 'go on' >>/srv/log");

    let ended = end(site.start(&["resume", "last", "--yes"]));
    went_well(&host, &site, &ended);
    leave(&host);
}

#[test]
fn so_it_is_after_a_reboot_of_the_run_itself_wherever_it_dies() {
    let Some(host) = host() else { return };
    let book = [STOP, r#"reboot(#{ timeout: "90s" });"#, NOTE, r#"service_start("toy");"#].concat();
    // The writes: the run, the stop, its outcome, the reboot, its outcome, the stop again, its outcome.
    for at in ["5 after", "6 after", "7 before", "7 after"] {
        let site = site(&host, &book);
        host.ok("rm -f /srv/seen");
        let dying = site.dying(at, &["run", "book.rhai", "--on", host.name(), "--yes"]);
        assert_eq!(dying.code, None, "{at}: {}", dying.out);

        let ended = end(site.start(&["resume", "last", "--yes"]));

        went_well(&host, &site, &ended);
        let shown = site.program(&["show", "last"]);
        // Killed before the stop, it is begun twice.
        let times = shown.out.matches("so it is done again").count();
        assert!((1..=2).contains(&times), "{at}: {}", shown.out);
    }
    leave(&host);
}

#[test]
fn a_rollback_puts_nothing_back_under_what_a_reboot_switched_on() {
    let Some(host) = host() else { return };
    let change = r#"write_file("/srv/settings", "new\n");"#;
    let site = site(&host, &[STOP, change, WAIT].concat());
    let mut run = run(&host, &site);
    wait("the run waits", || begun(&host));
    run.kill().unwrap();
    run.wait().unwrap();
    reboot(&host);

    let ended = end(site.start(&["rollback", "last", "--yes"]));

    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert_eq!(starts(&host), ["old", "new", "old"]);
    assert!(active(&host));
    assert_eq!(site.program(&["debts", "--json"]).out.trim(), "[]");
    leave(&host);
}

#[test]
fn what_cannot_be_switched_off_again_pauses_the_run() {
    let Some(host) = host() else { return };
    host.ok("printf '#!/bin/sh\\nexec systemctl stop toy\\n' >/srv/stop; chmod 755 /srv/stop");
    let stop = r#"service_stop("toy", #{ stop: "/srv/stop", manager: "systemd", timeout: "3s" });"#;
    let site = site(&host, &[stop, WAIT, NOTE, r#"service_start("toy");"#].concat());
    let run = run(&host, &site);
    wait("the run waits", || begun(&host));
    host.ok("printf '#!/bin/sh\\necho it will not >&2; exit 1\\n' >/srv/stop");
    reboot(&host);
    host.ok("echo 'go on' >>/srv/log");

    let ended = end(run);

    assert_eq!(ended.code, Some(3), "{}", ended.out);
    assert!(ended.out.contains("cannot be done again: stop service toy"), "{}", ended.out);
    assert_eq!(host.sh("cat /srv/seen").status.code(), Some(1), "it went on");
    // Once it can be, the run goes on.
    host.ok("printf '#!/bin/sh\\nexec systemctl stop toy\\n' >/srv/stop");
    let ended = end(site.start(&["resume", "last", "--yes"]));
    went_well(&host, &site, &ended);
    leave(&host);
}
