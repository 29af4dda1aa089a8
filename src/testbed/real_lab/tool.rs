//! The programs of the system that give interfaces their addresses and routes (`ip`) and packets their rules (`nft`), which a
//! laboratory does not do anew.

use std::io;
use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;

const NFTABLES: &str = "install the package nftables, or leave the NATs to the model";

/// Has `ip` do what each line says, in the network of this thread.
///
/// # Errors
/// What it complains of, with the line; or that it is not there.
pub(super) fn ip(lines: &str) -> io::Result<()> {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        run("ip", "install the package iproute2", line, "")?;
    }
    Ok(())
}

/// Has `nft` do what the lines say, all of them or none, in the network of this thread.
///
/// # Errors
/// What it complains of; or that it is not there.
pub(super) fn nft(lines: &str) -> io::Result<()> {
    run("nft", NFTABLES, "-f -", lines).map(drop)
}

/// What `nft` lists of `what`, as JSON.
///
/// # Errors
/// As [`nft`].
pub(super) fn nft_list(what: &str) -> io::Result<String> {
    run("nft", NFTABLES, &format!("-j list {what}"), "")
}

fn run(program: &str, cure: &str, arguments: &str, input: &str) -> io::Result<String> {
    let mut command = Command::new(program);
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other(format!("there is no program `{program}` here: {cure}")),
        _ => error,
    })?;
    // One that does not read it has something to complain of.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let ended = child.wait_with_output()?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
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
            run(program, "install it", arguments, "").expect_err("it fails").to_string()
        };
        assert_eq!(
            told("cat", "/no/such/file"),
            "`cat /no/such/file` failed: cat: /no/such/file: No such file or directory"
        );
        assert_eq!(
            told("no-such-program-anywhere", ""),
            "there is no program `no-such-program-anywhere` here: install it"
        );
        assert!(run("true", "", "", "").is_ok());
        assert_eq!(run("cat", "", "", "so it is").expect("it is there"), "so it is");
    }
}
