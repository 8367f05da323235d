//! Owns a real RFC 3161 authority for tests: OpenSSL's `ts` command behind a small HTTP server on the loopback address;
//! refuses nothing by itself, so that refusals come from OpenSSL.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use crate::stock;

/// A running authority; it serves until the test ends.
pub struct Authority {
    /// Its address.
    pub url: String,
    /// The root certificate to pin, PEM.
    pub root: PathBuf,
    /// The folder with its keys and configuration.
    pub folder: PathBuf,
}

const CONFIGURATION: &str = "\
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[authority]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = here
[here]
serial = ./serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
tsa_name = yes
ess_cert_id_chain = no
";

impl Authority {
    /// Makes keys and certificates (P-256) in a new folder below `parent` and starts serving.
    pub fn start(parent: &Path, name: &str) -> Self {
        let folder = parent.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("tsa.cnf"), CONFIGURATION).unwrap();
        std::fs::write(folder.join("serial"), "01").unwrap();
        let openssl = |arguments: &[&str]| stock("openssl", arguments, &folder);
        for key in ["root.key", "tsa.key"] {
            openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]);
        }
        let subject = format!("/O=Example Agency/CN={name} root");
        openssl(&[
            "req",
            "-new",
            "-x509",
            "-key",
            "root.key",
            "-config",
            "tsa.cnf",
            "-extensions",
            "root",
            "-subj",
            &subject,
            "-days",
            "3650",
            "-out",
            "root.pem",
        ]);
        let subject = format!("/O=Example Agency/CN={name} timestamp authority");
        openssl(&[
            "req", "-new", "-key", "tsa.key", "-config", "tsa.cnf", "-subj", &subject, "-out", "tsa.csr",
        ]);
        openssl(&[
            "x509",
            "-req",
            "-in",
            "tsa.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-CAcreateserial",
            "-extfile",
            "tsa.cnf",
            "-extensions",
            "authority",
            "-days",
            "3650",
            "-out",
            "tsa.pem",
        ]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tsr", listener.local_addr().unwrap());
        let serving = folder.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &serving);
            }
        });
        Self { url, root: folder.join("root.pem"), folder }
    }

    /// A token over the bytes of `data`, asked for without HTTP: a `TimeStampResp`.
    pub fn stamp(&self, data: &Path) -> Vec<u8> {
        let data = data.display().to_string();
        stock(
            "openssl",
            &["ts", "-query", "-data", &data, "-sha256", "-cert", "-out", "direct.tsq"],
            &self.folder,
        );
        std::fs::copy(self.folder.join("direct.tsq"), self.folder.join("query.tsq")).unwrap();
        reply(&self.folder)
    }
}

fn answer(mut stream: TcpStream, folder: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut query = vec![0; length];
    if reader.read_exact(&mut query).is_err() {
        return;
    }
    std::fs::write(folder.join("query.tsq"), &query).unwrap();
    let reply = reply(folder);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        reply.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&reply));
}

fn reply(folder: &Path) -> Vec<u8> {
    stock(
        "openssl",
        &[
            "ts",
            "-reply",
            "-config",
            "tsa.cnf",
            "-queryfile",
            "query.tsq",
            "-signer",
            "tsa.pem",
            "-inkey",
            "tsa.key",
            "-out",
            "reply.tsr",
        ],
        folder,
    );
    std::fs::read(folder.join("reply.tsr")).unwrap()
}
