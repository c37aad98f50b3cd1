//! Selectors: what `--on`, `each` and `[defaults] on` may say.

use std::collections::HashSet;
use std::net::IpAddr;

use super::selector::{self, Factor, Item};
use super::{Snapshot, unknown};
use crate::error::{Failure, Halt, Result};
use crate::session::config::{Hop, TargetConfig, ranges};
use crate::units;

impl Snapshot {
    /// Returns the names that a selector stands for, in the order in which it names them, each once.
    ///
    /// A selector is a list of items with commas. An item is one or several terms joined by `&`, which must all hold. A
    /// term is a name, `@tag` or `tag:x`, `all`, a glob (`obs*`, `obs?`, `obs[12]`), a range (`obs[01:20]`), or any of
    /// these after `!`, for what it does not stand for. An item of nothing but `!` terms takes away from the whole; with
    /// nothing but such items, from all.
    pub(super) fn select(&self, selector: &str) -> Result<Vec<String>> {
        let items = selector::parse(selector)?;
        let (less, more): (Vec<&Item<'_>>, Vec<&Item<'_>>) =
            items.iter().partition(|item| item.takes_away());
        let mut found = Vec::new();
        if more.is_empty() {
            found = self.all()?;
        }
        for item in more {
            found.extend(self.item(item, selector)?);
        }
        let mut seen = HashSet::new();
        for factor in less.into_iter().flat_map(|item| &item.factors) {
            // One that is misspelt must not go unnoticed: it would spare nobody.
            seen.extend(self.factor(factor, selector)?);
        }
        found.retain(|name| seen.insert(name.clone()));
        if found.is_empty() {
            let message = format!("`{selector}` leaves no target");
            return Err(unknown(message, self.known()).into());
        }
        Ok(found)
    }

    /// Returns the names that all factors of an item hold for.
    fn item(&self, item: &Item<'_>, selector: &str) -> Result<Vec<String>> {
        let mut found: Option<Vec<String>> = None;
        let mut without = HashSet::new();
        for factor in &item.factors {
            let names = self.factor(factor, selector)?;
            match &mut found {
                _ if factor.not => without.extend(names),
                Some(found) => {
                    let both: HashSet<String> = names.into_iter().collect();
                    found.retain(|name| both.contains(name));
                }
                None => found = Some(names),
            }
        }
        let mut found = found.unwrap_or_default();
        found.retain(|name| !without.contains(name));
        if found.is_empty() {
            let message = format!("`{}` leaves no target", item.text);
            let hint = "`upgrade-host hosts TERM` lists what each of its terms stands for.";
            return Err(unknown(message, hint.to_owned()).into());
        }
        Ok(found)
    }

    /// Returns the names that a factor stands for, its `!` aside.
    fn factor(&self, factor: &Factor<'_>, selector: &str) -> Result<Vec<String>> {
        let place = |within: &str| {
            let alone = selector.trim() == factor.text;
            let column = if alone { String::new() } else { format!(" (column {})", factor.column) };
            format!("{within}{column}")
        };
        // What stands after a user is an address, in which brackets mean something else.
        if factor.text.contains('@') {
            return self.term(factor.text).map_err(|halt| add(halt, &place("")));
        }
        let names = ranges::expand(factor.text).map_err(|why| {
            let hint = "A range is written [1:20], [01:20] or [0:20:2].";
            Halt::from(unknown(format!("{why}{}", place("")), hint.to_owned()))
        })?;
        if names.len() == 1 && names[0] == factor.text {
            return self.term(factor.text).map_err(|halt| add(halt, &place("")));
        }
        let within = place(&format!(" of `{}`", factor.text));
        let mut found = Vec::new();
        for name in names {
            found.extend(self.term(&name).map_err(|halt| add(halt, &within))?);
        }
        Ok(found)
    }

    fn all(&self) -> Result<Vec<String>> {
        let names: Vec<String> = self.remote().map(|target| target.name.clone()).collect();
        if names.is_empty() {
            let hint = "Add [targets.NAME] to upgrade-host.toml, or write local for this machine.";
            return Err(unknown("no targets are configured".to_owned(), hint.to_owned()).into());
        }
        Ok(names)
    }

    /// `all` and globs leave this machine out: nobody who means the fleet means the machine that he sits at.
    fn remote(&self) -> impl Iterator<Item = &TargetConfig> {
        self.targets.values().filter(|target| !target.local)
    }

    fn term(&self, term: &str) -> Result<Vec<String>> {
        if term == "all" {
            return self.all();
        }
        if let Some(tag) = term.strip_prefix('@').or_else(|| term.strip_prefix("tag:")) {
            return self.tagged(tag);
        }
        if term.contains(['*', '?']) || (term.contains('[') && !term.contains('@')) {
            let pattern: Vec<char> = term.chars().collect();
            let names: Vec<String> = self
                .remote()
                .filter(|target| matches(&pattern, &target.name.chars().collect::<Vec<char>>()))
                .map(|target| target.name.clone())
                .collect();
            if names.is_empty() {
                let message = format!("no target matches `{term}`");
                return Err(unknown(message, self.known()).into());
            }
            return Ok(names);
        }
        self.find(term).map(|target| vec![target.name])
    }

    fn tagged(&self, tag: &str) -> Result<Vec<String>> {
        let names: Vec<String> = self
            .targets
            .values()
            .filter(|target| target.tags.iter().any(|known| known == tag))
            .map(|target| target.name.clone())
            .collect();
        if !names.is_empty() {
            return Ok(names);
        }
        let mut tags: Vec<&str> =
            self.targets.values().flat_map(|target| &target.tags).map(String::as_str).collect();
        tags.sort_unstable();
        tags.dedup();
        let hint = match (units::nearest(tag, tags.iter().copied()), tags.is_empty()) {
            (Some(near), _) => format!("Did you mean `@{near}`? Known are: @{}.", tags.join(", @")),
            (None, false) => format!("Known are: @{}.", tags.join(", @")),
            (None, true) => "No target of the configuration has tags.".to_owned(),
        };
        Err(unknown(format!("no target has the tag `{tag}`"), hint).into())
    }

    /// Returns what is configured for a target; for one named by its address, what that and the defaults say.
    pub(super) fn find(&self, name: &str) -> Result<TargetConfig> {
        if let Some(target) = self.targets.get(name) {
            return Ok(target.clone());
        }
        if name == "local" {
            let template = TargetConfig::new("local", &self.template.user);
            return Ok(template);
        }
        let names = || self.targets.keys().map(String::as_str).chain(["local"]);
        let near = units::nearest(name, names());
        let addressed = name.contains('@') || name.parse::<IpAddr>().is_ok();
        let dotted = name.contains('.') || name.contains(':');
        if let Some((word, tag)) = name.split_once(':')
            && tag.parse::<u16>().is_err()
            && units::nearest(&word.to_lowercase(), ["tag", "group"]).is_some()
        {
            let hint = format!("Write `tag:{tag}` or `@{tag}` for the targets with that tag.");
            return Err(unknown(format!("`{name}` is no target"), hint).into());
        }
        // What is nearly a configured name is a slip, unless it says by its user that it is an address.
        if (addressed || (dotted && near.is_none())) && !name.starts_with('-') {
            if !self.ad_hoc {
                let message = format!("`{name}` is not a configured target");
                let hint = "Add it to upgrade-host.toml; only --on takes addresses.";
                return Err(unknown(message, hint.to_owned()).into());
            }
            return self.addressed(name);
        }
        let message = format!("unknown target `{name}`");
        let hint = match near {
            Some(near) if dotted && self.ad_hoc => {
                format!(
                    "Did you mean `{near}`? For a server that is not configured, write user@{name}."
                )
            }
            Some(near) => format!("Did you mean `{near}`? {}", self.known()),
            None => self.known(),
        };
        Err(unknown(message, hint).into())
    }

    fn addressed(&self, name: &str) -> Result<TargetConfig> {
        if let Ok(address) = name.parse::<IpAddr>() {
            let target = TargetConfig { name: name.to_owned(), ..self.template.clone() };
            return Ok(TargetConfig { address: address.to_string(), ..target });
        }
        match Hop::parse(name) {
            Ok(hop) => Ok(hop.target(name, &self.template)),
            Err(why) => Err(Failure::input(format!("the address `{name}` {why}"))
                .with_hint("Write user@host, user@host:port or user@[address]:port.")
                .into()),
        }
    }

    fn known(&self) -> String {
        const MANY: usize = 20;
        let mut names: Vec<&str> = self
            .targets
            .keys()
            .map(String::as_str)
            .filter(|name| *name != "local")
            .chain(["local"])
            .collect();
        let more = names.len().saturating_sub(MANY);
        names.truncate(MANY);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("Known are: {}{rest}.", names.join(", "))
    }
}

/// Adds to the message of a failure.
fn add(mut halt: Halt, words: &str) -> Halt {
    if let Halt::Failure(failure) = &mut halt {
        failure.message.push_str(words);
    }
    halt
}

/// Matches a glob with `*`, `?` and `[…]` (with `!` and ranges). A bracket without end stands for itself.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go back to, when what follows the last star does not match: one more character for the star.
    let mut back: Option<(usize, usize)> = None;
    loop {
        let next = match pattern.get(at) {
            Some('*') => {
                back = Some((at + 1, read));
                at += 1;
                continue;
            }
            Some(_) => text.get(read).and_then(|c| one(&pattern[at..], *c)),
            None if read == text.len() => return true,
            None => None,
        };
        match (next, back) {
            (Some(length), _) => (at, read) = (at + length, read + 1),
            (None, Some((star, from))) if from < text.len() => {
                back = Some((star, from + 1));
                (at, read) = (star, from + 1);
            }
            _ => return false,
        }
    }
}

/// Returns the length of the pattern's first element if it matches `character`.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', rest @ ..] => {
            let negated = matches!(rest.first(), Some('!' | '^'));
            let set = &rest[usize::from(negated)..];
            // A closing bracket that comes first is one of the set.
            let Some(end) = set.iter().skip(1).position(|c| *c == ']').map(|end| end + 1) else {
                return (character == '[').then_some(1);
            };
            let (mut at, mut within) = (0, false);
            while at < end {
                if at + 2 < end && set[at + 1] == '-' {
                    within |= (set[at]..=set[at + 2]).contains(&character);
                    at += 3;
                } else {
                    within |= set[at] == character;
                    at += 1;
                }
            }
            (within != negated).then_some(2 + usize::from(negated) + end)
        }
        [first, ..] => (*first == character).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("obs*", "obs1", true),
            ("obs*", "obs", true),
            ("*1", "obs11", true),
            ("o*s?", "obs1", true),
            ("o*s?", "obs", false),
            ("obs[12]", "obs2", true),
            ("obs[12]", "obs3", false),
            ("obs[!12]", "obs3", true),
            ("obs[1-3]x", "obs2x", true),
            ("obs[1-3]", "obs4", false),
            ("obs[]1]", "obs]", true),
            ("obs[1", "obs[1", true),
            ("*", "", true),
            ("?", "", false),
            ("*a*b*c*", "xxaxxbxxc", true),
            ("*a*b*c*", "xxaxxcxxb", false),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            assert_eq!(matches(&chars(pattern), &chars(text)), expected, "{pattern} {text}");
        }
    }
}
