//! Answering what a server asks in keyboard-interactive: the password to the question that is for it, a person's words to
//! the others.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ssh2::{KeyboardInteractivePrompt, Prompt};

use super::Questions;
use crate::secret::Secret;

/// Answers the server's questions: the password for the first hidden one that asks for nothing else, a person for others.
pub(super) struct Answers<'a> {
    pub(super) secret: Option<Secret>,
    pub(super) questions: &'a dyn Questions,
    pub(super) at: String,
    pub(super) paused: &'a Cell<Duration>,
    /// What nobody answered.
    pub(super) unanswered: Vec<String>,
}

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        let mut answers = Vec::new();
        for prompt in prompts {
            if !prompt.echo
                && !wants_another_factor(&prompt.text)
                && let Some(secret) = self.secret.take()
            {
                answers.push(secret.reveal().to_owned());
                continue;
            }
            let (asked, text) = (Instant::now(), printable(&prompt.text));
            let answer = self.questions.secret(&format!("{}: {text}", self.at));
            // The time that a person takes is not the server's.
            self.paused.set(self.paused.get() + asked.elapsed());
            if answer.is_none() {
                self.unanswered.push(text);
            }
            answers.push(answer.map(|secret| secret.reveal().to_owned()).unwrap_or_default());
        }
        answers
    }
}

/// Returns whether a question is for a code from a device, to which the password is no answer.
fn wants_another_factor(prompt: &str) -> bool {
    let prompt = prompt.to_ascii_lowercase();
    prompt
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| matches!(word, "code" | "passcode" | "token" | "otp" | "pin" | "verification"))
}

/// What a server asks is shown to a person, so it must not move the cursor.
fn printable(text: &str) -> String {
    let plain: String = text.trim().chars().filter(|c| !c.is_control()).take(200).collect();
    plain.trim_end_matches(':').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Person(std::sync::Mutex<Vec<String>>);

    impl Questions for Person {
        fn secret(&self, prompt: &str) -> Option<Secret> {
            self.0.lock().unwrap().push(prompt.to_owned());
            (!prompt.contains("colour")).then(|| Secret::new("123456".to_owned()))
        }

        fn trust_host_key(&self, _: &str, _: &str, _: &str) -> bool {
            false
        }
    }

    #[test]
    fn several_questions_get_the_answers_that_they_are_for() {
        let (person, paused) = (Person::default(), Cell::default());
        let mut answers = Answers {
            secret: Some(Secret::new("the password".to_owned())),
            questions: &person,
            at: "ann@db1".to_owned(),
            paused: &paused,
            unanswered: Vec::new(),
        };
        let prompt = |text: &'static str, echo| Prompt { text: text.into(), echo };
        let first = answers.prompt(
            "ann",
            "",
            &[
                prompt("Verification code: ", false),
                prompt("Password: ", false),
                prompt("User: ", true),
            ],
        );
        assert_eq!(first, ["123456", "the password", "123456"]);
        // The password is given once: the same question again means that it was wrong, or is for another.
        let second =
            answers.prompt("ann", "", &[prompt("Password: ", false), prompt("Your colour:", true)]);
        assert_eq!(second, ["123456", ""]);
        assert_eq!(answers.unanswered, ["Your colour"]);
        let asked = person.0.lock().unwrap();
        assert_eq!(asked[0], "ann@db1: Verification code");
        assert_eq!(asked.len(), 4);
    }

    #[test]
    fn a_password_is_no_answer_to_a_question_for_a_code() {
        for (prompt, other) in [
            ("Password: ", false),
            ("(root@db1) Password:", false),
            ("Passwort:", false),
            ("Verification code: ", true),
            ("Enter PIN for token:", true),
            ("One-time password (OTP): ", true),
            ("Duo passcode or option (1-3): ", true),
            ("Opinion: ", false),
        ] {
            assert_eq!(wants_another_factor(prompt), other, "{prompt}");
        }
        assert_eq!(printable(" \x1b[2JCode:\r\n"), "[2JCode");
    }
}
