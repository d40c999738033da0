//! How a run is ended from outside.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam_channel::{Receiver, Sender, bounded};

/// A handle that ends a run after the batch in flight, from any thread. Its clones are one handle.
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
