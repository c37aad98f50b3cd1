//! Parameters: everything that is wrong with them is said before anything runs.

use insta::assert_snapshot;

use crate::support::cli::Cli;

const BOOK: &str = r#"//! Upgrade a server
//!
//! Shows what its parameters do.

const RUNBOOK = #{
  needs: "0.1",
  params: #{
    home: "/usr/local/obs",
    "package": #{ type: "path", required: true, about: "the new version" },
    backup: #{ type: "path", required: true, about: "where the copy goes" },
    lockout: #{ choices: ["users", "interface"], value: "users", about: "how users are kept out" },
    drain: #{ type: "duration", value: "10m", about: "how long to wait for jobs" },
    password: #{ type: "secret", about: "of the administrator", value: () },
  },
};

print(`${param("home")} ${param("package")} ${param("lockout")} ${param("drain")}`);
"#;

fn book() -> Cli {
    let cli = Cli::new();
    cli.write("book.rhai", BOOK);
    cli
}

#[test]
fn missing_ones_are_all_listed() {
    let cli = book();
    assert_snapshot!(cli.show(&["book.rhai"]), @r#"
    --- stderr
    error: missing parameter `backup` on local: where the copy goes
     = help: Give it with --set backup=PATH.
    error: missing parameter `package` on local: the new version
     = help: Give it with --set package=PATH.
    [exit status: 2]
    "#);
    assert!(cli.runs().is_empty());
}

#[test]
fn unknown_ones_are_suggested() {
    let set = ["book.rhai", "--set", "package=/p", "--set", "backup=/b", "--set", "lokout=users"];
    assert_snapshot!(book().show(&set), @r#"
    --- stderr
    error: unknown parameter `lokout` after --set
     = help: Did you mean `lockout`?
    [exit status: 2]
    "#);
}

#[test]
fn wrong_types_and_choices_are_told() {
    let set = ["--set", "package=/p", "--set", "backup=/b"];
    let with = |more: &[&str]| book().show(&[&["book.rhai"], &set[..], more].concat());
    assert_snapshot!(with(&["--set", "lockout=nobody", "--set", "drain=soon"]), @r#"
    --- stderr
    error: parameter `drain` on local is `soon`, expected a duration such as [time] (from --set)
    error: parameter `lockout` on local is `nobody`, expected one of users, interface (from --set)
    [exit status: 2]
    "#);
}

#[test]
fn a_set_without_a_value_is_refused() {
    assert_snapshot!(book().show(&["book.rhai", "--set", "package"]), @r#"
    --- stderr
    error: invalid value 'package' for '--set <K=V>': expected NAME=VALUE

    For more information, try '--help'.
    [exit status: 2]
    "#);
}

#[test]
fn the_command_line_comes_before_the_target_before_the_config_before_the_default() {
    let cli = book();
    cli.write(
        "c.toml",
        "[defaults.params]\nhome = \"config\"\nlockout = \"interface\"\ndrain = \"1m\"\n[targets.local]\nparams = { home = \"target\", lockout = \"users\" }\n",
    );
    let set = ["book.rhai", "--config", "c.toml", "--set", "package=/p", "--set", "backup=/b"];
    let said = cli.run(&[&set[..], &["--set", "home=line"]].concat());
    assert!(said.out.contains("line /p users 1m"), "{said:?}");
}

#[test]
fn help_shows_title_parameters_and_defaults() {
    assert_snapshot!(book().show(&["book.rhai", "--help"]), @r#"
    Upgrade a server

    Shows what its parameters do.

    Usage: upgrade-host book.rhai [--on TARGETS] [--set K=V]… [--yes] [--json]

    Parameters
      backup    where the copy goes
                path, required
      drain     how long to wait for jobs
                duration, default 10m
      home
                text, default /usr/local/obs
      lockout   how users are kept out
                users|interface, default users
      package   the new version
                path, required
      password  of the administrator
                secret
    [exit status: 0]
    "#);
}

#[test]
fn a_secret_is_refused_in_plain_text() {
    let set =
        ["book.rhai", "--set", "package=/p", "--set", "backup=/b", "--set", "password=tomato"];
    let shown = book().show(&set);
    assert!(!shown.contains("tomato"), "{shown}");
    assert_snapshot!(shown, @r#"
    --- stderr
    error: parameter `password` is a secret and does not stand on the command line, which every user of this machine can read: this is no reference to a secret
     = help: Write --set password=env:NAME, or file:PATH, command:… or prompt.
    [exit status: 2]
    "#);
}
