//! A target that prints without end against somebody who reads slowly: what is not read yet waits on the target, not in
//! our memory.

use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::cli::Cli;
use crate::support::sshd::Sshd;

/// 256 MiB in lines of 32 KiB.
const FLOOD: &str = "sh(\"head -c 268435456 /dev/zero | tr '\\\\0' x | fold -w 32767\", #{ undo: \"true\", timeout: \"10m\" })";
const PRINTED: u64 = 256 << 20;

/// The most memory that a process ever had, in KiB.
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[test]
fn a_flood_of_output_waits_on_the_target() {
    let Some(sshd) = Sshd::start() else { return };
    let cli = Cli::new();
    cli.write("c.toml", &sshd.config("id", Some("host")));
    let mut command = cli.command(&["-e", FLOOD, "--on", "box", "--config", "c.toml", "--json"]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(480);
    let mut out = child.stdout.take().unwrap();
    let (mut buffer, mut read, mut stalled) = (vec![0; 1 << 20], 0_u64, false);
    // The peaks by sixteenths of what is printed.
    let mut peaks = Vec::new();
    loop {
        // For some seconds nothing is read at all, while the target would send on.
        if read > PRINTED / 16 && !std::mem::replace(&mut stalled, true) {
            std::thread::sleep(Duration::from_secs(3));
        }
        let got = out.read(&mut buffer).unwrap();
        if got == 0 {
            break;
        }
        read += got as u64;
        if read >= peaks.len() as u64 * (PRINTED / 16) {
            peaks.extend(peak(child.id()));
        }
        assert!(Instant::now() < end, "only {read} bytes came");
    }
    assert!(child.wait().unwrap().success());
    assert!(read > PRINTED && peaks.len() >= 15, "{read} {peaks:?}");
    // A part of the output is kept for the result, 16 MiB; beyond that, what comes by leaves nothing behind.
    let (full, last) = (peaks[4], peaks[14]);
    assert!(last.saturating_sub(full) < 16 << 10, "{peaks:?} KiB");
    assert!(last.saturating_sub(peaks[0]) < 96 << 10, "{peaks:?} KiB");
}
