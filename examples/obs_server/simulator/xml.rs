//! Writing XML; reading is `roxmltree`.

/// An element under construction.
#[derive(Debug)]
pub struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
}

impl Element {
    /// An element without attributes and children.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), attributes: Vec::new(), children: Vec::new() }
    }

    /// The element with one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.push((name.to_owned(), value.into()));
        self
    }

    /// Adds attributes.
    #[must_use]
    pub fn with_all(mut self, attributes: &[(String, String)]) -> Self {
        self.attributes.extend_from_slice(attributes);
        self
    }

    /// The element with one more child.
    #[must_use]
    pub fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// The whole document, indented.
    pub fn document(&self) -> String {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.write(&mut text, 0);
        text
    }

    fn write(&self, text: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        text.push_str(&indent);
        text.push('<');
        text.push_str(&self.name);
        for (name, value) in &self.attributes {
            text.extend([" ", name, "=\"", &escape(value), "\""]);
        }
        if self.children.is_empty() {
            text.push_str("/>\n");
            return;
        }
        text.push_str(">\n");
        for child in &self.children {
            child.write(text, depth + 1);
        }
        text.extend([&indent, "</", &self.name, ">\n"]);
    }
}

/// Text that is safe inside an attribute or an element.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.extend(["&#", &u32::from(c).to_string(), ";"]),
            // Characters that XML 1.0 cannot hold at all.
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The attributes of a node, in order.
pub fn attributes(node: roxmltree::Node<'_, '_>) -> Vec<(String, String)> {
    node.attributes().map(|a| (a.name().to_owned(), a.value().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let name = "a <b> & \"c\" 'd'\ttab\nline Zoë 株";
        let text =
            Element::new("users").child(Element::new("User").with("LoginName", name)).document();
        let document = roxmltree::Document::parse(&text).expect("well formed");
        let user = document.root_element().first_element_child().expect("a child");
        assert_eq!(user.attribute("LoginName"), Some(name));
        assert_eq!(attributes(user), [("LoginName".to_owned(), name.to_owned())]);
    }

    #[test]
    fn characters_that_xml_cannot_hold_are_replaced() {
        assert_eq!(escape("a\u{1}b\0c"), "a?b?c");
    }
}
