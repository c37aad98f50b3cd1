use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use insta::assert_snapshot;

use super::*;
use crate::error::Halt;
use crate::session::config::Environment;
use crate::transport::{Cancel, Command};

const FILE: &str = r#"
[defaults]
user = "root"
identity = "/keys/one"
[targets.obs1]
tags = ["backup", "eu"]
params = { home = "/srv/obs" }
[targets.obs2]
tags = ["backup"]
password = "env:PW"
jump = "db1"
[targets.db1]
sudo = { password = "env:SUDO" }
passphrase = "prompt"
[targets."web.example.com"]
address = "10.0.0.9"
[targets."10.0.0.7"]
[targets.local]
tags = ["desk"]
"#;

fn config(text: &str) -> Config {
    let env = Environment { dir: "/r".into(), ..Environment::default() };
    Config::parse(text, Path::new("upgrade-host.toml"), &env).unwrap()
}

fn on_this_machine() -> Factory {
    Arc::new(|_| Ok(Arc::new(Local) as SharedTransport))
}

fn inventory() -> Inventory {
    Inventory::new(&config(FILE), on_this_machine(), false)
}

fn selected(inventory: &Inventory, selector: &str) -> String {
    match inventory.select(selector) {
        Ok(names) => names.join(" "),
        Err(Halt::Failure(failure)) => {
            format!("{}: {} / {}", failure.kind, failure.message, failure.hint.unwrap_or_default())
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn selectors_stand_for_targets() {
    let inventory = inventory();
    for (selector, expected) in [
        ("obs1", "obs1"),
        ("obs2, obs1,obs2", "obs2 obs1"),
        ("@backup", "obs1 obs2"),
        ("all", "10.0.0.7 db1 obs1 obs2 web.example.com"),
        ("obs*", "obs1 obs2"),
        ("*", "10.0.0.7 db1 obs1 obs2 web.example.com"),
        ("obs[2-9],@eu", "obs2 obs1"),
        ("@backup,!obs1", "obs2"),
        ("!@backup", "10.0.0.7 db1 web.example.com"),
        ("!obs1,all", "10.0.0.7 db1 obs2 web.example.com"),
        ("tag:backup", "obs1 obs2"),
        ("@backup & @eu", "obs1"),
        ("@backup & !@eu", "obs2"),
        ("!@eu & @backup", "obs2"),
        ("tag:backup & !obs1 & obs*, db1", "obs2 db1"),
        ("all & obs*, !obs1", "obs2"),
        ("!obs1 & !obs2", "10.0.0.7 db1 web.example.com"),
        ("obs[1:2]", "obs1 obs2"),
        ("obs[2:2], obs[1:1]", "obs2 obs1"),
        ("!obs[1:2],@backup,db1", "db1"),
        ("local", "local"),
        ("@desk", "local"),
        ("web.example.com", "web.example.com"),
    ] {
        assert_eq!(selected(&inventory, selector), expected, "{selector}");
    }
}

#[test]
fn what_a_selector_does_not_find_is_told() {
    let inventory = inventory();
    let said: Vec<String> = [
        "obs3",
        "obs1,!osb2",
        "@bakcup",
        "@x",
        "x*",
        "obs1,!obs1",
        " , ",
        "root@10.0.0.5",
        "10.0.0.5",
        "web.exmple.com",
        "@eu & db1, obs1",
        "db1, obs[1:3]",
        "obs[2:1]",
        "tags:eu",
    ]
    .into_iter()
    .map(|selector| selected(&inventory, selector))
    .collect();
    assert_snapshot!(said.join("\n"), @r#"
    input: unknown target `obs3` / Did you mean `obs1`? Known are: 10.0.0.7, db1, obs1, obs2, web.example.com, local.
    input: unknown target `osb2` (column 7) / Did you mean `obs2`? Known are: 10.0.0.7, db1, obs1, obs2, web.example.com, local.
    input: no target has the tag `bakcup` / Did you mean `@backup`? Known are: @backup, @desk, @eu.
    input: no target has the tag `x` / Known are: @backup, @desk, @eu.
    input: no target matches `x*` / Known are: 10.0.0.7, db1, obs1, obs2, web.example.com, local.
    input: `obs1,!obs1` leaves no target / Known are: 10.0.0.7, db1, obs1, obs2, web.example.com, local.
    input: the selector of targets is empty / Write a name, @tag, all, a glob such as obs*, or several with commas.
    input: `root@10.0.0.5` is not a configured target / Add it to upgrade-host.toml; only --on takes addresses.
    input: `10.0.0.5` is not a configured target / Add it to upgrade-host.toml; only --on takes addresses.
    input: unknown target `web.exmple.com` / Did you mean `web.example.com`? Known are: 10.0.0.7, db1, obs1, obs2, web.example.com, local.
    input: `@eu & db1` leaves no target / `upgrade-host hosts TERM` lists what each of its terms stands for.
    input: unknown target `obs3` of `obs[1:3]` (column 6) / Did you mean `obs1`? Known are: 10.0.0.7, db1, obs1, obs2, web.example.com, local.
    input: the range `[2:1]` ends before it begins / A range is written [1:20], [01:20] or [0:20:2].
    input: `tags:eu` is no target / Write `tag:eu` or `@eu` for the targets with that tag.
    "#);

    let empty = Inventory::new(&config(""), on_this_machine(), false);
    assert_snapshot!(selected(&empty, "all"), @"input: no targets are configured / Add [targets.NAME] to upgrade-host.toml, or write local for this machine.");
    assert_snapshot!(selected(&empty, "@x"), @"input: no target has the tag `x` / No target of the configuration has tags.");
    assert_eq!(selected(&empty, "local"), "local");
}

#[test]
fn addresses_are_targets_where_that_is_allowed() {
    let inventory = inventory().allow_ad_hoc(true);
    for (name, user, address, port) in [
        ("admin@10.0.0.5", "admin", "10.0.0.5", 22),
        ("admin@host:2222", "admin", "host", 2222),
        ("admin@[::1]:23", "admin", "::1", 23),
        ("10.0.0.5", "root", "10.0.0.5", 22),
        ("::1", "root", "::1", 22),
        ("10.0.0.5:2222", "root", "10.0.0.5", 2222),
        ("obs9.example.org", "root", "obs9.example.org", 22),
    ] {
        assert_eq!(selected(&inventory, name), name);
        let config = inventory.config(name).unwrap();
        assert_eq!(
            (config.user.as_str(), config.address.as_str(), config.port),
            (user, address, port)
        );
        assert_eq!(config.identities, [Path::new("/keys/one")]);
        assert!(!config.local);
    }
    let said: Vec<String> = ["obs3", "web.exmple.com", "a@b:0", "@", "a@b c", "-oProxyCommand=x.y"]
        .into_iter()
        .map(|name| selected(&inventory, name))
        .collect();
    assert_snapshot!(said.join("\n"), @r#"
    input: unknown target `obs3` / Did you mean `obs1`? Known are: 10.0.0.7, db1, obs1, obs2, web.example.com, local.
    input: unknown target `web.exmple.com` / Did you mean `web.example.com`? For a server that is not configured, write user@web.exmple.com.
    input: the address `a@b:0` has the port "0", expected 1 to 65535 / Write user@host, user@host:port or user@[address]:port.
    input: no target has the tag `` / Known are: @backup, @desk, @eu.
    input: `a@b c` is two words (column 5 of `a@b c`) / Separate terms with a comma, `a@b, c`, or join them by `&`.
    input: unknown target `-oProxyCommand=x.y` / Known are: 10.0.0.7, db1, obs1, obs2, web.example.com, local.
    "#);
}

#[test]
fn ways_are_made_when_needed_and_shared() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let factory: Factory = Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Local) as SharedTransport)
    });
    let inventory = Inventory::new(&config(FILE), factory, false);
    inventory.select("all").unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 0);

    let first = inventory.get("obs1").unwrap();
    let targets: Vec<Arc<Target>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| inventory.get("obs1").unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });

    assert!(targets.iter().all(|target| Arc::ptr_eq(&first, target)));
    assert_eq!(made.load(Ordering::Relaxed), 1);
    assert_eq!(first.params["home"], "/srv/obs");
    assert_eq!(first.tags, ["backup", "eu"]);
    assert!(!first.sudo && inventory.get("db1").unwrap().sudo);
}

#[test]
fn a_factory_that_failed_is_asked_again() {
    let tries = AtomicUsize::new(0);
    let factory: Factory = Arc::new(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Err(Failure::input("no password").into()),
        _ => Ok(Arc::new(Local)),
    });
    let inventory = Inventory::new(&config(FILE), factory, false);

    assert!(inventory.get("obs1").is_err());
    assert!(inventory.get("obs1").is_ok());
}

#[test]
fn a_read_only_inventory_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file").to_str().unwrap().to_owned();
    let inventory = Inventory::new(&config(FILE), on_this_machine(), true);
    let target = inventory.get("local").unwrap();
    let exec = |command: &Command| target.transport.exec(command, &Cancel::new(), &mut |_, _| {});

    assert!(exec(&Command::list(["touch", &path])).is_err());
    assert!(exec(&Command::list(["true"]).reading()).unwrap().success());
    assert!(!Path::new(&path).exists());
}

#[test]
fn a_snapshot_comes_back_as_it_was_and_holds_no_secret() {
    let inventory = inventory().allow_ad_hoc(true);
    let json = serde_json::to_string(inventory.snapshot()).unwrap();

    let back: Snapshot = serde_json::from_str(&json).unwrap();

    assert_eq!(back, *inventory.snapshot());
    assert!(json.contains("env:PW") && json.contains("/srv/obs"));
    let again = Inventory::from_snapshot(back, on_this_machine(), false);
    assert_eq!(selected(&again, "root@10.0.0.5"), "root@10.0.0.5");
    assert_eq!(
        again.config("obs2").unwrap().secrets().into_keys().collect::<Vec<_>>(),
        ["targets.db1.passphrase", "targets.obs2.password"]
    );
}

#[test]
fn local_commands_become_another_user_only_where_they_say_nothing_else() {
    #[derive(Debug)]
    struct Echo;
    impl crate::transport::Transport for Echo {
        fn exec(
            &self,
            command: &Command,
            _cancel: &Cancel,
            _watch: crate::transport::Watch<'_>,
        ) -> Result<crate::transport::Exit, crate::transport::TransportError> {
            let user = command.sudo.as_ref().and_then(|sudo| sudo.user.clone());
            Ok(crate::transport::Exit {
                ended: crate::transport::Ended::Code(0),
                stdout: user.unwrap_or_else(|| "root".to_owned()).into_bytes(),
                stderr: Vec::new(),
            })
        }
        fn connect(
            &self,
            _host: &str,
            _port: u16,
            _timeout: std::time::Duration,
        ) -> Result<Box<dyn crate::transport::Connection>, crate::transport::TransportError>
        {
            Err(crate::transport::TransportError::Cancelled)
        }
        fn describe(&self) -> String {
            "this machine".to_owned()
        }
        fn own_address(&self) -> Option<std::net::IpAddr> {
            None
        }
    }
    let sudo = |user: &str| command::Sudo { user: Some(user.to_owned()), password: None };
    let way: SharedTransport = Arc::new(Sudo::new(Arc::new(Echo), sudo("obs")));
    let user = |command: Command| way.exec(&command, &Cancel::new(), &mut |_, _| {}).unwrap().out();

    assert_eq!(user(Command::list(["id"])), "obs");
    assert_eq!(user(Command::list(["id"]).sudo(Some(sudo("ann")))), "ann");
    assert_eq!(way.describe(), "this machine as obs");
}

#[test]
fn the_local_way_has_sudo_where_the_configuration_says_so() {
    let config = config("[targets.local]\nsudo = { user = \"obs\", password = \"env:PW\" }\n");
    let asked = Mutex::new(Vec::new());
    let reveal = |name: &str| {
        asked.lock().unwrap().push(name.to_owned());
        Ok(Secret::new("pw".to_owned()))
    };

    let way = local(&config.targets["local"], &reveal).unwrap();

    assert_eq!(way.describe(), "this machine as obs");
    assert_eq!(*asked.lock().unwrap(), ["targets.local.sudo.password"]);
    let plain = local(&TargetConfig::new("local", "root"), &reveal).unwrap();
    assert_eq!(plain.describe(), "this machine");
}

#[cfg(feature = "ssh")]
#[test]
fn an_ssh_target_has_all_that_is_configured() {
    let inventory = inventory();
    let reveal = |name: &str| Ok(Secret::new(format!("value of {name}")));
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|s| s.reveal().to_owned());

    let obs2 = ssh_target(&inventory.config("obs2").unwrap(), &reveal).unwrap();

    assert_eq!((obs2.user.as_str(), obs2.address.as_str(), obs2.port), ("root", "obs2", 22));
    assert_eq!(secret(&obs2.password).as_deref(), Some("value of targets.obs2.password"));
    assert_eq!(obs2.identities, [Path::new("/keys/one")]);
    assert_eq!(obs2.jump.len(), 1);
    assert_eq!(
        secret(&obs2.jump[0].passphrase).as_deref(),
        Some("value of targets.db1.passphrase")
    );
    assert!(obs2.jump[0].sudo.is_none() && obs2.passphrase.is_none());
    let db1 = ssh_target(&inventory.config("db1").unwrap(), &reveal).unwrap();
    let sudo = db1.sudo.unwrap();
    assert_eq!(secret(&sudo.password).as_deref(), Some("value of targets.db1.sudo.password"));
}

/// A configuration beside a file in the form of OpenSSH's.
#[cfg(feature = "ssh")]
fn beside(ssh_config: &str, text: &str) -> (tempfile::TempDir, Inventory) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ssh"), ssh_config).unwrap();
    let env = Environment { dir: dir.path().to_owned(), ..Environment::default() };
    let config = Config::parse(text, Path::new("upgrade-host.toml"), &env).unwrap();
    (dir, Inventory::new(&config, on_this_machine(), false))
}

#[cfg(feature = "ssh")]
fn target(inventory: &Inventory, name: &str) -> Result<crate::transport::ssh::SshTarget> {
    ssh_target(&inventory.config(name)?, &|_| Ok(Secret::new(String::new())))
}

#[cfg(feature = "ssh")]
#[test]
fn what_is_configured_counts_over_the_configuration_of_ssh() {
    if std::process::Command::new("ssh").arg("-V").output().is_err() {
        return;
    }
    let (_dir, inventory) = beside(
        "Host db* gate far\n  HostName %h.example.org\n  User ops\n  Port 2222\n  IdentityFile /keys/ssh\n\
         \x20 ConnectTimeout 3\n  UserKnownHostsFile /known/ssh\n  HostKeyAlias alias\nHost db*\n  ProxyJump far,gate\n\
         Host far\n  ProxyJump edge\n",
        "[defaults]\nssh_config = \"ssh\"\n[targets.db1]\n\
         [targets.db2]\nuser = \"root\"\nport = 22\nidentity = \"/keys/own\"\nconnect_timeout = \"9s\"\n\
         known_hosts = \"/known/own\"\nhost_key_alias = \"own\"\njump = \"gate\"\n[targets.gate]\nuser = \"me\"\n\
         [targets.db3]\nssh_config = false\n[targets.one]\naddress = \"db7\"\n",
    );

    let db1 = target(&inventory, "db1").unwrap();

    assert_eq!((db1.name.as_str(), db1.address.as_str()), ("db1", "db1.example.org"));
    assert_eq!((db1.user.as_str(), db1.port), ("ops", 2222));
    assert_eq!(db1.identities, [Path::new("/keys/ssh")]);
    assert_eq!(db1.connect_timeout.as_secs(), 3);
    assert_eq!(db1.known_hosts[0], Path::new("/known/ssh"));
    assert_eq!(db1.host_key_alias.as_deref(), Some("alias"));
    let way: Vec<&str> = db1.jump.iter().map(|hop| hop.address.as_str()).collect();
    assert_eq!(way, ["edge", "far.example.org", "gate.example.org"]);
    assert_eq!(db1.jump[2].user, "ops", "the hop is ssh's, not the target of the same name");

    let db2 = target(&inventory, "db2").unwrap();
    assert_eq!((db2.user.as_str(), db2.port), ("root", 22));
    assert_eq!(db2.identities, [Path::new("/keys/own")]);
    assert_eq!(db2.connect_timeout.as_secs(), 9);
    assert_eq!(db2.known_hosts, [Path::new("/known/own")]);
    assert_eq!(db2.host_key_alias.as_deref(), Some("own"));
    let way: Vec<&str> = db2.jump.iter().map(|hop| hop.address.as_str()).collect();
    assert_eq!(way, ["gate.example.org"]);
    assert_eq!((db2.jump[0].user.as_str(), db2.jump[0].port), ("me", 2222));

    let db3 = target(&inventory, "db3").unwrap();
    assert_eq!((db3.address.as_str(), db3.port, db3.jump.len()), ("db3", 22, 0));
    assert_eq!(target(&inventory, "one").unwrap().address, "db7.example.org");
}

#[cfg(feature = "ssh")]
#[test]
fn ways_that_cannot_be_gone_are_told() {
    if std::process::Command::new("ssh").arg("-V").output().is_err() {
        return;
    }
    let (_dir, inventory) = beside(
        "Host a\n  ProxyCommand nc %h %p\nHost b\n  ProxyJump c\nHost c\n  ProxyJump b\n",
        "[defaults]\nssh_config = \"ssh\"\n[targets.a]\n[targets.b]\n[targets.own]\naddress = \"a\"\njump = \"d\"\n\
         [targets.d]\n",
    );
    let said = |name: &str| match target(&inventory, name) {
        Err(Halt::Failure(failure)) => failure.message.clone(),
        other => panic!("{other:?}"),
    };
    assert!(said("a").contains("`ProxyCommand` ("), "{}", said("a"));
    assert_eq!(said("b"), "the jumps of ssh's configuration go in a circle: b → c → b");
    assert_eq!(target(&inventory, "own").unwrap().jump.len(), 1);
}

/// What a generated term is, and the names that it stands for by definition.
fn terms() -> impl proptest::strategy::Strategy<Value = (String, Vec<usize>)> {
    use proptest::prelude::*;
    let all: Vec<usize> = (0..6).collect();
    prop_oneof![
        (0..6_usize).prop_map(|index| (format!("h{index}"), vec![index])),
        (0..6_usize, 0..6_usize).prop_map(|(a, b)| {
            let (a, b) = (a.min(b), a.max(b));
            (format!("h[{a}:{b}]"), (a..=b).collect())
        }),
        (0..6_usize, 0..6_usize).prop_map(|(a, b)| {
            let (a, b) = (a.min(b), a.max(b));
            (format!("h[{a}-{b}]"), (a..=b).collect())
        }),
        Just(("@even".to_owned(), vec![0, 2, 4])),
        Just(("tag:low".to_owned(), vec![0, 1, 2])),
        Just(("all".to_owned(), all)),
    ]
}

/// Selects as the documentation says it, with sets.
fn by_definition(items: &[Vec<(bool, Vec<usize>)>]) -> Option<std::collections::BTreeSet<usize>> {
    use std::collections::BTreeSet;
    let everything: BTreeSet<usize> = (0..6).collect();
    let set = |item: &[(bool, Vec<usize>)]| {
        item.iter().fold(everything.clone(), |found, (not, names)| {
            found.into_iter().filter(|name| names.contains(name) != *not).collect()
        })
    };
    let (less, more): (Vec<_>, Vec<_>) =
        items.iter().partition(|item| item.iter().all(|(not, _)| *not));
    if more.iter().any(|item| set(item).is_empty()) {
        return None;
    }
    let whole = if more.is_empty() {
        everything.clone()
    } else {
        more.iter().flat_map(|item| set(item)).collect()
    };
    let left: BTreeSet<usize> =
        less.iter().fold(whole, |found, item| found.intersection(&set(item)).copied().collect());
    if left.is_empty() { None } else { Some(left) }
}

proptest::proptest! {
    #[test]
    fn selectors_stand_for_what_sets_say(
        items in proptest::collection::vec(
            proptest::collection::vec((proptest::bool::ANY, terms()), 1..4), 1..4)
    ) {
        let config = config(
            "[targets.h0]\ntags=[\"even\",\"low\"]\n[targets.h1]\ntags=\"low\"\n[targets.h2]\ntags=[\"low\",\"even\"]\n\
             [targets.h3]\n[targets.h4]\ntags=\"even\"\n[targets.h5]\n[targets.local]\n",
        );
        let inventory = Inventory::new(&config, on_this_machine(), false);
        let text: Vec<String> = items
            .iter()
            .map(|item| {
                let factor = |(not, (text, _)): &(bool, (String, Vec<usize>))| {
                    format!("{}{text}", if *not { "!" } else { "" })
                };
                item.iter().map(factor).collect::<Vec<_>>().join(" & ")
            })
            .collect();
        let model: Vec<Vec<(bool, Vec<usize>)>> = items
            .iter()
            .map(|item| item.iter().map(|(not, (_, names))| (*not, names.clone())).collect())
            .collect();

        let found = inventory.select(&text.join(","));

        let expected = by_definition(&model)
            .map(|names| names.into_iter().map(|name| format!("h{name}")).collect::<Vec<_>>());
        let sorted = found.ok().map(|mut names| {
            names.sort();
            names
        });
        proptest::prop_assert_eq!(sorted, expected, "{:?}", text);
    }

    #[test]
    fn no_selector_makes_it_panic(text in "[a-h0-9@!&,:\\[\\]*?. tagüß-]{0,24}") {
        let _any = inventory().allow_ad_hoc(true).select(&text);
    }
}
