//! What a file must not say, and how that is told.

use insta::assert_snapshot;

use super::*;

#[test]
fn unknown_keys_name_place_and_nearest() {
    assert_snapshot!(wrong("[target.obs1]\naddress = \"x\"\n"), @r#"
    error: unknown key `target` at the top of the file
     --> upgrade-host.toml:1:2
      |
    1 | [target.obs1]
      |  ^^^^^^
      = help: Did you mean `targets`? Known are: targets, inventory, services, app, defaults.
    "#);
    assert_snapshot!(
        wrong("[targets.obs1]\nadress = \"10.0.0.5\"\nsudo = { user = \"a\", pasword = \"prompt\" }\n"),
        @r#"
    error: unknown key `adress` in `targets.obs1`
     --> upgrade-host.toml:2:1
      |
    2 | adress = "10.0.0.5"
      | ^^^^^^
      = help: Did you mean `address`? Known are: address, port, user, identity, known_hosts, host_key, host_key_alias, jump, sudo, password, passphrase, agent, connect_timeout, silence, ssh_config, tags, params.

    error: unknown key `pasword` in `targets.obs1.sudo`
     --> upgrade-host.toml:3:22
      |
    3 | sudo = { user = "a", pasword = "prompt" }
      |                      ^^^^^^^
      = help: Did you mean `password`? Known are: user, password.
    "#
    );
    assert_snapshot!(wrong("[services.obsr]\nfoo = 1\n[defaults]\ninterupt = \"ask\"\n"), @r#"
    error: unknown key `foo` in `services.obsr`
     --> upgrade-host.toml:2:1
      |
    2 | foo = 1
      | ^^^
      = help: Known are: start, stop, status, pid_file, process, port, url, manager.

    error: unknown key `interupt` in `defaults`
     --> upgrade-host.toml:4:1
      |
    4 | interupt = "ask"
      | ^^^^^^^^
      = help: Did you mean `interrupt`? Known are: on, params, user, identity, known_hosts, connect_timeout, silence, ssh_config, reconnect, interrupt, operator, state.
    "#);
    assert_snapshot!(wrong("[targets.local]\naddress = \"x\"\nport = 1\nsudoo = true\n"), @r#"
    error: `local` is this machine, so it has no `address`
     --> upgrade-host.toml:2:1
      |
    2 | address = "x"
      | ^^^^^^^
      = help: Give a server that is reached over ssh another name.

    error: `local` is this machine, so it has no `port`
     --> upgrade-host.toml:3:1
      |
    3 | port = 1
      | ^^^^

    error: unknown key `sudoo` in `targets.local`
     --> upgrade-host.toml:4:1
      |
    4 | sudoo = true
      | ^^^^^
      = help: Did you mean `sudo`? Known are: sudo, tags, params.
    "#);
}

#[test]
fn wrong_types_say_what_was_expected() {
    assert_snapshot!(
        wrong(
            "targets = 5\n[app]\nadapter = 1\n[defaults]\nreconnect = 30\nparams = []\n[services]\nx = \"y\"\n"
        ),
        @r#"
    error: `targets` is a whole number, expected a table
     --> upgrade-host.toml:1:11
      |
    1 | targets = 5
      |           ^

    error: `app.adapter` is a whole number, expected text
     --> upgrade-host.toml:3:11
      |
    3 | adapter = 1
      |           ^

    error: `defaults.reconnect` is a whole number, expected a duration such as "90s" or "1h 30m"
     --> upgrade-host.toml:5:13
      |
    5 | reconnect = 30
      |             ^^

    error: `defaults.params` is a list, expected a table
     --> upgrade-host.toml:6:10
      |
    6 | params = []
      |          ^^

    error: `services.x` is text, expected a table
     --> upgrade-host.toml:8:5
      |
    8 | x = "y"
      |     ^^^
    "#
    );
    assert_snapshot!(
        wrong(
            "[targets.a]\nport = \"22\"\nagent = \"yes\"\nsudo = 1\ntags = [1]\njump = { a = 1 }\nidentity = 1979-05-27\nuser = 0.5\n"
        ),
        @r#"
    error: `targets.a.port` is text, expected a port from 1 to 65535
     --> upgrade-host.toml:2:8
      |
    2 | port = "22"
      |        ^^^^

    error: `targets.a.agent` is text, expected true or false
     --> upgrade-host.toml:3:9
      |
    3 | agent = "yes"
      |         ^^^^^

    error: `targets.a.sudo` is a whole number, expected true, a user or { user = "…", password = "env:…" }
     --> upgrade-host.toml:4:8
      |
    4 | sudo = 1
      |        ^

    error: `targets.a.tags` is a whole number, expected a tag or a list of tags
     --> upgrade-host.toml:5:9
      |
    5 | tags = [1]
      |         ^

    error: `targets.a.jump` is a table, expected the name of a target, "user@host:port" or a list of them
     --> upgrade-host.toml:6:8
      |
    6 | jump = { a = 1 }
      |        ^^^^^^^^^

    error: `targets.a.identity` is a date or time, expected a path or a list of paths
     --> upgrade-host.toml:7:12
      |
    7 | identity = 1979-05-27
      |            ^^^^^^^^^^

    error: `targets.a.user` is a number with a fraction, expected text
     --> upgrade-host.toml:8:8
      |
    8 | user = 0.5
      |        ^^^
    "#
    );
}

#[test]
fn bad_values_are_told() {
    assert_snapshot!(
        wrong(
            r#"
[targets.a]
address = ""
port = 70000
connect_timeout = "soon"
host_key = "MD5:00"
[targets.b]
address = "root@10.0.0.5"
port = 0
user = "-x"
[targets.c]
address = "10.0.0.5:22"
connect_timeout = "0s"
sudo = "a b"
[targets.d]
address = "a b"
tags = "@backup"
[targets."a,b"]
[targets.all]
"#
        ),
        @r#"
    error: `targets.a.address` is empty
     --> upgrade-host.toml:3:11
      |
    3 | address = ""
      |           ^^

    error: `targets.a.port` is 70000, expected a port from 1 to 65535
     --> upgrade-host.toml:4:8
      |
    4 | port = 70000
      |        ^^^^^

    error: `targets.a.connect_timeout`: `soon` is no duration; expected for example `90s`, `1h 30m` or `7d`
     --> upgrade-host.toml:5:19
      |
    5 | connect_timeout = "soon"
      |                   ^^^^^^

    error: `targets.a.host_key` is no fingerprint; expected what `ssh-keygen -lf` prints, `SHA256:` and 43 characters
     --> upgrade-host.toml:6:12
      |
    6 | host_key = "MD5:00"
      |            ^^^^^^^^

    error: `targets.b.address` is "root@10.0.0.5"; the user belongs into `user`
     --> upgrade-host.toml:8:11
      |
    8 | address = "root@10.0.0.5"
      |           ^^^^^^^^^^^^^^^

    error: `targets.b.port` is 0, expected a port from 1 to 65535
     --> upgrade-host.toml:9:8
      |
    9 | port = 0
      |        ^

    error: `targets.b.user` is "-x", expected the name of a user
      --> upgrade-host.toml:10:8
       |
    10 | user = "-x"
       |        ^^^^

    error: `targets.c.address` is "10.0.0.5:22"; the port belongs into `port`
      --> upgrade-host.toml:12:11
       |
    12 | address = "10.0.0.5:22"
       |           ^^^^^^^^^^^^^

    error: `targets.c.connect_timeout` is 0, which no connection can keep
      --> upgrade-host.toml:13:19
       |
    13 | connect_timeout = "0s"
       |                   ^^^^

    error: `targets.c.sudo` is "a b", expected the name of a user
      --> upgrade-host.toml:14:8
       |
    14 | sudo = "a b"
       |        ^^^^^

    error: `targets.d.address` is "a b", expected a host name or an IP address
      --> upgrade-host.toml:16:11
       |
    16 | address = "a b"
       |           ^^^^^

    error: `@backup` is no tag
      --> upgrade-host.toml:17:8
       |
    17 | tags = "@backup"
       |        ^^^^^^^^^
       = help: Tags are letters, digits, `.`, `_` and `-`; `@` is written in selectors only.

    error: `a,b` is no name for a target
      --> upgrade-host.toml:18:10
       |
    18 | [targets."a,b"]
       |          ^^^^^
       = help: Names are letters, digits, `.`, `_` and `-`, beginning with a letter or digit.

    error: `all` stands for every target and cannot name one
      --> upgrade-host.toml:19:10
       |
    19 | [targets.all]
       |          ^^^
       = help: Names are letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
    "#
    );
    assert_snapshot!(
        wrong(
            r#"
[services.obsr]
pid_file = "run/pid"
process = "java ("
url = "localhost:80"
manager = "system"
[defaults]
interrupt = "roll"
reconnect = "-5s"
[app]
api = "x"
"#
        ),
        @r#"
    error: `services.obsr.pid_file` is "run/pid", expected an absolute path on the target
     --> upgrade-host.toml:3:12
      |
    3 | pid_file = "run/pid"
      |            ^^^^^^^^^

    error: `services.obsr.process` is no regular expression: unclosed group
     --> upgrade-host.toml:4:11
      |
    4 | process = "java ("
      |           ^^^^^^^^

    error: `services.obsr.url` is `localhost:80`, expected a URL such as https://host/path
     --> upgrade-host.toml:5:7
      |
    5 | url = "localhost:80"
      |       ^^^^^^^^^^^^^^

    error: `services.obsr.manager` is "system", expected one of "systemd", "sysv", "commands"
     --> upgrade-host.toml:6:11
      |
    6 | manager = "system"
      |           ^^^^^^^^
      = help: Did you mean "systemd"?

    error: `defaults.interrupt` is "roll", expected one of "ask", "pause", "rollback"
     --> upgrade-host.toml:8:13
      |
    8 | interrupt = "roll"
      |             ^^^^^^

    error: `defaults.reconnect`: `-5s` is negative; a duration cannot be
     --> upgrade-host.toml:9:13
      |
    9 | reconnect = "-5s"
      |             ^^^^^

    error: `app` does not say which adapter it is for
      --> upgrade-host.toml:10:2
       |
    10 | [app]
       |  ^^^
       = help: Add for example `adapter = "ahsay_obs"`.
    "#
    );
}

#[test]
fn jumps_that_lead_nowhere_are_told() {
    assert_snapshot!(wrong("[targets.obs1]\njump = \"bastoin\"\n[targets.bastion]\n"), @r#"
    error: `targets.obs1.jump`: unknown target `bastoin`
     --> upgrade-host.toml:2:8
      |
    2 | jump = "bastoin"
      |        ^^^^^^^^^
      = help: Did you mean `bastion`?
    "#);
    assert_snapshot!(
        wrong(
            "[targets]\na = { jump = \"b\" }\nb = { jump = [\"c\", \"x@y\"] }\nc = { jump = \"a\" }\nd = { jump = \"d\" }\n"
        ),
        @r#"
    error: the jumps go in a circle: a → b → c → a
     --> upgrade-host.toml:4:14
      |
    4 | c = { jump = "a" }
      |              ^^^

    error: the jumps go in a circle: d → d
     --> upgrade-host.toml:5:14
      |
    5 | d = { jump = "d" }
      |              ^^^
    "#
    );
    assert_snapshot!(
        wrong(
            "[targets]\nlocal = {}\na = { jump = \"local\" }\nb = { jump = \"u@h:x\" }\nc = { jump = [\"@h\", \"u@\", \"\"] }\n"
        ),
        @r#"
    error: `targets.a.jump`: `local` is this machine, nothing is reached through it
     --> upgrade-host.toml:3:14
      |
    3 | a = { jump = "local" }
      |              ^^^^^^^

    error: `targets.b.jump` has the port "x", expected 1 to 65535
     --> upgrade-host.toml:4:14
      |
    4 | b = { jump = "u@h:x" }
      |              ^^^^^^^

    error: `targets.c.jump` names no user before the `@` in "@h"
     --> upgrade-host.toml:5:15
      |
    5 | c = { jump = ["@h", "u@", ""] }
      |               ^^^^

    error: `targets.c.jump` names no host in "u@"
     --> upgrade-host.toml:5:21
      |
    5 | c = { jump = ["@h", "u@", ""] }
      |                     ^^^^

    error: `targets.c.jump` is empty
     --> upgrade-host.toml:5:27
      |
    5 | c = { jump = ["@h", "u@", ""] }
      |                           ^^
    "#
    );
}

#[test]
fn what_is_no_toml_is_shown_where_it_breaks() {
    assert_snapshot!(wrong("[targets.a\naddress = \"x\"\n"), @r#"
    error: this is not TOML: unclosed table, expected `]`
     --> upgrade-host.toml:1:11
      |
    1 | [targets.a
      |           ^
    "#);
    assert_snapshot!(wrong("[targets.a]\nport = \n"), @r#"
    error: this is not TOML: string values must be quoted, expected literal string
     --> upgrade-host.toml:2:8
      |
    2 | port =
      |        ^
    "#);
    assert_snapshot!(wrong("[targets.a]\nport = 1\nport = 2\n"), @r#"
    error: this is not TOML: duplicate key
     --> upgrade-host.toml:3:1
      |
    3 | port = 2
      | ^^^^
    "#);
    assert_snapshot!(wrong("[app]\nadapter = \"x\"\nn = 99999999999999999999\nm = inf\n"), @r#"
    error: `99999999999999999999` is too large a number
     --> upgrade-host.toml:3:5
      |
    3 | n = 99999999999999999999
      |     ^^^^^^^^^^^^^^^^^^^^

    error: `inf` is no number that can be used
     --> upgrade-host.toml:4:5
      |
    4 | m = inf
      |     ^^^
    "#);
    let text = wrong("[targets.a]\npassword = \"hunter2\n");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn nesting_without_end_is_refused() {
    let dotted = format!("[{}a]\n", "a.".repeat(300_000));
    let quoted = format!("{}\"=\" = 1\n", "\"#\".".repeat(300_000));
    let inline = format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    let tables = format!("a = {}1{}", "{a=".repeat(40), "}".repeat(40));

    for text in [dotted, quoted, inline, tables] {
        let errors = parse(&text).unwrap_err();
        assert_eq!(errors.0[0].line, 1);
    }
}
