//! The admin UI: what it is made of, and the tasks that tell admins and follow their password.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use rookery_config::Config;
use rookery_config::files::read_password_hash;
use rookery_server::gateway::{self, Admin, Sessions};
use rookery_server::rooms::member::Dismissal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::file_watcher::FileWatcher;

/// The admin UI, where it is configured. Blocking I/O.
///
/// # Errors
/// When the file of the password's hash cannot be used.
pub fn new(config: &Config) -> anyhow::Result<Option<Admin>> {
    let Some(config) = &config.admin else { return Ok(None) };
    let hash = read_password_hash(&config.password_hash_file)
        .context("admin.passwordHashFile cannot be used")?;
    Ok(Some(Admin::new(config, hash)))
}

/// Admins are told of this instance, and their password is followed, until `stop`.
pub fn start(sessions: &Arc<Sessions>, tracker: &TaskTracker, stop: &CancellationToken) {
    let Some(admin) = &sessions.gateway().admin else { return };
    tracker.spawn(gateway::report_to_admins(sessions.clone(), stop.clone()));
    let file = admin.config.password_hash_file.clone();
    tracker.spawn(follow_password(file, sessions.clone(), stop.clone()));
}

/// Takes the hash in the file at `path` whenever it has changed, until `stop`. With another password,
/// all sessions of admins end and those that are connected are disconnected. While the file cannot be
/// used, the previous hash stays in use; that is logged once.
async fn follow_password(path: PathBuf, sessions: Arc<Sessions>, stop: CancellationToken) {
    let watched = path.clone();
    let mut watcher =
        FileWatcher::new(move || read_password_hash(&watched).map_err(|error| error.to_string()));
    let gateway = sessions.gateway().clone();
    let Some(admin) = &gateway.admin else { return };
    while let Some(reading) = stop.run_until_cancelled(watcher.changed()).await {
        match reading {
            Ok(hash) => {
                if admin.login.set_hash(hash) {
                    let disconnected = disconnect_all(&sessions, admin);
                    info!(file = %path.display(), disconnected, "reloaded the password of admins");
                }
            }
            Err(error) => warn!(
                file = %path.display(), error,
                "cannot reload the password of admins; the previous one stays in use"
            ),
        }
    }
}

/// Disconnects all admins of this instance; gives how many there were.
fn disconnect_all(sessions: &Sessions, admin: &Admin) -> usize {
    let admins = sessions.all().into_iter();
    let admins = admins.filter_map(|session| session.clients.get(&admin.namespace));
    admins.map(|client| client.member.dismiss(Dismissal::Namespace)).count()
}
