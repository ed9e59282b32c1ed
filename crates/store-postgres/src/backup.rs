//! Copies of a whole database are the server's business: here is only how to ask for one.

use std::path::{Path, PathBuf};

use kanvoy_store::StoreError;
use sqlx::postgres::PgConnectOptions;

use crate::open::{OpenError, address};

/// The command that copies the database at this address to the file `to`; the password is left to `~/.pgpass` or
/// `PGPASSWORD`.
pub fn dump_command(url: &str, to: &Path) -> Result<String, OpenError> {
    Ok(command(&address(url)?, to))
}

pub(crate) fn refused(options: &PgConnectOptions, to: &Path) -> Result<PathBuf, StoreError> {
    Err(StoreError::Unavailable(format!("a Postgres database is copied by its own tools: {}", command(options, to))))
}

fn command(options: &PgConnectOptions, to: &Path) -> String {
    let host =
        options.get_socket().map_or_else(|| options.get_host().to_owned(), |folder| folder.display().to_string());
    let database = options.get_database().unwrap_or(options.get_username());
    let words = [
        ("--host=", host),
        ("--port=", options.get_port().to_string()),
        ("--username=", options.get_username().to_owned()),
        ("--dbname=", database.to_owned()),
        ("--file=", to.display().to_string()),
    ];
    let words: Vec<String> = words.iter().map(|(name, value)| format!("{name}{}", quoted(value))).collect();
    format!("pg_dump --format=custom {}", words.join(" "))
}

/// As a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_typed_as_it_stands() {
        let made = |url, to| dump_command(url, Path::new(to)).expect("an address");
        assert_eq!(
            made("postgres://ada:secret@db.example:5433/kan?sslmode=require", "/var/backups/kan.dump"),
            "pg_dump --format=custom --host=db.example --port=5433 --username=ada --dbname=kan --file=/var/backups/kan.dump"
        );
        assert!(made("postgres://ada@localhost/kan", "it's here").ends_with(r"--file='it'\''s here'"));
        assert!(made("postgres://ada@localhost/kan?host=/run/pg", "a").contains("--host=/run/pg "));
        assert!(dump_command("sqlite:kanvoy.db", Path::new("a")).is_err());
    }
}
