//! Owns `init`: an examiner's key and the line that makes an organisation know it; refuses principals that the trust
//! file could not hold.

use std::io::IsTerminal;

use holdfast_schemas::sshsig::{NAMESPACE_CUSTODY, NAMESPACE_SEAL};
use zeroize::Zeroizing;

use super::{Failure, InitArgs, print, say};
use crate::seal::make_examiner_key;

pub(super) fn run(args: &InitArgs) -> Result<u8, Failure> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte);
    if args.principal.is_empty() || !args.principal.bytes().all(allowed) {
        return Err(Failure::usage(
            "a principal is made of ASCII letters, digits and @ . _ + -, such as an e-mail address",
        ));
    }
    let passphrase = passphrase(args)?;
    let comment = format!("{} (holdfast examiner)", args.principal);
    let public = make_examiner_key(&args.output, &comment, passphrase.as_ref().map(|text| text.as_str()))
        .map_err(Failure::usage)?;
    say(&format!(
        "Made {} and {}.pub, fingerprint {}.",
        args.output.display(),
        args.output.display(),
        public.fingerprint()
    ));
    if passphrase.is_none() {
        say("The key is not encrypted: keep it where nobody else can read it.");
    }
    say(
        "Hand the next line to whoever keeps your organisation's allowed_signers file, and let them compare the fingerprint with you by voice:",
    );
    print(&format!(
        "{} namespaces=\"{NAMESPACE_SEAL},{NAMESPACE_CUSTODY}\" {}",
        args.principal,
        public.to_openssh()
    ))?;
    Ok(0)
}

fn passphrase(args: &InitArgs) -> Result<Option<Zeroizing<String>>, Failure> {
    if args.no_passphrase {
        return Ok(None);
    }
    if let Some(file) = &args.passphrase_file {
        let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!("cannot read the passphrase from {}: {error}", file.display()))
        })?);
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(Failure::usage(format!("the first line of {} is empty", file.display())));
        }
        return Ok(Some(Zeroizing::new(line.to_owned())));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "no terminal to ask for a passphrase on; give --passphrase-file or --no-passphrase",
        ));
    }
    let ask = |prompt| rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(Failure::usage);
    let first = ask("New passphrase: ")?;
    if first.is_empty() {
        return Err(Failure::usage("the passphrase is empty; --no-passphrase makes an unencrypted key"));
    }
    let again = ask("Again: ")?;
    if *first != *again {
        return Err(Failure::usage("the two passphrases differ; nothing was made"));
    }
    Ok(Some(first))
}
