//! Where the store is, as it is written in a configuration. The password in it is never shown.

use std::{
    fmt::{self, Debug, Display, Formatter},
    path::PathBuf,
    str::FromStr,
};

use url::Url;

/// The options that sqlx reads, beside `options[…]`. One that it does not know it writes into the log with its value,
/// which may be a password, and goes on without: a mistake in `sslmode` is not one to go on with.
const OPTIONS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// The URL of a database: `postgres://USER:PASSWORD@HOST:PORT/NAME`, or `sqlite:PATH`.
///
/// It is shown without user, password and options.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub(crate) Place);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Sqlite(PathBuf),
    Postgres(Url),
}

/// Why a text is not the URL of a database. Its words have nothing of the text that may be a password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseUrlError {
    /// It is of no database that KEA knows.
    #[error("it begins with none of `postgres://`, `postgresql://` and `sqlite:`")]
    Scheme,
    /// There is no path after `sqlite:`.
    #[error("a path is missing after `sqlite:`")]
    NoPath,
    /// It is no URL.
    #[error("it is no URL: {0}")]
    NoUrl(#[from] url::ParseError),
    /// What belongs to the password is read as something else.
    #[error("`/`, `?`, `#`, `@` and `%` of a user or a password are written as `%2F`, `%3F`, `%23`, `%40` and `%25`")]
    NotEscaped,
    /// An option that is not known.
    #[error("`{0}` is not an option of PostgreSQL's URLs")]
    UnknownOption(String),
    /// An option that does not have a value that it can have.
    #[error("{0}")]
    Option(String),
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(DatabaseUrlError::NoPath) } else { Ok(Self(Place::Sqlite(path.into()))) };
        }
        if ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return postgres(text).map(|url| Self(Place::Postgres(url)));
        }
        Err(DatabaseUrlError::Scheme)
    }
}

fn postgres(text: &str) -> Result<Url, DatabaseUrlError> {
    let url = Url::parse(text)?;
    let after_the_host = [Some(url.path()), url.query()];
    if url.fragment().is_some() || after_the_host.into_iter().flatten().any(|part| part.contains('@')) {
        return Err(DatabaseUrlError::NotEscaped);
    }
    let mut names = url.query_pairs().map(|(name, _)| name);
    if let Some(unknown) = names.find(|name| !OPTIONS.contains(&name.as_ref()) && !name.starts_with("options[")) {
        return Err(DatabaseUrlError::UnknownOption(unknown.into()));
    }
    crate::postgres::options(&url).map_err(|error| DatabaseUrlError::Option(error.to_string()))?;
    Ok(url)
}

impl Display for DatabaseUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Place::Postgres(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
            }
        }
    }
}

impl Debug for DatabaseUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<DatabaseUrl>().unwrap_err().to_string()
    }

    #[test]
    fn a_url_is_shown_without_what_is_secret() {
        for (text, shown) in [
            ("postgres://ada:hunter2@db.example:5433/kea?sslmode=require", "postgres://db.example:5433/kea"),
            ("postgresql://ada@db.example/kea", "postgresql://db.example/kea"),
            ("postgres:///kea?host=/run/postgresql&password=hunter2", "postgres:///kea"),
            ("sqlite:data/kea.db", "sqlite:data/kea.db"),
            ("sqlite:///var/lib/kea.db", "sqlite:/var/lib/kea.db"),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_string(), shown.to_string()));
        }
    }

    #[test]
    fn a_password_that_is_not_escaped_is_refused_and_not_shown() {
        for password in ["12/hunter2", "12#hunter2", "12?hunter2", "hun/ter2", "hun#ter2"] {
            let told = refused(&format!("postgres://ada:{password}@db.example/kea"));
            assert!(!told.contains("ter2"), "{told}");
        }
        assert!(refused("postgres://ada:12/hunter2@db.example/kea").contains("%2F"));
    }

    #[test]
    fn an_option_that_would_be_passed_over_is_refused() {
        assert!(refused("postgres://db.example/kea?sslmod=verify-full").contains("`sslmod`"));
        assert!(refused("postgres://db.example/kea?sslmode=very").contains("very"));
        assert!(!refused("postgres://db.example/kea?pasword=hunter2").contains("hunter2"));
    }

    #[test]
    fn what_is_no_database_is_refused() {
        assert!(refused("mysql://ada:hunter2@db.example/kea").contains("none of `postgres://`"));
        assert!(refused("kea.db").contains("`sqlite:`"));
        assert!(refused("sqlite:").contains("path"));
        assert!(refused("postgres://db.example:port/kea").contains("port"));
    }
}
