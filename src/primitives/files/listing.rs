//! What an archive holds, as `tar -tv` and `zipinfo` list it, and whether that may be unpacked.

use std::sync::LazyLock;

use regex::Regex;

/// A pattern of ours, which a test compiles.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

/// `-rw-r--r-- 0/0  123 2026-11-23 02:41 name`; devices have `8,0` for the size.
static TAR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"^(\S)[-rwxsStTlL]{9}[.+@]?\s+\S+\s+(\d+|\d+,\s*\d+)\s+\d{4}-\d\d-\d\d\s+\d\d:\d\d(?::\d\d)?\s(.*)$",
    )
});
/// `-rw-r--r--  3.0 unx      12 tx stor 26-Nov-23 02:41 name`
static ZIP: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(r"^([-dlcbps?])\S*\s+\d+\.\d+\s+\S+\s+(\d+)\s+(\S+)\s+\S+\s+\S+\s+\d\d:\d\d\s(.*)$")
});

/// What was listed so far.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// `tar`, `gzip`, `bzip2`, `xz`, `zstd` or `zip`.
    pub(super) format: String,
    /// What identifies the archive's content: size and time.
    pub(super) token: String,
    /// The number of entries.
    pub(super) entries: u64,
    /// The bytes in files.
    pub(super) bytes: u64,
    gnu: bool,
    part: Vec<u8>,
}

/// What is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// Where the archive is unpacked.
    pub(super) directory: &'a str,
    /// How many leading parts of each name go away.
    pub(super) strip: usize,
    /// Whether symbolic links may lead anywhere.
    pub(super) any_links: bool,
}

impl Listing {
    /// Takes output as it arrives.
    ///
    /// # Errors
    /// A fragment that names the entry that is not to be unpacked.
    pub(super) fn push(&mut self, bytes: &[u8], rules: Rules<'_>) -> Result<(), String> {
        self.part.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = self.part[start..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.part[start..start + end]).into_owned();
            start += end + 1;
            self.line(&line, rules)?;
        }
        self.part.drain(..start);
        if self.part.len() > 64 << 10 {
            return Err("the listing holds a line of more than 64 KiB".to_owned());
        }
        Ok(())
    }

    fn line(&mut self, line: &str, rules: Rules<'_>) -> Result<(), String> {
        if self.format.is_empty() {
            let words: Vec<_> = line.split(' ').collect();
            if let ["format", format, kind, token] = words[..] {
                format.clone_into(&mut self.format);
                token.clone_into(&mut self.token);
                self.gnu = kind == "gnu";
                return Ok(());
            }
            return Err(format!("the listing begins with `{line}`"));
        }
        if self.format == "zip" { self.zip_line(line, rules) } else { self.tar_line(line, rules) }
    }

    fn tar_line(&mut self, line: &str, rules: Rules<'_>) -> Result<(), String> {
        let parts = TAR.as_ref().and_then(|regex| regex.captures(line));
        let Some(parts) = parts else {
            return Err(format!("an entry cannot be read: `{line}`"));
        };
        let (sort, size, words) = (&parts[1], &parts[2], &parts[3]);
        let (name, leads) = match sort {
            "l" => split(words, &[" -> "])?,
            "h" => split(words, &[" link to ", " -> "])?,
            "-" if !self.gnu && words.contains(" -> ") => split(words, &[" -> "])?,
            "-" | "d" | "C" => (words, None),
            _ => return Err(format!("it holds a device or special file: `{words}`")),
        };
        let hard = sort != "l";
        self.entry(name, leads.map(|link| (link, hard)), size.parse().unwrap_or(0), rules)
    }

    fn zip_line(&mut self, line: &str, rules: Rules<'_>) -> Result<(), String> {
        // The first and last lines of the listing are no entries.
        let Some(parts) = ZIP.as_ref().and_then(|regex| regex.captures(line)) else {
            return Ok(());
        };
        if matches!(&parts[1], "c" | "b" | "p" | "s") {
            return Err(format!("it holds a device or special file: `{}`", &parts[4]));
        }
        if parts[3].starts_with(['T', 'B']) {
            return Err(format!("it holds an encrypted file: `{}`", &parts[4]));
        }
        // Where a link leads is its content, which is looked at once it is unpacked aside.
        self.entry(&parts[4], None, parts[2].parse().unwrap_or(0), rules)
    }

    fn entry(
        &mut self,
        name: &str,
        link: Option<(&str, bool)>,
        size: u64,
        rules: Rules<'_>,
    ) -> Result<(), String> {
        let name = if self.gnu { unescape(name) } else { name.to_owned() };
        self.entries += 1;
        self.bytes += size;
        if name.contains('\n') {
            return Err(format!("it holds a name with a line break: `{}`", name.escape_debug()));
        }
        if name.starts_with('/') {
            return Err(format!("it holds an absolute path: `{name}`"));
        }
        if name.split('/').any(|part| part == "..") {
            return Err(format!("it holds a path with `..`: `{name}`"));
        }
        let Some((link, hard)) = link else { return Ok(()) };
        let link = if self.gnu { unescape(link) } else { link.to_owned() };
        let depth = depth(&name, rules.strip);
        let outside = if hard {
            link.starts_with('/') || link.split('/').any(|part| part == "..")
        } else {
            !rules.any_links && depth.is_some_and(|depth| leaves(&link, depth, rules.directory))
        };
        if outside {
            return Err(format!(
                "it holds a link that leads out of the directory: `{name}` to `{link}`"
            ));
        }
        Ok(())
    }
}

fn split<'a>(rest: &'a str, separators: &[&str]) -> Result<(&'a str, Option<&'a str>), String> {
    for separator in separators {
        if let Some((name, link)) = rest.split_once(separator) {
            if link.contains(separator) {
                return Err(format!("a link cannot be read with certainty: `{rest}`"));
            }
            return Ok((name, Some(link)));
        }
    }
    Err(format!("a link does not say where it leads: `{rest}`"))
}

/// How many directories a name is deep once `strip` parts are gone; none if nothing is left of it.
fn depth(name: &str, strip: usize) -> Option<usize> {
    let parts = name.split('/').filter(|part| !part.is_empty()).skip(strip);
    parts.filter(|part| *part != ".").count().checked_sub(1)
}

fn leaves(link: &str, depth: usize, directory: &str) -> bool {
    if link.starts_with('/') {
        let inside = link == directory || link.starts_with(&format!("{directory}/"));
        return !inside || link.split('/').any(|part| part == "..");
    }
    let mut depth = depth;
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

/// Reads GNU tar's escapes: `\n`, `\\`, `\303`.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes
            .get(at + 1..at + 4)
            .filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (bytes[at], octal, bytes.get(at + 1)) {
            (b'\\', Some(byte), _) => {
                out.push(byte);
                at += 4;
            }
            (b'\\', None, Some(letter)) => {
                out.push(match letter {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'a' => 7,
                    b'b' => 8,
                    b'f' => 12,
                    b'v' => 11,
                    other => *other,
                });
                at += 2;
            }
            (byte, _, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str, strip: usize) -> Result<Listing, String> {
        let mut listing = Listing::default();
        let rules = Rules { directory: "/usr/local/obs", strip, any_links: false };
        listing.push(text.as_bytes(), rules)?;
        Ok(listing)
    }

    #[test]
    fn gnu_and_busybox_listings_are_read() {
        let gnu = "format gzip gnu 10:20\n\
            drwxr-xr-x 0/0               0 2026-11-22 10:00 obs/\n\
            -rwxr-sr-t 1000/1000       120 2026-11-22 10:00 obs/bin/a b\n\
            lrwxrwxrwx 0/0               0 2026-11-22 10:00 obs/lib -> bin/x\n\
            hrw-r--r-- 0/0               0 2026-11-22 10:00 obs/h link to obs/bin/a b\n";
        let listing = list(gnu, 0).unwrap();
        assert_eq!((listing.entries, listing.bytes, listing.token.as_str()), (4, 120, "10:20"));
        let busybox = "format tar other 10:20\n\
            -rw-r--r-- 0/0        42 2026-11-22 10:00:01 obs/a\n\
            lrwxrwxrwx 0/0         0 2026-11-22 10:00:01 obs/l -> a\n";
        assert_eq!(list(busybox, 0).unwrap().bytes, 42);
        let zip = "format zip other 1:2\nArchive:  x.zip\nZip file size: 166 bytes, number of entries: 1\n\
            -rw-r--r--  3.0 unx        4 tx stor 26-Nov-23 02:41 conf/a b\n1 file, 4 bytes uncompressed\n";
        let zip = list(zip, 0).unwrap();
        assert_eq!((zip.entries, zip.bytes), (1, 4));
    }

    #[test]
    fn entries_that_would_leave_the_directory_are_refused() {
        for (line, why) in [
            ("-rw-r--r-- 0/0 1 2026-11-22 10:00 /etc/passwd", "absolute"),
            ("-rw-r--r-- 0/0 1 2026-11-22 10:00 a/../../b", "`..`"),
            ("lrwxrwxrwx 0/0 0 2026-11-22 10:00 a/b -> ../../etc", "leads out"),
            ("lrwxrwxrwx 0/0 0 2026-11-22 10:00 a -> /etc", "leads out"),
            ("lrwxrwxrwx 0/0 0 2026-11-22 10:00 a -> /usr/local/obs/../x", "leads out"),
            ("hrw-r--r-- 0/0 0 2026-11-22 10:00 a link to ../b", "leads out"),
            ("crw-r--r-- 0/0 5,1 2026-11-22 10:00 a", "device"),
            ("prw-r--r-- 0/0 0 2026-11-22 10:00 a", "device"),
            ("-rw-r--r-- 0/0 1 2026-11-22 10:00 a\\nb", "line break"),
            ("lrwxrwxrwx 0/0 0 2026-11-22 10:00 a -> b -> c", "certainty"),
            ("something else", "cannot be read"),
        ] {
            let error = list(&format!("format tar gnu 1:2\n{line}\n"), 0).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn links_inside_are_fine_and_stripping_counts() {
        let link = "format tar gnu 1:2\nlrwxrwxrwx 0/0 0 2026-11-22 10:00 top/a/b -> ../../x\n";
        assert!(list(link, 0).is_ok());
        assert!(list(link, 1).is_err());
        let own = "format tar gnu 1:2\nlrwxrwxrwx 0/0 0 2026-11-22 10:00 a -> /usr/local/obs/jvm\n";
        assert!(list(own, 0).is_ok());
    }

    #[test]
    fn escapes_of_gnu_tar_are_read() {
        assert_eq!(unescape(r"a\303\244\\b\tc\"), "aä\\b\tc\\");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(format in "(tar gnu|zip other|tar other)", bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut listing = Listing::default();
            let rules = Rules { directory: "/a", strip: 1, any_links: false };
            let _result = listing.push(format!("format {format} 1:2\n").as_bytes(), rules);
            let _result = listing.push(&bytes, rules);
            let _result = listing.push(b"\n", rules);
            unescape(&String::from_utf8_lossy(&bytes));
        }
    }
}
