use std::io::Write as _;

use super::*;
use crate::transport::ssh::{AgentSocket, Family, Method};

/// Whether OpenSSH's client is here; said loudly if not.
fn without_ssh() -> bool {
    let missing = Command::new(PROGRAM).arg("-V").stderr(Stdio::null()).status().is_err();
    if missing {
        let _said = writeln!(
            std::io::stderr(),
            "\n*** NOT TESTED: ssh is missing (package openssh-client) ***\n"
        );
        assert!(std::env::var_os("UPGRADE_HOST_REQUIRE_SSHD").is_none(), "ssh is required");
    }
    missing
}

fn host(name: &str) -> Asked {
    Asked { host: name.to_owned(), port: None, user: None }
}

struct File(tempfile::TempDir);

impl File {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config"), text).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn lookup(&self, asked: &Asked) -> Result<Settings, Unusable> {
        lookup(Some(&self.path("config")), asked)
    }

    /// What is said where it cannot be used, with the directory taken out.
    fn refused(&self, name: &str) -> String {
        let why = self.lookup(&host(name)).unwrap_err();
        why.message.replace(&self.path("").display().to_string(), "")
    }
}

#[test]
fn what_ssh_answers_is_what_counts() {
    if without_ssh() {
        return;
    }
    let more = File::new("Host web*\n  Port 2200\n");
    let file = File::new(&format!(
        "Include {}\nHost db1 gate\n  HostName 10.0.0.%h\n  User ops\n\
         Match originalhost db1 exec \"test %r = ops\"\n  Port 2222\n\
         Host db1\n  IdentityFile /keys/%n-%h-%p-%r-%%\n  IdentityFile ~/two\n  CertificateFile /keys/c\n\
         \x20 IdentitiesOnly yes\n  IdentityAgent /run/%u/agent\n  HostKeyAlias db-one\n\
         \x20 UserKnownHostsFile /k/one /k/two\n  ConnectTimeout 7\n  AddressFamily inet6\n\
         \x20 ProxyJump a@one:23,[::1]:24,two\n  Ciphers aes256-ctr\n  RequiredRSASize 3072\n\
         \x20 PreferredAuthentications keyboard-interactive,gssapi-with-mic,publickey\n\
         \x20 BatchMode yes\n  StrictHostKeyChecking yes\n",
        more.path("config").display()
    ));

    let db1 = file.lookup(&host("db1")).unwrap();

    let home = std::env::var("HOME").unwrap();
    let user = std::env::var("USER").unwrap_or_default();
    let local = if rustix::process::getuid().is_root() { "root" } else { user.as_str() };
    assert_eq!(db1.host.as_deref(), Some("10.0.0.db1"));
    assert_eq!((db1.port, db1.user.as_deref()), (Some(2222), Some("ops")));
    let keys = [PathBuf::from("/keys/db1-10.0.0.db1-2222-ops-%"), Path::new(&home).join("two")];
    assert_eq!(db1.identities, keys);
    assert_eq!(db1.certificates, [PathBuf::from("/keys/c")]);
    assert!(db1.identities_only && db1.batch && db1.strict);
    assert_eq!(db1.agent, Some(AgentSocket::At(format!("/run/{local}/agent").into())));
    assert_eq!(db1.host_key_alias.as_deref(), Some("db-one"));
    assert_eq!(db1.known_hosts[..2], [PathBuf::from("/k/one"), PathBuf::from("/k/two")]);
    assert!(db1.known_hosts.contains(&PathBuf::from("/etc/ssh/ssh_known_hosts")));
    assert_eq!(db1.connect_timeout, Some(Duration::from_secs(7)));
    assert_eq!(db1.family, Some(Family::V6));
    let hop = |user: Option<&str>, host: &str, port| Hop {
        host: host.to_owned(),
        port,
        user: user.map(str::to_owned),
    };
    assert_eq!(
        db1.jump,
        [hop(Some("a"), "one", Some(23)), hop(None, "::1", Some(24)), hop(None, "two", None)]
    );
    assert_eq!(db1.algorithms.ciphers, ["aes256-ctr"]);
    assert_eq!(db1.algorithms.rsa_bits, Some(3072));
    assert!(db1.algorithms.macs.is_empty(), "only what is set restricts");
    assert_eq!(db1.methods, Some(vec![Method::KeyboardInteractive, Method::PublicKey]));
    assert_eq!(db1.host_key_note, None);

    assert_eq!(file.lookup(&host("web7")).unwrap().port, Some(2200));
    let other = file.lookup(&host("other")).unwrap();
    assert_eq!(other.port, Some(22));
    let usual = Settings { port: other.port, user: other.user.clone(), ..Settings::default() };
    assert_eq!(other, usual);
    // What is said elsewhere reaches tokens and matches.
    let said = Asked { user: Some("root".to_owned()), port: Some(99), ..host("db1") };
    let keys = file.lookup(&said).unwrap().identities;
    assert_eq!(keys[0], PathBuf::from("/keys/db1-10.0.0.db1-99-root-%"));
}

#[test]
fn one_of_the_usual_keys_that_is_named_is_named() {
    if without_ssh() {
        return;
    }
    let file = File::new("IdentityFile ~/.ssh/id_ed25519\nUserKnownHostsFile none\n");
    let settings = file.lookup(&host("x")).unwrap();
    assert_eq!(settings.identities.len(), 1);
    assert!(!settings.known_hosts.is_empty());
    let file = File::new("IdentityAgent none\nIdentityFile none\nPort 22\n");
    let settings = file.lookup(&host("x")).unwrap();
    assert_eq!(settings.agent, Some(AgentSocket::Off));
    assert!(settings.identities.is_empty());
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_place() {
    if without_ssh() {
        return;
    }
    for (text, expected) in [
        (
            "\nBindAddress 10.0.0.1",
            "`BindAddress` (config:2) cannot be honoured: connections leave",
        ),
        ("pkcs11provider /lib/x.so", "`pkcs11provider` (config:1) cannot be honoured: keys on"),
        ("RevokedHostKeys /etc/revoked", "`RevokedHostKeys` (config:1) cannot be honoured"),
        ("KnownHostsCommand /bin/x", "`KnownHostsCommand` (config:1) cannot be honoured"),
        ("HostbasedAuthentication yes", "`HostbasedAuthentication` (config:1) cannot be honoured"),
        (
            "PreferredAuthentications gssapi-with-mic",
            "`PreferredAuthentications` (config:1) cannot be honoured: of `gssapi-with-mic` none",
        ),
        (
            "IdentityFile ~somebody/key",
            "`IdentityFile` (config:1) cannot be honoured: `~somebody/key`",
        ),
        ("IdentityFile /k/%C", "the token `%C`"),
        ("Nonsense yes", "`ssh -G x` fails: config: line 1: Bad configuration option: nonsense"),
        ("Port x\n", "`ssh -G x` fails: config line 1: "),
    ] {
        let said = File::new(text).refused("x");
        assert!(said.contains(expected), "{text}: {said}");
    }
    // Only a way that nothing else gives is missed.
    let settings = File::new("ProxyCommand nc %h %p\n").lookup(&host("x")).unwrap();
    assert!(settings.no_way.unwrap().message.contains("config:1) cannot be honoured"));
    assert!(File::new("ProxyCommand none\n").lookup(&host("x")).unwrap().no_way.is_none());
}

#[test]
fn relaxed_checks_of_host_keys_are_told_not_honoured() {
    if without_ssh() {
        return;
    }
    for (text, relaxed) in [
        ("StrictHostKeyChecking no", true),
        ("StrictHostKeyChecking accept-new", true),
        ("VerifyHostKeyDNS yes", true),
        ("NoHostAuthenticationForLocalhost yes", true),
        ("StrictHostKeyChecking ask", false),
        ("StrictHostKeyChecking yes", false),
        ("VerifyHostKeyDNS ask", false),
    ] {
        let note = File::new(text).lookup(&host("x")).unwrap().host_key_note;
        assert_eq!(note.is_some(), relaxed, "{text}: {note:?}");
        if let Some(note) = note {
            assert!(note.contains("config:1) is not honoured"), "{note}");
        }
    }
}

#[test]
fn a_file_that_says_nothing_of_connections_costs_nothing() {
    let debian = "Include /etc/ssh/ssh_config.d-none/*.conf\n# Port 7\n\nHost *\n    SendEnv LANG LC_*\n\
                  \tHashKnownHosts yes\n    GSSAPIAuthentication yes\n  ControlMaster auto\n";
    let file = File::new(debian);
    assert_eq!(files::read(Some(&file.path("config"))).unwrap().relevant(), None);
    assert_eq!(file.lookup(&host("x")).unwrap(), Settings::default());

    let file = File::new("Host *\n  compression=yes\n");
    std::fs::write(file.path("one.conf"), "Host x\n USER = ops\n").unwrap();
    let include = format!("Include {}/*.conf\n", file.path("").display());
    std::fs::write(file.path("config"), include).unwrap();
    let said = files::read(Some(&file.path("config"))).unwrap();
    let place = said.relevant().unwrap();
    assert_eq!((place.keyword.as_str(), place.line), ("user", 2));
    assert!(place.file.ends_with("one.conf"));
    for unclear in ["Include ~somebody/x", "Include /a*/b", "Include \"/a b\"", "Whatever 1"] {
        let file = File::new(unclear);
        assert!(files::read(Some(&file.path("config"))).unwrap().relevant().is_some(), "{unclear}");
    }
    // Files that include one another end.
    let file = File::new("");
    let own = file.path("config");
    std::fs::write(&own, format!("Include {}\n", own.display())).unwrap();
    assert!(files::read(Some(&own)).unwrap().relevant().is_some());
}

/// What is read of a file where there is no program to ask.
fn alone(file: &File, asked: &Asked) -> Result<Settings, Unusable> {
    let said = files::read(Some(&file.path("config"))).unwrap();
    settings_of("no-such-ssh", asked, &said)
}

#[test]
fn without_the_program_the_same_is_read() {
    if without_ssh() {
        return;
    }
    let more = File::new("Host web*\n  Port 2200\nHost *\n  User more\n");
    let includes =
        format!("Include {}\nHost *\n  ConnectTimeout 9\n", more.path("config").display());
    for text in [
        "Port 2222\nHost x\n  Port 23\n  User ops\n",
        "Host !x *\n  User others\nHost x y\n  HostName 10.0.0.%h%%\n  Port=23\n",
        "Host x\n  IdentityFile ~/one\n  IdentityFile /k/%n-%h-%p-%r\n  IdentitiesOnly yes\n  IdentityAgent none\nHost *\n  IdentityFile /three\n",
        "ProxyJump a@one:23,[::1]:24,two\nHostKeyAlias db-one\nAddressFamily inet6\nBatchMode yes\n",
        "UserKnownHostsFile /k/one /k/two\nCertificateFile /keys/c\nStrictHostKeyChecking yes\n",
        "GlobalKnownHostsFile /k/one\nStrictHostKeyChecking no\nConnectTimeout 7\n",
        "Ciphers aes256-ctr,aes128-ctr\nMACs hmac-sha2-256\nKexAlgorithms curve25519-sha256\n",
        "PreferredAuthentications keyboard-interactive,publickey\nPasswordAuthentication no\n",
        "Host x\n  ProxyJump none\nHost *\n  ProxyJump gate\n  SendEnv LANG\n  ForwardAgent no\n",
        includes.as_str(),
    ] {
        let file = File::new(text);
        for asked in [host("x"), host("web7"), Asked { port: Some(99), ..host("y") }] {
            let asked = Asked { user: Some("root".to_owned()), ..asked };
            let mut expected = file.lookup(&asked).unwrap();
            let mut read = alone(&file, &asked).unwrap();
            // The same words, at other places of a list that says which may be used, or of files that are the usual ones.
            for settings in [&mut expected, &mut read] {
                settings.known_hosts.sort();
            }
            assert_eq!(read, expected, "{text}: {asked:?}");
        }
    }
}

#[test]
fn without_the_program_what_only_it_understands_is_told() {
    for (text, expected) in [
        ("Port 1\nMatch host x\n  Port 2\n", "config:2 says `Match`, which depends on more"),
        ("CanonicalizeHostname yes\n", "config:1 says `CanonicalizeHostname`, which"),
        ("Port 1\nPort 2\n", "config:2 says `Port`, for the second time in one block"),
        ("Include /a*/b\n", "config:1 says `Include`, with a pattern that only ssh understands"),
        ("Port x\n", "config` cannot be read: expected port number"),
        ("Nonsense yes\n", "config` cannot be read: unknown field: Nonsense"),
        ("BindAddress 10.0.0.1\n", "`BindAddress` (config:1) cannot be honoured"),
        ("RevokedHostKeys /etc/revoked\n", "`RevokedHostKeys` (config:1) cannot be honoured"),
    ] {
        let file = File::new(text);
        let why = alone(&file, &host("x")).unwrap_err();
        let said = why.message.replace(&format!("{}/", file.0.path().display()), "");
        assert!(said.contains(expected), "{text}: {said}");
    }
    let way = alone(&File::new("ProxyCommand nc %h %p\n"), &host("x")).unwrap().no_way;
    assert!(way.unwrap().message.contains("config:1) cannot be honoured"));
}

#[test]
fn a_file_that_is_named_and_missing_is_told() {
    let file = File::new("");
    let missing = lookup(Some(&file.path("none")), &host("x")).unwrap_err();
    assert!(missing.message.starts_with("cannot read `"), "{missing:?}");
}

#[test]
fn what_a_program_that_does_not_answer_has_begun_ends_with_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = File::new("");
    let [program, pid] = ["slow-ssh", "pid"].map(|name| file.path(name));
    let script = format!("#!/bin/sh\nsleep 300 &\necho $! >{}\nwait\n", pid.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();

    let why = ask(program.to_str().unwrap(), None, &host("x"), Duration::from_secs(2)).unwrap_err();

    assert!(why.message.contains("has not answered within 2s"), "{why:?}");
    let pid = std::fs::read_to_string(pid).unwrap();
    let state =
        || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let since = std::time::Instant::now();
    while !state().is_empty() && !state().contains(") Z ") {
        assert!(since.elapsed() < Duration::from_secs(20), "{}", state());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_host_is_never_an_option() {
    if without_ssh() {
        return;
    }
    let file = File::new("Port 23\n");
    let made = file.path("made");
    let evil = host(&format!("-oMatch=exec \"touch {}\"", made.display()));
    let _refused_or_not = file.lookup(&evil);
    assert!(!made.exists());
}

#[test]
fn every_setting_is_documented() {
    let docs = include_str!("../../../../docs/config.md").to_ascii_lowercase();
    let all = keywords::HONOURED
        .iter()
        .chain(keywords::REFUSED.iter().map(|(keyword, _)| keyword))
        .chain(keywords::RELAXING.iter().map(|(keyword, _)| keyword))
        .chain(keywords::IGNORED);
    for keyword in all {
        assert!(docs.contains(&format!("`{keyword}`")), "{keyword}");
    }
}
