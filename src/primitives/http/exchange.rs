//! One try of a request: what goes out with its secrets revealed, redirects, and what comes back.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Response as Raw, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::unversioned::transport::{Connector, NativeTlsConnector};

use super::connector::{Given, Interrupted, Noting, OnTarget};
use super::request::{Body, HEAD, Request, Response};
use super::url;
use crate::effect::{Cx, SecretRef, base64};
use crate::error::{Failure, Halt, Kind, Result, Stop};
use crate::primitives::text::Text;
use crate::secret::Secret;
use crate::units;

/// Why one try brought no answer.
pub(super) enum Trouble {
    /// Not for a reason that another try would change.
    Final(Halt),
    /// The way to the target is broken, and nothing of the request left.
    Unreachable(Box<Failure>),
    /// Nothing of the request left, so another try is safe.
    NotSent(Box<Failure>),
    /// It left, and what became of it is not known.
    NoAnswer(Box<Failure>),
}

impl From<Halt> for Trouble {
    fn from(halt: Halt) -> Self {
        Self::Final(halt)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Final(failure.into())
    }
}

/// What goes out, every secret revealed.
struct Outgoing {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

/// One try: follows redirects within one deadline.
pub(super) fn exchange(cx: &Cx<'_>, request: &Request) -> Result<Response, Trouble> {
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms);
    let mut outgoing = prepare(cx, request)?;
    let tls = trust(cx, request)?;
    let mut followed = 0;
    loop {
        let (raw, moved) = send(cx, request, &outgoing, &tls, deadline)?;
        let location = moved.filter(|_| followed < request.redirects);
        let Some(location) = location else { return Ok(raw) };
        followed += 1;
        redirect(request, &mut outgoing, raw.status, &location)?;
    }
}

/// Turns a request into what the redirect asks for.
fn redirect(request: &Request, outgoing: &mut Outgoing, status: u16, location: &str) -> Result<()> {
    let to = url::join(&outgoing.uri, location)
        .and_then(|to| url::parse(&to))
        .map_err(|why| request.failure(Kind::Check, format!("it redirects to nowhere: {why}")))?;
    let secure = |uri: &Uri| uri.scheme_str() == Some("https");
    if secure(&outgoing.uri) && !secure(&to) {
        let message = "it redirects from https to http, which is not followed";
        return Err(request.failure(Kind::Denied, message).into());
    }
    let elsewhere = to.authority() != outgoing.uri.authority();
    if elsewhere {
        // What was meant for one server must not reach another.
        let ours = request.headers.iter().filter_map(|(name, value)| match value {
            Text::Secret(_) => name.parse::<HeaderName>().ok(),
            Text::Plain(_) => None,
        });
        let known = ["authorization", "cookie", "proxy-authorization"];
        for name in ours.chain(known.map(HeaderName::from_static)).collect::<Vec<_>>() {
            outgoing.headers.remove(name);
        }
    }
    let keeps = matches!(status, 307 | 308)
        || matches!(outgoing.method, Method::GET | Method::HEAD)
        || (status != 303 && outgoing.method != Method::POST);
    if !keeps {
        outgoing.method = Method::GET;
        outgoing.body = None;
        outgoing.headers.remove("content-type");
    } else if elsewhere && outgoing.body.is_some() {
        let message = "it redirects to another server, which is not given the body";
        return Err(request.failure(Kind::Denied, message).into());
    }
    outgoing.uri = to;
    Ok(())
}

fn prepare(cx: &Cx<'_>, request: &Request) -> Result<Outgoing> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &request.query {
        query.append_pair(name, value.reveal(cx)?.reveal());
    }
    let query = query.finish();
    let address = if query.is_empty() {
        request.url.clone()
    } else {
        let mark = if request.url.contains('?') { '&' } else { '?' };
        format!("{}{mark}{query}", request.url)
    };
    let uri = url::parse(&address).map_err(|why| request.failure(Kind::Input, why))?;
    let method = request
        .method
        .parse()
        .map_err(|_| Failure::input(format!("`{}` is no method", request.method)))?;
    let (mut headers, body) = payload(cx, request)?;
    for (name, value) in &request.headers {
        let wrong = || request.failure(Kind::Input, format!("header `{name}` cannot be sent"));
        let secret = value.reveal(cx)?;
        let mut sent = HeaderValue::from_str(secret.reveal()).map_err(|_| wrong())?;
        sent.set_sensitive(matches!(value, Text::Secret(_)));
        let name: HeaderName = name.parse().map_err(|_| wrong())?;
        if name == "content-type" {
            // Takes the place of ours.
            headers.remove(&name);
        }
        headers.append(name, sent);
    }
    if let Some(user) = &request.user {
        let password = match &request.password {
            Some(password) => password.reveal(cx)?,
            None => Secret::new(String::new()),
        };
        let joined = base64(format!("{user}:{}", password.reveal()).as_bytes());
        if matches!(request.password, Some(Text::Secret(_))) {
            // Encoded together with the name the password looks different from every form known so far.
            cx.lane.run().redactor.add(&Secret::new(joined.clone()));
        }
        let mut sent = HeaderValue::from_str(&format!("Basic {joined}"))
            .map_err(|_| request.failure(Kind::Input, "the credentials cannot be sent"))?;
        sent.set_sensitive(true);
        headers.insert("authorization", sent);
    }
    Ok(Outgoing { method, uri, headers, body })
}

fn payload(cx: &Cx<'_>, request: &Request) -> Result<(HeaderMap, Option<Vec<u8>>)> {
    let mut headers = HeaderMap::new();
    let mut typed = |kind: &'static str| {
        headers.insert("content-type", HeaderValue::from_static(kind));
    };
    let body = match &request.body {
        // A server may refuse a POST that does not say how long its body is.
        Body::Empty => matches!(request.method.as_str(), "POST" | "PUT" | "PATCH").then(Vec::new),
        Body::Form(fields) => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (name, value) in fields {
                form.append_pair(name, value.reveal(cx)?.reveal());
            }
            typed("application/x-www-form-urlencoded");
            Some(form.finish().into_bytes())
        }
        Body::Text(text) => {
            typed("text/plain; charset=utf-8");
            Some(text.reveal(cx)?.reveal().as_bytes().to_vec())
        }
        Body::Json(value) => {
            typed("application/json");
            Some(revealed(cx, value)?.to_string().into_bytes())
        }
    };
    Ok((headers, body))
}

/// Puts secrets into JSON in the place of their references.
fn revealed(cx: &Cx<'_>, value: &Value) -> Result<Value> {
    Ok(match value {
        Value::Object(map) => match (map.len(), map.get("$secret")) {
            (1, Some(Value::String(name))) => {
                let secret = cx.secret(&SecretRef { name: name.clone() })?;
                Value::String(secret.reveal().to_owned())
            }
            _ => Value::Object(
                map.iter()
                    .map(|(key, value)| Ok((key.clone(), revealed(cx, value)?)))
                    .collect::<Result<_>>()?,
            ),
        },
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| revealed(cx, item)).collect::<Result<_>>()?)
        }
        other => other.clone(),
    })
}

fn trust(cx: &Cx<'_>, request: &Request) -> Result<TlsConfig> {
    let roots = match &request.ca {
        None => RootCerts::PlatformVerifier,
        Some(path) => {
            let pem = cx.read_script("cat -- \"$1\"", [path.as_str()])?;
            let certificates: Vec<_> = parse_pem(pem.as_bytes())
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                let message = format!("option `ca`: {path} holds no PEM certificate");
                return Err(request.failure(Kind::Input, message).into());
            }
            RootCerts::from(certificates)
        }
    };
    Ok(TlsConfig::builder()
        .provider(TlsProvider::NativeTls)
        .root_certs(roots)
        .disable_verification(!request.verify)
        .build())
}

/// Sends once; returns the answer and where it redirects to, if it does.
fn send(
    cx: &Cx<'_>,
    request: &Request,
    outgoing: &Outgoing,
    tls: &TlsConfig,
    deadline: Instant,
) -> Result<(Response, Option<String>), Trouble> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let (host, port) = url::endpoint(&outgoing.uri)
        .map_err(|why| Trouble::from(request.failure(Kind::Input, why)))?;
    let connection = cx.connect(&host, port, left().max(Duration::from_millis(1))).map_err(
        |halt| match halt {
            Halt::Failure(mut failure) => {
                failure.message = format!("{}: {}", request.summary(), failure.message);
                failure.command = Some(request.summary());
                if failure.lost { Trouble::Unreachable(failure) } else { Trouble::NotSent(failure) }
            }
            halt @ Halt::Stop(_) => Trouble::Final(halt),
        },
    )?;
    let sent = Arc::new(AtomicBool::new(false));
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .allow_non_standard_methods(true)
        .user_agent(concat!("upgrade-host/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(left().max(Duration::from_millis(1))))
        .tls_config(tls.clone())
        .build();
    let connector = Given::new(connection, cx.lane.run().cancel.clone())
        .chain(NativeTlsConnector::default())
        .chain(Noting(Arc::clone(&sent)));
    let agent = ureq::Agent::with_parts(config, connector, OnTarget);
    let mut builder =
        ureq::http::Request::builder().method(outgoing.method.clone()).uri(outgoing.uri.clone());
    if let Some(headers) = builder.headers_mut() {
        headers.clone_from(&outgoing.headers);
    }
    let trouble = |error| trouble(cx, request, &host, port, error, sent.load(Ordering::SeqCst));
    let broken = |error: ureq::http::Error| {
        Trouble::from(request.failure(Kind::Input, format!("it cannot be sent: {error}")))
    };
    let raw = match &outgoing.body {
        Some(body) => agent.run(builder.body(body.as_slice()).map_err(broken)?),
        None => agent.run(builder.body(()).map_err(broken)?),
    };
    receive(request, raw.map_err(&trouble)?).map_err(|error| match error {
        Ended::Error(error) => trouble(error),
        Ended::Failure(failure) => Trouble::Final(Halt::Failure(failure)),
    })
}

/// Why a body did not come.
enum Ended {
    Error(ureq::Error),
    Failure(Box<Failure>),
}

fn receive(request: &Request, raw: Raw<ureq::Body>) -> Result<(Response, Option<String>), Ended> {
    let (parts, body) = raw.into_parts();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let status = parts.status.as_u16();
    let moved = match status {
        301 | 302 | 303 | 307 | 308 => headers.get("location").cloned(),
        _ => None,
    };
    if request.max == 0 {
        return Ok((Response { status, headers, body: String::new() }, moved));
    }
    let mut bytes = Vec::new();
    // One byte more tells that there is more.
    body.into_reader()
        .take(request.max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Ended::Error(error.into()))?;
    let max = usize::try_from(request.max).unwrap_or(usize::MAX);
    if bytes.len() > max {
        if !request.cut && request.accepts(status) {
            let size = units::say_size(request.max);
            let mut failure =
                request.failure(Kind::Check, format!("the answer is larger than {size}"));
            failure.hint = Some("Raise `max`, or ask for less.".to_owned());
            failure.code = Some(i32::from(status));
            failure.stdout = String::from_utf8_lossy(&bytes[..HEAD.min(max)]).into_owned();
            return Err(Ended::Failure(Box::new(failure)));
        }
        bytes.truncate(max);
    }
    let body = text(&headers, bytes);
    Ok((Response { status, headers, body }, moved))
}

/// Returns the body as text. Besides UTF-8 there is one encoding that older servers really use.
fn text(headers: &BTreeMap<String, String>, bytes: Vec<u8>) -> String {
    let declared = |text: &str| {
        let text = text.to_ascii_lowercase();
        ["iso-8859-1", "latin1", "windows-1252"].iter().any(|name| text.contains(name))
    };
    let kind = headers.get("content-type").map(String::as_str).unwrap_or_default();
    let prolog = || {
        let head = &bytes[..bytes.len().min(100)];
        let end = head.windows(2).position(|pair| pair == b"?>").unwrap_or(0);
        String::from_utf8_lossy(&head[..end]).into_owned()
    };
    let latin = if kind.contains("charset") { declared(kind) } else { declared(&prolog()) };
    if latin {
        return bytes.into_iter().map(char::from).collect();
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Says what went wrong, and how sure it is that nothing happened.
fn trouble(
    cx: &Cx<'_>,
    request: &Request,
    host: &str,
    port: u16,
    error: ureq::Error,
    sent: bool,
) -> Trouble {
    let failure = |kind, message: String| {
        let mut failure = request.failure(kind, message);
        failure.target = Some(cx.target.name.clone());
        failure
    };
    let after = if sent { "no answer" } else { "no connection" };
    let failure = match error {
        ureq::Error::Other(other) if other.is::<Interrupted>() => {
            return Trouble::Final(Stop::Cancelled.into());
        }
        ureq::Error::Timeout(_) => {
            let limit = units::say_duration(Duration::from_millis(request.timeout_ms));
            failure(Kind::Timeout, format!("{after} within {limit}"))
        }
        ureq::Error::NativeTls(why) if !sent => {
            let mut failure =
                failure(Kind::Connect, format!("no secure connection to {host}:{port}: {why}"));
            failure.hint = Some(
                "Give the issuer's certificate by `ca`; `verify: false` trusts anybody.".to_owned(),
            );
            return Trouble::Final(failure.into());
        }
        ureq::Error::Io(why) => {
            failure(Kind::Connect, format!("{after} from {host}:{port}: {why}"))
        }
        error => failure(Kind::Check, format!("no HTTP from {host}:{port}: {error}")),
    };
    // The way to the target may have broken, and not what is behind it.
    if failure.kind == Kind::Connect
        && let Err(halt) = cx.reachable()
    {
        return match halt {
            Halt::Failure(mut lost) => {
                lost.message = format!("{}: {}", request.summary(), lost.message);
                if sent { Trouble::NoAnswer(lost) } else { Trouble::Unreachable(lost) }
            }
            halt @ Halt::Stop(_) => Trouble::Final(halt),
        };
    }
    let failure = Box::new(failure);
    if sent { Trouble::NoAnswer(failure) } else { Trouble::NotSent(failure) }
}
