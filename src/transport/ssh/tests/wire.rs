//! A byte that is changed on the way: no session goes on after it, and nothing wrong is ever delivered.

use super::link::proxy::{Place, Proxy, Side};
use super::*;

/// What a command answers: more than the window, so that our side sends meanwhile, and the same nowhere twice.
fn text() -> Vec<u8> {
    (0..1_000_000_u32).flat_map(u32::to_be_bytes).collect()
}

/// Runs a command on a link that changes one bit once the command has begun, and returns what was delivered and how it
/// ended.
fn changed(sshd: &Sshd, side: Side, place: Place) -> (Vec<u8>, TransportError, Duration) {
    let proxy = Proxy::start(sshd.port, |_| None);
    let ssh = Ssh::new(
        SshTarget {
            port: proxy.port,
            host_key_alias: Some(format!("[127.0.0.1]:{}", sshd.port)),
            silence: Duration::from_secs(3),
            ..sshd.target("t")
        },
        Arc::new(Unattended),
    );
    let (go, file) = (sshd.path("go"), sshd.path("text"));
    let _none_yet = std::fs::remove_file(&go);
    std::fs::write(&file, text()).unwrap();
    let line = format!(
        "echo begun; while [ ! -e {} ]; do sleep 0.02; done; exec cat {}",
        go.display(),
        file.display()
    );
    let (mut delivered, mut since) = (Vec::new(), None);
    let command = Command::shell(line).timeout(Some(Duration::from_secs(60)));
    let result = ssh.exec(&command, &Cancel::new(), &mut |stream, bytes| {
        if since.is_none() {
            since = Some(Instant::now());
            proxy.flip(side, place);
            std::fs::write(&go, "").unwrap();
        }
        if stream == Stream::Out {
            delivered.extend_from_slice(bytes);
        }
    });
    let took = since.unwrap().elapsed();
    assert_eq!(proxy.flipped(), 1, "{side:?} {place:?}");
    assert!(result.is_err(), "{side:?} {place:?} went on as if nothing had happened");
    let error = result.unwrap_err();

    // The next one is served over a connection of its own.
    let after = exec(&ssh, &Command::list(["tail", "-c", "1000", file.to_str().unwrap()])).unwrap();
    assert!(text().ends_with(&after.stdout) && after.stdout.len() == 1000, "{side:?} {place:?}");
    assert_eq!(proxy.connections(), 2, "{side:?} {place:?}");
    (delivered, error, took)
}

fn ends_the_session(settings: &str) {
    let Some(sshd) = Sshd::start(settings) else { return };
    let places = [Place::Byte(0), Place::Byte(2), Place::Byte(3), Place::Byte(9), Place::Last];
    for side in [Side::Server, Side::Client] {
        for place in places {
            let (delivered, error, took) = changed(&sshd, side, place);
            let case = format!("{settings} {side:?} {place:?} after {took:?}: {error:?}");
            let right = [b"begun\n", &text()[..]].concat();
            assert!(right.starts_with(&delivered), "wrong output was delivered: {case}");
            assert!(matches!(error, TransportError::Lost { .. }), "{case}");
            let said = error.to_string();
            assert!(said.starts_with("lost the connection to t: "), "{case}");
            let clear = match side {
                Side::Server => &["changed on the way"][..],
                // The server does not say why it hangs up; what it takes for a longer packet it waits for.
                Side::Client => &["closed by the other side", "no answer from the server"],
            };
            assert!(clear.iter().any(|words| said.contains(words)), "{case}");
            assert!(took < Duration::from_secs(30), "{case}");
        }
    }
}

#[test]
fn a_changed_byte_ends_a_session_of_chacha20() {
    ends_the_session("Ciphers chacha20-poly1305@openssh.com");
}

#[test]
fn a_changed_byte_ends_a_session_of_aes_gcm() {
    ends_the_session("Ciphers aes128-gcm@openssh.com");
}

#[test]
fn a_changed_byte_ends_a_session_of_aes_ctr_with_hmac() {
    ends_the_session("Ciphers aes128-ctr\nMACs hmac-sha2-256");
}
