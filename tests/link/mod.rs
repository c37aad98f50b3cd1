//! A bad link between the program and its target: what a connection does that is cut, stalled, half closed or delayed
//! after any byte. The proxy in between is the tests' own, the sshd behind it a real one on this machine.
//!
//! One command at a time is tested beside the transport. Here a sweep runs a whole runbook over connections that break again
//! and again: it must end as if nothing had happened, every change made once, nothing left over.
//!
//! `UPGRADE_HOST_LINK_ROUNDS` is the number of rounds of the sweep (default 12; a thousand take about half an hour), and
//! `UPGRADE_HOST_LINK_SEED` the number that the first one begins with, as a failure names it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::proxy::{Fate, Fault, Proxy};
use crate::support::random::Random;
use crate::support::site::Site;
use crate::support::sshd::Sshd;

/// How many rounds run side by side: they wait more than they work.
const SIDE_BY_SIDE: usize = 6;
/// How many connections of a round meet a fault; the next ones are left alone, so that every round comes to an end.
const FAULTS: usize = 3;
/// A new connection is spared for so many bytes: that a run which cannot even reach its target does nothing is another
/// test's claim.
const SPARED: u64 = 9000;

/// A server for the runbook's own requests, that counts those that change something.
struct Api {
    port: u16,
    posts: Arc<AtomicU64>,
}

impl Api {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let posts = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&posts);
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || {
                    let mut request = Vec::new();
                    let mut piece = [0; 4096];
                    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                        match client.read(&mut piece) {
                            Ok(count @ 1..) => request.extend_from_slice(&piece[..count]),
                            _ => return,
                        }
                    }
                    if request.starts_with(b"POST") {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    if request.starts_with(b"POST /never") {
                        // Until the other side gives up.
                        let _gone = client.read(&mut piece);
                        return;
                    }
                    let body = "x".repeat(20_000);
                    let _gone = write!(
                        client,
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                });
            }
        });
        Self { port, posts }
    }
}

/// One round's directory on the target, and the run that acts in it.
struct Round {
    site: Site,
    api: Api,
}

/// A target `box` behind the proxy, and a service that counts its starts and stops.
fn config(sshd: &Sshd, proxy: &Proxy, dir: &Path) -> String {
    let key = Command::new("ssh-keygen").arg("-lf").arg(sshd.path("host.pub")).output();
    let key = String::from_utf8(key.unwrap().stdout).unwrap();
    let target = format!(
        "[targets.box]\naddress = \"127.0.0.1\"\nport = {}\nidentity = \"{}\"\n\
         host_key = \"{}\"\nagent = false\nsilence = \"3s\"\n",
        proxy.port,
        sshd.path("id").display(),
        key.split(' ').nth(1).unwrap()
    );
    let service = format!(
        "[services.demo]\n\
         start = \"echo start >>{0}/calls; touch {0}/up; (sleep 0.3; echo ready >>{0}/log) >/dev/null 2>&1 &\"\n\
         stop = \"echo stop >>{0}/calls; rm -f {0}/up\"\nstatus = \"test -e {0}/up\"\n",
        dir.display()
    );
    target + &service
}

/// How the target looks in the end: each file with its mode and content, and what is left of ours.
#[derive(Debug, PartialEq)]
struct World {
    files: BTreeMap<String, String>,
    leftovers: Vec<String>,
    debts: usize,
}

impl Round {
    fn new(sshd: &Sshd, proxy: &Proxy) -> Self {
        let round = Self { site: Site::new(), api: Api::start() };
        let dir = round.site.path("t");
        fs::create_dir_all(dir.join("tree/sub")).unwrap();
        round.site.write("upgrade-host.toml", &config(sshd, proxy, &dir));
        for (name, size) in [("tree/one", 300_000), ("tree/sub/two", 150_000), ("tree/three", 10)] {
            fs::write(dir.join(name), noise(size)).unwrap();
        }
        let packed = Command::new("tar")
            .args(["-C", dir.to_str().unwrap(), "-czf"])
            .arg(dir.join("tree.tar.gz"))
            .args(["--transform", "s/^tree/packed/", "tree"])
            .status();
        assert!(packed.unwrap().success());
        fs::write(dir.join("up"), "").unwrap();
        fs::write(dir.join("log"), "ready long ago\n").unwrap();
        round.site.write(
            "book.rhai",
            &format!(
                r#"
//! Over a bad link
let d = "{}";
let api = "http://127.0.0.1:{}/";
let text = ""; for i in 0..4000 {{ text += `line ${{i}} of a file that takes a while\n`; }}
step("files", || {{
  write_file(d + "/written", text, #{{ mode: "640" }});
  copy(d + "/written", d + "/copied");
  move(d + "/copied", d + "/moved");
  upload(d + "/tree/one", d + "/sent", #{{ mode: "600" }});
  download(d + "/tree/one", d + "/fetched");
  replace_in_file(d + "/moved", "line 7 of", "line seven of");
  make_dir(d + "/made/deep");
  remove(d + "/tree/three");
}});
step("trees", || {{
  unpack(d + "/tree.tar.gz", d + "/made");
  rsync(d + "/tree/", d + "/synced/");
}});
step("service", || {{
  log_mark(d + "/log");
  service_stop("demo");
  for n in 0..5 {{ sh(`echo counted ${{n}} >>${{d}}/calls; head -c 20000 /dev/zero`); }}
  let http = http(api, #{{ method: "POST", body: "x", idempotent: true, retry: 2 }});
  service_start("demo");
  wait_log("^ready$", #{{ file: d + "/log", timeout: "30s" }});
  let size = output(["cat", d + "/written"]).len() + http(api).body.len() + http.body.len();
  write_file(d + "/size", `${{size}}`);
}});
"#,
                dir.display(),
                round.api.port
            ),
        );
        round
    }

    /// Runs the runbook, and resumes it as long as it pauses. Returns the last exit status and all that was said.
    fn run(&self) -> (Option<i32>, String) {
        let mut ended = self.site.program(&["run", "book.rhai", "--on", "box", "--yes"]);
        let mut said = ended.out.clone();
        for _ in 0..5 {
            if !matches!(ended.code, Some(3 | 5)) {
                break;
            }
            ended = self.site.program(&["resume", "last", "--yes"]);
            said.push_str("\n--- resume\n");
            said.push_str(&ended.out);
        }
        (ended.code, said)
    }

    fn world(&self) -> World {
        let mut files = BTreeMap::new();
        let mut leftovers = Vec::new();
        walk(&self.site.path("t"), "", &mut files, &mut leftovers);
        if let Some((id, _)) = self.site.newest() {
            let uid = fs::metadata(self.site.path("")).unwrap().uid();
            let spool = format!("/var/tmp/upgrade-host-{uid}/{id}");
            leftovers.extend(Path::new(&spool).exists().then_some(spool));
        }
        World { files, leftovers, debts: self.site.listing("debts").len() }
    }
}

fn walk(dir: &Path, name: &str, files: &mut BTreeMap<String, String>, leftovers: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let own = entry.file_name().to_string_lossy().into_owned();
        let name = format!("{name}/{own}");
        if own.starts_with(".upgrade-host-")
            || Path::new(&own).extension().is_some_and(|end| end == "part")
        {
            leftovers.push(name);
        } else if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &name, files, leftovers);
        } else if own != "tree.tar.gz" {
            let mode = entry.metadata().unwrap().permissions().mode();
            files.insert(name, format!("{mode:o} {}", checksum(&entry.path())));
        }
    }
}

fn checksum(path: &Path) -> String {
    let text = fs::read(path).unwrap();
    if text.len() < 100 {
        return String::from_utf8_lossy(&text).into_owned();
    }
    let sum = Command::new("sha256sum").arg(path).output().unwrap().stdout;
    String::from_utf8_lossy(&sum)[..64].to_owned()
}

/// Bytes that no compression makes shorter.
fn noise(size: usize) -> Vec<u8> {
    let mut random = Random(42);
    (0..size).map(|_| random.next().to_be_bytes()[0]).collect()
}

/// What happens to each connection of a round: faults at random bytes, of one kind or mixed.
fn fates(seed: u64, bytes: u64) -> impl FnMut(usize) -> Fate + Send + 'static {
    let mut random = Random(seed);
    move |connection| {
        if connection >= FAULTS {
            return None;
        }
        let after = SPARED + random.next() % (bytes.saturating_sub(SPARED) / 2).max(1);
        let kind = if seed % 5 < 4 { seed % 5 } else { random.next() % 4 };
        let fault = match kind {
            0 => Fault::Cut,
            1 => Fault::Stall,
            2 => Fault::HalfClose,
            _ => Fault::Delay(Duration::from_millis(random.next() % 2000)),
        };
        Some((after, fault))
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn whatever_the_link_does_a_run_ends_as_if_nothing_had_happened() {
    let Some(sshd) = Sshd::start() else { return };
    let quiet = Proxy::start(sshd.port, |_| None);
    let undisturbed = Round::new(&sshd, &quiet);
    let (code, said) = undisturbed.run();
    assert_eq!(code, Some(0), "{said}");
    let expected = undisturbed.world();
    let calls = "stop\ncounted 0\ncounted 1\ncounted 2\ncounted 3\ncounted 4\nstart\n";
    assert_eq!(expected.files["/calls"].split_once(' ').unwrap().1, calls);
    assert_eq!((expected.leftovers.len(), expected.debts), (0, 0), "{expected:?}");
    assert_eq!(quiet.connections(), 1);
    let bytes = quiet.bytes();

    let first = number("UPGRADE_HOST_LINK_SEED", 1);
    let seeds: Vec<u64> = (first..first + number("UPGRADE_HOST_LINK_ROUNDS", 12)).collect();
    let queue = Mutex::new(seeds.iter().copied());
    let (wrong, struck) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    let claim = |seed: u64| {
        let proxy = Proxy::start(sshd.port, fates(seed, bytes));
        let round = Round::new(&sshd, &proxy);
        let (code, said) = round.run();
        struck.fetch_add(proxy.struck(), Ordering::SeqCst);
        assert_eq!(code, Some(0), "seed {seed}: {said}");
        let world = round.world();
        for (name, text) in &expected.files {
            assert_eq!(world.files.get(name), Some(text), "seed {seed}: {name}\n{said}");
        }
        assert_eq!(world, expected, "seed {seed}: {said}");
        assert!(round.api.posts.load(Ordering::SeqCst) >= 1);
    };
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let Some(seed) = queue.lock().unwrap().next() else { return };
                    if catch_unwind(AssertUnwindSafe(|| claim(seed))).is_err() {
                        wrong.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    assert_eq!(*wrong.lock().unwrap(), [0; 0], "these seeds went wrong, see above");
    // Otherwise nothing was tried.
    assert!(struck.load(Ordering::SeqCst) > seeds.len() as u64, "{struck:?}");
}

#[test]
fn a_request_whose_answer_was_lost_is_not_repeated() {
    let Some(sshd) = Sshd::start() else { return };
    let proxy = Proxy::start(sshd.port, |_| None);
    let (site, api) = (Site::new(), Api::start());
    site.write("upgrade-host.toml", &config(&sshd, &proxy, &site.path("")));
    let url = format!("http://127.0.0.1:{}/never", api.port);
    let book = format!(
        "//! A test\nhttp(\"{url}\", #{{ method: \"POST\", body: \"x\", timeout: \"60s\" }});"
    );
    site.write("book.rhai", &book);
    let mut run = site.start(&["run", "book.rhai", "--on", "box", "--yes"]);
    site.wait("the request arrives", || api.posts.load(Ordering::SeqCst) == 1);
    proxy.stall();

    let code = run.wait().unwrap().code();
    let resumed = site.program(&["resume", "last", "--yes"]);

    assert_eq!((code, resumed.code), (Some(5), Some(5)), "{}", resumed.out);
    assert_eq!(api.posts.load(Ordering::SeqCst), 1);
}
