//! Dead-man switches of the shipped adapter `ahsay_obs`: the target gives back by itself, from its own API and files,
//! what a run switched off that is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{each_once, files};
use crate::support::site::{PASSWORD, Site};

/// A runbook's part that lasts until the test lets it go on.
const HOLD: &str = "\nsh(\"touch held; while test -e held && ! test -e go; do sleep 0.05; done\", #{ idempotent: true, undo: \"true\" });\n";

const LOCK_OUT: &str = "suspend_all_users(#{ deadman: \"3s\" });";

/// The directory of the only switch of a site's newest run.
fn switch(site: &Site) -> PathBuf {
    let (run, _) = site.newest().unwrap();
    let user = rustix::process::getuid().as_raw();
    let all = fs::read_dir(format!("/var/tmp/upgrade-host-{user}/deadman")).unwrap();
    let mut all = all.map(|entry| entry.unwrap().path());
    all.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&run)).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The names of the files below that hold the password in any of its forms.
fn with_password(dir: &Path) -> Vec<String> {
    let hex = PASSWORD.bytes().fold(String::new(), |all, byte| format!("{all}%{byte:02x}"));
    let forms = [PASSWORD, "p%26ss", &hex];
    let holds = |bytes: &[u8]| {
        forms.iter().any(|form| bytes.windows(form.len()).any(|part| part == form.as_bytes()))
    };
    files(dir).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(name, _)| name).collect()
}

fn resumed(site: &Site, code: i32) -> String {
    let ended = site.program(&["resume", "last"]);
    assert_eq!(ended.code, Some(code), "{}", ended.out);
    ended.out
}

#[test]
fn users_come_back_by_themselves_when_the_run_is_gone() {
    for settings in [["http_503_every=7"], ["no_modify_user_status=true"]] {
        let site = Site::with_server(40, &settings);
        let before = site.states();
        site.runbook("", &format!("{LOCK_OUT}{HOLD}resume_users();"));
        let mut seen = Vec::new();
        let mut dir = PathBuf::new();
        site.kill_when("users are out", || {
            let held = site.path("held").exists();
            if held {
                dir = switch(&site);
                seen = ["files/password", "files/users"].map(|name| mode(&dir.join(name))).to_vec();
                assert_eq!((mode(&dir), mode(&dir.join("files"))), (0o700, 0o700));
                let holding = with_password(&dir);
                assert_eq!(holding, [dir.join("files/password").display().to_string()]);
            }
            held
        });
        assert_eq!(seen, [0o600, 0o600]);
        assert_eq!(site.changes("to=SUSPENDED").len(), 36);

        site.wait("they come back", || site.states() == before);
        site.wait("it says so", || dir.join("fired").exists());

        each_once(&site.changes("to=ENABLE"));
        assert_eq!(site.changes("to=ENABLE").len(), 36, "and nobody else");
        assert_eq!(with_password(&dir), [""; 0], "the password stays on the target");
        assert!(with_password(&site.path("state")).is_empty());
        let out = resumed(&site, 7);
        assert!(out.contains("dead-man switch fired at"), "{out}");
        assert!(!dir.exists());
        assert!(!site.program(&["debts"]).out.contains("users enabled"));

        // The operator says: again.
        fs::write(site.path("go"), "").unwrap();
        resumed(&site, 0);
        assert_eq!(site.states(), before);
    }
}

#[test]
fn a_switch_that_was_disarmed_leaves_no_password() {
    let site = Site::with_server(5, &[]);
    site.runbook("", "suspend_all_users(#{ deadman: \"1h\" });\nresume_users();");
    let ended = site.run("run");
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let (run, _) = site.newest().unwrap();
    let user = rustix::process::getuid().as_raw();
    let left = files(Path::new(&format!("/var/tmp/upgrade-host-{user}")));
    assert!(!left.keys().any(|name| name.contains(&run)), "{:?}", left.keys());
}

/// A directory of programs like this machine's, without some.
fn programs_without(site: &Site, without: &[&str]) -> PathBuf {
    let dir = site.path("programs");
    fs::create_dir(&dir).unwrap();
    for from in ["/usr/bin", "/bin"] {
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            if !without.iter().any(|not| *not == name) {
                let _twice = std::os::unix::fs::symlink(entry.path(), dir.join(&name));
            }
        }
    }
    dir
}

#[test]
fn without_curl_it_is_wget_and_without_both_nothing_is_done() {
    let site = Site::with_server(10, &[]);
    let before = site.states();
    site.runbook("", &format!("{LOCK_OUT}{HOLD}"));

    let programs = programs_without(&site, &["curl", "wget"]);
    let path = |programs: &Path| programs.display().to_string();
    for verb in ["plan", "run"] {
        let ended = site.run_with(verb, &[("PATH", &path(&programs))]);
        assert_ne!(ended.code, Some(0), "{}", ended.out);
        assert!(ended.out.contains("needs curl or wget on the target"), "{}", ended.out);
    }
    assert!(site.changes("to=").is_empty());

    if !Path::new("/usr/bin/wget").exists() {
        return;
    }
    std::os::unix::fs::symlink("/usr/bin/wget", programs.join("wget")).unwrap();
    let arguments = ["run", "book.rhai", "--set", "password=env:OBS_PASSWORD"];
    let mut child = site.start_with(&arguments, &[("PATH", &path(&programs))]);
    site.wait("users are out", || site.path("held").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    site.wait("they come back", || site.states() == before);
    fs::write(site.path("go"), "").unwrap();
    site.program(&["rollback", "last"]);
}

#[test]
fn who_was_removed_meanwhile_and_a_server_that_is_down_do_not_keep_the_others_out() {
    let site = Site::with_server(10, &[]);
    let before = site.states();
    site.runbook("", &format!("{LOCK_OUT}{HOLD}"));
    site.kill_when("users are out", || site.path("held").exists());
    let dir = switch(&site);
    site.stop();
    site.wait("it fires", || dir.join("claim").exists());
    assert!(!dir.join("fired").exists());

    site.begin();

    site.wait("they come back", || site.states() == before);
    site.wait("it says so", || dir.join("fired").exists());
    resumed(&site, 7);
    fs::write(site.path("go"), "").unwrap();
    site.program(&["rollback", "last"]);
}

#[test]
fn replication_in_a_file_comes_back_with_a_restart_and_all_else_stays() {
    let site = Site::with_server(3, &["rps_rewrite_on_stop=true"]);
    let before = files(&site.home().join("conf"));
    site.runbook(
        "replication_restart: true",
        &format!("replication(false, #{{ deadman: \"3s\" }});{HOLD}replication(true);"),
    );
    site.kill_when("it is off", || site.path("held").exists());
    assert!(site.read("obs/conf/rpsSend.xml").contains("enable=\"N\""));
    let dir = switch(&site);

    site.wait("it says so", || dir.join("fired").exists());

    let said = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert!(said("fired").ends_with(" 0\n"), "{}", said("out"));
    assert!(files(&site.home().join("conf")) == before);
    assert!(site.alive());
    let out = resumed(&site, 7);
    assert!(out.contains("dead-man switch fired at"), "{out}");
    assert!(!site.program(&["debts"]).out.contains("replication"));
    fs::write(site.path("go"), "").unwrap();
    resumed(&site, 0);
    assert!(files(&site.home().join("conf")) == before);
}

#[test]
fn a_run_that_died_while_it_restarted_the_server_does_not_leave_it_down() {
    let site = Site::with_server(3, &["stop_delay_ms=500"]);
    site.runbook("replication_restart: true", "replication(false, #{ deadman: \"3s\" });");
    site.kill_when("the server stops", || site.audit().contains("STOP\t"));
    let dir = switch(&site);

    site.wait("it says so", || dir.join("fired").exists());

    assert!(site.alive());
    assert!(site.read("obs/conf/rpsSend.xml").contains("enable=\"Y\""));
    let ended = site.program(&["rollback", "last"]);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(site.alive());
}

#[test]
fn a_driver_that_needs_somebody_is_refused() {
    let site = Site::with_server(3, &[]);
    site.runbook("driver: \"manual\"", "replication(false, #{ deadman: \"1h\" });");
    let ended = site.run("run");
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(ended.out.contains("deadman needs driver = file or command"), "{}", ended.out);
}
