//! The [`ShardQueue`]: the way to a shard. On the shard's own thread, a command that nothing waits
//! before is carried out at once.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::BACKLOG;
use super::command::ShardCommand;
use super::state::ShardState;
use crate::message::id_source::next_number;
use crate::wakeups;

/// Deliveries that a session makes itself, at the end of its turn. More are left to the shard, which
/// joins them with what other sessions publish.
const OWN_DELIVERIES: usize = 64;

thread_local! {
    /// The key of the shard that this thread belongs to.
    static SHARD: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The way to a shard. Cloning is shallow.
#[derive(Clone)]
pub struct ShardQueue {
    commands: mpsc::Sender<ShardCommand>,
    /// `None`: whoever reads the queue is no [`Shard`](super::Shard).
    local: Option<LocalShard>,
}

/// A place for one command.
pub enum ShardPermit<'a> {
    /// In the queue.
    Queued(mpsc::Permit<'a, ShardCommand>),
    /// None is needed: the command is carried out at once. Not kept beyond a step of the session.
    AtOnce(&'a LocalShard),
}

impl ShardPermit<'_> {
    /// Uses the place.
    pub fn send(self, command: ShardCommand) {
        match self {
            ShardPermit::Queued(permit) => {
                permit.send(command);
                wakeups::handed_over();
            }
            ShardPermit::AtOnce(local) => local.handle(local.state.lock(), command),
        }
    }
}

impl ShardQueue {
    pub(super) fn new(commands: mpsc::Sender<ShardCommand>, local: LocalShard) -> Self {
        ShardQueue { commands, local: Some(local) }
    }

    /// Commands that wait.
    pub fn waiting(&self) -> usize {
        self.commands.max_capacity() - self.commands.capacity()
    }

    /// Sends a command without waiting.
    ///
    /// # Errors
    /// When the queue is full, or the shard has ended.
    pub fn try_send(&self, command: ShardCommand) -> Result<(), TrySendError<ShardCommand>> {
        match self.at_once() {
            Some((local, state)) => {
                local.handle(state, command);
                Ok(())
            }
            None => {
                self.commands.try_send(command)?;
                wakeups::handed_over();
                Ok(())
            }
        }
    }

    /// Sends a command; waits while the queue is full. A shard that has ended drops it.
    pub async fn send(&self, command: ShardCommand) {
        let _ = self.commands.send(command).await;
    }

    /// A place for a command, without waiting.
    ///
    /// # Errors
    /// When the queue is full, or the shard has ended.
    pub fn try_reserve(&self) -> Result<ShardPermit<'_>, TrySendError<()>> {
        match self.at_once() {
            Some((local, _)) => Ok(ShardPermit::AtOnce(local)),
            None => self.commands.try_reserve().map(ShardPermit::Queued),
        }
    }

    /// A place in the queue; waits while it is full. `None`: the shard has ended.
    pub async fn reserve(&self) -> Option<ShardPermit<'_>> {
        self.commands.reserve().await.ok().map(ShardPermit::Queued)
    }

    /// The turn of a session of the shard ends: delivers what it published to few members.
    pub fn end_turn(&self) {
        if let Some(local) = self.on_own_thread()
            && let Some(mut state) = local.state.try_lock()
            && state.collected_deliveries().is_some_and(|n| n <= OWN_DELIVERIES)
        {
            let _guard = PanicGuard(local);
            state.deliver();
        }
    }

    fn on_own_thread(&self) -> Option<&LocalShard> {
        self.local.as_ref().filter(|local| SHARD.get() == Some(local.key))
    }

    /// The shard, where nothing waits before a command of this thread.
    fn at_once(&self) -> Option<(&LocalShard, MutexGuard<'_, ShardState>)> {
        let local = self.on_own_thread()?;
        // Taken where a command asks for another one: that one waits.
        let state = local.state.try_lock()?;
        (self.waiting() == 0 && state.backlog() < BACKLOG).then_some((local, state))
    }
}

impl From<mpsc::Sender<ShardCommand>> for ShardQueue {
    /// A queue that is not read by a shard, but by a test or something that stands before a shard.
    fn from(commands: mpsc::Sender<ShardCommand>) -> Self {
        ShardQueue { commands, local: None }
    }
}

/// A shard as its own thread reaches it. Cloning is shallow.
#[derive(Clone)]
pub struct LocalShard {
    /// Tells it from the shards of other threads.
    key: u64,
    /// Locked by the shard's own thread only.
    state: Arc<Mutex<ShardState>>,
    /// Something happened outside the shard's own turns: a publication, a join, or a panic.
    wake: Arc<Notify>,
    /// A command panicked in the turn of a session.
    panicked: Arc<AtomicBool>,
}

/// A panic outside the shard's own turns reaches the shard, so that it ends like one inside.
struct PanicGuard<'a>(&'a LocalShard);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::Relaxed);
            self.0.wake.notify_one();
        }
    }
}

impl LocalShard {
    pub(super) fn new(state: ShardState) -> Self {
        LocalShard {
            key: next_number(),
            state: Arc::new(Mutex::new(state)),
            wake: Arc::default(),
            panicked: Arc::default(),
        }
    }

    /// The calling thread is the shard's own.
    pub(super) fn set_thread(&self) {
        SHARD.set(Some(self.key));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().is_idle()
    }

    pub(super) fn backlog(&self) -> usize {
        self.state.lock().backlog()
    }

    /// Resolves when there is something to do that did not come through the queue.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The shard's turn: carries out commands, and delivers.
    ///
    /// # Panics
    /// When a command panicked in the turn of a session: the shard's state may be inconsistent.
    pub(super) fn work(&self, commands: impl Iterator<Item = ShardCommand>) {
        assert!(!self.panicked.load(Ordering::Relaxed), "a command of a session panicked");
        let mut state = self.state.lock();
        commands.for_each(|command| state.handle(command));
        state.carry_out_joins();
        // Whoever waits for the number of recipients does so no longer than needed.
        wakeups::flush();
        state.deliver();
    }

    fn handle(&self, mut state: MutexGuard<'_, ShardState>, command: ShardCommand) {
        let _guard = PanicGuard(self);
        let was_idle = state.is_idle();
        state.handle(command);
        if was_idle && !state.is_idle() {
            self.wake.notify_one();
        }
    }
}
