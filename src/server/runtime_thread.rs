//! A thread with a runtime of its own, without which the process is of no use.

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use rookery_ops::critical::CriticalTasks;
use rookery_server::wakeups;

/// Starts a thread that runs `main` until `stop`, and whatever else is spawned on its runtime
/// meanwhile. Where `main` panics or ends before, `critical` learns of it.
///
/// # Errors
/// When the system gives no thread or no runtime.
pub fn spawn(
    name: String,
    main: impl Future<Output = ()> + Send + 'static,
    stop: CancellationToken,
    critical: CriticalTasks,
) -> anyhow::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .with_context(|| format!("the runtime of {name} cannot start"))?;
    let handle = runtime.handle().clone();
    let main = {
        let name = name.clone();
        async move {
            let main = async {
                let _ = stop.run_until_cancelled(main).await;
            };
            critical.watch(name, &stop, main).await;
        }
    };
    std::thread::Builder::new()
        .name(name.replace(' ', "-"))
        .spawn(move || {
            runtime.block_on(async {
                // A task of the runtime is woken without a system call by the thread itself, unlike
                // what the runtime blocks on.
                let exchange = tokio::spawn(wakeups::exchange());
                // A panic is reported where it is caught.
                let _ = tokio::spawn(main).await;
                exchange.abort();
            });
        })
        .with_context(|| format!("the thread of {name} cannot start"))?;
    Ok(handle)
}
