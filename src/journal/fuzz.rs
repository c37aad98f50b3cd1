//! Records that were read from a journal which anybody may have written to.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{Body, Cursor, Recall, Record};

/// Bodies of records, a line each: what can be read is written so that it reads the same again, and a replay over all of
/// it answers each call.
///
/// # Panics
/// If that does not hold.
pub fn fuzz(bytes: &[u8]) {
    let bodies = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let body: Body = serde_json::from_slice(line).ok()?;
        let text = serde_json::to_string(&body).ok()?;
        let again: Body = serde_json::from_str(&text).ok()?;
        assert_eq!(again, body, "{text}");
        Some(body)
    });
    let records: Vec<Record> = bodies
        .zip(1..)
        .map(|(body, seq)| Record { seq, at: Timestamp::UNIX_EPOCH, body })
        .collect();
    for accept_change in [false, true] {
        let mut cursor = Cursor::new(&records, accept_change);
        let all: Vec<_> = cursor.all().into_iter().cloned().collect();
        let calls: HashSet<_> = all.iter().map(|recorded| recorded.call.clone()).collect();
        assert_eq!(calls.len(), all.len(), "a call is there twice");
        for recorded in &all {
            assert_eq!(cursor.find(&recorded.call), Some(recorded));
            let action = &recorded.action;
            let answer = cursor.recall(&recorded.call, &recorded.target, action, None);
            let known = !matches!(answer, Recall::New | Recall::Mismatch(_));
            assert!(known, "what is on record is not known: {answer:?}");
        }
        for recorded in &all {
            assert!(cursor.next(&recorded.call.lane).is_none());
        }
        for record in &records {
            cursor.told(&record.body);
            if let Body::LaneBegan { lane } = &record.body {
                assert!(cursor.has_begun(lane));
            }
        }
    }
}
