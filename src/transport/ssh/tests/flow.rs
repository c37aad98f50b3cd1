//! Readers and writers that are slow hold back their own command, and no other.

use super::*;

#[test]
fn a_slow_reader_holds_back_the_command() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let progress = sshd.path("progress");
    let line = "for n in 1 2 3 4; do for m in 1 2 3 4; do head -c 4194304 /dev/zero; \
                printf x >>PROGRESS; done; done; echo done >&2";
    let command = Command::shell(line.replace("PROGRESS", &progress.display().to_string()));
    let written = || std::fs::read(&progress).map_or(0, |bytes| bytes.len());
    let (mut seen, mut stopped) = (0usize, false);
    let exit = ssh
        .exec(&command, &Cancel::new(), &mut |stream, bytes| {
            if stream == Stream::Out {
                seen += bytes.len();
                if !std::mem::replace(&mut stopped, true) {
                    // That nothing more happens can only be seen by waiting.
                    std::thread::sleep(Duration::from_secs(2));
                    assert!(written() <= 1, "{} pieces of 4 MiB were let through", written());
                }
            }
        })
        .unwrap();
    assert_eq!((seen, exit.ended), (64 << 20, Ended::Code(0)));
    assert_eq!(exit.stderr, b"done\n");
    assert!(exit.stdout.len() <= crate::transport::KEPT_OUTPUT + 100);
}

#[test]
fn a_slow_reader_holds_back_a_joined_command_and_a_slow_command_its_writer() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let written = AtomicU64::new(0);
    let (mut reader, output) = sockets();
    let (mut writer, input) = sockets();
    let go = sshd.path("go");
    let line = format!(
        "head -c 20000000 /dev/zero & while [ ! -e {} ]; do sleep 0.05; done; cat >/dev/null; wait",
        go.display()
    );
    let command = Command::shell(line).joined(Streams::new(input, output));
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| exec(&ssh, &command.timeout(Some(Duration::from_secs(120)))));
        let counted = &written;
        scope.spawn(move || {
            for _ in 0..320 {
                writer.write_all(&vec![7; 64 << 10]).unwrap();
                counted.fetch_add(64 << 10, Ordering::SeqCst);
            }
        });
        // Both are stopped by what the buffers on the way hold.
        let mut last = 0;
        wait_until("nothing moves", || {
            std::thread::sleep(Duration::from_millis(300));
            let now = written.load(Ordering::SeqCst);
            std::mem::replace(&mut last, now) == now && now > 0
        });
        assert!(last < 12 << 20, "{last} bytes were taken by a command that reads none");
        assert!(!ended.is_finished());

        std::fs::write(&go, "").unwrap();
        let mut come = Vec::new();
        reader.read_to_end(&mut come).unwrap();
        assert_eq!(come.len(), 20_000_000);
        assert_eq!(ended.join().unwrap().unwrap().ended, Ended::Code(0));
    });
    assert_eq!(written.load(Ordering::SeqCst), 320 * (64 << 10));
}

#[test]
fn a_joined_command_under_sudo_gets_what_follows_the_password() {
    let Some(sshd) = Sshd::start("") else { return };
    if !std::process::Command::new("sudo")
        .args(["-n", "true"])
        .output()
        .is_ok_and(|out| out.status.success())
    {
        return not_tested("sudo asks for a password");
    }
    for password in [None, Some(Secret::new("not asked for".to_owned()))] {
        let (mut ours, theirs) = sockets();
        let command = Command::list(["cat"])
            .sudo(Some(Sudo { user: None, password }))
            .joined(Streams::new(theirs.try_clone().unwrap(), theirs));
        let ssh = sshd.ssh();
        let ended = std::thread::spawn(move || exec(&ssh, &command));
        ours.write_all(b"binary\0\xff\n").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let mut come = Vec::new();
        ours.read_to_end(&mut come).unwrap();
        assert_eq!(come, b"binary\0\xff\n");
        assert_eq!(ended.join().unwrap().unwrap().ended, Ended::Code(0));
    }
}

#[test]
fn new_session_keys_in_the_middle_do_no_harm() {
    let Some(sshd) = Sshd::start("RekeyLimit 1M") else { return };
    let ssh = sshd.ssh();
    let bytes: Vec<u8> = (0..6u32 << 20).map(|n| (n % 253) as u8).collect();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (ssh, bytes) = (ssh.clone(), bytes.clone());
            scope.spawn(move || {
                let exit = exec(&ssh, &Command::shell("cat").stdin(bytes.clone())).unwrap();
                assert!(exit.stdout == bytes);
            });
        }
    });
    let exit = exec(&ssh, &Command::shell("head -c 16000000 /dev/zero")).unwrap();
    assert_eq!(exit.stdout.len(), 16_000_000);
}

#[test]
fn others_go_on_while_one_reader_is_slow() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let (release, held) = mpsc::channel::<()>();
    let (first, reached) = mpsc::channel();
    std::thread::scope(|scope| {
        let slow = ssh.clone();
        scope.spawn(move || {
            let mut told = false;
            let exit = slow
                .exec(&Command::shell("head -c 33554432 /dev/zero"), &Cancel::new(), &mut |_, _| {
                    if !told {
                        told = true;
                        first.send(()).unwrap();
                        held.recv().unwrap();
                    }
                })
                .unwrap();
            assert_eq!(exit.ended, Ended::Code(0));
        });
        reached.recv().unwrap();
        for _ in 0..20 {
            assert_eq!(exec(&ssh, &Command::shell("echo x")).unwrap().out(), "x\n");
        }
        release.send(()).unwrap();
    });
}
