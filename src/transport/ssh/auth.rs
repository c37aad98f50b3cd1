//! Logging in: agent, key files (with their certificates), password, keyboard-interactive, in this order or the one that
//! is preferred. What libssh2 says of a failure misleads, so what was tried is listed instead.

use std::cell::{Cell, OnceCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libssh2_sys as raw;
use ssh2::{ErrorCode, KeyboardInteractivePrompt, Prompt};

use super::connect::{Broken, Dialogue, NOT_OPENED};
use super::keys::{Certificate, KeyFile, Unlocked, public_key};
use super::known_hosts::blob_type;
use super::{AgentSocket, Method, Questions};
use crate::secret::Secret;
use crate::transport::TransportError;

/// How many keys of the agent are tried: sshd allows six attempts, some must be left for the files that were named.
const AGENT_KEYS: usize = 4;
/// How many proofs a server may want one after another.
const PROOFS: usize = 5;

/// Logs in.
pub(super) fn log_in(
    dialogue: &Dialogue<'_>,
    questions: &dyn Questions,
) -> Result<(), TransportError> {
    let mut login = Login {
        dialogue,
        questions,
        offered: Vec::new(),
        tried: Vec::new(),
        password: OnceCell::new(),
        used: Vec::new(),
    };
    login.ask_what_is_offered()?;
    // A server that wants no proof has let us in by the question already.
    if dialogue.session.authenticated() {
        return Ok(());
    }
    for _ in 0..PROOFS {
        match login.one_proof()? {
            Answer::In => return Ok(()),
            // What is asked for next was not said before.
            Answer::More => login.ask_what_is_offered()?,
            Answer::No => break,
        }
    }
    Err(login.failed())
}

struct Login<'a> {
    dialogue: &'a Dialogue<'a>,
    questions: &'a dyn Questions,
    offered: Vec<String>,
    tried: Vec<String>,
    /// The keys that the server has taken as one proof of several.
    used: Vec<String>,
    /// The password, once it was asked for; nothing within if nobody knew it.
    password: OnceCell<Option<Secret>>,
}

/// What the server makes of a proof.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    In,
    /// It is one of several that are wanted.
    More,
    No,
}

impl Login<'_> {
    fn ask_what_is_offered(&mut self) -> Result<(), TransportError> {
        let (session, user) = (self.dialogue.session, self.dialogue.target.user.as_str());
        let offered = self.dialogue.run(|| {
            // The binding panics on names that are not UTF-8, which a hostile server could send.
            catch_unwind(AssertUnwindSafe(|| session.auth_methods(user).map(str::to_owned)))
                .unwrap_or_else(|_| Ok(String::new()))
        });
        match offered {
            Ok(methods) => self.offered = methods.split(',').map(str::to_owned).collect(),
            Err(broken) => drop(broken.in_login(self.dialogue.target)?),
        }
        Ok(())
    }

    fn offers(&self, method: Method) -> bool {
        self.offered.iter().any(|offered| offered == method.name())
    }

    fn one_proof(&mut self) -> Result<Answer, TransportError> {
        let target = self.dialogue.target;
        for method in &target.methods {
            if !self.offers(*method) {
                continue;
            }
            let answer = match method {
                Method::PublicKey => match self.by_agent()? {
                    Answer::No => self.by_files()?,
                    other => other,
                },
                Method::Password => self.by_password()?,
                Method::KeyboardInteractive => self.by_answers()?,
            };
            if answer != Answer::No {
                return Ok(answer);
            }
        }
        Ok(Answer::No)
    }

    fn attempt(
        &mut self,
        what: &str,
        operation: impl FnMut() -> Result<(), ssh2::Error>,
    ) -> Result<Answer, TransportError> {
        // No proof counts twice.
        if self.used.iter().any(|used| used == what) {
            return Ok(Answer::No);
        }
        match self.dialogue.run(operation) {
            Ok(()) if self.dialogue.session.authenticated() => Ok(Answer::In),
            Ok(()) => {
                // One of several proofs that the server wants; libssh2 calls that a success.
                self.tried.push(format!("{what} (accepted, but the server wants more)"));
                Ok(Answer::More)
            }
            // The server knows the key, but did not let us in by its signature: it wants more proofs.
            Err(Broken::Ssh(error))
                if error.code() == ErrorCode::Session(raw::LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED) =>
            {
                self.tried.push(format!("{what} (accepted, but the server wants more)"));
                self.used.push(what.to_owned());
                Ok(Answer::More)
            }
            Err(broken) => {
                let why = broken.in_login(self.dialogue.target)?;
                self.tried.push(format!("{what} ({why})"));
                Ok(Answer::No)
            }
        }
    }

    fn by_agent(&mut self) -> Result<Answer, TransportError> {
        let target = self.dialogue.target;
        let socket = match &target.agent {
            AgentSocket::Off => return Ok(Answer::No),
            AgentSocket::At(path) => Some(path),
            AgentSocket::Environment => {
                if std::env::var_os("SSH_AUTH_SOCK").is_none_or(|path| path.is_empty()) {
                    return Ok(Answer::No);
                }
                None
            }
        };
        let identities = self.dialogue.session.agent().and_then(|mut agent| {
            if let Some(path) = socket {
                agent.set_identity_path(path)?;
            }
            agent.connect()?;
            agent.list_identities()?;
            let identities = agent.identities()?;
            Ok((agent, identities))
        });
        let (agent, mut identities) = match identities {
            Ok((_, identities)) if identities.is_empty() => {
                self.tried.push("agent (it holds no keys)".to_owned());
                return Ok(Answer::No);
            }
            Ok(found) => found,
            Err(error) => {
                let at = socket.map(|path| format!(" at {}", path.display())).unwrap_or_default();
                self.tried.push(format!("agent{at} (not usable: {})", error.message()));
                return Ok(Answer::No);
            }
        };
        let named = self.named_keys();
        if target.identities_only {
            identities.retain(|identity| named.iter().any(|key| key == identity.blob()));
            if identities.is_empty() {
                self.tried.push("agent (it holds none of the named keys)".to_owned());
            }
        }
        // Those that are named are the likely ones, however many the agent holds.
        identities.sort_by_key(|identity| !named.iter().any(|key| key == identity.blob()));
        identities.retain(|identity| {
            blob_type(identity.blob()).is_some_and(|kind| target.algorithms.takes_user_key(kind))
        });
        for identity in identities.iter().take(AGENT_KEYS) {
            let what = format!("agent key {}", identity.comment());
            match self.attempt(&what, || agent.userauth(&target.user, identity))? {
                Answer::No => {}
                answer => return Ok(answer),
            }
        }
        Ok(Answer::No)
    }

    /// Returns the public keys and certificates of the files that are named, or else of the usual ones.
    fn named_keys(&self) -> Vec<Vec<u8>> {
        let target = self.dialogue.target;
        let usual = usual_identities();
        let files = if target.identities.is_empty() { &usual } else { &target.identities };
        let keys = files.iter().filter_map(|file| public_key(file));
        let beside = files.iter().filter_map(|file| Certificate::beside(file));
        let named = target.certificates.iter().filter_map(|file| Certificate::read(file).ok());
        keys.chain(beside.chain(named).map(|certificate| certificate.blob)).collect()
    }

    fn by_files(&mut self) -> Result<Answer, TransportError> {
        let target = self.dialogue.target;
        let usual = usual_identities();
        let named = !target.identities.is_empty();
        let files = if named { &target.identities } else { &usual };
        let mut certificates = Vec::new();
        for path in &target.certificates {
            match Certificate::read(path) {
                Ok(certificate) => certificates.push(certificate),
                Err(why) => self.tried.push(format!("certificate {} ({why})", path.display())),
            }
        }
        for file in files {
            if !named && !file.exists() {
                continue;
            }
            let answer = match KeyFile::read(file) {
                Ok(key) => self.by_file(&key, &certificates)?,
                // The private half of a public key is the agent's.
                Err(_) if target.agent != AgentSocket::Off && is_public(file) => Answer::No,
                Err(why) => {
                    self.tried.push(format!("key {} ({why})", file.display()));
                    Answer::No
                }
            };
            if answer != Answer::No {
                return Ok(answer);
            }
        }
        Ok(Answer::No)
    }

    fn by_file(
        &mut self,
        key: &KeyFile,
        certificates: &[Certificate],
    ) -> Result<Answer, TransportError> {
        let target = self.dialogue.target;
        let what = format!("key {}", key.path.display());
        if let Some(kind) = key.public.as_deref().and_then(blob_type)
            && !target.algorithms.takes_user_key(kind)
        {
            self.tried.push(format!("{what} (`PubkeyAcceptedAlgorithms` does not take {kind})"));
            return Ok(Answer::No);
        }
        let unlocked = match key.unlock(target.passphrase.as_ref(), self.questions) {
            Ok(unlocked) => unlocked,
            Err(why) => {
                self.tried.push(format!("{what} ({why})"));
                return Ok(Answer::No);
            }
        };
        // Certificates first: where one is there, the key alone is seldom accepted.
        let beside = Certificate::beside(&key.path);
        let fits =
            |certificate: &&Certificate| key.public.is_none() || certificate.key() == key.public;
        for certificate in certificates.iter().filter(fits).chain(&beside) {
            let what = format!("certificate {}", certificate.path.display());
            match self.by_key(&what, key, &unlocked, Some(&certificate.line))? {
                Answer::No => {}
                answer => return Ok(answer),
            }
        }
        // Otherwise libssh2 has OpenSSL look for the public key in the private one: half of what a connection costs us.
        let public = unlocked.public_line();
        self.by_key(&what, key, &unlocked, public.as_deref())
    }

    fn by_key(
        &mut self,
        what: &str,
        key: &KeyFile,
        unlocked: &Unlocked,
        public: Option<&str>,
    ) -> Result<Answer, TransportError> {
        let (session, user) = (self.dialogue.session, self.dialogue.target.user.as_str());
        let answer = self.attempt(what, || {
            session.userauth_pubkey_memory(
                user,
                public,
                unlocked.text.reveal(),
                unlocked.passphrase.as_ref().map(Secret::reveal),
            )
        })?;
        if unlocked.passphrase.is_some()
            && self.tried.last().is_some_and(|tried| tried.contains(NOT_OPENED))
        {
            key.forget();
        }
        Ok(answer)
    }

    /// Returns the password, for which a person is asked once.
    fn password(&self) -> Option<Secret> {
        let target = self.dialogue.target;
        let ask = || self.questions.secret(&format!("Password of {}@{}", target.user, target.name));
        self.password.get_or_init(|| target.password.clone().or_else(ask)).clone()
    }

    fn by_password(&mut self) -> Result<Answer, TransportError> {
        let (session, user) = (self.dialogue.session, self.dialogue.target.user.as_str());
        let Some(secret) = self.password() else { return Ok(Answer::No) };
        self.attempt("password", || session.userauth_password(user, secret.reveal()))
    }

    fn by_answers(&mut self) -> Result<Answer, TransportError> {
        let (session, target) = (self.dialogue.session, self.dialogue.target);
        let Some(secret) = self.password() else { return Ok(Answer::No) };
        let mut answers = Answers {
            secret: Some(secret),
            questions: self.questions,
            at: format!("{}@{}", target.user, target.name),
            paused: &self.dialogue.paused,
            unanswered: Vec::new(),
        };
        let answer = self.attempt("keyboard-interactive", || {
            session.userauth_keyboard_interactive(&target.user, &mut answers)
        })?;
        if answer == Answer::No && !answers.unanswered.is_empty() {
            let asked = answers.unanswered.join("\", \"");
            self.tried.push(format!("keyboard-interactive (nobody answered \"{asked}\")"));
        }
        Ok(answer)
    }

    fn failed(self) -> TransportError {
        let target = self.dialogue.target;
        let tried = if self.tried.is_empty() {
            "nothing could be tried".to_owned()
        } else {
            format!("tried {}", self.tried.join(", "))
        };
        let offered = self.offered.join(", ");
        let allowed = target.methods.iter().any(|method| self.offers(*method));
        let hint = if !allowed {
            let names: Vec<&str> = target.methods.iter().map(|method| method.name()).collect();
            format!("Allowed here are {} only; see ssh's configuration.", names.join(", "))
        } else if self.offers(Method::PublicKey) {
            format!(
                "Add the public key to ~{}/.ssh/authorized_keys on {}, name its file, or load it into the agent.",
                target.user, target.name
            )
        } else {
            "Give a password, or allow keys on the server.".to_owned()
        };
        TransportError::Auth {
            target: target.name.clone(),
            why: format!("as {}: {tried}; the server accepts {offered}", target.user),
            hint: Some(hint),
        }
    }
}

/// Answers the server's questions: the password for the first hidden one that asks for nothing else, a person for others.
struct Answers<'a> {
    secret: Option<Secret>,
    questions: &'a dyn Questions,
    at: String,
    paused: &'a Cell<Duration>,
    unanswered: Vec<String>,
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

fn is_public(file: &Path) -> bool {
    public_key(file).is_some()
}

fn usual_identities() -> Vec<PathBuf> {
    let Some(home) = std::env::var_os("HOME") else { return Vec::new() };
    ["id_ed25519", "id_ecdsa", "id_rsa"]
        .iter()
        .map(|name| Path::new(&home).join(".ssh").join(name))
        .collect()
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed out",
            Self::Ssh(error) => return write!(f, "{error}"),
        })
    }
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
