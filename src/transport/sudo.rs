//! What sudo says when it refuses, in words of sudo and of sudo-rs, and what to do about it.

/// Why sudo refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, for people.
    pub why: &'static str,
    /// What to do about it.
    pub hint: &'static str,
}

const MISSING: Refusal = Refusal {
    why: "there is no sudo",
    hint: "Install it there, or log in as the user who may act and leave `sudo` out.",
};
const TTY: Refusal = Refusal {
    why: "sudo wants a terminal (requiretty)",
    hint: "Add `Defaults:USER !requiretty` to the sudoers there: a terminal would echo what is sent.",
};
const WRONG: Refusal = Refusal {
    why: "sudo does not take the password",
    hint: "Check the password that `sudo` of the target refers to.",
};
const NEEDED: Refusal = Refusal {
    why: "sudo wants a password",
    hint: "Write `sudo = { password = \"env:NAME\" }`, or allow it without one (NOPASSWD).",
};
const NOT_ALLOWED: Refusal = Refusal {
    why: "sudo does not allow it to this user",
    hint: "Allow `sh` to the user in the sudoers there: every command runs through it.",
};
const NO_USER: Refusal = Refusal {
    why: "sudo does not know the user to become",
    hint: "Check `user` in `sudo` of the target.",
};

/// What is said, and what it means; the first that fits counts.
const SAID: &[(&str, Refusal)] = &[
    ("sudo: not found", MISSING),
    ("sudo: command not found", MISSING),
    ("must have a tty", TTY),
    ("incorrect password", WRONG),
    ("incorrect authentication", WRONG),
    ("Authentication failed", WRONG),
    ("no password was provided", WRONG),
    ("unknown user", NO_USER),
    ("user not found", NO_USER),
    ("is not in the sudoers file", NOT_ALLOWED),
    ("is not allowed to", NOT_ALLOWED),
    ("may not run sudo", NOT_ALLOWED),
    ("I'm afraid I can't do that", NOT_ALLOWED),
    ("a password is required", NEEDED),
    ("a terminal is required", NEEDED),
    ("interactive authentication is required", NEEDED),
];

/// Reads the standard error of a command that sudo should have run; none if it does not say that sudo refused.
pub fn refusal(stderr: &str) -> Option<Refusal> {
    // What the command itself says does not begin so, unless it is about sudo too.
    let lines = || {
        stderr.lines().filter(|line| {
            line.contains("sudo") || line.contains("sorry") || line.contains("is not allowed to")
        })
    };
    SAID.iter()
        .find(|(said, _)| lines().any(|line| line.contains(said)))
        .map(|(_, refusal)| *refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_password_is_told_from_what_is_not_allowed() {
        for (stderr, expected) in [
            ("sudo: a password is required\n", Some(NEEDED)),
            (
                "sudo: a terminal is required to read the password; either use the -S option\n",
                Some(NEEDED),
            ),
            ("sudo: interactive authentication is required\n", Some(NEEDED)),
            (
                "Sorry, try again.\nsudo: no password was provided\nsudo: 1 incorrect password attempt\n",
                Some(WRONG),
            ),
            (
                "sudo: Authentication failed, try again.\nsudo: 3 incorrect authentication attempts\n",
                Some(WRONG),
            ),
            (
                "bob is not in the sudoers file.\nThis incident has been reported to the administrator.\n",
                Some(NOT_ALLOWED),
            ),
            (
                "Sorry, user bob is not allowed to execute '/bin/sh -c x' as root on h1.\n",
                Some(NOT_ALLOWED),
            ),
            ("sudo: I'm sorry bob. I'm afraid I can't do that\n", Some(NOT_ALLOWED)),
            ("sudo: sorry, you must have a tty to run sudo\n", Some(TTY)),
            ("sudo: unknown user obs\n", Some(NO_USER)),
            ("sh: 1: exec: sudo: not found\n", Some(MISSING)),
            ("cat: /etc/shadow: Permission denied\n", None),
            ("", None),
        ] {
            assert_eq!(refusal(stderr), expected, "{stderr}");
        }
    }
}
