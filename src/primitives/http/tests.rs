use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pretty_assertions::assert_eq;
use rhai::Engine;

use super::*;
use crate::effect::bench::Bench;
use crate::effect::{Lane, Mode, SecretRef, perform};
use crate::error::{Failure, Halt, Kind, Stop};
use crate::primitives::bridge::{Seat, failure_from_dynamic, stop_from_dynamic};

fn bench() -> Bench {
    let mut registry = Registry::default();
    actions(&mut registry);
    Bench::new(registry)
}

/// A request as the server saw it.
#[derive(Clone, Debug, Default)]
struct Seen {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }
}

struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    listener: Arc<tiny_http::Server>,
}

type Answer = (u16, &'static str, Vec<(&'static str, String)>);

impl Server {
    /// Answers the n-th request, from 0, as `answer` says.
    fn start(answer: impl Fn(usize, &Seen) -> Answer + std::marker::Send + 'static) -> Self {
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
        let port = server.server_addr().to_ip().unwrap().port();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (ours, all) = (Arc::clone(&server), Arc::clone(&seen));
        std::thread::spawn(move || {
            for mut asked in ours.incoming_requests() {
                let mut one = Seen {
                    method: asked.method().to_string(),
                    url: asked.url().to_owned(),
                    headers: asked
                        .headers()
                        .iter()
                        .map(|header| (header.field.to_string(), header.value.to_string()))
                        .collect(),
                    body: String::new(),
                };
                asked.as_reader().read_to_string(&mut one.body).unwrap();
                let number = all.lock().unwrap().len();
                let (status, body, headers) = answer(number, &one);
                all.lock().unwrap().push(one);
                let mut response = tiny_http::Response::from_string(body).with_status_code(status);
                for (name, value) in headers {
                    response.add_header(
                        tiny_http::Header::from_bytes(name.as_bytes(), value.as_bytes()).unwrap(),
                    );
                }
                drop(asked.respond(response));
            }
        });
        Self { port, seen, listener: server }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listener.unblock();
    }
}

/// A server that reads a request and answers with raw bytes, or not at all; counts the requests.
fn raw(
    answer: &'static [u8],
    then: impl Fn() + std::marker::Send + 'static,
) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).unwrap_or(0) == 0 {
                continue;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            stream.write_all(answer).unwrap();
            then();
            if answer.is_empty() {
                drop(stream);
            } else {
                kept.push(stream);
            }
        }
    });
    (port, count)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn script(lane: &Lane, port: u16, text: &str) -> Result<Dynamic> {
    let mut face = Face::new();
    register(&mut face);
    let mut engine = Engine::new();
    engine.register_global_module(face.module.into());
    let engine = Arc::new_cyclic(|weak| {
        engine.set_default_tag(Dynamic::from(Seat {
            lane: lane.clone(),
            engine: weak.clone(),
            anchor: Arc::default(),
        }));
        engine
    });
    let mut scope = rhai::Scope::new();
    scope.push("base", format!("http://127.0.0.1:{port}"));
    scope.push("pw", SecretRef { name: "p&w d".to_owned() });
    engine.eval_with_scope(&mut scope, text).map_err(|error| match *error {
        rhai::EvalAltResult::ErrorRuntime(value, _) => {
            failure_from_dynamic(&value).unwrap_or_else(|| panic!("{value}")).into()
        }
        rhai::EvalAltResult::ErrorTerminated(value, _) => stop_from_dynamic(&value).unwrap().into(),
        other => panic!("{other}"),
    })
}

fn eval(bench: &Bench, port: u16, text: &str) -> Result<Dynamic> {
    script(&bench.lane(Mode::Run), port, text)
}

fn failure<T: std::fmt::Debug>(result: Result<T>) -> Failure {
    match result {
        Err(Halt::Failure(failure)) => *failure,
        other => panic!("{other:?}"),
    }
}

fn get(port: u16) -> Request {
    Request::get(&format!("http://127.0.0.1:{port}/x"))
}

fn ask_for(lane: &Lane, request: Request) -> Result<Response> {
    crate::effect::query(lane, None, Fetch(request))
}

#[test]
fn an_answer_comes_back_whole() {
    let server = Server::start(|_, _| {
        (
            200,
            r#"{"a": [1]}"#,
            vec![("Content-Type", "application/json; charset=utf-8".into()), ("X-Y", "z".into())],
        )
    });

    let text = r#"let r = http(base + "/a?b=c"); `${r.status} ${r.headers["x-y"]} ${r.json.a[0]} ${r.body}`"#;
    let said = eval(&bench(), server.port, text).unwrap().into_string().unwrap();

    assert_eq!(said, r#"200 z 1 {"a": [1]}"#);
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.url.as_str()), ("GET", "/a?b=c"));
    assert_eq!(seen.header("host"), format!("127.0.0.1:{}", server.port));
    assert!(seen.header("user-agent").starts_with("upgrade-host/"));
}

#[test]
fn forms_carry_names_as_they_are() {
    let server = Server::start(|_, _| (200, "", vec![]));
    let text = r#"http(base + "/u?a=1", #{ query: #{ "q&": "ü =" }, form: #{ Login: "O'Neil & \"co\" +%", "näme x": ["1", 2, true] } })"#;

    assert!(eval(&bench(), server.port, text).is_ok());

    let seen = &server.seen()[0];
    assert_eq!(seen.url, "/u?a=1&q%26=%C3%BC+%3D");
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.header("content-type"), "application/x-www-form-urlencoded");
    let fields: Vec<_> = form_urlencoded::parse(seen.body.as_bytes()).into_owned().collect();
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        fields,
        [
            field("Login", "O'Neil & \"co\" +%"),
            field("näme x", "1"),
            field("näme x", "2"),
            field("näme x", "true")
        ]
    );
}

#[test]
fn secrets_arrive_and_are_written_nowhere() {
    // The server answers with everything it got, as a careless one may.
    let server = Server::start(|_, seen| {
        let echo: &'static str = Box::leak(format!("{seen:?}").into_boxed_str());
        (200, echo, vec![])
    });
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    for text in [
        r#"http(base, #{ query: #{ p: pw }, headers: #{ "X-Token": pw }, user: "me", password: pw })"#,
        r"http(base, #{ form: #{ p: pw } })",
        r"http(base, #{ json: #{ deep: [#{ p: pw }] } })",
        r"http(base, #{ body: pw, ok: [201] })",
        r#"wait_http(base, #{ headers: #{ "X-Token": pw } })"#,
    ] {
        drop(script(&lane, server.port, text));
    }

    let seen = server.seen();
    let value = "value-of-p&w d";
    assert_eq!(seen[0].url, "/?p=value-of-p%26w+d");
    assert_eq!(seen[0].header("x-token"), value);
    let basic = crate::effect::base64(format!("me:{value}").as_bytes());
    assert_eq!(seen[0].header("authorization"), format!("Basic {basic}"));
    assert_eq!(seen[1].body, "p=value-of-p%26w+d");
    assert_eq!(seen[2].body, format!(r#"{{"deep":[{{"p":"{value}"}}]}}"#));
    assert_eq!(seen[3].body, value);
    assert_eq!(seen.len(), 5);
    let records = lane.run().store.as_ref().unwrap().records(&lane.run().id).unwrap();
    let written = format!("{}\n{:?}", serde_json::to_string(&records).unwrap(), bench.events());
    for form in [value, "value-of-p%26w", "value-of-p\\u0026w", &basic, "value-of"] {
        assert!(!written.contains(form), "{form} in {written}");
    }
    assert!(written.contains("[secret]") && written.contains("$secret"));
}

#[test]
fn busy_servers_are_asked_again() {
    let server =
        Server::start(|n, _| if n < 2 { (503, "busy", vec![]) } else { (200, "ok", vec![]) });

    let text = r#"http(base, #{ form: #{}, retry: 3, retry_pause: "1ms" }).body"#;
    let said = eval(&bench(), server.port, text).unwrap().into_string().unwrap();

    assert_eq!((said.as_str(), server.seen().len()), ("ok", 3));
}

#[test]
fn retries_are_counted_and_the_last_answer_is_told() {
    let server = Server::start(|_, _| (503, "busy", vec![]));
    let failure =
        failure(eval(&bench(), server.port, r#"http(base, #{ retry: 2, retry_pause: "1ms" })"#));
    assert_eq!((server.seen().len(), failure.code), (3, Some(503)));
}

#[test]
fn other_statuses_are_failures_with_their_kind() {
    let server = Server::start(|n, _| ([401, 403, 404, 500][n], "because", vec![]));
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    for (kind, code) in
        [(Kind::Denied, 401), (Kind::Denied, 403), (Kind::NotFound, 404), (Kind::Check, 500)]
    {
        let failure = failure(script(&lane, server.port, r#"http(base + "/y")"#));
        assert_eq!((failure.kind, failure.code), (kind, Some(code)));
        assert_eq!(failure.stdout, "because");
        assert!(failure.message.contains(&format!("/y: answered {code} ")), "{failure}");
        assert_eq!(failure.target.as_deref(), Some("local"));
    }
}

#[test]
fn accepted_statuses_are_no_failures() {
    let server = Server::start(|_, _| (404, "no", vec![]));
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    for ok in ["404", "[200, 404]", "400..=404", "[200, 400..405]", "\"any\""] {
        let text = format!("http(base, #{{ ok: {ok} }}).status");
        assert_eq!(script(&lane, server.port, &text).unwrap().as_int(), Ok(404), "{ok}");
    }
    assert_eq!(
        failure(script(&lane, server.port, "http(base, #{ ok: 400..404 })")).code,
        Some(404)
    );
}

#[test]
fn a_huge_answer_is_not_taken() {
    let server =
        Server::start(|_, _| (200, Box::leak("x".repeat(300_000).into_boxed_str()), vec![]));
    let bench = bench();
    let lane = bench.lane(Mode::Run);

    let failure = failure(script(&lane, server.port, r#"http(base, #{ max: "64KiB" })"#));

    assert_eq!(failure.kind, Kind::Check);
    assert!(failure.message.contains("larger than 64.0 KiB"), "{failure}");
    assert!(failure.stdout.len() <= 8192);
    let text = r#"http(base, #{ max: "300000" }).body.len"#;
    assert_eq!(script(&lane, server.port, text).unwrap().as_int(), Ok(300_000));
}

#[test]
fn a_body_that_does_not_end_times_out() {
    let (port, _) = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", || {});
    let mut request = get(port);
    request.timeout_ms = 300;
    let started = Instant::now();

    let failure = failure(ask_for(&bench().lane(Mode::Run), request));

    assert_eq!(failure.kind, Kind::Timeout);
    assert!(failure.message.ends_with("no answer within 300ms"), "{failure}");
    assert!(!failure.lost && started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_refused_connection_is_told_from_a_lost_target() {
    let failure = failure(ask_for(&bench().lane(Mode::Run), get(free_port())));
    assert_eq!((failure.kind, failure.lost), (Kind::Connect, false));
    assert!(failure.message.contains("refused"), "{failure}");
}

#[test]
fn an_interrupt_ends_a_slow_request() {
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let cancel = lane.run().cancel.clone();
    // The interrupt comes when the request has arrived.
    let (port, _) = raw(b"HTTP/1.1 200 OK\r\n", move || {
        cancel.cancel();
    });
    let started = Instant::now();

    let result = ask_for(&lane, get(port));

    assert_eq!(result.unwrap_err(), Stop::Cancelled.into());
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_change_without_answer_is_not_sent_again() {
    let (port, count) = raw(b"", || {});
    let bench = bench();
    let text = r#"http(base + "/pay", #{ method: "POST", retry: 5, retry_pause: "1ms" })"#;

    for _ in 0..2 {
        let stop = eval(&bench, port, text).unwrap_err();
        assert!(matches!(&stop, Halt::Stop(Stop::Paused(pause)) if pause.unknown), "{stop}");
    }

    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn what_may_be_repeated_is_sent_again() {
    let (port, count) = raw(b"", || {});
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let one = failure(script(
        &lane,
        port,
        r#"http(base, #{ method: "PUT", idempotent: true, retry: 2, retry_pause: "1ms" })"#,
    ));
    let two = failure(script(
        &lane,
        port,
        r#"http(base, #{ form: #{}, read: true, retry: 1, retry_pause: "1ms" })"#,
    ));
    assert_eq!(
        (one.kind, two.kind, count.load(Ordering::SeqCst)),
        (Kind::Connect, Kind::Connect, 5)
    );
}

#[test]
fn a_change_that_could_not_be_sent_is_a_plain_failure() {
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let failure = failure(script(&lane, free_port(), r#"http(base, #{ method: "POST" })"#));
    assert_eq!((failure.kind, failure.lost), (Kind::Connect, false));
}

#[test]
fn plan_sends_reads_and_no_changes() {
    let server = Server::start(|_, _| (200, "ok", vec![]));
    let bench = bench();
    let lane = bench.lane(Mode::Plan);
    let text = r#"
        http(base + "/change", #{ form: #{ a: pw } });
        wait_http(base + "/wait");
        http(base + "/read", #{ form: #{ a: pw }, read: true }).body
    "#;

    assert_eq!(script(&lane, server.port, text).unwrap().into_string().unwrap(), "ok");

    let urls: Vec<_> = server.seen().into_iter().map(|seen| seen.url).collect();
    assert_eq!(urls, ["/read"]);
    let events = format!("{:?}", bench.events());
    assert!(
        events.contains("/change, with the form a") && events.contains("cannot be undone"),
        "{events}"
    );
}

#[test]
fn redirects_are_followed_and_credentials_stay() {
    let other = Server::start(|_, _| (200, "other", vec![]));
    let port = other.port;
    let server = Server::start(move |n, _| match n {
        0 => (302, "", vec![("Location", "/b".into())]),
        _ => (307, "", vec![("Location", format!("http://127.0.0.1:{port}/c"))]),
    });
    let text = r#"http(base + "/a", #{ user: "u", password: pw, headers: #{ "X-T": pw, "X-P": "plain" } }).body"#;

    let said = eval(&bench(), server.port, text).unwrap().into_string().unwrap();

    assert_eq!(said, "other");
    assert_eq!(server.seen()[1].url, "/b");
    assert!(server.seen()[1].header("authorization").starts_with("Basic "));
    let seen = &other.seen()[0];
    assert_eq!(
        (seen.url.as_str(), seen.header("authorization"), seen.header("x-t"), seen.header("x-p")),
        ("/c", "", "", "plain")
    );
}

#[test]
fn redirects_of_changes_are_told_and_end() {
    let server = Server::start(|_, _| (302, "", vec![("Location", "/a".into())]));
    let bench = bench();
    let lane = bench.lane(Mode::Run);

    let change = failure(script(&lane, server.port, r#"http(base + "/a", #{ form: #{} })"#));
    let circle = failure(script(&lane, server.port, r#"http(base + "/a", #{ redirects: 3 })"#));

    assert_eq!((change.kind, change.code), (Kind::Check, Some(302)));
    assert!(change.hint.unwrap().contains("redirects to /a"));
    assert_eq!((circle.code, server.seen().len()), (Some(302), 1 + 4));
}

#[test]
fn a_form_that_redirects_after_login_becomes_a_get() {
    let server = Server::start(|n, _| match n {
        0 => (303, "", vec![("Location", "/home".into())]),
        _ => (200, "home", vec![]),
    });
    let text = r#"http(base + "/login", #{ form: #{ a: 1 }, redirects: 1 }).body"#;
    assert_eq!(eval(&bench(), server.port, text).unwrap().into_string().unwrap(), "home");
    let seen = &server.seen()[1];
    assert_eq!(
        (seen.method.as_str(), seen.body.as_str(), seen.header("content-type")),
        ("GET", "", "")
    );
}

#[test]
fn old_encodings_are_read() {
    let (port, _) = raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/xml\r\nContent-Length: 47\r\n\r\n<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><\xfc/>", || {});
    let response = ask_for(&bench().lane(Mode::Run), get(port)).unwrap();
    assert!(response.body.ends_with("<ü/>"), "{}", response.body);
}

#[test]
fn wait_http_waits_for_what_it_should_hold() {
    let server = Server::start(|n, _| match n {
        0 => (503, "starting", vec![]),
        1 => (200, "starting", vec![]),
        _ => (200, "alive 5.5.3", vec![]),
    });
    let text = r#"wait_http(base, #{ contains: "alive", matches: "5\\.5\\.[0-9]", pause: "10ms", timeout: "10s" }).body"#;
    let bench = bench();
    assert_eq!(eval(&bench, server.port, text).unwrap().into_string().unwrap(), "alive 5.5.3");
    // The second time it is answered from the journal.
    assert_eq!(eval(&bench, server.port, text).unwrap().into_string().unwrap(), "alive 5.5.3");
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn wait_http_gives_up_with_what_it_saw_last() {
    let server = Server::start(|_, _| (500, "broken", vec![]));
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let text = r#"wait_http(base + "/up", #{ pause: "20ms", timeout: "200ms" })"#;

    let seen = failure(script(&lane, server.port, text));
    let silent = failure(script(&lane, free_port(), text));

    assert_eq!((seen.kind, seen.code, seen.stdout.as_str()), (Kind::Timeout, Some(500), "broken"));
    assert!(
        seen.message.ends_with(
            "/up did not answer as it should within 200ms: answered 500 Internal Server Error"
        ),
        "{seen}"
    );
    assert_eq!((silent.kind, silent.lost), (Kind::Timeout, false));
    assert!(silent.message.contains("refused"), "{silent}");
}

#[test]
fn probe_tells_the_status_without_waiting_for_the_body() {
    let (port, _) = raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n", || {});
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let call = lane.next_call("probe");
    let cx = Cx { lane: &lane, target: lane.target(), call: &call };

    let limit = Duration::from_secs(5);
    assert_eq!(probe(&cx, &format!("http://localhost:{port}/"), limit), Ok(404));
    let failure = failure(probe(&cx, &format!("http://127.0.0.1:{}/", free_port()), limit));
    assert_eq!((failure.kind, failure.lost), (Kind::Connect, false));
}

#[test]
fn a_server_that_speaks_something_else_is_told() {
    let (port, _) = raw(b"SSH-2.0-OpenSSH_9.2\r\n", || {});
    let failure = failure(ask_for(&bench().lane(Mode::Run), get(port)));
    assert_eq!(failure.kind, Kind::Check);
    assert!(failure.message.contains("no HTTP from 127.0.0.1"), "{failure}");
}

#[test]
fn bad_input_names_the_place_and_sends_nothing() {
    let server = Server::start(|_, _| (200, "", vec![]));
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    for (text, message) in [
        (r#"http("localhost")"#, "http: `url`: the URL must begin with http:// or https://"),
        (
            r#"http("http://u:p@x/")"#,
            "http: `url`: a URL with a password in it would be recorded; give `user` and `password`",
        ),
        (r"http(base, #{ from: #{} })", "http: unknown option `from` (did you mean `form`?)"),
        (
            r"http(base, #{ form: #{}, json: 1 })",
            "http: option `json`: there is a body already, by `form`",
        ),
        (
            r"http(base, #{ form: #{ a: #{} } })",
            "http: option `form`: `a`: expected text or a secret, found map",
        ),
        (
            r#"http(base, #{ headers: #{ "a b": 1 } })"#,
            "http: option `headers`: `a b` is no name for a header",
        ),
        (
            r#"http(base, #{ headers: #{ a: "x\ny" } })"#,
            "http: option `headers`: the value of `a` holds a line break or control character",
        ),
        (r"http(base, #{ password: pw })", "http: option `password`: it needs `user` too"),
        (r#"http(base, #{ method: "GE T" })"#, "http: option `method`: `GE T` is no method"),
        (r"http(base, #{ ok: 99 })", "http: option `ok`: `99` is no HTTP status"),
        (r"http(base, #{ retry: -1 })", "http: option `retry`: `-1` is not from 0 to 1000"),
        (r#"wait_http(base, #{ matches: "(" })"#, "wait_http: option `matches`: regex parse error"),
    ] {
        let failure = failure(script(&lane, server.port, text));
        assert_eq!(failure.kind, Kind::Input, "{text}");
        assert_eq!(
            failure.message.lines().next().unwrap().trim_end_matches(':'),
            message,
            "{text}"
        );
    }
    assert!(server.seen().is_empty());
}

/// A server with a certificate of its own, by the `openssl` program.
struct Tls {
    child: std::process::Child,
    port: u16,
    certificate: String,
}

impl Tls {
    fn start(bench: &Bench) -> Option<Self> {
        let (key, certificate) = (bench.path().join("key.pem"), bench.path().join("cert.pem"));
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output();
        if !made.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: needs the openssl program");
            return None;
        }
        let port = free_port();
        let child = std::process::Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-accept", &port.to_string(), "-key"])
            .arg(&key)
            .arg("-cert")
            .arg(&certificate)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, port, certificate: certificate.display().to_string() })
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn certificates_are_checked() {
    let bench = bench();
    let Some(server) = Tls::start(&bench) else { return };
    let lane = bench.lane(Mode::Run);
    let mut wait = Request::get(&format!("https://127.0.0.1:{}/", server.port));
    wait.verify = false;
    wait.retry = 50;
    wait.retry_pause_ms = 50;
    assert_eq!(ask_for(&lane, wait).unwrap().status, 200);

    let untrusted =
        failure(ask_for(&lane, Request::get(&format!("https://localhost:{}/", server.port))));
    assert_eq!(untrusted.kind, Kind::Connect);
    assert!(untrusted.message.contains("no secure connection"), "{untrusted}");
    assert!(untrusted.hint.unwrap().contains("`ca`"));

    for host in ["localhost", "127.0.0.1"] {
        let mut trusted = Request::get(&format!("https://{host}:{}/", server.port));
        trusted.ca = Some(server.certificate.clone());
        assert_eq!(ask_for(&lane, trusted).unwrap().status, 200, "{host}");
    }
    let mut none = Request::get(&format!("https://localhost:{}/", server.port));
    none.ca = Some(bench.path().join("key.pem").display().to_string());
    assert!(failure(ask_for(&lane, none)).message.contains("holds no PEM certificate"));
}

#[test]
fn a_changing_request_is_the_same_after_the_journal() {
    let server = Server::start(|_, _| (200, "done", vec![]));
    let bench = bench();
    let mut request = get(server.port);
    request.method = "POST".into();
    request.repeatable = false;
    for _ in 0..2 {
        let response = perform(&bench.lane(Mode::Run), None, &Send(request.clone())).unwrap();
        assert_eq!(response.body, "done");
    }
    assert_eq!(server.seen().len(), 1);
}
