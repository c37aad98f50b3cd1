//! Text as data and back: XML, JSON, URLs. Nothing here has an effect, so nothing is recorded.

use rhai::{Dynamic, ImmutableString, Map, NativeCallContext};
use roxmltree::{Document, Node, ParsingOptions};

use super::bridge::{
    Face, Primitive, RhaiResultOf, Type, field, text_param, to_dynamic, to_json, type_name, wrong,
};
use crate::effect::{Registry, SecretRef};

/// How deep elements may be nested; real documents are far below, and what is built from them is dropped recursively.
const DEPTH: usize = 200;

const NOT_RECORDED: &str = "Works for real: it has no effect.";
const NO_UNDO: &str = "Nothing: it has no effect.";
const NO_RESUME: &str = "Is computed again.";

const XML_PARSE: Primitive = Primitive {
    name: "xml_parse",
    family: "data",
    summary: "Parses XML into a tree of maps.",
    params: &[field("text", Type::Text, "", "The document.")],
    options: &[],
    returns: "map: `name`, `attributes` (map of texts), `children` (list of such maps), `text` (its own text, trimmed); names without namespace prefix",
    example: r"for user in xml_parse(answer.body).children { print(user.attributes.LoginName); }",
    failure: "`input` with line and column if it is not well-formed, holds a DTD or is nested too deep.",
    plan: NOT_RECORDED,
    undo: NO_UNDO,
    resume: NO_RESUME,
};

const XML_ESCAPE: Primitive = Primitive {
    name: "xml_escape",
    family: "data",
    summary: "Escapes text for XML: for an element as well as for a quoted attribute.",
    params: &[field("text", Type::Text, "", "The text.")],
    options: &[],
    returns: "String: the escaped text",
    example: r#"let body = `<user name="${xml_escape(name)}"/>`;"#,
    failure: "`input` if it holds a control character that XML cannot express.",
    plan: NOT_RECORDED,
    undo: NO_UNDO,
    resume: NO_RESUME,
};

const JSON_PARSE: Primitive = Primitive {
    name: "json_parse",
    family: "data",
    summary: "Parses JSON.",
    params: &[field("text", Type::Text, "", "The document.")],
    options: &[],
    returns: "Dynamic: maps, lists, texts, numbers, flags, and `()` for null",
    example: r#"let version = json_parse(read_file("/etc/app.json")).version;"#,
    failure: "`input` with line and column if it is no JSON.",
    plan: NOT_RECORDED,
    undo: NO_UNDO,
    resume: NO_RESUME,
};

const JSON_TEXT: Primitive = Primitive {
    name: "json_text",
    family: "data",
    summary: "Writes a value as JSON, in one line.",
    params: &[field("value", Type::Any, "", "Maps, lists, texts, numbers, flags, `()`.")],
    options: &[],
    returns: "String: the JSON",
    example: r#"write_file("/etc/app.json", json_text(#{ workers: 4 }));"#,
    failure: "`input` if the value holds something that is no data, or a secret.",
    plan: NOT_RECORDED,
    undo: NO_UNDO,
    resume: NO_RESUME,
};

const URL_ENCODE: Primitive = Primitive {
    name: "url_encode",
    family: "data",
    summary: "Encodes text for one part of a URL: a path segment, or a name or value of the query.",
    params: &[field("text", Type::Text, "", "The text.")],
    options: &[],
    returns: "String: the encoded text",
    example: r"http(`http://127.0.0.1/users/${url_encode(name)}`);",
    failure: "`input` if it is no text.",
    plan: NOT_RECORDED,
    undo: NO_UNDO,
    resume: NO_RESUME,
};

/// Parses XML. Documents with a DTD are refused: it is what entity bombs and foreign files come in by.
pub(crate) fn xml(text: &str) -> Result<Dynamic, String> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: 4_000_000, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => "a document with a DTD is refused".to_owned(),
        // The parser's sentence ends with `at LINE:COLUMN`.
        error => format!("no well-formed XML: {error}"),
    })?;
    element(&document, document.root_element(), 0)
}

fn element(document: &Document<'_>, node: Node<'_, '_>, depth: usize) -> Result<Dynamic, String> {
    if depth > DEPTH {
        let place = document.text_pos_at(node.range().start);
        return Err(format!("elements are nested more than {DEPTH} deep at {place}"));
    }
    let attributes: Map = node
        .attributes()
        .map(|attribute| (attribute.name().into(), attribute.value().into()))
        .collect();
    let children: rhai::Array = node
        .children()
        .filter(Node::is_element)
        .map(|child| element(document, child, depth + 1))
        .collect::<Result<_, _>>()?;
    let text: String =
        node.children().filter(Node::is_text).filter_map(|part| part.text()).collect();
    let mut map = Map::new();
    map.insert("name".into(), node.tag_name().name().into());
    map.insert("attributes".into(), Dynamic::from_map(attributes));
    map.insert("children".into(), Dynamic::from_array(children));
    map.insert("text".into(), text.trim().into());
    Ok(Dynamic::from_map(map))
}

fn xml_escape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // A parser turns them into spaces within attributes, unless they are written as numbers.
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            letter if u32::from(letter) < 0x20 || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                return Err(format!(
                    "XML cannot express the character {}",
                    letter.escape_unicode()
                ));
            }
            letter => out.push(letter),
        }
    }
    Ok(out)
}

fn json(text: &str) -> Result<Dynamic, String> {
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map(to_dynamic).map_err(|error| {
        let said = error.to_string();
        let what = said.split(" at line ").next().unwrap_or_default();
        format!("no JSON: {what} at {}:{}", error.line(), error.column())
    })
}

fn json_text(value: &Dynamic) -> Result<String, String> {
    if holds_secret(value) {
        return Err(
            "it holds a secret, which text cannot; give `json` to `http` instead".to_owned()
        );
    }
    to_json(value).map(|data| data.to_string())
}

fn holds_secret(value: &Dynamic) -> bool {
    value.is::<SecretRef>()
        || value.read_lock::<Map>().is_some_and(|map| map.values().any(holds_secret))
        || value.read_lock::<rhai::Array>().is_some_and(|list| list.iter().any(holds_secret))
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn url_encode(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digits = [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
            out.push('%');
            out.extend(digits);
        }
    }
    out
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    fn said<T>(ctx: &NativeCallContext<'_>, result: Result<T, String>) -> RhaiResultOf<T> {
        result.map_err(|why| wrong(ctx, format!("{}: {why}", ctx.fn_name())))
    }
    face.add(&XML_PARSE, |ctx: NativeCallContext<'_>, text: Dynamic| {
        said(&ctx, xml(&text_param(&ctx, "text", &text)?))
    });
    face.add(&XML_ESCAPE, |ctx: NativeCallContext<'_>, text: Dynamic| {
        said(&ctx, xml_escape(&text_param(&ctx, "text", &text)?).map(ImmutableString::from))
    });
    face.add(&JSON_PARSE, |ctx: NativeCallContext<'_>, text: Dynamic| {
        said(&ctx, json(&text_param(&ctx, "text", &text)?))
    });
    face.add(&JSON_TEXT, |ctx: NativeCallContext<'_>, value: Dynamic| {
        said(&ctx, json_text(&value).map(ImmutableString::from))
    });
    face.add(&URL_ENCODE, |ctx: NativeCallContext<'_>, text: Dynamic| {
        let text = match type_name(&text) {
            "int" => text.to_string(),
            _ => text_param(&ctx, "text", &text)?,
        };
        RhaiResultOf::Ok(ImmutableString::from(url_encode(&text)))
    });
}

/// The family has no actions.
pub(super) fn actions(_registry: &mut Registry) {}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn xml_becomes_maps() {
        let tree = xml(concat!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<users>\n",
            "  <user LoginName=\"o'neil &amp; co &quot;x&quot;\"><Name> a<!-- no -->b </Name></user>\n",
            "</users>\n"
        ))
        .unwrap();

        assert_eq!(
            to_json(&tree).unwrap(),
            serde_json::json!({
                "name": "users", "attributes": {}, "text": "",
                "children": [{
                    "name": "user", "attributes": {"LoginName": "o'neil & co \"x\""}, "text": "",
                    "children": [{"name": "Name", "attributes": {}, "children": [], "text": "ab"}],
                }],
            })
        );
    }

    #[test]
    fn bad_xml_is_refused_with_its_place() {
        let error = xml("<a>\n  <b></a>").unwrap_err();
        assert!(error.contains("no well-formed XML") && error.contains("2:"), "{error}");
        assert!(xml("").is_err());
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
        assert_eq!(xml(bomb).unwrap_err(), "a document with a DTD is refused");
        let foreign = "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>";
        assert_eq!(xml(foreign).unwrap_err(), "a document with a DTD is refused");
        let deep = format!("{}{}", "<a>".repeat(300), "</a>".repeat(300));
        assert!(xml(&deep).unwrap_err().contains("nested more than 200 deep at 1:"));
    }

    #[test]
    fn depth_beyond_reason_does_not_overflow_the_stack() {
        let deep = format!("{}{}", "<a>".repeat(200_000), "</a>".repeat(200_000));
        assert!(xml(&deep).is_err());
    }

    #[test]
    fn escaped_text_is_read_back_as_it_was() {
        for text in ["a<b>&\"'", "tab\tline\nreturn\r", "ünï ✓", "]]>"] {
            let escaped = xml_escape(text).unwrap();
            let tree = xml(&format!("<a b=\"{escaped}\"/>")).unwrap();
            assert_eq!(to_json(&tree).unwrap()["attributes"]["b"], text);
        }
        assert!(xml_escape("\0").unwrap_err().contains("\\u{0}"));
    }

    #[test]
    fn json_comes_and_goes() {
        let value = json(r#"{"a": [1, 2.5, null, "x"], "b": true}"#).unwrap();
        assert_eq!(json_text(&value).unwrap(), r#"{"a":[1,2.5,null,"x"],"b":true}"#);
        assert_eq!(
            json("{\n  \"a\": }").map(|_| ()).unwrap_err(),
            "no JSON: expected value at 2:8"
        );
        let secret = Dynamic::from_array(vec![Dynamic::from(SecretRef { name: "pw".into() })]);
        assert!(json_text(&secret).unwrap_err().contains("secret"));
    }

    #[test]
    fn urls_are_encoded_by_segment() {
        assert_eq!(url_encode("a b/ü&'~"), "a%20b%2F%C3%BC%26%27~");
    }
}
