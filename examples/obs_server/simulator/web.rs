//! HTTP: the threads, static files, the log of requests.

use std::fs;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tiny_http::{Header, Method, Request, Response};

use super::server::Server;
use super::{Outcome, api, form};

/// Longest body that is read.
const LONGEST_BODY: u64 = 1 << 20;

/// What goes back to the client.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Content-Type.
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An XML document.
    pub fn xml(body: String) -> Self {
        Self { status: 200, kind: "text/xml; charset=UTF-8", body: body.into_bytes() }
    }

    /// A page that says what went wrong, as a servlet container sends it.
    pub fn page(status: u16, title: &str) -> Self {
        let body = format!(
            "<html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>\n"
        );
        Self { status, kind: "text/html; charset=UTF-8", body: body.into_bytes() }
    }

    /// Plain text.
    pub fn text(status: u16, body: &str) -> Self {
        Self { status, kind: "text/plain; charset=UTF-8", body: body.as_bytes().to_vec() }
    }
}

/// The threads that answer requests.
pub struct Web {
    http: Arc<tiny_http::Server>,
    ending: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

/// Listens and answers.
pub fn start(server: &Arc<Server>, address: &str, workers: usize) -> Outcome<Web> {
    let http = Arc::new(tiny_http::Server::http(address).map_err(|error| error.to_string())?);
    let ending = Arc::new(AtomicBool::new(false));
    let counter = Arc::new(AtomicU64::new(0));
    let worker = |_| {
        let (server, http) = (Arc::clone(server), Arc::clone(&http));
        let (ending, counter) = (Arc::clone(&ending), Arc::clone(&counter));
        std::thread::spawn(move || {
            while !ending.load(Ordering::SeqCst) {
                // The time limit is there for the end only: unblock wakes a single thread.
                if let Ok(Some(request)) = http.recv_timeout(Duration::from_millis(200)) {
                    handle(&server, &counter, request);
                }
            }
        })
    };
    let workers = (0..workers).map(worker).collect();
    Ok(Web { http, ending, workers })
}

impl Web {
    /// Lets the requests under way finish, takes no more.
    pub fn stop(self) {
        self.ending.store(true, Ordering::SeqCst);
        for _ in &self.workers {
            self.http.unblock();
        }
        for worker in self.workers {
            // A panic there is on the console already.
            drop(worker.join());
        }
    }
}

fn handle(server: &Server, counter: &AtomicU64, mut request: Request) {
    let method = request.method().clone();
    let url = request.url().to_owned();
    let mut body = String::new();
    let is_form = |header: &Header| {
        header.field.equiv("Content-Type")
            && header.value.as_str().starts_with("application/x-www-form-urlencoded")
    };
    if method == Method::Post && request.headers().iter().any(is_form) {
        let mut bytes = Vec::new();
        drop(request.as_reader().take(LONGEST_BODY).read_to_end(&mut bytes));
        body = String::from_utf8_lossy(&bytes).into_owned();
    }
    let reply = route(server, counter, &method, &url, &body);
    let client =
        request.remote_addr().map_or_else(|| "-".to_owned(), |address| address.ip().to_string());
    server.logs.access(&client, method.as_str(), &url, reply.status, reply.body.len());
    let mut response = Response::from_data(reply.body).with_status_code(reply.status);
    if let Ok(header) = Header::from_bytes("Content-Type", reply.kind) {
        response.add_header(header);
    }
    // The client may be gone.
    drop(request.respond(response));
}

fn route(server: &Server, counter: &AtomicU64, method: &Method, url: &str, body: &str) -> Reply {
    if !matches!(method, Method::Get | Method::Post | Method::Head) {
        return Reply::page(405, "Method Not Allowed");
    }
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut parameters = form::decode(query);
    parameters.extend(form::decode(body));
    if let Some(action) = path.strip_prefix("/obs/api/") {
        let Some(name) = action.strip_suffix(".do") else { return Reply::page(404, "Not Found") };
        let config = server.config();
        std::thread::sleep(Duration::from_millis(config.number("api_latency_ms")));
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        let every = config.number("http_503_every");
        if every > 0 && number.is_multiple_of(every) {
            server.audit.record(api::kind(name), name, "", &[("result", "503")]);
            return Reply::page(503, "Service Unavailable");
        }
        return api::answer(server, &config, name, &parameters);
    }
    match path {
        "/login" => api::login(server, &parameters),
        "/obs/aua/getIndexXml.do" => file(&server.home.join("webapps/obs/liveUpdate/index.xml")),
        path => match path.strip_prefix("/obs/") {
            Some(inside) => inside_of(&server.home.join("webapps/obs"), inside),
            None => inside_of(&server.home.join("webapps/ROOT"), path.trim_start_matches('/')),
        },
    }
}

fn inside_of(directory: &Path, path: &str) -> Reply {
    let path = PathBuf::from(form::component(path));
    let plain =
        path.components().all(|part| matches!(part, Component::Normal(name) if name != "WEB-INF"));
    if plain { file(&directory.join(path)) } else { Reply::page(404, "Not Found") }
}

fn file(path: &Path) -> Reply {
    let kind = match path.extension().and_then(|ending| ending.to_str()) {
        Some("xml") => "text/xml; charset=UTF-8",
        Some("js") => "text/javascript; charset=UTF-8",
        Some("jsp" | "html") => "text/html; charset=UTF-8",
        _ => "text/plain; charset=UTF-8",
    };
    match fs::read(path) {
        Ok(body) => Reply { status: 200, kind, body },
        Err(_) => Reply::page(404, "Not Found"),
    }
}
