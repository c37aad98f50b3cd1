//! Tests against real hosts. Here: that the lab itself does what the others count on.

mod deadman;
mod files;

use crate::support::lab::{HOSTS, Lab, config_toml};

mod link;
mod reboot;
mod sudo;

#[test]
fn two_hosts_answer_on_ssh() {
    let Some(lab) = Lab::shared() else { return };
    let [a, b] = lab.hosts();

    assert_eq!(a.ok("hostname"), a.name());
    assert_eq!(b.ok("hostname"), b.name());
    assert_ne!(a.address(), b.address());
    assert_ne!(a.address(), a.service_address());
    assert_eq!(a.sh("exit 7").status.code(), Some(7));
}

#[test]
fn hosts_reach_each_other_on_the_service_network() {
    let Some(lab) = Lab::shared() else { return };
    let [a, b] = lab.hosts();

    let banner = a.ok(&format!(
        "timeout 5 bash -c 'read -r line </dev/tcp/{}/22; echo \"$line\"'",
        b.service_address()
    ));

    assert!(banner.starts_with("SSH-2.0-"), "{banner}");
}

#[test]
fn a_cut_host_is_silent_until_it_is_healed() {
    let Some(lab) = Lab::shared() else { return };
    let host = lab.host(1);

    host.cut();
    let silent = host.sh("true");
    host.heal();

    assert_eq!(silent.status.code(), Some(255));
    assert_eq!(host.ok("echo back"), "back");
}

#[test]
fn a_killed_host_boots_with_its_disk_and_without_its_processes() {
    let Some(lab) = Lab::shared() else { return };
    let host = lab.host(2);
    host.ok("echo kept >/srv/kept; setsid sleep 987654 >/dev/null 2>&1 </dev/null &");
    let boot_id = host.ok("cat /proc/sys/kernel/random/boot_id");
    let sleeps = || {
        let processes = host.processes();
        processes.iter().any(|line| line.contains("sleep 987654"))
    };
    assert!(sleeps());

    host.kill();
    assert!(host.processes().is_empty());
    let disk = host.tree(&["/srv/kept"]);
    host.boot();

    assert_eq!(host.ok("cat /srv/kept"), "kept");
    assert_eq!(host.tree(&["/srv/kept"]), disk);
    assert!(!sleeps());
    assert_ne!(host.ok("cat /proc/sys/kernel/random/boot_id"), boot_id);
}

#[test]
fn a_host_reboots_from_inside() {
    let Some(lab) = Lab::shared() else { return };
    let host = lab.host(3);
    let boot_id = || host.sh("cat /proc/sys/kernel/random/boot_id").stdout;
    let before = boot_id();
    assert!(!before.is_empty());

    host.sh("systemctl reboot");

    let start = std::time::Instant::now();
    loop {
        let now = boot_id();
        if !now.is_empty() && now != before {
            break;
        }
        assert!(start.elapsed().as_secs() < 60, "the host did not come back");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn tree_shows_what_changed() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    host.ok("rm -rf /srv/tree && mkdir /srv/tree && echo one >'/srv/tree/a file' && ln -s a /srv/tree/b");
    let before = host.tree(&["/srv/tree", "/srv/missing"]);
    assert_eq!(before, host.tree(&["/srv/tree", "/srv/missing"]));
    assert_eq!(before.lines().count(), 4, "{before}");
    assert!(before.ends_with("absent /srv/missing\n"), "{before}");

    host.ok("touch -r '/srv/tree/a file' /srv/stamp; echo two >'/srv/tree/a file'; touch -r /srv/stamp '/srv/tree/a file'");
    let changed = host.tree(&["/srv/tree", "/srv/missing"]);

    let differing: Vec<_> =
        before.lines().zip(changed.lines()).filter(|(old, new)| old != new).collect();
    assert_eq!(differing.len(), 1, "{differing:?}");
    assert!(differing[0].0.ends_with(r"/srv/tree/a\ file"), "{differing:?}");
}

#[test]
fn put_keeps_content_and_mode() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(file.path(), b"\x00\xffbytes\n").expect("write");

    host.put(file.path(), "/srv/put here");

    assert_eq!(host.ok("stat -c %a '/srv/put here'"), "600");
    assert_eq!(host.ok("sha256sum <'/srv/put here' | cut -c1-64"), {
        let tree = host.tree(&["/srv/put here"]);
        tree.split(' ').nth(1).expect("digest").to_owned()
    });
}

#[test]
fn a_reset_host_has_a_new_disk_and_the_same_key() {
    let Some(lab) = Lab::shared() else { return };
    let host = lab.host(HOSTS);
    host.ok("touch /srv/gone");

    host.reset();

    assert_eq!(host.ok("ls /srv"), "");
}

#[test]
fn operator_needs_a_password_for_sudo_and_deploy_does_not() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();

    host.ok("! su operator -c 'sudo -n true' 2>/dev/null");
    host.ok("su operator -c 'echo lab-sudo | sudo -S -p \"\" true'");
    host.ok("su deploy -c 'sudo -n true'");
    host.ok("test -s ~operator/.ssh/authorized_keys && test -s ~deploy/.ssh/authorized_keys");
}

#[test]
fn config_names_every_host_as_a_target() {
    let Some(lab) = Lab::shared() else { return };
    let [a, b] = lab.hosts();

    let config: toml::Table = toml::from_str(&config_toml(&[&a, &b])).expect("TOML");

    for host in [&a, &b] {
        let target = &config["targets"][host.name()];
        assert_eq!(target["address"].as_str(), Some(&*host.address()));
        assert_eq!(target["identity"].as_str(), lab.key().to_str());
        assert_eq!(target["known_hosts"].as_str(), lab.known_hosts().to_str());
    }
}
