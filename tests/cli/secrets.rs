//! A secret is nowhere but where it is used.

use crate::support::cli::Cli;

const VALUE: &str = "tomato&soup 47/11";

fn every_file(dir: &std::path::Path, found: &mut Vec<u8>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            every_file(&path, found);
        } else {
            found.extend(std::fs::read(path).unwrap());
        }
    }
}

#[test]
fn it_is_in_no_output_event_or_journal() {
    let cli = Cli::new().env("TOMATO", VALUE);
    cli.write(
        "book.rhai",
        r#"//! A book
const RUNBOOK = #{ params: #{ password: #{ type: "secret", about: "of the administrator" } } };
let used = sh("test \"$PASSWORD\" = 'tomato&soup 47/11' && echo \"it is $PASSWORD\"", #{ env: #{ PASSWORD: secret("password") }, undo: "true" });
print(used.stdout);
note("noted: " + used.stdout);
try {
  sh("echo $PASSWORD >&2; exit 3", #{ env: #{ PASSWORD: secret("password") }, undo: "true" });
} catch (err) {
  print(err.stderr);
  warn(err.message);
}
fail("it was " + used.stdout);
"#,
    );
    for json in [&[][..], &["--json"]] {
        let arguments = [&["book.rhai", "--set", "password=env:TOMATO", "-v"][..], json].concat();
        let said = cli.run(&arguments);
        assert_eq!(said.code, Some(1), "{said:?}");
        let all = format!("{}{}", said.out, said.err);
        // The test in the script's own text holds it; nothing else may.
        let told = all.replace("'tomato&soup 47/11'", "");
        assert!(!told.contains(VALUE), "{told}");
        assert!(told.contains("it is"), "{told}");
    }
    let mut state = Vec::new();
    every_file(&cli.state(), &mut state);
    let state = String::from_utf8_lossy(&state).replace("'tomato&soup 47/11'", "");
    assert!(!state.contains("is tomato") && !state.contains("was tomato"), "the journal holds it");
    for shown in [cli.run(&["show", "last"]), cli.run(&["show", "last", "--json"])] {
        assert!(!shown.out.contains("is tomato"), "{shown:?}");
    }
}

#[test]
fn one_that_cannot_be_had_ends_with_its_name_and_not_with_a_guess() {
    let cli = Cli::new();
    cli.write("book.rhai", "//! A book\nconst RUNBOOK = #{ params: #{ password: #{ type: \"secret\" } } };\nsh(\"true\", #{ env: #{ P: secret(\"password\") }, undo: \"true\" });\n");
    insta::assert_snapshot!(cli.show(&["book.rhai", "--set", "password=env:NOT_SET"]), @r#"
    --- stderr
    error: the environment variable `NOT_SET` for the secret `password` is not set
    help: Set it for this process: `read -rs NOT_SET && export NOT_SET`.
    [exit status: 2]
    "#);
}
