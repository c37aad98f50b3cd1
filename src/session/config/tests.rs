use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

fn env(dir: &Path) -> Environment {
    let home = dir.join("home").to_str().unwrap().to_owned();
    let vars = [("HOME", home.as_str()), ("USER", "ann")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Environment {
        vars,
        dir: dir.join("work"),
        etc: dir.join("etc"),
        uid: rustix::process::geteuid().as_raw(),
    }
}

fn fixed() -> Environment {
    Environment { uid: 1000, ..env(Path::new("/r")) }
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("upgrade-host.toml"), &fixed())
}

fn wrong(text: &str) -> String {
    match parse(text) {
        Err(errors) => errors.to_string(),
        Ok(config) => panic!("this is accepted: {config:?}"),
    }
}

#[test]
fn everything_that_a_file_may_say_is_read() {
    let config = parse(
        r#"
        [defaults]
        on = "@backup"
        user = "root"
        identity = "~/.ssh/upgrade"
        reconnect = "5m"
        connect_timeout = "7s"
        interrupt = "pause"
        operator = "Ann"
        state = "state"
        params = { window_length = "2h", clients = 3 }

        [targets.obs1]
        address = "10.0.0.5"
        port = 2222
        user = "admin"
        known_hosts = ["/etc/hosts.known", "known"]
        host_key = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        jump = "bastion"
        sudo = { user = "obs", password = "env:SUDO_PW" }
        password = "file:/run/pw"
        passphrase = "prompt"
        agent = false
        tags = ["backup", "eu"]
        params = { system_password = "env:OBS1", home = "/srv/obs" }

        [targets.bastion]
        jump = "gate@[::1]:2200"
        sudo = true

        [targets.local]
        sudo = "obs"

        [services.obsr]
        start = "/etc/init.d/obsr start"
        process = "java .*obsr"
        port = 443
        manager = "commands"

        [app]
        adapter = "ahsay_obs"
        api = "http://127.0.0.1"
        system_password = "command:pass show obs"
        nested = { key = "env:KEY", mode = "prompt" }
        "#,
    )
    .unwrap();

    let obs1 = &config.targets["obs1"];
    assert_eq!((obs1.address.as_str(), obs1.port, obs1.user.as_str()), ("10.0.0.5", 2222, "admin"));
    assert_eq!(obs1.identities, [Path::new("/r/home/.ssh/upgrade")]);
    assert_eq!(obs1.known_hosts, [Path::new("/etc/hosts.known"), Path::new("/r/work/known")]);
    assert_eq!(obs1.connect_timeout, Duration::from_secs(7));
    assert!(!obs1.agent && !obs1.local);
    assert_eq!(obs1.sudo.as_ref().unwrap().user.as_deref(), Some("obs"));
    assert_eq!(obs1.tags, ["backup", "eu"]);
    assert_eq!(obs1.params["home"], "/srv/obs");
    let jump: Vec<_> =
        obs1.jump.iter().map(|hop| (hop.name.as_str(), hop.address.as_str(), hop.port)).collect();
    assert_eq!(jump, [("gate@[::1]:2200", "::1", 2200), ("bastion", "bastion", 22)]);
    assert_eq!(config.targets["bastion"].sudo, Some(SudoConfig::default()));
    assert!(config.targets["local"].local);
    assert_eq!(config.defaults.state.as_deref(), Some(Path::new("/r/work/state")));
    assert_eq!(config.defaults.reconnect, Some(Duration::from_secs(300)));
    assert_eq!(config.defaults.interrupt, Some(Interrupt::Pause));
    assert_eq!(config.defaults.params["clients"], 3);
    assert_eq!(config.services["obsr"].port, Some(443));
    let app = config.app.unwrap();
    assert_eq!(app.adapter, "ahsay_obs");
    assert_eq!(app.settings["system_password"]["$secret"], "app.system_password");
    assert_eq!(app.settings["nested"]["key"]["$secret"], "app.nested.key");
    assert_eq!(app.settings["nested"]["mode"], "prompt");
    let secrets: Vec<String> =
        config.secrets.iter().map(|(name, from)| format!("{name} = {from}")).collect();
    assert_snapshot!(secrets.join("\n"), @r#"
    app.nested.key = env:KEY
    app.system_password = command:pass show obs
    targets.obs1.passphrase = prompt
    targets.obs1.password = file:/run/pw
    targets.obs1.sudo.password = env:SUDO_PW
    "#);
}

/// Returns the code blocks of the documentation in a language.
fn documented(language: &str) -> Vec<&'static str> {
    include_str!("../../../docs/config.md")
        .split("```")
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

#[test]
fn the_documented_example_is_accepted() {
    let [example, inventories] = documented("toml").try_into().unwrap();
    assert!(parse(inventories).unwrap().has_inventories());
    let config = parse(example).unwrap();

    assert_eq!(config.targets["obs1"].jump[0].address, "gate.example.com");
    assert!(config.app.unwrap().settings["system_password"].is_object());
}

#[test]
fn every_key_is_documented() {
    let documentation = include_str!("../../../docs/config.md");
    let keys = [read::ROOT, read::DEFAULTS, read::TARGET, read::INVENTORY, read::SERVICE].concat();
    for key in keys {
        let named = [format!("`{key}`"), format!("[{key}"), format!("{key} =")];
        assert!(named.iter().any(|named| documentation.contains(named)), "{key}");
    }
}

#[test]
fn without_a_file_there_are_the_usual_settings() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::load(None, &env(dir.path())).unwrap();

    assert!(config.files.is_empty() && config.targets.is_empty() && config.app.is_none());
    assert_eq!(config.template.connect_timeout, CONNECT_TIMEOUT);
}

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
fn a_secret_deep_in_parameters_is_refused_and_not_shown() {
    for (params, key) in [
        ("params = { api = { db = { password = \"hunter2\" } } }", "api.db.password"),
        ("params = { tokens = [], token = [\"env:T\", \"hunter2\"] }", "token"),
        ("params = { list = [{ api_key = \"hunter2\" }] }", "list.api_key"),
        ("[targets.a.params.api]\nuser = \"ann\"\ntoken = \"hunter2\"", "api.token"),
    ] {
        let text = wrong(&format!("[targets.a]\n{params}\n"));
        let told = format!("`targets.a.params.{key}` must be a reference to a secret");
        assert!(text.contains(&told) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_shown() {
    let text = wrong(
        r#"
[targets.a]
password = "hunter2"
passphrase = ["hunter2"]
sudo = { password = "hunter2", user = "x" }
params = { system_password = "hunter2" }
[app]
adapter = "x"
api_token = "hunter2"
[defaults.params]
password = "env:hunter2 hunter2"
"#,
    );

    assert!(!text.contains("hunter2"), "{text}");
    assert_snapshot!(text, @r#"
    error: `targets.a.password` must be a reference to a secret: this is no reference to a secret
     --> upgrade-host.toml:3:12
      |
    3 | password = "…"
      |            ^^^
      = help: Write env:NAME, file:PATH, command:… or prompt; a secret does not stand in this file.

    error: `targets.a.passphrase` must be a reference to a secret: this is a list
     --> upgrade-host.toml:4:14
      |
    4 | passphrase = "…"
      |              ^^^
      = help: Write env:NAME, file:PATH, command:… or prompt; a secret does not stand in this file.

    error: `targets.a.sudo.password` must be a reference to a secret: this is no reference to a secret
     --> upgrade-host.toml:5:21
      |
    5 | sudo = { password = "…", user = "x" }
      |                     ^^^
      = help: Write env:NAME, file:PATH, command:… or prompt; a secret does not stand in this file.

    error: `targets.a.params.system_password` must be a reference to a secret: this is no reference to a secret
     --> upgrade-host.toml:6:30
      |
    6 | params = { system_password = "…" }
      |                              ^^^
      = help: Write env:NAME, file:PATH, command:… or prompt; a secret does not stand in this file.

    error: `app.api_token` must be a reference to a secret: this is no reference to a secret
     --> upgrade-host.toml:9:13
      |
    9 | api_token = "…"
      |             ^^^
      = help: Write env:NAME, file:PATH, command:… or prompt; a secret does not stand in this file.

    error: `defaults.params.password` must be a reference to a secret: what follows `env:` is no name of an environment variable
      --> upgrade-host.toml:11:12
       |
    11 | password = "…"
       |            ^^^
       = help: Write env:NAME, file:PATH, command:… or prompt; a secret does not stand in this file.
    "#);
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

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Renders errors with the temporary directory as `$ROOT`.
fn shown(dir: &Path, errors: &ConfigErrors) -> String {
    errors.to_string().replace(dir.to_str().unwrap(), "$ROOT")
}

#[test]
fn later_files_win_key_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let [etc, user, here] = Config::places(&env).try_into().unwrap();
    write(
        &etc,
        "[targets.a]\naddress = \"1.1.1.1\"\nport = 1\ntags = [\"x\"]\nparams = { p = 1, q = 1 }\n[app]\nadapter = \"one\"\nkey = \"of one\"\n",
        0o644,
    );
    write(&user, "[targets.a]\nport = 2\nparams = { q = 2 }\nidentity = \"id\"\n", 0o600);
    write(
        &here,
        "[targets.a]\nuser = \"u\"\ntags = [\"y\"]\n[targets.b]\n[app]\nadapter = \"two\"\n",
        0o600,
    );

    let config = Config::load(None, &env).unwrap();

    let a = &config.targets["a"];
    assert_eq!((a.address.as_str(), a.port, a.user.as_str()), ("1.1.1.1", 2, "u"));
    assert_eq!(a.tags, ["y"]);
    assert_eq!((&a.params["p"], &a.params["q"]), (&1.into(), &2.into()));
    assert_eq!(a.identities, [user.parent().unwrap().join("id")]);
    assert!(config.targets.contains_key("b"));
    let app = config.app.unwrap();
    assert_eq!((app.adapter.as_str(), app.settings.get("key")), ("two", None));
    assert_eq!(config.files.len(), 3);
    assert_eq!(config.files[2], Path::new(FILE));
}

#[test]
fn an_error_names_the_file_in_which_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    write(&env.etc.join(FILE), "[targets.a]\nprt = 1\n", 0o644);
    write(&env.dir.join(FILE), "[targets.a]\nuser = 1\n", 0o644);

    let errors = Config::load(None, &env).unwrap_err();

    assert_snapshot!(shown(dir.path(), &errors), @r#"
    error: unknown key `prt` in `targets.a`
     --> $ROOT/etc/upgrade-host.toml:2:1
      |
    2 | prt = 1
      | ^^^
      = help: Did you mean `port`? Known are: address, port, user, identity, known_hosts, host_key, host_key_alias, jump, sudo, password, passphrase, agent, connect_timeout, silence, ssh_config, tags, params.

    error: `targets.a.user` is a whole number, expected text
     --> upgrade-host.toml:2:8
      |
    2 | user = 1
      |        ^
    "#);
}

#[test]
fn only_the_named_file_counts() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    write(&env.etc.join(FILE), "no toml", 0o644);
    write(&env.dir.join("mine.toml"), "[targets.a]\n", 0o644);

    let config = Config::load(Some(Path::new("mine.toml")), &env).unwrap();

    assert_eq!(config.files, [Path::new("mine.toml")]);
    let errors = Config::load(Some(Path::new("other.toml")), &env).unwrap_err();
    assert_snapshot!(shown(dir.path(), &errors), @r#"
    error: cannot read this file: No such file or directory (os error 2)
     --> other.toml
    "#);
}

#[test]
fn files_that_others_can_write_are_refused_or_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let path = env.dir.join(FILE);
    write(&path, "[targets.a]\n", 0o666);

    let errors = Config::load(None, &env).unwrap_err();
    assert_snapshot!(shown(dir.path(), &errors), @r#"
    error: every user of this machine can write this file
     --> upgrade-host.toml
      = help: Take the right away with `chmod o-w upgrade-host.toml`.
    "#);

    write(&path, "[targets.a]\n", 0o664);
    assert!(Config::load(None, &env).unwrap().warnings.is_empty());

    write(&path, "[targets.a]\npassword = \"env:PW\"\n", 0o664);
    assert_snapshot!(Config::load(None, &env).unwrap().warnings.join("\n"), @"`upgrade-host.toml` says where secrets come from, and its group can write it; close it with `chmod g-w upgrade-host.toml`");
}

#[test]
fn a_file_of_another_user_is_read_only_when_named() {
    let dir = tempfile::tempdir().unwrap();
    let ours = env(dir.path());
    write(&ours.dir.join(FILE), "[targets.a]\n", 0o644);
    // As if we were another user than the owner of the file, who is neither root nor who called sudo.
    let others = Environment { uid: ours.uid + 1, ..ours.clone() };
    if ours.uid != 0 {
        let errors = Config::load(None, &others).unwrap_err();
        assert!(errors.to_string().contains("belongs to another user"), "{errors}");
        assert!(errors.to_string().contains("--config upgrade-host.toml"), "{errors}");
    }

    assert!(Config::load(Some(Path::new(FILE)), &others).is_ok());
    assert!(!Environment { uid: 5, ..fixed() }.trusts(6));
    assert!(Environment { uid: 5, ..fixed() }.trusts(0));
    let mut sudo = Environment { uid: 0, ..fixed() };
    assert!(!sudo.trusts(1000));
    sudo.vars.insert("SUDO_UID".to_owned(), "1000".to_owned());
    assert!(sudo.trusts(1000));
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    std::fs::create_dir_all(&env.dir).unwrap();
    std::fs::write(env.dir.join(FILE), b"a = 1\nb = \"\xff\"\n").unwrap();
    std::fs::create_dir_all(env.dir.join("folder")).unwrap();

    let errors = Config::load(None, &env).unwrap_err();
    assert_snapshot!(shown(dir.path(), &errors), @r#"
    error: this file is not UTF-8 text: the first bad byte is in line 2
     --> upgrade-host.toml
    "#);
    let errors = Config::load(Some(Path::new("folder")), &env).unwrap_err();
    assert_snapshot!(shown(dir.path(), &errors), @r#"
    error: cannot read this file: Is a directory (os error 21)
     --> folder
    "#);
}

#[test]
fn the_environment_never_shows_its_variables() {
    assert!(!format!("{:?}", fixed()).contains("ann"));
    assert_eq!(fixed().user(), "ann");
    assert_eq!(Environment { uid: 0, ..fixed() }.user(), "root");
}

/// Pieces of files, so that random input gets past the parser.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "[targets.a]\n",
        "[targets.b]\n",
        "[services.x]\n",
        "[app]\n",
        "[defaults]\n",
        "[defaults.params]\n",
        "address",
        "port",
        "user",
        "identity",
        "jump",
        "sudo",
        "password",
        "tags",
        "params",
        "host_key",
        "adapter",
        "on",
        "reconnect",
        "connect_timeout",
        "silence",
        "process",
        "url",
        " = ",
        "\"a\"",
        "\"b\"",
        "\"env:A\"",
        "\"u@h:22\"",
        "\"[::1\"",
        "\"1s\"",
        "22",
        "0.5",
        "true",
        "[",
        "]",
        "{ ",
        " }",
        ", ",
        "\n",
        "\"",
        "'",
        "é",
        "\"\"\"",
        ".",
        "#",
        "\\",
        "\u{0}",
        "1979-05-27",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(errors) = parse(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn no_file_panics(pieces in proptest::collection::vec(piece(), 0..40)) {
        if let Err(errors) = parse(&pieces.concat()) {
            prop_assert!(errors.0.iter().all(|error| error.line > 0 && error.column > 0));
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn a_plaintext_password_is_never_shown(
        before in "[a-z =\"{,é]{0,10}",
        value in "[\"'a-z {}#=,é\\\\]{0,12}",
    ) {
        // The mark of the secret stands in nothing else.
        prop_assume!(!before.contains("zq"));
        for text in [
            format!("{before}\npassword = \"zq{value}zq\"\n"),
            format!("[targets.a]\nsudo = {{ password = 'zq{value}zq', x = 1 }}"),
        ] {
            if let Err(errors) = parse(&text) {
                let shown = errors.to_string();
                prop_assert!(!shown.contains("zq") || value.contains(['"', '\'']), "{}", shown);
            }
        }
    }
}
