//! Logins as they fail, and what is said of it.

use super::auth::Agent;
use super::*;

/// An agent that holds so many keys that no server knows.
fn agent_of_strangers(sshd: &Sshd, count: usize) -> (Agent, PathBuf) {
    let (agent, socket) = Agent::start(sshd);
    for number in 0..count {
        let file = sshd.path(&format!("stranger{number}"));
        keygen(&file, "ed25519", "");
        let mut add = std::process::Command::new("ssh-add");
        assert!(add.arg("-q").arg(file).env("SSH_AUTH_SOCK", &socket).status().unwrap().success());
    }
    (agent, socket)
}

fn refused(target: SshTarget) -> (String, String) {
    match connect(target, Person::default()).0.unwrap_err() {
        TransportError::Auth { why, hint, .. } => (why, hint.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_named_key_comes_before_what_an_agent_happens_to_hold() {
    let Some(sshd) = Sshd::start("MaxAuthTries 3") else { return };
    let (_agent, socket) = agent_of_strangers(&sshd, 6);
    let target = SshTarget { agent: AgentSocket::At(socket), ..sshd.target("t") };

    connect(target.clone(), Person::default()).0.unwrap();

    // Without a name, and a server that loses its patience: what was tried by then is told.
    let stranger = SshTarget { identities: vec![sshd.path("stranger0")], ..target };
    let (why, hint) = refused(stranger);
    // The agent holds it as well: it is refused once.
    assert_eq!(why.matches("refuses it").count(), 2, "{why}");
    assert!(!why.contains("tried key "), "{why}");
    assert!(why.contains("then the server closed the connection at agent key"), "{why}");
    assert!(why.contains("MaxAuthTries"), "{why}");
    assert!(hint.contains("`identity`"), "{hint}");
}

#[test]
fn keys_of_an_agent_that_are_not_tried_are_counted() {
    let Some(sshd) = Sshd::start("") else { return };
    let (_agent, socket) = agent_of_strangers(&sshd, 6);
    let target = SshTarget {
        agent: AgentSocket::At(socket),
        identities: vec![sshd.path("nowhere")],
        ..sshd.target("t")
    };

    let (why, hint) = refused(target);

    assert_eq!(why.matches("refuses it").count(), 4, "{why}");
    assert!(why.contains("2 more keys of the agent (not tried)"), "{why}");
    assert!(hint.contains("the file of its public key"), "{hint}");
}

#[test]
fn a_broken_key_is_not_taken_for_one_of_several_proofs() {
    let Some(sshd) = Sshd::start("") else { return };
    let text = std::fs::read_to_string(sshd.path("id")).unwrap();
    let cut = text.replace("-----END OPENSSH PRIVATE KEY-----\n", "");
    std::fs::write(sshd.path("id"), cut).unwrap();

    let (why, _) = refused(sshd.target("t"));

    assert!(why.contains("id (the server takes it, but nothing can be signed with it)"), "{why}");
    assert!(!why.contains("wants more"), "{why}");
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    let Some(sshd) = Sshd::start("") else { return };
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(sshd.path("id"), mode).unwrap();

    let (why, _) = refused(sshd.target("t"));

    assert!(why.contains("others may read it: its mode is 0640"), "{why}");
}

#[test]
fn a_certificate_that_expired_is_told() {
    let Some(sshd) = Sshd::start("") else { return };
    keygen(&sshd.path("ca"), "ed25519", "");
    keygen(&sshd.path("signed"), "ed25519", "");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-I", "me", "-V", "20200101:20200201", "-n", &user(), "-s"])
        .args([sshd.path("ca"), sshd.path("signed.pub")])
        .status()
        .unwrap();
    assert!(made.success());
    let ca = std::fs::read_to_string(sshd.path("ca.pub")).unwrap();
    std::fs::write(sshd.path("authorized_keys"), format!("cert-authority {ca}")).unwrap();

    let (why, _) = refused(SshTarget { identities: vec![sshd.path("signed")], ..sshd.target("t") });

    assert!(why.contains("signed-cert.pub (the server refuses it; it expired at 2020-0"), "{why}");
}

#[test]
fn that_there_is_nothing_to_try_is_told_with_what_is_missing() {
    let Some(sshd) = Sshd::start("") else { return };
    let target = SshTarget { identities: vec![sshd.path("id.pub")], ..sshd.target("t") };

    let (why, _) = refused(target);

    assert!(why.contains("nothing could be tried: no private key for "), "{why}");
    assert!(why.contains("id.pub, which no agent holds, no password; the server"), "{why}");
}

#[test]
fn a_server_that_takes_no_proof_is_told() {
    let Some(sshd) = Sshd::start("AuthenticationMethods none") else { return };

    let (why, hint) = refused(sshd.target("t"));

    assert!(why.ends_with("the server accepts nothing from this user"), "{why}");
    assert!(hint.contains("log of sshd"), "{hint}");
}
