//! OpenSSH's client configuration counts for what our own does not say.

use crate::support::cli::Cli;
use crate::support::sshd::Sshd;

fn known(sshd: &Sshd) -> String {
    let public = std::fs::read_to_string(sshd.path("host.pub")).unwrap();
    let words: Vec<&str> = public.split_whitespace().collect();
    format!("[127.0.0.1]:{} {} {}\n", sshd.port, words[0], words[1])
}

#[test]
fn a_host_behind_another_is_reached_as_ssh_reaches_it() {
    let (Some(outer), Some(inner)) = (Sshd::start(), Sshd::start()) else { return };
    let cli = Cli::new();
    std::fs::create_dir(cli.path("../home/.ssh")).unwrap();
    let block = |name: &str, sshd: &Sshd| {
        format!(
            "Host {name}\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {}\n  UserKnownHostsFile {}\n",
            sshd.port,
            sshd.path("id").display(),
            sshd.path("known_hosts").display()
        )
    };
    let config = format!("{}  ProxyJump outer\n{}", block("inner", &inner), block("outer", &outer));
    cli.write("../home/.ssh/config", &format!("{config}  StrictHostKeyChecking no\n"));
    cli.write("c.toml", "[targets.inner]\n");
    std::fs::write(inner.path("known_hosts"), known(&inner)).unwrap();
    let run =
        || cli.run(&["-e", "print(output(\"echo there\"))", "--on", "inner", "--config", "c.toml"]);

    let unknown = run();
    // The key of every hop is checked, whatever ssh's configuration says.
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.err.contains("the host key of outer is not known"), "{unknown:?}");
    assert!(unknown.err.contains("`StrictHostKeyChecking` ("), "{unknown:?}");
    assert!(unknown.err.contains("is not honoured"), "{unknown:?}");

    std::fs::write(outer.path("known_hosts"), known(&outer)).unwrap();
    let said = run();
    assert_eq!((said.code, said.out.as_str()), (Some(0), "there\n"), "{said:?}");

    cli.write(
        "../home/.ssh/config",
        &format!("{config}  ProxyCommand none\nHost *\n  BindAddress 127.0.0.1\n"),
    );
    let refused = run();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("`BindAddress` ("), "{refused:?}");
    assert!(refused.err.contains("cannot be honoured"), "{refused:?}");
    let checked = cli.run(&["hosts", "inner", "--check", "--config", "c.toml"]);
    assert!(checked.out.contains("✗ configuration"), "{checked:?}");
    assert!(checked.err.contains("help: Take it out for `inner`"), "{checked:?}");

    cli.write("c.toml", "[targets.inner]\nssh_config = \"nowhere\"\n");
    let missing = run();
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.err.contains("nowhere"), "{missing:?}");
}
