//! Hosts and groups as Ansible has them, and what a host has in the end: its groups, and its variables by precedence.

use std::collections::{BTreeMap, BTreeSet};

use crate::session::config::tree::{Entry, Span, Table, Tree};

/// The variable that says which of two groups of the same depth comes first.
const PRIORITY: &str = "ansible_group_priority";

/// More groups within one another than anybody has.
const DEEPEST: usize = 100;

/// A host as written.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) place: Span,
    pub(super) vars: Table,
}

/// A group as written.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) place: Span,
    pub(super) vars: Table,
    children: BTreeSet<String>,
}

/// An inventory of Ansible.
#[derive(Debug, Default)]
pub(super) struct Groups {
    hosts: BTreeMap<String, Host>,
    named: BTreeMap<String, Group>,
    /// The groups that name a host, by the host.
    members: BTreeMap<String, BTreeSet<String>>,
}

/// A host with what holds for it.
#[derive(Debug)]
pub(super) struct Flat<'g> {
    pub(super) name: &'g str,
    pub(super) place: Span,
    /// All groups that it is in, also by their children, without `all` and `ungrouped`.
    pub(super) groups: Vec<&'g str>,
    /// Its variables: its own come first, then those of the innermost groups.
    pub(super) vars: BTreeMap<&'g str, &'g Entry>,
}

impl Groups {
    /// Returns a host, which comes to be with this if it is new.
    pub(super) fn host(&mut self, name: &str, place: Span) -> &mut Host {
        let new = || Host { place, vars: Table::new() };
        self.hosts.entry(name.to_owned()).or_insert_with(new)
    }

    /// Returns a group, which comes to be with this if it is new.
    pub(super) fn group(&mut self, name: &str, place: Span) -> &mut Group {
        let new = || Group { place, vars: Table::new(), children: BTreeSet::new() };
        self.named.entry(name.to_owned()).or_insert_with(new)
    }

    /// Returns the groups that are in others.
    pub(super) fn children(&self) -> BTreeSet<String> {
        self.named.values().flat_map(|group| group.children.iter().cloned()).collect()
    }

    /// Puts a host into a group.
    pub(super) fn member(&mut self, group: &str, host: &str, place: Span) {
        self.host(host, place);
        self.group(group, place);
        self.members.entry(host.to_owned()).or_default().insert(group.to_owned());
    }

    /// Puts a group into another.
    pub(super) fn child(&mut self, group: &str, child: &str, place: Span) {
        self.group(child, place);
        self.group(group, place).children.insert(child.to_owned());
    }

    /// Returns what each host has in the end.
    ///
    /// # Errors
    /// If groups contain one another in a circle: where, and the circle.
    pub(super) fn flat(&self) -> Result<Vec<Flat<'_>>, (Span, String)> {
        let above = self.above()?;
        let flat = self.hosts.iter().map(|(name, host)| {
            let mut within: BTreeSet<&str> = BTreeSet::from(["all"]);
            for group in self.members.get(name).into_iter().flatten() {
                within.insert(group);
                within
                    .extend(above.get(group.as_str()).into_iter().flat_map(|above| &above.groups));
            }
            // Whatever names it there: a host of no other group is ungrouped, and one of another is not.
            if within.iter().all(|group| matches!(*group, "all" | "ungrouped")) {
                within.insert("ungrouped");
            } else {
                within.remove("ungrouped");
            }
            let depth = |group: &str| above.get(group).map_or(0, |above| above.depth);
            let mut order: Vec<(usize, i64, &str)> =
                within.iter().map(|group| (depth(group), self.priority(group), *group)).collect();
            // Whatever holds for everything comes last, then by how deep a group is, as Ansible does it.
            order.sort_by_key(|(depth, priority, name)| (*name != "all", *depth, *priority, *name));
            let mut vars = BTreeMap::new();
            for (_, _, group) in &order {
                let own = self.named.get(*group).into_iter().flat_map(|group| &group.vars);
                vars.extend(own.map(|(name, entry)| (name.as_str(), entry)));
            }
            vars.extend(host.vars.iter().map(|(name, entry)| (name.as_str(), entry)));
            vars.remove(PRIORITY);
            let groups =
                within.into_iter().filter(|group| !matches!(*group, "all" | "ungrouped")).collect();
            Flat { name, place: host.place, groups, vars }
        });
        Ok(flat.collect())
    }

    /// Returns, for each group, the groups that it is in.
    fn above(&self) -> Result<BTreeMap<&str, Above<'_>>, (Span, String)> {
        let mut parents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, group) in &self.named {
            for child in &group.children {
                parents.entry(child).or_default().push(name);
            }
        }
        let mut done = BTreeMap::new();
        for (name, group) in &self.named {
            climb(name, &parents, &mut done, &mut Vec::new()).map_err(|why| (group.place, why))?;
        }
        Ok(done)
    }

    fn priority(&self, group: &str) -> i64 {
        let entry = self.named.get(group).and_then(|group| group.vars.get(PRIORITY));
        match entry.map(|entry| &entry.node.tree) {
            Some(Tree::Int(number)) => *number,
            Some(Tree::Text(text)) => text.parse().unwrap_or(1),
            _ => 1,
        }
    }
}

/// The groups that a group is in.
#[derive(Clone, Debug, Default)]
struct Above<'g> {
    groups: BTreeSet<&'g str>,
    /// How many of them are one within the other, at most.
    depth: usize,
}

fn climb<'g>(
    name: &'g str,
    parents: &BTreeMap<&'g str, Vec<&'g str>>,
    done: &mut BTreeMap<&'g str, Above<'g>>,
    stack: &mut Vec<&'g str>,
) -> Result<(), String> {
    if done.contains_key(name) {
        return Ok(());
    }
    if let Some(at) = stack.iter().position(|known| *known == name) {
        let mut circle = stack[at..].to_vec();
        circle.push(name);
        circle.reverse();
        return Err(format!("the groups contain one another in a circle: {}", circle.join(" → ")));
    }
    if stack.len() >= DEEPEST {
        return Err(format!("more than {DEEPEST} groups are one within the other"));
    }
    stack.push(name);
    let mut above = Above::default();
    for parent in parents.get(name).into_iter().flatten() {
        climb(parent, parents, done, stack)?;
        if let Some(outer) = done.get(parent) {
            above.groups.extend(&outer.groups);
            above.groups.insert(parent);
            above.depth = above.depth.max(outer.depth + 1);
        }
    }
    stack.pop();
    done.insert(name, above);
    Ok(())
}
