//! A target that answers our scripts with whatever it likes. It knows our marks, for they are in what we send.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use super::{At, Found, Launched, Seen, list, look, prepare, run};
use crate::transport::{
    Cancel, Command, Connection, Ended, Exit, Stream, Transport, TransportError, Watch, Words,
};

/// How long a text may be that a target tells us as a reason.
const LONGEST_REASON: usize = 300 * 4;

/// Its answers, one after the other.
#[derive(Debug)]
struct Hostile(Mutex<Vec<Vec<u8>>>);

impl Transport for Hostile {
    fn exec(
        &self,
        command: &Command,
        _cancel: &Cancel,
        watch: Watch<'_>,
    ) -> Result<Exit, TransportError> {
        let answer = self.0.lock().ok().and_then(|mut answers| answers.pop()).unwrap_or_default();
        let (kind, text) = answer.split_first().unwrap_or((&0, &[]));
        let mark = match &command.words {
            Words::List(words) => words.iter().find(|word| word.starts_with('\u{1e}')),
            Words::Shell(_) => None,
        };
        // The byte that begins a mark stands for all of it.
        let mark = mark.map(String::as_bytes).unwrap_or_default();
        let stdout: Vec<u8> = text
            .iter()
            .flat_map(|byte| if *byte == 0x1e { mark } else { std::slice::from_ref(byte) })
            .copied()
            .collect();
        let size = usize::from(kind >> 4).max(1) * 7;
        for piece in stdout.chunks(size) {
            watch(Stream::Out, piece);
        }
        match kind & 3 {
            0 => Ok(Exit { ended: Ended::Code(0), stdout, stderr: Vec::new() }),
            1 => Ok(Exit { ended: Ended::Code(7), stderr: stdout.clone(), stdout }),
            2 => Ok(Exit { ended: Ended::Signal("KILL".to_owned()), stdout, stderr: Vec::new() }),
            _ => Err(TransportError::Lost { target: self.describe(), why: "cut".to_owned() }),
        }
    }

    fn connect(
        &self,
        _host: &str,
        _port: u16,
        _timeout: Duration,
    ) -> Result<Box<dyn Connection>, TransportError> {
        Err(TransportError::Invalid("nothing listens".to_owned()))
    }

    fn describe(&self) -> String {
        "t".to_owned()
    }

    fn own_address(&self) -> Option<IpAddr> {
        None
    }
}

fn is_sound(reason: &str) {
    assert!(reason.len() <= LONGEST_REASON && !reason.contains(char::is_control), "{reason:?}");
}

/// Answers, each with its length in a byte before it. They cannot make us act anywhere but where receipts are, nor tell
/// more than they hold, nor keep more of it than a few lines.
///
/// # Panics
/// If that does not hold.
pub fn fuzz(bytes: &[u8]) {
    let mut answers = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first() {
        let (answer, after) = after.split_at(usize::from(*length).min(after.len()));
        answers.push(answer.to_vec());
        rest = after;
    }
    answers.reverse();
    let target = Hostile(Mutex::new(answers));
    let cancel = Cancel::new();
    if let Ok(Ok(dir)) = prepare(&target, "20261122-2020-k3f9", None, &cancel) {
        assert!(dir.starts_with('/') && dir.len() < 4096, "{dir:?}");
        assert!(!dir.contains(char::is_control), "{dir:?}");
    }
    for kept in list(&target, &cancel).unwrap_or_default() {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        assert!(!kept.run.is_empty() && kept.run.bytes().all(safe), "{kept:?}");
    }
    let at = At { dir: "/var/tmp/upgrade-host-0/r".to_owned(), call: "c-1".to_owned() };
    if let Ok(Found::Lost(why)) = look(&target, &at, None, &cancel) {
        is_sound(&why);
    }
    let (mut seen, mut told) = (Seen::default(), 0);
    let command = Command::list(["true"]);
    let launched =
        run(&target, &command, &at, &mut seen, &cancel, &mut |_, bytes| told += bytes.len());
    if let Ok(Launched::Lost(why)) = launched {
        is_sound(&why);
    }
    // A mark that was not one of ours is passed on, and is longer than the byte that stands for it.
    assert!(told <= bytes.len() * 64, "{told} bytes were told of {}", bytes.len());
    assert_eq!(seen.out + seen.err, told as u64);
}
