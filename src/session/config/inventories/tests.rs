use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::session::config::{Config, TargetConfig};

/// A directory with an upgrade-host.toml and other files.
struct Site(tempfile::TempDir);

impl Site {
    fn new(files: &[(&str, &str)]) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = site.0.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        site
    }

    fn env(&self) -> Environment {
        let vars = [("HOME", "/home/ann"), ("USER", "ann")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let dir = self.0.path().to_owned();
        Environment { vars: vars.into(), etc: dir.join("etc"), dir, uid: 1000 }
    }

    fn complete(&self) -> Result<Config, ConfigErrors> {
        let env = self.env();
        Config::load(Some(Path::new("upgrade-host.toml")), &env)?.complete(&env, &Cancel::new())
    }

    /// The targets and warnings, or what is wrong.
    fn shown(&self) -> String {
        let shown = match self.complete() {
            Ok(config) => {
                let mut shown: String = config.targets.values().map(line).collect();
                for warning in &config.warnings {
                    writeln!(shown, "! {warning}").unwrap();
                }
                shown
            }
            Err(errors) => errors.to_string(),
        };
        shown.replace(self.0.path().to_str().unwrap(), "$DIR")
    }
}

fn line(target: &TargetConfig) -> String {
    let mut line = format!("{} {}@{}:{}", target.name, target.user, target.address, target.port);
    if !target.tags.is_empty() {
        write!(line, " @{}", target.tags.join(" @")).unwrap();
    }
    for identity in &target.identities {
        write!(line, " key {}", identity.display()).unwrap();
    }
    for hop in &target.jump {
        write!(line, " via {}", hop.name).unwrap();
    }
    if let Some(sudo) = &target.sudo {
        write!(line, " sudo {:?} {:?}", sudo.user, sudo.password).unwrap();
    }
    if !target.params.is_empty() {
        write!(line, " {}", serde_json::to_string(&target.params).unwrap()).unwrap();
    }
    line + "\n"
}

const INI: &str = "[inventory.old]\nfile = \"hosts.ini\"\n";
const YAML: &str = "[inventory.old]\nfile = \"hosts.yml\"\n";
const JSON: &str = "[inventory.old]\nfile = \"hosts.json\"\n";

fn with(toml: &str, name: &str, text: &str) -> String {
    Site::new(&[("upgrade-host.toml", toml), (name, text)]).shown()
}

#[test]
fn an_ini_inventory_is_read_as_ansible_reads_it() {
    let text = "# comment\nalone ansible_host=10.0.0.9 ; not a comment for hosts\n";
    assert!(with(INI, "hosts.ini", text).contains("followed by what is no setting"));
    let text = r#"
; comment
alone ansible_host=10.0.0.9  # the only one
[web]
web[01:02].example.com:2222 ansible_user=deploy color="dark blue"
web3 ansible_host = 10.0.0.3
"#;
    assert!(with(INI, "hosts.ini", text).contains("hosts.ini:6:6"));
    let text = r#"
alone ansible_host=10.0.0.9  # the only one
[web]
web[01:02].example.com:2222 ansible_user=deploy color="dark blue" size=3
[db]
db-[a:b] ansible_become=yes ansible_become_user='postgres'
[db:vars]
ansible_ssh_private_key_file=keys/db
ansible_become_pass=env:DB_SUDO
size = 2  # small
note = it's # text
[eu:children]
web
db
[eu:vars]
ansible_user=eu
size=1
[all:vars]
ansible_ssh_common_args='-o StrictHostKeyChecking=no -o ProxyJump=ops@gate:2200'
[local]
localhost ansible_connection=local
"#;
    assert_snapshot!(with(INI, "hosts.ini", text), @r#"
    alone ann@10.0.0.9:22 via ops@gate:2200
    db-a eu@db-a:22 @db @eu key $DIR/keys/db via ops@gate:2200 sudo Some("postgres") Some(Env("DB_SUDO"))
    db-b eu@db-b:22 @db @eu key $DIR/keys/db via ops@gate:2200 sudo Some("postgres") Some(Env("DB_SUDO"))
    local ann@local:22 @local
    web01.example.com deploy@web01.example.com:2222 @eu @web via ops@gate:2200
    web02.example.com deploy@web02.example.com:2222 @eu @web via ops@gate:2200
    "#);
    let asked = format!("{INI}params = true\n");
    assert_snapshot!(with(&asked, "hosts.ini", text), @r#"
    alone ann@10.0.0.9:22 via ops@gate:2200
    db-a eu@db-a:22 @db @eu key $DIR/keys/db via ops@gate:2200 sudo Some("postgres") Some(Env("DB_SUDO")) {"note":"it's # text","size":2}
    db-b eu@db-b:22 @db @eu key $DIR/keys/db via ops@gate:2200 sudo Some("postgres") Some(Env("DB_SUDO")) {"note":"it's # text","size":2}
    local ann@local:22 @local
    web01.example.com deploy@web01.example.com:2222 @eu @web via ops@gate:2200 {"color":"dark blue","size":3}
    web02.example.com deploy@web02.example.com:2222 @eu @web via ops@gate:2200 {"color":"dark blue","size":3}
    "#);
}

#[test]
fn a_yaml_inventory_is_read_as_ansible_reads_it() {
    let text = r"
all:
  vars: &common
    ansible_user: deploy
    zone: 01
  hosts:
    alone:
  children:
    web:
      hosts:
        web[1:2]: { ansible_port: 2222, up: yes }
        1.5:
          <<: *common
          ansible_user: other
    db:
      vars:
        ansible_become: true
        secret_word: !vault |
          $ANSIBLE_VAULT;1.1;AES256
          6162
      hosts:
        db1:
          db_password: hunter2
          app: { port: 1, users: [{ name: ann, password: hunter2, api_token: env:TOKEN }], vpass: 3 }
";
    let toml = format!("{YAML}params = true\n");
    let shown = with(&toml, "hosts.yml", text);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_snapshot!(shown, @r#"
    1.5 other@1.5:22 @web {"zone":1}
    alone deploy@alone:22 {"zone":1}
    db1 deploy@db1:22 @db sudo None None {"app":{"port":1,"users":[{"api_token":"env:TOKEN","name":"ann"}]},"zone":1}
    web1 deploy@web1:2222 @web {"up":true,"zone":1}
    web2 deploy@web2:2222 @web {"up":true,"zone":1}
    ! hosts.yml:24: db1: `app.users.password` is not taken, since a secret does not stand in an inventory; write env:NAME, file:PATH, command:… or prompt there, or in `params` of [targets.NAME]
    ! hosts.yml:24: db1: `app.vpass` is not taken, since a secret does not stand in an inventory; write env:NAME, file:PATH, command:… or prompt there, or in `params` of [targets.NAME]
    ! hosts.yml:23: db1: `db_password` is not taken, since a secret does not stand in an inventory; write env:NAME, file:PATH, command:… or prompt there, or in `params` of [targets.NAME]
    ! hosts.yml:18: db1: `secret_word` is not taken, since a secret does not stand in an inventory; write env:NAME, file:PATH, command:… or prompt there, or in `params` of [targets.NAME]
    "#);
}

#[test]
fn json_is_our_settings_or_the_form_of_ansible() {
    let ours = r#"{"web1": {"address": "10.0.0.1", "tags": ["web"], "params": {"n": null}}, "web2": {"jump": "web1"}}"#;
    let theirs = r#"{"_meta": {"hostvars": {"web1": {"ansible_host": "10.0.0.1", "n": 1, "__x": {"__ansible_vault": "x"}}}},
        "all": {"children": ["web", "ungrouped"]}, "web": {"hosts": ["web1", "web2"], "vars": {"ansible_port": 23}}, "old": ["web2"]}"#;
    assert_snapshot!(with(JSON, "hosts.json", ours), @r#"
    web1 ann@10.0.0.1:22 @web {"n":null}
    web2 ann@web2:22 via web1
    "#);
    assert_snapshot!(with(&format!("{JSON}params = true\n"), "hosts.json", theirs), @r#"
    web1 ann@10.0.0.1:23 @web {"n":1}
    web2 ann@web2:23 @old @web
    ! hosts.json: web1: `__x` is not taken, since a secret does not stand in an inventory; write env:NAME, file:PATH, command:… or prompt there, or in `params` of [targets.NAME]
    "#);
    let mut said = Vec::new();
    for text in [
        "",
        "{\"a\": hunter2}",
        "[1]",
        r#"{"web1": {"port": 1}, "web1": {"password": "hunter2"}}"#,
        r#"{"web1": {"adress": "hunter2"}}"#,
        r#"{"web1": {"password": "hunter2"}}"#,
        r#"{"web1": 5, "web 2": {}, "web3": {"port": "x"}}"#,
        r#"{"web": {"hosts": ["web1"]}}"#,
        r#"{"_meta": {}, "web": {"hosts": {"a": 1}}}"#,
        r#"{"_meta": {}, "a": {"children": ["b"]}, "b": {"children": ["a"]}}"#,
    ] {
        said.push(with(JSON, "hosts.json", text));
    }
    let said = said.join("\n");
    assert!(!said.contains("hunter2"), "{said}");
    assert_snapshot!(said, @r#"
    error: this is empty, expected JSON
     --> hosts.json
    error: this is not JSON (line 1, column 7)
     --> hosts.json
    error: this is a list, expected an object of names and settings
     --> hosts.json
    error: `web1` is there twice at line 1 column 54
     --> hosts.json
    error: unknown key `adress` in `targets.web1`
     --> hosts.json
      = help: Did you mean `address`? Known are: address, port, user, identity, known_hosts, host_key, host_key_alias, jump, sudo, password, passphrase, agent, connect_timeout, silence, ssh_config, tags, params.
    error: `targets.web1.password` must be a reference to a secret: this is no reference to a secret
     --> hosts.json
      = help: Write env:NAME, file:PATH, command:… or prompt; a secret does not stand in this file.
    error: `web 2` is no name for a target
     --> hosts.json
      = help: Names are letters, digits, `.`, `_` and `-`, beginning with a letter or digit.

    error: `targets.web1` is a whole number, expected a table
     --> hosts.json

    error: `targets.web3.port` is text, expected a port from 1 to 65535
     --> hosts.json
    error: `web` looks like a group of Ansible, but there is no `_meta`
     --> hosts.json
      = help: Print `"_meta": {"hostvars": {…}}` as well, as `ansible-inventory --list` does; hosts are not asked about one by one.
    error: `web.hosts` is an object, expected a list of names
     --> hosts.json
    error: the groups contain one another in a circle: a → b → a
     --> hosts.json
    "#);
}

#[test]
fn what_the_configuration_says_comes_first_key_by_key() {
    let toml = r#"
        [inventory.a]
        file = "a.ini"
        [inventory.b]
        file = "b.json"
        [targets.web1]
        user = "root"
        jump = "gate"
        params = { b = "toml" }
        [targets.own]
        jump = "web2"
    "#;
    let a = "gate\n[web]\nweb1 ansible_host=10.0.0.1 ansible_user=a ansible_ssh_common_args='-o ProxyCommand=x'\nweb2\n";
    let b = r#"{"web1": {"port": 23, "user": "b", "params": {"a": 1, "b": 2}}}"#;
    let site = Site::new(&[("upgrade-host.toml", toml), ("a.ini", a), ("b.json", b)]);
    assert_snapshot!(site.shown(), @r#"
    gate ann@gate:22
    own ann@own:22 via web2
    web1 root@10.0.0.1:23 @web via gate {"a":1,"b":"toml"}
    web2 ann@web2:22 @web
    "#);
}

#[test]
fn what_changes_how_a_host_is_reached_is_an_error_or_told() {
    let said: Vec<String> = [
        "win ansible_connection=winrm\nsw ansible_connection=ansible.netcommon.network_cli\nme ansible_connection=local\nok ansible_connection=ssh\nwin2 ansible_connection=winrm\n",
        "a ansible_password=hunter2\nb ansible_become=1 ansible_become_pass=hunter2\nc ansible_password=env:PW\nd ansible_ssh_executable=/opt/ssh\n",
        "a ansible_ssh_common_args='-o ProxyCommand=\"ssh -W %h:%p hunter2\"'\nb ansible_ssh_extra_args='-F hunter2'\nc ansible_ssh_args='-C -o ControlMaster=auto -o ControlPersist=60s'\n",
        "a ansible_port=99999\nb ansible_host={{x}}\nc ansible_become=maybe\nd ansible_become=true ansible_become_method=doas\n",
        "[a:children]\nb\n[b:children]\na\n",
        "[web\nx\n[web:var]\ny\n[wbe:vars]\nk=v\n[web:vars]\nx\n[web:children]\na b\n[web]\nw[3:1]\nx \"y\n",
    ]
    .into_iter()
    .map(|text| with(INI, "hosts.ini", text))
    .collect();
    let said = said.join("\n");
    assert!(!said.contains("hunter2"), "{said}");
    assert_snapshot!(said, @r#"
    ok ann@ok:22
    ! hosts.ini:2: sw: left out: `ansible_connection=ansible.netcommon.network_cli` is a way that is not known here; ssh and local are
    ! hosts.ini:3: me: left out: `ansible_connection=local` is this machine, which is the target `local`
    ! hosts.ini:1: win (and one more host): left out: `ansible_connection=winrm` is a way that is not known here; ssh and local are

    a ann@a:22
    b ann@b:22 sudo None None
    c ann@c:22
    d ann@d:22
    ! hosts.ini:2: b: `ansible_become_pass` is not taken, since a secret does not stand in an inventory; write env:NAME, file:PATH, command:… or prompt there, or `sudo.password` in [targets.NAME]
    ! hosts.ini:1: a: `ansible_password` is not taken, since a secret does not stand in an inventory; write env:NAME, file:PATH, command:… or prompt there, or `password` in [targets.NAME]
    ! hosts.ini:4: d: `ansible_ssh_executable` does nothing here

    error: a: `ansible_ssh_common_args` has the option `ProxyCommand`, which cannot be honoured
     --> hosts.ini:1:3
      = help: Name the servers in between: `jump = "user@host"` in [targets.a], or `-J user@host` here.

    error: b: `ansible_ssh_extra_args` has `-F`, which cannot be honoured
     --> hosts.ini:2:3
      = help: Name the servers in between: `jump = "user@host"` in [targets.b], or `-J user@host` here.
    error: b: `ansible_host` is a template of Ansible, which is not evaluated here
     --> hosts.ini:2:3
      = help: Let Ansible evaluate it, `command = ["ansible-inventory", "-i", "FILE", "--list"]`, or write the value.

    error: c: `ansible_become` is neither true nor false
     --> hosts.ini:3:3
      = help: Write true or false.

    error: d: `ansible_become_method` is not sudo, the only one here
     --> hosts.ini:4:23
      = help: Say what is meant with `sudo` in [targets.d].
    error: the groups contain one another in a circle: a → b → a
     --> hosts.ini:1:1
    error: this is no header of a section
     --> hosts.ini:1:1
      = help: Write [group], [group:children] or [group:vars].

    error: `var` is no kind of section, expected children or vars
     --> hosts.ini:3:1
      = help: Did you mean `[web:vars]`?

    error: this is no variable
     --> hosts.ini:8:1
      = help: Below [group:vars], each line is key=value.

    error: this is no name of a group
      --> hosts.ini:10:1
       = help: Below [group:children], each line is the name of a group.

    error: the range `[3:1]` ends before it begins
      --> hosts.ini:12:1

    error: a quote is not closed
      --> hosts.ini:13:3

    error: variables for the group `wbe`, which has no hosts and no groups
     --> hosts.ini:5:1
      = help: Did you mean `[web:vars]`?
    "#);
}

#[test]
fn a_command_is_run_where_the_file_is_and_its_failure_is_told_there() {
    let site = |command: &str| {
        let toml = format!("[inventory.cloud]\ncommand = {command}\n");
        let site = Site::new(&[
            ("upgrade-host.toml", &toml),
            ("list", "#!/bin/sh\necho '{\"web1\": {}}'\n"),
        ]);
        let list = site.0.path().join("list");
        fs::set_permissions(list, fs::Permissions::from_mode(0o755)).unwrap();
        site.shown()
    };
    assert_eq!(site("[\"./list\", \"$HOME; false\"]"), "web1 ann@web1:22\n");
    assert_eq!(site("\"./list | cat\""), "web1 ann@web1:22\n");
    let said = [
        "[\"sh\", \"-c\", \"echo hidden; echo told >&2; exit 3\"]",
        "[\"./nothing\"]",
        "\"sleep 60\"\ntimeout = \"50ms\"",
        "\"echo no JSON\"",
        "\"echo '{\\\"web1\\\": {\\\"prot\\\": 22}}'\"",
    ]
    .map(site);
    assert_snapshot!(said.join("\n"), @r#"
    error: the command of `inventory.cloud` ended with status 3: told
     --> upgrade-host.toml:2:11
      |
    2 | command = ["sh", "-c", "echo hidden; echo told >&2; exit 3"]
      |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    error: the command of `inventory.cloud` ended with status 127: /bin/sh: 1: exec: ./nothing: not found
     --> upgrade-host.toml:2:11
      |
    2 | command = ["./nothing"]
      |           ^^^^^^^^^^^^^
    error: the command of `inventory.cloud` did not end within 50ms
     --> upgrade-host.toml:2:11
      |
    2 | command = "sleep 60"
      |           ^^^^^^^^^^
    error: this is not JSON (line 1, column 2)
     --> inventory.cloud
    error: unknown key `prot` in `targets.web1`
     --> inventory.cloud
      = help: Did you mean `port`? Known are: address, port, user, identity, known_hosts, host_key, host_key_alias, jump, sudo, password, passphrase, agent, connect_timeout, silence, ssh_config, tags, params.
    "#);
}

#[test]
fn what_an_inventory_may_say_is_checked_at_once() {
    let site = Site::new(&[(
        "upgrade-host.toml",
        "[inventory.a]\n[inventory.b]\nfile = \"x\"\ncommand = \"y\"\n[inventory.c]\nfile = \"x\"\ntimeout = \"1s\"\n\
         [inventory.d]\ncommand = []\n[inventory.e]\ncomand = \"x\"\n[targets.x]\nprot = 1\n",
    )]);
    let errors = Config::load(Some(Path::new("upgrade-host.toml")), &site.env()).unwrap_err();
    assert_snapshot!(errors.to_string(), @r#"
    error: `inventory.a` has neither `command` nor `file`
     --> upgrade-host.toml:1:12
      |
    1 | [inventory.a]
      |            ^
      = help: Add `command = ["./list-hosts"]` or `file = "hosts.ini"`.

    error: `inventory.b` has both `command` and `file`
     --> upgrade-host.toml:4:1
      |
    4 | command = "y"
      | ^^^^^^^
      = help: Make it two inventories.

    error: `inventory.c.timeout` is for a command, and this is a file
     --> upgrade-host.toml:7:1
      |
    7 | timeout = "1s"
      | ^^^^^^^

    error: `inventory.d.command` names no program
     --> upgrade-host.toml:9:11
      |
    9 | command = []
      |           ^^

    error: `inventory.e` has neither `command` nor `file`
      --> upgrade-host.toml:10:12
       |
    10 | [inventory.e]
       |            ^
       = help: Add `command = ["./list-hosts"]` or `file = "hosts.ini"`.

    error: unknown key `comand` in `inventory.e`
      --> upgrade-host.toml:11:1
       |
    11 | comand = "x"
       | ^^^^^^
       = help: Did you mean `command`? Known are: command, timeout, file, params.

    error: unknown key `prot` in `targets.x`
      --> upgrade-host.toml:13:1
       |
    13 | prot = 1
       | ^^^^
       = help: Did you mean `port`? Known are: address, port, user, identity, known_hosts, host_key, host_key_alias, jump, sudo, password, passphrase, agent, connect_timeout, silence, ssh_config, tags, params.
    "#);
}

#[test]
fn a_file_that_everybody_can_write_is_refused_and_files_beside_it_are_told() {
    let site = Site::new(&[("upgrade-host.toml", INI), ("hosts.ini", "web1\n")]);
    fs::create_dir(site.0.path().join("group_vars")).unwrap();
    let shown = site.shown();
    assert!(shown.contains("group_vars beside it is not read"), "{shown}");
    let path = site.0.path().join("hosts.ini");
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(site.shown().contains("every user of this machine can write this file"));
    let plugin = with(YAML, "hosts.yml", "plugin: amazon.aws.aws_ec2\nregions: [eu]\n");
    assert!(plugin.contains("Let Ansible run it"), "{plugin}");
}

fn parsed(text: &str, form: Form) {
    let path = PathBuf::from("hosts");
    let source =
        Source { path, dir: "/nowhere".into(), text: text.to_owned(), shown: Shown::Places };
    if let Ok(found) = parse(&source, 0, form, true, &Table::new()) {
        for entry in found.targets.values() {
            assert!(
                entry.key.end <= text.len() && text.is_char_boundary(entry.key.start),
                "{text}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_a_reader_panic(
        text in "(\\[?[a-z]{0,3}:?(vars|children|hosts)?\\]?[ =:#'\"\\\\,&*!|<-]{0,3}[a-zü0-9{}\\[\\]:]{0,6}(ansible_port|: |=|\n|\n  ){0,2}){0,12}"
    ) {
        for form in [Form::Ini, Form::Yaml, Form::Json] {
            parsed(&text, form);
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(text in any::<String>()) {
        for form in [Form::Ini, Form::Yaml, Form::Json] {
            parsed(&text, form);
        }
    }
}

#[test]
fn nests_and_aliases_do_not_cost_the_machine() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, other) in ('b'..='j').zip('a'..) {
        writeln!(bomb, "{name}: &{name} [*{other}, *{other}, *{other}, *{other}, *{other}, *{other}, *{other}, *{other}]").unwrap();
    }
    let shown = with(YAML, "hosts.yml", &bomb);
    assert!(shown.contains("parts"), "{shown}");
    let deep = with(YAML, "hosts.yml", &"[".repeat(100_000));
    assert!(deep.contains("nested too deeply") || deep.contains("not YAML"), "{deep}");
    let deep = with(JSON, "hosts.json", &"[".repeat(100_000));
    assert!(deep.contains("not JSON"), "{deep}");
}
