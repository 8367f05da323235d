//! Owns a tree of what hosts hold and tools stumble over: names, kinds and sizes; refuses nothing a Linux kernel allows.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Names of files, as bytes. What is wrong with each is plain to see.
const NAMES: [&[u8]; 46] = [
    b"plain.txt",
    b"not utf-8 \xff\xfe\x80.txt",
    b"two\nlines",
    b"carriage\rreturn\ttab",
    b"\x1b[31mred\x1b[0m",
    b"a=b",
    b"=41",
    b"=~long",
    b"100%",
    b"%41%0A",
    b"$HOME",
    b"$(id)",
    b"`id`",
    b"-rf",
    b"--help",
    b"dot.",
    b"space ",
    b" space",
    b"...",
    b"..hidden",
    b".hidden",
    b"~",
    b"~root",
    b"CON.txt",
    b"con.txt",
    b"nul",
    b"Com1.log",
    b"LPT9",
    b"aux ",
    b"Name",
    b"name",
    b"NAME",
    b"nAmE",
    b"it's \"quoted\"",
    b"back\\slash",
    b"colon:stream:$DATA",
    b";|&<>*?!#",
    b"[glob]{a,b}",
    b"manifest-sha256.txt",
    b"caf\xc3\xa9",
    b"cafe\xcc\x81",
    b"\xe2\x80\xaetxt.exe",
    b"\xe6\x97\xa5\xe6\x9c\xac",
    b"\x01\x7f",
    b"  two  spaces  ",
    b"\\",
];

/// Plants the tree in `folder`: every name above, long names, deep folders, folders that differ in case, odd times,
/// empty, sparse and random files, and one of each kind that is no file.
pub fn plant(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (number, name) in NAMES.iter().enumerate() {
        fs::write(folder.join(OsStr::from_bytes(name)), format!("{number}: {}\n", name.escape_ascii()))
            .unwrap();
    }
    plant_long_names(folder);
    plant_folders(folder);
    plant_contents(folder);
    plant_other_kinds(folder);
}

fn plant_long_names(folder: &Path) {
    let long: [Vec<u8>; 5] = [
        vec![b'a'; 255],
        [vec![b'a'; 254], vec![b'b']].concat(),
        [vec![b'A'; 254], vec![b'b']].concat(),
        vec![0xff; 255],
        vec![b'='; 200],
    ];
    for name in long {
        fs::write(folder.join(OsStr::from_bytes(&name)), &name[250.min(name.len() - 1)..]).unwrap();
    }
    // One just below the length at which a whole member name is replaced, one above it.
    for levels in [13, 16] {
        let mut deep = folder.join(format!("deep{levels}"));
        for _ in 0..levels {
            deep.push("d".repeat(200));
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("bottom"), format!("{levels} levels\n")).unwrap();
    }
}

fn plant_folders(folder: &Path) {
    for name in ["Folder", "folder", "aux", "trailing.", "folder with space "] {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("file"), name).unwrap();
        fs::write(folder.join(name).join("File"), name.to_uppercase()).unwrap();
    }
    fs::create_dir_all(folder.join("empty folder/within")).unwrap();
}

fn plant_contents(folder: &Path) {
    fs::write(folder.join("empty"), b"").unwrap();
    fs::write(folder.join("random.bin"), random(300 * 1024)).unwrap();
    let sparse = File::create(folder.join("sparse.img")).unwrap();
    sparse.set_len(5 * 1024 * 1024 + 1).unwrap();
    fs::hard_link(folder.join("random.bin"), folder.join("hard link to random.bin")).unwrap();
    fs::set_permissions(folder.join("-rf"), fs::Permissions::from_mode(0o4755)).unwrap();
    let year = Duration::from_secs(365 * 86_400);
    let epoch = SystemTime::UNIX_EPOCH;
    for (name, time) in
        [("1960", epoch - 10 * year), ("1975", epoch + 5 * year), ("2200", epoch + 230 * year)]
    {
        let path = folder.join(format!("changed in {name}"));
        fs::write(&path, name).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
}

fn plant_other_kinds(folder: &Path) {
    mknodat(CWD, folder.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // A socket's whole path may be 107 bytes long; by its folder's descriptor it is always short enough.
    let open = File::open(folder).unwrap();
    drop(UnixListener::bind(format!("/proc/self/fd/{}/socket", open.as_raw_fd())).unwrap());
    for (link, target) in [
        ("loop a", "loop b"),
        ("loop b", "loop a"),
        ("loop to itself", "loop to itself"),
        ("loop to its folder", "."),
        ("dangling", "nothing here"),
        ("link out of the tree", "/etc/passwd"),
        ("link to a file", "plain.txt"),
    ] {
        symlink(target, folder.join(link)).unwrap();
    }
    let undecodable = OsStr::from_bytes(b"target \xff\n");
    symlink(undecodable, folder.join(OsStr::from_bytes(b"link \xff"))).unwrap();
}

/// Plants `count` small files, so many to a folder.
pub fn plant_many(folder: &Path, count: usize) {
    const IN_ONE_FOLDER: usize = 1_000;
    for number in 0..count {
        let below = folder.join((number / IN_ONE_FOLDER).to_string());
        if number % IN_ONE_FOLDER == 0 {
            fs::create_dir_all(&below).unwrap();
        }
        fs::write(below.join(number.to_string()), number.to_string()).unwrap();
    }
}

/// Plants one file of `size` bytes without a hole, and a small one before and after it.
pub fn plant_huge(folder: &Path, size: u64) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("a before"), b"before\n").unwrap();
    fs::write(folder.join("z after"), b"after\n").unwrap();
    let path = folder.join("huge.img");
    // Room is set aside and nothing written: the file reads as zeros and has no holes.
    let file = File::create(&path).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size).unwrap();
    path
}

fn random(length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open("/dev/urandom").unwrap().take(length).read_to_end(&mut bytes).unwrap();
    bytes
}
