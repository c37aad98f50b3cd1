use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

fn declared() -> Params {
    Params::declare(&json!({
        "home": "/usr/local/obs",
        "package": { "type": "path", "about": "the package of the new version", "example": "/root/obsr-5.5.3.tar.gz" },
        "lockout": { "choices": ["users", "interface"], "value": "users", "about": "how users are kept out" },
        "drain_timeout": { "type": "duration", "value": "30m", "min": "1m", "max": "6h" },
        "workers": { "type": "int", "value": 4, "min": 1 },
        "system_password": { "type": "secret", "about": "of the API's system user" },
        "extra_copy": [],
        "client_update": true,
        "space": { "type": "size", "value": "1GiB" },
        "index_done": { "type": "pattern", "value": "done$" },
        "api": { "type": "url", "required": false },
        "api_port": { "type": "port", "value": 443 },
        "window_start": { "type": "time", "value": null },
        "note": { "type": "any", "required": false },
    }))
    .unwrap()
}

fn set(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn map(value: Value) -> BTreeMap<String, Value> {
    serde_json::from_value(value).unwrap()
}

fn none() -> BTreeMap<String, Value> {
    BTreeMap::new()
}

fn needed(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = set(&[("package", "/root/p.tar.gz"), ("system_password", "env:PW")]);
    all.extend(set(more));
    all
}

fn wrong(pairs: &[(&str, &str)]) -> String {
    render(&declared().resolve(&needed(pairs), &none(), &none()).unwrap_err())
}

#[test]
fn values_come_from_the_nearest_place() {
    let target = map(json!({ "home": "/target", "workers": 2, "lockout": "interface" }));
    let config =
        map(json!({ "home": "/config", "workers": 3, "client_update": false, "other": 1 }));
    let cli = needed(&[("home", "/first"), ("home", "/set")]);

    let found = declared().resolve(&cli, &target, &config).unwrap();

    assert_eq!(found.get("home"), Some(&json!("/set")));
    assert_eq!(found.get("workers"), Some(&json!(2)));
    assert_eq!(found.get("client_update"), Some(&json!(false)));
    assert_eq!(found.get("space"), Some(&json!("1GiB")));
    assert_eq!(found.get("api"), Some(&Value::Null));
    assert_eq!(found.get("other"), None);
    let origins = ["home", "lockout", "client_update", "space"].map(|name| found.origins[name]);
    assert_eq!(origins, [Origin::Set, Origin::Target, Origin::Config, Origin::Default]);
    let back: Values = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!(back, found);
}

#[test]
fn text_from_the_command_line_gets_its_type() {
    let found = |name: &str, text: &str| {
        declared().resolve(&needed(&[(name, text)]), &none(), &none()).unwrap().values[name].clone()
    };

    assert_eq!(found("workers", "8"), json!(8));
    for (text, expected) in
        [("yes", true), ("ON", true), ("no", false), ("off", false), ("true", true)]
    {
        assert_eq!(found("client_update", text), json!(expected));
    }
    assert_eq!(found("extra_copy", "/a, /b,"), json!(["/a", "/b"]));
    assert_eq!(found("extra_copy", ""), json!([]));
    assert_eq!(found("extra_copy", r#"["/a,b", 2]"#), json!(["/a,b", 2]));
    assert_eq!(found("space", "10 GB"), json!("10 GB"));
    assert_eq!(found("drain_timeout", "1h 30m"), json!("1h 30m"));
    assert_eq!(found("api_port", "8080"), json!(8080));
    assert_eq!(found("api", "https://obs:8443/obs"), json!("https://obs:8443/obs"));
    for time in ["22:00", "22:00:30", "2026-11-30 22:00", "2026-11-30T22:00:00+01:00"] {
        assert_eq!(found("window_start", time), json!(time));
    }
    assert_eq!(found("note", r#"{"a": 1}"#), json!({"a": 1}));
    assert_eq!(found("note", "plain"), json!("plain"));
    assert_eq!(found("lockout", "interface"), json!("interface"));
}

#[test]
fn wrong_values_say_what_was_expected() {
    let pairs = [
        ("package", "obsr.tar.gz"),
        ("lockout", "user"),
        ("drain_timeout", "soon"),
        ("workers", "many"),
        ("client_update", "maybe"),
        ("extra_copy", "[1"),
        ("space", "big"),
        ("index_done", "done("),
        ("api", "obs.example.com"),
        ("api_port", "70000"),
        ("window_start", "2026-11-30"),
    ];
    assert_snapshot!(wrong(&pairs), @r#"
    error: parameter `package` is `obsr.tar.gz`, expected an absolute path (from --set)
     = help: An example is /root/obsr-5.5.3.tar.gz.
    error: parameter `lockout` is `user`, expected one of users, interface; did you mean `users`? (from --set)
    error: parameter `drain_timeout` is `soon`, expected a duration such as 90s (from --set)
    error: parameter `workers` is `many`, expected a whole number (from --set)
    error: parameter `extra_copy` is no list in JSON: EOF while parsing a list at line 1 column 2 (from --set)
    error: parameter `client_update` is `maybe`, expected true or false (from --set)
    error: parameter `space` is `big`, expected a size such as 2GiB (from --set)
    error: parameter `index_done` is no regular expression: unclosed group (from --set)
    error: parameter `api` is `obs.example.com`, expected a URL such as https://host/path (from --set)
    error: parameter `api_port` is `70000`, expected a port from 1 to 65535 (from --set)
    error: parameter `window_start` is `2026-11-30`, expected a time such as 22:00, 2026-11-30 22:00 or 2026-11-30T22:00:00+01:00 (from --set)
    "#);
    assert_snapshot!(wrong(&[("drain_timeout", "10s"), ("workers", "0"), ("api_port", "")]), @r#"
    error: parameter `drain_timeout` is `10s`, expected at least 1m (from --set)
    error: parameter `workers` is `0`, expected at least 1 (from --set)
    error: parameter `api_port` is empty, expected a whole number (from --set)
    "#);
    assert_snapshot!(wrong(&[("drain_timeout", "7h")]), @"error: parameter `drain_timeout` is `7h`, expected at most 6h (from --set)");
}

#[test]
fn wrong_types_in_the_configuration_are_told() {
    let target = map(json!({
        "home": 5, "workers": "4", "drain_timeout": 90, "client_update": "yes", "extra_copy": "/a",
        "api_port": 0, "window_start": 22, "index_done": ["x"], "lockout": [], "package": 1, "space": 1.5, "api": true,
    }));

    let errors =
        declared().for_target("obs1", &set(&[("system_password", "prompt")]), &target, &none());

    assert_snapshot!(render(&errors.unwrap_err()), @r#"
    error: parameter `home` on obs1 is `5`, expected text in quotes (from the target's params)
    error: parameter `package` on obs1 is `1`, expected an absolute path (from the target's params)
     = help: An example is /root/obsr-5.5.3.tar.gz.
    error: parameter `lockout` on obs1 is `[]`, expected one of users, interface (from the target's params)
    error: parameter `drain_timeout` on obs1 is `90`, expected a duration such as "90s" (from the target's params)
    error: parameter `workers` on obs1 is `"4"`, expected a whole number (from the target's params)
    error: parameter `extra_copy` on obs1 is `"/a"`, expected a list (from the target's params)
    error: parameter `client_update` on obs1 is `"yes"`, expected true or false (from the target's params)
    error: parameter `space` on obs1 is `1.5`, expected a size such as "2GiB" (from the target's params)
    error: parameter `index_done` on obs1 is `["x"]`, expected a regular expression in quotes (from the target's params)
    error: parameter `api` on obs1 is `true`, expected a URL in quotes (from the target's params)
    error: parameter `api_port` on obs1 is `0`, expected a port from 1 to 65535 (from the target's params)
    error: parameter `window_start` on obs1 is `22`, expected a time in quotes, such as "22:00" (from the target's params)
    "#);
}

#[test]
fn unknown_names_on_the_command_line_are_told() {
    assert_snapshot!(wrong(&[("pakage", "/x"), ("zzz", "1")]), @r#"
    error: unknown parameter `pakage` after --set
     = help: Did you mean `package`?
    error: unknown parameter `zzz` after --set
     = help: Known are: home, package, lockout, drain_timeout, workers, system_password, extra_copy, client_update, space, index_done, api, api_port, window_start, note.
    "#);
    let empty = Params::declare(&Value::Null).unwrap();
    let errors = empty.resolve(&set(&[("home", "/x")]), &none(), &none()).unwrap_err();
    assert_snapshot!(render(&errors), @r#"
    error: unknown parameter `home` after --set
     = help: The runbook declares no parameters.
    "#);
}

#[test]
fn all_missing_parameters_are_listed() {
    assert_snapshot!(render(&declared().resolve(&[], &none(), &none()).unwrap_err()), @r#"
    error: missing parameter `package`: the package of the new version
     = help: Give it with --set package=/root/obsr-5.5.3.tar.gz.
    error: missing parameter `system_password`: of the API's system user
     = help: Give it with --set system_password=env:NAME.
    "#);
    let errors = declared().for_target("obs1", &[], &none(), &none()).unwrap_err();
    assert_eq!(errors.len(), 2);
    assert!(errors[0].message.contains("on obs1"));
}

#[test]
fn secrets_are_kept_as_references_only() {
    let found = declared().resolve(&needed(&[]), &none(), &none()).unwrap();

    assert_eq!(found.get("system_password"), Some(&json!({ "$secret": "system_password" })));
    assert_eq!(found.secrets["system_password"], Reference::Env("PW".to_owned()));
}

#[test]
fn every_target_can_have_its_own_secret() {
    let cli = set(&[("package", "/p")]);
    let config = map(json!({ "system_password": "env:ALL" }));
    let own = map(json!({ "system_password": "env:OBS1" }));

    let first = declared().for_target("obs1", &cli, &own, &config).unwrap();
    let second = declared().for_target("obs2", &cli, &none(), &config).unwrap();

    assert_eq!(first.get("system_password"), Some(&json!({ "$secret": "system_password@obs1" })));
    assert_eq!(first.secrets["system_password@obs1"], Reference::Env("OBS1".to_owned()));
    assert_eq!(second.get("system_password"), Some(&json!({ "$secret": "system_password" })));
    assert_eq!(second.secrets["system_password"], Reference::Env("ALL".to_owned()));
}

#[test]
fn secrets_within_lists_and_maps_are_references_too() {
    let params = json!({ "api": { "type": "any" }, "hosts": { "type": "list" } });
    let params = Params::declare(&params).unwrap();
    let own = map(json!({
        "api": { "user": "ann", "token": "env:T", "more": [{ "password": "file:/p" }, "file:/x"] },
        "hosts": ["a", "env:HOST"],
    }));

    let found = params.for_target("obs1", &[], &own, &none()).unwrap();

    assert_eq!(
        found.values["api"],
        json!({ "user": "ann", "token": { "$secret": "api.token@obs1" },
            "more": [{ "password": { "$secret": "api.more.0.password@obs1" } }, "file:/x"] })
    );
    assert_eq!(found.values["hosts"], json!(["a", { "$secret": "hosts.1@obs1" }]));
    assert_eq!(found.secrets["api.token@obs1"], Reference::Env("T".to_owned()));
    assert_eq!(found.secrets.len(), 3);

    let literal = map(json!({ "api": { "db": { "password": "hunter2" } }, "hosts": [] }));
    let errors = render(&params.for_target("obs1", &[], &literal, &none()).unwrap_err());
    assert!(errors.contains("`api` on obs1 has a secret in `api.db.password`"), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
    let set = vec![("api".to_owned(), r#"{"tokens": 1, "token": "hunter2"}"#.to_owned())];
    let errors = render(&params.resolve(&set, &literal, &none()).unwrap_err());
    assert!(errors.contains("`api.token`") && !errors.contains("hunter2"), "{errors}");
}

#[test]
fn a_literal_secret_is_refused_and_not_repeated() {
    let cli = wrong(&[("system_password", "hunter2")]);
    let config = map(json!({ "system_password": "hunter2", "package": "/p" }));
    let file = render(&declared().resolve(&[], &none(), &config).unwrap_err());
    let url = wrong(&[("api", "https://ann:hunter2@obs/")]);
    let runbook = json!({ "pw": { "type": "secret", "value": "hunter2" } });
    let runbook = render(&Params::declare(&runbook).unwrap_err());

    for text in [&cli, &file, &url, &runbook] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_snapshot!([cli, file, url, runbook].concat(), @r#"
    error: parameter `system_password` is a secret and does not stand on the command line, which every user of this machine can read: this is no reference to a secret
     = help: Write --set system_password=env:NAME, or file:PATH, command:… or prompt.
    error: parameter `system_password` is a secret and does not stand in a file: this is no reference to a secret (from [defaults.params])
     = help: Write env:NAME, file:PATH, command:… or prompt.
    error: parameter `api` holds a password, which would be shown and recorded; give it by a parameter of type secret (from --set)
    error: parameter `pw` of the runbook: its `value` must be a reference to a secret: this is no reference to a secret
     = help: Write env:NAME, file:PATH, command:… or prompt; a secret does not stand in a runbook.
    "#);
}

#[test]
fn wrong_declarations_name_parameter_and_key() {
    let errors = Params::declare(&json!({
        "a": { "type": "pth" },
        "b": { "valeu": 1 },
        "c": { "type": "choice" },
        "d": { "choices": [], "value": "x" },
        "e": { "choices": ["x"], "value": "y" },
        "f": { "type": "int", "value": "4" },
        "g": { "type": "text", "min": 1 },
        "h": { "type": "duration", "min": "1h", "max": "1m" },
        "i": { "type": "int", "max": "many" },
        "j": { "value": 1, "required": true },
        "k": { "required": "no", "about": 1, "type": 2 },
        "l-m": 1,
        "n": 1.5,
        "o": { "type": "port", "choices": [80, 0] },
        "p": { "choices": "x" },
        "q": { "type": "duration", "value": "10s", "min": "1m" },
    }))
    .unwrap_err();

    assert_snapshot!(render(&errors), @r#"
    error: parameter `a` of the runbook: unknown type `pth`
     = help: Did you mean `path`? Known are: text, path, int, bool, duration, size, list, choice, secret, pattern, url, port, time, any.
    error: parameter `b` of the runbook: unknown key `valeu`
     = help: Did you mean `value`? Known are: type, value, choices, about, required, min, max, example.
    error: parameter `c` of the runbook: it is a choice without `choices`
     = help: Add for example `choices: ["users", "interface"]`.
    error: parameter `d` of the runbook: its `choices` are empty
    error: parameter `e` of the runbook: its `value` is `y`, expected one of x; did you mean `x`?
    error: parameter `f` of the runbook: its `value` is `"4"`, expected a whole number
    error: parameter `g` of the runbook: `min` means nothing for the type text
    error: parameter `h` of the runbook: `min` is more than `max`
    error: parameter `i` of the runbook: its `max` is `many`, expected int
    error: parameter `j` of the runbook: it has a `value`, so `required` can never matter
    error: parameter `k` of the runbook: its `type` is a whole number, expected text such as "path"
    error: parameter `l-m` of the runbook: its name must be letters, digits and `_`, not beginning with a digit
    error: parameter `n` of the runbook: no type is known for a number with a fraction
     = help: Say `type: "any"`, or write it as text.
    error: parameter `o` of the runbook: one of `choices` is `0`, expected a port from 1 to 65535
    error: parameter `p` of the runbook: its `choices` are text, expected a list
    error: parameter `q` of the runbook: its `value` is `10s`, expected at least 1m
    "#);
    assert_snapshot!(render(&Params::declare(&json!([1])).unwrap_err()), @"error: `params` of the runbook is a list, expected a map");
}

#[test]
fn help_shows_every_parameter() {
    let rows: Vec<String> = declared()
        .table()
        .iter()
        .map(|row| {
            let need = if row.required { "required" } else { "" };
            format!(
                "{} | {} | {} | {need} | {} | {}",
                row.name, row.kind, row.default, row.about, row.example
            )
        })
        .collect();
    assert_snapshot!(rows.join("\n"), @r#"
    home | text | /usr/local/obs |  |  | 
    package | path |  | required | the package of the new version | /root/obsr-5.5.3.tar.gz
    lockout | users|interface | users |  | how users are kept out | 
    drain_timeout | duration 1m to 6h | 30m |  |  | 
    workers | int from 1 | 4 |  |  | 
    system_password | secret |  | required | of the API's system user | 
    extra_copy | list |  |  |  | 
    client_update | bool | true |  |  | 
    space | size | 1GiB |  |  | 
    index_done | pattern | done$ |  |  | 
    api | url |  |  |  | 
    api_port | port | 443 |  |  | 
    window_start | time |  |  |  | 
    note | any |  |  |  |
    "#);
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_taken_is_taken_again(
        at in 0..14_usize,
        text in "(\\PC{0,12}|[0-9:TZ+ .-]{0,20}|[\\[\\]{}\",0-9a-z:/@.()*]{0,16})",
    ) {
        let params = declared();
        let spec = &params.specs()[at];
        if let Ok(value) = kind::from_text(spec, &text) {
            prop_assert_eq!(kind::check(spec, value.clone()), Ok(value));
        }
    }

    #[test]
    fn no_declaration_panics(
        key in "(type|default|choices|about|required|min|max|example|x)",
        word in "(path|int|choice|secret|duration|1m|prompt|x)",
        shape in 0..6_u8,
    ) {
        let value = match shape {
            0 => json!(word),
            1 => json!([word]),
            2 => json!(1),
            3 => json!(1.5),
            4 => json!({ "type": word }),
            _ => Value::Null,
        };
        for kind in ParamType::ALL {
            let spec = json!({ "p": { "type": kind.as_str(), key.clone(): value.clone() } });
            if let Err(errors) = Params::declare(&spec) {
                prop_assert!(!render(&errors).is_empty());
            }
        }
    }
}
