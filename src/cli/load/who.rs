//! Whom to load, and how its clients get in: URIs and secrets of the command line made into servers of a plan.

use std::env;
use std::net::SocketAddr;
use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::cli::args::DialectArg;
use crate::cli::args::LoadArgs;
use crate::cli::args::SecretArg;
use crate::cli::args::WhoArgs;
use crate::cli::credential::find_secret;
use crate::cli::credential::secret_of_file;
use crate::config::prepare;
use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::load::plan::Proxy;
use crate::load::plan::Server;
use crate::load::plan::Trust;
use crate::load::plan::Watch;
use crate::load::plan::Who;
use crate::load::target::Target;
use crate::load::target::mras;
use crate::load::target::mras::Service;
use crate::load::target::users;
use crate::load::target::users::Access;
use crate::proto::auth::credential::PasswordMac;
use crate::proto::client::HttpProxy;
use crate::proto::types::Dialect;
use crate::proto::types::Family;
use crate::proto::types::Secret;

/// Where a password may stand beside a file.
const PASSWORD_VARIABLE: &str = "SWINGBRIDGE_PASSWORD";

/// What the users that are made of a secret are called.
const NAME: &str = "load";

/// The servers that `uris` name, in their order. Credentials that end are good for `lifetime`.
///
/// # Errors
///
/// Where a URI, a name, a secret or a file is wrong, or missing.
pub(super) fn servers(args: &LoadArgs, uris: &[String], lifetime: Duration) -> Result<Vec<Server>, Fault> {
    check_counts(args, uris.len())?;
    uris.iter().enumerate().map(|(index, uri)| server(args, uri, index, lifetime)).collect()
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Request, what)
}

/// A complaint that other commands word with its cure behind it.
fn of_text(text: &str) -> Fault {
    match text.split_once("\n  help: ") {
        Some((what, cure)) => wrong(what).cure(cure),
        None => wrong(text),
    }
}

/// No more of anything than there are servers.
fn check_counts(args: &LoadArgs, servers: usize) -> Result<(), Fault> {
    let (who, amount) = (&args.who, &args.amount);
    let counts = [
        ("--secret", who.secret.len()),
        ("--secret-file", who.secret_file.len()),
        ("--user", who.user.len()),
        ("--password", who.password.len()),
        ("--password-file", who.password_file.len()),
        ("--server-pid", amount.server_pid.len()),
        ("--admin", amount.admin.len()),
    ];
    match counts.iter().find(|(_, count)| *count > servers) {
        Some((flag, count)) if servers == 1 => {
            Err(wrong(format!("{flag} is given {count} times, and there is one server"))
                .cure("write it once"))
        }
        Some((flag, count)) => {
            Err(wrong(format!("{flag} is given {count} times, and there are two servers"))
                .cure("write it once for both, or once for each"))
        }
        None => Ok(()),
    }
}

fn server(args: &LoadArgs, uri: &str, index: usize, lifetime: Duration) -> Result<Server, Fault> {
    let dialect = match args.who.dialect {
        DialectArg::Standard => Dialect::Rfc8656,
        DialectArg::Legacy => Dialect::MsTurn,
    };
    let target = Target::parse(uri, dialect)?;
    let family = args.machine.source.first().map(|source| Family::of(*source));
    let way = way(&args.who, index)?;
    let proxy = proxy(&args.who, family)?;
    // The sources speak to the proxy then, whatever the server's family is.
    let address = target.resolve(family.filter(|_| proxy.is_none()))?;
    Ok(Server {
        uri: target.uri,
        host: target.host,
        address,
        carrier: target.carrier,
        who: who(&args.who, &way, lifetime)?,
        trust: trust(&args.who),
        watch: watch(args, index),
        proxy,
    })
}

/// Nothing of a URL is quoted where it is wrong: a password stands in it.
fn proxy(args: &WhoArgs, family: Option<Family>) -> Result<Option<Proxy>, Fault> {
    const CURE: &str = "write http://HOST:PORT, or http://NAME:PASSWORD@HOST:PORT";
    let url = match (&args.proxy, &args.proxy_file) {
        (Some(url), _) => url.clone().into_inner(),
        (None, Some(path)) => {
            let bytes = secret_of_file(path).map_err(|text| of_text(&text))?;
            String::from_utf8(bytes).map_err(|_| wrong("the URL of the proxy is no UTF-8").cure(CURE))?
        }
        (None, None) => return Ok(None),
    };
    let url = HttpProxy::parse(url.trim()).map_err(|error| wrong(error.to_string()).cure(CURE))?;
    let found = (url.host(), url.port()).to_socket_addrs();
    let mut found = found.map_err(|_| {
        wrong(format!("the name of the proxy {url} cannot be resolved"))
            .cure("check its spelling and this machine's DNS, or write an address")
    })?;
    let fits = |address: &SocketAddr| family.is_none_or(|family| Family::of(address.ip()) == family);
    let address =
        found.find(fits).ok_or_else(|| wrong(format!("the proxy {url} has no address that fits")))?;
    Ok(Some(Proxy { url, address }))
}

fn trust(args: &WhoArgs) -> Trust {
    match &args.authority {
        Some(file) => Trust::Authority(file.clone()),
        None if args.insecure => Trust::Anyone,
        None => Trust::System,
    }
}

/// How the clients get in.
enum Way {
    /// By what is known here.
    Known(Access),
    /// By what a service hands out.
    Asked(Service),
}

fn who(args: &WhoArgs, way: &Way, lifetime: Duration) -> Result<Who, Fault> {
    let count = args.users.unwrap_or(1);
    let access = match way {
        Way::Known(access) => access,
        Way::Asked(service) => return mras::fetch(service, NAME, count, lifetime),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_err(|_| Fault::new(FaultKind::Machine, "this machine's clock stands before 1970"))?;
    users::who(access, NAME, count, now.as_secs(), lifetime)
}

/// Of what is given for each server the own one; of what is given once that one. Watching is for one server each.
fn watch(args: &LoadArgs, index: usize) -> Option<Watch> {
    let process = args.amount.server_pid.get(index).map(|pid| Watch::Process(*pid));
    process.or_else(|| args.amount.admin.get(index).map(|address| Watch::Admin(*address)))
}

fn own<T>(given: &[T], index: usize) -> Option<&T> {
    given.get(index).or_else(|| given.last())
}

fn way(args: &WhoArgs, index: usize) -> Result<Way, Fault> {
    if let (Some(uri), Some(certificate), Some(key)) = (&args.mras, &args.mras_certificate, &args.mras_key) {
        check_dialect(args)?;
        let (certificate, key) = (certificate.clone(), key.clone());
        return Ok(Way::Asked(Service { uri: uri.clone(), trust: trust(args), certificate, key }));
    }
    access(args, index).map(Way::Known)
}

fn check_dialect(args: &WhoArgs) -> Result<(), Fault> {
    match args.dialect {
        DialectArg::Legacy => Ok(()),
        DialectArg::Standard => {
            Err(wrong("MRAS credentials are for clients of the old dialect")
                .cure("write --dialect legacy too"))
        }
    }
}

fn access(args: &WhoArgs, index: usize) -> Result<Access, Fault> {
    if let (Some(key1), Some(key2)) = (&args.mras_key1_file, &args.mras_key2_file) {
        check_dialect(args)?;
        return Ok(Access::Mras { key1: file(key1)?, key2: file(key2)? });
    }
    if let Some(user) = own(&args.user, index) {
        let user = prepared("--user", user)?;
        return Ok(Access::Static { user, password: password(args, index)? });
    }
    let secret = own(&args.secret, index).cloned().map(SecretArg::into_inner);
    let path = own(&args.secret_file, index).map(AsRef::as_ref);
    if secret.is_none() && path.is_none() && env::var_os(crate::cli::credential::SECRET_VARIABLE).is_none() {
        return Err(wrong("nothing says how the clients get in").cure(
            "write --secret-file FILE, or --user NAME --password-file FILE; --secret and --password are seen by other \
             users of this machine",
        ));
    }
    let secret = find_secret(secret, path).map_err(|text| of_text(&text))?;
    Ok(Access::Shared { secret, mac: PasswordMac::Sha1 })
}

fn password(args: &WhoArgs, index: usize) -> Result<Secret, Fault> {
    let text = if let Some(password) = own(&args.password, index) {
        password.clone().into_inner()
    } else if let Some(path) = own(&args.password_file, index) {
        text(secret_of_file(path).map_err(|text| of_text(&text))?)?
    } else if let Some(value) = env::var_os(PASSWORD_VARIABLE) {
        text(value.into_encoded_bytes())?
    } else {
        return Err(wrong("no password").cure(format!(
            "write --password-file FILE, set {PASSWORD_VARIABLE}, or write --password PASSWORD, which other users of \
             this machine can see"
        )));
    };
    Ok(Secret::new(prepared("the password", &text)?.into_bytes()))
}

fn text(bytes: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(bytes).map_err(|_| wrong("the password is no UTF-8").cure("write it as UTF-8"))
}

fn prepared(what: &str, text: &str) -> Result<String, Fault> {
    prepare(what, text).map_err(|why| wrong(why.rule.to_string()).cure(why.fix.to_string()))
}

fn file(path: &Path) -> Result<Secret, Fault> {
    secret_of_file(path).map(Secret::new).map_err(|text| of_text(&text))
}
