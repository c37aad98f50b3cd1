//! Commands, one after another and side by side.

use super::*;

#[test]
fn output_status_and_input_pass_through() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let exit = exec(&ssh, &Command::shell("cat; echo problem >&2; exit 3").stdin("hello")).unwrap();
    assert_eq!(text(&exit), ("hello".to_owned(), "problem\n".to_owned(), Ended::Code(3)));
    let exit = exec(&ssh, &Command::list(["no-such-program-here"])).unwrap();
    assert_eq!(exit.ended, Ended::Code(127));
    let exit = exec(&ssh, &Command::shell("kill -9 $$")).unwrap();
    assert_eq!(text(&exit), (String::new(), String::new(), Ended::Signal("KILL".to_owned())));
    let exit = exec(&ssh, &Command::shell("if (")).unwrap();
    assert_eq!(exit.ended, Ended::Code(2));
    let exit = exec(&ssh, &Command::shell("exec >&- 2>&-; sleep 0.2; exit 5")).unwrap();
    assert_eq!(exit.ended, Ended::Code(5));
    assert_eq!(ssh.own_address(), Some("127.0.0.1".parse().unwrap()));
    assert_eq!(ssh.describe(), format!("{}@127.0.0.1:{}", user(), sshd.port));
}

#[test]
fn environment_directory_and_secrets_arrive() {
    let Some(sshd) = Sshd::start("") else { return };
    let mut command =
        Command::shell("printf '%s|%s|%s|' \"$A\" \"$S\" \"$PWD\"; cat").stdin("rest");
    command.env.push(("A".to_owned(), "it's".to_owned()));
    command.secret_env.push(("S".to_owned(), crate::secret::Secret::new("pw".to_owned())));
    command.dir = Some("/usr".to_owned());
    assert_eq!(exec(&sshd.ssh(), &command).unwrap().out(), "it's|pw|/usr|rest");
}

#[test]
fn megabytes_go_both_ways_at_once() {
    let Some(sshd) = Sshd::start("") else { return };
    let bytes: Vec<u8> =
        (0..5u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let exit = exec(&sshd.ssh(), &Command::shell("cat").stdin(bytes.clone())).unwrap();
    assert!(exit.stdout == bytes, "{} bytes came back", exit.stdout.len());
    let exit = exec(
        &sshd.ssh(),
        &Command::shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"),
    )
    .unwrap();
    assert_eq!((exit.stdout.len(), exit.stderr.len()), (3_000_000, 3_000_000));
    // A command that does not want its input.
    let exit = exec(&sshd.ssh(), &Command::shell("exit 4").stdin(bytes)).unwrap();
    assert_eq!(exit.ended, Ended::Code(4));
}

#[test]
fn ten_commands_share_a_session() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    ssh.connect_now(&Cancel::new()).unwrap();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..10 {
            let ssh = ssh.clone();
            scope.spawn(move || {
                let exit = exec(&ssh, &Command::shell(format!("sleep 0.5; echo {n}"))).unwrap();
                assert_eq!(exit.out(), format!("{n}\n"));
            });
        }
    });
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(children(sshd.child.id()).len(), 1);
}

#[test]
fn a_server_that_allows_one_session_is_enough() {
    let Some(sshd) = Sshd::start("MaxSessions 1") else { return };
    let ssh = sshd.ssh();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let ssh = ssh.clone();
            scope.spawn(move || {
                let exit = exec(&ssh, &Command::shell(format!("echo {n}"))).unwrap();
                assert_eq!(exit.out(), format!("{n}\n"));
            });
        }
    });
}

#[test]
fn latency_of_a_warm_command() {
    let Some(sshd) = Sshd::start("") else { return };
    let started = Instant::now();
    let ssh = sshd.ssh();
    ssh.connect_now(&Cancel::new()).unwrap();
    let connected = started.elapsed();
    let mut times = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        assert!(exec(&ssh, &Command::list(["true"])).unwrap().success());
        times.push(started.elapsed());
    }
    times.sort();
    let _said = writeln!(std::io::stderr(), "connect {connected:?}, warm `true` {:?}", times[25]);
}
