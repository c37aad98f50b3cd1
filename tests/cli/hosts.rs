//! How targets stand before anything is begun.

use insta::assert_snapshot;

use crate::support::cli::Cli;
use crate::support::sshd::Sshd;

#[test]
fn each_target_is_told_how_it_stands() {
    let Some(sshd) = Sshd::start() else { return };
    let mut cli = Cli::new();
    let good = sshd.config("id", Some("host"));
    let stranger = good.replace("targets.box", "targets.closed").replace(
        &sshd.path("id").display().to_string(),
        &sshd.path("stranger").display().to_string(),
    );
    cli.write(
        "c.toml",
        &format!("{good}{stranger}[targets.gone]\naddress = \"127.0.0.1\"\nport = 1\n"),
    );
    cli.hide(&sshd.path("").display().to_string(), "$SSHD/");

    let json = cli.run(&["hosts", "--check", "--json", "--config", "c.toml"]);
    assert_eq!(json.code, Some(2), "{json:?}");
    let json = json.json();
    assert_eq!(
        (&json[0]["name"], &json[0]["trouble"], &json[0]["skew_ms"]),
        (&"box".into(), &serde_json::Value::Null, &0.into())
    );
    assert!(json[0]["free"].as_u64().is_some_and(|free| free > 0), "{json}");
    assert_eq!(json[1]["trouble"]["at"], "log-in");
    assert_eq!(json[2]["trouble"]["at"], "address");

    let said = cli.run(&["hosts", "--check", "closed,gone", "--config", "c.toml"]);
    assert_snapshot!(said.shown(), @r"
    name    reached    as  rsync  services  clock  free on /  system
    closed  ✗ log-in
    gone    ✗ address
    --- stderr
    error: cannot log in to closed: as root: tried key $SSHD/stranger (the server refuses it); the server accepts publickey, keyboard-interactive
      on  closed
    help: Add the public key to ~root/.ssh/authorized_keys on closed, name its file, or load it into the agent.
    error: cannot reach gone: 127.0.0.1:1 refuses connections
      on  gone
    help: Check that sshd runs there and that the port is right.
    [exit status: 2]
    ");
    assert_eq!(cli.run(&["hosts", "box", "--check", "--config", "c.toml"]).code, Some(0));
    assert!(cli.runs().is_empty());
}
