//! What the start alone needed of libraries and of the program's tables is given back. The kernel maps sixteen pages of a
//! file for each one that is touched, and keeps them counted to a process that will not look at them again.

use std::fs;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::ops::Range;
use std::path::Path;

use super::sys;

/// Unmaps pages of files that hold nothing of this process's own, but for the program's code, of which packets and
/// requests will need much. What is touched again comes back from the file. Answers how many bytes were there.
///
/// # Errors
/// What the kernel says; nothing is lost then.
pub fn give_back() -> io::Result<usize> {
    let program = fs::read_link("/proc/self/exe")?;
    let mut given = 0;
    for mapping in unwritten(BufReader::new(fs::File::open("/proc/self/smaps")?), &program)? {
        sys::forget_file_pages(mapping.range)?;
        given += mapping.resident;
    }
    Ok(given)
}

#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    range: Range<usize>,
    resident: usize,
}

/// The mappings of `smaps` that may be given back: those of files that cannot be written to and of which no page was ever
/// changed, but for the code of `program`.
fn unwritten(smaps: impl BufRead, program: &Path) -> io::Result<Vec<Mapping>> {
    let mut found = Vec::new();
    let (mut at, mut is_unchanged) = (None, false);
    for line in smaps.lines() {
        let line = line?;
        if let Some((range, words)) = head(&line) {
            at = wanted(&words, program).then_some(Mapping { range, resident: 0 });
            is_unchanged = false;
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let (name, kib) = (words.next(), words.next().and_then(|word| word.parse::<usize>().ok()));
        match (name, kib) {
            (Some("Rss:"), Some(kib)) => at.iter_mut().for_each(|mapping| mapping.resident = kib << 10),
            // Relocated, or changed otherwise: the file has not what stands there, or in swap.
            (Some("Anonymous:" | "Swap:"), Some(1..)) => at = None,
            (Some("Anonymous:"), Some(0)) => is_unchanged = true,
            (Some("VmFlags:"), _) if is_unchanged => {
                found.extend(at.take().filter(|mapping| mapping.resident > 0));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// A mapping's first line: its addresses, then its permissions, offset, device, inode and name.
fn head(line: &str) -> Option<(Range<usize>, Vec<&str>)> {
    let mut words = line.split_ascii_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let hex = |word| usize::from_str_radix(word, 16).ok();
    Some((hex(from)?..hex(to)?, words.collect()))
}

fn wanted(words: &[&str], program: &Path) -> bool {
    let [permissions, _, _, inode, name, ..] = words else { return false };
    let is_code = *permissions == "r-xp";
    *inode != "0" && (is_code || *permissions == "r--p") && !(is_code && Path::new(name) == program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(smaps: &str) -> Vec<Mapping> {
        unwritten(smaps.as_bytes(), Path::new("/usr/bin/program")).expect("bytes can be read")
    }

    #[test]
    fn what_was_changed_what_can_be_and_the_program_s_code_stay() {
        let told = |head: &str, (anonymous, swap): (usize, usize)| {
            let sizes = format!("Rss:  8 kB\nAnonymous:  {anonymous} kB\nSwap:  {swap} kB");
            format!("{head}\nSize:  8 kB\n{sizes}\nVmFlags: rd mr\n")
        };
        let one = |head: &str, anonymous: usize| told(head, (anonymous, 0));
        let library = "1000-3000 r-xp 00001000 fe:00 7     /usr/lib/library.so";
        assert_eq!(found(&one(library, 0)), [Mapping { range: 0x1000..0x3000, resident: 8 << 10 }]);
        assert_eq!(found(&one("1000-3000 r--p 0 fe:00 7 /usr/bin/program", 0)).len(), 1);
        for stays in [
            one(library, 4),
            told(library, (0, 4)),
            format!("{library}\nRss:  8 kB\nVmFlags: rd mr\n"),
            one("1000-3000 r-xp 0 fe:00 7 /usr/bin/program", 0),
            one("1000-3000 rw-p 0 fe:00 7 /usr/lib/library.so", 0),
            one("1000-3000 r--s 0 fe:00 7 /usr/lib/library.so", 0),
            one("1000-3000 r-xp 0 00:00 0 [vdso]", 0),
            one("1000-3000 r--p 0 00:00 0", 0),
        ] {
            assert_eq!(found(&stays), [], "{stays}");
        }
        assert_eq!(found(&(one("5000-7000 rw-p 0 00:00 0 [heap]", 8) + &one(library, 0))).len(), 1);
        assert_eq!(found("nonsense\n\n-\nAnonymous: 0 kB\nVmFlags: rd\n"), []);
    }

    #[test]
    fn a_process_that_gave_back_goes_on() {
        static WORDS: [&str; 3] = ["relocated", "and", "read again"];
        assert!(give_back().expect("given back") > 0);
        assert_eq!(std::hint::black_box(&WORDS).concat(), "relocatedandread again");
        assert_eq!("1.5".parse::<f64>().map(f64::sqrt).map(|root| root > 1.2), Ok(true));
    }
}
