//! The netlink message format, as far as it is used here: requests are written and answers read
//! without I/O. Source: Documentation/userspace-api/netlink/intro.rst, uapi/linux/netlink.h.

use rustix::io::Errno;

/// A message is a request.
pub(crate) const NLM_F_REQUEST: u16 = 1;
/// The kernel shall say whether it did what was asked.
pub(crate) const NLM_F_ACK: u16 = 4;
/// What does not exist is made.
pub(crate) const NLM_F_CREATE: u16 = 0x400;
/// An answer that is an error number, or 0.
pub(crate) const NLMSG_ERROR: u16 = 2;
const NESTED_AND_BYTE_ORDER_BITS: u16 = 0xc000;
const HEADER_LEN: usize = 16;

/// A message: header and body.
pub(crate) fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEADER_LEN + body.len()).expect("messages here are short");
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]); // the kernel knows the sender
    bytes.extend_from_slice(body);
    bytes
}

/// A received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    /// Empty in an acknowledgement.
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads the first message.
    ///
    /// # Errors
    /// The error that it carries; EBADMSG: it is none.
    pub(crate) fn parse(answer: &'a [u8]) -> Result<Self, Errno> {
        let (header, rest) = answer.split_first_chunk::<HEADER_LEN>().ok_or(Errno::BADMSG)?;
        let [l0, l1, l2, l3, t0, t1, _, _, s0, s1, s2, s3, ..] = *header;
        let body_len = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3]))
            .ok()
            .and_then(|len| len.checked_sub(HEADER_LEN))
            .ok_or(Errno::BADMSG)?;
        let body = rest.get(..body_len).ok_or(Errno::BADMSG)?;
        let kind = u16::from_ne_bytes([t0, t1]);
        let sequence = u32::from_ne_bytes([s0, s1, s2, s3]);
        if kind == NLMSG_ERROR {
            let (code, _) = body.split_first_chunk::<4>().ok_or(Errno::BADMSG)?;
            return match i32::from_ne_bytes(*code) {
                0 => Ok(Self { kind, sequence, body: &[] }),
                code => Err(Errno::from_raw_os_error(code.saturating_neg())),
            };
        }
        Ok(Self { kind, sequence, body })
    }
}

/// Length, type and padded value.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).expect("attributes here are short");
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The value of the first attribute of this type.
pub(crate) fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let [l0, l1, k0, k1, ..] = *attributes else { return None };
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = attributes.get(4..len)?;
        if u16::from_ne_bytes([k0, k1]) & !NESTED_AND_BYTE_ORDER_BITS == kind {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_found_behind_others() {
        let bytes =
            [attribute(1, b"abc"), attribute(7, &[]), attribute(3 | 0x8000, b"wxyz")].concat();
        assert_eq!(find(&bytes, 1), Some(&b"abc"[..]));
        assert_eq!(find(&bytes, 7), Some(&[][..]));
        assert_eq!(find(&bytes, 3), Some(&b"wxyz"[..]));
        assert_eq!(find(&bytes, 2), None);
    }

    #[test]
    fn error_answer_is_its_number_and_zero_is_none() {
        let error = request(NLMSG_ERROR, 0, 7, &(-95_i32).to_ne_bytes());
        assert_eq!(Message::parse(&error), Err(Errno::OPNOTSUPP));
        let done = request(NLMSG_ERROR, 0, 7, &0_i32.to_ne_bytes());
        assert_eq!(Message::parse(&done), Ok(Message { kind: 2, sequence: 7, body: &[] }));
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(message) = Message::parse(&bytes) {
                find(message.body, 3);
            }
            find(&bytes, 3);
        }
    }
}
