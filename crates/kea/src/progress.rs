//! Progress on standard error: spinners on a terminal, a line for each change elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kea_core::management::{ServiceDetails, StepState, StepStatus};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Details of a running step change often, as the lines of pip do: in a log file one a second is enough.
const DETAIL_INTERVAL: Duration = Duration::from_secs(1);

/// Shows how far something is, step by step.
pub(crate) enum Progress {
    /// On a terminal.
    Spinners(Spinners),
    /// In a file or a pipe.
    Lines(Lines),
}

impl Progress {
    /// For standard error as it is.
    pub(crate) fn new() -> Self {
        if io::stderr().is_terminal() { Self::Spinners(Spinners::default()) } else { Self::Lines(Lines::default()) }
    }

    /// Shows what has changed since the last time.
    pub(crate) fn show(&mut self, details: &ServiceDetails) {
        self.show_steps(&with_replicas(details));
    }

    /// Shows what has changed of these steps since the last time.
    pub(crate) fn show_steps(&mut self, steps: &[StepStatus]) {
        match self {
            Self::Spinners(spinners) => spinners.show(steps),
            Self::Lines(lines) => lines.show(steps).into_iter().for_each(|line| note(&line)),
        }
    }

    /// Leaves what is shown as it is.
    pub(crate) fn finish(&mut self) {
        if let Self::Spinners(spinners) = self {
            spinners.bars.iter().for_each(ProgressBar::abandon);
        }
    }
}

/// Writes a line to standard error. Where that is closed, there is nobody to tell.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The steps of a service, and after them its replicas.
fn with_replicas(details: &ServiceDetails) -> Vec<StepStatus> {
    let ready = details.live_version.as_ref() == Some(&details.version) && details.ready_replicas >= details.replicas;
    let prepared = details.steps.iter().all(|step| step.state == StepState::Done);
    let state = match (ready, prepared) {
        (true, _) => StepState::Done,
        (false, true) => StepState::Running,
        (false, false) => StepState::Pending,
    };
    let detail = format!("{} of {} ready", details.ready_replicas, details.replicas);
    let replicas = StepStatus { name: "replicas".into(), state, detail };
    details.steps.iter().cloned().chain([replicas]).collect()
}

/// A spinner for each step.
#[derive(Default)]
pub(crate) struct Spinners {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl Spinners {
    fn show(&mut self, steps: &[StepStatus]) {
        for (index, step) in steps.iter().enumerate() {
            if index == self.bars.len() {
                self.bars.push(self.all.add(ProgressBar::new_spinner()));
            }
            let bar = &self.bars[index];
            bar.set_style(style(step.state));
            bar.set_prefix(step.name.clone());
            bar.set_message(step.detail.clone());
            match step.state {
                StepState::Running => bar.enable_steady_tick(TICK),
                StepState::Pending | StepState::Done | StepState::Failed => {
                    bar.disable_steady_tick();
                    bar.tick();
                }
            }
        }
    }
}

fn style(state: StepState) -> ProgressStyle {
    let template = match state {
        StepState::Pending => "  {prefix:.dim}",
        StepState::Running => "{spinner:.cyan} {prefix}  {wide_msg:.dim}",
        StepState::Done => "{spinner:.green} {prefix}  {wide_msg:.dim}",
        StepState::Failed => "{spinner:.red} {prefix}  {wide_msg}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    match state {
        StepState::Pending | StepState::Running => style,
        StepState::Done => style.tick_strings(&["✓", "✓"]),
        StepState::Failed => style.tick_strings(&["✗", "✗"]),
    }
}

/// A line for each change.
#[derive(Default)]
pub(crate) struct Lines {
    shown: Vec<(StepStatus, Option<Instant>)>,
}

impl Lines {
    fn show(&mut self, steps: &[StepStatus]) -> Vec<String> {
        let changed = steps.iter().enumerate().filter_map(|(index, step)| self.change(index, step));
        changed.collect()
    }

    fn change(&mut self, index: usize, step: &StepStatus) -> Option<String> {
        let due = match self.shown.get(index) {
            Some((shown, _)) if shown == step => false,
            Some((shown, at)) if shown.name == step.name && shown.state == step.state => {
                at.is_none_or(|at| at.elapsed() >= DETAIL_INTERVAL)
            }
            Some(_) | None => true,
        };
        if !due {
            return None;
        }
        let entry = (step.clone(), Some(Instant::now()));
        match self.shown.get_mut(index) {
            Some(shown) => *shown = entry,
            None => self.shown.push(entry),
        }
        (step.state != StepState::Pending).then(|| line(step))
    }
}

/// A step as a line: `fetch the model: done (4 kB)`.
fn line(step: &StepStatus) -> String {
    let StepStatus { name, state, detail } = step;
    let state = state_word(*state);
    if detail.is_empty() { format!("{name}: {state}") } else { format!("{name}: {state} ({detail})") }
}

/// The API's word for a state.
pub(crate) fn state_word(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, state: StepState, detail: &str) -> StepStatus {
        StepStatus { name: name.into(), state, detail: detail.into() }
    }

    #[test]
    fn each_change_of_a_step_is_one_line() {
        let mut lines = Lines::default();
        let fetch = |state, detail| step("fetch the model", state, detail);
        let wait = step("make the environment", StepState::Pending, "");
        let shown = lines.show(&[fetch(StepState::Running, ""), wait.clone()]);
        assert_eq!(shown, ["fetch the model: running"]);
        assert!(lines.show(&[fetch(StepState::Running, ""), wait.clone()]).is_empty());
        let shown =
            lines.show(&[fetch(StepState::Done, "4 kB"), step("make the environment", StepState::Failed, "no")]);
        assert_eq!(shown, ["fetch the model: done (4 kB)", "make the environment: failed (no)"]);
    }

    #[test]
    fn details_do_not_flood_a_log() {
        let mut lines = Lines::default();
        assert_eq!(lines.show(&[step("pip", StepState::Running, "numpy")]).len(), 1);
        assert!(lines.show(&[step("pip", StepState::Running, "scipy")]).is_empty());
        assert_eq!(lines.show(&[step("pip", StepState::Done, "")]).len(), 1);
    }
}
