//! Targets that cannot be had: told before a run is on record.

use insta::assert_snapshot;

use crate::support::cli::Cli;
use crate::support::sshd::Sshd;

const TOUCH: &str = "sh(\"touch ran\")";

#[test]
fn an_unknown_target_is_suggested() {
    let cli = Cli::new();
    cli.write("c.toml", "[targets.obs1]\naddress = \"10.0.0.5\"\n");
    assert_snapshot!(cli.show(&["-e", TOUCH, "--on", "obs2", "--config", "c.toml"]), @r#"
    --- stderr
    error: unknown target `obs2`
    help: Did you mean `obs1`? Known are: obs1, local.
    [exit status: 2]
    "#);
    assert_snapshot!(cli.show(&["-e", TOUCH, "--on", "@backup", "--config", "c.toml"]), @r#"
    --- stderr
    error: no target has the tag `backup`
    help: No target of the configuration has tags.
    [exit status: 2]
    "#);
    assert!(cli.runs().is_empty());
}

#[test]
fn of_many_targets_that_cannot_be_reached_all_are_told_in_few_words() {
    let mut cli = Cli::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    cli.hide(&port.to_string(), "PORT");
    let config: Vec<String> = (0..40)
        .map(|n| format!("[targets.t{n:02}]\naddress = \"127.0.0.1\"\nport = {port}\n"))
        .collect();
    cli.write("c.toml", &config.concat());
    assert_snapshot!(cli.show(&["-e", TOUCH, "--on", "t*", "--config", "c.toml"]), @r#"
    --- stderr
    error: cannot reach t00: 127.0.0.1:PORT refuses connections
      on  t00
    help: Check that sshd runs there and that the port is right. Nor can these be reached: t01, t02, t03, t04, t05, t06, t07, t08 and 31 more; `upgrade-host hosts --check` says why.
    [exit status: 2]
    "#);
    assert_snapshot!(cli.show(&["-e", TOUCH, "--on", "t0[1:2]", "--config", "c.toml"]), @r#"
    --- stderr
    error: cannot reach t01: 127.0.0.1:PORT refuses connections
      on  t01
    help: Check that sshd runs there and that the port is right. Nor can these be reached: t02; `upgrade-host hosts --check` says why.
    [exit status: 2]
    "#);
    assert!(cli.runs().is_empty());
}

#[test]
fn a_target_that_refuses_connections_is_told() {
    let mut cli = Cli::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    cli.hide(&port, "PORT");
    assert_snapshot!(cli.show(&["-e", TOUCH, "--on", &format!("me@127.0.0.1:{port}")]), @r#"
    --- stderr
    error: cannot reach me@127.0.0.1:PORT: 127.0.0.1:PORT refuses connections
      on  me@127.0.0.1:PORT
    help: Check that sshd runs there and that the port is right.
    [exit status: 2]
    "#);
    assert!(cli.runs().is_empty());
}

fn with_server() -> Option<(Sshd, Cli)> {
    let sshd = Sshd::start()?;
    let mut cli = Cli::new();
    cli.hide(&sshd.port.to_string(), "PORT");
    cli.hide(&sshd.path("").display().to_string(), "$SSHD/");
    for key in ["host", "other"] {
        let out = std::process::Command::new("ssh-keygen")
            .args(["-lf"])
            .arg(sshd.path(&format!("{key}.pub")))
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let public = std::fs::read_to_string(sshd.path(&format!("{key}.pub"))).unwrap();
        cli.hide(public.split_whitespace().nth(1).unwrap(), &format!("KEY-{key}"));
        let print = text.split_whitespace().nth(1).unwrap().to_owned();
        cli.hide(&print, &format!("SHA256:{key}"));
    }
    let user = std::process::Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
    cli.hide(&format!("{user}@"), "USER@");
    Some((sshd, cli))
}

#[test]
fn a_run_over_ssh_works_with_the_right_keys() {
    let Some((sshd, cli)) = with_server() else { return };
    cli.write("c.toml", &sshd.config("id", Some("host")));
    let said =
        cli.run(&["-e", "print(output(\"echo there\"))", "--on", "box", "--config", "c.toml"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "there\n"), "{said:?}");
}

#[test]
fn a_host_key_that_changed_is_refused() {
    let Some((sshd, cli)) = with_server() else { return };
    cli.write("c.toml", &sshd.config("id", Some("other")));
    assert_snapshot!(cli.show(&["-e", TOUCH, "--on", "box", "--config", "c.toml"]), @r#"
    --- stderr
    error: REMOTE HOST IDENTIFICATION HAS CHANGED: box shows the ssh-ed25519 key SHA256:host, but $SSHD/known_hosts:1 knows SHA256:other
      on  box
    help: Somebody may be impersonating the host. If its key was really changed, remove line 1 of $SSHD/known_hosts.
    [exit status: 2]
    "#);
    assert!(cli.runs().is_empty());
}

#[test]
fn a_host_key_that_is_unknown_is_refused_unattended() {
    let Some((sshd, cli)) = with_server() else { return };
    cli.write("c.toml", &sshd.config("id", None));
    assert_snapshot!(cli.show(&["-e", TOUCH, "--on", "box", "--config", "c.toml", "--yes"]), @r#"
    --- stderr
    error: the host key of box is not known: box shows the ssh-ed25519 key SHA256:host
      on  box
    help: Compare the fingerprint at the host's console; then pin it with `host_key = "SHA256:host"`, or add this line to $SSHD/known_hosts: [127.0.0.1]:PORT ssh-ed25519 KEY-host
    [exit status: 2]
    "#);
    assert!(cli.runs().is_empty());
}

#[test]
fn a_key_that_the_server_does_not_take_is_told() {
    let Some((sshd, cli)) = with_server() else { return };
    cli.write("c.toml", &sshd.config("stranger", Some("host")));
    assert_snapshot!(cli.show(&["-e", TOUCH, "--on", "box", "--config", "c.toml"]), @r#"
    --- stderr
    error: cannot log in to box: as root: tried key $SSHD/stranger (the server refuses it); the server accepts publickey, keyboard-interactive
      on  box
    help: Add the public key to ~root/.ssh/authorized_keys on box, name its file, or load it into the agent.
    [exit status: 2]
    "#);
    assert!(cli.runs().is_empty());
}

#[test]
fn a_wrong_password_of_the_application_changes_nothing_and_is_not_shown() {
    let site = crate::support::site::Site::with_server(3, &[]);
    site.runbook("", "step(\"out\", || suspend_all_users());");
    let ended = site.run_with_password("not-the-password");
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(ended.out.contains("system"), "{}", ended.out);
    assert!(!ended.out.contains("not-the-password"), "{}", ended.out);
    assert!(site.changes("SUSPENDED").is_empty());
}
