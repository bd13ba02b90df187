use std::sync::LazyLock;

/// GPT-2's table of 256 printable characters that stand for the 256 bytes. Source: openai/gpt-2 encoder.py `bytes_to_unicode`.
static CHAR_OF_BYTE: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut next = 256u32;
    std::array::from_fn(|byte| {
        let byte = byte as u32;
        let printable = (0x21..=0x7e).contains(&byte) || (0xa1..=0xac).contains(&byte) || byte >= 0xae;
        let code = if printable {
            byte
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap_or('\u{fffd}')
    })
});

/// The inverse of `CHAR_OF_BYTE`; all its characters lie below U+0180.
static BYTE_OF_CHAR: LazyLock<[Option<u8>; 0x180]> = LazyLock::new(|| {
    let mut table = [None; 0x180];
    for (byte, &char) in CHAR_OF_BYTE.iter().enumerate() {
        if let Some(slot) = table.get_mut(char as usize) {
            *slot = Some(byte as u8);
        }
    }
    table
});

/// The printable character that stands for a byte in the vocabulary.
pub(super) fn char_of_byte(byte: u8) -> char {
    CHAR_OF_BYTE[usize::from(byte)]
}

/// Appends the bytes that a token stands for; a token with any character outside the table stands for its own UTF-8.
pub(super) fn push_token_bytes(token: &str, out: &mut Vec<u8>) {
    let start = out.len();
    for char in token.chars() {
        match BYTE_OF_CHAR.get(char as usize).copied().flatten() {
            Some(byte) => out.push(byte),
            None => {
                out.truncate(start);
                out.extend_from_slice(token.as_bytes());
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        for byte in 0..=255u8 {
            let mut out = Vec::new();
            push_token_bytes(&char_of_byte(byte).to_string(), &mut out);
            assert_eq!(out, [byte]);
        }
        assert_eq!((char_of_byte(b' '), char_of_byte(b'a')), ('\u{120}', 'a'));
    }

    #[test]
    fn a_token_outside_the_table_keeps_its_utf8() {
        let mut out = Vec::new();
        push_token_bytes("a\u{65e5}", &mut out);
        assert_eq!(out, "a\u{65e5}".as_bytes());
    }
}
