//! Inventories and `--limit`, as a person meets them.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use insta::assert_snapshot;

use crate::support::cli::Cli;

/// An inventory whose command writes down that it was run.
fn dynamic() -> Cli {
    let cli = Cli::new();
    cli.write(
        "list",
        "#!/bin/sh\necho run >>ran\necho '{\"web1\": {\"tags\": [\"web\"]}, \"web2\": {\"tags\": [\"web\"]}, \"db1\": {\"address\": \"10.0.0.7\", \"user\": \"dba\"}}'\n",
    );
    std::fs::set_permissions(cli.path("list"), std::fs::Permissions::from_mode(0o755)).unwrap();
    cli.write(
        "upgrade-host.toml",
        "[defaults]\nuser = \"root\"\nssh_config = false\n[inventory.cloud]\ncommand = [\"./list\"]\n[targets.db1]\nport = 2222\n",
    );
    cli
}

#[test]
fn a_command_lists_targets_once_and_only_when_they_are_needed() {
    let cli = dynamic();
    assert_snapshot!(cli.show(&["hosts"]), @r#"
    name  address        user  tags  via
    db1   10.0.0.7:2222  dba
    web1  web1           root  web
    web2  web2           root  web
    [exit status: 0]
    "#);
    assert_eq!(cli.read("ran"), "run\n");
    for arguments in [&["runs"][..], &["debts"], &["doc", "sh"]] {
        assert_eq!(cli.run(arguments).code, Some(0), "{arguments:?}");
    }
    assert_eq!(cli.read("ran"), "run\n");
    let said = cli.run(&["-e", "print(targets(\"tag:web\")); print(targets(\"all & !@web\"))"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "[\"web1\", \"web2\"]\n[\"db1\"]\n"));
    assert_eq!(cli.read("ran"), "run\nrun\n");
}

#[test]
fn a_run_keeps_the_inventory_that_it_began_with() {
    let cli = dynamic();
    cli.write("book.rhai", "confirm(\"go on?\");\nprint(targets(\"@web\"));\n");
    let said = cli.run(&["book.rhai"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    cli.write("list", "#!/bin/sh\necho run >>ran\nexit 1\n");
    let before = cli.read("ran");

    let said = cli.run(&["resume", "last", "--yes"]);

    assert!(!said.err.contains("inventory"), "{said:?}");
    assert_eq!(cli.read("ran"), before, "{said:?}");
    let said = cli.run(&["hosts"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("the command of `inventory.cloud` ended with status 1"), "{said:?}");
}

#[test]
fn mistakes_of_an_inventory_are_told_with_their_place() {
    let cli = Cli::new();
    cli.write("upgrade-host.toml", "[inventory.old]\nfile = \"hosts.ini\"\n");
    cli.write(
        "hosts.ini",
        "[web]\nweb1 ansible_ssh_common_args='-o ProxyCommand=\"nc hunter2\"'\nweb2 ansible_port=0 ansible_password=hunter2\n",
    );
    assert_snapshot!(cli.show(&["hosts"]), @r#"
    --- stderr
    error: web1: `ansible_ssh_common_args` has the option `ProxyCommand`, which cannot be honoured
     --> hosts.ini:2:6
      = help: Name the servers in between: `jump = "user@host"` in [targets.web1], or `-J user@host` here.
    [exit status: 2]
    "#);
    cli.write("hosts.ini", "[web]\nweb2 ansible_port=0 ansible_password=hunter2\n");
    assert_snapshot!(cli.show(&["hosts"]), @r#"
    --- stderr
    error: `targets.web2.port` is 0, expected a port from 1 to 65535
     --> hosts.ini:2:6
    [exit status: 2]
    "#);
    cli.write(
        "hosts.ini",
        "[web]\nweb2 ansible_port=23 ansible_password=hunter2\nwin ansible_connection=winrm\n",
    );
    assert_snapshot!(cli.show(&["hosts", "--limit", "@web"]), @r#"
    name  address  user  tags  via
    web2  web2:23  root  web
    --- stderr
    warning: hosts.ini:3: win: left out: `ansible_connection=winrm` is a way that is not known here; ssh and local are
    warning: hosts.ini:2: web2: `ansible_password` is not taken, since a secret does not stand in an inventory; write env:NAME, file:PATH, command:… or prompt there, or `password` in [targets.NAME]
    [exit status: 0]
    "#);
}

#[test]
fn limit_narrows_down_what_is_meant() {
    let cli = dynamic();
    let names = |arguments: &[&str]| {
        let said = cli.run(&[&["hosts", "--json"], arguments].concat());
        let hosts = said.json();
        let name = |host: &serde_json::Value| host["name"].as_str().unwrap().to_owned();
        hosts.as_array().unwrap().iter().map(name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&["--limit", "@web & !web1"]), "web2");
    assert_eq!(names(&["web2,db1,web1", "--limit", "web[1:2]"]), "web2 web1");
    assert_eq!(names(&["--on", "@web", "--limit", "!web2"]), "web1");

    cli.write(
        "book.rhai",
        "const RUNBOOK = #{ targets: [\"local\", \"@web\"] };\nprint(\"here\");\n",
    );
    let said = cli.run(&["book.rhai", "--limit", "local"]);
    assert_eq!((said.code, said.out.contains("here")), (Some(0), true), "{said:?}");
    assert_eq!(cli.runs()[0]["targets"], serde_json::json!(["local"]));
    let said = cli.run(&["plan", "book.rhai", "--limit", "local"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = cli.run(&["run", "--on", "all,local", "--limit", "local", "--", "echo", "x"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "─── local\nx\n"), "{said:?}");
    for command in ["clean", "locks"] {
        let said = cli.run(&[command, "@web,local", "--limit", "local"]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
}

#[test]
fn a_limit_that_leaves_nothing_or_means_nothing_is_refused() {
    let cli = dynamic();
    let mut said = Vec::new();
    for arguments in [
        &["-e", "1", "--on", "@web", "--limit", "db1"][..],
        &["-e", "1", "--limit", "web3"],
        &["hosts", "--on", "@web & web[1:3]"],
        &["resume", "last", "--limit", "web1"],
        &["rollback", "last", "--limit", "web1", "--yes"],
        &["runs", "--limit", "5"],
    ] {
        said.push(cli.show(arguments));
    }
    assert_snapshot!(said.join("\n"), @r"
    --- stderr
    error: --limit `db1` leaves none of the targets that `@web` stands for (2)
    help: `upgrade-host hosts TARGETS` lists what a selector stands for.
    [exit status: 2]
    --- stderr
    error: unknown target `web3`
    help: Did you mean `web1`? Known are: db1, web1, web2, local.
    [exit status: 2]
    --- stderr
    error: unknown target `web3` of `web[1:3]` (column 8)
    help: Did you mean `web1`? Known are: db1, web1, web2, local.
    [exit status: 2]
    --- stderr
    error: a run keeps the targets and parameters that it began with; --on, --limit and --set do not go with this
    [exit status: 2]
    --- stderr
    error: a run keeps the targets and parameters that it began with; --on, --limit and --set do not go with this
    [exit status: 2]
    --- stderr
    error: --limit chooses targets, and `runs` acts on none; leave it out
    [exit status: 2]
    ");
    assert!(cli.runs().is_empty());
}

#[test]
fn ten_thousand_targets_are_quick() {
    let cli = Cli::new();
    let hosts: Vec<String> = (0..10_000)
        .map(|n| {
            format!(
                "\"h{n:05}\": {{\"address\": \"10.0.{}.{}\", \"tags\": [\"t{}\"]}}",
                n / 256,
                n % 256,
                n % 7
            )
        })
        .collect();
    cli.write("hosts.json", &format!("{{{}}}", hosts.join(",\n")));
    cli.write("upgrade-host.toml", "[inventory.big]\nfile = \"hosts.json\"\n");
    let began = Instant::now();
    let said = cli.run(&["hosts", "--json", "--limit", "h0000[0-2] & !@t1"]);
    let listed = began.elapsed();
    assert_eq!(said.json().as_array().unwrap().len(), 2, "{said:?}");
    let began = Instant::now();
    let said =
        cli.run(&["plan", "-e", "print(targets(\"h[00000:09999] & @t3\").len())", "--on", "local"]);
    let planned = began.elapsed();
    assert!(said.out.contains("1429"), "{said:?}");
    // Seconds even in a build without optimisation, on a machine that does other work beside; what grows with the square
    // of the targets takes minutes.
    assert!(listed.as_secs() < 20 && planned.as_secs() < 20, "{listed:?} {planned:?}");
}
