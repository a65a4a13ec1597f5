//! A stack of its own for the polls of a future, so that code beneath a poll that knows nothing of
//! futures can stop in the middle and be gone on with at the next poll.
//!
//! What stops, and why, is not known here. A poll runs on a stack of the thread's pool and gives it
//! back at its end; one that stopped keeps its stack until it is gone on with. A future that is
//! dropped in between is gone on with once, told that it was given up: so it ends in its own order,
//! and only if it stops again is its stack unwound.
#![expect(unsafe_code, reason = "the other stack holds pointers to the future and to itself")]

use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::ptr::NonNull;
use std::ptr::null;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use corosensei::Coroutine;
use corosensei::CoroutineResult;
use corosensei::Yielder;
use corosensei::stack::DefaultStack;

use crate::base::bounds::gate::FIBRE_STACK;
use crate::base::bounds::gate::FIBRES_KEPT;

/// How what stopped is gone on with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resumed {
    /// By a poll.
    Polled,
    /// Its future is being dropped.
    GivenUp,
}

type Stop = Yielder<Resumed, ()>;

thread_local! {
    /// The fibre that runs on this thread; null while none does.
    static RUNNING: Cell<*const Stop> = const { Cell::new(null()) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// Whether the calling code runs on a fibre, so that it can [`stop`].
pub fn can_stop() -> bool {
    RUNNING.try_with(|running| !running.get().is_null()).unwrap_or(false)
}

/// Stops the poll in which this is called until the next one; `None` at once where there is no
/// fibre. To be called with nothing borrowed that others need meanwhile.
pub fn stop() -> Option<Resumed> {
    let running = RUNNING.try_with(|running| running.replace(null())).ok()?;
    // SAFETY: it is null, or was stored by the fibre that runs now, on whose stack it lies.
    let fibre = unsafe { running.as_ref() }?;
    let resumed = fibre.suspend(());
    // Another may have run in between.
    RUNNING.set(running);
    Some(resumed)
}

/// A poll that stopped, on its stack.
type Stopped<T> = Coroutine<Resumed, (), Poll<T>>;

/// A future whose polls run on fibres.
pub struct OnFibre<F: Future> {
    // Before the future, to which it points: dropped first.
    stopped: Option<Stopped<F::Output>>,
    future: F,
    /// Polls that stopped point at the future.
    _pinned: PhantomPinned,
}

impl<F: Future> std::fmt::Debug for OnFibre<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnFibre").field("stopped", &self.stopped.is_some()).finish_non_exhaustive()
    }
}

impl<F: Future + 'static> OnFibre<F>
where
    F::Output: 'static,
{
    /// Polls `future` on fibres from now on.
    pub const fn new(future: F) -> Self {
        Self { stopped: None, future, _pinned: PhantomPinned }
    }
}

impl<F: Future + 'static> Future for OnFibre<F>
where
    F::Output: 'static,
{
    type Output = F::Output;

    /// Where the poll stopped, the task is woken at once: it is polled again after all others that
    /// are ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        // A fibre within a fibre would stop the inner one only.
        let stack = if can_stop() { None } else { this.stack() };
        let fibre = match (this.stopped.take(), stack) {
            (Some(stopped), _) => stopped,
            (None, Some(stack)) => begin(NonNull::from(&mut this.future), cx.waker(), stack),
            (None, None) => {
                // SAFETY: the future is part of what is pinned, and not moved.
                let future = unsafe { Pin::new_unchecked(&mut this.future) };
                return future.poll(cx);
            }
        };
        match run(fibre, Resumed::Polled) {
            Ok(polled) => polled,
            Err(stopped) => {
                this.stopped = Some(stopped);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl<F: Future> OnFibre<F> {
    /// One of the pool or a new one; `None` when memory is short, or none is needed.
    fn stack(&self) -> Option<DefaultStack> {
        if self.stopped.is_some() {
            return None;
        }
        let kept = STACKS.try_with(|stacks| stacks.borrow_mut().pop()).ok()?;
        kept.or_else(|| DefaultStack::new(FIBRE_STACK).ok())
    }
}

impl<F: Future> Drop for OnFibre<F> {
    fn drop(&mut self) {
        if let Some(stopped) = self.stopped.take() {
            // What stops again is unwound when this is dropped.
            let _given_up = run(stopped, Resumed::GivenUp);
        }
    }
}

/// A fibre that will poll `future` once.
fn begin<F: Future + 'static>(
    mut future: NonNull<F>,
    waker: &Waker,
    stack: DefaultStack,
) -> Stopped<F::Output>
where
    F::Output: 'static,
{
    let waker = waker.clone();
    Coroutine::with_stack(stack, move |fibre: &Stop, _: Resumed| {
        RUNNING.set(fibre);
        // SAFETY: the fibre is run by `OnFibre` only, which is pinned, borrowed for it or being
        // dropped, and drops the fibre before the future.
        let future = unsafe { future.as_mut() };
        // SAFETY: as above: pinned until it is dropped.
        let future = unsafe { Pin::new_unchecked(future) };
        future.poll(&mut Context::from_waker(&waker))
    })
}

/// Runs a fibre until its end, or until it stops.
fn run<T>(mut fibre: Stopped<T>, resumed: Resumed) -> Result<Poll<T>, Stopped<T>> {
    /// However the fibre ends, none runs then.
    struct Left;
    impl Drop for Left {
        fn drop(&mut self) {
            let _at_the_end_of_the_thread = RUNNING.try_with(|running| running.set(null()));
        }
    }
    let left = Left;
    let result = fibre.resume(resumed);
    drop(left);
    match result {
        CoroutineResult::Yield(()) => Err(fibre),
        CoroutineResult::Return(polled) => {
            let stack = fibre.into_stack();
            let _at_the_end_of_the_thread = STACKS.try_with(|stacks| {
                let mut stacks = stacks.borrow_mut();
                if stacks.len() < FIBRES_KEPT {
                    stacks.push(stack);
                }
            });
            Ok(polled)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;

    type Heard = Rc<RefCell<Vec<&'static str>>>;

    /// Says `name`, stops, and says how it was gone on with.
    fn stopping(name: &'static str, heard: &Heard) -> impl Future<Output = usize> + use<> {
        let heard = Rc::clone(heard);
        poll_fn(move |_| {
            heard.borrow_mut().push(name);
            let way = match stop() {
                None => "not on a fibre",
                Some(Resumed::Polled) => "polled",
                Some(Resumed::GivenUp) => "given up",
            };
            heard.borrow_mut().push(way);
            Poll::Ready(name.len())
        })
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn polls_stop_and_go_on_each_on_its_own_stack() {
        let heard = Heard::default();
        let mut one = Box::pin(OnFibre::new(stopping("one", &heard)));
        let mut another = Box::pin(OnFibre::new(stopping("another", &heard)));
        assert!(poll(one.as_mut()).is_pending());
        assert!(poll(another.as_mut()).is_pending());
        assert!(!can_stop() && stop().is_none());
        assert_eq!(poll(one.as_mut()), Poll::Ready(3));
        assert!(!can_stop());
        assert_eq!(poll(another.as_mut()), Poll::Ready(7));
        assert_eq!(*heard.borrow(), ["one", "another", "polled", "polled"]);
        assert_eq!(STACKS.with(|stacks| stacks.borrow().len()), 2);
    }

    #[test]
    fn without_a_fibre_nothing_stops() {
        let heard = Heard::default();
        assert_eq!(poll(std::pin::pin!(stopping("plain", &heard))), Poll::Ready(5));
        assert_eq!(*heard.borrow(), ["plain", "not on a fibre"]);
    }

    #[test]
    fn a_future_on_a_fibre_within_another_stops_that_one() {
        let heard = Heard::default();
        let inner = OnFibre::new(stopping("inner", &heard));
        let mut outer = Box::pin(OnFibre::new(inner));
        assert!(poll(outer.as_mut()).is_pending());
        assert_eq!(poll(outer.as_mut()), Poll::Ready(5));
        assert_eq!(*heard.borrow(), ["inner", "polled"]);
    }

    #[test]
    fn what_is_dropped_while_it_stands_is_given_up_and_its_values_are_dropped() {
        let heard = Heard::default();
        let mut one = Box::pin(OnFibre::new(stopping("one", &heard)));
        assert!(poll(one.as_mut()).is_pending());
        drop(one);
        assert_eq!(*heard.borrow(), ["one", "given up"]);
        // One that does not heed it.
        let witness = Rc::new(());
        let held = Rc::clone(&witness);
        let mut deaf = Box::pin(OnFibre::new(poll_fn(move |_| {
            let _on_the_stack = Rc::clone(&held);
            loop {
                stop();
            }
            #[expect(unreachable_code, reason = "the type of the output")]
            Poll::Ready(())
        })));
        assert!(poll(deaf.as_mut()).is_pending());
        assert_eq!(Rc::strong_count(&witness), 3);
        drop(deaf);
        assert_eq!(Rc::strong_count(&witness), 1);
        assert!(!can_stop());
    }

    #[test]
    fn a_panic_on_a_fibre_is_one_of_the_poll() {
        let mut panicking = Box::pin(OnFibre::new(poll_fn(|_| -> Poll<()> {
            stop();
            panic!("on a fibre")
        })));
        assert!(poll(panicking.as_mut()).is_pending());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            poll(panicking.as_mut()).is_pending()
        }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"on a fibre"));
        assert!(!can_stop());
    }
}
