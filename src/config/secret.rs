//! Secrets, users and passwords, wherever they stand, and the spelling of names. No message quotes a secret.

use std::io;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

use crate::proto::types::Secret;

use super::file::article;
use super::opaque;
use super::problem::Problem;
use super::read::Located;
use super::read::Reader;
use super::schema::Key;
use super::source::SECRET_FILE_MAX;
use super::value::Complaint;

impl Reader<'_, '_> {
    /// The realm as clients have to spell it.
    pub(crate) fn realm(&mut self) -> Located<String> {
        let Located { value, span } = self.text("realm");
        // What else is wrong with it has words of its own.
        if value.is_ascii() {
            return Located { value, span };
        }
        let key = self.document.entries["realm"].key;
        match opaque::prepare("the realm", &value) {
            Ok(prepared) => {
                if prepared != value {
                    self.problems.push(changed(key, &span, "the realm"));
                }
                Located { value: prepared, span }
            }
            Err(complaint) => {
                self.error(key, &span, complaint);
                Located { value: "swingbridge".to_owned(), span: None }
            }
        }
    }

    pub(crate) fn secrets(&mut self, path: &str) -> Vec<Located<Secret>> {
        self.array(path, |reader, key, span, value| reader.secret(key, "a secret", span, value))
    }

    pub(crate) fn users(&mut self, path: &str) -> Vec<Located<(String, Secret)>> {
        let Some(entry) = self.entry(path) else { return Vec::new() };
        let DeValue::Table(table) = &entry.value else {
            let fix = "write users = { alice = \"password\" }";
            let rule = format!("names and passwords are expected, not {}", article(&entry.value));
            self.error(entry.key, &entry.span, Complaint::new(rule, fix));
            return Vec::new();
        };
        let mut users = Vec::new();
        for (name, value) in table {
            let span = Some(value.span());
            if let Some(secret) = self.secret(entry.key, "a password", &span, value.get_ref()) {
                let name_span = Some(name.span());
                let Some(secret) = self.password(entry.key, &span, secret) else { continue };
                let name = self.user_name(entry.key, &name_span, name.get_ref());
                users.push(Located { value: (name, secret), span: name_span });
            }
        }
        users
    }

    /// A user's name as clients have to spell it. What cannot be spelt is told, and stands for itself.
    fn user_name(&mut self, key: &Key, span: &Option<Range<usize>>, name: &str) -> String {
        // What else is wrong with it has words of its own.
        if name.is_ascii() {
            return name.to_owned();
        }
        match opaque::prepare("a user name", name) {
            Ok(prepared) => {
                if prepared != name {
                    self.problems.push(changed(key, span, "this name"));
                }
                prepared
            }
            Err(complaint) => {
                self.error(key, span, complaint);
                name.to_owned()
            }
        }
    }

    fn password(&mut self, key: &Key, span: &Option<Range<usize>>, password: Secret) -> Option<Secret> {
        let read = str::from_utf8(password.expose())
            .map_err(|_| Complaint::new("this password is no UTF-8", "write letters, digits and the like"))
            .and_then(|text| opaque::prepare("a password", text));
        match read {
            Ok(prepared) if prepared.as_bytes() == password.expose() => Some(password),
            Ok(prepared) => {
                self.problems.push(changed(key, span, "this password"));
                Some(Secret::new(prepared.into_bytes()))
            }
            Err(complaint) => {
                self.error(key, span, complaint);
                None
            }
        }
    }

    /// A string, or where it is fetched from. No message quotes the value.
    pub(crate) fn secret(
        &mut self,
        key: &Key,
        what: &str,
        span: &Option<Range<usize>>,
        value: &DeValue<'_>,
    ) -> Option<Secret> {
        const FIX: &str =
            "write \"...\", { file = \"path\" }, { env = \"NAME\" } or { credential = \"NAME\" }";
        let read = match value {
            DeValue::String(text) => Ok(text.as_bytes().to_vec()),
            DeValue::Table(table) => match one_entry(table) {
                Some(("file", path)) => self.secret_of_file(key, span, Path::new(path)),
                Some(("env", name)) => self.source.environment(name).ok_or_else(|| {
                    Complaint::new(
                        format!("the environment variable `{name}` is not set"),
                        format!("set {name} for the server, for example in the unit's EnvironmentFile="),
                    )
                }),
                Some(("credential", name)) => self.secret_of_credential(name),
                _ => {
                    let rule = format!("{what} is fetched from one `file`, one `env` or one `credential`");
                    Err(Complaint::new(rule, FIX))
                }
            },
            _ => Err(Complaint::new(format!("{what} is expected, not {}", article(value)), FIX)),
        };
        let read = read.and_then(|bytes| {
            if bytes.is_empty() {
                Err(Complaint::new(format!("{what} is empty"), "make one with `openssl rand -hex 32`"))
            } else {
                Ok(Secret::new(bytes))
            }
        });
        read.map_err(|complaint| self.error(key, span, complaint)).ok()
    }

    fn secret_of_file(
        &mut self,
        key: &Key,
        span: &Option<Range<usize>>,
        path: &Path,
    ) -> Result<Vec<u8>, Complaint> {
        let shown = path.display();
        let file = self.source.file(path).map_err(|error| {
            Complaint::new(
                format!("the file `{shown}` cannot be read: {}", why(&error)),
                "correct the path (a relative one begins at this file's folder) or let the server's user read it",
            )
        })?;
        if file.world_readable {
            self.problems.push(Problem::warning(
                key.path,
                span.clone(),
                format!("every user of this machine can read `{shown}`"),
                format!("chmod 600 {shown}"),
            ));
        }
        Ok(file.trimmed())
    }

    /// What systemd hands over under `name` (`LoadCredential=` and the like).
    fn secret_of_credential(&self, name: &str) -> Result<Vec<u8>, Complaint> {
        const FOLDER: &str = "CREDENTIALS_DIRECTORY";
        let unit = format!("write LoadCredential={name}:/path/of/the/file into the unit");
        if name.is_empty() || name.contains(['/', '\0']) || matches!(name, "." | "..") {
            let rule = format!("`{}` is no name of a credential", name.escape_debug());
            return Err(Complaint::new(
                rule,
                "write the name that stands in the unit: { credential = \"secret\" }",
            ));
        }
        let Some(folder) = self.source.environment(FOLDER).and_then(|folder| String::from_utf8(folder).ok())
        else {
            let rule = format!("systemd handed over no credentials: {FOLDER} is not set");
            return Err(Complaint::new(rule, unit));
        };
        let file = self.source.file(&Path::new(&folder).join(name)).map_err(|error| {
            Complaint::new(format!("the credential `{name}` cannot be read: {}", why(&error)), unit)
        })?;
        Ok(file.trimmed())
    }
}

/// Tells that a text stands for another spelling.
fn changed(key: &Key, span: &Option<Range<usize>>, what: &str) -> Problem {
    Problem::warning(
        key.path,
        span.clone(),
        format!("{what} is used in the form of RFC 8265 (OpaqueString), not as it is typed"),
        "type it in that form, or in ASCII, so that clients that do not prepare it can use it too",
    )
}

/// The operating system's reason without its number, which differs between systems.
fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is none".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::FileTooLarge => {
            format!("it is longer than {SECRET_FILE_MAX} bytes, so it is no secret")
        }
        kind => kind.to_string(),
    }
}

/// The only entry of `table`, if there is one and it is a string.
fn one_entry<'t>(table: &'t DeTable<'_>) -> Option<(&'t str, &'t str)> {
    let mut entries = table.iter();
    let (name, value): (_, &Spanned<DeValue<'_>>) = entries.next()?;
    if entries.next().is_some() {
        return None;
    }
    Some((name.get_ref().as_ref(), value.get_ref().as_str()?))
}
