//! Waiting for programs, with an end: a program that hangs fails its test instead of holding up all others.

use std::{
    io::Read,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

/// How long a program may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs a program to its end and returns what it wrote.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    end(child)
}

/// Waits for the end of a program, and of what it wrote. Its standard input is closed first.
///
/// # Panics
///
/// When it does not end, or when something that it left behind holds on to its output.
#[track_caller]
pub(crate) fn end(mut child: Child) -> Output {
    let since = Instant::now();
    drop(child.stdin.take());
    let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
    let (stdout, out_ends) = all(&out, since);
    let (stderr, err_ends) = all(&err, since);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if since.elapsed() > PATIENCE => break None,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    if status.is_none() {
        let _it_may_end_just_now = child.kill();
        let _reaped = child.wait();
    }
    let said = || [&*stdout, &*stderr].map(String::from_utf8_lossy).concat();
    let status = status.unwrap_or_else(|| panic!("does not end in {PATIENCE:?}:\n{}", said()));
    assert!(out_ends && err_ends, "{status}, but something holds its output:\n{}", said());
    Output { status, stdout, stderr }
}

/// Reads a stream to its end, in the background.
fn read(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (to, from) = channel();
    if let Some(mut stream) = stream {
        std::thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                let _nobody_may_wait_any_more = to.send(piece[..count].to_vec());
            }
        });
    }
    from
}

/// Everything that was read, and whether that is all.
fn all(from: &Receiver<Vec<u8>>, since: Instant) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        match from.recv_timeout(PATIENCE.saturating_sub(since.elapsed())) {
            Ok(piece) => bytes.extend(piece),
            Err(end) => return (bytes, end == RecvTimeoutError::Disconnected),
        }
    }
}
