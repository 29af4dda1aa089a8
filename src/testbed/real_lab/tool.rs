//! The programs of the system that give interfaces their addresses and routes (`ip`), which a laboratory does not do anew.

use std::io;
use std::process::Command;
use std::process::Stdio;

/// Has `ip` do what each line says, in the network of this thread.
///
/// # Errors
/// What it complains of, with the line; or that it is not there.
pub(super) fn ip(lines: &str) -> io::Result<()> {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        run("ip", "install the package iproute2", line)?;
    }
    Ok(())
}

fn run(program: &str, cure: &str, arguments: &str) -> io::Result<()> {
    let ended =
        Command::new(program).args(arguments.split_whitespace()).stdin(Stdio::null()).output().map_err(
            |error| match error.kind() {
                io::ErrorKind::NotFound => {
                    io::Error::other(format!("there is no program `{program}` here: {cure}"))
                }
                _ => error,
            },
        )?;
    if ended.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&ended.stderr);
    Err(io::Error::other(format!("`{program} {arguments}` failed: {}", complaint.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_complains_of_is_told() {
        let told = |program: &str, arguments: &str| {
            run(program, "install it", arguments).expect_err("it fails").to_string()
        };
        assert_eq!(
            told("cat", "/no/such/file"),
            "`cat /no/such/file` failed: cat: /no/such/file: No such file or directory"
        );
        assert_eq!(
            told("no-such-program-anywhere", ""),
            "there is no program `no-such-program-anywhere` here: install it"
        );
        assert!(run("true", "", "").is_ok());
    }
}
