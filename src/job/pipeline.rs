//! Images through decoding, the tower and the writer: bounded, in order, with failures as values.
//!
//! Inputs are read ahead on worker threads, up to a window; the calling thread runs the tower on whatever is ready, so
//! that neither a slow producer nor a slow decoder holds back an image that could be answered; a thread of its own
//! writes. Results come in the order of the inputs.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, Builder},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, select};

use super::{
    error::JobError,
    failure::{Failure, Stage},
    outcome::{Made, Outcome, Ready},
    recorder::{Cut, Recorder},
};
use crate::{
    extractor::Preprocessed,
    input::Item,
    output::{Array, InputFacts},
    processor::PixelValues,
};

/// How a pipeline is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Threads that read, decode and preprocess.
    pub(super) workers: usize,
    /// The most images that the tower takes at once.
    pub(super) batch: usize,
    /// The most images that wait to be written.
    pub(super) waiting: usize,
}

/// An image before the tower, and how long that took.
type Prepared = (Ready, Duration);

/// Reads, decodes and preprocesses an image on a worker thread.
pub(super) type Prepare = dyn Fn(&Item) -> Ready + Send + Sync;

/// The tensors of each image of a batch, in order, and how long the tower took.
pub(super) type Encoded = (Vec<Vec<Array>>, Duration);

/// Runs the tower on a batch.
pub(super) type Encode<'a> = dyn FnMut(Vec<PixelValues>) -> Result<Encoded, Cut> + 'a;

/// A worker's panic is one image's failure.
fn lost(item: &Item) -> Prepared {
    let input = InputFacts { path: item.source.to_string(), ..InputFacts::default() };
    let failure = Failure::new(Stage::Preprocess, "its preparation panicked");
    (Ready { input, stage: Err(failure.into()) }, Duration::ZERO)
}

/// One place in the order of the inputs: its image, and its result when a worker has it.
type Slot = (Item, Receiver<Prepared>);

/// Runs images through `prepare`, `encode` and the recorder until they end, one of these fails for good, or `stop` has a message. A batch
/// in the tower at that moment is finished and written.
///
/// # Errors
/// The first error of `encode` or the recorder, or a thread cannot be started.
pub(super) fn run(
    items: impl Iterator<Item = Item> + Send + 'static,
    layout: Layout,
    stop: &Receiver<()>,
    prepare: &Arc<Prepare>,
    encode: &mut Encode<'_>,
    recorder: &mut Recorder<'_>,
) -> Result<(), Cut> {
    let window = layout.workers + 2 * layout.batch;
    let (slots_in, slots) = bounded::<Slot>(window);
    let (jobs_in, jobs) = bounded::<(Item, Sender<Prepared>)>(window);
    // Threads that nothing waits for: they may read from a producer that never ends.
    start(move || feed(items, &slots_in, &jobs_in))?;
    for _ in 0..layout.workers {
        let (jobs, prepare) = (jobs.clone(), prepare.clone());
        start(move || work(&jobs, &*prepare))?;
    }
    drop(jobs);
    thread::scope(|scope| {
        let (results_in, results) = bounded::<Done>(layout.waiting);
        let write = move || write_all(&results, recorder);
        let writer = Builder::new().spawn_scoped(scope, write).map_err(JobError::Thread)?;
        let mut queue = Queue { slots, stop, front: None };
        let encoded = encode_all(&mut queue, layout.batch, encode, &results_in);
        drop((results_in, queue));
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(encoded)
    })
}

/// An image that has come to its end, what was read of it, and what became of it.
type Done = (Item, InputFacts, Outcome);

/// What comes sooner is waited for: to sync for each of many small images would take longer than they do.
const PAUSE: Duration = Duration::from_millis(20);

fn write_all(results: &Receiver<Done>, recorder: &mut Recorder<'_>) -> Result<(), Cut> {
    loop {
        let next = match results.try_recv() {
            Ok(next) => next,
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => match results.recv_timeout(PAUSE) {
                Ok(next) => next,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    recorder.commit()?;
                    let Ok(next) = results.recv() else { return Ok(()) };
                    next
                }
            },
        };
        let (item, input, outcome) = next;
        recorder.take(&item, &input, outcome)?;
    }
}

/// Starts a thread. It ends when the channels do that it is given.
fn start(work: impl FnOnce() + Send + 'static) -> Result<(), JobError> {
    Builder::new().spawn(work).map(drop).map_err(JobError::Thread)
}

/// Hands each input to the workers and its place to the consumer.
fn feed(items: impl Iterator<Item = Item>, slots: &Sender<Slot>, jobs: &Sender<(Item, Sender<Prepared>)>) {
    for item in items {
        let (result_in, result) = bounded(1);
        if slots.send((item.clone(), result)).is_err() || jobs.send((item, result_in)).is_err() {
            return; // the run has ended
        }
    }
}

fn work(jobs: &Receiver<(Item, Sender<Prepared>)>, prepare: &Prepare) {
    for (item, result) in jobs {
        let started = Instant::now();
        let prepared = match catch_unwind(AssertUnwindSafe(|| prepare(&item))) {
            Ok(ready) => (ready, started.elapsed()),
            Err(_) => lost(&item),
        };
        if result.send(prepared).is_err() {
            return; // the run has ended
        }
    }
}

/// The inputs in order, as they become ready.
struct Queue<'a> {
    slots: Receiver<Slot>,
    stop: &'a Receiver<()>,
    front: Option<Slot>,
}

impl Queue<'_> {
    /// The next image, waited for; none at the end or when the run is to stop.
    fn wait(&mut self) -> Option<(Item, Prepared)> {
        if !self.stop.is_empty() {
            return None;
        }
        let (item, result) = match self.front.take() {
            Some(slot) => slot,
            None => select! {
                recv(self.slots) -> slot => slot.ok()?,
                recv(self.stop) -> _ => return None,
            },
        };
        select! {
            recv(result) -> prepared => {
                let prepared = prepared.unwrap_or_else(|_| lost(&item));
                Some((item, prepared))
            }
            recv(self.stop) -> _ => None,
        }
    }

    /// The next image if it is ready.
    fn poll(&mut self) -> Option<(Item, Prepared)> {
        let (item, result) = self.front.take().or_else(|| self.slots.try_recv().ok())?;
        match result.try_recv() {
            Ok(prepared) => Some((item, prepared)),
            Err(TryRecvError::Empty) => {
                self.front = Some((item, result));
                None
            }
            Err(TryRecvError::Disconnected) => {
                let prepared = lost(&item);
                Some((item, prepared))
            }
        }
    }
}

/// Gathers batches, encodes them and passes everything on, in order.
fn encode_all(
    queue: &mut Queue<'_>,
    batch: usize,
    encode: &mut Encode<'_>,
    results: &Sender<Done>,
) -> Result<(), Cut> {
    while let Some(first) = queue.wait() {
        let mut gathered = VecDeque::from([first]);
        let ready = |gathered: &VecDeque<(Item, Prepared)>| {
            gathered.iter().filter(|(_, (ready, _))| ready.stage.is_ok()).count()
        };
        // A run of skipped images is passed on now and then, so that what is gathered stays bounded.
        while ready(&gathered) < batch && gathered.len() < 4 * batch {
            let Some(next) = queue.poll() else { break };
            gathered.push_back(next);
        }
        for result in encode_batch(gathered, encode)? {
            if results.send(result).is_err() {
                return Ok(()); // the writer has ended, and has the error
            }
        }
    }
    Ok(())
}

fn encode_batch(gathered: VecDeque<(Item, Prepared)>, encode: &mut Encode<'_>) -> Result<Vec<Done>, Cut> {
    let mut inputs = Vec::new();
    let mut results = Vec::new();
    for (item, (Ready { input, stage }, preprocess)) in gathered {
        let outcome = stage.map(|ready| {
            let Preprocessed { pixel_values, picture } = *ready;
            inputs.push(pixel_values);
            Made { arrays: Vec::new(), picture, preprocess, encode: Duration::ZERO }
        });
        results.push((item, input, outcome));
    }
    if inputs.is_empty() {
        return Ok(results);
    }
    let count = inputs.len() as u32;
    let (images, elapsed) = encode(inputs)?;
    let mut images = images.into_iter();
    for made in results.iter_mut().filter_map(|(_, _, outcome)| outcome.as_mut().ok()) {
        made.encode = elapsed / count;
        made.arrays = images.next().expect("the tower gives tensors for each of its inputs");
    }
    Ok(results)
}
