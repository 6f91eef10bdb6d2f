//! The engine as a program without Python: for containers that need no more, and for tests that kill it.
//!
//! `qenex-engine FOLDER BOOK LISTEN TOKEN_FILE`: serves the book (32 hexadecimal digits) in FOLDER at LISTEN (address
//! and port, 0 is any free one) to those who know the secret in TOKEN_FILE. Prints `listening ADDRESS` once it
//! answers. Ends with code 0 after SIGTERM or SIGINT, 1 with one line of text if it cannot go on, 2 if it was called
//! wrongly.

use std::io::Write as _;
use std::process::ExitCode;

use qenex_engine::credential::Credential;
use qenex_engine::server::{ServerConfig, run};

const USAGE: &str = "usage: qenex-engine FOLDER BOOK LISTEN TOKEN_FILE [--confirm-clock]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let config = match configure(&arguments) {
        Ok(config) => config,
        Err(what) => {
            eprintln!("{what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let ready = |address: Option<std::net::SocketAddr>| {
        if let Some(address) = address {
            let mut out = std::io::stdout().lock();
            // Nobody may be listening any more; the server serves all the same.
            _ = writeln!(out, "listening {address}").and_then(|()| out.flush());
        }
    };
    match run(config, ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qenex-engine: {error}");
            ExitCode::FAILURE
        }
    }
}

fn configure(arguments: &[String]) -> Result<ServerConfig, String> {
    let (flags, words): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|word| word.starts_with("--"));
    let [folder, book, listen, token_file] = words[..] else { return Err("four arguments are needed".to_owned()) };
    let mut config = ServerConfig::new(folder, Some(parse_book(book)?));
    config.listen = Some(listen.parse().map_err(|_| format!("{listen} is no address with a port"))?);
    let secret = std::fs::read(token_file).map_err(|error| format!("cannot read {token_file}: {error}"))?;
    config.credentials = vec![Credential::owner(secret.trim_ascii())];
    for flag in flags {
        match flag.as_str() {
            "--confirm-clock" => config.confirm_clock = true,
            _ => return Err(format!("{flag} is not known")),
        }
    }
    let stop = qenex_engine::stop_signals().map_err(|error| format!("cannot watch signals: {error}"))?;
    config.stop = Some(stop);
    Ok(config)
}

fn parse_book(digits: &str) -> Result<[u8; 16], String> {
    let wrong = || format!("{digits} is not a book: 32 hexadecimal digits are needed");
    let mut book = [0; 16];
    if digits.len() != 32 || !digits.is_ascii() {
        return Err(wrong());
    }
    for (byte, pair) in book.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let pair = core::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(book)
}
