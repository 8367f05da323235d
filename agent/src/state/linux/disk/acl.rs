//! Owns the reading of POSIX access control lists; refuses a form the kernel would refuse.

/// Spells those entries of `system.posix_acl_access` that the mode does not show, as `user:1000:rwx`, parted by commas.
/// Empty where the mode shows all of it, nothing where it is not in the kernel's form.
pub(super) fn named_entries(value: &[u8]) -> Option<String> {
    let (version, entries) = value.split_at_checked(4)?;
    if version != [2, 0, 0, 0] || entries.len() % 8 != 0 {
        return None;
    }
    let mut spelled = Vec::new();
    for entry in entries.chunks_exact(8) {
        let [tag_low, tag_high, bits, _, id @ ..] = entry else { return None };
        let who = match u16::from_le_bytes([*tag_low, *tag_high]) {
            0x02 => "user",
            0x08 => "group",
            0x01 | 0x04 | 0x10 | 0x20 => continue,
            _ => return None,
        };
        let id = u32::from_le_bytes(id.try_into().ok()?);
        let letter = |bit: u8, letter: char| if bits & bit != 0 { letter } else { '-' };
        spelled.push(format!("{who}:{id}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')));
    }
    Some(spelled.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_entries_are_spelled_and_garbage_is_refused() {
        let list = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff],
            &[2, 0, 7, 0, 0xe8, 3, 0, 0],
            &[8, 0, 4, 0, 5, 0, 0, 0],
            &[0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff],
        ]
        .concat();
        assert_eq!(named_entries(&list).as_deref(), Some("user:1000:rwx,group:5:r--"));
        assert_eq!(named_entries(&list[..12]).as_deref(), Some(""));
        assert_eq!(named_entries(&list[..11]), None);
        assert_eq!(named_entries(&[0xff; 12]), None);
    }
}
