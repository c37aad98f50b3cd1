//! One request, from the target's side: as data, as it is sent, and what comes back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::StatusCode;

use super::exchange::{Trouble, exchange};
use crate::effect::Cx;
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::Progress;
use crate::primitives::text::Text;

/// How long a request may take unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest body that is taken unless said otherwise.
const MAX: u64 = 8 << 20;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How much of a body a failure carries.
pub(super) const HEAD: usize = 8 << 10;

/// What a request carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// The fields of an HTML form.
    Form(Vec<(String, Text)>),
    /// A text.
    Text(Text),
    /// JSON; secrets in it are references.
    Json(Value),
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The method, in capitals.
    pub(crate) method: String,
    /// The address, as seen from the target.
    pub(crate) url: String,
    /// What is added to the query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) query: Vec<(String, Text)>,
    /// Headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<(String, Text)>,
    /// The body.
    pub(crate) body: Body,
    /// The name for Basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The password for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<Text>,
    /// How long one try may take, in milliseconds.
    pub(crate) timeout_ms: u64,
    /// The statuses that are no failure, as ranges with both ends; none means any.
    pub(crate) ok: Option<Vec<(u16, u16)>>,
    /// How often it is tried again.
    #[serde(default)]
    pub(crate) retry: u32,
    /// The statuses after which it is tried again.
    pub(crate) retry_status: Vec<u16>,
    /// The first pause between tries, in milliseconds; it doubles.
    pub(crate) retry_pause_ms: u64,
    /// The largest body, in bytes.
    pub(crate) max: u64,
    /// Whether a larger body is cut instead of being a failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
    /// Whether the server's certificate is checked.
    pub(crate) verify: bool,
    /// The file on the target with the certificates to trust instead of this machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
    /// How many redirects are followed.
    pub(crate) redirects: u32,
    /// Whether sending it twice does no harm.
    pub(crate) repeatable: bool,
}

impl Request {
    /// Makes a request without body that only reads.
    pub(crate) fn get(url: &str) -> Self {
        Self {
            method: "GET".to_owned(),
            url: url.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Body::Empty,
            user: None,
            password: None,
            timeout_ms: millis(TIMEOUT),
            ok: Some(vec![(200, 299)]),
            retry: 0,
            retry_status: vec![503],
            retry_pause_ms: 1000,
            max: MAX,
            cut: false,
            verify: true,
            ca: None,
            redirects: 5,
            repeatable: true,
        }
    }

    /// Says it for people, without what `query`, `form` or `headers` carry.
    pub(crate) fn summary(&self) -> String {
        format!("{} {}", self.method, self.url)
    }

    pub(super) fn accepts(&self, status: u16) -> bool {
        self.ok
            .as_ref()
            .is_none_or(|ranges| ranges.iter().any(|(from, to)| (*from..=*to).contains(&status)))
    }

    pub(super) fn failure(&self, kind: Kind, message: impl std::fmt::Display) -> Failure {
        let mut failure = Failure::new(kind, format!("{}: {message}", self.summary()));
        failure.command = Some(self.summary());
        failure
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Response {
    /// The status.
    pub(crate) status: u16,
    /// The headers, names in small letters, values of one name joined by commas.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body as text.
    pub(crate) body: String,
}

impl Response {
    /// Returns the body as data, if it says that it is JSON and is.
    pub(crate) fn json(&self) -> Option<Value> {
        let kind = self.headers.get("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
        let json = kind == "application/json" || kind == "text/json" || kind.ends_with("+json");
        json.then(|| serde_json::from_str(&self.body).ok()).flatten()
    }
}

/// Sends a request from the target's side and returns the answer.
///
/// # Errors
/// `connect` or `timeout` if none comes; `denied`, `not_found` or `check` for a status that is not accepted, with the
/// status as `code` and the beginning of the body as `stdout`. For a request that must not be sent twice a missing
/// answer is marked as lost: nobody knows what became of it.
pub(crate) fn request(cx: &Cx<'_>, request: &Request) -> Result<Response> {
    let mut pause = Duration::from_millis(request.retry_pause_ms);
    let mut left = request.retry;
    let mut cut: Option<Instant> = None;
    loop {
        let why = match exchange(cx, request) {
            Err(Trouble::Unreachable(mut failure)) if !request.repeatable => {
                // Nothing was sent, so this is known to have not happened, which a lost call is not.
                let since = *cut.get_or_insert_with(Instant::now);
                if since.elapsed() >= cx.lane.run().reconnect {
                    failure.lost = false;
                    return Err(Halt::Failure(failure));
                }
                cx.sleep(Duration::from_secs(1))?;
                continue;
            }
            Ok(response) if left > 0 && request.retry_status.contains(&response.status) => {
                format!("status {}", response.status)
            }
            Ok(response) if request.accepts(response.status) => return Ok(response),
            Ok(response) => return Err(refused(cx, request, &response).into()),
            Err(Trouble::NotSent(failure)) if left > 0 => failure.message,
            Err(Trouble::NoAnswer(failure)) if left > 0 && request.repeatable => failure.message,
            Err(Trouble::NotSent(failure) | Trouble::Unreachable(failure)) => {
                return Err(Halt::Failure(failure));
            }
            Err(Trouble::NoAnswer(mut failure)) => {
                failure.lost |= !request.repeatable;
                return Err(Halt::Failure(failure));
            }
            Err(Trouble::Final(halt)) => return Err(halt),
        };
        left -= 1;
        cx.progress(Progress {
            done: u64::from(request.retry - left),
            total: Some(u64::from(request.retry)),
            unit: "tries".to_owned(),
            message: cx.lane.run().redactor.text(&why),
            eta_seconds: None,
        });
        cx.sleep(pause)?;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Makes the failure for a status that is not accepted.
fn refused(cx: &Cx<'_>, request: &Request, response: &Response) -> Failure {
    let kind = match response.status {
        401 | 403 => Kind::Denied,
        404 => Kind::NotFound,
        _ => Kind::Check,
    };
    let reason = StatusCode::from_u16(response.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let said = format!("answered {} {reason}", response.status);
    let mut failure = request.failure(kind, said.trim_end()).with_target(&cx.target.name);
    failure.code = Some(i32::from(response.status));
    failure.stdout = response.body.chars().take(HEAD).collect();
    if let (300..=399, Some(to)) = (response.status, response.headers.get("location")) {
        failure.hint = Some(format!("It redirects to {to}; `redirects` says how many to follow."));
    }
    failure
}

/// Returns the status alone, without reading the body.
///
/// # Errors
/// As [`request`].
pub(crate) fn status(cx: &Cx<'_>, url: &str, timeout: Duration) -> Result<u16> {
    let mut asked = Request::get(url);
    asked.timeout_ms = millis(timeout);
    asked.ok = None;
    asked.redirects = 0;
    asked.max = 0;
    asked.cut = true;
    request(cx, &asked).map(|response| response.status)
}
