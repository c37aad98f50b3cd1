//! What an rsync prints that anybody may have put there.

use super::output::{Able, Output, step};

/// The first byte says into what pieces the others are cut, which must not matter.
///
/// # Panics
/// If that does not hold.
pub fn fuzz(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let read = |size: usize| {
        let (mut output, mut steps) = (Output::keeping(3), Vec::new());
        for piece in bytes.chunks(size.max(1)) {
            output.push(piece, |line| steps.extend(step(line)));
        }
        output.finish();
        (output.stats, output.items, steps)
    };
    let whole = read(bytes.len());
    assert_eq!(read(usize::from(*first)), whole);
    let (stats, items, steps) = whole;
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!(steps.len() <= lines && items.len() <= 3);
    assert!(usize::try_from(stats.changes).is_ok_and(|changes| changes <= lines));
    for step in steps {
        assert!(step.percent <= 100);
        assert!(step.files.is_none_or(|(done, all)| done <= all));
    }
    Able::read(&String::from_utf8_lossy(bytes)).tells_progress();
}
