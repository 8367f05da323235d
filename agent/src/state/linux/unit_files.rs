//! Owns finding every systemd unit file in every search path with its drop-ins and what enables it; refuses to ask a
//! running systemd.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use holdfast_schemas::item::ItemKind;

use super::files::{Entry, Files, join, lines, split};
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
const RUNTIME: [&[u8]; 5] = [
    b"systemd/user.control",
    b"systemd/transient",
    b"systemd/generator.early",
    b"systemd/user",
    b"systemd/generator",
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
/// No unit file is longer.
const UNIT_CAP: usize = 1 << 20;

/// One unit file, or drop-ins of a unit that has none.
#[derive(Debug, Default)]
pub(super) struct Unit {
    pub(super) id: Vec<u8>,
    /// Empty where there are only drop-ins.
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
    /// Settings of the fragment and its drop-ins: section, name, value.
    pub(super) settings: Vec<Setting>,
}

pub(super) type Setting = (Vec<u8>, Vec<u8>, Vec<u8>);

/// Whose units they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    System,
    /// Of every user, or of the one with this number.
    User(Option<u32>),
}

/// Hands every unit of the host to `each`.
pub(super) fn each_unit(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    each: &mut dyn FnMut(&mut TableCapture<'_>, &mut Files, Scope, Unit) -> io::Result<()>,
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
        let found = Found::search(capture, files, paths);
        for unit in found.units(capture, files)? {
            each(capture, files, scope, unit)?;
        }
    }
    Ok(())
}

/// What the search paths of one scope hold.
#[derive(Default)]
struct Found {
    fragments: Vec<Entry>,
    drop_ins: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    enabled_by: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

impl Found {
    fn search(capture: &mut TableCapture<'_>, files: &mut Files, paths: Vec<Vec<u8>>) -> Self {
        let mut found = Self::default();
        for path in paths {
            // Where /lib is a link to /usr/lib, it has nothing of its own.
            let own = !path.starts_with(b"/lib/")
                || files.entry(capture, b"/lib").is_some_and(|lib| lib.kind == ItemKind::Directory);
            for entry in if own { files.entries(capture, &path) } else { Vec::new() } {
                found.add(capture, files, entry);
            }
        }
        found
    }

    fn add(&mut self, capture: &mut TableCapture<'_>, files: &mut Files, entry: Entry) {
        let name = entry.name.as_slice();
        let pulls = [&b".wants"[..], b".requires", b".upholds"].iter().any(|end| name.ends_with(end));
        if let Some(unit) = name.strip_suffix(b".d") {
            let drop_ins = files.entries(capture, &entry.path).into_iter();
            let drop_ins =
                drop_ins.filter(|drop_in| drop_in.name.ends_with(b".conf")).map(|drop_in| drop_in.path);
            self.drop_ins.entry(unit.to_vec()).or_default().extend(drop_ins);
        } else if pulls && entry.kind == ItemKind::Directory {
            for link in files.entries(capture, &entry.path) {
                self.enable(capture, files, link, true);
            }
        } else if KINDS.iter().any(|kind| name.ends_with(kind)) {
            if entry.kind == ItemKind::Symlink {
                self.enable(capture, files, entry.clone(), false);
            }
            self.fragments.push(entry);
        }
    }

    /// Notes what `link` points at as another name of it, and what it names where it lies in a folder that pulls units in.
    fn enable(&mut self, capture: &mut TableCapture<'_>, files: &mut Files, link: Entry, pulls: bool) {
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

    fn units(mut self, capture: &mut TableCapture<'_>, files: &mut Files) -> io::Result<Vec<Unit>> {
        let mut seen = BTreeSet::new();
        let mut units = Vec::new();
        for entry in std::mem::take(&mut self.fragments) {
            capture.go_on()?;
            let overridden = !seen.insert(entry.name.clone());
            units.push(self.unit(capture, files, entry, overridden));
        }
        for (id, paths) in &self.drop_ins {
            // `service.d` is for every service; other folders that end so are no units'.
            if !seen.contains(id)
                && KINDS.iter().any(|kind| id.ends_with(kind) || kind.strip_prefix(b".") == Some(id))
            {
                let settings = read_all(capture, files, paths);
                units.push(Unit { id: id.clone(), drop_ins: paths.clone(), settings, ..Unit::default() });
            }
        }
        Ok(units)
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
        let mut drop_ins = Vec::new();
        for id in drop_in_names(&entry.name) {
            drop_ins.extend(self.drop_ins.get(&id).into_iter().flatten().cloned());
        }
        let read = if masked { Some(Vec::new()) } else { files.text(capture, &entry.path, UNIT_CAP) };
        let mut settings = read.as_deref().map(settings_of).unwrap_or_default();
        settings.extend(read_all(capture, files, &drop_ins));
        Unit {
            enabled_by: self.enabled_by.get(&entry.name).into_iter().flatten().cloned().collect(),
            fragment_path: entry.path,
            id: entry.name,
            link,
            drop_ins,
            overridden,
            masked,
            unreadable: read.is_none(),
            modified: Some(entry.modified),
            settings,
        }
    }
}

/// The last name of a path, which may be no more than a name.
fn last_name(path: &[u8]) -> &[u8] {
    split(path).map_or(path, |(_, name)| name)
}

fn read_all(capture: &mut TableCapture<'_>, files: &mut Files, paths: &[Vec<u8>]) -> Vec<Setting> {
    paths
        .iter()
        .filter_map(|path| files.text(capture, path, UNIT_CAP))
        .flat_map(|text| settings_of(&text))
        .collect()
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

/// The settings of a unit file, systemd.syntax(7): lines that end in a backslash go on, with a space for it.
fn settings_of(file: &[u8]) -> Vec<Setting> {
    let mut section = Vec::new();
    let mut settings: Vec<Setting> = Vec::new();
    let mut continued = false;
    for (_, line) in lines(file) {
        let line = line.trim_ascii();
        if line.starts_with(b"#") || line.starts_with(b";") {
            continue;
        }
        let (part, more) =
            line.strip_suffix(b"\\").map_or((line, false), |part| (part.trim_ascii_end(), true));
        if continued {
            if let Some((_, _, value)) = settings.last_mut() {
                value.push(b' ');
                value.extend_from_slice(part);
            }
        } else if let Some(name) = line.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
            section = name.to_vec();
        } else if let Some(at) = part.iter().position(|byte| *byte == b'=') {
            let (name, value) = part.split_at_checked(at).unwrap_or_default();
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            settings.push((section.clone(), name.trim_ascii().to_vec(), value.to_vec()));
        }
        continued = more && !settings.is_empty();
    }
    settings
}

impl Unit {
    /// The values of a setting, one a line; nothing where it is not set.
    pub(super) fn values(&self, wanted: impl Fn(&[u8], &[u8]) -> bool) -> Option<Vec<u8>> {
        let values = self.settings.iter().filter(|(section, name, _)| wanted(section, name));
        let values: Vec<&[u8]> = values.map(|(_, _, value)| value.as_slice()).collect();
        (!values.is_empty()).then(|| values.join(&b'\n'))
    }

    /// The last value of a setting.
    pub(super) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.settings.iter().rev().find(|(_, found, _)| found == name).map(|(_, _, value)| value.as_slice())
    }

    /// What `systemctl list-unit-files` would call it, as far as the files tell.
    pub(super) fn file_state(&self) -> &'static str {
        let within = |folder: &[u8]| self.fragment_path.windows(folder.len()).any(|window| window == folder);
        // What the vendor links belongs to the unit as it is shipped; only the host's own links enable it.
        let vendor = |path: &[u8]| path.starts_with(b"/usr/") || path.starts_with(b"/lib/");
        let runtime = |path: &[u8]| path.starts_with(b"/run/");
        let by = |wanted: &dyn Fn(&[u8]) -> bool| self.enabled_by.iter().any(|path| wanted(path));
        let installs = self.settings.iter().any(|(section, _, _)| section == b"Install");
        match () {
            () if self.fragment_path.is_empty() => "drop-in",
            () if self.masked => "masked",
            () if within(b"/systemd/transient/") => "transient",
            () if within(b"/systemd/generator") => "generated",
            () if self.link.as_deref().is_some_and(|link| last_name(link) != self.id) => "alias",
            () if by(&|path| !vendor(path) && !runtime(path)) => "enabled",
            () if by(&|path| runtime(path)) => "enabled-runtime",
            () if self.link.is_some() => "linked",
            () if installs => "disabled",
            () => "static",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_on_over_lines_and_past_comments() {
        let file =
            b"stray\n[Service]\nExecStart=/bin/a \\\n# no\n  b\nExecStart = \n;x\n[Install]\nWantedBy=\xff\n";
        let settings = settings_of(file);
        assert_eq!(settings[0], (b"Service".to_vec(), b"ExecStart".to_vec(), b"/bin/a b".to_vec()));
        assert_eq!(settings[1].2, b"");
        assert_eq!(settings[2], (b"Install".to_vec(), b"WantedBy".to_vec(), b"\xff".to_vec()));
    }

    #[test]
    fn garbage_units_have_no_settings() {
        for garbage in [&b""[..], b"\\", b"\\\n\\\n=", b"[\n]\n[]", b"\xff\0\\"] {
            assert!(settings_of(garbage).iter().all(|(_, name, _)| name.is_empty()));
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
