//! Adaptive batching: requests that wait together are run together; a lone request never waits for company.
//!
//! While a worker runs one batch, requests queue; the worker's next batch is what has queued meanwhile, up to the cap. A
//! batch that fails is run again request by request, so that a bad row fails alone.

use std::sync::Arc;

use async_channel::{Receiver, Sender, TrySendError};
use kea_core::Tensor;
use serde_json::{Value, value::RawValue};
use tokio::sync::oneshot;

use crate::engine::{ModelError, Runner};

/// What is to be run.
pub(crate) enum Work {
    /// Tensors whose first dimension is the row, and how many rows.
    Rows(Vec<Tensor>, usize),
    /// Tensors of a function that takes one fixed shape.
    Whole(Vec<Tensor>),
    /// Arguments of a custom class's function.
    Call(Box<RawValue>),
}

/// What came of it.
pub(crate) enum Outcome {
    /// Output tensors of these rows.
    Tensors(Vec<Tensor>),
    /// Result of a custom class's function.
    Result(Value),
}

type Reply = Result<Outcome, ModelError>;

pub(crate) struct Job {
    function: Arc<str>,
    work: Work,
    reply: oneshot::Sender<Reply>,
}

/// Where requests wait for a worker; bounded.
#[derive(Clone)]
pub(crate) struct Queue {
    jobs: Sender<Job>,
}

/// The queue is full, or its workers are gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// A queue of at most `limit` requests, and the workers' end of it.
pub(crate) fn queue(limit: usize) -> (Queue, Receiver<Job>) {
    let (jobs, receiver) = async_channel::bounded(limit);
    (Queue { jobs }, receiver)
}

impl Queue {
    /// Lets `work` wait for a worker. The receiver gives its outcome; dropping it gives the place up.
    pub(crate) fn submit(&self, function: Arc<str>, work: Work) -> Result<oneshot::Receiver<Reply>, Refused> {
        let (reply, outcome) = oneshot::channel();
        match self.jobs.try_send(Job { function, work, reply }) {
            Ok(()) => Ok(outcome),
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => Err(Refused),
        }
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }
}

/// Runs what is queued on one worker until the queue is closed.
pub(crate) async fn drive<R: Runner>(jobs: Receiver<Job>, mut runner: R, max_rows: usize) {
    let mut carried = None;
    loop {
        // A worker that is being started again takes nothing that another could run.
        runner.ready().await;
        let first = match carried.take() {
            Some(job) => job,
            None => match jobs.recv().await {
                Ok(job) => job,
                Err(_closed) => return,
            },
        };
        runner.gather().await;
        let mut batch = vec![first];
        carried = fill(&mut batch, &jobs, max_rows);
        run(&mut runner, batch, max_rows).await;
    }
}

/// Adds what waits and fits; returns what was taken from the queue but does not fit.
fn fill(batch: &mut Vec<Job>, jobs: &Receiver<Job>, max_rows: usize) -> Option<Job> {
    let Work::Rows(_, mut rows) = batch[0].work else { return None };
    while rows < max_rows {
        let job = jobs.try_recv().ok()?;
        match job.work {
            Work::Rows(_, more) if rows + more <= max_rows && job.function == batch[0].function => {
                rows += more;
                batch.push(job);
            }
            _ => return Some(job),
        }
    }
    None
}

async fn run<R: Runner>(runner: &mut R, mut batch: Vec<Job>, max_rows: usize) {
    batch.retain(|job| !job.reply.is_closed());
    if batch.len() > 1 {
        match run_together(runner, &batch).await {
            Ok(outcomes) => {
                for (job, outcome) in batch.into_iter().zip(outcomes) {
                    // A caller that has gone away does not need its answer.
                    let _ = job.reply.send(Ok(Outcome::Tensors(outcome)));
                }
                return;
            }
            Err(error) => tracing::debug!(%error, requests = batch.len(), "a batch failed; its requests are run alone"),
        }
    }
    let was_run = batch.len() > 1;
    for job in batch {
        runner.ready().await;
        let mut reply = run_alone(runner, &job.function, &job.work, max_rows).await;
        // Rows lose nothing by being run twice. Who waited alone when the worker died gets the second chance that a
        // batch gets; no third, since the rows themselves may be what kills it.
        if !was_run && matches!((&reply, &job.work), (Err(ModelError::Crashed(_)), Work::Rows(..))) {
            runner.ready().await;
            if job.reply.is_closed() {
                continue;
            }
            reply = run_alone(runner, &job.function, &job.work, max_rows).await;
        }
        let _ = job.reply.send(reply);
    }
}

async fn run_together<R: Runner>(runner: &mut R, batch: &[Job]) -> Result<Vec<Vec<Tensor>>, ModelError> {
    let mut parts = batch.iter().filter_map(|job| match &job.work {
        Work::Rows(inputs, rows) => Some((inputs, *rows)),
        Work::Whole(_) | Work::Call(_) => None,
    });
    let Some((first, mut rows)) = parts.next() else { return Ok(Vec::new()) };
    let mut joined = first.clone();
    let mut ends = vec![rows];
    for (inputs, more) in parts {
        for (whole, part) in joined.iter_mut().zip(inputs) {
            whole.append_rows(part).map_err(|error| ModelError::Unusable(error.to_string()))?;
        }
        rows += more;
        ends.push(rows);
    }
    let outputs = runner.infer(&batch[0].function, &joined).await?;
    check_rows(&outputs, rows)?;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let slice = |(from, to): (usize, usize)| outputs.iter().map(|output| output.slice_rows(from, to)).collect();
    Ok(starts.zip(ends.iter().copied()).map(slice).collect())
}

async fn run_alone<R: Runner>(runner: &mut R, function: &str, work: &Work, max_rows: usize) -> Reply {
    match work {
        Work::Call(arguments) => runner.call(function, arguments).await.map(Outcome::Result),
        Work::Whole(inputs) => runner.infer(function, inputs).await.map(Outcome::Tensors),
        Work::Rows(inputs, rows) if *rows <= max_rows => {
            let outputs = runner.infer(function, inputs).await?;
            check_rows(&outputs, *rows)?;
            Ok(Outcome::Tensors(outputs))
        }
        Work::Rows(inputs, rows) => run_in_slices(runner, function, inputs, *rows, max_rows).await,
    }
}

/// One request of more rows than the cap: the cap holds for it too.
async fn run_in_slices<R: Runner>(
    runner: &mut R,
    function: &str,
    inputs: &[Tensor],
    rows: usize,
    max_rows: usize,
) -> Reply {
    let mut joined: Vec<Tensor> = Vec::new();
    for from in (0..rows).step_by(max_rows) {
        let to = (from + max_rows).min(rows);
        let slice: Vec<_> = inputs.iter().map(|input| input.slice_rows(from, to)).collect();
        let outputs = runner.infer(function, &slice).await?;
        check_rows(&outputs, to - from)?;
        if joined.is_empty() {
            joined = outputs;
            continue;
        }
        for (whole, part) in joined.iter_mut().zip(&outputs) {
            whole.append_rows(part).map_err(|error| ModelError::Unusable(error.to_string()))?;
        }
    }
    Ok(Outcome::Tensors(joined))
}

fn check_rows(outputs: &[Tensor], rows: usize) -> Result<(), ModelError> {
    match outputs.iter().find(|output| output.rows() != rows) {
        None => Ok(()),
        Some(output) => Err(ModelError::Unusable(format!(
            "output `{}` has {} rows for {rows} rows of input",
            output.name,
            output.rows()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use kea_core::tensor::TensorData;

    use super::*;

    /// Doubles each number, and raises on negative ones; notes the rows of each run.
    struct Doubler {
        runs: Arc<Mutex<Vec<usize>>>,
    }

    impl Runner for Doubler {
        async fn ready(&mut self) {}

        async fn infer(&mut self, _: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
            self.runs.lock().unwrap().push(inputs[0].rows());
            let TensorData::Fp64(values) = &inputs[0].data else { panic!("FP64 is given") };
            if values.iter().any(|v| *v < 0.0) {
                return Err(ModelError::Raised { kind: "ValueError".into(), message: "negative".into() });
            }
            let doubled = values.iter().map(|v| v * 2.0).collect();
            Ok(vec![Tensor { name: "y".into(), shape: inputs[0].shape.clone(), data: TensorData::Fp64(doubled) }])
        }

        async fn call(&mut self, _: &str, _: &RawValue) -> Result<Value, ModelError> {
            Ok(Value::Null)
        }
    }

    fn rows(values: &[f64]) -> Work {
        let data = TensorData::Fp64(values.to_vec());
        Work::Rows(vec![Tensor { name: "x".into(), shape: vec![values.len()], data }], values.len())
    }

    async fn outcome(receiver: oneshot::Receiver<Reply>) -> Result<Vec<f64>, ModelError> {
        match receiver.await.unwrap()? {
            Outcome::Tensors(tensors) => match &tensors[0].data {
                TensorData::Fp64(values) => Ok(values.clone()),
                other => panic!("{other:?}"),
            },
            Outcome::Result(value) => panic!("{value}"),
        }
    }

    /// Queues all of `requests` before the worker starts, and runs them.
    async fn check(max_rows: usize, requests: &[&[f64]], expected: &[Result<Vec<f64>, ()>], runs: &[usize]) {
        let (queue, jobs) = queue(100);
        let receivers: Vec<_> = requests.iter().map(|r| queue.submit("predict".into(), rows(r)).unwrap()).collect();
        drop(queue);
        let seen = Arc::new(Mutex::new(Vec::new()));
        drive(jobs, Doubler { runs: seen.clone() }, max_rows).await;
        let mut outcomes = Vec::new();
        for receiver in receivers {
            outcomes.push(outcome(receiver).await.map_err(drop));
        }
        assert_eq!(outcomes, expected);
        assert_eq!(*seen.lock().unwrap(), runs);
    }

    /// Dies in its first runs, as many as it is told.
    struct Mortal {
        deaths: usize,
    }

    impl Runner for Mortal {
        async fn ready(&mut self) {}

        async fn infer(&mut self, _function: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
            if self.deaths > 0 {
                self.deaths -= 1;
                return Err(ModelError::Crashed("gone".into()));
            }
            Ok(inputs.to_vec())
        }

        async fn call(&mut self, _function: &str, _arguments: &RawValue) -> Result<Value, ModelError> {
            self.infer("", &[]).await.map(|_| Value::Null)
        }
    }

    /// Whether a request is answered by a worker that dies so many times.
    async fn answered_after(deaths: usize, work: Work) -> bool {
        let (queue, jobs) = queue(1);
        let outcome = queue.submit("predict".into(), work).unwrap();
        drop(queue);
        drive(jobs, Mortal { deaths }, 64).await;
        outcome.await.unwrap().is_ok()
    }

    #[tokio::test]
    async fn rows_survive_one_death_of_their_worker() {
        assert!(answered_after(1, rows(&[1.0])).await);
        assert!(!answered_after(2, rows(&[1.0])).await);
    }

    #[tokio::test]
    async fn a_call_is_never_made_twice() {
        let arguments = || Work::Call(RawValue::from_string("{}".into()).unwrap());
        assert!(answered_after(0, arguments()).await);
        assert!(!answered_after(1, arguments()).await);
    }

    #[tokio::test]
    async fn requests_that_wait_together_run_together() {
        check(64, &[&[1.0], &[2.0, 3.0]], &[Ok(vec![2.0]), Ok(vec![4.0, 6.0])], &[3]).await;
    }

    #[tokio::test]
    async fn a_batch_never_has_more_rows_than_the_cap() {
        check(2, &[&[1.0], &[2.0, 3.0]], &[Ok(vec![2.0]), Ok(vec![4.0, 6.0])], &[1, 2]).await;
        check(2, &[&[1.0, 2.0, 3.0]], &[Ok(vec![2.0, 4.0, 6.0])], &[2, 1]).await;
    }

    #[tokio::test]
    async fn a_bad_row_fails_alone() {
        check(64, &[&[1.0], &[-1.0], &[3.0]], &[Ok(vec![2.0]), Err(()), Ok(vec![6.0])], &[3, 1, 1, 1]).await;
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (queue, _jobs) = queue(1);
        let first = queue.submit("predict".into(), rows(&[1.0]));
        assert!(first.is_ok());
        assert_eq!(queue.submit("predict".into(), rows(&[1.0])).err(), Some(Refused));
    }

    #[tokio::test]
    async fn what_its_caller_gave_up_is_not_run() {
        let (queue, jobs) = queue(10);
        drop(queue.submit("predict".into(), rows(&[1.0])));
        drop(queue);
        let seen = Arc::new(Mutex::new(Vec::new()));
        drive(jobs, Doubler { runs: seen.clone() }, 64).await;
        assert!(seen.lock().unwrap().is_empty());
    }
}
