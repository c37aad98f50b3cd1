//! What a file may say.

use insta::assert_snapshot;

use super::*;

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
    include_str!("../../../../docs/config.md")
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
    let documentation = include_str!("../../../../docs/config.md");
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
fn the_environment_never_shows_its_variables() {
    assert!(!format!("{:?}", fixed()).contains("ann"));
    assert_eq!(fixed().user(), "ann");
    assert_eq!(Environment { uid: 0, ..fixed() }.user(), "root");
}
