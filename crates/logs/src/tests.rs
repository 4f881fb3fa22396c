//! The log book as its users see it.

use std::{
    fs, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use kea_core::ServiceId;
use tempfile::TempDir;
use tokio::io::{AsyncRead, ReadBuf};

use crate::{Entries, Entry, Limits, LogBook, LogError, Query, Stream};

fn id(name: &str) -> ServiceId {
    name.parse().unwrap()
}

fn iris() -> ServiceId {
    id("iris")
}

fn open_with(limits: Limits) -> (TempDir, LogBook) {
    let folder = TempDir::new().unwrap();
    let book = LogBook::open(folder.path().join("logs"), limits).unwrap();
    (folder, book)
}

fn open() -> (TempDir, LogBook) {
    open_with(Limits::default())
}

fn last(tail: usize) -> Query {
    Query { tail: Some(tail), ..Query::default() }
}

fn texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.line.as_str()).collect()
}

async fn numbers(book: &LogBook, query: Query) -> Vec<usize> {
    let entries = book.tail(&iris(), query).await.unwrap();
    entries.iter().map(|entry| entry.line.parse().unwrap()).collect()
}

/// Keeps the numbers as lines, as fast as they can be kept without losing one.
async fn write_numbers(book: &LogBook, numbers: std::ops::Range<usize>) {
    let writer = book.writer(&iris(), "iris-1-0");
    for number in numbers {
        writer.write(Stream::Stdout, number.to_string());
        if number % 1_000 == 0 {
            book.flush(&iris()).await.unwrap();
        }
    }
    book.flush(&iris()).await.unwrap();
}

#[tokio::test]
async fn what_was_written_is_read_at_once() {
    let (_folder, book) = open();
    let before = Timestamp::now();
    book.writer(&iris(), "iris-1-0").write(Stream::Stdout, "one\ntwo\n");
    book.writer(&iris(), "iris-1-1").write(Stream::Stderr, b"thr\xffee");
    let entries = book.tail(&iris(), Query::default()).await.unwrap();
    let shown: Vec<_> = entries.iter().map(|e| format!("{} {} {}", e.replica, e.stream, e.line)).collect();
    assert_eq!(shown, ["iris-1-0 stdout one", "iris-1-0 stdout two", "iris-1-1 stderr thr\u{fffd}ee"]);
    assert!(entries.iter().all(|entry| entry.time >= before - SignedDuration::from_micros(1)));
}

#[tokio::test]
async fn logs_of_two_services_are_apart() {
    let (_folder, book) = open();
    book.writer(&iris(), "a").write(Stream::Stdout, "iris");
    book.writer(&id("wine"), "a").write(Stream::Stdout, "wine");
    assert_eq!(texts(&book.tail(&id("wine"), Query::default()).await.unwrap()), ["wine"]);
    assert_eq!(book.tail(&id("other"), Query::default()).await.unwrap(), []);
}

#[tokio::test]
async fn a_reader_gets_the_latest_lines_within_bounds() {
    let (_folder, book) = open();
    write_numbers(&book, 0..12_000).await;
    assert_eq!(numbers(&book, last(3)).await, [11_997, 11_998, 11_999]);
    assert_eq!(numbers(&book, last(0)).await, [0; 0]);
    assert_eq!(numbers(&book, Query::default()).await, (11_900..12_000).collect::<Vec<_>>());
    assert_eq!(numbers(&book, last(usize::MAX)).await, (2_000..12_000).collect::<Vec<_>>());
    let since = Query { since: Some(Timestamp::UNIX_EPOCH), ..Query::default() };
    assert_eq!(numbers(&book, since).await.len(), 10_000);
}

#[tokio::test]
async fn a_reader_may_ask_for_one_replica_and_from_a_time_on() {
    let (_folder, book) = open();
    let [one, two] = ["iris-1-0", "iris-1-1"].map(|replica| book.writer(&iris(), replica));
    one.write(Stream::Stdout, "early");
    two.write(Stream::Stdout, "early too");
    let between = book.tail(&iris(), last(1)).await.unwrap()[0].time + SignedDuration::from_micros(1);
    while Timestamp::now() <= between + SignedDuration::from_micros(1) {}
    one.write(Stream::Stdout, "late");
    two.write(Stream::Stdout, "late too");
    let query = |since, replica: Option<&str>| Query { since, replica: replica.map(Into::into), tail: None };
    for (query, expected) in [
        (query(Some(between), None), ["late", "late too"].as_slice()),
        (query(None, Some("iris-1-1")), &["early too", "late too"]),
        (query(Some(between), Some("iris-1-0")), &["late"]),
        (query(None, Some("iris-1")), &[]),
        (query(Some(Timestamp::MAX), None), &[]),
    ] {
        assert_eq!(texts(&book.tail(&iris(), query.clone()).await.unwrap()), expected, "{query:?}");
    }
}

#[tokio::test]
async fn files_are_rotated_and_bounded_and_read_as_one() {
    let limits = Limits { file_bytes: 4_096, files: 3, ..Limits::default() };
    let (folder, book) = open_with(limits);
    write_numbers(&book, 0..1_000).await;
    let files: Vec<_> = fs::read_dir(folder.path().join("logs/iris")).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 3);
    let sizes: Vec<_> = files.iter().map(|file| file.metadata().unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= 4_096) && sizes.iter().sum::<u64>() > 8_192, "{sizes:?}");
    let read = numbers(&book, last(10_000)).await;
    assert!(read.len() > 80, "{}", read.len());
    assert_eq!(read, (1_000 - read.len()..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_line_longer_than_a_file_gets_one_of_its_own() {
    let (_folder, book) = open_with(Limits { file_bytes: 100, files: 3, line_bytes: 1_000 });
    let long = "x".repeat(900);
    book.writer(&iris(), "a").write(Stream::Stdout, format!("one\n{long}\ntwo"));
    assert_eq!(texts(&book.tail(&iris(), Query::default()).await.unwrap()), ["one", &long, "two"]);
}

#[tokio::test]
async fn logs_outlive_a_restart() {
    let (folder, book) = open();
    book.writer(&iris(), "a").write(Stream::Stdout, "before");
    book.flush(&iris()).await.unwrap();
    drop(book);
    let book = LogBook::open(folder.path().join("logs"), Limits::default()).unwrap();
    assert_eq!(texts(&book.tail(&iris(), Query::default()).await.unwrap()), ["before"]);
    book.writer(&iris(), "a").write(Stream::Stdout, "after");
    assert_eq!(texts(&book.tail(&iris(), Query::default()).await.unwrap()), ["before", "after"]);
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_left_out() {
    let (folder, book) = open();
    let file = folder.path().join("logs/iris/0000000001.jsonl");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "not json\n{\"time\":\"2024-01-01T00:00:00Z\",\"replica\":\"a\",\"stre").unwrap();
    book.writer(&iris(), "a").write(Stream::Stdout, "whole");
    assert_eq!(texts(&book.tail(&iris(), Query::default()).await.unwrap()), ["whole"]);
}

#[tokio::test]
async fn only_their_owner_may_read_the_logs() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, book) = open();
    write_numbers(&book, 0..1).await;
    let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("logs"), mode("logs/iris")), (0o700, 0o700));
    assert_eq!(mode("logs/iris/0000000001.jsonl"), 0o600);
}

#[tokio::test]
async fn a_removed_log_is_gone_and_ends_for_its_readers() {
    let (folder, book) = open();
    write_numbers(&book, 0..3).await;
    let followed = book.follow(&iris(), Query::default()).await.unwrap();
    book.remove(&iris()).await.unwrap();
    assert!(!folder.path().join("logs/iris").exists());
    assert_eq!(followed.count().await, 3);
    assert_eq!(book.tail(&iris(), Query::default()).await.unwrap(), []);
    book.remove(&iris()).await.unwrap();
    write_numbers(&book, 7..8).await;
    assert_eq!(numbers(&book, Query::default()).await, [7]);
}

#[tokio::test]
async fn more_services_than_files_may_be_open_are_kept() {
    let (_folder, book) = open();
    for round in 0..2 {
        for number in 0..200 {
            book.writer(&id(&format!("s{number}")), "a").write(Stream::Stdout, round.to_string());
        }
        book.flush(&iris()).await.unwrap();
    }
    for number in [0, 100, 199] {
        let entries = book.tail(&id(&format!("s{number}")), Query::default()).await.unwrap();
        assert_eq!(texts(&entries), ["0", "1"]);
    }
}

async fn take(entries: &mut Entries, count: usize) -> Vec<Entry> {
    let taken = entries.take(count).collect::<Vec<_>>();
    tokio::time::timeout(Duration::from_secs(10), taken).await.expect("lines come")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_gets_every_line_once_while_they_are_written() {
    let (_folder, book) = open_with(Limits { file_bytes: 64 << 10, files: 100, ..Limits::default() });
    let writing = tokio::spawn({
        let book = book.clone();
        async move { write_numbers(&book, 0..8_000).await }
    });
    let mut following = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut entries = book.follow(&iris(), last(10_000)).await.unwrap();
        following.spawn(async move {
            let mut expected = 0;
            while expected < 8_000 {
                let entry = entries.next().await.unwrap();
                match entry.stream {
                    Stream::Kea => expected += entry.line.split(' ').nth(1).unwrap().parse::<usize>().unwrap(),
                    _ => {
                        assert_eq!(entry.line, expected.to_string());
                        expected += 1;
                    }
                }
            }
        });
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), following.join_all()).await.unwrap();
}

#[tokio::test]
async fn a_follower_gets_what_it_asks_for() {
    let (_folder, book) = open();
    let [one, two] = ["iris-1-0", "iris-1-1"].map(|replica| book.writer(&iris(), replica));
    one.write(Stream::Stdout, "a\nb");
    two.write(Stream::Stdout, "c");
    let query = Query { tail: Some(1), replica: Some("iris-1-0".into()), since: None };
    let mut entries = book.follow(&iris(), query).await.unwrap();
    let mut new = book.follow(&iris(), last(0)).await.unwrap();
    two.write(Stream::Stdout, "d");
    one.write(Stream::Stdout, "e");
    assert_eq!(texts(&take(&mut entries, 2).await), ["b", "e"]);
    assert_eq!(texts(&take(&mut new, 2).await), ["d", "e"]);
}

#[tokio::test]
async fn a_slow_follower_is_told_how_many_lines_it_missed() {
    let (_folder, book) = open();
    let mut entries = book.follow(&iris(), Query::default()).await.unwrap();
    write_numbers(&book, 0..3_000).await;
    let first = take(&mut entries, 2).await;
    assert_eq!((&*first[0].replica, first[0].stream), ("-", Stream::Kea));
    assert!(first[0].line.starts_with("… 1976 lines were skipped"), "{}", first[0].line);
    assert_eq!(first[1].line, "1976");
}

#[tokio::test]
async fn lines_that_come_too_fast_are_counted_and_told() {
    let (_folder, book) = open_with(Limits { files: 100, ..Limits::default() });
    let writer = book.writer(&iris(), "iris-1-0");
    let line = "x".repeat(16 << 10);
    while book.lost_lines() == 0 {
        (0..1_000).for_each(|_| writer.write(Stream::Stdout, &line));
    }
    let lost = book.lost_lines();
    book.flush(&iris()).await.unwrap();
    writer.write(Stream::Stdout, "the last");
    let mut told = 0;
    for entry in book.tail(&iris(), last(1_000)).await.unwrap() {
        if entry.stream == Stream::Kea {
            assert!(entry.line.contains("faster"), "{}", entry.line);
            assert_eq!(&*entry.replica, "iris-1-0");
            told += entry.line.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
        }
    }
    assert_eq!(told, lost);
    assert_eq!(texts(&book.tail(&iris(), last(1)).await.unwrap()), ["the last"]);
}

#[tokio::test]
async fn a_disk_that_fails_loses_lines_says_so_and_fails_nobody() {
    let (folder, book) = open();
    let writer = book.writer(&iris(), "iris-1-0");
    // Where the log's folder is to be, there is a file.
    let place = folder.path().join("logs/iris");
    fs::write(&place, "").unwrap();
    writer.write(Stream::Stdout, "one\ntwo");
    assert!(matches!(book.tail(&iris(), Query::default()).await, Err(LogError::Io { .. })));
    assert_eq!(book.lost_lines(), 2);
    fs::remove_file(&place).unwrap();
    writer.write(Stream::Stdout, "three");
    let entries = book.tail(&iris(), Query::default()).await.unwrap();
    assert!(entries[0].line.starts_with("… 2 lines were lost: the disk failed ("), "{}", entries[0].line);
    assert_eq!((&*entries[0].replica, entries[0].stream), ("iris-1-0", Stream::Kea));
    assert_eq!(texts(&entries[1..]), ["three"]);
    assert_eq!(book.lost_lines(), 2);
}

#[tokio::test]
async fn lost_lines_are_told_once_the_disk_works_though_no_line_follows() {
    let (folder, book) = open();
    let place = folder.path().join("logs/iris");
    fs::write(&place, "").unwrap();
    book.writer(&iris(), "a").write(Stream::Stdout, "one");
    assert!(book.flush(&iris()).await.is_err());
    fs::remove_file(&place).unwrap();
    let entries = book.tail(&iris(), Query::default()).await.unwrap();
    assert!(entries[0].line.starts_with("… 1 line was lost"), "{}", entries[0].line);
}

/// A pipe whose other end has broken after some bytes.
struct Broken(&'static [u8]);

impl AsyncRead for Broken {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(io::Error::other("broken")));
        }
        buffer.put_slice(std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_pipe_is_read_to_its_end() {
    let (_folder, book) = open();
    let writer = book.writer(&iris(), "a");
    let text = format!("one\r\ntwo {}\nthree", "x".repeat(20_000));
    writer.clone().lines_from(Stream::Stdout, text.as_bytes()).await;
    writer.lines_from(Stream::Stderr, Broken(b"four\nfive")).await;
    let entries = book.tail(&iris(), Query::default()).await.unwrap();
    let cut = format!("two {}… (3620 bytes cut)", "x".repeat((16 << 10) - 4));
    assert_eq!(texts(&entries), ["one", &cut, "three", "four", "five"]);
}

#[tokio::test]
async fn a_child_that_prints_megabytes_does_not_wait() {
    let (_folder, book) = open();
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", "head -c 20000000 /dev/zero | tr '\\0' x; echo; yes | head -n 5000; echo done >&2"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let writer = book.writer(&iris(), "iris-1-0");
    let out = writer.clone().lines_from(Stream::Stdout, child.stdout.take().unwrap());
    let err = writer.lines_from(Stream::Stderr, child.stderr.take().unwrap());
    tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(out, err) }).await.unwrap();
    assert!(child.wait().await.unwrap().success());
    let entries = book.tail(&iris(), last(10_000)).await.unwrap();
    assert!(entries.iter().any(|entry| entry.stream == Stream::Stderr && entry.line == "done"));
    assert!(entries.iter().any(|entry| entry.line.ends_with("… (19983616 bytes cut)")));
    assert_eq!(entries.len(), 5_002);
}
