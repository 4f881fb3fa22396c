//! A process whose standard error is closed logs on without failing.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    env,
    io::{Write, stdin},
    process::{Command, Stdio},
};

use kea_logs::{Format, init_tracing};

/// Set for the process that the tests start: the format in which it logs.
const CHILD: &str = "KEA_TEST_LOG_FORMAT";

/// What the started process does; on its own it has nothing to do.
#[test]
fn log_into_a_closed_standard_error() {
    let Ok(format) = env::var(CHILD) else { return };
    let format = if format == "json" { Format::Json } else { Format::Human };
    init_tracing(format, "info").unwrap();
    // The other end of standard error is closed before this line comes.
    stdin().read_line(&mut String::new()).unwrap();
    for number in 0..100 {
        tracing::error!(number, "nobody hears this");
    }
}

fn check(format: &str) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "log_into_a_closed_standard_error", "--nocapture"])
        .env(CHILD, format)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    child.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn human_lines_into_a_closed_standard_error_do_no_harm() {
    check("human");
}

#[test]
fn json_lines_into_a_closed_standard_error_do_no_harm() {
    check("json");
}
