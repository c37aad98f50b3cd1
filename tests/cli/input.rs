//! Wrong configurations, arguments and names of runs.

use insta::assert_snapshot;

use crate::support::cli::Cli;

#[test]
fn an_unknown_key_of_the_configuration_is_suggested() {
    let cli = Cli::new();
    cli.write("upgrade-host.toml", "[targets.obs1]\nadress = \"10.0.0.5\"\n");
    assert_snapshot!(cli.show(&["-e", "sh(\"touch ran\")"]), @r#"
    --- stderr
    error: unknown key `adress` in `targets.obs1`
     --> upgrade-host.toml:2:1
      |
    2 | adress = "10.0.0.5"
      | ^^^^^^
      = help: Did you mean `address`? Known are: address, port, user, identity, known_hosts, host_key, host_key_alias, jump, sudo, password, passphrase, agent, connect_timeout, silence, ssh_config, tags, params.
    [exit status: 2]
    "#);
    assert!(!cli.path("ran").exists());
}

#[test]
fn all_errors_of_the_configuration_are_said_at_once() {
    let cli = Cli::new();
    cli.write(
        "c.toml",
        "[targets.a]\nport = 0\naddress = \"10.0.0.5\"\n\n[target.b]\naddress = \"b\"\n",
    );
    assert_snapshot!(cli.show(&["hosts", "--config", "c.toml"]), @r#"
    --- stderr
    error: `targets.a.port` is 0, expected a port from 1 to 65535
     --> c.toml:2:8
      |
    2 | port = 0
      |        ^

    error: unknown key `target` at the top of the file
     --> c.toml:5:2
      |
    5 | [target.b]
      |  ^^^^^^
      = help: Did you mean `targets`? Known are: targets, inventory, services, app, defaults.
    [exit status: 2]
    "#);
}

#[test]
fn a_configuration_that_is_not_there_is_an_error() {
    assert_snapshot!(Cli::new().show(&["runs", "--config", "nowhere.toml"]), @r#"
    --- stderr
    error: cannot read this file: No such file or directory (os error 2)
     --> nowhere.toml
    [exit status: 2]
    "#);
}

#[test]
fn a_configuration_that_is_no_toml_shows_the_place() {
    let cli = Cli::new();
    cli.write("c.toml", "[targets.a\n");
    assert_snapshot!(cli.show(&["hosts", "--config", "c.toml"]), @r#"
    --- stderr
    error: this is not TOML: unclosed table, expected `]`
     --> c.toml:1:11
      |
    1 | [targets.a
      |           ^
    [exit status: 2]
    "#);
}

#[test]
fn unknown_commands_and_options_are_suggested() {
    assert_snapshot!(Cli::new().show(&["rollbak", "last"]), @r#"
    --- stderr
    error: unrecognized subcommand 'rollbak'

      tip: a similar subcommand exists: 'rollback'

    Usage: upgrade-host [OPTIONS] [COMMAND]

    For more information, try '--help'.
    [exit status: 2]
    "#);
    assert_snapshot!(Cli::new().show(&["runs", "--jsn"]), @r#"
    --- stderr
    error: unexpected argument '--jsn' found

      tip: a similar argument exists: '--json'

    Usage: upgrade-host runs --json

    For more information, try '--help'.
    [exit status: 2]
    "#);
    assert_snapshot!(Cli::new().show(&["run"]), @r#"
    --- stderr
    error: the following required arguments were not provided:
      <FILE>

    Usage: upgrade-host run <FILE> [-- <COMMAND>...]

    For more information, try '--help'.
    [exit status: 2]
    "#);
}

#[test]
fn without_arguments_and_terminal_the_usage_is_shown() {
    let said = Cli::new().run(&[]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert!(said.err.contains("Usage: upgrade-host"), "{said:?}");
}

#[test]
fn the_repl_needs_a_terminal_or_lines() {
    let said = Cli::new().run(&["repl"]);
    assert_eq!(said.code.filter(|code| *code == 0 || *code == 2), said.code, "{said:?}");
}

#[test]
fn a_run_that_is_unknown_or_not_unique_is_told() {
    let cli = Cli::new();
    assert_snapshot!(cli.show(&["show", "k3f9"]), @r#"
    --- stderr
    error: there is no run `k3f9`; `upgrade-host runs` lists them
    [exit status: 2]
    "#);
    assert_snapshot!(cli.show(&["resume", "last"]), @r#"
    --- stderr
    error: there is no run yet
    [exit status: 2]
    "#);
    cli.run(&["-e", "sh(\"true\")"]);
    cli.run(&["-e", "sh(\"true\")"]);
    let said = cli.run(&["show", "20"]);
    assert_eq!(said.code, Some(2));
    for run in cli.runs() {
        assert!(said.err.contains(run["id"].as_str().unwrap()), "{said:?}");
    }
}

#[test]
fn a_run_that_has_ended_is_not_taken_up() {
    let cli = Cli::new();
    cli.run(&["-e", "sh(\"true\")"]);
    assert_snapshot!(cli.show(&["resume", "last"]), @r#"
    --- stderr
    error: run 20260102-0304-wxyz cannot be taken up: it is done
    help: Start a new run.
    [exit status: 2]
    "#);
}

#[test]
fn a_run_keeps_its_targets_and_parameters() {
    let cli = Cli::new();
    cli.run(&["-e", "wait(\"7d\")"]);
    assert_snapshot!(cli.show(&["resume", "last", "--set", "a=b"]), @r#"
    --- stderr
    error: a run keeps the targets and parameters that it began with; --on, --limit and --set do not go with this
    [exit status: 2]
    "#);
}

#[test]
fn errors_leave_stdout_to_json() {
    let cli = Cli::new();
    for arguments in [
        &["-e", "nope()", "--json"][..],
        &["--json", "show", "zzzz"],
        &["hosts", "nowhere", "--json"],
        &["doc", "nothing", "--json"],
    ] {
        let said = cli.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
        assert!(said.err.starts_with("error: "), "{said:?}");
    }
}

#[test]
fn a_package_that_is_no_archive_changes_nothing() {
    let cli = Cli::new();
    cli.write("obs.tar.gz", "this is no archive");
    std::fs::create_dir(cli.path("home")).unwrap();
    let code = format!(
        "unpack(\"{}\", \"{}\")",
        cli.path("obs.tar.gz").display(),
        cli.path("home").display()
    );
    assert_snapshot!(cli.code(&code), @r#"
    -e                                                                                  2026-01-02 03:04
    run 20260102-0304-wxyz on local · -e

    ✗ unpack $DIR/work/obs.tar.gz into $DIR/work/home
      it is no archive (tar, tar.gz, tar.bz2, tar.xz, tar.zst or zip): $DIR/work/obs.tar.gz

    error: it is no archive (tar, tar.gz, tar.bz2, tar.xz, tar.zst or zip): $DIR/work/obs.tar.gz
       ╭─[-e:1:1]
     1 │ unpack("$DIR/work/obs.tar.gz", "$DIR/work/home")
       · ──────
       ╰────
      on    local
      call  main / - / unpack #1

    ↩ rolled back · failed; there was nothing to undo
      took        [time]
    [exit status: 1]
    "#);
    assert_eq!(std::fs::read_dir(cli.path("home")).unwrap().count(), 0);
}

#[test]
fn without_rsync_it_is_said_what_to_install() {
    let cli = Cli::new();
    std::fs::create_dir(cli.path("bin")).unwrap();
    for tool in [
        "sh", "cat", "ls", "mkdir", "uname", "id", "test", "stat", "dirname", "sed", "mv", "rm",
        "env", "find", "wc", "tr", "head",
    ] {
        let found = ["/usr/bin", "/bin"].iter().map(|dir| format!("{dir}/{tool}"));
        if let Some(path) = found.into_iter().find(|path| std::path::Path::new(path).exists()) {
            std::os::unix::fs::symlink(path, cli.path("bin").join(tool)).unwrap();
        }
    }
    std::fs::create_dir(cli.path("from")).unwrap();
    let only = cli.path("bin").display().to_string();
    let cli = cli.env("PATH", &only);
    let (from, to) = (cli.path("from"), cli.path("to"));
    let code = format!("rsync(\"{}\", \"{}\")", from.display(), to.display());
    assert_snapshot!(cli.code(&code), @r#"
    -e                                                                                  2026-01-02 03:04
    run 20260102-0304-wxyz on local · -e

    ✗ copy $DIR/work/from to $DIR/work/to by rsync
      rsync is not installed

    error: rsync is not installed
       ╭─[-e:1:1]
     1 │ rsync("$DIR/work/from", "$DIR/work/to")
       · ─────
       ╰────
      on    local
      call  main / - / rsync #1
    help: Install the package `rsync` there.

    ↩ rolled back · failed; there was nothing to undo
      took        [time]
    [exit status: 1]
    "#);
}

#[test]
fn a_full_disk_at_the_backup_place_fails_and_says_so() {
    use std::io::Write as _;
    let cli = Cli::new();
    for dir in ["from", "to"] {
        std::fs::create_dir(cli.path(dir)).unwrap();
    }
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(cli.path("to"))
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        let _said = writeln!(
            std::io::stderr(),
            "\n*** NOT TESTED: a full disk, for it needs a mount ***\n"
        );
        return;
    }
    std::fs::write(cli.path("from/big"), vec![7; 1 << 20]).unwrap();
    let code =
        format!("rsync(\"{}\", \"{}\")", cli.path("from").display(), cli.path("to").display());
    let said = cli.run(&["-e", &code]);
    let unmounted = std::process::Command::new("umount").arg(cli.path("to")).status().unwrap();
    assert!(unmounted.success());
    assert!(said.code == Some(1) || said.code == Some(4), "{said:?}");
    let all = said.out + &said.err;
    assert!(all.contains("No space left on device"), "{all}");
}
