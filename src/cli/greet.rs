//! What `keyward demo` says once it serves: where to look, and what to type.
//!
//! The daemon calls it when every door is open; the words are here because the command line is
//! the room that talks to people.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;

use super::args::Color;
use super::out::Out;
use super::run::DemoOptions;

/// Prints the lines to try. `options` holds the addresses that were really opened (a port 0 is
/// known by then), `root` is the file with the root of the internal CA.
pub fn greet(options: &DemoOptions, root: &Path) {
    let program = std::env::args_os().next();
    let program = program.as_deref().unwrap_or_else(|| OsStr::new("keyward"));
    // A demo whose reader has gone goes on serving.
    let _nobody_reads = Out::new(Color::Auto, false).line(greeting(program, options, root));
}

fn greeting(program: &OsStr, options: &DemoOptions, root: &Path) -> String {
    let https = options.https.first().map(|address| url("https", *address, 443));
    let https = https.unwrap_or_else(|| "https://localhost/".to_owned());
    let mut text = format!("serving {https}\n");
    if let Some(http) = options.http.first() {
        text.push_str(&format!("     at {} is a redirect to it\n", url("http", *http, 80)));
    }
    let (program, root) = (quoted(&program.to_string_lossy()), quoted(&root.to_string_lossy()));
    let socket = options.state.join("run/admin.sock");
    let socket = quoted(&socket.to_string_lossy());
    text.push_str(&format!("    try curl --cacert {root} {https}\n"));
    text.push_str(&format!("   look {program} --socket {socket} status\n"));
    text.push_str("    end Ctrl-C");
    text
}

/// The address as a client writes it; every loopback address is `localhost`.
fn url(scheme: &str, address: SocketAddr, usual: u16) -> String {
    let host = match address {
        any if any.ip().is_loopback() || any.ip().is_unspecified() => "localhost".to_owned(),
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    let port = if address.port() == usual { String::new() } else { format!(":{}", address.port()) };
    format!("{scheme}://{host}{port}/")
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_to_try_can_be_pasted() {
        let mut options = DemoOptions {
            https: vec!["127.0.0.1:8443".parse().unwrap(), "[::1]:8443".parse().unwrap()],
            http: vec!["127.0.0.1:80".parse().unwrap()],
            state: "target/demo".into(),
        };
        let text =
            greeting("target/debug/keyward".as_ref(), &options, "target/demo/r.pem".as_ref());
        let expected = "\
serving https://localhost:8443/
     at http://localhost/ is a redirect to it
    try curl --cacert target/demo/r.pem https://localhost:8443/
   look target/debug/keyward --socket target/demo/run/admin.sock status
    end Ctrl-C";
        assert_eq!(text, expected);
        options.https = vec!["[2001:db8::1]:443".parse().unwrap()];
        options.http.clear();
        options.state = "my demo's".into();
        let text = greeting("keyward".as_ref(), &options, "r.pem".as_ref());
        assert!(text.starts_with("serving https://[2001:db8::1]/\n    try "), "{text}");
        assert!(text.contains(r"--socket 'my demo'\''s/run/admin.sock' status"), "{text}");
    }
}
