use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use insta::assert_snapshot;

use super::*;
use crate::error::Halt;

fn store(vars: &[(&str, &str)]) -> SecretStore {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SecretStore::new(Environment { vars, ..Environment::default() }, Arc::new(NoPrompt))
}

fn reveal(store: &SecretStore, reference: &str) -> Result<String> {
    store.add("api_password", Reference::parse(reference).unwrap(), "");
    store.reveal("api_password").map(|secret| secret.reveal().to_owned())
}

fn failure(store: &SecretStore, reference: &str) -> Failure {
    match reveal(store, reference) {
        Err(Halt::Failure(failure)) => *failure,
        other => panic!("{other:?}"),
    }
}

fn said(failure: &Failure) -> String {
    format!("{}: {}\n{}", failure.kind, failure.message, failure.hint.as_deref().unwrap_or("-"))
}

#[test]
fn a_secret_comes_from_where_its_reference_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pw");
    std::fs::write(&path, "from file\n\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let store = store(&[("PW", "from env"), ("HOME", dir.path().to_str().unwrap())]);

    assert_eq!(reveal(&store, "env:PW").unwrap(), "from env");
    assert_eq!(reveal(&store, &format!("file:{}", path.display())).unwrap(), "from file\n");
    assert_eq!(reveal(&store, "file:~/pw").unwrap(), "from file\n");
    assert_eq!(reveal(&store, "command:printf 'a b\\n'; exit 0").unwrap(), "a b");
}

#[test]
fn a_reference_reads_back_what_it_says() {
    for text in ["env:PW", "file:/a b", "file:~/x", "command:pass show x | head -1", "prompt"] {
        let reference = Reference::parse(text).unwrap();
        assert_eq!(reference.to_string(), text);
        let json = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
    }
}

#[test]
fn what_is_no_reference_is_not_repeated() {
    for text in ["hunter2", "env:hunter2 x", "file:hunter2", "prompt hunter2", "Env:hunter2"] {
        assert!(!Reference::parse(text).unwrap_err().contains("hunter2"), "{text}");
    }
    assert!(Reference::parse("command:  ").is_err());
    assert!(Reference::parse("env:").is_err());
    assert!(Reference::parse("file:~/").is_err());
}

#[test]
fn a_missing_variable_is_named() {
    assert_snapshot!(said(&failure(&store(&[]), "env:PW")), @r#"
    not_found: the environment variable `PW` for the secret `api_password` is not set
    Set it for this process: `read -rs PW && export PW`.
    "#);
}

#[test]
fn a_missing_file_is_named() {
    assert_snapshot!(said(&failure(&store(&[]), "file:/nowhere/pw")), @r#"
    not_found: cannot read `/nowhere/pw` for the secret `api_password`: No such file or directory (os error 2)
    -
    "#);
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pw");
    std::fs::write(&path, "hunter2").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();

    let failure = failure(&store(&[("HOME", dir.path().to_str().unwrap())]), "file:~/pw");

    assert_snapshot!(said(&failure), @r#"
    denied: `~/pw` for the secret `api_password` is open to other users (mode 0640)
    Close it with `chmod 600 ~/pw`, and change the secret if others may have read it.
    "#);
}

#[test]
fn a_failing_command_shows_its_error_but_never_its_output() {
    let failure = failure(&store(&[]), "command:echo hunter2; echo 'vault is sealed' >&2; exit 3");

    assert_snapshot!(said(&failure), @r#"
    exit: the command for the secret `api_password` ended with status 3: vault is sealed
    -
    "#);
    assert_eq!(failure.code, Some(3));
    let whole = serde_json::to_string(&Failure { command: None, ..failure }).unwrap();
    assert!(!whole.contains("hunter2"));
}

#[test]
fn a_command_that_is_killed_is_told() {
    assert_snapshot!(said(&failure(&store(&[]), "command:kill -9 $$")), @r#"
    exit: the command for the secret `api_password` was ended by signal 9
    -
    "#);
}

#[test]
fn an_empty_secret_is_refused() {
    assert_snapshot!(said(&failure(&store(&[("PW", "")]), "env:PW")), @r#"
    input: the secret `api_password` from `env:PW` is empty
    -
    "#);
    assert_snapshot!(said(&failure(&store(&[]), "command:echo")), @r#"
    input: the secret `api_password` from `command:echo` is empty
    -
    "#);
}

#[test]
fn a_secret_that_is_no_text_or_far_too_long_is_refused() {
    assert_snapshot!(said(&failure(&store(&[]), "command:printf '\\377x'")), @r#"
    input: the secret `api_password` is not UTF-8 text
    -
    "#);
    assert_snapshot!(said(&failure(&store(&[]), "command:head -c 2000000 /dev/zero")), @r#"
    input: the secret `api_password` is longer than 1.00 MiB
    -
    "#);
}

#[test]
fn a_command_that_leaves_its_output_open_is_not_waited_for() {
    let failure = failure(&store(&[]), "command:echo hunter2; sleep 20 &");

    assert_snapshot!(said(&failure), @r#"
    exit: the command for the secret `api_password` left something running that keeps its output open
    -
    "#);
}

#[test]
fn without_anybody_to_ask_a_prompt_fails() {
    assert_snapshot!(said(&failure(&store(&[]), "prompt")), @r#"
    input: nobody is there to be asked for the secret `api_password`
    Run it at a terminal, or give the secret by env:NAME, file:PATH or command:….
    "#);
}

#[test]
fn an_unknown_secret_names_the_nearest() {
    let store = store(&[]);
    store.add("api_password", Reference::Prompt, "");

    let Err(Halt::Failure(failure)) = store.reveal("api_pasword") else { panic!() };

    assert_snapshot!(said(&failure), @r#"
    input: unknown secret `api_pasword`
    Did you mean `api_password`?
    "#);
}

#[derive(Default)]
struct Counting(AtomicUsize);

impl PromptSecret for Counting {
    fn ask(&self, text: &str) -> Option<Secret> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Some(Secret::new(format!("answer to {text}")))
    }
}

#[test]
fn a_secret_is_asked_for_once_also_by_many_lanes() {
    let prompt = Arc::new(Counting::default());
    let store = SecretStore::new(Environment::default(), Arc::clone(&prompt) as _);
    store.add("pw", Reference::Prompt, "of the API");

    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                assert_eq!(store.reveal("pw").unwrap().reveal(), "answer to pw (of the API)");
            });
        }
    });

    assert_eq!(prompt.0.load(Ordering::Relaxed), 1);
}

#[test]
fn another_reference_forgets_the_value() {
    let store = store(&[("A", "first"), ("B", "second")]);

    assert_eq!(reveal(&store, "env:A").unwrap(), "first");
    assert_eq!(reveal(&store, "env:B").unwrap(), "second");
}

#[test]
fn a_store_shows_references_only() {
    let store = store(&[("A", "hunter2")]);
    reveal(&store, "env:A").unwrap();

    assert_eq!(format!("{store:?}"), r#"{"api_password": Env("A")}"#);
}
