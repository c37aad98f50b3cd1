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
    let checked = ["hosts", "--check", server.host.name()];
    let refused = |why: &str| {
        let ended = server.program(&arguments).expect(2);
        assert!(ended.err.contains(why), "{}", ended.tail());
        let ended = server.program(&checked).expect(1);
        assert!(ended.out.contains("sudo") && ended.err.contains(why), "{}", ended.tail());
    };
    refused("sudo does not take the password");
    config("true");
    refused("sudo wants a password");
    server.host.ok("printf 'Defaults:operator requiretty\\n' >/etc/sudoers.d/tty; chmod 440 /etc/sudoers.d/tty");
    config("{ password = \"env:SUDO_PASSWORD\" }");
    let with_tty = server.program(&checked);
    server.host.ok("printf 'operator ALL=(ALL) /bin/true\\n' >/etc/sudoers.d/tty; gpasswd -d operator sudo >/dev/null");
    let not_allowed = server.program(&checked);
    server.host.ok("rm /etc/sudoers.d/tty; gpasswd -a operator sudo >/dev/null");
    assert!(with_tty.err.contains("sudo wants a terminal"), "{}", with_tty.tail());
    assert!(not_allowed.err.contains("sudo does not allow it"), "{}", not_allowed.tail());
    server.program(&checked).expect(0);
    server.the_password_is_nowhere();
}
