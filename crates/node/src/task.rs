//! The engine thread: heavy jobs of all environments, one after the other, each settling a promise.

use crate::allocator;
use crate::error::{Failure, Outcome, ABORTED, INTERNAL, PANIC};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::CancelToken;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::OnceLock;

type Job = Box<dyn FnOnce() + Send>;

thread_local! {
    /// Tokens of this environment's jobs that are queued or running, so that its end stops them.
    static LIVE: RefCell<HashMap<u64, CancelToken>> = RefCell::new(HashMap::new());
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// A flag that running work polls; `cancel()` makes the promise reject with code `ABORT_ERR`.
#[napi]
pub struct NativeCancelToken {
    pub(crate) token: CancelToken,
}

#[napi]
impl NativeCancelToken {
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Self {
        Self { token: CancelToken::new() }
    }

    #[napi(catch_unwind)]
    pub fn cancel(&self) {
        self.token.cancel();
    }
}

/// Runs `work` on the engine thread inside our pool and `finish` on the JavaScript thread; returns the promise of its value.
pub fn spawn<'env, T, V>(
    env: &'env Env,
    token: &CancelToken,
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
    finish: impl FnOnce(&Env, T) -> Outcome<V> + Send + 'static,
) -> Outcome<Object<'env>>
where
    T: Send + 'static,
    V: ToNapiValue + 'static,
{
    type Resolver<V> = Box<dyn FnOnce(Env) -> napi::Result<V>>;
    let id = register(env, token)?;
    let (deferred, promise) = env.create_deferred::<V, Resolver<V>>()?;
    let token = token.clone();
    let job = move || {
        let outcome = if token.is_cancelled() { Err(Failure::new(ABORTED, "The operation was aborted")) } else { run(work) };
        deferred.resolve(Box::new(move |env| {
            LIVE.with_borrow_mut(|live| live.remove(&id));
            let finished = catch_unwind(AssertUnwindSafe(|| outcome.and_then(|value| finish(&env, value))));
            finished.unwrap_or_else(|panic| Err(from_panic(panic.as_ref()))).map_err(|failure| failure.into_js(&env))
        }));
    };
    let gone = |_| Failure::new(INTERNAL, "Expected a running engine thread but it has ended");
    engine()?.send(Box::new(job)).map_err(gone)?;
    Ok(promise)
}

fn run<T: Send>(work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(|| nd_kernels::pool::install(work))).unwrap_or_else(|panic| Err(from_panic(panic.as_ref())))
}

fn from_panic(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Failure::new(PANIC, format!("An internal error stopped the work: {}", text.unwrap_or("unknown")))
}

fn engine() -> Outcome<&'static Sender<Job>> {
    static ENGINE: OnceLock<std::result::Result<Sender<Job>, String>> = OnceLock::new();
    let started = ENGINE.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        let body = move || {
            while let Some(job) = next_job(&jobs) {
                // A panic outside the guarded work would end the thread and every later job with it.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        };
        std::thread::Builder::new().name("nd-engine".into()).spawn(body).map(|_| sender).map_err(|error| error.to_string())
    });
    started.as_ref().map_err(|error| Failure::new(INTERNAL, format!("Expected a new thread but the system refused: {error}")))
}

/// Waits for a job; after a while without any, memory that work left behind goes back to the system. None when there will be no more jobs.
fn next_job(jobs: &Receiver<Job>) -> Option<Job> {
    match jobs.recv_timeout(allocator::IDLE) {
        Ok(job) => Some(job),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            allocator::release_pages();
            jobs.recv().ok()
        }
    }
}

/// Remembers the token of a job; on first use makes the end of the environment cancel all of them.
fn register(env: &Env, token: &CancelToken) -> Outcome<u64> {
    let id = NEXT.get();
    NEXT.set(id + 1);
    if id == 0 {
        env.add_env_cleanup_hook((), |()| {
            NEXT.set(0);
            LIVE.with_borrow_mut(|live| live.drain().for_each(|(_, token)| token.cancel()));
        })?;
    }
    LIVE.with_borrow_mut(|live| live.insert(id, token.clone()));
    Ok(id)
}

/// Panics come back to JavaScript as errors; the standard hook would also print them.
pub fn silence_panics() {
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
}

/// Does something on the engine thread, after the jobs before it; what it holds is dropped right here if there is no such thread any more.
pub fn on_engine(work: impl FnOnce() + Send + 'static) {
    if let Ok(engine) = engine() {
        let _ = engine.send(Box::new(work));
    }
}
