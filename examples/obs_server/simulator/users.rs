//! Users: one `db/Profile.xml` each, found by `LoginName` and `Owner` together.

use std::fs;
use std::path::{Path, PathBuf};

use super::xml::{Element, attributes};
use super::{Outcome, at, home};

type Attributes = Vec<(String, String)>;

/// One user as its profile says.
#[derive(Debug, Clone, Default)]
pub struct User {
    /// The directory of the user inside a user home.
    pub directory: PathBuf,
    /// The attributes of the profile, in order; `LoginName`, `Owner` and `Status` are among them.
    pub attributes: Attributes,
    /// The attributes of the contact.
    pub contact: Attributes,
    /// The attributes of each backup set.
    pub sets: Vec<Attributes>,
}

/// The value of an attribute, empty when it is missing.
pub fn value<'a>(attributes: &'a Attributes, name: &str) -> &'a str {
    attributes.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
}

impl User {
    /// The name the user logs in with.
    pub fn login(&self) -> &str {
        value(&self.attributes, "LoginName")
    }

    /// The sub-administrator that the user belongs to.
    pub fn owner(&self) -> &str {
        value(&self.attributes, "Owner")
    }

    /// `ENABLE` or `SUSPENDED`.
    pub fn status(&self) -> &str {
        value(&self.attributes, "Status")
    }

    /// The user as the API shows it.
    pub fn element(&self) -> Element {
        Element::new("User")
            .with_all(&self.attributes)
            .child(Element::new("Contact").with_all(&self.contact))
    }

    fn profile(&self) -> String {
        let sets = self.sets.iter().map(|set| Element::new("BackupSet").with_all(set));
        sets.fold(self.element(), Element::child).document()
    }

    /// Reads `DIRECTORY/db/Profile.xml`.
    pub fn read(directory: &Path) -> Outcome<Self> {
        let path = directory.join("db/Profile.xml");
        let text = at(&path, fs::read_to_string(&path))?;
        let document = roxmltree::Document::parse(&text)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let root = document.root_element();
        let mut user = Self {
            directory: directory.to_owned(),
            attributes: attributes(root),
            ..Self::default()
        };
        for child in root.children() {
            match child.tag_name().name() {
                "Contact" => user.contact = attributes(child),
                "BackupSet" => user.sets.push(attributes(child)),
                _ => {}
            }
        }
        if user.login().is_empty() || !matches!(user.status(), "ENABLE" | "SUSPENDED") {
            return Err(format!("{}: no LoginName or Status", path.display()));
        }
        Ok(user)
    }

    /// Writes the profile in one piece.
    pub fn write(&self) -> Outcome<()> {
        home::write_atomically(&self.directory.join("db/Profile.xml"), self.profile().as_bytes())
    }
}

/// The user homes that `conf/obs.xml` names; relative ones lie in the home.
pub fn homes(home: &Path) -> Outcome<Vec<PathBuf>> {
    let path = home.join("conf/obs.xml");
    let text = at(&path, fs::read_to_string(&path))?;
    let document = roxmltree::Document::parse(&text)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let named = document.descendants().filter(|node| node.has_tag_name("user-home"));
    Ok(named.filter_map(|node| node.attribute("path")).map(|path| home.join(path)).collect())
}

/// All users of a server.
#[derive(Debug, Default)]
pub struct Users {
    /// Ordered by `LoginName` and `Owner`.
    pub all: Vec<User>,
    /// Why some directories could not be read.
    pub unreadable: Vec<String>,
}

impl Users {
    /// Reads every profile below the user homes; a broken one is noted and left out.
    pub fn load(homes: &[PathBuf]) -> Outcome<Self> {
        let mut users = Self::default();
        for home in homes {
            for entry in at(home, fs::read_dir(home))? {
                let directory = at(home, entry)?.path();
                if !directory.is_dir() {
                    continue;
                }
                match User::read(&directory) {
                    Ok(user) => users.all.push(user),
                    Err(message) => users.unreadable.push(message),
                }
            }
        }
        users.all.sort_by(|a, b| (a.login(), a.owner()).cmp(&(b.login(), b.owner())));
        Ok(users)
    }

    /// Finds one user. Without an owner the login must be the only one of its name.
    pub fn find(&self, login: &str, owner: Option<&str>) -> Option<usize> {
        let mut found = self.all.iter().enumerate().filter(|(_, user)| {
            user.login() == login && owner.is_none_or(|owner| user.owner() == owner)
        });
        let (position, _) = found.next()?;
        found.next().is_none().then_some(position)
    }

    /// Changes a status on disk and then in memory; returns the one before.
    pub fn set_status(&mut self, position: usize, status: &str) -> Outcome<String> {
        let mut changed = self.all[position].clone();
        let before = changed.status().to_owned();
        if before != status {
            for (name, value) in &mut changed.attributes {
                if name == "Status" {
                    status.clone_into(value);
                }
            }
            changed.write()?;
            self.all[position] = changed;
        }
        Ok(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(root: &Path, directory: &str, login: &str, owner: &str) {
        let attributes =
            [("LoginName", login), ("Owner", owner), ("Status", "ENABLE"), ("Notes", "<&\"'>")];
        let user = User {
            directory: root.join(directory),
            attributes: attributes.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
            sets: vec![vec![("Name".to_owned(), "Documents".to_owned())]],
            ..User::default()
        };
        fs::create_dir_all(user.directory.join("db")).expect("a directory");
        user.write().expect("written");
    }

    #[test]
    fn the_owner_belongs_to_the_identity() {
        let root = tempfile::tempdir().expect("a directory");
        user(root.path(), "1", "acme", "north");
        user(root.path(), "2", "acme", "south");
        user(root.path(), "3", "O'Brien & Sons", "");
        user(root.path(), "4", "lone", "south");
        fs::create_dir(root.path().join("broken")).expect("a directory");
        let mut users = Users::load(&[root.path().to_owned()]).expect("loads");
        assert_eq!((users.all.len(), users.unreadable.len()), (4, 1));

        assert_eq!(users.find("acme", None), None);
        assert_eq!(users.find("acme", Some("")), None);
        let south = users.find("acme", Some("south")).expect("found");
        assert_eq!(users.all[south].owner(), "south");
        assert!(users.find("lone", None).is_some());
        assert!(users.find("lone", Some("")).is_none());
        assert!(users.find("O'Brien & Sons", Some("")).is_some());

        assert_eq!(users.set_status(south, "SUSPENDED"), Ok("ENABLE".to_owned()));
        assert_eq!(users.set_status(south, "SUSPENDED"), Ok("SUSPENDED".to_owned()));
        let again = Users::load(&[root.path().to_owned()]).expect("loads");
        let statuses: Vec<_> = again.all.iter().map(User::status).collect();
        assert_eq!(statuses.iter().filter(|s| **s == "SUSPENDED").count(), 1);
        assert_eq!(again.all[south].sets.len(), 1);
    }
}
