//! Requests that wait for the device: as many as there is room for, in the order of their arrival.

use super::error::ApiError;
use super::job::{Event, Job};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub struct Queue {
    capacity: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<Job>,
    /// Why nothing is taken any more.
    closed: Option<ApiError>,
}

/// Why a job was not taken.
#[derive(Debug)]
pub enum Refused {
    Full,
    Closed(ApiError),
}

impl Queue {
    pub fn new(capacity: usize) -> Queue {
        Queue { capacity, state: Mutex::new(State { waiting: VecDeque::new(), closed: None }), changed: Condvar::new() }
    }

    /// Takes a job if there is room; those whose clients have left make room.
    pub fn push(&self, job: Job) -> Result<(), Refused> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Err(Refused::Closed(reason.clone()));
        }
        if state.waiting.len() >= self.capacity {
            state.waiting.retain(|job| !job.is_abandoned());
        }
        if state.waiting.len() >= self.capacity {
            return Err(Refused::Full);
        }
        state.waiting.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next job; None once the queue is closed.
    pub fn pop(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed.is_some() {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes nothing any more, and tells all who wait why. The first reason stays.
    pub fn close(&self, reason: ApiError) {
        let mut state = self.lock();
        let reason = state.closed.get_or_insert(reason).clone();
        for job in state.waiting.drain(..) {
            job.send(Event::Failed(reason.clone()));
        }
        self.changed.notify_all();
    }

    /// Clients that wait.
    pub fn n_waiting(&self) -> usize {
        self.lock().waiting.iter().filter(|job| !job.is_abandoned()).count()
    }

    /// Nobody panics while holding the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Sampling;
    use crate::server::job::{Begin, Work};
    use axum::http::StatusCode;
    use std::time::Instant;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn job(n: u32) -> (Job, UnboundedReceiver<Event>) {
        let (events, receiver) = unbounded_channel();
        let work = Work {
            prompts: vec![],
            n,
            sampling: Sampling::default(),
            max_tokens: vec![],
            stop: vec![],
            ignore_eos: false,
            n_logprobs: None,
            begin: Begin::Fresh,
        };
        (Job { work, prompt_field: "prompt", events, arrived: Instant::now() }, receiver)
    }

    #[test]
    fn jobs_come_in_order_and_no_more_than_there_is_room_for() {
        let queue = Queue::new(2);
        let (jobs, _receivers): (Vec<_>, Vec<_>) = (0..3).map(job).unzip();
        let taken: Vec<bool> = jobs.into_iter().map(|it| queue.push(it).is_ok()).collect();
        assert_eq!(taken, [true, true, false]);
        assert_eq!([queue.pop().unwrap().work.n, queue.pop().unwrap().work.n], [0, 1]);
    }

    #[test]
    fn clients_that_left_make_room() {
        let queue = Queue::new(2);
        let (first, receiver) = job(0);
        let (second, _second) = job(1);
        queue.push(first).unwrap();
        queue.push(second).unwrap();
        drop(receiver);
        assert_eq!(queue.n_waiting(), 1);
        let (third, _third) = job(2);
        queue.push(third).unwrap();
        assert_eq!([queue.pop().unwrap().work.n, queue.pop().unwrap().work.n], [1, 2]);
    }

    #[test]
    fn a_closed_queue_tells_everybody_why() {
        let queue = Queue::new(2);
        let (waiting, mut receiver) = job(0);
        queue.push(waiting).unwrap();
        queue.close(ApiError::shutting_down());
        queue.close(ApiError::abandoned()); // the first reason stays
        let Ok(Event::Failed(error)) = receiver.try_recv() else { panic!("nothing was said") };
        assert_eq!(error.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(queue.pop().is_none());
        let Err(Refused::Closed(error)) = queue.push(job(1).0) else { panic!("it was taken") };
        assert_eq!(error, ApiError::shutting_down());
    }
}
