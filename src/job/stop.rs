//! How a run is ended from outside.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam_channel::{Receiver, Sender, bounded};

/// A handle that ends a run after the batch in flight, from any thread. Its clones are one handle.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// use std::ops::ControlFlow;
///
/// use clip_features::job::{Ended, Stop};
///
/// let stop = Stop::new();
/// let handle = stop.clone(); // for whoever hears of a signal
/// std::thread::spawn(move || handle.stop()).join().unwrap();
/// let prepared = job.choose()?.look(&model)?.prepare()?;
/// let (ended, _) = prepared.run(&stop, &mut |_| ControlFlow::Continue(()))?;
/// assert_eq!(ended, Ended::Stopped);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    sender: Sender<()>,
    receiver: Receiver<()>,
}

impl Stop {
    /// A handle that nobody has used.
    pub fn new() -> Self {
        let (sender, receiver) = bounded(1);
        Self { asked: Arc::default(), sender, receiver }
    }

    /// Ends the run.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::SeqCst);
        let _ = self.sender.try_send(()); // a full channel says it already
    }

    /// Whether that was asked for.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Holds a message from then on.
    pub(super) fn channel(&self) -> &Receiver<()> {
        &self.receiver
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
