//! HTTP from the target's side: `http`, `wait_http`. Requests leave through a connection that the target opens, so an
//! API that listens on its loopback alone can be used, and no password stands in a command line there.

mod connector;
mod exchange;
mod request;
mod url;
mod wait;

use std::time::Duration;

use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use super::bridge::{
    Face, Field, Options, Primitive, RhaiResultOf, Type, act, ask, field, to_dynamic, to_json,
    type_name,
};
use super::text::{Text, pairs};
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Query, Reconciled, Registry};
use crate::error::Result;
use crate::journal::Inverse;
pub(crate) use request::{Body, Request, Response, request};
use request::{millis, status};

const HEADERS: Field = field(
    "headers",
    Type::Map,
    "#{}",
    "Headers; a value may be a secret, or a list to repeat one.",
);
const USER: Field = field("user", Type::Text, "", "The name for Basic authentication.");
const PASSWORD: Field =
    field("password", Type::TextOrSecret, "", "The password for it; a secret is never recorded.");
const OK: Field = field(
    "ok",
    Type::Any,
    "200..=299",
    "The statuses that are no failure: a number, a range, a list of these, or \"any\".",
);
const VERIFY: Field =
    field("verify", Type::Bool, "true", "Whether the certificate of an https server is checked.");
const CA: Field = field(
    "ca",
    Type::Text,
    "this machine's",
    "A file on the target with the PEM certificates to trust.",
);

const OPTIONS: &[Field] = &[
    field("method", Type::Text, "\"GET\", with a body \"POST\"", "The method."),
    field("query", Type::Map, "#{}", "What is added to the query of the URL, encoded."),
    field("form", Type::Map, "", "The fields of a form, encoded, as the body."),
    field("json", Type::Any, "", "A value, written as JSON, as the body."),
    field("body", Type::TextOrSecret, "", "A text as the body."),
    HEADERS,
    USER,
    PASSWORD,
    field("timeout", Type::Duration, "\"30s\"", "How long one try may take, with its whole body."),
    OK,
    field("read", Type::Bool, "true for GET, HEAD and OPTIONS", "Whether it only reads."),
    field(
        "idempotent",
        Type::Bool,
        "false",
        "Whether a request that changes something may be sent again when no answer came.",
    ),
    field(
        "retry",
        Type::Int,
        "0",
        "How often it is tried again: when no connection is made, after a status of `retry_status`, and when no answer comes to what may be repeated.",
    ),
    field("retry_status", Type::List, "[503]", "The statuses after which it is tried again."),
    field("retry_pause", Type::Duration, "\"1s\"", "The first pause between tries; it doubles."),
    field("max", Type::Size, "\"8MiB\"", "The largest answer that is taken."),
    VERIFY,
    CA,
    field("redirects", Type::Int, "5 for reads, else 0", "How many redirects are followed."),
];

const HTTP: Primitive = Primitive {
    name: "http",
    family: "http",
    summary: "Sends an HTTP request from the target's side.",
    params: &[field("url", Type::Text, "", "The address, as seen from the target.")],
    options: OPTIONS,
    returns: "map: `status` (int), `headers` (map, names in small letters), `body` (text), `json` (its value, if the answer is JSON)",
    example: r#"http("http://127.0.0.1/obs/api/ListUsers.do", #{ form: #{ SysUser: "system", SysPwd: secret("api") }, read: true, retry: 3 });"#,
    failure: "`connect` or `timeout` if no answer comes; `denied` for 401 and 403, `not_found` for 404, else `check`, with the status as `code` and the beginning of the body as `stdout`.",
    plan: "Sends it if it only reads; else says what would be sent where.",
    undo: "Cannot be undone; register what takes it back with `on_rollback`.",
    resume: "A read is repeated. Whether another request arrived cannot be known, so the operator is asked; with `idempotent` it is sent again.",
};

/// Sends a request that only reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Fetch(Request);

impl Query for Fetch {
    const NAME: &'static str = "http";
    type Output = Response;

    fn summary(&self) -> String {
        self.0.summary()
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Response> {
        request(cx, &self.0)
    }

    fn result(&self, output: &Response) -> Option<String> {
        Some(output.words())
    }
}

/// Sends a request that changes something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Send(Request);

impl Action for Send {
    const NAME: &'static str = "http";
    const ACCESS: Access = Access::Change;
    type Before = ();
    type Output = Response;

    fn summary(&self) -> String {
        self.0.summary()
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, _before: &()) -> Plan<(), Response> {
        let output = Response { status: 200, headers: [].into(), body: String::new() };
        Plan::Would { changes: vec![self.0.carries()], output, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &()) -> Result<Response> {
        request(cx, &self.0)
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &()) -> Result<Reconciled<Response>> {
        if self.0.repeatable {
            cx.reachable()?;
            return Ok(Reconciled::Redo);
        }
        Ok(Reconciled::Unknown("whether a request arrived cannot be looked up".to_owned()))
    }

    fn inverse(&self, _before: &()) -> Inverse {
        Inverse::Impossible { why: "a request; register its undo with on_rollback".to_owned() }
    }

    fn owes(&self, _before: &()) -> Owes {
        Owes::Nothing
    }

    fn result(&self, output: &Response) -> Option<String> {
        Some(output.words())
    }
}

impl Request {
    /// Says what it would send, names only: values may be secret, and forms are long.
    fn carries(&self) -> String {
        let names = |fields: &[(String, Text)]| {
            fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let query = if self.query.is_empty() {
            String::new()
        } else {
            format!(", with {} in the query", names(&self.query))
        };
        let body = match &self.body {
            Body::Empty => String::new(),
            Body::Form(fields) => format!(", with the form {}", names(fields)),
            Body::Text(_) => ", with a text".to_owned(),
            Body::Json(_) => ", with JSON".to_owned(),
        };
        format!("send {}{query}{body}", self.summary())
    }
}

impl Response {
    fn words(&self) -> String {
        let size = crate::units::say_size(self.body.len() as u64);
        format!("status {}, {size}", self.status)
    }

    fn into_dynamic(self) -> Dynamic {
        let json = self.json().map_or(Dynamic::UNIT, to_dynamic);
        let headers = self.headers.into_iter().map(|(name, value)| (name.into(), value.into()));
        let mut map = Map::new();
        map.insert("headers".into(), Dynamic::from_map(headers.collect()));
        map.insert("status".into(), i64::from(self.status).into());
        map.insert("body".into(), self.body.into());
        map.insert("json".into(), json);
        Dynamic::from_map(map)
    }
}

/// Returns the status with which `url`, seen from the target, answers a GET.
///
/// # Errors
/// A failure of kind `connect` or `timeout` if nothing answers; it is marked as lost only if the target itself cannot
/// be reached.
pub(crate) fn probe(cx: &Cx<'_>, url: &str, timeout: Duration) -> Result<u16> {
    status(cx, url, timeout)
}

/// Takes the statuses of `ok`: a number, a range, a list of these, or `"any"`.
fn statuses(value: &Dynamic) -> Result<Option<Vec<(u16, u16)>>, String> {
    let status = |number: i64| {
        u16::try_from(number)
            .ok()
            .filter(|status| (100..1000).contains(status))
            .ok_or_else(|| format!("`{number}` is no HTTP status"))
    };
    let range = |value: &Dynamic| -> Result<(u16, u16), String> {
        if let Ok(number) = value.as_int() {
            return status(number).map(|status| (status, status));
        }
        let ends = if let Some(range) = value.clone().try_cast::<std::ops::Range<i64>>() {
            (range.start, range.end - 1)
        } else if let Some(range) = value.clone().try_cast::<std::ops::RangeInclusive<i64>>() {
            (*range.start(), *range.end())
        } else {
            return Err(format!("expected statuses, found {} `{value}`", type_name(value)));
        };
        let ends = (status(ends.0)?, status(ends.1)?);
        if ends.0 > ends.1 { Err("the range is empty".to_owned()) } else { Ok(ends) }
    };
    if value.is_string() {
        return match value.to_string().as_str() {
            "any" => Ok(None),
            other => Err(format!("`{other}` is no HTTP status; expected numbers or \"any\"")),
        };
    }
    match value.read_lock::<rhai::Array>() {
        Some(items) if items.is_empty() => Err("the list is empty".to_owned()),
        Some(items) => items.iter().map(range).collect::<Result<_, _>>().map(Some),
        None => range(value).map(|range| Some(vec![range])),
    }
}

fn headers(value: &Dynamic) -> Result<Vec<(String, Text)>, String> {
    let pairs = pairs(value)?;
    for (name, value) in &pairs {
        if name.parse::<ureq::http::HeaderName>().is_err() {
            return Err(format!("`{name}` is no name for a header"));
        }
        if let Text::Plain(text) = value
            && ureq::http::HeaderValue::from_str(text).is_err()
        {
            return Err(format!("the value of `{name}` holds a line break or control character"));
        }
    }
    Ok(pairs)
}

/// Takes the options that `http` and `wait_http` share.
fn common(request: &mut Request, options: &Options<'_>) -> RhaiResultOf<()> {
    let wrong = |key: &'static str| move |why: String| options.wrong(key, &why);
    url::parse(&request.url).map_err(|why| options.wrong_param("url", &why))?;
    if let Some(value) = options.get("headers") {
        request.headers = headers(value).map_err(wrong("headers"))?;
    }
    if let Some(value) = options.get("ok") {
        request.ok = statuses(value).map_err(wrong("ok"))?;
    }
    request.user = options.text("user");
    request.password =
        options.get("password").map(Text::new).transpose().map_err(wrong("password"))?;
    if request.password.is_some() && request.user.is_none() {
        return Err(options.wrong("password", "it needs `user` too"));
    }
    if request.user.as_ref().is_some_and(|user| user.contains(':')) {
        return Err(options.wrong("user", "Basic authentication allows no colon in a name"));
    }
    request.verify = options.flag("verify", true);
    request.ca = options.text("ca");
    Ok(())
}

fn count(options: &Options<'_>, key: &str) -> RhaiResultOf<Option<u32>> {
    options
        .int(key)
        .map(|number| {
            u32::try_from(number)
                .ok()
                .filter(|number| *number <= 1000)
                .ok_or_else(|| options.wrong(key, &format!("`{number}` is not from 0 to 1000")))
        })
        .transpose()
}

/// Builds the request; also says whether it only reads.
fn build(url: &str, options: &Options<'_>) -> RhaiResultOf<(Request, bool)> {
    let wrong = |key: &'static str| move |why: String| options.wrong(key, &why);
    let mut request = Request::get(url);
    common(&mut request, options)?;
    let given: Vec<_> =
        ["form", "json", "body"].into_iter().filter(|key| options.has(key)).collect();
    if let [first, second, ..] = given[..] {
        return Err(options.wrong(second, &format!("there is a body already, by `{first}`")));
    }
    if let Some(value) = options.get("query") {
        request.query = pairs(value).map_err(wrong("query"))?;
    }
    if let Some(value) = options.get("form") {
        request.body = Body::Form(pairs(value).map_err(wrong("form"))?);
    }
    if let Some(value) = options.get("json") {
        request.body = Body::Json(to_json(value).map_err(wrong("json"))?);
    }
    if let Some(value) = options.get("body") {
        request.body = Body::Text(Text::new(value).map_err(wrong("body"))?);
    }
    let method = options.text("method").map(|method| method.to_ascii_uppercase());
    let usual = if request.body == Body::Empty { "GET" } else { "POST" };
    request.method = method.unwrap_or_else(|| usual.to_owned());
    if request.method.parse::<ureq::http::Method>().is_err() || request.method == "CONNECT" {
        return Err(options.wrong("method", &format!("`{}` is no method", request.method)));
    }
    let reads = ["GET", "HEAD", "OPTIONS"].contains(&request.method.as_str());
    let reads = options.flag("read", reads);
    request.repeatable = reads || options.flag("idempotent", false);
    request.redirects = count(options, "redirects")?.unwrap_or(if reads { 5 } else { 0 });
    request.retry = count(options, "retry")?.unwrap_or(0);
    if let Some(value) = options.get("retry_status") {
        let ranges = if value.read_lock::<rhai::Array>().is_some_and(|list| list.is_empty()) {
            Vec::new()
        } else {
            statuses(value).map_err(wrong("retry_status"))?.unwrap_or_default()
        };
        request.retry_status = ranges.into_iter().flat_map(|(from, to)| from..=to).collect();
    }
    if let Some(timeout) = options.duration("timeout")? {
        request.timeout_ms = millis(timeout).max(1);
    }
    if let Some(pause) = options.duration("retry_pause")? {
        request.retry_pause_ms = millis(pause);
    }
    if let Some(max) = options.size("max")? {
        if max == 0 {
            return Err(options.wrong("max", "an answer has a byte at least"));
        }
        request.max = max;
    }
    Ok((request, reads))
}

fn http(ctx: &NativeCallContext<'_>, url: &str, options: Map) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &HTTP, options)?;
    let (request, reads) = build(url, &options)?;
    let response = if reads { ask(ctx, Fetch(request)) } else { act(ctx, &Send(request)) };
    response.map(Response::into_dynamic)
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&HTTP, |ctx: NativeCallContext<'_>, url: &str| http(&ctx, url, Map::new()));
    face.add(&HTTP, |ctx: NativeCallContext<'_>, url: &str, options: Map| http(&ctx, url, options));
    wait::register(face);
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<Send>();
    registry.add::<wait::WaitHttp>();
}

#[cfg(test)]
mod tests;
