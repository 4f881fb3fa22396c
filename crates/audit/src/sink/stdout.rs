//! Lines to standard output, for whoever gathers those of containers.

use std::io::Write;

use async_trait::async_trait;

use super::{Deliver, Fate, Line, Refusal};

pub(crate) struct Stdout;

#[async_trait]
impl Deliver for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    async fn deliver(&mut self, lines: &[Line]) -> Result<Vec<Fate>, Refusal> {
        let text: String = lines.iter().flat_map(|line| [&line.text, "\n"]).collect();
        // A pipe that nobody reads blocks its thread, and nothing else.
        let written = tokio::task::spawn_blocking(move || {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        });
        match written.await {
            Ok(Ok(())) => Ok(vec![Fate::Kept; lines.len()]),
            Ok(Err(error)) => Err(Refusal::Away(error.to_string())),
            Err(panic) => Err(Refusal::Away(panic.to_string())),
        }
    }
}
