//! Which interfaces must stay up, because we ourselves come over them.

use std::net::IpAddr;

use super::state::{Seen, ip};

/// Returns why `name` must not be taken down: it carries our own way to the target.
///
/// `own` is the address of the target that our session uses, as the transport knows it; behind address translation the
/// target does not have it, so the session that the target sees counts too. `local` says that we act on this machine.
pub(super) fn carries_us(
    name: &str,
    seen: &Seen,
    own: Option<IpAddr>,
    local: bool,
) -> Option<String> {
    if name == "lo" {
        return Some("the host itself needs its loopback".to_owned());
    }
    let mut needed: Vec<(String, String)> = Vec::new();
    let mut need = |interface: &str, why: String| {
        if !needed.iter().any(|(known, _)| known == interface) {
            needed.push((interface.to_owned(), why));
        }
    };
    let session: Vec<&str> = seen.session.split_whitespace().collect();
    let ours = own.map(|own| own.to_canonical()).into_iter();
    for address in ours.chain(session.get(2).copied().and_then(ip)) {
        for (interface, there) in &seen.addresses {
            if ip(&there.text) == Some(address) {
                need(interface, format!("our own ssh connection comes to its address {address}"));
            }
        }
    }
    for end in [0, 2] {
        if let Some((_, zone)) = session.get(end).and_then(|address| address.split_once('%')) {
            need(zone, "our own ssh connection uses its link-local address".to_owned());
        }
    }
    if let Some(client) = session.first() {
        for interface in &seen.back {
            need(interface, format!("the way back to our ssh client {client} leads over it"));
        }
        if local {
            for interface in &seen.default {
                need(
                    interface,
                    "it has the default route, and you are logged in over ssh".to_owned(),
                );
            }
        }
    }
    // Everything below an interface carries it too: the ports of a bridge or bond, the parent of a VLAN.
    let mut next = 0;
    while let Some((upper, why)) = needed.get(next).cloned() {
        next += 1;
        let parents = seen.links.iter().filter(|link| link.name == upper).filter_map(|link| {
            let parent = link.parent.clone()?;
            seen.links.iter().any(|other| other.name == parent).then_some(parent)
        });
        let ports = seen
            .links
            .iter()
            .filter(|link| link.master.as_ref() == Some(&upper))
            .map(|link| link.name.clone());
        for lower in parents.chain(ports) {
            if !needed.iter().any(|(known, _)| *known == lower) {
                let why = if why.starts_with("it carries ") {
                    why.clone()
                } else {
                    format!("it carries {upper}: {why}")
                };
                needed.push((lower, why));
            }
        }
    }
    needed.into_iter().find(|(interface, _)| interface == name).map(|(_, why)| why)
}
