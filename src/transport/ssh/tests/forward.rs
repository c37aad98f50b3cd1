//! Connections and sessions that are opened through a server.

use super::*;

#[test]
fn connections_open_from_the_target() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        while bytes.len() < 1 << 20 {
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0);
            bytes.extend_from_slice(&piece[..count]);
        }
        stream.write_all(&bytes).unwrap();
    });
    let mut connection = ssh.connect("127.0.0.1", port, Duration::from_secs(10)).unwrap();
    let bytes: Vec<u8> = (0..1u32 << 20).map(|n| (n % 251) as u8).collect();
    connection.write_all(&bytes).unwrap();
    let mut back = Vec::new();
    connection.read_to_end(&mut back).unwrap();
    assert!(back == bytes);
    echo.join().unwrap();

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = ssh
        .connect("127.0.0.1", silent.local_addr().unwrap().port(), Duration::from_secs(10))
        .unwrap();
    connection.set_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // When we let it go, the other side sees the end.
    let (mut accepted, _) = silent.accept().unwrap();
    drop(connection);
    accepted.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(accepted.read(&mut [0]).unwrap(), 0);

    let error = ssh.connect("127.0.0.1", free_port(), Duration::from_secs(10)).unwrap_err();
    assert!(matches!(&error, TransportError::Connect { target, .. } if target == "t"), "{error}");
}

#[test]
fn a_target_behind_hops_is_reached() {
    let (Some(outer), Some(middle), Some(inner)) =
        (Sshd::start(""), Sshd::start(""), Sshd::start(""))
    else {
        return;
    };
    let target = SshTarget {
        jump: vec![outer.target("outer"), middle.target("middle")],
        ..inner.target("inner")
    };
    let ssh = Ssh::new(target.clone(), Arc::new(Unattended));
    let exit =
        exec(&ssh, &Command::shell("echo \"$SSH_CONNECTION\"; head -c 8388608 /dev/zero >&2"))
            .unwrap();
    assert!(exit.out().trim().ends_with(&format!(" {}", inner.port)), "{}", exit.out());
    assert_eq!(exit.stderr.len(), 8 << 20);
    assert!(ssh.describe().ends_with(" via middle via outer"));
    // A second target behind the same hops shares their sessions.
    let second = Ssh::new(SshTarget { name: "second".to_owned(), ..target }, Arc::new(Unattended));
    second.connect_now(&Cancel::new()).unwrap();
    // What was there to see whether the servers are up goes away by itself.
    wait_until("each server serves what it should", || {
        [&outer, &middle, &inner].map(|sshd| children(sshd.child.id()).len()) == [1, 1, 2]
    });

    let refused =
        SshTarget { port: free_port(), jump: vec![outer.target("outer")], ..inner.target("inner") };
    let error = Ssh::new(refused, Arc::new(Unattended)).connect_now(&Cancel::new()).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("cannot reach inner: the hop outer cannot connect to "), "{error:?}");

    let Some(strict) = Sshd::start("AllowTcpForwarding no") else { return };
    let forbidden = SshTarget { jump: vec![strict.target("strict")], ..inner.target("inner") };
    let error = Ssh::new(forbidden, Arc::new(Unattended)).connect_now(&Cancel::new()).unwrap_err();
    assert!(
        matches!(&error, TransportError::Connect { target, hint: Some(hint), .. }
            if target == "inner" && hint.contains("AllowTcpForwarding")),
        "{error:?}"
    );
}

#[test]
fn a_hop_that_runs_no_commands_is_enough() {
    let (Some(mut hop), Some(inner)) = (Sshd::start("MaxSessions 0"), Sshd::start("")) else {
        return;
    };
    let target = SshTarget { jump: vec![hop.target("hop")], ..inner.target("inner") };
    let ssh = Ssh::new(target, Arc::new(Unattended));
    assert_eq!(exec(&ssh, &Command::shell("echo 1")).unwrap().out(), "1\n");
    hop.kill_all();
    // That the session is gone is told without a command on it.
    wait_until("the loss is noticed", || match exec(&ssh, &Command::shell("echo 2")) {
        Ok(_) => false,
        Err(TransportError::Lost { why, .. }) => {
            assert!(why.contains("hop"), "{why}");
            false
        }
        Err(TransportError::Connect { target, .. }) => target == "hop",
        Err(other) => panic!("{other:?}"),
    });
    hop.restart();
    assert_eq!(exec(&ssh, &Command::shell("echo 3")).unwrap().out(), "3\n");
}
