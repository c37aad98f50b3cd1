//! Names that real customers have, in all the shapes that break careless scripts.

/// A user to be: login, owner, name of the contact.
#[derive(Debug)]
pub struct Name {
    /// `LoginName`.
    pub login: String,
    /// Owner, empty for most.
    pub owner: &'static str,
    /// Name of the contact.
    pub contact: String,
}

const SPECIAL: &[(&str, &str)] = &[
    ("anna.meyer", ""),
    ("O'Brien & Sons", ""),
    ("acme", "reseller-north"),
    ("acme", "reseller-south"),
    ("Dr. Lee 2nd office", ""),
    ("Zoë Müller", ""),
    ("The \"Corner\" Shop", ""),
    ("株式会社さくら", "reseller-south"),
    ("100% Wolle + Garn", ""),
    ("café=crème;#1", "Smith & Partner"),
    ("$HOME `id` * ?", ""),
    ("-rf", "reseller-north"),
    ("ops@example.com", "Smith & Partner"),
    ("back\\slash, comma", ""),
    ("<b>bold GmbH", "reseller-north"),
];

const FIRST: &[&str] = &[
    "ben", "carla", "david", "elena", "frank", "grace", "henk", "ines", "jonas", "kim", "lars",
    "mia",
];
const LAST: &[&str] = &[
    "adler", "brandt", "costa", "dubois", "ek", "fischer", "garcia", "hansen", "ito", "jansen",
    "keller",
];

/// The first `count` names; the special ones come first.
pub fn names(count: usize) -> Vec<Name> {
    (0..count)
        .map(|n| {
            if let Some(&(login, owner)) = SPECIAL.get(n) {
                return Name { login: login.to_owned(), owner, contact: login.to_owned() };
            }
            let n = n - SPECIAL.len();
            let (first, last) = (FIRST[n % FIRST.len()], LAST[n % LAST.len()]);
            // The two lists share no divisor, so a pair comes again only after all of them.
            let round = n / (FIRST.len() * LAST.len());
            let number = if round == 0 { String::new() } else { (round + 1).to_string() };
            let owner = if n % 9 == 4 { "reseller-north" } else { "" };
            Name {
                login: format!("{first}.{last}{number}"),
                owner,
                contact: format!("{first} {last}"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_identity_is_there_once() {
        let names = names(2000);
        let identities: BTreeSet<_> = names.iter().map(|n| (n.login.as_str(), n.owner)).collect();
        assert_eq!(identities.len(), names.len());
        // Each login is the name of a directory, too.
        assert!(names.iter().all(|name| !name.login.contains('/') && !name.owner.contains('/')));
    }
}
