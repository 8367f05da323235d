//! Owns the list of places from which a Linux host starts things by itself, save for units and cron; refuses to say what
//! is meant to be there.

/// A place, and how to read it.
pub(super) struct Place {
    /// What starts it, in one word.
    pub(super) mechanism: &'static str,
    /// A file, or a folder of files; below a home for [`HOME`].
    pub(super) path: &'static str,
    pub(super) form: Form,
}

/// How a file says what it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// It is itself run, where it may be executed.
    Program,
    /// It is itself read by something that runs what it says.
    Sourced,
    /// As [`Form::Program`], of a SysV runlevel: `S` starts and `K` stops.
    Runlevel,
    /// Each line but comments says something.
    Lines,
    /// Each line that holds one of these words says something.
    LinesWith(&'static [&'static str]),
    /// `Exec=` of a desktop entry or a bus service.
    Entry,
}

use Form::{Entry, Lines, LinesWith, Program, Runlevel, Sourced};

const fn place(mechanism: &'static str, path: &'static str, form: Form) -> Place {
    Place { mechanism, path, form }
}

const UDEV: Form = LinesWith(&["RUN", "PROGRAM", "IMPORT{program}", "SYSTEMD_WANTS"]);
const APT: Form =
    LinesWith(&["Invoke", "Pre-Install-Pkgs", "Options", "ProxyAutoDetect", "Proxy-Auto-Detect"]);
const MODPROBE: Form = LinesWith(&["install", "remove", "options", "softdep", "alias", "blacklist"]);
const UPSTART: Form = LinesWith(&["exec", "script", "start on"]);

/// Places of the whole host.
pub(super) const HOST: &[Place] = &[
    place("init.d", "/etc/init.d", Program),
    place("init.d", "/etc/rc.d/init.d", Program),
    place("runlevel", "/etc/rc0.d", Runlevel),
    place("runlevel", "/etc/rc1.d", Runlevel),
    place("runlevel", "/etc/rc2.d", Runlevel),
    place("runlevel", "/etc/rc3.d", Runlevel),
    place("runlevel", "/etc/rc4.d", Runlevel),
    place("runlevel", "/etc/rc5.d", Runlevel),
    place("runlevel", "/etc/rc6.d", Runlevel),
    place("runlevel", "/etc/rcS.d", Runlevel),
    place("rc.local", "/etc/rc.local", Program),
    place("rc.local", "/etc/rc.d/rc.local", Program),
    place("inittab", "/etc/inittab", Lines),
    place("upstart", "/etc/init", UPSTART),
    place("openrc", "/etc/local.d", Program),
    place("openrc", "/etc/runlevels/boot", Program),
    place("openrc", "/etc/runlevels/default", Program),
    place("openrc", "/etc/runlevels/sysinit", Program),
    place("openrc", "/etc/runlevels/shutdown", Program),
    place("systemd_generator", "/etc/systemd/system-generators", Program),
    place("systemd_generator", "/run/systemd/system-generators", Program),
    place("systemd_generator", "/usr/local/lib/systemd/system-generators", Program),
    place("systemd_generator", "/usr/lib/systemd/system-generators", Program),
    place("systemd_generator", "/usr/lib/systemd/user-generators", Program),
    place("systemd_generator", "/etc/systemd/user-generators", Program),
    place("systemd_sleep", "/usr/lib/systemd/system-sleep", Program),
    place("systemd_sleep", "/usr/lib/systemd/system-shutdown", Program),
    place("systemd_environment", "/etc/environment.d", Lines),
    place("xdg_autostart", "/etc/xdg/autostart", Entry),
    place("xdg_autostart", "/usr/share/autostart", Entry),
    place("dbus_service", "/usr/share/dbus-1/system-services", Entry),
    place("dbus_service", "/usr/share/dbus-1/services", Entry),
    place("dbus_service", "/usr/local/share/dbus-1/system-services", Entry),
    place("dbus_service", "/etc/dbus-1/system-services", Entry),
    place("profile", "/etc/profile", Sourced),
    place("profile", "/etc/profile.d", Sourced),
    place("profile", "/etc/bash.bashrc", Sourced),
    place("profile", "/etc/bashrc", Sourced),
    place("profile", "/etc/bash.bash_logout", Sourced),
    place("profile", "/etc/zsh", Sourced),
    place("profile", "/etc/zshrc", Sourced),
    place("profile", "/etc/zshenv", Sourced),
    place("profile", "/etc/csh.cshrc", Sourced),
    place("profile", "/etc/csh.login", Sourced),
    place("profile", "/etc/fish/config.fish", Sourced),
    place("profile", "/etc/fish/conf.d", Sourced),
    place("bash_completion", "/etc/bash_completion.d", Sourced),
    place("ssh_rc", "/etc/ssh/sshrc", Sourced),
    place("xsession", "/etc/X11/Xsession.d", Sourced),
    place("xsession", "/etc/X11/xinit/xinitrc.d", Sourced),
    place("ld.so.preload", "/etc/ld.so.preload", Lines),
    place("ld.so.conf", "/etc/ld.so.conf", Lines),
    place("ld.so.conf", "/etc/ld.so.conf.d", Lines),
    place("environment", "/etc/environment", Lines),
    place("environment", "/etc/security/pam_env.conf", Lines),
    place("environment", "/etc/default/locale", Lines),
    place("pam", "/etc/pam.conf", Lines),
    place("pam", "/etc/pam.d", Lines),
    place("pam", "/usr/lib/pam.d", Lines),
    place("udev", "/etc/udev/rules.d", UDEV),
    place("udev", "/run/udev/rules.d", UDEV),
    place("udev", "/usr/local/lib/udev/rules.d", UDEV),
    place("udev", "/usr/lib/udev/rules.d", UDEV),
    place("modules", "/etc/modules", Lines),
    place("modules", "/etc/modules-load.d", Lines),
    place("modules", "/run/modules-load.d", Lines),
    place("modules", "/usr/lib/modules-load.d", Lines),
    place("modprobe", "/etc/modprobe.d", MODPROBE),
    place("modprobe", "/run/modprobe.d", MODPROBE),
    place("modprobe", "/usr/lib/modprobe.d", MODPROBE),
    place("binfmt", "/etc/binfmt.d", Lines),
    place("binfmt", "/usr/lib/binfmt.d", Lines),
    place("motd", "/etc/update-motd.d", Program),
    place("apt", "/etc/apt/apt.conf", APT),
    place("apt", "/etc/apt/apt.conf.d", APT),
    place("dpkg", "/etc/dpkg/dpkg.cfg", Lines),
    place("dpkg", "/etc/dpkg/dpkg.cfg.d", Lines),
    place("dnf_plugin", "/etc/dnf/plugins", Sourced),
    place("dnf_plugin", "/etc/yum/pluginconf.d", Sourced),
    place("pacman_hook", "/etc/pacman.d/hooks", Entry),
    place("polkit", "/etc/polkit-1/rules.d", Sourced),
    place("polkit", "/usr/share/polkit-1/rules.d", Sourced),
    place("network_manager", "/etc/NetworkManager/dispatcher.d", Program),
    place("network_manager", "/etc/NetworkManager/dispatcher.d/pre-up.d", Program),
    place("network_manager", "/etc/NetworkManager/dispatcher.d/pre-down.d", Program),
    place("network_manager", "/etc/NetworkManager/dispatcher.d/no-wait.d", Program),
    place("network_manager", "/usr/lib/NetworkManager/dispatcher.d", Program),
    place("networkd_dispatcher", "/etc/networkd-dispatcher/routable.d", Program),
    place("networkd_dispatcher", "/etc/networkd-dispatcher/configured.d", Program),
    place("networkd_dispatcher", "/etc/networkd-dispatcher/off.d", Program),
    place("ifupdown", "/etc/network/if-up.d", Program),
    place("ifupdown", "/etc/network/if-down.d", Program),
    place("ifupdown", "/etc/network/if-pre-up.d", Program),
    place("ifupdown", "/etc/network/if-post-down.d", Program),
    place("dhcp", "/etc/dhcp/dhclient-enter-hooks.d", Sourced),
    place("dhcp", "/etc/dhcp/dhclient-exit-hooks.d", Sourced),
    place("ppp", "/etc/ppp/ip-up.d", Program),
    place("ppp", "/etc/ppp/ip-down.d", Program),
    place("pm_sleep", "/etc/pm/sleep.d", Program),
    place("acpi", "/etc/acpi/events", LinesWith(&["action"])),
    place("xinetd", "/etc/xinetd.d", LinesWith(&["server", "disable", "user"])),
    place("inetd", "/etc/inetd.conf", Lines),
    place("initramfs", "/etc/initramfs-tools/hooks", Program),
    place("initramfs", "/etc/initramfs-tools/modules", Lines),
    place("kernel_hook", "/etc/kernel/postinst.d", Program),
    place("kernel_hook", "/etc/kernel/postrm.d", Program),
    place("needrestart", "/etc/needrestart/hook.d", Program),
];

/// Places below every home.
pub(super) const HOME: &[Place] = &[
    place("profile", ".profile", Sourced),
    place("profile", ".bash_profile", Sourced),
    place("profile", ".bash_login", Sourced),
    place("profile", ".bashrc", Sourced),
    place("profile", ".bash_aliases", Sourced),
    place("profile", ".bash_logout", Sourced),
    place("profile", ".zshrc", Sourced),
    place("profile", ".zshenv", Sourced),
    place("profile", ".zprofile", Sourced),
    place("profile", ".zlogin", Sourced),
    place("profile", ".zlogout", Sourced),
    place("profile", ".kshrc", Sourced),
    place("profile", ".cshrc", Sourced),
    place("profile", ".tcshrc", Sourced),
    place("profile", ".login", Sourced),
    place("profile", ".config/fish/config.fish", Sourced),
    place("profile", ".config/fish/conf.d", Sourced),
    place("environment", ".pam_environment", Lines),
    place("systemd_environment", ".config/environment.d", Lines),
    place("ssh_rc", ".ssh/rc", Sourced),
    place("ssh_rc", ".ssh/environment", Lines),
    place("xsession", ".xinitrc", Sourced),
    place("xsession", ".xsession", Sourced),
    place("xsession", ".xsessionrc", Sourced),
    place("xsession", ".xprofile", Sourced),
    place("xdg_autostart", ".config/autostart", Entry),
    place("xdg_autostart", ".config/autostart-scripts", Program),
    place("dbus_service", ".local/share/dbus-1/services", Entry),
];
