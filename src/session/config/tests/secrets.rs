//! Secrets do not belong into a file, and are not shown when they stand there.

use insta::assert_snapshot;

use super::*;

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
