//! The vectors under `spec/vectors/proxy/` are what this code writes, reads and refuses. To write them anew after a change
//! of the format: `QENEX_WRITE_VECTORS=1 cargo test -p qenex-proxy --test vectors`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::prelude::*;
use qenex_proxy::{CERTIFICATE_MAX, HEADER_MAX, Origin};

/// One that is, for readers who look into it: of CN=a program, O=Bank, of vectors.
const CERTIFICATE: &[u8] = include_bytes!("../../../spec/vectors/proxy/certificate.der");

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors/proxy").join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn held_to(name: &str, text: &str) {
    if std::env::var_os("QENEX_WRITE_VECTORS").is_some() {
        std::fs::write(file(name), text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(file(name)).unwrap(), "{name} is what this code writes");
}

fn plain() -> Origin<'static> {
    Origin { peer: "192.0.2.7:50123".parse().unwrap(), local: "198.51.100.1:8443".parse().unwrap(), certificate: None }
}

fn written() -> Vec<(&'static str, Origin<'static>)> {
    let wide = Origin {
        peer: "[2001:db8::7]:50123".parse().unwrap(),
        local: "[2001:db8::1]:7443".parse().unwrap(),
        ..plain()
    };
    vec![
        ("ipv4", plain()),
        ("ipv6", wide),
        ("ipv4_certificate", Origin { certificate: Some(CERTIFICATE), ..plain() }),
        ("ipv6_certificate", Origin { certificate: Some(CERTIFICATE), ..wide }),
    ]
}

#[test]
fn headers_are_written_and_read_as_they_stand() {
    let mut text = String::from("# name peer local certificate header; bytes in hexadecimal, - for none\n");
    for (name, origin) in written() {
        let header = origin.encode().unwrap();
        let certificate = origin.certificate.map_or_else(|| "-".to_owned(), hex);
        writeln!(text, "{name} {} {} {certificate} {}", origin.peer, origin.local, hex(&header)).unwrap();
        let stream = [&header[..], b"GET / HTTP/1.1"].concat();
        assert_eq!(Origin::decode(&stream), Ok(Some((origin, header.len()))));
        for end in 0..header.len() {
            assert_eq!(Origin::decode(&stream[..end]), Ok(None), "{name} {end}");
        }
    }
    held_to("headers.txt", &text);
}

/// Headers that are wrong in one thing, by what it is.
fn wrong() -> Vec<(&'static str, Vec<u8>)> {
    let bare = plain().encode().unwrap();
    let shown = Origin { certificate: Some(CERTIFICATE), ..plain() }.encode().unwrap();
    let with = |header: &[u8], at: usize, value: u8| {
        let mut changed = header.to_vec();
        changed[at] = value;
        changed
    };
    let longer = |header: &[u8], by: &[u8], inside: bool| {
        let mut changed = [header, by].concat();
        // The length of the header, and that of what it says of TLS.
        for at in if inside { &[14, 29][..] } else { &[14] } {
            let length = u16::from_be_bytes([changed[*at], changed[at + 1]]) + u16::try_from(by.len()).unwrap();
            changed[*at..at + 2].copy_from_slice(&length.to_be_bytes());
        }
        changed
    };
    vec![
        ("http", b"GET / HTTP/1.1\r\n".to_vec()),
        ("version_1", b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 8443\r\n".to_vec()),
        ("version_3", with(&bare, 12, 0x31)),
        ("command_local", with(&bare, 12, 0x20)),
        ("family_none", with(&bare, 13, 0x00)),
        ("family_udp", with(&bare, 13, 0x12)),
        ("family_unix", with(&bare, 13, 0x31)),
        ("too_long", with(&bare, 14, 0xFF)),
        ("no_addresses", with(&bare, 15, 8)),
        ("no_tls", with(&bare, 15, 12)),
        ("tls_cut_off", with(&bare, 30, 200)),
        ("tls_too_short", with(&bare, 30, 4)),
        ("another_value_first", with(&bare, 28, 0x04)),
        ("another_value_after", longer(&bare, &[0x04, 0, 0], false)),
        ("another_value_within", longer(&bare, &[0x22, 0, 1, b'x'], true)),
        ("not_by_tls", with(&bare, 31, 0)),
        ("not_verified", with(&shown, 35, 1)),
        ("tls_1_2", with(&bare, 45, b'2')),
        ("certificate_not_announced", with(&shown, 31, 1)),
        ("certificate_missing", with(&bare, 31, 7)),
        ("certificate_twice", longer(&shown, &[0x28, 0, 1, b'x'], true)),
        ("certificate_empty", {
            let mut empty = longer(&bare, &[0x28, 0, 0], true);
            empty[31] = 7;
            empty
        }),
    ]
}

#[test]
fn what_the_front_would_not_write_is_refused() {
    let mut text = String::from("# what is wrong, and the stream in hexadecimal\n");
    for (name, stream) in wrong() {
        writeln!(text, "{name} {}", hex(&stream)).unwrap();
        assert!(Origin::decode(&stream).is_err(), "{name}");
    }
    held_to("refused.txt", &text);
}

#[test]
fn the_longest_header_is_of_the_longest_certificate() {
    let certificate = vec![0x30; CERTIFICATE_MAX];
    let wide = written()[1].1;
    let header = Origin { certificate: Some(&certificate), ..wide }.encode().unwrap();
    assert_eq!(header.len(), HEADER_MAX);
    assert!(Origin::decode(&header).unwrap().is_some());
    assert_eq!(Origin { certificate: Some(&[certificate, vec![0]].concat()), ..wide }.encode(), None);
}

proptest! {
    #[test]
    fn one_changed_byte_is_refused_or_says_what_it_says(at in 0_usize..80, value: u8) {
        let mut header = Origin { certificate: Some(CERTIFICATE), ..plain() }.encode().unwrap();
        let at = at % header.len();
        header[at] = value;
        if let Ok(Some((origin, length))) = Origin::decode(&header) {
            prop_assert_eq!(origin.encode().unwrap(), &header[..length]);
        }
    }

    #[test]
    fn nothing_makes_it_panic(bytes: Vec<u8>, prefix in 0_usize..60) {
        let header = plain().encode().unwrap();
        _ = Origin::decode(&bytes);
        _ = Origin::decode(&[&header[..prefix.min(header.len())], &bytes[..]].concat());
    }
}
