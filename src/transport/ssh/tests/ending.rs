//! Ending what runs: after its time, on cancel, with all that belongs to it.

use super::*;

/// Runs a command that tells its own process id and that of a child, both of which ignore TERM if asked.
fn end_early(
    extra: &str,
    trap: &str,
    sudo: Option<Sudo>,
    by: impl FnOnce(&Cancel, &mut Command),
) -> (TransportError, Duration) {
    let sshd = Sshd::start(extra).unwrap();
    let ssh = sshd.ssh();
    let (cancel, pids) = (Cancel::new(), sshd.path("pids"));
    let script = format!(
        "{trap} sleep 300 & echo $$ $! >{0}.new; mv {0}.new {0}; wait; wait",
        pids.display()
    );
    let mut command = Command::shell(script).sudo(sudo);
    by(&cancel, &mut command);
    let waiting = command.timeout.is_none();
    let other = cancel.clone();
    let file = pids.clone();
    let canceller = std::thread::spawn(move || {
        wait_until("the command runs", || file.exists());
        if waiting {
            other.cancel();
        }
    });
    let started = Instant::now();
    let error = ssh.exec(&command, &cancel, &mut |_, _| {}).unwrap_err();
    let took = started.elapsed();
    canceller.join().unwrap_or_else(|_| panic!("{error:?} after {took:?}"));
    for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
        assert!(!runs(pid), "{pid} still runs");
    }
    // The session is as good as before.
    assert_eq!(exec(&ssh, &Command::shell("echo on")).unwrap().out(), "on\n");
    (error, took)
}

#[test]
fn a_timeout_ends_the_whole_group() {
    if Sshd::start("").is_none() {
        return;
    }
    let limit = Duration::from_secs(3);
    let (error, _) = end_early("", "", None, |_, command| command.timeout = Some(limit));
    assert_eq!(error, TransportError::Timeout { after: limit });
}

#[test]
fn cancel_ends_the_whole_group() {
    if Sshd::start("").is_none() {
        return;
    }
    let (error, took) = end_early("", "", None, |_, _| {});
    assert_eq!(error, TransportError::Cancelled);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_group_is_ended_even_if_the_server_allows_one_command() {
    if Sshd::start("").is_none() {
        return;
    }
    let (error, _) = end_early("MaxSessions 1", "", None, |_, _| {});
    assert_eq!(error, TransportError::Cancelled);
}

#[test]
fn a_group_that_ignores_term_is_killed() {
    if Sshd::start("").is_none() {
        return;
    }
    let (error, took) = end_early("", "trap '' TERM;", None, |_, _| {});
    assert_eq!(error, TransportError::Cancelled);
    assert!(took > Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_group_under_sudo_is_ended_through_sudo() {
    let can =
        std::process::Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) || Sshd::start("").is_none() {
        return;
    }
    let sudo = Some(Sudo { user: None, password: None });
    let (error, _) = end_early("", "trap '' TERM;", sudo, |_, _| {});
    assert_eq!(error, TransportError::Cancelled);
}

#[test]
fn a_background_child_does_not_hold_the_command() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let started = Instant::now();
    for _ in 0..12 {
        let exit = exec(&ssh, &Command::shell("sleep 60 & echo started $!")).unwrap();
        assert!(exit.out().starts_with("started "));
        let pid = exit.out().trim().rsplit(' ').next().unwrap().to_owned();
        assert!(runs(&pid), "the background child was ended");
        signal(pid.parse().unwrap(), "KILL");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
