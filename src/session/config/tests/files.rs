//! Which files are read, whose they may be, and which one wins.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use super::*;

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
