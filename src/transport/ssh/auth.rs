//! Logging in: agent, key files (with a certificate beside them), password, keyboard-interactive, in this order.
//! What libssh2 says of a failure misleads, so what was tried is listed instead.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ssh2::{KeyboardInteractivePrompt, Prompt};

use super::connect::{Broken, Dialogue, NOT_OPENED};
use super::{Questions, base64};
use crate::secret::Secret;
use crate::transport::TransportError;

/// Passphrases of key files, until one turns out to be wrong: a person is asked once per key and program run.
static PASSPHRASES: Mutex<Option<HashMap<PathBuf, Secret>>> = Mutex::new(None);

/// Logs in.
pub(super) fn log_in(
    dialogue: &Dialogue<'_>,
    questions: &dyn Questions,
) -> Result<(), TransportError> {
    let user = dialogue.target.user.as_str();
    let session = dialogue.session;
    let offered = dialogue.run(|| {
        // The binding panics on names that are not UTF-8, which a hostile server could send.
        catch_unwind(AssertUnwindSafe(|| session.auth_methods(user).map(str::to_owned)))
            .unwrap_or_else(|_| Ok(String::new()))
    });
    let mut login = Login { dialogue, questions, offered: Vec::new(), tried: Vec::new() };
    match offered {
        Ok(methods) => login.offered = methods.split(',').map(str::to_owned).collect(),
        Err(broken) => drop(broken.in_login(dialogue.target)?),
    }
    // A server that wants no proof has let us in by the question already.
    if session.authenticated() || login.by_agent()? || login.by_files()? || login.by_password()? {
        return Ok(());
    }
    Err(login.failed())
}

struct Login<'a> {
    dialogue: &'a Dialogue<'a>,
    questions: &'a dyn Questions,
    offered: Vec<String>,
    tried: Vec<String>,
}

impl Login<'_> {
    fn offers(&self, method: &str) -> bool {
        self.offered.iter().any(|offered| offered == method)
    }

    fn attempt(
        &mut self,
        what: &str,
        operation: impl FnMut() -> Result<(), ssh2::Error>,
    ) -> Result<bool, TransportError> {
        match self.dialogue.run(operation) {
            Ok(()) if self.dialogue.session.authenticated() => Ok(true),
            Ok(()) => {
                // One of several proofs that the server wants; libssh2 calls that a success.
                self.tried.push(format!("{what} (accepted, but the server wants more)"));
                Ok(false)
            }
            Err(broken) => {
                let why = broken.in_login(self.dialogue.target)?;
                self.tried.push(format!("{what} ({why})"));
                Ok(false)
            }
        }
    }

    fn by_agent(&mut self) -> Result<bool, TransportError> {
        let usable = std::env::var_os("SSH_AUTH_SOCK").is_some_and(|path| !path.is_empty());
        if !self.dialogue.target.use_agent || !usable || !self.offers("publickey") {
            return Ok(false);
        }
        let identities = self.dialogue.session.agent().and_then(|mut agent| {
            agent.connect()?;
            agent.list_identities()?;
            let identities = agent.identities()?;
            Ok((agent, identities))
        });
        let (agent, identities) = match identities {
            Ok((_, identities)) if identities.is_empty() => {
                self.tried.push("agent (it holds no keys)".to_owned());
                return Ok(false);
            }
            Ok(found) => found,
            Err(error) => {
                self.tried.push(format!("agent (not usable: {})", error.message()));
                return Ok(false);
            }
        };
        let user = self.dialogue.target.user.clone();
        // sshd allows six attempts; some must be left for the files that were named.
        for identity in identities.iter().take(4) {
            let what = format!("agent key {}", identity.comment());
            if self.attempt(&what, || agent.userauth(&user, identity))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn by_files(&mut self) -> Result<bool, TransportError> {
        if !self.offers("publickey") {
            return Ok(false);
        }
        let given = self.dialogue.target.identities.clone();
        let named = !given.is_empty();
        let files = if named { given } else { usual_identities() };
        for file in files {
            let private = match std::fs::read_to_string(&file) {
                Ok(text) => Secret::new(text),
                Err(error) => {
                    if named {
                        self.tried.push(format!("key {} ({error})", file.display()));
                    }
                    continue;
                }
            };
            if self.by_file(&file, &private)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn by_file(&mut self, file: &Path, private: &Secret) -> Result<bool, TransportError> {
        let Some(encrypted) = is_encrypted(private.reveal()) else {
            self.tried.push(format!("key {} (not a private key)", file.display()));
            return Ok(false);
        };
        let mut passphrase = None;
        if encrypted {
            passphrase = self.passphrase(file);
            if passphrase.is_none() {
                self.tried.push(format!(
                    "key {} (encrypted, and nobody gave the passphrase)",
                    file.display()
                ));
                return Ok(false);
            }
        }
        let mut beside = file.as_os_str().to_owned();
        beside.push("-cert.pub");
        let certificate = std::fs::read_to_string(Path::new(&beside)).ok();
        let (session, user) = (self.dialogue.session, self.dialogue.target.user.clone());
        // The certificate first: where one is there, the key alone is seldom accepted.
        for public in [certificate.as_deref().map(str::trim_end), None] {
            if public.is_none() && certificate.is_some() && encrypted {
                continue;
            }
            let what = match public {
                Some(_) => format!("certificate {}", Path::new(&beside).display()),
                None => format!("key {}", file.display()),
            };
            let opened = self.attempt(&what, || {
                session.userauth_pubkey_memory(
                    &user,
                    public,
                    private.reveal(),
                    passphrase.as_ref().map(Secret::reveal),
                )
            })?;
            if opened {
                return Ok(true);
            }
            if encrypted && self.tried.last().is_some_and(|tried| tried.contains(NOT_OPENED)) {
                let mut all = PASSPHRASES.lock().unwrap_or_else(PoisonError::into_inner);
                all.get_or_insert_with(HashMap::new).remove(file);
            }
            if certificate.is_none() {
                break;
            }
        }
        Ok(false)
    }

    /// Returns the passphrase of a key file. Whoever asks first holds back the others, so that a person is asked once
    /// for a key even if many targets are connected to at the same time.
    fn passphrase(&self, file: &Path) -> Option<Secret> {
        let mut all = PASSPHRASES.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all.get_or_insert_with(HashMap::new);
        if let Some(remembered) = all.get(file) {
            return Some(remembered.clone());
        }
        let given = self
            .dialogue
            .target
            .passphrase
            .clone()
            .or_else(|| self.questions.secret(&format!("Passphrase of {}", file.display())))?;
        all.insert(file.to_owned(), given.clone());
        Some(given)
    }

    fn by_password(&mut self) -> Result<bool, TransportError> {
        let (password, interactive) =
            (self.offers("password"), self.offers("keyboard-interactive"));
        if !password && !interactive {
            return Ok(false);
        }
        let target = self.dialogue.target;
        let Some(secret) = target.password.clone().or_else(|| {
            self.questions.secret(&format!("Password of {}@{}", target.user, target.name))
        }) else {
            return Ok(false);
        };
        let session = self.dialogue.session;
        if password
            && self
                .attempt("password", || session.userauth_password(&target.user, secret.reveal()))?
        {
            return Ok(true);
        }
        if !interactive {
            return Ok(false);
        }
        let mut answers = Answers { secret, questions: self.questions, asked: 0 };
        self.attempt("keyboard-interactive", || {
            session.userauth_keyboard_interactive(&target.user, &mut answers)
        })
    }

    fn failed(self) -> TransportError {
        let target = self.dialogue.target;
        let tried = if self.tried.is_empty() {
            "nothing could be tried".to_owned()
        } else {
            format!("tried {}", self.tried.join(", "))
        };
        let offered = self.offered.join(", ");
        let hint = if self.offers("publickey") {
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

/// Answers the server's questions: the password for the first hidden one, a person for others.
struct Answers<'a> {
    secret: Secret,
    questions: &'a dyn Questions,
    asked: usize,
}

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        prompts
            .iter()
            .map(|prompt| {
                if !prompt.echo {
                    self.asked += 1;
                    if self.asked == 1 {
                        return self.secret.reveal().to_owned();
                    }
                }
                self.questions
                    .secret(&prompt.text)
                    .map(|secret| secret.reveal().to_owned())
                    .unwrap_or_default()
            })
            .collect()
    }
}

fn usual_identities() -> Vec<PathBuf> {
    let Some(home) = std::env::var_os("HOME") else { return Vec::new() };
    ["id_ed25519", "id_ecdsa", "id_rsa"]
        .iter()
        .map(|name| Path::new(&home).join(".ssh").join(name))
        .collect()
}

/// Returns whether a private key is encrypted; none if the text is no private key.
fn is_encrypted(text: &str) -> Option<bool> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN "));
    let kind = lines.next()?.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
    match kind {
        "OPENSSH PRIVATE KEY" => {
            let body: String = lines.take_while(|line| !line.starts_with("-----")).collect();
            let bytes = base64::decode(&body)?;
            let rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
            let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
            Some(rest.get(4..4 + usize::try_from(length).ok()?)? != b"none")
        }
        "ENCRYPTED PRIVATE KEY" => Some(true),
        kind if kind.ends_with("PRIVATE KEY") => {
            Some(lines.next().is_some_and(|line| line.starts_with("Proc-Type:")))
        }
        _ => None,
    }
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
