//! `kea logs`.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use kea_core::{ServiceId, management::Logs, quantity::Span};

use super::Session;
use crate::failure::Failure;

/// Which lines.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The service
    name: ServiceId,
    /// Keep printing what comes
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
    /// Only what is younger than a span like `10m`, or than a time like `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "SPAN|TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only what this replica wrote
    #[arg(long)]
    replica: Option<String>,
    /// How its versions were made: each step, and what the tools wrote
    #[arg(long, conflicts_with = "replica")]
    build: bool,
}

/// Prints what the replicas of a service wrote.
pub(crate) async fn run(session: &Session, args: &LogsArgs) -> Result<(), Failure> {
    let query = args.query();
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let path = ["logs", args.name.as_str()];
    if args.follow {
        return follow(session, &path, &query).await;
    }
    let answer = session.client.get(&path, &query).await?;
    if !session.output.is_json() && answer.read::<Logs>()?.log_entries.is_empty() {
        return Ok(());
    }
    session.output.answer(&answer, |logs: &Logs| logs.log_entries.join("\n"))
}

async fn follow(session: &Session, path: &[&str], query: &[(&str, &str)]) -> Result<(), Failure> {
    let mut events = session.client.events(path, query).await?;
    while let Some(entry) = events.next().await.map_err(|error| session.client.broken(&error))? {
        match session.output.is_json() {
            true => session.output.line(&serde_json::Value::from(entry).to_string())?,
            false => session.output.line(&entry)?,
        }
    }
    Ok(())
}

impl LogsArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let Self { name: _, follow, tail, since, replica, build } = self;
        let tail = tail.map(|lines| ("tail", lines.to_string()));
        let since = since.map(|time| ("since", time.to_string()));
        let replica = replica.clone().or(build.then(|| "build".into())).map(|replica| ("replica", replica));
        let follow = follow.then(|| ("follow", "true".into()));
        [tail, since, replica, follow].into_iter().flatten().collect()
    }
}

pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    let before = |Span(span): Span| Timestamp::now() - span.min(Duration::from_secs(u32::MAX.into()));
    let parsed = text.parse().map(before).ok().or_else(|| text.parse().ok());
    parsed.ok_or_else(|| "write a span like `10m` or a time like `2026-01-31T12:00:00Z`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_span_or_a_time() {
        assert_eq!(since("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00Z");
        let ago = Timestamp::now().duration_since(since("10m").unwrap()).as_secs();
        assert!((595..660).contains(&ago), "{ago}");
        assert!(since("yesterday").is_err());
        assert!(since("2e12").is_err() && since("9e11").is_ok());
    }
}
