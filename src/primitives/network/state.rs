//! What is found out about interfaces: one script that only reads, and the parsing of what it prints.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::effect::Cx;
use crate::error::{Failure, Kind, Result};
use crate::units;

/// What a link shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    /// The interface below it: of a VLAN, for example.
    pub(super) parent: Option<String>,
    /// The bridge or bond that it is a part of.
    pub(super) master: Option<String>,
    pub(super) up: bool,
    pub(super) carrier: bool,
    pub(super) mac: String,
    other_names: Vec<String>,
}

/// An address, with the words that give it to an interface again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) family: u8,
    /// The address with its prefix.
    pub(super) text: String,
    /// The words for `ip address add`.
    pub(super) words: Vec<String>,
    /// Whether it has yet to be checked for uniqueness.
    #[serde(default, skip)]
    pub(super) tentative: bool,
}

/// A route over an interface, as the words that make it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Route {
    pub(super) family: u8,
    pub(super) words: Vec<String>,
}

/// What must be there again once an interface is up: taking it down loses routes and the addresses of IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(default)]
    pub(super) carrier: bool,
    #[serde(default)]
    pub(super) addresses: Vec<Address>,
    #[serde(default)]
    pub(super) routes: Vec<Route>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) up: bool,
    /// `ifupdown` or `iproute2`.
    pub(super) manager: String,
    pub(super) mac: String,
    /// Every address, also those that come by themselves.
    pub(super) shown: Vec<String>,
    /// What would be lost.
    pub(super) kept: Kept,
    /// What an earlier `ifdown` left to be restored, while the interface is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) saved: Option<Kept>,
}

/// Everything that was looked at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) links: Vec<Link>,
    /// Addresses by interface.
    pub(super) addresses: Vec<(String, Address)>,
    /// Which of them the kernel or a server gives again.
    passing: Vec<String>,
    routes: Vec<Route>,
    pub(super) ifupdown: bool,
    saved: Option<Kept>,
    /// `SSH_CONNECTION` of the session around us, if there is one.
    pub(super) session: String,
    /// The interfaces on the way back to its client.
    pub(super) back: Vec<String>,
    /// The interfaces of the default routes.
    pub(super) default: Vec<String>,
    has_ip: bool,
}

/// Where `ifdown` leaves what `ifup` restores. Its life is that of what it describes: until the next boot.
pub(super) const SPOOL: &str = "/run/upgrade-host";

/// Prints sections that begin with `# NAME`. $1 interface.
pub(super) const LOOK: &str = r##"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C; export PATH LC_ALL
command -v ip >/dev/null 2>&1 || exit 0
echo '# link'; ip -o link show
echo '# address'; ip -o addr show
for family in 4 6; do
  echo "# route$family"
  ip -$family -o route show table all dev "$1" 2>/dev/null || ip -$family -o route show dev "$1" 2>/dev/null
done
echo '# ifupdown'
if command -v ifup >/dev/null 2>&1 && command -v ifdown >/dev/null 2>&1; then
  if command -v ifquery >/dev/null 2>&1; then ifquery "$1" >/dev/null 2>&1 && echo yes
  else cat /etc/network/interfaces /etc/network/interfaces.d/* 2>/dev/null |
    awk -v name="$1" '$1 == "iface" && $2 == name { found = 1 } END { if (found) print "yes" }'
  fi
fi
# sudo and su take the variable away; the processes above them still have it.
session=${SSH_CONNECTION-} pid=$$
while [ -z "$session" ] && [ "${pid:-0}" -gt 1 ]; do
  session=$(tr '\000' '\n' 2>/dev/null <"/proc/$pid/environ" | sed -n 's/^SSH_CONNECTION=//p')
  pid=$(sed 's/.*) [A-Za-z] \([0-9]*\) .*/\1/' "/proc/$pid/stat" 2>/dev/null)
done 2>/dev/null
echo '# session'; echo "$session"
echo '# back'; peer=${session%% *}; [ -n "$peer" ] && ip -o route get "$peer" 2>/dev/null
echo '# default'; ip -4 -o route show default; ip -6 -o route show default 2>/dev/null
echo '# saved'; [ -O "$2/interface-$1" ] && cat "$2/interface-$1"
:
"##;

/// Looks at all interfaces, and at `name` closely.
pub(super) fn look(cx: &Cx<'_>, name: &str) -> Result<Seen> {
    let seen = parse(&cx.read_script(LOOK, [name, SPOOL])?);
    if !seen.has_ip {
        return Err(Failure::new(Kind::NotFound, "there is no program `ip`")
            .with_target(&cx.target.name)
            .with_hint("Install iproute2 on the target.")
            .into());
    }
    Ok(seen)
}

impl Seen {
    /// Returns the state of one interface.
    pub(super) fn state(&self, name: &str) -> Result<State, Box<Failure>> {
        let link = self.links.iter().find(|link| link.name == name);
        if link.is_none() && !self.ifupdown {
            return Err(Box::new(self.unknown(name)));
        }
        // An interface that ifupdown makes and removes is not there while it is down.
        let link = link.cloned().unwrap_or_default();
        let own = || self.addresses.iter().filter(|(of, _)| of == name).map(|(_, address)| address);
        let kept = Kept {
            carrier: link.carrier,
            addresses: own()
                .filter(|address| !self.passing.contains(&address.text))
                .cloned()
                .collect(),
            routes: self.routes.clone(),
        };
        Ok(State {
            up: link.up,
            manager: if self.ifupdown { "ifupdown" } else { "iproute2" }.to_owned(),
            mac: link.mac,
            shown: own().map(|address| address.text.clone()).collect(),
            kept,
            saved: self.saved.clone().filter(|_| !link.up),
        })
    }

    fn unknown(&self, name: &str) -> Failure {
        let names: Vec<_> = self.links.iter().map(|link| link.name.as_str()).collect();
        let mut message = format!("there is no interface `{name}`; there are {}", names.join(", "));
        let alias =
            self.links.iter().find(|link| link.other_names.iter().any(|other| other == name));
        let near = alias
            .map(|link| link.name.as_str())
            .or_else(|| units::nearest(name, names.iter().copied()));
        if let Some(near) = near {
            message.push_str(" (did you mean `");
            message.push_str(near);
            message.push_str("`?)");
        }
        Failure::new(Kind::NotFound, message)
    }
}

impl Kept {
    /// Returns what of this is not there.
    pub(super) fn missing(&self, state: &State) -> Self {
        let settled = |address: &&Address| {
            !state.kept.addresses.iter().any(|there| {
                there.text == address.text
                    && there.family == address.family
                    && !(there.tentative && self.carrier)
            })
        };
        Self {
            carrier: self.carrier && !state.kept.carrier,
            addresses: self.addresses.iter().filter(settled).cloned().collect(),
            routes: self
                .routes
                .iter()
                .filter(|route| !state.kept.routes.contains(route))
                .cloned()
                .collect(),
        }
    }

    /// Adds what another has more.
    pub(super) fn join(&mut self, other: &Self) {
        self.carrier |= other.carrier;
        for address in &other.addresses {
            if !self.addresses.iter().any(|known| known.text == address.text) {
                self.addresses.push(address.clone());
            }
        }
        for route in &other.routes {
            if !self.routes.contains(route) {
                self.routes.push(route.clone());
            }
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        !self.carrier && self.addresses.is_empty() && self.routes.is_empty()
    }

    /// Says it for people, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(|it| format!("address {}", it.text));
        let routes = self.routes.iter().map(|it| format!("route {}", it.words.join(" ")));
        let carrier = self.carrier.then(|| "a carrier".to_owned());
        addresses.chain(routes).chain(carrier).collect()
    }
}

pub(super) fn parse(out: &str) -> Seen {
    let mut seen = Seen::default();
    let mut section = "";
    for line in out.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            section = name;
            continue;
        }
        seen.has_ip = true;
        match section {
            "link" => seen.links.extend(link(line)),
            "address" => {
                if let Some((of, address, passing)) = address(line) {
                    if passing {
                        seen.passing.push(address.text.clone());
                    }
                    seen.addresses.push((of, address));
                }
            }
            "route4" => seen.routes.extend(route(4, line)),
            "route6" => seen.routes.extend(route(6, line)),
            "ifupdown" => seen.ifupdown |= line == "yes",
            "session" => line.clone_into(&mut seen.session),
            "back" => seen.back.extend(devices(line)),
            "default" => seen.default.extend(devices(line)),
            "saved" => seen.saved = serde_json::from_str(line).ok(),
            _ => {}
        }
    }
    seen
}

/// Reads a line of `ip -o link`.
fn link(line: &str) -> Option<Link> {
    let (_, rest) = line.split_once(": ")?;
    let (name, rest) = rest.split_once(": <")?;
    let (flags, rest) = rest.split_once('>')?;
    let (name, parent) = match name.split_once('@') {
        Some((name, parent)) => (name, Some(parent.to_owned())),
        None => (name, None),
    };
    let flag = |wanted: &str| flags.split(',').any(|flag| flag == wanted);
    let words: Vec<&str> = rest.split([' ', '\\']).filter(|word| !word.is_empty()).collect();
    let after =
        |key: &str| words.iter().position(|word| *word == key).and_then(|at| words.get(at + 1));
    let mac =
        words.iter().position(|word| word.starts_with("link/")).and_then(|at| words.get(at + 1));
    Some(Link {
        name: name.to_owned(),
        parent,
        master: after("master").map(|&master| master.to_owned()),
        up: flag("UP"),
        carrier: flag("LOWER_UP"),
        mac: mac.filter(|mac| mac.contains(':')).map(|&mac| mac.to_owned()).unwrap_or_default(),
        other_names: words
            .windows(2)
            .filter(|pair| pair[0] == "altname")
            .map(|pair| pair[1].to_owned())
            .collect(),
    })
}

/// Reads a line of `ip -o addr`: the interface, the address, and whether it comes again by itself.
fn address(line: &str) -> Option<(String, Address, bool)> {
    let line = line.split('\\').next()?;
    let mut words = line.split_whitespace().skip(1);
    let name = words.next()?.to_owned();
    let family = match words.next()? {
        "inet" => 4,
        "inet6" => 6,
        _ => return None,
    };
    let local = words.next()?.to_owned();
    let mut add = vec![local.clone()];
    let mut shown = local;
    let (mut passing, mut tentative) = (false, false);
    while let Some(word) = words.next() {
        match word {
            "peer" => {
                let peer = words.next()?;
                add.extend(["peer".to_owned(), peer.to_owned()]);
                shown = format!("{shown} peer {peer}");
            }
            "brd" | "any" | "scope" | "metric" | "proto" => {
                let value = words.next()?;
                // What the kernel makes itself; `proto` is no word for `add` in older versions.
                passing |= word == "proto" && value.starts_with("kernel");
                if word == "brd" || word == "scope" || word == "metric" {
                    add.extend([word.to_owned(), value.to_owned()]);
                }
            }
            "dynamic" | "temporary" => passing = true,
            "tentative" | "dadfailed" => tentative = true,
            "nodad" | "noprefixroute" | "home" | "mngtmpaddr" => add.push(word.to_owned()),
            "secondary" | "deprecated" | "permanent" | "optimistic" | "stable-privacy" => {}
            label if family == 4 && label != name => {
                add.extend(["label".to_owned(), label.to_owned()]);
            }
            _ => {}
        }
    }
    Some((name, Address { family, text: shown, words: add, tentative }, passing))
}

/// Reads a line of `ip -o route show dev …`; none if the kernel or a router makes the route again.
fn route(family: u8, line: &str) -> Option<Route> {
    // A route over several interfaces stays while one of them is down.
    if line.contains("nexthop") {
        return None;
    }
    let line = line.replace('\\', " ");
    let mut words = line.split_whitespace().peekable();
    if ["local", "broadcast", "anycast", "multicast"].contains(words.peek()?) {
        return None;
    }
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "dev" | "expires" | "error" | "users" | "age" => drop(words.next()),
            "linkdown" | "dead" | "offload" | "trap" | "rt_offload" | "rt_trap" => {}
            "proto" => {
                let value = words.next()?;
                if ["kernel", "ra", "redirect"].contains(&value) {
                    return None;
                }
                kept.extend([word.to_owned(), value.to_owned()]);
            }
            other => kept.push(other.to_owned()),
        }
    }
    Some(Route { family, words: kept })
}

/// Returns the interfaces that a route names.
fn devices(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "dev").map(|pair| pair[1].to_owned()).collect()
}

/// Reads an address as people and programs write it: with a prefix, a zone, or mapped into IPv6.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    let text = text.split(['/', '%', ' ']).next()?;
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}
