//! The program in a terminal of its own, which can be typed at, read, and closed under it.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process whose controlling terminal is ours to read.
pub(crate) struct Pty {
    child: Child,
    master: Option<Arc<OwnedFd>>,
    screen: Arc<Mutex<Vec<u8>>>,
    /// How much of the screen was seen by earlier waits.
    seen: usize,
    closing: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Pty {
    /// Starts a program with a terminal as its standard input, output and error. Its environment and directory are those
    /// of the command.
    pub(crate) fn start(command: &Command) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(rustix::fs::open(&*name, flags, Mode::empty()).unwrap());
        // Becomes the program itself: the leader of a session with this terminal.
        let mut leader = Command::new("setsid");
        leader.arg("--ctty").arg(command.get_program()).args(command.get_args());
        leader.env_clear().env("TERM", "xterm");
        leader.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(dir) = command.get_current_dir() {
            leader.current_dir(dir);
        }
        leader.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = leader.spawn().unwrap();
        // The last of our ends of its side goes with it, so that closing ours hangs it up.
        leader.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let master = Arc::new(master);
        let (screen, closing) =
            (Arc::<Mutex<Vec<u8>>>::default(), Arc::new(AtomicBool::new(false)));
        let (from, to, over) = (Arc::clone(&master), Arc::clone(&screen), Arc::clone(&closing));
        let reader = std::thread::spawn(move || {
            let pause = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            let mut piece = [0; 4096];
            while !over.load(Ordering::SeqCst) {
                let mut ready = [PollFd::new(&from, PollFlags::IN)];
                if poll(&mut ready, Some(&pause)).unwrap_or(0) == 0 {
                    continue;
                }
                // EIO: the program has ended, and so have all that had its terminal.
                let Ok(count) = rustix::io::read(from.as_fd(), &mut piece) else { return };
                to.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        let (reader, master) = (Some(reader), Some(master));
        Self { child, master, screen, seen: 0, closing, reader }
    }

    /// Everything that was shown so far.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits for a text after what was waited for before.
    #[track_caller]
    pub(crate) fn see(&mut self, text: &str) {
        let started = Instant::now();
        loop {
            {
                let screen = self.screen.lock().unwrap();
                let new = &screen[self.seen..];
                if let Some(at) = new.windows(text.len()).position(|at| at == text.as_bytes()) {
                    self.seen += at + text.len();
                    return;
                }
            }
            assert!(started.elapsed() < PATIENCE, "no `{text}` in:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Types keys; `\x03` is Ctrl-C.
    pub(crate) fn keys(&self, keys: &str) {
        let master = self.master.as_ref().unwrap().as_fd().try_clone_to_owned().unwrap();
        File::from(master).write_all(keys.as_bytes()).unwrap();
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Closes the terminal under the program.
    pub(crate) fn close(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.master = None;
    }

    /// Waits for the program's end and returns its exit status; none if a signal ended it.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "does not end:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        self.close();
    }
}
