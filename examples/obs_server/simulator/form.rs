//! `application/x-www-form-urlencoded`, for queries and bodies alike.

/// Decoded pairs in the order given.
pub fn decode(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (component(name), component(value)))
        .collect()
}

/// One decoded name or value; a `%` that starts no code stands for itself.
pub fn component(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while let Some(&byte) = bytes.get(position) {
        let code = bytes.get(position + 1..position + 3).and_then(hex);
        match (byte, code) {
            (b'%', Some(code)) => {
                decoded.push(code);
                position += 3;
                continue;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        position += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.starts_with('+') { None } else { u8::from_str_radix(digits, 16).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_form() {
        let pairs = decode("LoginName=O%27Brien+%26+Sons&Owner=&Status=ENABLE&flag&x=%C3%AB");
        let expected = [
            ("LoginName", "O'Brien & Sons"),
            ("Owner", ""),
            ("Status", "ENABLE"),
            ("flag", ""),
            ("x", "ë"),
        ];
        assert_eq!(pairs, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn broken_codes_stand_for_themselves() {
        assert_eq!(component("100%"), "100%");
        assert_eq!(component("%zz%4"), "%zz%4");
        assert_eq!(component("%+1"), "% 1");
        assert_eq!(component("%ff"), "\u{fffd}");
    }
}
