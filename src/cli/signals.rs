//! Interrupts: SIGINT, SIGTERM and SIGHUP ask the run to stop where it stands. SIGINT goes to us alone, for commands on
//! this machine run in process groups of their own.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::transport::Cancel;

/// Listens for the rest of the process.
pub(crate) fn listen(cancel: &Cancel) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    let cancel = cancel.clone();
    let listener = move || {
        for _signal in signals.forever() {
            cancel.cancel();
        }
    };
    // Without the thread, a signal ends the process as usual, which a run survives as well.
    let _without = std::thread::Builder::new().name("signals".to_owned()).spawn(listener);
}
