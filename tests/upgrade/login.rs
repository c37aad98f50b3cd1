//! Logins other than root's.

use super::server::{BY_CONSOLE, Server};
use crate::support::lab::config_toml;

#[test]
fn a_user_with_sudo_upgrades_as_root_does() {
    let Some(server) = Server::new(&[]) else { return };
    let targets = config_toml(&[&server.host]);
    server.config(&targets.replace("user = \"root\"", "user = \"deploy\"\nsudo = true"));

    server.upgrade(&BY_CONSOLE).expect(0);

    server.is_upgraded();
    server.users_went_out_and_in_once();
    let owners = server.host.ok("find /usr/local/obs /var/backups/obs-before-5.5.3 ! -user root");
    assert_eq!(owners, "");
}

#[test]
fn sudo_takes_its_password() {
    let Some(server) = Server::new(&[]) else { return };
    let targets = config_toml(&[&server.host]);
    let config = |sudo: &str| {
        server.config(
            &targets.replace("user = \"root\"", &format!("user = \"operator\"\nsudo = {sudo}")),
        );
    };
    let code = "print(output(\"id -u\")); print(service_status(\"obsr\", #{ process: \"/usr/local/obs/jvm/bin/\" }).running);";
    let arguments = ["run", "-e", code, "--on", server.host.name()];

    config("{ password = \"env:SUDO_PASSWORD\" }");
    let ended = server.program(&arguments).expect(0);
    assert!(ended.out.contains('0') && ended.out.contains("true"), "{}", ended.tail());

    config("{ password = \"env:OBS_PASSWORD\" }");
    let ended = server.program(&arguments);
    assert_ne!(ended.code, Some(0));
    assert!((ended.out.clone() + &ended.err).contains("sudo"), "{}", ended.tail());
    config("true");
    let ended = server.program(&arguments);
    assert_ne!(ended.code, Some(0));
    assert!((ended.out.clone() + &ended.err).contains("password"), "{}", ended.tail());
    server.the_password_is_nowhere();
}
