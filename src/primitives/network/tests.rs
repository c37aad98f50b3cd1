use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pretty_assertions::assert_eq;
use rhai::Engine;

use super::state::{SPOOL, State};
use super::*;
use crate::call::CallKey;
use crate::effect::bench::Bench;
use crate::effect::{Cx, Lane, Mode, perform, roll_back};
use crate::error::{Halt, Kind, Result, Stop};
use crate::primitives::bridge::{Seat, failure_from_dynamic, stop_from_dynamic};

/// What a Debian host with a bridge, a VLAN on it, a bond and a tunnel prints.
const HOST: &str = r"# link
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
2: eno1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq master br0 state UP mode DEFAULT group default qlen 1000\    link/ether d4:5d:64:00:00:01 brd ff:ff:ff:ff:ff:ff\    altname enp3s0
3: eno2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP mode DEFAULT group default qlen 1000\    link/ether d4:5d:64:00:00:02 brd ff:ff:ff:ff:ff:ff
4: br0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000\    link/ether d4:5d:64:00:00:01 brd ff:ff:ff:ff:ff:ff
5: br0.20@br0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000\    link/ether d4:5d:64:00:00:01 brd ff:ff:ff:ff:ff:ff
6: eth9: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN mode DEFAULT group default qlen 1000\    link/ether d4:5d:64:00:00:09 brd ff:ff:ff:ff:ff:ff
7: tun0: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1500 qdisc pfifo_fast state UNKNOWN mode DEFAULT group default qlen 500\    link/none
8: vethx@if2: <BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN mode DEFAULT group default qlen 1000\    link/ether 8a:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff link-netnsid 0
# address
1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
3: eno2    inet 203.0.113.7/24 brd 203.0.113.255 scope global eno2\       valid_lft forever preferred_lft forever
3: eno2    inet 203.0.113.8/24 brd 203.0.113.255 scope global secondary eno2:1\       valid_lft forever preferred_lft forever
3: eno2    inet6 2001:db8:7::7/64 scope global \       valid_lft forever preferred_lft forever
3: eno2    inet6 2001:db8:7:0:d65d:64ff:fe00:2/64 scope global dynamic mngtmpaddr \       valid_lft 2591000sec preferred_lft 604000sec
3: eno2    inet6 fe80::d65d:64ff:fe00:2/64 scope link proto kernel_ll \       valid_lft forever preferred_lft forever
5: br0.20    inet 10.20.0.5/24 brd 10.20.0.255 scope global dynamic br0.20\       valid_lft 80000sec preferred_lft 80000sec
7: tun0    inet 10.8.0.6 peer 10.8.0.5/32 scope global tun0\       valid_lft forever preferred_lft forever
# route4
default via 203.0.113.1 proto static metric 100 onlink 
198.51.100.0/24 via 203.0.113.254 linkdown 
203.0.113.0/24 proto kernel scope link src 203.0.113.7 
local 203.0.113.7 table local proto kernel scope host src 203.0.113.7 
broadcast 203.0.113.255 table local proto kernel scope link src 203.0.113.7 
# route6
2001:db8:7::/64 proto kernel metric 256 pref medium
2001:db8:9::/48 via 2001:db8:7::1 metric 1024 pref medium
fe80::/64 proto kernel metric 256 pref medium
default via fe80::1 proto ra metric 1024 expires 1793sec hoplimit 64 pref medium
multicast ff00::/8 table local proto kernel metric 256 pref medium
# ifupdown
# session
10.20.0.99 51234 10.20.0.5 22
# back
10.20.0.99 dev br0.20 src 10.20.0.5 uid 0 \    cache 
# default
default via 203.0.113.1 dev eno2 proto static metric 100 onlink 
# saved
";

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn what_would_be_lost_is_known_and_what_comes_by_itself_is_not_kept() {
    let seen = state::parse(HOST);
    let state = seen.state("eno2").unwrap();

    assert_eq!((state.up, state.kept.carrier, state.manager.as_str()), (true, true, "iproute2"));
    assert_eq!(state.mac, "d4:5d:64:00:00:02");
    assert_eq!(state.shown.len(), 5);
    let kept: Vec<_> = state.kept.addresses.iter().map(|it| it.words.join(" ")).collect();
    assert_eq!(
        kept,
        [
            "203.0.113.7/24 brd 203.0.113.255 scope global",
            "203.0.113.8/24 brd 203.0.113.255 scope global label eno2:1",
            "2001:db8:7::7/64 scope global",
        ]
    );
    let routes: Vec<_> = state.kept.routes.iter().map(|it| (it.family, it.words.clone())).collect();
    assert_eq!(
        routes,
        [
            (4, words("default via 203.0.113.1 proto static metric 100 onlink")),
            (4, words("198.51.100.0/24 via 203.0.113.254")),
            (6, words("2001:db8:9::/48 via 2001:db8:7::1 metric 1024 pref medium")),
        ]
    );
}

#[test]
fn links_and_peers_are_read() {
    let seen = state::parse(HOST);
    let link = |name: &str| seen.links.iter().find(|link| link.name == name).unwrap().clone();

    assert_eq!(link("eno1").master.as_deref(), Some("br0"));
    assert_eq!(link("br0.20").parent.as_deref(), Some("br0"));
    assert_eq!((link("eth9").up, link("vethx").up, link("vethx").carrier), (false, true, false));
    assert_eq!(link("tun0").mac, "");
    let tunnel = seen.addresses.iter().find(|(of, _)| of == "tun0").unwrap();
    assert_eq!(tunnel.1.words, words("10.8.0.6 peer 10.8.0.5/32 scope global"));
}

#[test]
fn an_unknown_interface_is_told_with_the_nearest() {
    let seen = state::parse(HOST);
    let failure = seen.state("eno3").unwrap_err();
    assert_eq!(failure.kind, Kind::NotFound);
    assert!(failure.message.contains("there are lo, eno1, eno2, br0"), "{failure}");
    assert!(failure.message.ends_with("(did you mean `eno1`?)"), "{failure}");
    let alias = seen.state("enp3s0").unwrap_err();
    assert!(alias.message.ends_with("(did you mean `eno1`?)"), "{alias}");
}

#[test]
fn an_interface_that_ifupdown_makes_is_known_while_it_is_not_there() {
    let seen = state::parse(&HOST.replace("# ifupdown\n", "# ifupdown\nyes\n"));
    let state = seen.state("br0.30").unwrap();
    assert_eq!((state.up, state.manager.as_str()), (false, "ifupdown"));
}

#[test]
fn what_carries_our_own_session_must_stay_up() {
    let seen = state::parse(HOST);
    let why = |name: &str| own::carries_us(name, &seen, None, false);

    assert_eq!(why("br0.20").unwrap(), "our own ssh connection comes to its address 10.20.0.5");
    // Below the VLAN is the bridge, below the bridge its port.
    assert!(why("br0").unwrap().starts_with("it carries br0.20: our own ssh"));
    assert!(why("eno1").unwrap().starts_with("it carries br0.20: our own ssh"));
    assert!(why("lo").is_some());
    for name in ["eno2", "eth9", "tun0", "vethx"] {
        assert_eq!(why(name), None, "{name}");
    }
}

#[test]
fn the_default_route_counts_only_where_we_are_logged_in_ourselves() {
    let seen = state::parse(HOST);
    assert!(own::carries_us("eno2", &seen, None, true).unwrap().contains("default route"));
    let without =
        HOST.replace("10.20.0.99 51234 10.20.0.5 22\n", "\n").replace("10.20.0.99 dev br0.20", "");
    let seen = state::parse(&without);
    assert_eq!(own::carries_us("eno2", &seen, None, true), None);
    assert_eq!(own::carries_us("br0.20", &seen, None, false), None);
}

#[test]
fn the_address_that_the_transport_uses_counts_also_in_another_notation() {
    let seen = state::parse(&HOST.replace("10.20.0.99 51234 10.20.0.5 22\n", "\n"));
    for address in ["203.0.113.8", "::ffff:203.0.113.8", "2001:db8:7:0::7"] {
        let own = address.parse().ok();
        assert!(own::carries_us("eno2", &seen, own, false).is_some(), "{address}");
        assert!(own::carries_us("tun0", &seen, own, false).is_none(), "{address}");
    }
}

#[test]
fn the_way_back_counts_also_where_packets_come_in_elsewhere() {
    let seen =
        state::parse(&HOST.replace("10.20.0.99 dev br0.20", "10.20.0.99 via 203.0.113.1 dev eno2"));
    let why = own::carries_us("eno2", &seen, None, false).unwrap();
    assert!(why.contains("way back to our ssh client 10.20.0.99"), "{why}");
    let zone = HOST.replace("10.20.0.99 51234 10.20.0.5 22", "fe80::1%tun0 5 fe80::2%tun0 22");
    assert!(own::carries_us("tun0", &state::parse(&zone), None, false).is_some());
}

#[test]
fn only_what_is_missing_is_put_back() {
    let before = state::parse(HOST).state("eno2").unwrap();
    let without: String = HOST
        .lines()
        .filter(|line| !line.contains("2001:db8:7::7/64") && !line.starts_with("198.51"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let after = state::parse(&without).state("eno2").unwrap();

    let missing = before.kept.missing(&after);

    assert_eq!(
        missing.lines(),
        ["address 2001:db8:7::7/64", "route 198.51.100.0/24 via 203.0.113.254"]
    );
    assert!(before.kept.missing(&before).is_nothing());
    let tentative =
        HOST.replace("2001:db8:7::7/64 scope global", "2001:db8:7::7/64 scope global tentative");
    let tentative = state::parse(&tentative).state("eno2").unwrap();
    assert_eq!(before.kept.missing(&tentative).lines(), ["address 2001:db8:7::7/64"]);
}

#[test]
fn lines_that_are_no_output_of_ip_are_no_trouble() {
    for text in [
        "",
        "# link\nnonsense",
        "# address\n1:\n2: x inet",
        "# route4\n\n# saved\n{",
        "# link\n: <>",
    ] {
        let seen = state::parse(text);
        assert!(seen.links.is_empty() && seen.addresses.is_empty(), "{text}");
    }
}

/// An interface of the tests' own, with a peer so that it has a carrier.
///
/// Names and networks differ between processes; within this one, one pair stands at a time.
struct Pair(String, #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Pair {
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static ONE: Mutex<()> = Mutex::new(());
        let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let name =
            format!("uht{}x{}", std::process::id() % 100_000, NEXT.fetch_add(1, Ordering::SeqCst));
        let peer = format!("{name}p");
        let made = ip(&format!("link add {name} type veth peer name {peer}"))
            && ip(&format!("link set {peer} up"));
        if !made {
            ip(&format!("link del {name}"));
            eprintln!("SKIPPED: cannot make an interface for tests here (needs root and veth)");
            return None;
        }
        let pair = Self(name, guard);
        for words in [
            "addr add 198.18.NET.1/25 brd + dev NAME",
            "addr add 2001:db8:NET::1/64 dev NAME nodad",
            "link set NAME up",
            "route add 198.18.NET.128/26 via 198.18.NET.2 dev NAME metric 77",
            "-6 route add 2001:db8:fNET::/48 via 2001:db8:NET::2 dev NAME",
        ] {
            let words = words.replace("NAME", &pair.0).replace("NET", &net());
            assert!(ip(&words), "{words}");
        }
        Some(pair)
    }

    fn interface(&self) -> Interface {
        Interface { name: self.0.clone(), timeout_ms: Some(10_000), deadman: None }
    }

    fn routes(&self) -> String {
        let out = |family: &str| {
            let args = [family, "route", "show", "dev", self.0.as_str()];
            let output = std::process::Command::new("/usr/sbin/ip").args(args).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        format!("{}{}", out("-4"), out("-6"))
    }

    fn spool(&self) -> std::path::PathBuf {
        std::path::Path::new(SPOOL).join(format!("interface-{}", self.0))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.0));
        drop(std::fs::remove_file(self.spool()));
        drop(std::fs::remove_dir(SPOOL));
    }
}

/// The number of this process's networks.
fn net() -> String {
    (std::process::id() % 250).to_string()
}

fn at(text: &str) -> String {
    text.replace("NET", &net())
}

fn ip(words: &str) -> bool {
    std::process::Command::new("ip")
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .args(words.split(' '))
        .output()
        .is_ok_and(|output| output.status.success())
}

fn bench() -> Bench {
    let mut registry = Registry::default();
    actions(&mut registry);
    Bench::new(registry)
}

/// Looks without a call, so that it is no part of the run.
fn status(lane: &Lane, pair: &Pair) -> State {
    let call = CallKey { lane: "test".into(), step: String::new(), action: String::new(), nth: 1 };
    let cx = Cx { lane, target: lane.target(), call: &call };
    pair.interface().state(&cx).unwrap()
}

#[test]
fn down_and_up_again_loses_nothing() {
    let Some(pair) = Pair::new() else { return };
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let before = status(&lane, &pair);
    assert!(before.up && before.kept.carrier && before.shown.contains(&at("2001:db8:NET::1/64")));

    assert_eq!(perform(&lane, None, &Ifdown(pair.interface())), Ok(true));
    assert!(!status(&lane, &pair).up);
    assert_eq!(pair.routes(), "");
    assert_eq!(lane.run().obligations.all()[0].debt.what, format!("interface {} up", pair.0));
    assert_eq!(perform(&lane, None, &Ifdown(pair.interface())), Ok(false));

    let up = Ifup { interface: pair.interface(), restore: None };
    assert_eq!(perform(&lane, None, &up), Ok(true));
    let after = status(&lane, &pair);
    assert_eq!(before.kept.missing(&after).lines(), [""; 0]);
    assert!(pair.routes().contains(&at("198.18.NET.128/26 via 198.18.NET.2 metric 77")));
    assert!(pair.routes().contains(&at("2001:db8:fNET::/48 via 2001:db8:NET::2")));
    assert!(lane.run().obligations.all().is_empty());
    assert_eq!(perform(&lane, None, &up), Ok(false));
    assert!(!pair.spool().exists());
}

#[test]
fn another_process_undoes_it() {
    let Some(pair) = Pair::new() else { return };
    let bench = bench();
    let before = status(&bench.lane(Mode::Plan), &pair);
    perform(&bench.lane(Mode::Run), None, &Ifdown(pair.interface())).unwrap();
    // What is recorded is enough, without what was left on the target.
    std::fs::remove_file(pair.spool()).unwrap();

    let lane = bench.lane(Mode::Rebuild);
    perform(&lane, None, &Ifdown(pair.interface())).unwrap();
    let undone = roll_back(&lane).unwrap();

    assert_eq!((undone.done, undone.failed), (1, vec![]));
    let after = status(&lane, &pair);
    assert_eq!(before.kept.missing(&after).lines(), [""; 0]);
    assert!(lane.run().obligations.all().is_empty());
}

#[test]
fn plan_changes_nothing_and_knows_the_state_after() {
    let Some(pair) = Pair::new() else { return };
    let bench = bench();
    let lane = bench.lane(Mode::Plan);

    assert_eq!(perform(&lane, None, &Ifdown(pair.interface())), Ok(true));
    let up = Ifup { interface: pair.interface(), restore: None };
    assert_eq!(perform(&lane, None, &up), Ok(true));

    assert!(status(&lane, &pair).up && !pair.spool().exists());
    let events = format!("{:?}", bench.events());
    assert!(events.contains(&format!("ip link set dev {} down", pair.0)), "{events}");
    assert!(events.contains(&at("put back route 198.18.NET.128/26")), "{events}");
}

#[test]
fn a_kill_after_the_link_went_down_is_found_out() {
    let Some(pair) = Pair::new() else { return };
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let cancel = lane.run().cancel.clone();
    // The interrupt comes while the interface is being taken down, at a moment that differs from run to run.
    let name = pair.0.clone();
    let waker = std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            let path = format!("/sys/class/net/{name}/flags");
            let flags = std::fs::read_to_string(path).unwrap_or_default();
            if i64::from_str_radix(flags.trim().trim_start_matches("0x"), 16)
                .is_ok_and(|it| it & 1 == 0)
            {
                break;
            }
        }
        cancel.cancel();
    });
    let first = perform(&lane, None, &Ifdown(pair.interface()));
    waker.join().unwrap();
    assert!(matches!(first, Ok(true) | Err(Halt::Stop(Stop::Cancelled))), "{first:?}");

    let lane = bench.lane(Mode::Run);
    assert_eq!(perform(&lane, None, &Ifdown(pair.interface())), Ok(true));
    assert!(!status(&lane, &pair).up);
    let undone = roll_back(&lane).unwrap();
    assert_eq!((undone.done, undone.failed), (1, vec![]));
    assert!(pair.routes().contains(&at("2001:db8:fNET::/48")));
}

#[test]
fn an_interface_that_stays_down_is_told() {
    let Some(pair) = Pair::new() else { return };
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    perform(&lane, None, &Ifdown(pair.interface())).unwrap();
    // Without its peer there is no carrier, as when a cable is pulled.
    assert!(ip(&format!("link set {}p down", pair.0)));
    let interface = Interface { timeout_ms: Some(700), ..pair.interface() };

    let up = perform(&lane, None, &Ifup { interface, restore: None });

    let Err(Halt::Failure(failure)) = up else { panic!("{up:?}") };
    assert_eq!(failure.kind, Kind::Timeout);
    assert!(failure.message.contains("a carrier is missing"), "{failure}");
    assert_eq!(lane.run().obligations.all().len(), 1);
}

#[test]
fn the_interface_of_our_own_session_is_refused_on_a_real_host() {
    let Some(pair) = Pair::new() else { return };
    let out = std::process::Command::new("sh")
        .args(["-c", state::LOOK, "sh", &pair.0, SPOOL])
        .env("SSH_CONNECTION", at("198.18.NET.9 5 198.18.NET.1 22"))
        .output()
        .unwrap();
    let seen = state::parse(&String::from_utf8(out.stdout).unwrap());

    assert_eq!(seen.back, [pair.0.as_str()]);
    assert!(own::carries_us(&pair.0, &seen, None, false).is_some());
    assert!(own::carries_us(&format!("{}p", pair.0), &seen, None, false).is_some());
}

/// Runs one of our scripts with stand-ins for ifupdown that note what they are asked and do nothing.
fn with_ifupdown(bench: &Bench, script: &str, arguments: [&str; 3]) -> String {
    let log = bench.path().join("log");
    for name in ["ifup", "ifdown", "ifquery"] {
        let path = bench.path().join(name);
        let body = format!("#!/bin/sh\necho {name} \"$@\" >>{}\n", log.display());
        std::fs::write(&path, body).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    let out = std::process::Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .args(arguments)
        .env("PATH", format!("{}:/usr/bin:/bin", bench.path().display()))
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn ifupdown_is_asked_first_and_the_kernel_if_that_did_nothing() {
    let Some(pair) = Pair::new() else { return };
    let bench = bench();
    let seen = state::parse(&with_ifupdown(&bench, state::LOOK, [&pair.0, SPOOL, ""]));
    assert_eq!(seen.state(&pair.0).unwrap().manager, "ifupdown");

    with_ifupdown(&bench, interface::SET, [&pair.0, "ifupdown", "down"]);
    assert!(!status(&bench.lane(Mode::Run), &pair).up);
    with_ifupdown(&bench, interface::SET, [&pair.0, "ifupdown", "up"]);
    assert!(status(&bench.lane(Mode::Run), &pair).up);

    let log = std::fs::read_to_string(bench.path().join("log")).unwrap().replace(&pair.0, "X");
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        ["ifquery X", "ifdown X", "ifdown --force X", "ifup X", "ifup --force X"]
    );
}

#[test]
fn an_unknown_interface_on_this_host_is_not_found() {
    let lane = bench().lane(Mode::Run);
    let interface = Interface { name: "nosuch0".to_owned(), timeout_ms: None, deadman: None };
    let Err(Halt::Failure(failure)) = perform(&lane, None, &Ifdown(interface)) else { panic!() };
    assert_eq!(failure.kind, Kind::NotFound);
    assert!(failure.message.contains("there are lo"), "{failure}");
}

fn script(lane: &Lane, text: &str) -> Result<Dynamic> {
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
    engine.eval(text).map_err(|error| match *error {
        rhai::EvalAltResult::ErrorRuntime(value, _) => {
            failure_from_dynamic(&value).unwrap_or_else(|| panic!("{value}")).into()
        }
        rhai::EvalAltResult::ErrorTerminated(value, _) => stop_from_dynamic(&value).unwrap().into(),
        other => panic!("{other}"),
    })
}

#[test]
fn a_status_is_a_map() {
    let lane = bench().lane(Mode::Run);
    let text = r#"let s = interface_status("lo"); `${s.up} ${s.manager} ${s.addresses[0]}`"#;
    let said = script(&lane, text).unwrap().into_string().unwrap();
    assert!(said.starts_with("true ") && said.ends_with(" 127.0.0.1/8"), "{said}");
}

#[test]
fn ports_are_waited_for() {
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(script(&lane, &format!("wait_port({port})")).unwrap().as_bool().unwrap());
    drop(listener);
    for text in [
        format!("wait_port({port}, #{{ state: \"closed\" }})"),
        format!("wait_port(\"localhost:{port}\", #{{ state: \"closed\" }})"),
    ] {
        assert!(script(&lane, &text).unwrap().as_bool().unwrap());
    }

    // It opens while we wait.
    let opener = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        TcpListener::bind(("127.0.0.1", port)).unwrap()
    });
    assert!(script(&lane, &format!("wait_port({port}, #{{ timeout: \"10s\" }})")).is_ok());
    drop(opener.join().unwrap());
}

#[test]
fn a_port_that_stays_closed_is_told() {
    let lane = bench().lane(Mode::Run);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let result = script(&lane, &format!("wait_port({port}, #{{ timeout: \"300ms\" }})"));
    let Err(Halt::Failure(failure)) = result else { panic!("{result:?}") };
    assert_eq!((failure.kind, failure.lost), (Kind::Timeout, false));
    assert!(
        failure.message.starts_with(&format!("127.0.0.1:{port} is not open after 300ms: ")),
        "{failure}"
    );

    let text = r#"wait_port("no-such-host.invalid:80", #{ state: "closed", timeout: "200ms" })"#;
    let result = script(&lane, text);
    assert!(
        matches!(&result, Err(Halt::Failure(failure)) if failure.kind == Kind::Timeout),
        "{result:?}"
    );
}

#[test]
fn a_wait_ends_when_interrupted() {
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let cancel = lane.run().cancel.clone();
    let waker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        cancel.cancel()
    });
    let started = Instant::now();
    let result = script(&lane, r#"wait_port(1, #{ timeout: "60s" })"#);
    waker.join().unwrap();
    assert!(matches!(result, Err(Halt::Stop(Stop::Cancelled))), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn bad_input_names_the_place() {
    let lane = bench().lane(Mode::Run);
    for (text, message) in [
        (r#"ifdown("../x")"#, "ifdown: `../x` is no name of an interface"),
        (r#"ifup("-4")"#, "ifup: `-4` is no name of an interface"),
        (r#"interface_status("")"#, "interface_status: `` is no name of an interface"),
        (
            r#"ifdown("x", #{ time: "1s" })"#,
            "ifdown: unknown option `time` (it takes timeout, deadman)",
        ),
        ("wait_port(70000)", "wait_port: `port`: `70000` is no port; expected 1 to 65535"),
        (r#"wait_port("a:b")"#, "wait_port: `port`: `b` is no port; expected 1 to 65535"),
        (r#"wait_port(":80")"#, "wait_port: `port`: `:80` names no host"),
        (
            r#"wait_port(80, #{ state: "up" })"#,
            "wait_port: option `state`: `up` is none of open, closed",
        ),
        (
            r#"wait_port("a:80", #{ host: "b" })"#,
            "wait_port: option `host`: the host is given with the port already",
        ),
    ] {
        let result = script(&lane, text);
        let Err(Halt::Failure(failure)) = result else { panic!("{text}: {result:?}") };
        assert_eq!((failure.kind, failure.message.as_str()), (Kind::Input, message), "{text}");
    }
    assert_eq!(port::endpoint(&"[::1]:80".into()), Ok((Some("::1".to_owned()), 80)));
}
