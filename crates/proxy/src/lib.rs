//! The header with which the TLS front begins each connection to a server behind it: the PROXY protocol, version 2, as
//! the makers of HAProxy specify it, of which this is the part that we use.
//!
//! It says who is at the other end: address, and the certificate where one was shown and found good. It is believed because
//! it comes first and over a socket that nobody but the owner of the home can open; nothing behind it can say such a
//! thing again. Both ends are of one release, so that whatever the front would not have written is refused.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What every header begins with.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest certificate of a client, in bytes; usual ones have one or two thousand.
pub const CERTIFICATE_MAX: usize = 16 << 10;
/// The longest header.
pub const HEADER_MAX: usize =
    PREFIX + ADDRESSES_V6 + TLV_HEAD + TLS_HEAD + TLV_HEAD + VERSION.len() + TLV_HEAD + CERTIFICATE_MAX;

/// Signature, command, family and length.
const PREFIX: usize = 16;
/// Version 2 of the protocol, command PROXY.
const COMMAND: u8 = 0x21;
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;
const ADDRESSES_V4: usize = 12;
const ADDRESSES_V6: usize = 36;
/// Type and length.
const TLV_HEAD: usize = 3;
/// Flags and the result of verifying.
const TLS_HEAD: usize = 5;
const TYPE_TLS: u8 = 0x20;
const SUBTYPE_VERSION: u8 = 0x21;
const SUBTYPE_CERTIFICATE: u8 = 0x28;
const VERSION: &[u8] = b"TLSv1.3";
/// The client came by TLS.
const FLAG_TLS: u8 = 1;
/// It showed a certificate, on this connection and in this session (none is ever resumed).
const FLAG_CERTIFICATE: u8 = 2 | 4;

/// Who is at the other end of a connection that the front passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The client.
    pub peer: SocketAddr,
    /// What it connected to.
    pub local: SocketAddr,
    /// Its certificate (X.509, DER), if it showed one: the chain and the proof of its key were good.
    pub certificate: Option<&'a [u8]>,
}

/// What a stream begins with instead of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no header of the front: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl<'a> Origin<'a> {
    /// The header; `None` if the certificate is longer than [`CERTIFICATE_MAX`].
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut inner = vec![FLAG_TLS, 0, 0, 0, 0];
        tlv(&mut inner, SUBTYPE_VERSION, VERSION)?;
        if let Some(certificate) = self.certificate {
            if certificate.len() > CERTIFICATE_MAX {
                return None;
            }
            inner[0] |= FLAG_CERTIFICATE;
            tlv(&mut inner, SUBTYPE_CERTIFICATE, certificate)?;
        }
        let mut body = Vec::new();
        let family = match (self.peer.ip().to_canonical(), self.local.ip().to_canonical()) {
            (IpAddr::V4(peer), IpAddr::V4(local)) => {
                body.extend(peer.octets().into_iter().chain(local.octets()));
                TCP_V4
            }
            (peer, local) => {
                body.extend(wide(peer).octets().into_iter().chain(wide(local).octets()));
                TCP_V6
            }
        };
        body.extend(self.peer.port().to_be_bytes().into_iter().chain(self.local.port().to_be_bytes()));
        tlv(&mut body, TYPE_TLS, &inner)?;
        let length = u16::try_from(body.len()).ok()?.to_be_bytes();
        Some([&SIGNATURE[..], &[COMMAND, family], &length, &body].concat())
    }

    /// Reads the header that `stream` begins with. `None` while it is not complete; else who it is, and how many bytes
    /// the header has. A stream that cannot become one is refused at its first wrong byte, and no more than
    /// [`HEADER_MAX`] bytes are ever asked for.
    ///
    /// # Errors
    /// [`Malformed`]: end the connection.
    pub fn decode(stream: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let begun = stream.len().min(SIGNATURE.len());
        if stream[..begun] != SIGNATURE[..begun] {
            return Err(Malformed("the signature is another"));
        }
        if stream.get(12).is_some_and(|command| *command != COMMAND) {
            return Err(Malformed("the version or the command is another"));
        }
        let addresses = match stream.get(13) {
            None => return Ok(None),
            Some(&TCP_V4) => ADDRESSES_V4,
            Some(&TCP_V6) => ADDRESSES_V6,
            Some(_) => return Err(Malformed("the family is another")),
        };
        let Some(&[high, low]) = stream.get(14..PREFIX) else { return Ok(None) };
        let length = PREFIX + usize::from(u16::from_be_bytes([high, low]));
        if length > HEADER_MAX {
            return Err(Malformed("it is too long"));
        }
        let Some(body) = stream.get(PREFIX..length) else { return Ok(None) };
        let (peer, local, rest) = match addresses {
            ADDRESSES_V4 => ends::<4, Ipv4Addr>(body),
            _ => ends::<16, Ipv6Addr>(body),
        }
        .ok_or(Malformed("the addresses are cut off"))?;
        let mut rest = Tlvs(rest);
        let inner = rest.next(TYPE_TLS).ok_or(Malformed("it does not say how the client came"))?;
        let (Some((head, inner)), true) = (inner.split_first_chunk::<TLS_HEAD>(), rest.0.is_empty()) else {
            return Err(Malformed("what it says of TLS is cut off, or something follows it"));
        };
        let mut inner = Tlvs(inner);
        if inner.next(SUBTYPE_VERSION) != Some(VERSION) {
            return Err(Malformed("the client did not come by TLS 1.3"));
        }
        let certificate = inner.next(SUBTYPE_CERTIFICATE);
        let flags = FLAG_TLS | if certificate.is_some() { FLAG_CERTIFICATE } else { 0 };
        let is_plausible = certificate.is_none_or(|one| (1..=CERTIFICATE_MAX).contains(&one.len()));
        if *head != [flags, 0, 0, 0, 0] || !inner.0.is_empty() || !is_plausible {
            return Err(Malformed("what it says of the certificate does not fit together"));
        }
        Ok(Some((Self { peer, local, certificate }, length)))
    }
}

/// Appends a value with its type and length.
fn tlv(to: &mut Vec<u8>, kind: u8, value: &[u8]) -> Option<()> {
    let length = u16::try_from(value.len()).ok()?.to_be_bytes();
    to.extend([&[kind][..], &length, value].concat());
    Some(())
}

const fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Both addresses, then both ports, and what follows.
fn ends<const SIZE: usize, Address: From<[u8; SIZE]> + Into<IpAddr>>(
    body: &[u8],
) -> Option<(SocketAddr, SocketAddr, &[u8])> {
    let (peer, body) = body.split_first_chunk::<SIZE>()?;
    let (local, body) = body.split_first_chunk::<SIZE>()?;
    let (peer_port, body) = body.split_first_chunk()?;
    let (local_port, body) = body.split_first_chunk()?;
    let end = |address: [u8; SIZE], port: [u8; 2]| {
        SocketAddr::new(Address::from(address).into().to_canonical(), u16::from_be_bytes(port))
    };
    Some((end(*peer, *peer_port), end(*local, *local_port), body))
}

/// Values with their types, one after another.
struct Tlvs<'a>(&'a [u8]);

impl<'a> Tlvs<'a> {
    /// The next value, if it is whole and of this type; what is not is left where it is.
    fn next(&mut self, kind: u8) -> Option<&'a [u8]> {
        let (&[found, high, low], after) = self.0.split_first_chunk()?;
        let (value, rest) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        (found == kind).then(|| {
            self.0 = rest;
            value
        })
    }
}
