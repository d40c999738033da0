//! Several steps of work in one parallel region.
//!
//! A region for each product would end with a thread waiting for the other's last task, and begin with waking it: on two
//! threads that costs a forward pass of one image 3 percent. Here a thread that finds nothing left of one step goes on to the
//! next whose input is complete.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

/// What a step needs of the phase before it.
#[derive(Clone, Copy)]
pub(super) enum After {
    /// All of its steps.
    All,
    /// The one of the same number.
    Same,
}

/// Phases that follow each other, each of one step or several that do not need each other.
#[derive(Default)]
pub(super) struct Schedule<'a> {
    steps: Vec<Step<'a>>,
    phases: Vec<Range<usize>>,
}

struct Step<'a> {
    tasks: usize,
    run: Box<dyn Fn(usize) + Sync + 'a>,
    /// The steps that must be complete first.
    after: Range<usize>,
    begun: AtomicUsize,
    done: AtomicUsize,
}

impl<'a> Schedule<'a> {
    /// Adds a phase of steps: how many tasks each has, and what runs a task, by its number.
    pub(super) fn phase<F: Fn(usize) + Sync + 'a>(
        &mut self,
        after: After,
        steps: impl IntoIterator<Item = (usize, F)>,
    ) {
        let before = self.phases.last().cloned().unwrap_or(0..0);
        let first = self.steps.len();
        for (number, (tasks, run)) in steps.into_iter().enumerate() {
            let after = match after {
                After::All => before.clone(),
                After::Same => before.start + number..before.start + number + 1,
            };
            let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
            self.steps.push(Step { tasks, run: Box::new(run), after, begun, done });
        }
        debug_assert!(self.steps[first..].iter().all(|step| step.after.end <= first));
        self.phases.push(first..self.steps.len());
    }

    /// Runs all tasks on the threads of rayon's current pool. A task must not wait for that pool itself.
    pub(super) fn run(self) {
        let failed = AtomicBool::new(false);
        rayon::scope(|scope| {
            for thread in 1..rayon::current_num_threads() {
                let (schedule, failed) = (&self, &failed);
                scope.spawn(move |_| schedule.work(thread, failed));
            }
            self.work(0, &failed);
        });
    }

    /// One thread's part: all tasks that nobody has begun, until there are none.
    fn work(&self, thread: usize, failed: &AtomicBool) {
        /// Looks for work between which a thread does not let others have its core: a task takes no longer than some hundred
        /// microseconds.
        const PATIENCE: usize = 2000;
        let on_panic = OnPanic(failed);
        let mut looks = 0;
        while !failed.load(Ordering::Relaxed) {
            match self.next(thread) {
                Next::Task(step, task) => {
                    (step.run)(task);
                    step.done.fetch_add(1, Ordering::Release);
                    looks = 0;
                }
                Next::Later if looks < PATIENCE => {
                    std::hint::spin_loop();
                    looks += 1;
                }
                Next::Later => thread::yield_now(),
                Next::Nothing => break,
            }
        }
        drop(on_panic);
    }

    /// The first task that can be done. Threads begin with different steps of a phase, so that each keeps to the rows that are
    /// in its caches while there are enough of them.
    fn next(&self, thread: usize) -> Next<'_, 'a> {
        for phase in &self.phases {
            for number in 0..phase.len() {
                let step = &self.steps[phase.start + (number + thread) % phase.len()];
                if step.begun.load(Ordering::Relaxed) >= step.tasks {
                    continue;
                }
                if !self.steps[step.after.clone()].iter().all(Step::is_complete) {
                    continue;
                }
                let task = step.begun.fetch_add(1, Ordering::Relaxed);
                if task < step.tasks {
                    return Next::Task(step, task);
                }
            }
        }
        if self.steps.iter().all(Step::is_complete) { Next::Nothing } else { Next::Later }
    }
}

enum Next<'s, 'a> {
    Task(&'s Step<'a>, usize),
    /// Nothing that can be begun, as long as others are at work. A thread that went to sleep meanwhile would take some 50 us to wake
    /// for the next schedule.
    Later,
    Nothing,
}

impl Step<'_> {
    fn is_complete(&self) -> bool {
        self.done.load(Ordering::Acquire) == self.tasks
    }
}

/// Tells the other threads, which would wait for ever, when a task panics.
struct OnPanic<'a>(&'a AtomicBool);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_threads(threads: usize, run: impl FnOnce() + Send) {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run);
    }

    #[test]
    fn every_task_runs_once_and_after_what_it_needs() {
        for threads in [1, 2, 7] {
            for _ in 0..50 {
                let done: Vec<AtomicUsize> = (0..3 * 4).map(|_| AtomicUsize::new(0)).collect();
                let complete = |step: usize| done[step].load(Ordering::SeqCst) == 5;
                on_threads(threads, || {
                    let mut schedule = Schedule::default();
                    let step = |step: usize, needs: Vec<usize>| {
                        let (done, complete) = (&done, &complete);
                        (5, move |_: usize| {
                            assert!(needs.iter().all(|&step| complete(step)));
                            done[step].fetch_add(1, Ordering::SeqCst);
                        })
                    };
                    schedule.phase(After::All, (0..4).map(|i| step(i, vec![])));
                    schedule.phase(After::Same, (4..8).map(|i| step(i, vec![i - 4])));
                    schedule.phase(After::All, (8..12).map(|i| step(i, vec![4, 5, 6, 7])));
                    schedule.run();
                });
                assert!((0..12).all(complete));
            }
        }
    }

    #[test]
    #[should_panic(expected = "a task fails")]
    fn a_panic_ends_the_wait_of_the_others() {
        on_threads(3, || {
            let mut schedule = Schedule::default();
            schedule.phase(After::All, [(4, |task| assert!(task != 2, "a task fails"))]);
            schedule.phase(After::All, [(4, |_| ())]);
            schedule.run();
        });
    }
}
