//! Logging in: keys, certificates, agents, passwords, several proofs.

use super::*;

#[test]
fn a_wrong_login_says_what_was_tried() {
    let Some(sshd) = Sshd::start("") else { return };
    keygen(&sshd.path("stranger"), "ed25519", "");
    let target = SshTarget {
        identities: vec![sshd.path("stranger"), sshd.path("missing")],
        password: Some(Secret::new("wrong".to_owned())),
        ..sshd.target("t")
    };
    match connect(target, Person::default()).0.unwrap_err() {
        TransportError::Auth { target, why, hint } => {
            assert_eq!(target, "t");
            for part in [
                "stranger (the server refuses it)",
                "missing",
                "password (the server refuses it)",
                "the server accepts publickey",
            ] {
                assert!(why.contains(part), "{why}");
            }
            assert!(hint.unwrap().contains("authorized_keys"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn encrypted_keys_and_certificates_open_with_their_passphrase() {
    let Some(sshd) = Sshd::start("") else { return };
    let authorize = |name: &str| {
        let mut keys = std::fs::read(sshd.path("authorized_keys")).unwrap();
        keys.extend(std::fs::read(sshd.path(name)).unwrap());
        std::fs::write(sshd.path("authorized_keys"), keys).unwrap();
    };
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let file = sshd.path(&format!("locked_{kind}"));
        keygen(&file, kind, "open sesame");
        authorize(&format!("locked_{kind}.pub"));
        let target = SshTarget { identities: vec![file.clone()], ..sshd.target("t") };
        let (result, asked) =
            connect(target.clone(), Person { secret: Some("wrong"), ..Person::default() });
        let error = result.unwrap_err();
        assert!(
            matches!(&error, TransportError::Auth { why, .. } if why.contains("passphrase is wrong")),
            "{error:?}"
        );
        assert!(asked[0].contains("locked_"), "{asked:?}");
        connect(target.clone(), Person { secret: Some("open sesame"), ..Person::default() })
            .0
            .unwrap();
        // Remembered.
        let (result, asked) = connect(target, Person::default());
        result.unwrap();
        assert!(asked.is_empty());
    }
    let file = sshd.path("given");
    keygen(&file, "ed25519", "given");
    authorize("given.pub");
    let target = SshTarget {
        identities: vec![file],
        passphrase: Some(Secret::new("given".to_owned())),
        ..sshd.target("t")
    };
    connect(target, Person::default()).0.unwrap();

    // A certificate beside a key that is not itself authorized.
    keygen(&sshd.path("ca"), "ed25519", "");
    keygen(&sshd.path("signed"), "ed25519", "");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-I", "me", "-n", &user(), "-s"])
        .args([sshd.path("ca"), sshd.path("signed.pub")])
        .status()
        .unwrap();
    assert!(made.success());
    let ca = std::fs::read_to_string(sshd.path("ca.pub")).unwrap();
    std::fs::write(sshd.path("line"), format!("cert-authority {ca}")).unwrap();
    authorize("line");
    let target = SshTarget { identities: vec![sshd.path("signed")], ..sshd.target("t") };
    connect(target, Person::default()).0.unwrap();
}

#[test]
fn proofs_are_given_one_after_another() {
    let Some(sshd) = Sshd::start("AuthenticationMethods publickey,publickey") else { return };
    keygen(&sshd.path("second"), "ecdsa", "");
    let one = connect(sshd.target("t"), Person::default()).0.unwrap_err();
    assert!(
        matches!(&one, TransportError::Auth { why, .. } if why.contains("the server wants more")),
        "{one:?}"
    );
    let mut keys = std::fs::read(sshd.path("authorized_keys")).unwrap();
    keys.extend(std::fs::read(sshd.path("second.pub")).unwrap());
    std::fs::write(sshd.path("authorized_keys"), keys).unwrap();
    let identities = vec![sshd.path("id"), sshd.path("second")];
    connect(SshTarget { identities, ..sshd.target("t") }, Person::default()).0.unwrap();
}

#[test]
fn only_the_methods_and_algorithms_that_are_allowed_are_used() {
    let Some(sshd) = Sshd::start("") else { return };
    let with = |change: &dyn Fn(&mut SshTarget)| {
        let mut target = sshd.target("t");
        std::fs::write(
            sshd.path("known_hosts"),
            [sshd.host_line("ed25519"), sshd.host_line("rsa")].concat(),
        )
        .unwrap();
        change(&mut target);
        connect(target, Person::default()).0.map_err(|error| error.to_string())
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();

    let password = with(&|t| t.methods = vec![Method::Password]).unwrap_err();
    assert!(password.contains("nothing could be tried"), "{password}");
    with(&|t| t.algorithms.ciphers = names(&["none@x", "aes256-ctr"])).unwrap();
    with(&|t| t.algorithms.key_exchange = names(&["ecdh-sha2-nistp384"])).unwrap();
    with(&|t| {
        t.algorithms.ciphers = names(&["aes256-ctr"]);
        t.algorithms.macs = names(&["hmac-sha2-512"]);
    })
    .unwrap();
    let macs = with(&|t| t.algorithms.macs = names(&["umac-64@openssh.com"])).unwrap_err();
    assert!(macs.contains("`MACs` of ssh's configuration allows nothing"), "{macs}");
    with(&|t| t.algorithms.host_key = names(&["rsa-sha2-512"])).unwrap();
    let bits = |bits| {
        with(&|t| {
            t.algorithms.host_key = names(&["rsa-sha2-512"]);
            t.algorithms.rsa_bits = Some(bits);
        })
    };
    bits(2048).unwrap();
    let short = bits(2049).unwrap_err();
    assert!(short.contains("of 2048 bits, and `RequiredRSASize` demands 2049"), "{short}");
    let key = with(&|t| t.algorithms.user_key = names(&["rsa-sha2-512"])).unwrap_err();
    assert!(key.contains("does not take ssh-ed25519"), "{key}");
    with(&|t| t.algorithms.user_key = names(&["ssh-ed25519"])).unwrap();
    let family = with(&|t| t.family = Some(Family::V6)).unwrap_err();
    assert!(family.contains("there is no IPv6 address"), "{family}");
}

#[test]
fn a_certificate_may_lie_elsewhere() {
    let Some(sshd) = Sshd::start("") else { return };
    for name in ["ca", "signed", "stranger"] {
        keygen(&sshd.path(name), "ed25519", "");
    }
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-I", "me", "-n", &user(), "-s"])
        .args([sshd.path("ca"), sshd.path("signed.pub")])
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::rename(sshd.path("signed-cert.pub"), sshd.path("elsewhere.pub")).unwrap();
    let ca = std::fs::read_to_string(sshd.path("ca.pub")).unwrap();
    let target = sshd.target("t");
    std::fs::write(sshd.path("authorized_keys"), format!("cert-authority {ca}")).unwrap();
    let identities = vec![sshd.path("stranger"), sshd.path("signed")];
    let without = SshTarget { identities, ..target };
    connect(without.clone(), Person::default()).0.unwrap_err();
    let certificates = vec![sshd.path("elsewhere.pub")];
    connect(SshTarget { certificates, ..without }, Person::default()).0.unwrap();
}

#[test]
fn the_named_agent_is_asked_for_the_named_keys() {
    let Some(sshd) = Sshd::start("MaxAuthTries 3") else { return };
    let (_agent, socket) = Agent::start(&sshd);
    let add = |name: &str| {
        let mut program = std::process::Command::new("ssh-add");
        program.arg("-q").arg(sshd.path(name)).env("SSH_AUTH_SOCK", &socket);
        assert!(program.status().unwrap().success());
    };
    for number in 0..6 {
        let name = format!("other{number}");
        keygen(&sshd.path(&name), "ed25519", "");
        add(&name);
    }
    add("id");
    // The private half is the agent's alone.
    std::fs::remove_file(sshd.path("id")).unwrap();
    let target = SshTarget {
        agent: AgentSocket::At(socket),
        identities: vec![sshd.path("id.pub")],
        ..sshd.target("t")
    };
    // The named one comes first, so that the server does not lose its patience with the others.
    connect(target.clone(), Person::default()).0.unwrap();
    connect(SshTarget { identities_only: true, ..target.clone() }, Person::default()).0.unwrap();
    let other = SshTarget { identities_only: true, identities: vec![sshd.path("none")], ..target };
    let error = connect(other, Person::default()).0.unwrap_err().to_string();
    assert!(error.contains("it holds none of the named keys"), "{error}");
    let nowhere = SshTarget { agent: AgentSocket::At(sshd.path("no-agent")), ..sshd.target("t") };
    let error = connect(nowhere, Person::default()).0.unwrap_err().to_string();
    assert!(error.contains("no-agent (not usable"), "{error}");
}

/// Ends the agent with the test.
pub(super) struct Agent(Child);

impl Agent {
    /// Starts one that holds nothing yet, and returns where it listens.
    pub(super) fn start(sshd: &Sshd) -> (Self, PathBuf) {
        let socket = sshd.path("agent");
        let mut command = std::process::Command::new("ssh-agent");
        command.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null());
        let agent = Self(command.spawn().unwrap());
        wait_until("the agent listens", || socket.exists());
        (agent, socket)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn the_agent_is_asked() {
    let Some(sshd) = Sshd::start("") else { return };
    let (_agent, socket) = Agent::start(&sshd);
    let added = std::process::Command::new("ssh-add")
        .arg("-q")
        .arg(sshd.path("id"))
        .env("SSH_AUTH_SOCK", &socket)
        .status()
        .unwrap();
    assert!(added.success());
    sshd.target("t");
    // The environment belongs to all tests of this process, so another process logs in.
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "transport::ssh::tests::auth::with_agent_only",
            "--ignored",
            "--nocapture",
        ])
        .env("SSH_AUTH_SOCK", &socket)
        .env("UPGRADE_HOST_TEST_SSHD", sshd.dir.path())
        .env("UPGRADE_HOST_TEST_PORT", sshd.port.to_string())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
#[ignore = "run by the_agent_is_asked"]
fn with_agent_only() {
    let Some(dir) = std::env::var_os("UPGRADE_HOST_TEST_SSHD").map(PathBuf::from) else { return };
    let target = SshTarget {
        port: std::env::var("UPGRADE_HOST_TEST_PORT").unwrap().parse().unwrap(),
        identities: vec![dir.join("none")],
        known_hosts: vec![dir.join("known_hosts")],
        ..SshTarget::new("t", user(), "127.0.0.1")
    };
    connect(target.clone(), Person::default()).0.unwrap();
    let without = SshTarget { agent: AgentSocket::Off, ..target };
    assert!(matches!(connect(without, Person::default()).0, Err(TransportError::Auth { .. })));
}
