//! Host keys: pinned, known, new, changed.

use super::*;

fn host_key_error(result: Result<(), TransportError>) -> (String, String) {
    match result.unwrap_err() {
        TransportError::HostKey { why, hint, .. } => (why, hint.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn host_keys_are_checked() {
    let Some(sshd) = Sshd::start("") else { return };
    let good = sshd.target("t");
    let print = {
        let out = std::process::Command::new("ssh-keygen")
            .args(["-lf"])
            .arg(sshd.path("host_ed25519.pub"))
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    let with = |lines: &str| {
        let file = sshd.path("other_hosts");
        std::fs::write(&file, lines).unwrap();
        SshTarget { known_hosts: vec![file], ..good.clone() }
    };

    // Unknown. The line to add is the last that is said, so that nothing else is taken for a part of it.
    let (result, asked) = connect(with(""), Person::default());
    let (why, hint) = host_key_error(result);
    assert!(hint.ends_with(sshd.host_line("ed25519").trim()), "{hint}");
    assert!(why.contains("not known") && why.contains(&print), "{why}");
    assert!(
        hint.contains(sshd.host_line("ed25519").trim()) && hint.contains("other_hosts"),
        "{hint}"
    );
    assert_eq!(asked, [format!("t ssh-ed25519 {print}")]);

    // Unknown, and a person trusts it; then it is known.
    let target = with("# mine\n");
    connect(target.clone(), Person { trusts: true, ..Person::default() }).0.unwrap();
    let (result, asked) = connect(target, Person::default());
    result.unwrap();
    assert!(asked.is_empty());

    // Only the other key is known: it is asked for first.
    connect(with(&sshd.host_line("rsa")), Person::default()).0.unwrap();

    // Changed, even if a person would trust it.
    keygen(&sshd.path("foreign"), "ed25519", "");
    let foreign = std::fs::read_to_string(sshd.path("foreign.pub")).unwrap();
    let changed = format!("# x\n[127.0.0.1]:{} {foreign}", sshd.port);
    let (result, asked) = connect(with(&changed), Person { trusts: true, ..Person::default() });
    let (why, hint) = host_key_error(result);
    assert!(why.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{why}");
    assert!(why.contains("other_hosts:2") && hint.contains("line 2"), "{why} {hint}");
    assert!(asked.is_empty());

    // Revoked, even if it is known and pinned.
    let revoked = format!("{0}@revoked {0}", sshd.host_line("ed25519"));
    let target = SshTarget { host_key: Some(print.clone()), ..with(&revoked) };
    let (why, _) = host_key_error(connect(target, Person { trusts: true, ..Person::default() }).0);
    assert!(why.contains("REVOKED"), "{why}");

    // Pinned, right and wrong.
    for pin in [print.clone(), print.trim_start_matches("SHA256:").to_owned()] {
        connect(SshTarget { host_key: Some(pin), ..with("") }, Person::default()).0.unwrap();
    }
    let wrong = Some(format!("SHA256:{}", "A".repeat(43)));
    let target = SshTarget { host_key: wrong, ..good.clone() };
    let (why, _) = host_key_error(connect(target, Person { trusts: true, ..Person::default() }).0);
    assert!(why.contains("demands SHA256:AAAA"), "{why}");

    // An authority is no key; an alias is another name.
    let authority = format!("@cert-authority {}", sshd.host_line("ed25519"));
    let (why, _) = host_key_error(connect(with(&authority), Person::default()).0);
    assert!(why.contains("authority"), "{why}");
    // Known without its port is known, unless another key is known with it.
    let portless = |kind: &str| {
        sshd.host_line(kind).replace(&format!("[127.0.0.1]:{}", sshd.port), "127.0.0.1")
    };
    connect(with(&portless("rsa")), Person::default()).0.unwrap();
    let revoked = format!("@revoked {}", portless("ed25519"));
    let why = connect(with(&revoked), Person::default()).0.unwrap_err().to_string();
    assert!(why.contains("REVOKED"), "{why}");
    let line = sshd.host_line("ed25519").replace(&format!("[127.0.0.1]:{}", sshd.port), "obs1");
    let target = SshTarget { host_key_alias: Some("obs1".to_owned()), ..with(&line) };
    connect(target, Person::default()).0.unwrap();
}
