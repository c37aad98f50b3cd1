//! Interrupts: SIGINT, SIGTERM and SIGHUP ask the run to stop where it stands. SIGINT goes to us alone, for commands on
//! this machine run in process groups of their own. A second one ends the wait for what is still under way.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::transport::Cancel;

/// Listens for the rest of the process.
pub(crate) fn listen(cancel: &Cancel) {
    let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    // Whoever started us so that we outlive the terminal (nohup, a job in the background) means it.
    let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored(*signal));
    let Ok(mut signals) = Signals::new(heard) else { return };
    let cancel = cancel.clone();
    let listener = move || {
        let mut hung_up = false;
        for signal in signals.forever() {
            match signal {
                SIGINT => drop(cancel.cancel()),
                // A terminal that is closed says so through the kernel, the shell, and the terminal's own program.
                SIGHUP if std::mem::replace(&mut hung_up, true) => {}
                // Who sends these does not sit at the terminal.
                _ => cancel.cancel_unattended(),
            }
        }
    };
    // Without the thread, a signal ends the process as usual, which a run survives as well.
    let _without = std::thread::Builder::new().name("signals".to_owned()).spawn(listener);
}

/// Reads from the kernel's word on this process which signals it was started to ignore.
fn ignored(status: &str) -> impl Fn(i32) -> bool + use<> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default();
    move |signal| mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_kernel() {
        let all = ignored("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\tffff\n");
        assert!(all(SIGHUP) && !all(SIGINT) && !all(SIGTERM));
        assert!(!ignored("")(SIGHUP));
    }
}
