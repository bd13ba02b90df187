use std::collections::HashMap;
use std::ops::Range;

/// Bytes at the end of a zip file in which its closing record must begin: 22 of its own and up to 65,535 of comment.
const TAIL_BYTES: usize = 22 + 0xffff;
const END: [u8; 4] = *b"PK\x05\x06";
const END64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const END64: [u8; 4] = *b"PK\x06\x06";
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const TOO_BIG: u64 = 0xffff_ffff;

/// The entries of an uncompressed zip archive by name, each as the bytes of the file that it occupies.
/// Source: PKWARE APPNOTE.TXT 6.3.9; torch writes it by caffe2/serialize/inline_container.cc, stored and aligned.
pub(super) fn entries(file: &[u8]) -> Result<HashMap<String, Range<usize>>, String> {
    let (mut at, count) = directory(file)?;
    let mut found = HashMap::new();
    for _ in 0..count {
        let record = Record { file, at };
        if record.bytes(0)? != ENTRY {
            return Err("its list of entries is damaged".into());
        }
        let (name_length, extra_length, comment_length) = (record.u16(28)?, record.u16(30)?, record.u16(32)?);
        let name = file.get(at + 46..at + 46 + name_length).ok_or_else(cut)?;
        let name = String::from_utf8_lossy(name).into_owned();
        let extra = file.get(at + 46 + name_length..at + 46 + name_length + extra_length).ok_or_else(cut)?;
        let sizes = [u64::from(record.u32(24)?), u64::from(record.u32(20)?), u64::from(record.u32(42)?)];
        let [size, packed, offset] = widened(sizes, extra)?;
        if record.u16(10)? != 0 || size != packed {
            return Err(format!("its entry {name} is compressed, which torch never does"));
        }
        let range = content(file, &name, offset, size)?;
        found.insert(name, range);
        at += 46 + name_length + extra_length + comment_length;
    }
    Ok(found)
}

/// Start of the list of entries, and their number.
fn directory(file: &[u8]) -> Result<(usize, u64), String> {
    let tail = file.len().saturating_sub(TAIL_BYTES);
    let found = file.get(tail..).unwrap_or_default().windows(4).rposition(|window| window == END);
    let end = Record { file, at: tail + found.ok_or("it has no list of entries: the file is truncated")? };
    let (mut count, mut start) = (u64::from(end.u16(10)? as u32), u64::from(end.u32(16)?));
    if count == 0xffff || start == TOO_BIG {
        let locator = Record { file, at: end.at.checked_sub(20).ok_or_else(cut)? };
        if locator.bytes(0)? == END64_LOCATOR {
            let wide = Record { file, at: usize::try_from(locator.u64(8)?).map_err(|_| cut())? };
            if wide.bytes(0)? != END64 {
                return Err("its list of entries is damaged".into());
            }
            (count, start) = (wide.u64(32)?, wide.u64(48)?);
        }
    }
    // Each entry has 46 bytes at least.
    if count > file.len() as u64 / 46 {
        return Err(format!("it claims {count} entries, more than the file can hold"));
    }
    Ok((usize::try_from(start).map_err(|_| cut())?, count))
}

/// Takes the 64-bit numbers of the extra field where the 32-bit ones are full.
fn widened(mut sizes: [u64; 3], mut extra: &[u8]) -> Result<[u64; 3], String> {
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let (id, length) = (u16::from_le_bytes([head[0], head[1]]), usize::from(u16::from_le_bytes([head[2], head[3]])));
        let Some((mut body, next)) = rest.split_at_checked(length) else { break };
        if id == 1 {
            for size in sizes.iter_mut().filter(|size| **size == TOO_BIG) {
                let (value, after) = body.split_first_chunk::<8>().ok_or_else(cut)?;
                (*size, body) = (u64::from_le_bytes(*value), after);
            }
        }
        extra = next;
    }
    Ok(sizes)
}

fn content(file: &[u8], name: &str, offset: u64, size: u64) -> Result<Range<usize>, String> {
    let outside = || format!("its entry {name} lies outside the file: it is truncated or damaged");
    let local = Record { file, at: usize::try_from(offset).map_err(|_| outside())? };
    if local.bytes(0).map_err(|_| outside())? != LOCAL {
        return Err(format!("its entry {name} does not begin where the list says"));
    }
    let start = local.at + 30 + local.u16(26)? + local.u16(28)?;
    let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size)).filter(|end| *end <= file.len());
    Ok(start..end.ok_or_else(outside)?)
}

/// Numbers at places relative to a record of the file.
struct Record<'f> {
    file: &'f [u8],
    at: usize,
}

impl Record<'_> {
    fn bytes<const N: usize>(&self, offset: usize) -> Result<[u8; N], String> {
        let from = self.at.checked_add(offset).and_then(|from| self.file.get(from..));
        from.and_then(|rest| rest.first_chunk::<N>()).copied().ok_or_else(cut)
    }

    fn u16(&self, offset: usize) -> Result<usize, String> {
        Ok(usize::from(u16::from_le_bytes(self.bytes(offset)?)))
    }

    fn u32(&self, offset: usize) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.bytes(offset)?))
    }

    fn u64(&self, offset: usize) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.bytes(offset)?))
    }
}

fn cut() -> String {
    "its list of entries is damaged".into()
}
