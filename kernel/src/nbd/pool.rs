//! Threads for requests that wait for a medium, so that their connections go on meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Threads at most: more wait for a medium than any medium has use for.
const THREADS: usize = 64;
/// After this long without work a thread ends.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// The threads, and what waits for them. Connections take turns, however much one of them has.
#[derive(Default)]
pub struct Pool {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    /// Jobs by connection; the first one is next.
    waiting: VecDeque<(u64, VecDeque<Job>)>,
    threads: usize,
    idle: usize,
    /// Jobs that idle threads were woken for and have not taken yet.
    promised: usize,
}

impl Pool {
    /// Have a job done for a connection. Jobs of one connection may run at the same time.
    pub fn submit(self: &Arc<Pool>, connection: u64, job: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        match state.waiting.iter_mut().find(|(id, _)| *id == connection) {
            Some((_, jobs)) => jobs.push_back(Box::new(job)),
            None => state.waiting.push_back((connection, VecDeque::from([Box::new(job) as Job]))),
        }
        if state.idle > state.promised {
            state.promised += 1;
            self.told.notify_one();
        } else if state.threads < THREADS {
            let pool = self.clone();
            let thread = std::thread::Builder::new().name("cowshed-nbd-io".into());
            // Where no thread is to be had, those that are there do it, or (the first one) the caller.
            if thread.spawn(move || pool.work()).is_ok() {
                state.threads += 1;
            } else if state.threads == 0 {
                drop(state);
                self.drain();
            }
        }
    }

    /// Do all that waits, here.
    fn drain(&self) {
        loop {
            // The lock is not held while the job runs.
            let job = self.state.lock().next();
            match job {
                Some(job) => job(),
                None => return,
            }
        }
    }

    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.next() {
                drop(state);
                job();
                state = self.state.lock();
                continue;
            }
            state.idle += 1;
            let late = self.told.wait_for(&mut state, IDLE).timed_out();
            state.idle -= 1;
            state.promised = state.promised.saturating_sub(1);
            if late && state.waiting.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

impl State {
    fn next(&mut self) -> Option<Job> {
        let (connection, mut jobs) = self.waiting.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.waiting.push_back((connection, jobs));
        }
        job
    }
}
