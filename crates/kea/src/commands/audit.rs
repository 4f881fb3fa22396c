//! `kea audit`: who did what, whether the trail was tampered with, and what Elasticsearch and Kibana need to show it.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use kea_audit::{Outcome, QUERY_MAX, Verdict, setup_elasticsearch, setup_kibana, verify};
use serde_json::{Value, json};

use super::{Session, logs::since, or_dash};
use crate::{
    audited,
    failure::Failure,
    output::{Output, table},
};

/// Dashboards for Kibana.
const DASHBOARDS: &str = include_str!("../../../../deploy/elasticsearch/dashboards.ndjson");

/// How far a question reaches back, while records are followed: requests take less than this.
const OVERLAP: Duration = Duration::from_secs(120);

/// The pause before the next question.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// What of the audit trail is wanted.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    /// Only what is younger than a span like `1h`, or than a time like `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "SPAN|TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only what is older than that
    #[arg(long, value_name = "SPAN|TIME", value_parser = since)]
    until: Option<Timestamp>,
    /// Only what this user did
    #[arg(long, value_name = "USER")]
    caller: Option<String>,
    /// Only what was about this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Only what ended so
    #[arg(long, value_parser = Outcome::WORDS)]
    outcome: Option<String>,
    /// Keep printing what comes, without the questions for it
    #[arg(short, long, conflicts_with = "until")]
    follow: bool,
    /// How many of the latest [default: 100]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Look whether files of an audit trail are as they were written
    Verify {
        /// The folder of the files
        #[arg(default_value = "kea-data/audit")]
        folder: PathBuf,
        /// Number and hash of a last line that was noted before, as `17:9f86d0…`: it must be in the files
        #[arg(long, value_name = "NUMBER:HASH")]
        noted: Option<String>,
    },
    /// Put the index template into Elasticsearch, and the dashboards into Kibana
    SetupElasticsearch {
        /// Base URL of Elasticsearch
        #[arg(env = "KEA_AUDIT_ELASTICSEARCH", value_name = "URL")]
        url: String,
        /// Base URL of Kibana
        #[arg(long, value_name = "URL")]
        kibana: Option<String>,
    },
}

impl AuditArgs {
    /// What needs no server.
    pub(crate) async fn run(
        self,
        output: Output,
        session: impl FnOnce() -> Result<Session, Failure>,
    ) -> Result<(), Failure> {
        match self.command {
            None if self.follow => follow(&session()?, self.query()).await,
            None => self.show(&session()?).await,
            Some(AuditCommand::Verify { folder, noted }) => held_against_its_chain(output, folder, noted.as_deref()),
            Some(AuditCommand::SetupElasticsearch { url, kibana }) => set_up(output, &url, kibana.as_deref()).await,
        }
    }

    async fn show(&self, session: &Session) -> Result<(), Failure> {
        let query = self.query();
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = session.client.get(&["logs", "audit"], &query).await?;
        session.output.answer(&answer, |trail: &Value| {
            let rows = trail["records"].as_array().into_iter().flatten().map(row);
            table(&["TIME", "CALLER", "ACTION", "SERVICE", "STATUS", "OUTCOME", "MS", "FROM", "REQUEST"], rows)
        })
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let Self { command: _, follow: _, since, until, caller, service, outcome, limit } = self;
        let since = since.map(|time| ("since", time.to_string()));
        let until = until.map(|time| ("until", time.to_string()));
        let caller = caller.clone().map(|name| ("caller", name));
        let service = service.clone().map(|name| ("service", name));
        let outcome = outcome.clone().map(|word| ("outcome", word));
        let limit = limit.map(|number| ("limit", number.to_string()));
        [since, until, caller, service, outcome, limit].into_iter().flatten().collect()
    }
}

/// Prints records as they come. A record is of the time at which its request came, and is written when that has ended: so
/// each question reaches back over what was answered already.
async fn follow(session: &Session, mut query: Vec<(&'static str, String)>) -> Result<(), Failure> {
    let mut shown = HashSet::new();
    loop {
        let asked: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer: Value = session.client.get(&["logs", "audit"], &asked).await?.read()?;
        let records: Vec<&Value> = answer["records"].as_array().into_iter().flatten().collect();
        for record in records.iter().rev().filter(|record| is_news(record, &shown)) {
            let line = if session.output.is_json() { record.to_string() } else { row(record).join("  ") };
            session.output.line(&line)?;
        }
        shown = records.iter().filter_map(|record| Some(record["kea.audit.hash"].as_str()?.to_owned())).collect();
        query.retain(|(name, _)| !["since", "limit"].contains(name));
        let since = (Timestamp::now() - OVERLAP).to_string();
        query.extend([("since", since), ("limit", QUERY_MAX.to_string())]);
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

/// Whether a record is to be printed: not those of before, and not these questions.
fn is_news(record: &Value, shown: &HashSet<String>) -> bool {
    let known = record["kea.audit.hash"].as_str().is_some_and(|hash| shown.contains(hash));
    !known && record["event.action"] != "getAuditTrail"
}

fn row(record: &Value) -> Vec<String> {
    let text = |name: &str| or_dash(record[name].as_str());
    let time = record["@timestamp"].as_str().and_then(|time| time.parse().ok()).map(super::time);
    let millis = record["event.duration"].as_u64().map(|nanos| format!("{:.1}", nanos as f64 / 1e6));
    let service = match record["kea.function"].as_str() {
        Some(function) => format!("{}/{function}", text("service.name")),
        None => text("service.name"),
    };
    vec![
        or_dash(time),
        text("user.name"),
        text("event.action"),
        service,
        or_dash(record["http.response.status_code"].as_u64()),
        text("kea.outcome"),
        or_dash(millis),
        text("client.ip"),
        text("http.request.id"),
    ]
}

/// Tells what is wrong with the files, and fails where something is.
fn held_against_its_chain(output: Output, folder: PathBuf, noted: Option<&str>) -> Result<(), Failure> {
    let noted = noted.map(note).transpose()?;
    let verdict = match verify(&folder, noted) {
        Ok(verdict) if verdict.files == 0 => return Err(Failure::NoTrail(folder)),
        Ok(verdict) => verdict,
        Err(source) => return Err(Failure::File { path: folder, source }),
    };
    let Verdict { lines, files, expired, torn, head: (number, hash), findings } = &verdict;
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let result = json!({
        "lines": lines, "files": files, "expired": expired, "torn": torn, "findings": told,
        "head": {"sequence": number, "hash": hash},
    });
    let mut human = told.clone();
    if *expired > 0 {
        human.push(format!("the records of {expired} lines were removed, as their time was over"));
    }
    human.push(format!("{lines} lines in {files} files are as they were written, the last one is {number}:{hash}"));
    output.result(&result, &human.join("\n"))?;
    if findings.is_empty() { Ok(()) } else { Err(Failure::Tampered(findings.len())) }
}

fn note(text: &str) -> Result<(u64, String), Failure> {
    let parsed = text.split_once(':').and_then(|(number, hash)| Some((number.parse().ok()?, hash.to_owned())));
    parsed.ok_or_else(|| Failure::Usage("`--noted` is what `kea audit verify` printed: NUMBER:HASH".into()))
}

async fn set_up(output: Output, url: &str, kibana: Option<&str>) -> Result<(), Failure> {
    let parsed = |name: &str, text: &str| audited::url(name, text).map_err(|error| Failure::Usage(error.to_string()));
    let options = audited::elasticsearch(parsed("URL", url)?);
    let kibana = kibana.map(|url| parsed("--kibana", url)).transpose()?;
    setup_elasticsearch(&options).await?;
    if let Some(kibana) = &kibana {
        setup_kibana(kibana, &audited::credentials(), DASHBOARDS).await?;
    }
    let done = match kibana {
        Some(_) => "the index template is in Elasticsearch, and the dashboards are in Kibana",
        None => "the index template is in Elasticsearch; --kibana URL puts the dashboards into Kibana",
    };
    output.result(&json!({"dataStream": audited::STREAM}), done)
}
