//! Addresses: which ones are taken, where they lead, and what a redirect makes of them.

use ureq::http::Uri;

/// Reads an address.
///
/// # Errors
/// A fragment that says what is wrong. It does not repeat the address, whose query may hold secrets.
pub(super) fn parse(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| {
        format!("this is no URL: {error}; `url_encode` makes any text fit for one")
    })?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => return Err(format!("`{other}` is neither http nor https")),
        None => return Err("the URL must begin with http:// or https://".to_owned()),
    }
    let authority = uri.authority().map(ureq::http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err(
            "a URL with a password in it would be recorded; give `user` and `password`".to_owned()
        );
    }
    endpoint(&uri)?;
    Ok(uri)
}

/// Returns where an address leads.
///
/// # Errors
/// A fragment if it names no host.
pub(super) fn endpoint(uri: &Uri) -> Result<(String, u16), String> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("the URL names no host".to_owned());
    }
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Ok((host.to_owned(), uri.port_u16().unwrap_or(default)))
}

/// Returns the address to which `location` leads from `base`.
///
/// # Errors
/// A fragment if `location` is of another scheme.
pub(super) fn join(base: &Uri, location: &str) -> Result<String, String> {
    let location = location.split('#').next().unwrap_or_default().trim();
    let scheme = base.scheme_str().unwrap_or("http");
    let authority = base.authority().map(ureq::http::uri::Authority::as_str).unwrap_or_default();
    let root = format!("{scheme}://{authority}");
    // A colon before any slash ends a scheme.
    let schemed = location.split(['/', '?']).next().is_some_and(|first| first.contains(':'));
    if schemed {
        return Ok(location.to_owned());
    }
    if let Some(rest) = location.strip_prefix("//") {
        return Ok(format!("{scheme}://{rest}"));
    }
    if location.is_empty() {
        return Err("the place is empty".to_owned());
    }
    if location.starts_with('/') {
        return Ok(format!("{root}{location}"));
    }
    if location.starts_with('?') {
        return Ok(format!("{root}{}{location}", base.path()));
    }
    let folder = base.path().rfind('/').map_or("", |end| &base.path()[..end]);
    let (path, query) = location.split_once('?').map_or((location, None), |(p, q)| (p, Some(q)));
    let mut segments: Vec<&str> = folder.split('/').skip(1).collect();
    for segment in path.split('/') {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("{root}/{}{query}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_browsers_go() {
        let base = parse("http://h:8080/a/b?q=1").unwrap();
        for (location, expected) in [
            ("https://x/y", "https://x/y"),
            ("//x/y", "http://x/y"),
            ("/c", "http://h:8080/c"),
            ("?z=2", "http://h:8080/a/b?z=2"),
            ("c?d=http://e", "http://h:8080/a/c?d=http://e"),
            ("../c#top", "http://h:8080/c"),
            ("./c/", "http://h:8080/a/c/"),
        ] {
            assert_eq!(join(&base, location).as_deref(), Ok(expected), "{location}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for (text, why) in [
            ("127.0.0.1:80", "must begin with"),
            ("ftp://x/", "`ftp` is neither"),
            ("http://u:p@x/", "`user` and `password`"),
            ("http://x/a b", "`url_encode`"),
            ("http:///x", "no URL"),
            ("/x", "must begin with"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("u:p"), "{text}: {error}");
        }
        assert_eq!(endpoint(&parse("https://[::1]/").unwrap()), Ok(("::1".to_owned(), 443)));
    }
}
