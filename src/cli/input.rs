//! Reading what an operator names.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;

/// Bytes of a configuration; a longer file is something else.
const CONFIG_LEN_MAX: u64 = 1 << 20;

/// The text of the configuration at `path`.
///
/// # Errors
/// What the operating system says, `InvalidData` for what is not UTF-8, `FileTooLarge` for what is no
/// configuration.
pub(crate) fn read_config(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(CONFIG_LEN_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > CONFIG_LEN_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_no_configuration() {
        let error = read_config(Path::new("/dev/zero")).expect_err("it does not end");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
