//! The control port on loopback: `SHUTDOWN` as Tomcat has it, and what the web console does.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::server::Server;
use super::{Outcome, at};

const PATIENCE: Duration = Duration::from_secs(5);

/// The ports in conf/server.xml: HTTP and control.
pub fn ports(home: &Path) -> Outcome<(u16, u16)> {
    let path = home.join("conf/server.xml");
    let text = at(&path, fs::read_to_string(&path))?;
    let document = roxmltree::Document::parse(&text)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let port = |tag: &str| {
        let node = document.descendants().find(|node| node.has_tag_name(tag));
        node.and_then(|node| node.attribute("port")).and_then(|port| port.parse().ok())
    };
    match (port("Connector"), port("Server")) {
        (Some(http), Some(control)) => Ok((http, control)),
        _ => Err(format!("{}: no ports of <Server> and <Connector>", path.display())),
    }
}

/// Sends a command to the server of a home and waits for its answer.
pub fn send(home: &Path, command: &str) -> Outcome<()> {
    let (_, port) = ports(home)?;
    let failed =
        |error: std::io::Error| format!("cannot reach the server on control port {port}: {error}");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(format!("{command}\n").as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(failed)?;
    if answer.trim() == "OK" {
        Ok(())
    } else {
        Err(format!("the server answered '{}'", answer.trim()))
    }
}

/// Opens the control port.
pub fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

/// Answers commands until one of them stops the server.
pub fn run(server: &Server, listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // A connection that fails is the problem of its other end.
        drop(answer(server, stream));
    }
}

fn answer(server: &Server, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.try_clone()?.take(200)).read_line(&mut line)?;
    let answer = match line.trim() {
        "SHUTDOWN" => {
            server.audit.record("CONTROL", "SHUTDOWN", "", &[]);
            if !server.config().flag("stop_hangs") {
                server.stop();
            }
            "OK".to_owned()
        }
        "REPLICATION on" | "REPLICATION off" => {
            let on = line.trim().ends_with("on");
            server.switch_replication(on).map_or_else(|message| message, |()| "OK".to_owned())
        }
        _ => "unknown command".to_owned(),
    };
    stream.write_all(format!("{answer}\n").as_bytes())
}
