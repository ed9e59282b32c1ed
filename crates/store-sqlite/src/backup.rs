//! A whole, consistent copy in a new file, while others read and write.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kanvoy_store::StoreError;
use sqlx::{Connection, SqliteConnection};

use crate::error::broken;
use crate::open::read_only;

/// Copies the database in the file `from` to the new file `to`. A daemon may be at work on it.
pub async fn backup(from: &Path, to: &Path) -> Result<PathBuf, StoreError> {
    let mut connection = read_only(from).await?;
    let copied = copy(&mut connection, to).await;
    connection.close().await.ok();
    copied.map(|()| to.to_owned())
}

/// The file appears under its name only when it is whole and on the disk.
pub(crate) async fn copy(connection: &mut SqliteConnection, to: &Path) -> Result<(), StoreError> {
    let in_the_way = || StoreError::Unavailable(format!("{} exists already", to.display()));
    if to.try_exists().map_err(|error| failed(to, &error))? {
        return Err(in_the_way());
    }
    let part = part_of(to).ok_or_else(|| StoreError::Unavailable(format!("{} is no file name", to.display())))?;
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&part, &error)),
        _ => {}
    }
    let written = write(connection, &part).await;
    let named = written.and_then(|()| {
        // A link, not a rename: it never replaces a file that has come meanwhile.
        std::fs::hard_link(&part, to).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => in_the_way(),
            _ => failed(to, &error),
        })
    });
    // What is left of a failed copy is of no use, and would take the room that was missing.
    std::fs::remove_file(&part).ok();
    named?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, &error))
}

async fn write(connection: &mut SqliteConnection, part: &Path) -> Result<(), StoreError> {
    let name = part.to_str().ok_or_else(|| StoreError::Unavailable(format!("{} is not text", part.display())))?;
    // SQLite fills an empty file that is there: this one is ours alone from its first byte.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part);
    let file = file.map_err(|error| failed(part, &error))?;
    sqlx::query("VACUUM INTO ?").bind(name).execute(connection).await.map_err(|error| broken(&error))?;
    file.sync_all().map_err(|error| failed(part, &error))
}

fn part_of(to: &Path) -> Option<PathBuf> {
    let mut name = to.file_name()?.to_owned();
    name.push(".part");
    Some(to.with_file_name(name))
}

fn failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}
