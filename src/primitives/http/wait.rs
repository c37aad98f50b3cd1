//! Waiting until a server answers as it should: `wait_http`.

use std::time::{Duration, Instant};

use regex::Regex;
use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use super::request::{Request, Response, millis, request};
use super::{CA, HEADERS, OK, PASSWORD, USER, VERIFY, common};
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Reconciled};
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::Progress;
use crate::journal::Inverse;
use crate::primitives::bridge::{Face, Options, Primitive, RhaiResultOf, Type, act, field};
use crate::units;

/// How long one try may take at most: a server that is starting may accept and never answer.
const TRY: Duration = Duration::from_secs(10);
/// How much of an answer is looked at.
const LOOKED_AT: u64 = 1 << 20;

const WAIT_HTTP: Primitive = Primitive {
    name: "wait_http",
    family: "http",
    summary: "Waits until an address, seen from the target, answers as it should.",
    params: &[field("url", Type::Text, "", "The address.")],
    options: &[
        field("timeout", Type::Duration, "\"60s\"", "How long to wait in all."),
        OK,
        field("contains", Type::Text, "", "A text that the answer must hold."),
        field("matches", Type::Text, "", "A regular expression that the answer must match."),
        field("pause", Type::Duration, "\"1s\"", "The pause between tries."),
        HEADERS,
        USER,
        PASSWORD,
        VERIFY,
        CA,
    ],
    returns: "map: as `http`; of the body the first MiB",
    example: r#"wait_http("http://127.0.0.1:8080/alive.txt", #{ timeout: "5m", contains: "OK" });"#,
    failure: "`timeout` with what was seen last.",
    plan: "Says what it would wait for.",
    undo: "Nothing: it only waits.",
    resume: "Waits again.",
};

/// Waits until an address answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct WaitHttp {
    request: Request,
    timeout_ms: u64,
    pause_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contains: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    matches: Option<String>,
}

impl WaitHttp {
    /// Returns what is missing in an answer.
    fn lacks(&self, body: &str) -> Result<Option<String>> {
        if let Some(text) = &self.contains
            && !body.contains(text.as_str())
        {
            return Ok(Some(format!("the answer does not hold `{text}`")));
        }
        if let Some(pattern) = &self.matches {
            let regex =
                Regex::new(pattern).map_err(|error| Failure::input(format!("matches: {error}")))?;
            if !regex.is_match(body) {
                return Ok(Some(format!("the answer does not match `{pattern}`")));
            }
        }
        Ok(None)
    }
}

impl WaitHttp {
    /// Asks once; what is not yet as it should be is told in a few words and as a failure.
    fn attempt(
        &self,
        cx: &Cx<'_>,
        one: &Request,
    ) -> Result<std::result::Result<Response, (String, Failure)>> {
        match request(cx, one) {
            Ok(response) => Ok(match self.lacks(&response.body)? {
                None => Ok(response),
                Some(why) => {
                    let mut failure = Failure::new(Kind::Check, why.clone());
                    failure.code = Some(i32::from(response.status));
                    failure.stdout = response.body.chars().take(2000).collect();
                    Err((why, failure))
                }
            }),
            Err(Halt::Failure(failure)) if !failure.lost && failure.kind != Kind::Input => {
                let prefix = format!("{}: ", one.summary());
                let why = failure.message.strip_prefix(&prefix).unwrap_or(&failure.message);
                Ok(Err((why.to_owned(), *failure)))
            }
            Err(halt) => Err(halt),
        }
    }
}

impl Action for WaitHttp {
    const NAME: &'static str = "wait_http";
    const ACCESS: Access = Access::Wait;
    type Before = ();
    type Output = Response;

    fn summary(&self) -> String {
        format!("wait until {} answers", self.request.url)
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, _before: &()) -> Plan<(), Response> {
        let limit = units::say_duration(Duration::from_millis(self.timeout_ms));
        let output = Response {
            status: 200,
            headers: [].into(),
            body: self.contains.clone().unwrap_or_default(),
        };
        Plan::Would {
            changes: vec![format!("wait until {} answers, at most {limit}", self.request.url)],
            output,
            after: None,
        }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &()) -> Result<Response> {
        let timeout = Duration::from_millis(self.timeout_ms);
        let started = Instant::now();
        let mut seen: Option<(String, Failure)> = None;
        loop {
            let left = timeout.saturating_sub(started.elapsed());
            let mut one = self.request.clone();
            one.timeout_ms = millis(left.min(TRY)).max(1);
            let last = match self.attempt(cx, &one)? {
                Ok(response) => return Ok(response),
                // The last try may have had no time to see anything; then what was seen before says more.
                Err((_, failure)) if failure.kind == Kind::Timeout && left < TRY => seen.take(),
                Err(last) => Some(last),
            };
            let (why, mut failure) = last.unwrap_or_else(|| {
                let why = "no answer".to_owned();
                (why.clone(), Failure::new(Kind::Timeout, why))
            });
            let elapsed = started.elapsed();
            if elapsed >= timeout {
                failure.kind = Kind::Timeout;
                let limit = units::say_duration(timeout);
                failure.message =
                    format!("{} did not answer as it should within {limit}: {why}", one.url);
                failure.target = Some(cx.target.name.clone());
                return Err(failure.into());
            }
            cx.progress(Progress {
                done: elapsed.as_secs(),
                total: Some(timeout.as_secs()),
                unit: "seconds".to_owned(),
                message: cx.lane.run().redactor.text(&why),
                eta_seconds: None,
            });
            seen = Some((why, failure));
            let pause = Duration::from_millis(self.pause_ms);
            cx.sleep(pause.min(timeout.saturating_sub(elapsed)))?;
        }
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &()) -> Result<Reconciled<Response>> {
        cx.reachable()?;
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, _before: &()) -> Inverse {
        Inverse::Nothing { why: "it only waits".to_owned() }
    }

    fn owes(&self, _before: &()) -> Owes {
        Owes::Nothing
    }

    fn result(&self, output: &Response) -> Option<String> {
        Some(output.words())
    }
}

fn wait_http(ctx: &NativeCallContext<'_>, url: &str, options: Map) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &WAIT_HTTP, options)?;
    let mut request = Request::get(url);
    common(&mut request, &options)?;
    request.max = LOOKED_AT;
    request.cut = true;
    let matches = options.text("matches");
    if let Some(Err(error)) = matches.as_deref().map(Regex::new) {
        return Err(options.wrong("matches", &error.to_string()));
    }
    let timeout = options.duration("timeout")?.unwrap_or(Duration::from_secs(60));
    let pause = options.duration("pause")?.unwrap_or(Duration::from_secs(1));
    let wait = WaitHttp {
        request,
        timeout_ms: millis(timeout),
        pause_ms: millis(pause).max(10),
        contains: options.text("contains"),
        matches,
    };
    act(ctx, &wait).map(Response::into_dynamic)
}

/// Adds `wait_http` to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&WAIT_HTTP, |ctx: NativeCallContext<'_>, url: &str| wait_http(&ctx, url, Map::new()));
    face.add(&WAIT_HTTP, |ctx: NativeCallContext<'_>, url: &str, options: Map| {
        wait_http(&ctx, url, options)
    });
}
