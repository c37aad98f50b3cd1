//! Servers that are not there, go away or fall silent.

use super::*;

#[test]
fn a_lost_server_is_told_and_reconnected_to() {
    let Some(mut sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let (first, reached) = mpsc::channel();
    let other = ssh.clone();
    let running = std::thread::spawn(move || {
        other.exec(&Command::shell("echo here; sleep 300"), &Cancel::new(), &mut |_, _| {
            let _told = first.send(());
        })
    });
    reached.recv_timeout(Duration::from_secs(20)).unwrap();
    sshd.kill_all();
    let error = running.join().unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");

    let error = exec(&ssh, &Command::shell("true")).unwrap_err();
    assert!(
        matches!(&error, TransportError::Connect { why, hint: Some(_), .. } if why.contains("refuses")),
        "{error:?}"
    );
    sshd.restart();
    assert_eq!(exec(&ssh, &Command::shell("echo back")).unwrap().out(), "back\n");
}

#[test]
fn a_silent_peer_is_given_up() {
    let Some(sshd) = Sshd::start("") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mute = Arc::new(AtomicBool::new(false));
    let behind = sshd.port;
    let muted = Arc::clone(&mute);
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(("127.0.0.1", behind)).unwrap();
        for (mut from, mut to) in
            [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
        {
            let muted = Arc::clone(&muted);
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = from.read(&mut piece) {
                    if !muted.load(Ordering::SeqCst) && to.write_all(&piece[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let alias = Some(format!("[127.0.0.1]:{}", sshd.port));
    let ssh = Ssh::new(
        SshTarget { port, host_key_alias: alias, ..sshd.target("t") },
        Arc::new(Unattended),
    );
    let mut silent = None;
    let error = ssh
        .exec(&Command::shell("echo here; sleep 300"), &Cancel::new(), &mut |_, _| {
            mute.store(true, Ordering::SeqCst);
            silent = Some(Instant::now());
        })
        .unwrap_err();
    let took = silent.unwrap().elapsed();
    assert!(
        matches!(&error, TransportError::Lost { why, .. } if why.contains("no answer")),
        "{error:?}"
    );
    assert!(took < Duration::from_secs(16), "{took:?}");
}

#[test]
fn a_quiet_command_is_not_given_up() {
    let Some(sshd) = Sshd::start("ClientAliveInterval 3\nClientAliveCountMax 2") else { return };
    let ssh = sshd.ssh();
    let exit = exec(&ssh, &Command::shell("sleep 16; echo done")).unwrap();
    assert_eq!(exit.out(), "done\n");
}

#[test]
fn nothing_listening_is_told_with_a_hint() {
    let mut target = SshTarget::new("t", "nobody", "127.0.0.1");
    target.port = free_port();
    let error = connect(target.clone(), Person::default()).0.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach t: 127.0.0.1:"), "{error}");
    target.address = "no-such-host.invalid".to_owned();
    let error = connect(target.clone(), Person::default()).0.unwrap_err();
    assert!(error.to_string().contains("cannot be resolved"), "{error}");
    // A port that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    target.address = "127.0.0.1".to_owned();
    target.port = silent.local_addr().unwrap().port();
    target.connect_timeout = Duration::from_millis(300);
    let error = connect(target, Person::default()).0.unwrap_err();
    assert!(error.to_string().contains("says nothing as ssh"), "{error}");
}

#[test]
fn a_cut_link_is_found_out() {
    let can = std::process::Command::new("unshare")
        .args(["-n", "ip", "link", "set", "lo", "up"])
        .output();
    if !can.is_ok_and(|out| out.status.success()) || Sshd::start("").is_none() {
        return not_tested("no network namespace can be made");
    }
    // In a network of its own, whose only link can be taken down.
    let script = "ip link set lo up && exec \"$@\"";
    let out = std::process::Command::new("unshare")
        .args(["-n", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "transport::ssh::tests::lost::with_a_link_of_its_own",
            "--ignored",
            "--nocapture",
        ])
        .env("UPGRADE_HOST_TEST_NETNS", "1")
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
#[ignore = "run by a_cut_link_is_found_out"]
fn with_a_link_of_its_own() {
    if std::env::var_os("UPGRADE_HOST_TEST_NETNS").is_none() {
        return;
    }
    let sshd = Sshd::start("").unwrap();
    let link = |state: &str| {
        let set = std::process::Command::new("ip").args(["link", "set", "lo", state]).status();
        assert!(set.unwrap().success());
    };
    let upload = vec![7; 64 << 20];
    let commands = [
        // Silent; sending, to a reader that is slow; receiving.
        Command::shell("echo here; sleep 300"),
        Command::shell("echo here; n=0; while [ $n -lt 300 ]; do head -c 1000000; sleep 0.05; n=$((n+1)); done >/dev/null")
            .stdin(upload),
        Command::shell("echo here; cat /dev/zero"),
    ];
    for command in commands {
        let ssh = sshd.ssh();
        let mut cut = None;
        let error = ssh
            .exec(&command, &Cancel::new(), &mut |_, _| {
                if cut.is_none() {
                    link("down");
                    cut = Some(Instant::now());
                }
            })
            .unwrap_err();
        let took = cut.unwrap().elapsed();
        link("up");
        let _said = writeln!(std::io::stderr(), "{took:?} {error:?}");
        assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
        assert!(took < Duration::from_secs(16), "{took:?}");
        assert_eq!(exec(&ssh, &Command::shell("echo on")).unwrap().out(), "on\n");
    }
}
