//! Logging in: agent, key files (with their certificates), password, keyboard-interactive, in this order or the one that
//! is preferred. What libssh2 says of a failure misleads, so what was tried is listed instead.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use libssh2_sys as raw;
use ssh2::ErrorCode;

use super::agent::{self, AgentKey};
use super::answers::Answers;
use super::certificate::{self, Certificate};
use super::connect::{Broken, Dialogue, NOT_OPENED};
use super::keys::{KeyFile, Unlocked, public_key};
use super::known_hosts::blob_type;
use super::{AgentSocket, Method, Questions};
use crate::secret::Secret;
use crate::transport::TransportError;

/// How many keys of the agent are tried that nobody named: sshd allows six attempts.
const AGENT_KEYS: usize = 4;
/// The names of the keys that are tried where none are named.
const USUAL: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];
/// What helps if there are too many keys.
const NAME_IT: &str =
    "Name the right key with `identity`; for one of the agent, the file of its public key.";
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
        missing: Vec::new(),
        untried: 0,
        password: OnceCell::new(),
        spent: Vec::new(),
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
    /// What could have been tried, were it there.
    missing: Vec<String>,
    /// How many keys of the agent were not tried.
    untried: usize,
    /// The keys that the server has refused, or taken as one proof of several.
    spent: Vec<Vec<u8>>,
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

/// What came of trying a proof.
enum Sent {
    In,
    More,
    Refused,
    /// It could not be tried.
    Failed(String),
}

/// What is tried.
#[derive(Clone, Copy)]
struct Proof<'a> {
    /// What it is, for people.
    what: &'a str,
    /// The public key or certificate, if it is one.
    blob: Option<&'a [u8]>,
}

impl<'a> Proof<'a> {
    /// What tells it from others.
    fn id(self) -> &'a [u8] {
        self.blob.unwrap_or(self.what.as_bytes())
    }
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
            Ok(methods) => {
                let named = methods.split(',').filter(|method| !method.is_empty());
                self.offered = named.map(str::to_owned).collect();
            }
            Err(Broken::Ssh(error)) if Broken::is_hung_up(&error) => return Err(self.hung_up(None)),
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
                Method::PublicKey => self.by_keys()?,
                Method::Password => self.by_password()?,
                Method::KeyboardInteractive => self.by_answers()?,
            };
            if answer != Answer::No {
                return Ok(answer);
            }
        }
        Ok(Answer::No)
    }

    /// Gives a proof.
    fn send(
        &mut self,
        what: &str,
        operation: impl FnMut() -> Result<(), ssh2::Error>,
    ) -> Result<Sent, TransportError> {
        let error = match self.dialogue.run(operation) {
            Ok(()) if self.dialogue.session.authenticated() => return Ok(Sent::In),
            Ok(()) => return Ok(Sent::More),
            Err(Broken::Ssh(error)) => error,
            Err(broken) => return broken.in_login(self.dialogue.target).map(Sent::Failed),
        };
        if Broken::is_hung_up(&error) {
            return Err(self.hung_up(Some(what)));
        }
        Ok(match error.code() {
            ErrorCode::Session(raw::LIBSSH2_ERROR_AUTHENTICATION_FAILED) => Sent::Refused,
            ErrorCode::Session(raw::LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED) => {
                // One code for three things, which only the text tells apart.
                match error.message() {
                    said if said.starts_with("Callback") => Sent::Failed(
                        "the server takes it, but nothing can be signed with it".to_owned(),
                    ),
                    said if said.starts_with("Waiting") => return Err(self.hung_up(Some(what))),
                    // The server knows the key, but did not let us in by its signature: it wants more proofs.
                    _ => Sent::More,
                }
            }
            _ => Sent::Failed(Broken::Ssh(error).in_login(self.dialogue.target)?),
        })
    }

    /// Gives a key as a proof.
    fn by_proof(
        &mut self,
        proof: Proof<'_>,
        operation: impl FnMut() -> Result<(), ssh2::Error>,
    ) -> Result<Answer, TransportError> {
        let Proof { what, blob } = proof;
        if self.is_spent(proof) {
            return Ok(Answer::No);
        }
        match self.send(what, operation)? {
            Sent::In => return Ok(Answer::In),
            Sent::More => {
                self.spent.push(proof.id().to_vec());
                self.wants_more(what);
                return Ok(Answer::More);
            }
            Sent::Refused => {
                let about = blob
                    .and_then(|blob| certificate::why_not(blob, &self.dialogue.target.user))
                    .map_or_else(String::new, |why| format!("; {why}"));
                self.tried.push(format!("{what} (the server refuses it{about})"));
                self.spent.push(proof.id().to_vec());
            }
            Sent::Failed(why) => self.tried.push(format!("{what} ({why})")),
        }
        Ok(Answer::No)
    }

    /// Returns whether a key has been given before: none counts twice, and an agent may hold what a file does.
    fn is_spent(&self, proof: Proof<'_>) -> bool {
        self.spent.iter().any(|spent| spent == proof.id())
    }

    /// Gives a password, or answers. libssh2 does not tell a refusal from a demand for more, but after the latter the
    /// server offers something else.
    fn by_words(
        &mut self,
        what: &str,
        operation: impl FnMut() -> Result<(), ssh2::Error>,
    ) -> Result<Answer, TransportError> {
        match self.send(what, operation)? {
            Sent::In => return Ok(Answer::In),
            Sent::More => {
                self.wants_more(what);
                return Ok(Answer::More);
            }
            Sent::Refused => {
                let before = self.offered.clone();
                self.tried.push(format!("{what} (the server refuses it)"));
                self.ask_what_is_offered()?;
                if self.offered != before {
                    self.tried.pop();
                    self.wants_more(what);
                    return Ok(Answer::More);
                }
            }
            Sent::Failed(why) => self.tried.push(format!("{what} ({why})")),
        }
        Ok(Answer::No)
    }

    fn wants_more(&mut self, what: &str) {
        self.tried.push(format!("{what} (accepted, but the server wants more)"));
    }

    /// Tries the keys, the most likely first: those that are named, the agent's before files, then what nobody named,
    /// and last what somebody must be asked for.
    fn by_keys(&mut self) -> Result<Answer, TransportError> {
        let target = self.dialogue.target;
        let (named, others) = self.agent_keys().unwrap_or_default();
        let (ready, locked): (Vec<KeyFile>, Vec<KeyFile>) =
            self.key_files().into_iter().partition(|key| {
                !target.identities.is_empty() && key.opens(target.passphrase.as_ref())
            });
        self.untried = others.len().saturating_sub(AGENT_KEYS);
        let certificates = self.certificates();
        for (keys, files) in
            [(&named[..], &ready), (&others[..others.len().min(AGENT_KEYS)], &locked)]
        {
            for key in keys {
                match self.by_agent(key)? {
                    Answer::No => {}
                    answer => return Ok(answer),
                }
            }
            for file in files {
                match self.by_file(file, &certificates)? {
                    Answer::No => {}
                    answer => return Ok(answer),
                }
            }
        }
        Ok(Answer::No)
    }

    /// Returns the keys of the agent: those that are named, and the others.
    fn agent_keys(&mut self) -> Option<(Vec<AgentKey>, Vec<AgentKey>)> {
        let target = self.dialogue.target;
        let socket = match &target.agent {
            AgentSocket::Off => return None,
            AgentSocket::At(path) => path.clone(),
            AgentSocket::Environment => {
                let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
                if socket.is_none() {
                    self.missing.push("no agent (SSH_AUTH_SOCK is not set)".to_owned());
                }
                PathBuf::from(socket?)
            }
        };
        let mut keys = match agent::list(self.dialogue.session, &socket) {
            Ok(keys) if keys.is_empty() => {
                self.tried.push("agent (it holds no keys)".to_owned());
                return None;
            }
            Ok(keys) => keys,
            Err(why) => {
                self.tried.push(format!("agent at {} (not usable: {why})", socket.display()));
                return None;
            }
        };
        keys.retain(|key| {
            blob_type(key.blob()).is_some_and(|kind| target.algorithms.takes_user_key(kind))
        });
        let named = self.named_keys();
        let (named, others): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| named.iter().any(|named| named == key.blob()));
        if !target.identities_only {
            return Some((named, others));
        }
        if named.is_empty() {
            self.tried.push("agent (it holds none of the named keys)".to_owned());
        }
        Some((named, Vec::new()))
    }

    fn by_agent(&mut self, key: &AgentKey) -> Result<Answer, TransportError> {
        let what = key.what();
        let proof = Proof { what: &what, blob: Some(key.blob()) };
        let user = &self.dialogue.target.user;
        self.by_proof(proof, || key.log_in(user))
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

    /// Reads the certificates that are named.
    fn certificates(&mut self) -> Vec<Certificate> {
        let mut certificates = Vec::new();
        for path in &self.dialogue.target.certificates {
            match Certificate::read(path) {
                Ok(certificate) => certificates.push(certificate),
                Err(why) => self.tried.push(format!("certificate {} ({why})", path.display())),
            }
        }
        certificates
    }

    /// Reads the files that are named, or else the usual ones.
    fn key_files(&mut self) -> Vec<KeyFile> {
        let target = self.dialogue.target;
        let usual = usual_identities();
        let named = !target.identities.is_empty();
        let files = if named { &target.identities } else { &usual };
        let mut keys = Vec::new();
        for file in files.iter().filter(|file| named || file.exists()) {
            match KeyFile::read(file) {
                Ok(KeyFile { exposed: Some(mode), .. }) => self.tried.push(format!(
                    "key {0} (not used, since others may read it: its mode is {mode:04o}; `chmod 600 {0}`)",
                    file.display()
                )),
                Ok(key) => keys.push(key),
                // The private half of a public key is the agent's.
                Err(_) if is_public(file) => {
                    let at = file.display();
                    self.missing.push(format!("no private key for {at}, which no agent holds"));
                }
                Err(why) => self.tried.push(format!("key {} ({why})", file.display())),
            }
        }
        if !named && keys.is_empty() {
            self.missing.push(format!("no key in ~/.ssh ({})", USUAL.join(", ")));
        }
        keys
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
        let beside = Certificate::beside(&key.path);
        let fits =
            |certificate: &&Certificate| key.public.is_none() || certificate.key() == key.public;
        let certificates: Vec<_> = certificates.iter().filter(fits).chain(&beside).collect();
        let alone = Proof { what: &what, blob: key.public.as_deref() };
        // Nobody is asked for the passphrase of a key that the agent has offered in vain.
        if certificates.is_empty() && self.is_spent(alone) {
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
        for certificate in certificates {
            let what = format!("certificate {}", certificate.path.display());
            let proof = Proof { what: &what, blob: Some(&certificate.blob) };
            match self.by_key(proof, key, &unlocked, Some(&certificate.line))? {
                Answer::No => {}
                answer => return Ok(answer),
            }
        }
        // Otherwise libssh2 has OpenSSL look for the public key in the private one: half of what a connection costs us.
        let public = unlocked.public_line();
        self.by_key(alone, key, &unlocked, public.as_deref())
    }

    fn by_key(
        &mut self,
        proof: Proof<'_>,
        key: &KeyFile,
        unlocked: &Unlocked,
        public: Option<&str>,
    ) -> Result<Answer, TransportError> {
        let (session, user) = (self.dialogue.session, self.dialogue.target.user.as_str());
        let answer = self.by_proof(proof, || {
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
    fn password(&mut self) -> Option<Secret> {
        let target = self.dialogue.target;
        let ask = || self.questions.secret(&format!("Password of {}@{}", target.user, target.name));
        let known = self.password.get_or_init(|| target.password.clone().or_else(ask)).clone();
        if known.is_none() {
            self.missing.push("no password".to_owned());
        }
        known
    }

    fn by_password(&mut self) -> Result<Answer, TransportError> {
        let (session, user) = (self.dialogue.session, self.dialogue.target.user.as_str());
        let Some(secret) = self.password() else { return Ok(Answer::No) };
        self.by_words("password", || session.userauth_password(user, secret.reveal()))
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
        let answer = self.by_words("keyboard-interactive", || {
            session.userauth_keyboard_interactive(&target.user, &mut answers)
        })?;
        if answer == Answer::No && !answers.unanswered.is_empty() {
            let asked = answers.unanswered.join("\", \"");
            self.tried.push(format!("keyboard-interactive (nobody answered \"{asked}\")"));
        }
        Ok(answer)
    }

    /// Says what was tried.
    fn told(&mut self) -> String {
        if self.untried > 0 {
            let keys = if self.untried == 1 { "key" } else { "keys" };
            self.tried.push(format!("{} more {keys} of the agent (not tried)", self.untried));
        }
        if !self.tried.is_empty() {
            return format!("tried {}", self.tried.join(", "));
        }
        let mut missing = std::mem::take(&mut self.missing);
        let mut seen = std::collections::HashSet::new();
        missing.retain(|what| seen.insert(what.clone()));
        let missing = missing.join(", ");
        if missing.is_empty() {
            return "nothing could be tried".to_owned();
        }
        format!("nothing could be tried: {missing}")
    }

    /// The error for a server that has closed the connection, while this was tried.
    fn hung_up(&mut self, during: Option<&str>) -> TransportError {
        let target = self.dialogue.target;
        if self.tried.is_empty() {
            return TransportError::Connect {
                target: target.name.clone(),
                why: "the server closed the connection during the login".to_owned(),
                hint: Some("See the log of sshd on the target.".to_owned()),
            };
        }
        let during = during.map_or_else(String::new, |what| format!(" at {what}"));
        TransportError::Auth {
            target: target.name.clone(),
            why: format!(
                "as {}: {}; then the server closed the connection{during}, as it does after too many attempts (MaxAuthTries)",
                target.user,
                self.told(),
            ),
            hint: Some(if self.tried.iter().any(|tried| tried.starts_with("agent ")) {
                format!("{NAME_IT} Or leave the agent out: `agent = false`.")
            } else {
                "Try fewer ways, or see the log of sshd on the target.".to_owned()
            }),
        }
    }

    fn failed(mut self) -> TransportError {
        let target = self.dialogue.target;
        let offered = match self.offered.join(", ") {
            none if none.is_empty() => "nothing from this user".to_owned(),
            offered => offered,
        };
        let allowed = target.methods.iter().any(|method| self.offers(*method));
        let hint = if self.offered.is_empty() {
            "See the log of sshd on the target: the user may not be allowed to log in.".to_owned()
        } else if !allowed {
            let names: Vec<&str> = target.methods.iter().map(|method| method.name()).collect();
            format!("Allowed here are {} only; see ssh's configuration.", names.join(", "))
        } else if self.untried > 0 {
            NAME_IT.to_owned()
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
            why: format!("as {}: {}; the server accepts {offered}", target.user, self.told()),
            hint: Some(hint),
        }
    }
}

fn is_public(file: &Path) -> bool {
    public_key(file).is_some()
}

fn usual_identities() -> Vec<PathBuf> {
    let Some(home) = std::env::var_os("HOME") else { return Vec::new() };
    USUAL.iter().map(|name| Path::new(&home).join(".ssh").join(name)).collect()
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
