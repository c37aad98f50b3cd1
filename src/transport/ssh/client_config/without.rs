//! The files read by ourselves, where there is no `ssh` program to ask: by a maintained parser of their format, into the
//! lines that `ssh -G` would say. What that parser does not take as `ssh` does is an error, not a guess.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::BufReader;
use std::path::Path;

use ssh2_config::{Algorithms, HostParams, ParseRule, SshConfig};

use super::files::{Place, Said};
use super::{Asked, PROGRAM, Unusable};

/// Keywords of which a block may hold several; of others the first line counts.
const SEVERAL: [&str; 4] = ["identityfile", "setenv", "sendenv", "localforward"];
/// What ssh takes where only one kind of known hosts is set.
const KNOWN_HOSTS: [(&str, &str); 2] = [
    ("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"),
    ("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"),
];

/// Returns what `ssh -G` would say of what the files set.
///
/// # Errors
/// What in them is understood by `ssh` alone, and where.
pub(super) fn answer(asked: &Asked, said: &Said) -> Result<String, Unusable> {
    said.places().try_for_each(understood)?;
    unambiguous(said)?;
    let mut lines = Lines::default();
    if let Some(user) = &asked.user {
        lines.say("user", user);
    }
    if let Some(port) = asked.port {
        lines.say("port", &port.to_string());
    }
    for file in said.files() {
        lines.add(&params(file, &asked.host)?, &asked.host);
    }
    if !lines.said.contains("hostname") {
        lines.say("hostname", &asked.host);
    }
    let set: Vec<_> =
        KNOWN_HOSTS.iter().filter(|(keyword, _)| lines.said.contains(*keyword)).collect();
    if let [one] = set[..] {
        for (keyword, usual) in KNOWN_HOSTS.iter().filter(|(keyword, _)| *keyword != one.0) {
            lines.say(keyword, usual);
        }
    }
    Ok(lines.text)
}

fn alone(place: &Place, what: &str) -> Unusable {
    Unusable {
        message: format!(
            "{} says `{}`, {what}, and there is no `{PROGRAM}` program here to ask",
            place.at(),
            place.written
        ),
        hint: hint(),
    }
}

fn hint() -> String {
    "Install OpenSSH's client, or set `ssh_config = false` to leave the file unread.".to_owned()
}

fn understood(place: &Place) -> Result<(), Unusable> {
    match place.keyword.as_str() {
        "match" | "canonicalizehostname" | "tag" => {
            Err(alone(place, "which depends on more than the name of the host"))
        }
        "include with a pattern" => Err(alone(place, "with a pattern that only ssh understands")),
        _ => Ok(()),
    }
}

/// Of a keyword that stands in a block twice the parser takes the last, ssh the first.
fn unambiguous(said: &Said) -> Result<(), Unusable> {
    let mut block: (Option<&Path>, BTreeSet<&str>) = Default::default();
    for place in said.places() {
        if place.keyword == "host" || block.0 != Some(&place.file) {
            block = (Some(&place.file), BTreeSet::new());
        }
        let keyword = place.keyword.as_str();
        if !SEVERAL.contains(&keyword) && !block.1.insert(keyword) {
            return Err(alone(place, "for the second time in one block"));
        }
    }
    Ok(())
}

fn params(file: &Path, host: &str) -> Result<HostParams, Unusable> {
    let wrong = |why: String| Unusable {
        message: format!("`{}` cannot be read: {why}", file.display()),
        hint: hint(),
    };
    let opened = std::fs::File::open(file).map_err(|error| wrong(error.to_string()))?;
    let mut config = SshConfig::default();
    if let Some(home) = std::env::var_os("HOME") {
        config = config.home_dir(home);
    }
    let rules = ParseRule::ALLOW_UNSUPPORTED_FIELDS;
    let config = config.parse(&mut BufReader::new(opened), rules);
    Ok(config.map_err(|error| wrong(error.to_string()))?.query(host))
}

/// Lines in the form of `ssh -G`; of those of a keyword the first counts.
#[derive(Default)]
struct Lines {
    text: String,
    said: BTreeSet<String>,
}

impl Lines {
    fn say(&mut self, keyword: &str, value: &str) {
        let _infallible = writeln!(self.text, "{keyword} {value}");
        self.said.insert(keyword.to_owned());
    }

    fn add(&mut self, params: &HostParams, host: &str) {
        let yes = |on: bool| if on { "yes" } else { "no" }.to_owned();
        let hostname = params.host_name.as_ref().map(|name| expand(name, host));
        for (keyword, value) in [
            ("hostname", hostname),
            ("user", params.user.clone()),
            ("port", params.port.map(|port| port.to_string())),
            ("proxyjump", params.proxy_jump.as_ref().map(|hops| hops.join(","))),
            ("connecttimeout", params.connect_timeout.map(|limit| limit.as_secs().to_string())),
            ("pubkeyauthentication", params.pubkey_authentication.map(yes)),
            ("bindaddress", params.bind_address.clone()),
            ("bindinterface", params.bind_interface.clone()),
            ("certificatefile", params.certificate_file.as_ref().map(|file| shown(file))),
        ] {
            if let Some(value) = value {
                self.say(keyword, &value);
            }
        }
        for file in params.identity_file.iter().flatten() {
            self.say("identityfile", &shown(file));
        }
        let algorithms: [(&str, &Algorithms); 5] = [
            ("ciphers", &params.ciphers),
            ("hostkeyalgorithms", &params.host_key_algorithms),
            ("kexalgorithms", &params.kex_algorithms),
            ("macs", &params.mac),
            ("pubkeyacceptedalgorithms", &params.pubkey_accepted_algorithms),
        ];
        for (keyword, set) in algorithms.into_iter().filter(|(_, set)| !set.is_default()) {
            self.say(keyword, &set.algorithms().join(","));
        }
        for (field, arguments) in &params.unsupported_fields {
            let keyword = match field.as_str() {
                "pubkeyacceptedkeytypes" => "pubkeyacceptedalgorithms",
                field => field,
            };
            self.say(keyword, &arguments.join(" "));
        }
    }
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

/// Expands the tokens that a host name may hold.
fn expand(name: &str, host: &str) -> String {
    name.split("%%").map(|part| part.replace("%h", host)).collect::<Vec<_>>().join("%")
}
