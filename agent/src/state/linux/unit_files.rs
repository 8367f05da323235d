//! Owns finding every systemd unit file in every search path with its drop-ins and what enables it; refuses to ask a
//! running systemd.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use holdfast_schemas::item::ItemKind;

use super::files::{Entry, Files, join, logical_lines, split};
use super::text::text;
use crate::state::TableCapture;

/// Search paths of systemd.unit(5), the first of which wins.
const SYSTEM: [&str; 13] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];
const USER: [&str; 8] = [
    "/etc/xdg/systemd/user",
    "/etc/systemd/user",
    "/run/systemd/user",
    "/usr/local/share/systemd/user",
    "/usr/share/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
    "/lib/systemd/user",
];
/// Below a user's home, before the others.
const HOME: [&[u8]; 3] =
    [b".config/systemd/user.control", b".config/systemd/user", b".local/share/systemd/user"];
/// Below a user's run-time folder.
const RUNTIME: [&[u8]; 6] = [
    b"systemd/user.control",
    b"systemd/transient",
    b"systemd/generator.early",
    b"systemd/user",
    b"systemd/generator",
    b"systemd/generator.late",
];
const KINDS: [&[u8]; 11] = [
    b".service",
    b".socket",
    b".timer",
    b".path",
    b".mount",
    b".automount",
    b".swap",
    b".target",
    b".slice",
    b".scope",
    b".device",
];
/// The most that is read of one unit: its file and its drop-ins.
const UNIT_CAP: usize = 1 << 20;
/// The most drop-ins of one unit that are read.
const DROP_INS_CAP: usize = 256;

/// One unit file, or what there is of a unit that has none: drop-ins, or links that pull it in.
#[derive(Debug, Default)]
pub(super) struct Unit {
    pub(super) id: Vec<u8>,
    /// Empty where the unit has no file in these search paths.
    pub(super) fragment_path: Vec<u8>,
    /// Where the fragment points, if it is a link.
    pub(super) link: Option<Vec<u8>>,
    pub(super) drop_ins: Vec<Vec<u8>>,
    /// Links that pull the unit in.
    pub(super) enabled_by: Vec<Vec<u8>>,
    /// Whether a file of the same name in an earlier path wins.
    pub(super) overridden: bool,
    pub(super) masked: bool,
    pub(super) unreadable: bool,
    pub(super) modified: Option<i64>,
    /// Settings of the fragment and its drop-ins: name, value.
    pub(super) settings: Vec<Setting>,
    /// Whether any of them stands in the section `Install`.
    installs: bool,
}

pub(super) type Setting = (Vec<u8>, Vec<u8>);

/// What is done with one unit.
pub(super) type EachUnit<'a> =
    &'a mut dyn FnMut(&mut TableCapture<'_>, &mut Files, Scope, Unit) -> io::Result<()>;

/// Whose units they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    System,
    /// Of every user, or of the one with this number.
    User(Option<u32>),
}

/// Hands every unit of the host whose name is `wanted` to `each`, one at a time; no other one is read.
pub(super) fn each_unit(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    wanted: fn(&[u8]) -> bool,
    each: EachUnit<'_>,
) -> io::Result<()> {
    let owned = |paths: &[&str]| paths.iter().map(|path| path.as_bytes().to_vec()).collect::<Vec<_>>();
    let mut places = vec![(Scope::System, owned(&SYSTEM)), (Scope::User(None), owned(&USER))];
    for home in files.homes(capture) {
        let paths = HOME.iter().map(|path| join(&home.path, path)).collect();
        places.push((Scope::User(Some(home.uid)), paths));
    }
    for entry in files.entries(capture, b"/run/user") {
        let paths = RUNTIME.iter().map(|path| join(&entry.path, path)).collect();
        places.push((Scope::User(Some(entry.uid)), paths));
    }
    for (scope, paths) in places {
        capture.go_on()?;
        let found = Found::search(capture, files, paths, wanted)?;
        found.each(capture, files, &mut |capture, files, unit| each(capture, files, scope, unit))?;
    }
    Ok(())
}

/// What the search paths of one scope hold.
struct Found {
    wanted: fn(&[u8]) -> bool,
    fragments: Vec<Entry>,
    drop_ins: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    enabled_by: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

impl Found {
    fn search(
        capture: &mut TableCapture<'_>,
        files: &mut Files,
        paths: Vec<Vec<u8>>,
        wanted: fn(&[u8]) -> bool,
    ) -> io::Result<Self> {
        let (drop_ins, enabled_by) = (BTreeMap::new(), BTreeMap::new());
        let mut found = Self { wanted, fragments: Vec::new(), drop_ins, enabled_by };
        for path in paths {
            // Where /lib is a link to /usr/lib, it has nothing of its own.
            let own = !path.starts_with(b"/lib/")
                || files.entry(capture, b"/lib").is_some_and(|lib| lib.kind == ItemKind::Directory);
            for entry in if own { files.entries(capture, &path) } else { Vec::new() } {
                capture.go_on()?;
                found.add(capture, files, entry);
            }
        }
        Ok(found)
    }

    fn add(&mut self, capture: &mut TableCapture<'_>, files: &mut Files, entry: Entry) {
        let name = entry.name.as_slice();
        let pulls = [&b".wants"[..], b".requires", b".upholds"].iter().any(|end| name.ends_with(end));
        if let Some(unit) = name.strip_suffix(b".d") {
            if !(self.wanted)(unit) {
                return;
            }
            let drop_ins = files.entries(capture, &entry.path).into_iter();
            let drop_ins =
                drop_ins.filter(|drop_in| drop_in.name.ends_with(b".conf")).map(|drop_in| drop_in.path);
            // One more than is read, so that it is told.
            self.drop_ins.entry(unit.to_vec()).or_default().extend(drop_ins.take(DROP_INS_CAP + 1));
        } else if pulls && entry.kind == ItemKind::Directory {
            for link in files.entries(capture, &entry.path) {
                self.enable(capture, files, link, true);
            }
        } else if is_unit(name) && (self.wanted)(name) {
            if entry.kind == ItemKind::Symlink {
                self.enable(capture, files, entry.clone(), false);
            }
            self.fragments.push(entry);
        }
    }

    /// Notes what `link` points at as another name of it, and what it names where it lies in a folder that pulls units in.
    fn enable(&mut self, capture: &mut TableCapture<'_>, files: &mut Files, link: Entry, pulls: bool) {
        if !(self.wanted)(&link.name) {
            return;
        }
        if link.kind == ItemKind::Symlink
            && let Some(target) = files.link(capture, &link.path)
        {
            let target = last_name(&target).to_vec();
            if target != link.name && target != b"null" {
                self.enabled_by.entry(target).or_default().insert(link.path.clone());
            }
        }
        if pulls {
            self.enabled_by.entry(link.name).or_default().insert(link.path);
        }
    }

    fn each(
        mut self,
        capture: &mut TableCapture<'_>,
        files: &mut Files,
        each: &mut dyn FnMut(&mut TableCapture<'_>, &mut Files, Unit) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut seen = BTreeSet::new();
        for entry in std::mem::take(&mut self.fragments) {
            capture.go_on()?;
            let overridden = !seen.insert(entry.name.clone());
            let unit = self.unit(capture, files, entry, overridden);
            each(capture, files, unit)?;
        }
        // `service.d` is for every service; other folders that end so are no units'.
        let drop_ins = self.drop_ins.keys().filter(|id| {
            is_unit(id) || KINDS.iter().any(|kind| kind.strip_prefix(b".") == Some(id.as_slice()))
        });
        // What these links name may lie in another scope, or nowhere any more.
        let others = drop_ins.chain(self.enabled_by.keys().filter(|id| is_unit(id)));
        for id in others.collect::<BTreeSet<_>>() {
            if !seen.contains(id) {
                capture.go_on()?;
                let mut unit = self.unit_of(id);
                let own = self.drop_ins.get(id).cloned().unwrap_or_default();
                unit.read_drop_ins(capture, files, own, UNIT_CAP);
                each(capture, files, unit)?;
            }
        }
        Ok(())
    }

    /// What is known of a unit without reading any of its files.
    fn unit_of(&self, id: &[u8]) -> Unit {
        let enabled_by = self.enabled_by.get(id).into_iter().flatten().cloned().collect();
        Unit { id: id.to_vec(), enabled_by, ..Unit::default() }
    }

    fn unit(
        &self,
        capture: &mut TableCapture<'_>,
        files: &mut Files,
        entry: Entry,
        overridden: bool,
    ) -> Unit {
        let link = if entry.kind == ItemKind::Symlink { files.link(capture, &entry.path) } else { None };
        let masked =
            link.as_deref() == Some(b"/dev/null") || (entry.kind == ItemKind::File && entry.size == 0);
        let read = if masked { Some(Vec::new()) } else { files.text(capture, &entry.path, UNIT_CAP) };
        let mut unit = Unit {
            fragment_path: entry.path,
            link,
            overridden,
            masked,
            unreadable: read.is_none(),
            modified: Some(entry.modified),
            ..self.unit_of(&entry.name)
        };
        let text = read.unwrap_or_default();
        unit.add_settings(&text);
        let names = drop_in_names(&entry.name);
        let drop_ins = names.iter().filter_map(|name| self.drop_ins.get(name)).flatten();
        let drop_ins = drop_ins.take(DROP_INS_CAP + 1).cloned().collect();
        unit.read_drop_ins(capture, files, drop_ins, UNIT_CAP - text.len());
        unit
    }
}

fn is_unit(name: &[u8]) -> bool {
    KINDS.iter().any(|kind| name.ends_with(kind))
}

/// The last name of a path, which may be no more than a name.
fn last_name(path: &[u8]) -> &[u8] {
    split(path).map_or(path, |(_, name)| name)
}

/// The names whose drop-ins bear on a unit, save those for every unit of its kind: its own, its template's.
fn drop_in_names(id: &[u8]) -> Vec<Vec<u8>> {
    let mut names = vec![id.to_vec()];
    let at = id.iter().position(|byte| *byte == b'@');
    let dot = id.iter().rposition(|byte| *byte == b'.');
    if let (Some(at), Some(dot)) = (at, dot)
        && at + 1 < dot
        && let (Some(template), Some(kind)) = (id.get(..=at), id.get(dot..))
    {
        names.push([template, kind].concat());
    }
    names
}

impl Unit {
    /// Adds the settings of a file, systemd.syntax(7).
    fn add_settings(&mut self, file: &[u8]) {
        let mut in_install = false;
        for (_, line) in logical_lines(file, b" ", b"#;") {
            let line = line.trim_ascii();
            if let Some(section) = line.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
                in_install = section == b"Install";
            } else if let Some(at) = line.iter().position(|byte| *byte == b'=') {
                let (name, value) = line.split_at_checked(at).unwrap_or_default();
                let value = value.get(1..).unwrap_or_default().trim_ascii();
                self.settings.push((name.trim_ascii().to_vec(), value.to_vec()));
                self.installs |= in_install;
            }
        }
    }

    /// Adds drop-ins and their settings, at most `left` bytes of them.
    fn read_drop_ins(
        &mut self,
        capture: &mut TableCapture<'_>,
        files: &mut Files,
        paths: Vec<Vec<u8>>,
        mut left: usize,
    ) {
        for path in paths {
            let read = if self.drop_ins.len() < DROP_INS_CAP {
                files.text(capture, &path, UNIT_CAP).map(|text| (left.checked_sub(text.len()), text))
            } else {
                Some((None, Vec::new()))
            };
            match read {
                Some((None, _)) => {
                    let reason = format!(
                        "not read, and none behind it: more than {DROP_INS_CAP} drop-ins or {UNIT_CAP} bytes of one unit"
                    );
                    capture.gap(text(&path).0, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
                    return;
                }
                Some((Some(rest), text)) => {
                    left = rest;
                    self.add_settings(&text);
                }
                None => {}
            }
            self.drop_ins.push(path);
        }
    }

    /// The values of a setting, one a line; nothing where it is not set.
    pub(super) fn values(&self, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let values = self.settings.iter().filter(|(name, _)| wanted(name));
        let values: Vec<&[u8]> = values.map(|(_, value)| value.as_slice()).collect();
        (!values.is_empty()).then(|| values.join(&b'\n'))
    }

    /// The last value of a setting.
    pub(super) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.settings.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_slice())
    }

    /// What `systemctl list-unit-files` would call it, as far as the files tell.
    pub(super) fn file_state(&self) -> &'static str {
        let within = |folder: &[u8]| self.fragment_path.windows(folder.len()).any(|window| window == folder);
        // What the vendor links belongs to the unit as it is shipped; only the host's own links enable it.
        let vendor = |path: &[u8]| path.starts_with(b"/usr/") || path.starts_with(b"/lib/");
        let runtime = |path: &[u8]| path.starts_with(b"/run/");
        let by = |wanted: &dyn Fn(&[u8]) -> bool| self.enabled_by.iter().any(|path| wanted(path));
        match () {
            () if self.masked => "masked",
            () if within(b"/systemd/transient/") => "transient",
            () if within(b"/systemd/generator") => "generated",
            () if self.link.as_deref().is_some_and(|link| last_name(link) != self.id) => "alias",
            () if by(&|path| !vendor(path) && !runtime(path)) => "enabled",
            () if by(&|path| runtime(path)) => "enabled-runtime",
            () if !self.drop_ins.is_empty() && self.fragment_path.is_empty() => "drop-in",
            () if self.link.is_some() => "linked",
            () if self.installs => "disabled",
            () => "static",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8]) -> Unit {
        let mut unit = Unit::default();
        unit.add_settings(file);
        unit
    }

    #[test]
    fn settings_go_on_over_lines_and_past_comments() {
        let unit = read(
            b"stray\n[Service]\nExecStart=/bin/a \\\n# no\n  b\nExecStart = \n;x\nExecStop \\\n = x\n[Install]\nWantedBy=\xff\n",
        );
        let setting = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
        assert_eq!(
            unit.settings,
            [
                setting(b"ExecStart", b"/bin/a b"),
                setting(b"ExecStart", b""),
                setting(b"ExecStop", b"x"),
                setting(b"WantedBy", b"\xff"),
            ]
        );
        assert!(unit.installs && !read(b"[Install]\n[Unit]\na=b").installs);
    }

    #[test]
    fn name_of_a_section_is_not_held_with_each_setting() {
        let file = [&b"["[..], &[b'x'; 512 << 10], b"]\n", &b"a=\n".repeat(170_000)].concat();
        let unit = read(&file);
        assert_eq!(unit.settings.len(), 170_000);
        assert!(
            unit.settings.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() < file.len()
        );
    }

    #[test]
    fn garbage_units_have_no_settings() {
        for garbage in [&b""[..], b"\\", b"\\\n\\\n=", b"[\n]\n[]", b"\xff\0\\"] {
            assert!(read(garbage).settings.iter().all(|(name, _)| name.is_empty()));
        }
    }

    #[test]
    fn instance_has_the_drop_ins_of_its_template() {
        assert_eq!(
            drop_in_names(b"getty@tty1.service"),
            [b"getty@tty1.service".to_vec(), b"getty@.service".to_vec()]
        );
        for name in [&b"a.service"[..], b"getty@.service", b"@", b".@", b"a@b"] {
            assert_eq!(drop_in_names(name).len(), 1);
        }
    }
}
