//! Files of anything.

use proptest::prelude::*;

use super::*;

/// Pieces of files, so that random input gets past the parser.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "[targets.a]\n",
        "[targets.b]\n",
        "[services.x]\n",
        "[app]\n",
        "[defaults]\n",
        "[defaults.params]\n",
        "address",
        "port",
        "user",
        "identity",
        "jump",
        "sudo",
        "password",
        "tags",
        "params",
        "host_key",
        "adapter",
        "on",
        "reconnect",
        "connect_timeout",
        "silence",
        "process",
        "url",
        " = ",
        "\"a\"",
        "\"b\"",
        "\"env:A\"",
        "\"u@h:22\"",
        "\"[::1\"",
        "\"1s\"",
        "22",
        "0.5",
        "true",
        "[",
        "]",
        "{ ",
        " }",
        ", ",
        "\n",
        "\"",
        "'",
        "é",
        "\"\"\"",
        ".",
        "#",
        "\\",
        "\u{0}",
        "1979-05-27",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(errors) = parse(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn no_file_panics(pieces in proptest::collection::vec(piece(), 0..40)) {
        if let Err(errors) = parse(&pieces.concat()) {
            prop_assert!(errors.0.iter().all(|error| error.line > 0 && error.column > 0));
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn a_plaintext_password_is_never_shown(
        before in "[a-z =\"{,é]{0,10}",
        value in "[\"'a-z {}#=,é\\\\]{0,12}",
    ) {
        // The mark of the secret stands in nothing else.
        prop_assume!(!before.contains("zq"));
        for text in [
            format!("{before}\npassword = \"zq{value}zq\"\n"),
            format!("[targets.a]\nsudo = {{ password = 'zq{value}zq', x = 1 }}"),
        ] {
            if let Err(errors) = parse(&text) {
                let shown = errors.to_string();
                prop_assert!(!shown.contains("zq") || value.contains(['"', '\'']), "{}", shown);
            }
        }
    }
}
