//! Servers as they are found: with one type of key, a banner, forced commands, IPv6, PAM, and dropbear.

use super::*;

/// What every server has to be good for.
fn works(ssh: &Ssh) {
    let exit = exec(ssh, &Command::shell("cat; echo err >&2; exit 3").stdin(b"in\0\xff".to_vec()))
        .unwrap();
    assert_eq!(exit.stdout, b"in\0\xff");
    assert_eq!((exit.stderr.as_slice(), exit.ended), (&b"err\n"[..], Ended::Code(3)));
    let exit = exec(ssh, &Command::list(["sh", "-c", "kill -KILL $$"])).unwrap();
    assert_eq!(exit.ended, Ended::Signal("KILL".to_owned()));
    let big = vec![7; 3 << 20];
    let exit = exec(ssh, &Command::list(["cat"]).stdin(big.clone())).unwrap();
    assert!(exit.stdout == big, "{} bytes came back", exit.stdout.len());
    joined(ssh);
    let started = Instant::now();
    let slow = Command::shell("sleep 300 & wait").timeout(Some(Duration::from_millis(300)));
    assert!(matches!(exec(ssh, &slow), Err(TransportError::Timeout { .. })));
    assert!(started.elapsed() < Duration::from_secs(20));
    // An echo at the target's side, over a connection from there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = [0; 4];
        stream.read_exact(&mut text).unwrap();
        stream.write_all(&text).unwrap();
    });
    let mut connection = ssh.connect("127.0.0.1", port, Duration::from_secs(10)).unwrap();
    connection.write_all(b"ping").unwrap();
    let mut text = [0; 4];
    connection.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"ping");
    server.join().unwrap();
}

/// A command that is joined to a socket: more than any buffer holds, there and back, to the end of it.
fn joined(ssh: &Ssh) {
    let (ours, theirs) = sockets();
    let text: Vec<u8> = (0..12_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let command = Command::shell("cat; echo all >&2; exit 3");
    let command = command.joined(Streams::new(theirs.try_clone().unwrap(), theirs));
    let exit = std::thread::scope(|scope| {
        let (mut writer, mut reader) = (ours.try_clone().unwrap(), ours);
        let sent = &text;
        scope.spawn(move || {
            writer.write_all(sent).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let come = scope.spawn(move || {
            let mut come = Vec::new();
            reader.read_to_end(&mut come).map(|_| come)
        });
        let exit = exec(ssh, &command).unwrap();
        assert_eq!(command.streams.as_ref().unwrap().moved(), 2 * text.len() as u64);
        drop(command);
        assert!(come.join().unwrap().unwrap() == text);
        exit
    });
    assert_eq!(
        (exit.ended, exit.stdout.len(), exit.stderr),
        (Ended::Code(3), 0, b"all\n".to_vec())
    );
}

#[test]
fn one_type_of_host_key_is_enough() {
    for (kind, algorithm) in [
        ("ed25519", "ssh-ed25519"),
        ("ecdsa", "ecdsa-sha2-nistp256"),
        ("rsa", "rsa-sha2-256"),
        ("rsa", "rsa-sha2-512"),
    ] {
        let keys = tempfile::tempdir().unwrap();
        let key = keys.path().join("key");
        keygen(&key, kind, "");
        let extra = format!("HostKey {}\nHostKeyAlgorithms {algorithm}", key.display());
        let Some(sshd) = Sshd::start(&extra) else { return };
        // Of a type that the server has twice, the first counts.
        let own = std::fs::read_to_string(keys.path().join("key.pub")).unwrap();
        let words: Vec<&str> = own.split(' ').collect();
        let line = format!("[127.0.0.1]:{} {} {}\n", sshd.port, words[0], words[1].trim());
        std::fs::write(sshd.path("known_hosts"), line).unwrap();

        let exit = exec(&sshd.ssh(), &Command::shell("echo on"));

        assert_eq!(exit.unwrap().out(), "on\n", "{algorithm}");
    }
}

#[test]
fn a_banner_and_a_message_of_the_day_are_no_output() {
    let texts = tempfile::tempdir().unwrap();
    let banner = texts.path().join("banner");
    std::fs::write(&banner, "Authorised use only\n".repeat(200)).unwrap();
    let extra = format!("Banner {}\nPrintMotd yes", banner.display());
    let Some(sshd) = Sshd::start(&extra) else { return };

    works(&sshd.ssh());
}

#[test]
fn a_plain_login_shell_leads_commands_itself() {
    use crate::transport::receipt::{self, At, Launched, Seen};

    let Some(sshd) = Sshd::start("SetEnv SHELL=/bin/sh SHLVL=5") else { return };
    let ssh = sshd.ssh();
    let cancel = Cancel::new();
    // What leads a command is its parent. The first one asks who it is. The mark is further behind, and no output.
    let parent = Command::list(["sh", "-c", "head -c 14 /proc/$PPID/cmdline | tr '\\0' ' '"]);
    assert!(exec(&ssh, &parent).unwrap().out().starts_with("sh -c exec 3"));
    let led = exec(&ssh, &parent).unwrap().out();
    assert!(led.contains("-c set --"), "{led}");

    // A simple command has no subshell, and all the same its own output, error output and status.
    let exit = exec(&ssh, &Command::shell("ls /nowhere / -d")).unwrap();
    assert_eq!((exit.out().as_str(), exit.ended), ("/\n", Ended::Code(2)));
    assert!(String::from_utf8_lossy(&exit.stderr).contains("/nowhere"));
    let exit = exec(&ssh, &Command::shell("no-such-program-here")).unwrap();
    assert_eq!(exit.ended, Ended::Code(127));
    assert!(String::from_utf8_lossy(&exit.stderr).contains("not found"));
    let exit = exec(&ssh, &Command::shell("cat -").stdin("in")).unwrap();
    assert_eq!((exit.out().as_str(), exit.ended), ("in", Ended::Code(0)));
    let slow = Command::shell("sleep 300").timeout(Some(Duration::from_millis(300)));
    assert!(matches!(exec(&ssh, &slow), Err(TransportError::Timeout { .. })));

    works(&ssh);
    let run = format!("test-plain-{}", std::process::id());
    let dir = receipt::prepare(&ssh, &run, None, &cancel).unwrap().unwrap();
    let mut out = Vec::new();
    let line = "cat; head -c 16 /proc/$PPID/cmdline | tr '\\0' ' '; exit 4";
    let line = Command::shell(line).stdin("in ");
    let at = At { dir: dir.clone(), call: "c-1".to_owned() };
    for _ in 0..2 {
        out.clear();
        let seen = &mut Seen::default();
        let launched = receipt::run(&ssh, &line, &at, seen, &cancel, &mut |_, bytes| {
            out.extend_from_slice(bytes);
        });
        assert!(matches!(launched, Ok(Launched::Ended(Ended::Code(4)))), "{launched:?}");
        let said = String::from_utf8_lossy(&out);
        assert!(said.starts_with("in ") && said.contains("-c { set --"), "{said}");
    }
    exec(&ssh, &Command::list(["rm", "-rf", &dir])).unwrap();
}

#[test]
fn a_forced_command_is_told_and_not_taken_for_ours() {
    for force in ["ForceCommand echo forced", "ForceCommand internal-sftp", "ForceCommand false"] {
        let Some(sshd) = Sshd::start(force) else { return };
        let result = exec(
            &sshd.ssh(),
            &Command::list(["true"]).reading().timeout(Some(Duration::from_secs(5))),
        );
        // Whatever it does, it does not count as a success of what was asked for.
        match result {
            Err(error) => {
                let said = error.to_string();
                assert!(
                    said.contains("forced command") || said.contains("timed out"),
                    "{force}: {said}"
                );
                assert_eq!(
                    force.contains("sftp")
                        && said.contains("\"This service allows sftp connections only.\""),
                    force.contains("sftp"),
                    "{said}"
                );
            }
            Ok(exit) => panic!("{force}: {exit:?}"),
        }
    }
}

#[test]
fn a_server_that_runs_no_commands_is_not_asked_for_long() {
    let Some(sshd) = Sshd::start("MaxSessions 0") else { return };
    let ssh = sshd.ssh();
    ssh.connect_now(&Cancel::new()).unwrap();
    let started = Instant::now();

    let error = exec(&ssh, &Command::list(["true"])).unwrap_err();

    assert!(
        matches!(&error, TransportError::Connect { why, .. } if why.contains("refused to run")),
        "{error:?}"
    );
    // It is asked thirty times, with a little time between.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn an_address_of_ipv6_is_reached() {
    if TcpListener::bind("[::1]:0").is_err() {
        return not_tested("there is no IPv6");
    }
    let Some(sshd) = Sshd::start("ListenAddress ::1") else { return };
    let line = sshd.host_line("ed25519").replace("[127.0.0.1]", "[::1]");
    let target = SshTarget { address: "::1".to_owned(), ..sshd.target("t") };
    std::fs::write(sshd.path("known_hosts"), line).unwrap();

    works(&Ssh::new(target, Arc::new(Unattended)));
}

/// Runs an ignored test of this file where what it mounts is seen by nobody else.
fn with_mounts_of_its_own(test: &str) {
    let can = std::process::Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    if !can.is_ok_and(|out| out.status.success()) {
        return not_tested(&format!("{test}: nothing can be mounted"));
    }
    let out = std::process::Command::new("unshare")
        .arg("-m")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("transport::ssh::tests::servers::{test}"),
            "--ignored",
            "--nocapture",
        ])
        .env("UPGRADE_HOST_TEST_MOUNTS", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}\n{said}", String::from_utf8_lossy(&out.stdout));
}

fn is_alone() -> bool {
    std::env::var_os("UPGRADE_HOST_TEST_MOUNTS").is_some()
}

fn bind(from: &Path, to: &str) {
    let mounted = std::process::Command::new("mount").arg("--bind").arg(from).arg(to).status();
    assert!(mounted.unwrap().success());
}

#[test]
fn a_server_that_only_asks_questions_is_answered() {
    let pam = ["/usr/lib", "/lib", "/lib64"].iter().any(|dir| {
        std::process::Command::new("find")
            .args([dir, "-name", "pam_exec.so"])
            .output()
            .is_ok_and(|out| !out.stdout.is_empty())
    });
    if !pam || !Path::new("/etc/pam.d/sshd").exists() {
        return not_tested("PAM is missing");
    }
    with_mounts_of_its_own("with_pam");
}

#[test]
#[ignore = "run by a_server_that_only_asks_questions_is_answered"]
fn with_pam() {
    if !is_alone() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let check = dir.path().join("check");
    std::fs::write(&check, "#!/bin/sh\n[ \"$(tr -d '\\000')\" = 'the right one' ]\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&check, executable).unwrap();
    let service = dir.path().join("sshd");
    let rules = format!(
        "auth requisite pam_exec.so quiet expose_authtok {}\nauth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
        check.display()
    );
    std::fs::write(&service, rules).unwrap();
    bind(&service, "/etc/pam.d/sshd");
    let sshd = Sshd::start(
        "UsePAM yes\nPubkeyAuthentication no\nPasswordAuthentication no\nKbdInteractiveAuthentication yes",
    )
    .unwrap();
    let password =
        |text: &str| SshTarget { password: Some(Secret::new(text.to_owned())), ..sshd.target("t") };

    works(&Ssh::new(password("the right one"), Arc::new(Unattended)));

    let person = Person { secret: Some("the right one"), ..Person::default() };
    let (result, asked) = connect(sshd.target("t"), person);
    result.unwrap();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("assword"), "{asked:?}");

    // One proof after another, when libssh2 calls the first a refusal.
    for methods in ["keyboard-interactive,publickey", "password,publickey"] {
        let settings = "UsePAM yes\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes";
        let both = Sshd::start(&format!("{settings}\nAuthenticationMethods {methods}")).unwrap();
        let with = |text: &str| SshTarget {
            password: Some(Secret::new(text.to_owned())),
            ..both.target("t")
        };
        connect(with("the right one"), Person::default()).0.unwrap();
        let error = connect(with("a wrong one"), Person::default()).0.unwrap_err().to_string();
        assert!(error.contains("(the server refuses it); the server accepts "), "{error}");
    }

    let (result, _) = connect(password("a wrong one"), Person::default());
    let error = result.unwrap_err();
    assert!(matches!(error, TransportError::Auth { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("the server accepts keyboard-interactive"), "{said}");
    assert!(!said.contains("a wrong one"), "{said}");
}

#[test]
fn dropbear_is_served_as_well() {
    if !Path::new("/usr/sbin/dropbear").exists() {
        return not_tested("/usr/sbin/dropbear is missing (package dropbear-bin)");
    }
    with_mounts_of_its_own("with_dropbear");
}

/// A process that is ended when the test is over.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
#[ignore = "run by dropbear_is_served_as_well"]
fn with_dropbear() {
    if !is_alone() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    std::fs::create_dir_all(home.join(".ssh")).unwrap();
    let id = dir.path().join("id");
    keygen(&id, "ed25519", "");
    std::fs::copy(dir.path().join("id.pub"), home.join(".ssh/authorized_keys")).unwrap();
    let key = dir.path().join("host");
    let made = std::process::Command::new("dropbearkey")
        .args(["-t", "ed25519", "-f"])
        .arg(&key)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let public = said.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
    let words: Vec<&str> = public.split(' ').collect();
    let passwd = std::process::Command::new("getent").args(["passwd", &user()]).output().unwrap();
    let passwd = String::from_utf8(passwd.stdout).unwrap();
    bind(&home, passwd.split(':').nth(5).unwrap());
    let port = free_port();
    let known = dir.path().join("known_hosts");
    std::fs::write(&known, format!("[127.0.0.1]:{port} {} {}\n", words[0], words[1])).unwrap();
    let _server = Server(
        std::process::Command::new("/usr/sbin/dropbear")
            .args(["-F", "-E", "-s", "-p", &format!("127.0.0.1:{port}"), "-r"])
            .arg(&key)
            .arg("-P")
            .arg(dir.path().join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap(),
    );
    wait_until("dropbear starts", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let target = SshTarget {
        port,
        identities: vec![id],
        known_hosts: vec![known],
        agent: AgentSocket::Off,
        ..SshTarget::new("t", user(), "127.0.0.1")
    };

    works(&Ssh::new(target, Arc::new(Unattended)));
}
