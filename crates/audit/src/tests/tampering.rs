//! Whatever is done to the files is found.

use std::{fs, path::Path};

use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use crate::{
    Limits,
    chain::Head,
    ecs::{self, Note},
    expiry::Expiry,
    files::{self, Files, Position},
    verify::{Problem, verify},
};

/// Lines in files of four each.
const LINES: usize = 10;

/// Those of them whose record is kept for a time alone, which is over at that hour of 1970.
const EXPIRING: [usize; 3] = [2, 4, 9];

/// A trail of [`LINES`] lines, and its lines with the files they are in.
fn written(folder: &Path) -> Vec<(u64, String)> {
    let (mut files, _) = Files::open(folder, Limits::default()).unwrap();
    let mut head = Head::start();
    for number in 0..LINES {
        let mut line = Vec::new();
        ecs::write(&Note { reason: Some(&number.to_string()), ..Note::new("test", "here") }, &mut line);
        let expires = EXPIRING.contains(&number).then(|| Timestamp::UNIX_EPOCH + (number as i64).hours());
        head.append(&mut line, 0, files.is_new(), expires);
        files.append(&line, &head).unwrap();
        if number % 4 == 3 {
            files.rotate(&head).unwrap();
        }
    }
    read(folder)
}

fn read(folder: &Path) -> Vec<(u64, String)> {
    let lines = |number: u64| {
        let text = fs::read_to_string(files::path(folder, number)).unwrap();
        text.lines().map(|line| (number, line.to_owned())).collect::<Vec<_>>()
    };
    files::numbers(folder).unwrap().into_iter().flat_map(lines).collect()
}

fn write(folder: &Path, lines: &[(u64, String)]) {
    for number in files::numbers(folder).unwrap() {
        let own: String = lines.iter().filter(|(n, _)| *n == number).map(|(_, line)| format!("{line}\n")).collect();
        fs::write(files::path(folder, number), own).unwrap();
    }
}

/// What `verify` finds once `tamper` had its way.
fn found(tamper: impl FnOnce(&mut Vec<(u64, String)>)) -> Vec<(usize, Problem)> {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = written(folder.path());
    assert_eq!(verify(folder.path(), None).unwrap().findings, []);
    tamper(&mut lines);
    write(folder.path(), &lines);
    let findings = verify(folder.path(), None).unwrap().findings;
    findings.into_iter().map(|finding| (finding.line, finding.problem)).collect()
}

#[test]
fn a_finding_names_what_was_done_and_where() {
    let altered = found(|lines| lines[5].1 = lines[5].1.replace("\"5\"", "\"6\""));
    assert_eq!(altered, [(2, Problem::Altered)]);
    let removed = found(|lines| drop(lines.remove(5)));
    assert_eq!(removed, [(2, Problem::Missing(1))]);
    let inserted = found(|lines| lines.insert(6, lines[5].clone()));
    assert_eq!(inserted, [(3, Problem::Inserted(6))]);
    let foreign = found(|lines| lines.insert(6, (5, "{}".into())));
    assert_eq!(foreign, [(3, Problem::Foreign)]);
    let swapped = found(|lines| lines.swap(5, 6));
    assert_eq!(swapped, [(2, Problem::Missing(1)), (3, Problem::Inserted(6))]);
    let truncated = found(|lines| lines.truncate(8));
    assert_eq!(truncated, [(0, Problem::Truncated(2))]);
}

/// Removes what is due at that hour of 1970, as far as the third line of the last file; how many records that were.
fn sweep(expiry: &mut Expiry, folder: &Path, hour: i64) -> u64 {
    let end = Position { file: 9, offset: u64::MAX, sequence: 10 };
    let size = fs::metadata(files::path(folder, 9)).unwrap().len();
    expiry.sweep(folder, Position { offset: size, ..end }, Timestamp::UNIX_EPOCH + hour.hours()).unwrap()
}

#[test]
fn records_are_removed_when_their_time_is_over_and_the_chain_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let before = written(path);
    let modified = |number| fs::metadata(files::path(path, number)).unwrap().modified().unwrap();
    let times = [1, 5, 9].map(modified);
    let mut expiry = Expiry::default();
    assert_eq!([1, 2, 2, 8, 9].map(|hour| sweep(&mut expiry, path, hour)), [0, 1, 0, 1, 1]);
    for (number, ((_, was), (_, is))) in before.iter().zip(read(path)).enumerate() {
        assert_eq!((is.len(), *was != is), (was.len(), EXPIRING.contains(&number)), "{is}");
        assert_eq!(is.contains("event.action"), *was == is, "{is}");
    }
    assert_eq!([1, 5, 9].map(modified), times);
    let verdict = verify(path, None).unwrap();
    assert_eq!((verdict.findings, verdict.lines, verdict.expired), (Vec::new(), 10, 3));
    // The chain goes on from a line whose record is gone.
    let (_, found) = Files::open(path, Limits::default()).unwrap();
    assert_eq!((found.head.sequence, found.missing, found.torn), (10, None, None));
}

#[test]
fn a_record_that_is_removed_before_its_time_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (mut files, _) = Files::open(folder.path(), Limits::default()).unwrap();
    let (mut head, mut line) = (Head::start(), Vec::new());
    ecs::write(&Note { reason: Some("the record"), ..Note::new("test", "here") }, &mut line);
    let later = Timestamp::now() + 1.hour();
    head.append(&mut line, 0, true, Some(later));
    files.append(&line, &head).unwrap();
    assert_eq!(Expiry::default().sweep(folder.path(), files.position(), Timestamp::now()).unwrap(), 0);
    assert_eq!(Expiry::default().sweep(folder.path(), files.position(), later).unwrap(), 1);
    assert_eq!(verify(folder.path(), None).unwrap().findings[0].problem, Problem::RemovedEarly);
}

#[test]
fn a_chain_that_was_written_anew_is_found_by_what_was_noted() {
    let folder = tempfile::tempdir().unwrap();
    let lines = written(folder.path());
    let noted = verify(folder.path(), None).unwrap().head;
    assert_eq!(verify(folder.path(), Some(noted.clone())).unwrap().findings, []);
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(written(folder.path()).len(), lines.len());
    assert_eq!(verify(folder.path(), None).unwrap().findings, [], "times differ, and the chain is whole");
    assert_eq!(verify(folder.path(), Some(noted)).unwrap().findings[0].problem, Problem::NotAsNoted(10));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_byte_that_is_changed_is_found(line in 0..LINES, at in 0.0..1.0, to in 32_u8..127) {
        let findings = found(|lines| {
            let mut bytes = std::mem::take(&mut lines[line].1).into_bytes();
            let index = (bytes.len() as f64 * at) as usize;
            bytes[index] = if bytes[index] == to { to ^ 1 } else { to };
            lines[line].1 = String::from_utf8(bytes).unwrap();
        });
        prop_assert!(!findings.is_empty());
    }

    #[test]
    fn any_lines_that_are_taken_out_are_found(from in 1..LINES, count in 1..LINES) {
        let findings = found(|lines| drop(lines.drain(from..(from + count).min(LINES))));
        prop_assert!(!findings.is_empty());
    }

    #[test]
    fn any_line_that_is_moved_or_doubled_is_found(from in 0..LINES, to in 0..LINES, doubled: bool) {
        prop_assume!(from != to || doubled);
        let findings = found(|lines| {
            let line = if doubled { lines[from].clone() } else { lines.remove(from) };
            // It goes into the file of the line before which it is put.
            let file = lines.get(to).or(lines.last()).unwrap().0;
            lines.insert(to.min(lines.len()), (file, line.1));
        });
        prop_assert!(!findings.is_empty());
    }
}
