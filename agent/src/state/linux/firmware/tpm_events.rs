//! Owns the parsing of a TPM event log (TCG PC Client Platform Firmware Profile 1.06, 10); refuses to trust any length in
//! it.

/// One event, borrowed from the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) pcr: u32,
    pub(super) event_type: u32,
    /// Algorithm of TCG's registry, and the digest.
    pub(super) digests: Vec<(u16, &'a [u8])>,
    pub(super) data: &'a [u8],
}

/// The events of a log, in order; ends at the first that is cut short or makes no sense.
pub(super) struct Events<'a> {
    rest: &'a [u8],
    /// Algorithms and lengths of their digests, where the log says that its entries have several.
    sizes: Option<Vec<(u16, usize)>>,
    first: bool,
}

/// `TPM_ALG_SHA1`.
const SHA1: u16 = 4;

/// `EV_NO_ACTION`.
const NO_ACTION: u32 = 3;

/// Signature of the header of a log whose entries have several digests.
const SPEC_ID: &[u8] = b"Spec ID Event03\0";

/// Algorithms that a header names at most; TPMs have a handful.
const ALGORITHMS: u32 = 64;

impl<'a> Events<'a> {
    pub(super) fn of(log: &'a [u8]) -> Self {
        Self { rest: log, sizes: None, first: true }
    }

    /// The bytes that were not understood.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    fn event(&self, bytes: &mut &'a [u8]) -> Option<Event<'a>> {
        let (pcr, event_type) = (u32_of(bytes)?, u32_of(bytes)?);
        let mut digests = Vec::new();
        match &self.sizes {
            None => digests.push((SHA1, take(bytes, 20)?)),
            Some(sizes) => {
                let count = u32_of(bytes)?;
                if count > ALGORITHMS {
                    return None;
                }
                for _ in 0..count {
                    let algorithm = u16_of(bytes)?;
                    let (_, size) = sizes.iter().find(|(known, _)| *known == algorithm)?;
                    digests.push((algorithm, take(bytes, *size)?));
                }
            }
        }
        let size = usize::try_from(u32_of(bytes)?).ok()?;
        Some(Event { pcr, event_type, digests, data: take(bytes, size)? })
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let mut bytes = self.rest;
        let event = self.event(&mut bytes)?;
        // Some firmware pads its log with zeroes.
        if event.event_type == 0 && event.data.is_empty() && bytes.iter().all(|byte| *byte == 0) {
            self.rest = &[];
            return None;
        }
        self.rest = bytes;
        if std::mem::take(&mut self.first) && event.event_type == NO_ACTION {
            self.sizes = digest_sizes(event.data);
        }
        Some(event)
    }
}

/// `TCG_EfiSpecIdEvent`: signature, platform class, versions, then the algorithms.
fn digest_sizes(mut header: &[u8]) -> Option<Vec<(u16, usize)>> {
    let bytes = &mut header;
    if take(bytes, SPEC_ID.len())? != SPEC_ID {
        return None;
    }
    take(bytes, 8)?;
    let count = u32_of(bytes)?;
    if count > ALGORITHMS {
        return None;
    }
    (0..count).map(|_| Some((u16_of(bytes)?, usize::from(u16_of(bytes)?)))).collect()
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn u32_of(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?))
}

fn u16_of(bytes: &mut &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(take(bytes, 2)?.try_into().ok()?))
}

/// The name of an algorithm of TCG's registry.
pub(super) fn algorithm(number: u16) -> String {
    match number {
        SHA1 => "sha1".to_owned(),
        0x0b => "sha256".to_owned(),
        0x0c => "sha384".to_owned(),
        0x0d => "sha512".to_owned(),
        0x12 => "sm3_256".to_owned(),
        0x27 => "sha3_256".to_owned(),
        0x28 => "sha3_384".to_owned(),
        0x29 => "sha3_512".to_owned(),
        other => format!("0x{other:04x}"),
    }
}

/// The name of a type of event.
pub(super) fn event_name(number: u32) -> Option<&'static str> {
    Some(match number {
        0x00 => "EV_PREBOOT_CERT",
        0x01 => "EV_POST_CODE",
        0x02 => "EV_UNUSED",
        0x03 => "EV_NO_ACTION",
        0x04 => "EV_SEPARATOR",
        0x05 => "EV_ACTION",
        0x06 => "EV_EVENT_TAG",
        0x07 => "EV_S_CRTM_CONTENTS",
        0x08 => "EV_S_CRTM_VERSION",
        0x09 => "EV_CPU_MICROCODE",
        0x0a => "EV_PLATFORM_CONFIG_FLAGS",
        0x0b => "EV_TABLE_OF_DEVICES",
        0x0c => "EV_COMPACT_HASH",
        0x0d => "EV_IPL",
        0x0e => "EV_IPL_PARTITION_DATA",
        0x0f => "EV_NONHOST_CODE",
        0x10 => "EV_NONHOST_CONFIG",
        0x11 => "EV_NONHOST_INFO",
        0x12 => "EV_OMIT_BOOT_DEVICE_EVENTS",
        0x8000_0001 => "EV_EFI_VARIABLE_DRIVER_CONFIG",
        0x8000_0002 => "EV_EFI_VARIABLE_BOOT",
        0x8000_0003 => "EV_EFI_BOOT_SERVICES_APPLICATION",
        0x8000_0004 => "EV_EFI_BOOT_SERVICES_DRIVER",
        0x8000_0005 => "EV_EFI_RUNTIME_SERVICES_DRIVER",
        0x8000_0006 => "EV_EFI_GPT_EVENT",
        0x8000_0007 => "EV_EFI_ACTION",
        0x8000_0008 => "EV_EFI_PLATFORM_FIRMWARE_BLOB",
        0x8000_0009 => "EV_EFI_HANDOFF_TABLES",
        0x8000_000a => "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
        0x8000_000b => "EV_EFI_HANDOFF_TABLES2",
        0x8000_000c => "EV_EFI_VARIABLE_BOOT2",
        0x8000_000d => "EV_EFI_GPT_EVENT2",
        0x8000_0010 => "EV_EFI_HCRTM_EVENT",
        0x8000_00e0 => "EV_EFI_VARIABLE_AUTHORITY",
        0x8000_00e1 => "EV_EFI_SPDM_FIRMWARE_BLOB",
        0x8000_00e2 => "EV_EFI_SPDM_FIRMWARE_CONFIG",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old_event(pcr: u32, event_type: u32, data: &[u8]) -> Vec<u8> {
        let size = u32::try_from(data.len()).unwrap();
        [&pcr.to_le_bytes()[..], &event_type.to_le_bytes(), &[7; 20], &size.to_le_bytes(), data].concat()
    }

    fn agile_log() -> Vec<u8> {
        let header = [
            SPEC_ID,
            &[0, 0, 0, 0, 0, 2, 0, 2],
            &2u32.to_le_bytes(),
            &4u16.to_le_bytes(),
            &20u16.to_le_bytes(),
            &11u16.to_le_bytes(),
            &32u16.to_le_bytes(),
            &[0],
        ]
        .concat();
        let event = [
            &4u32.to_le_bytes()[..],
            &0x8000_0007u32.to_le_bytes(),
            &2u32.to_le_bytes(),
            &4u16.to_le_bytes(),
            &[1; 20],
            &11u16.to_le_bytes(),
            &[2; 32],
            &4u32.to_le_bytes(),
            b"Exit",
        ]
        .concat();
        [old_event(0, NO_ACTION, &header), event].concat()
    }

    #[test]
    fn log_with_several_digests_is_read_by_its_header() {
        let log = agile_log();
        let mut events = Events::of(&log);
        let found: Vec<_> = events.by_ref().collect();
        assert_eq!((found.len(), events.left()), (2, 0));
        assert_eq!((found[1].pcr, event_name(found[1].event_type)), (4, Some("EV_EFI_ACTION")));
        assert_eq!(found[1].digests, [(4, &[1; 20][..]), (11, &[2; 32])]);
        assert_eq!(found[1].data, b"Exit");
    }

    #[test]
    fn old_log_has_one_digest_each() {
        let log = [old_event(0, 8, b"1.0"), old_event(5, 13, b"grub"), vec![0; 64]].concat();
        let mut events = Events::of(&log);
        let found: Vec<_> = events.by_ref().map(|event| (event.pcr, event.data.to_vec())).collect();
        assert_eq!(found, [(0, b"1.0".to_vec()), (5, b"grub".to_vec())]);
        assert_eq!(events.left(), 0);
    }

    #[test]
    fn every_cut_and_every_flipped_byte_ends_without_panic() {
        let log = agile_log();
        for end in 0..log.len() {
            let mut events = Events::of(&log[..end]);
            assert!(events.by_ref().count() < 2);
            for garbage in [0, 0x7f, 0xff] {
                let mut log = log.clone();
                log[end] = garbage;
                assert!(Events::of(&log).count() <= log.len());
            }
        }
        assert_eq!(Events::of(&[0xff; 4096]).count(), 0);
    }

    #[test]
    fn digest_of_no_length_does_not_make_the_log_endless() {
        let header =
            [SPEC_ID, &[0; 8], &1u32.to_le_bytes(), &4u16.to_le_bytes(), &0u16.to_le_bytes()].concat();
        let log = [old_event(0, NO_ACTION, &header), vec![1; 1000]].concat();
        assert!(Events::of(&log).count() < 1000);
    }
}
