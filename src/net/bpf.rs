//! bpf(2): maps, a program that is put together here, and its link to a network namespace. What a program of some dozen
//! instructions needs is little, so no compiler, no object file and no library stands between it and the kernel.
//!
//! A request to the kernel is a block of bytes at offsets that the kernel's headers fix:
//!
//! ```text
//!   MAP_CREATE   | kind 4 | key 4 | value 4 | entries 4 | flags 4 | inner 4 | node 4 | name 16 |
//!   ELEM         | map 4 | – 4 | key: pointer 8 | value: pointer 8 | flags 8 |
//!   PROG_LOAD    | kind 4 | count 4 | code: pointer 8 | licence: pointer 8 | log level 4 | log size 4 | log: pointer 8
//!                | – 4 | flags 4 | name 16 | – 4 | attach type 4 |
//!   LINK_CREATE  | program 4 | target 4 | attach type 4 | flags 4 |
//! ```

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;

const MAP_ARRAY: u32 = 2;
const MAP_SOCKETS: u32 = 15;
const PROG_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;

/// What the kernel wants to read so that a program may call all of its helpers.
const LICENCE: &[u8] = b"Dual MIT/GPL\0";
const LOG_LEN: usize = 64 * 1_024;
/// The block that holds every request: the longest, PROG_LOAD, is 72 bytes.
const BLOCK: usize = 72;

/// One instruction as the kernel reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    pub(super) operation: u8,
    /// The destination in the low half, the source in the high one.
    pub(super) registers: u8,
    pub(super) offset: i16,
    pub(super) immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// A request to the kernel.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Block([u8; BLOCK]);

impl Block {
    const fn new() -> Self {
        Self([0; BLOCK])
    }

    fn word(mut self, at: usize, value: u32) -> Self {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn descriptor(self, at: usize, value: BorrowedFd<'_>) -> Self {
        self.word(at, value.as_raw_fd().cast_unsigned())
    }

    /// The memory must outlive the call that gets this block.
    fn memory(mut self, at: usize, value: &[u8]) -> Self {
        self.0[at..at + 8].copy_from_slice(&(value.as_ptr().expose_provenance() as u64).to_ne_bytes());
        self
    }

    /// The same for memory that the kernel writes.
    fn memory_mut(mut self, at: usize, value: &mut [u8]) -> Self {
        let pointer = value.as_mut_ptr().expose_provenance() as u64;
        self.0[at..at + 8].copy_from_slice(&pointer.to_ne_bytes());
        self
    }

    /// A name of at most 15 letters, digits and underscores.
    fn name(mut self, at: usize, value: &str) -> Self {
        let len = value.len().min(15);
        self.0[at..at + len].copy_from_slice(&value.as_bytes()[..len]);
        self
    }
}

/// A map of the kernel whose keys are numbers below a bound.
#[derive(Debug)]
pub(super) struct Map {
    descriptor: OwnedFd,
    entries: u32,
}

impl Map {
    /// An array of `entries` numbers of four bytes, all 0.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without the privilege.
    pub(super) fn array(name: &str, entries: u32) -> io::Result<Self> {
        Self::create(MAP_ARRAY, name, 4, entries)
    }

    /// An array of `entries` sockets, all empty. A socket leaves it when it is closed.
    ///
    /// # Errors
    /// As [`Self::array`].
    pub(super) fn sockets(name: &str, entries: u32) -> io::Result<Self> {
        Self::create(MAP_SOCKETS, name, 8, entries)
    }

    fn create(kind: u32, name: &str, value_len: u32, entries: u32) -> io::Result<Self> {
        let block = Block::new().word(0, kind).word(4, 4).word(8, value_len).word(12, entries).name(28, name);
        Ok(Self { descriptor: opened(call(MAP_CREATE, block)?), entries })
    }

    /// Sets the number at `key`. No privilege is needed once the map is there.
    ///
    /// # Errors
    /// What the kernel says: `E2BIG` for a key beyond the bound.
    pub(super) fn set(&self, key: u32, value: u32) -> io::Result<()> {
        self.update(key, &value.to_ne_bytes())
    }

    /// The number at `key`.
    ///
    /// # Errors
    /// What the kernel says: `ENOENT` for a key beyond the bound.
    pub(super) fn number(&self, key: u32) -> io::Result<u32> {
        let key = key.to_ne_bytes();
        let mut value = [0; 4];
        let block = Block::new().descriptor(0, self.descriptor.as_fd());
        call(MAP_LOOKUP, block.memory(8, &key).memory_mut(16, &mut value))?;
        Ok(u32::from_ne_bytes(value))
    }

    /// Puts `socket` at `key`.
    ///
    /// # Errors
    /// What the kernel says, as where it is bound to nothing.
    pub(super) fn put(&self, key: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let value = u64::from(socket.as_raw_fd().cast_unsigned());
        self.update(key, &value.to_ne_bytes())
    }

    fn update(&self, key: u32, value: &[u8]) -> io::Result<()> {
        let key = key.to_ne_bytes();
        let block = Block::new().descriptor(0, self.descriptor.as_fd());
        call(MAP_UPDATE, block.memory(8, &key).memory(16, value))?;
        Ok(())
    }

    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// The descriptor as the immediate of an instruction that loads the map.
    pub(super) fn immediate(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }
}

/// A program of the kind sk_lookup that the kernel has verified.
#[derive(Debug)]
pub(super) struct Program(OwnedFd);

impl Program {
    /// Has the kernel verify `code`.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without the privilege, `EINVAL` where it knows no such programs, with what its
    /// verifier objects to.
    pub(super) fn load(name: &str, code: &[Instruction]) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(size_of_val(code));
        for one in code {
            bytes.extend([one.operation, one.registers]);
            bytes.extend(one.offset.to_ne_bytes());
            bytes.extend(one.immediate.to_ne_bytes());
        }
        let count = u32::try_from(code.len()).unwrap_or(u32::MAX);
        let block = Block::new()
            .word(0, PROG_SK_LOOKUP)
            .word(4, count)
            .memory(8, &bytes)
            .memory(16, LICENCE)
            .name(48, name)
            .word(68, ATTACH_SK_LOOKUP);
        let refused = match call(PROG_LOAD, block) {
            Ok(descriptor) => return Ok(Self(opened(descriptor))),
            Err(error) => error,
        };
        // Once more, for what the verifier says.
        let mut log = vec![0; LOG_LEN];
        let asked = block.word(24, 1).word(28, LOG_LEN as u32).memory_mut(32, &mut log);
        if let Ok(descriptor) = call(PROG_LOAD, asked) {
            return Ok(Self(opened(descriptor)));
        }
        let said = String::from_utf8_lossy(&log);
        match said.trim_end_matches('\0').trim().lines().last() {
            Some(line) => Err(io::Error::new(refused.kind(), format!("{refused}; the verifier: {line}"))),
            None => Err(refused),
        }
    }

    /// Attaches it to the network namespace of this thread, beside whatever is attached there. It is detached when the
    /// answer is dropped, so at the latest when the process ends, however that does.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without the privilege.
    pub(super) fn attach(&self) -> io::Result<Link> {
        let namespace = File::open("/proc/thread-self/ns/net")?;
        let block = Block::new()
            .descriptor(0, self.0.as_fd())
            .descriptor(4, namespace.as_fd())
            .word(8, ATTACH_SK_LOOKUP);
        Ok(Link { _descriptor: opened(call(LINK_CREATE, block)?) })
    }
}

/// A program that is attached for as long as this lives.
#[derive(Debug)]
pub(super) struct Link {
    _descriptor: OwnedFd,
}

/// Every memory that `block` names must be alive, and as long as the request says; all callers are in this file.
fn call(command: libc::c_int, mut block: Block) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes the block, whose size it is told, and the memory that the callers, all above,
    // named in it: slices that they hold across this call, as long as the request says or as the map's own value, which
    // is 4 bytes or 8 by `create`.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, block.0.as_mut_ptr(), BLOCK) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(answer).unwrap_or(i32::MAX)) }
}

fn opened(descriptor: i32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for the caller, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_its_words_where_the_kernel_looks_for_them() {
        let block = Block::new().word(4, 0x0102_0304).name(48, "a_name_that_is_too_long");
        assert_eq!(block.0[4..8], 0x0102_0304_u32.to_ne_bytes());
        assert_eq!(&block.0[48..64], b"a_name_that_is_\0");
    }

    #[test]
    fn a_map_keeps_numbers_within_its_bound() {
        let Ok(map) = Map::array("test", 4) else {
            return eprintln!("NOT PROVED: this process may not make maps");
        };
        map.set(3, 7).expect("within the bound");
        assert_eq!((map.number(3).expect("there"), map.number(0).expect("there")), (7, 0));
        assert!(map.set(4, 1).is_err() && map.number(4).is_err());
        assert_eq!(map.entries(), 4);
    }

    #[test]
    fn a_program_that_does_not_end_is_refused_with_the_verifiers_word() {
        if Map::array("test", 1).is_err() {
            return eprintln!("NOT PROVED: this process may not load programs");
        }
        let error =
            Program::load("test", &[Instruction { operation: 0xb7, registers: 0, offset: 0, immediate: 1 }])
                .expect_err("it has no exit");
        assert!(error.to_string().contains("verifier"), "{error}");
    }
}
