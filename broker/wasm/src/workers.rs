//! Threads for calls that may wait for a network, and the way of an answer to who awaits it.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;

use parking_lot::Mutex;

/// Jobs that wait for a thread, for each thread. Beyond them a job is refused.
const WAITING_PER_THREAD: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// The threads of one plugin; they end when it is gone and their jobs are done.
pub(crate) struct Workers {
    jobs: SyncSender<Job>,
}

/// All threads are busy, and as many jobs wait for them as may.
#[derive(Debug)]
pub(crate) struct Busy;

impl Workers {
    pub(crate) fn start(plugin: &str, threads: usize) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(threads.saturating_mul(WAITING_PER_THREAD));
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads {
            let waiting = waiting.clone();
            // The system shows 15 bytes of a thread's name.
            let name = format!("plugin {plugin}");
            thread::Builder::new().name(name).spawn(move || serve(&waiting))?;
        }
        Ok(Self { jobs })
    }

    /// Calls `job` on one of the threads, unless its answer is no longer awaited by then.
    pub(crate) fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> Result<Answer<R>, Busy> {
        let place = Arc::new(Mutex::new(Place { answer: None, waker: None }));
        let promise = Promise(Arc::downgrade(&place));
        let job = Box::new(move || {
            if promise.0.strong_count() > 0 {
                promise.keep(job());
            }
        });
        match self.jobs.try_send(job) {
            Ok(()) => Ok(Answer(place)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }
}

fn serve(waiting: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while there is nothing to do, and given on with the job.
        let job = waiting.lock().recv();
        let Ok(job) = job else { return };
        // The job's promise tells who waits for it; the thread is there for the next.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// What a job will have answered; none where it panicked.
pub(crate) struct Answer<R>(Arc<Mutex<Place<R>>>);

struct Place<R> {
    answer: Option<Option<R>>,
    waker: Option<Waker>,
}

impl<R> Future for Answer<R> {
    type Output = Option<R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut place = self.0.lock();
        match place.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                place.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The duty to answer; dropped without one, it answers none.
struct Promise<R>(Weak<Mutex<Place<R>>>);

impl<R> Promise<R> {
    fn keep(&self, answer: R) {
        self.fill(Some(answer));
    }

    fn fill(&self, answer: Option<R>) {
        let Some(place) = self.0.upgrade() else { return };
        let mut place = place.lock();
        if place.answer.is_none() {
            place.answer = Some(answer);
        }
        let waker = place.waker.take();
        drop(place);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<R> Drop for Promise<R> {
    fn drop(&mut self) {
        self.fill(None);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc::channel;
    use std::task::Wake;

    use super::*;

    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[test]
    fn a_panic_is_no_answer_and_the_thread_goes_on() {
        let workers = Workers::start("test", 1).unwrap();
        assert_eq!(wait(workers.call(|| 1).unwrap()), Some(1));
        let panicked: Option<u8> = wait(workers.call(|| panic!("as the test wants it")).unwrap());
        assert_eq!(panicked, None);
        assert_eq!(wait(workers.call(|| 2).unwrap()), Some(2));
    }

    #[test]
    fn jobs_beyond_the_bound_are_refused_and_abandoned_ones_are_not_done() {
        let workers = Workers::start("test", 1).unwrap();
        let (started, has_started) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let first = workers.call(move || {
            started.send(()).unwrap();
            may_go_on.recv().unwrap();
        });
        has_started.recv().unwrap();
        let (done, was_done) = channel();
        let waiting: Vec<_> = (0..WAITING_PER_THREAD)
            .map(|number| {
                let done = done.clone();
                workers.call(move || done.send(number).unwrap()).unwrap()
            })
            .collect();
        drop(done);
        assert!(workers.call(|| ()).is_err());
        drop(waiting);
        go_on.send(()).unwrap();
        assert_eq!(wait(first.unwrap()), Some(()));
        assert_eq!(was_done.iter().count(), 0);
    }
}
