"""Owns the corpora that the benchmarks run over: the same bytes on every machine for one scale; refuses to reuse one that was
not finished.

At scale 1:

    logs      200 files, 2 GB: text logs of six kinds, two in five rotated and compressed with gzip
    small     300,000 files of 0 to 8,191 bytes in about 30,000 folders, up to 25 deep
    walk      1,000,000 empty files in 25,000 folders
    random    one file of 4 GiB that does not compress
    sparse    one file of 4 GiB with 16 islands of data

The scale multiplies sizes of `logs`, `random` and `sparse`, and numbers of files of `small` and `walk`.
"""

import gzip
import hashlib
import multiprocessing
import os
import random
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

# 2026-01-15 00:00 UTC; every time in a corpus is counted from here.
EPOCH = 1_768_435_200
MIB = 1 << 20

VOCABULARY = """
access account accepted address agent alert alive already archive attempt attached audit backup balance batch block
broken buffer bytes cache cancelled certificate changed channel check checkpoint client cluster command commit completed
config connection consumer container core corrupt created daemon database deadline degraded deleted denied deployed device
disabled disk dropped duplicate elapsed empty enabled endpoint entry error event exceeded exchange exit expired failed
failover fetch file flush forward found gateway granted group handler handshake header health heartbeat host idle ignored
index initial input instance interface interrupt interval invalid issued job journal kernel key latency leader lease limit
link list listening loaded lock login lookup master memory message migrated missing module monitor mount network node
notify object offline online opened operation orphan overflow packet page parse partition password path peer pending
permission pool port primary process profile protocol proxy query queue quota range ready rebuild received reconnect record
refused region reload removed renewed replica request reset resolved response restart result resume retry revoked role
rollback root rotate route running scheduled schema segment sent server service session shard shutdown signal skipped slow
snapshot socket source stale started status stopped storage stream success suspended switch sync table target task template
thread throttled ticket timeout token topic trace transfer trigger unit unknown unlocked unreachable update upstream user
valid value verified version volume waiting warning watch worker write zone
""".split()
HOSTS = ["mail-1", "mail-2", "web-1", "web-2", "web-3", "files", "ldap", "jump", "erp-db", "erp-app"]
DAEMONS = ["sshd", "systemd", "kernel", "cron", "postfix/smtpd", "named", "slapd", "nginx", "postgres", "chronyd", "smbd",
           "dovecot", "rsyslogd", "auditd", "sudo", "containerd"]
PEOPLE = ["root", "admin", "operator", "backup", "www-data", "postgres", "mchen", "jdoe", "akumar", "svc-erp", "guest", "test"]
BROWSERS = ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
            "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "curl/8.11.0", "kube-probe/1.31",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"]
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


class LogSource:
    """One host's stream of log lines; time moves forward by about `pace` seconds a line."""

    def __init__(self, seed, start, pace):
        self.random = random.Random(seed)
        self.host = self.random.choice(HOSTS)
        self.now, self.pace, self.second = float(start), pace, None

    def tick(self):
        self.now += self.pace * 2 * self.random.random()
        if int(self.now) != self.second:
            self.second = int(self.now)
            self.utc = time.gmtime(self.second)
            year, month, day, hour, minute, second = self.utc[:6]
            self.syslog = f"{MONTHS[month - 1]} {day:2} {hour:02}:{minute:02}:{second:02} {self.host}"
            self.iso = f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
            self.clf = f"{day:02}/{MONTHS[month - 1]}/{year}:{hour:02}:{minute:02}:{second:02} +0000"

    def number(self, bits):
        return self.random.getrandbits(bits)

    def address(self):
        bits = self.number(24)
        return f"172.{16 + (bits & 7)}.{bits >> 8 & 63}.{bits >> 16}"

    def often_first(self, choices):
        """One of the choices, early ones far more often, as in real logs."""
        return choices[int(self.random.random() ** 2 * len(choices))]

    def words(self):
        bits, vocabulary = self.number(64), VOCABULARY
        return " ".join([vocabulary[(bits >> 8 * place & 255) % len(vocabulary)] for place in range(3 + (bits >> 61))])


def messages(log):
    return f"{log.syslog} {log.often_first(DAEMONS)}[{log.number(15)}]: {log.words()} {log.number(13)}\n"


def secure(log):
    kind, who, process = log.number(4), log.often_first(PEOPLE), log.number(16)
    if kind < 9:
        unknown = "invalid user " if kind < 4 else ""
        return f"{log.syslog} sshd[{process}]: Failed password for {unknown}{who} from {log.address()} port {log.number(16)} ssh2\n"
    if kind < 11:
        key = f"{log.number(172):043x}"
        return f"{log.syslog} sshd[{process}]: Accepted publickey for {who} from {log.address()} port {log.number(16)} ssh2: ED25519 SHA256:{key}\n"
    if kind < 14:
        state = "opened" if kind < 13 else "closed"
        return f"{log.syslog} CRON[{process}]: pam_unix(cron:session): session {state} for user {who}(uid={log.number(10)})\n"
    command = log.often_first(VOCABULARY)
    return f"{log.syslog} sudo[{process}]: {who:>8} : TTY=pts/{log.number(3)} ; PWD=/home/{who} ; USER=root ; COMMAND=/usr/bin/{command} {log.number(8)}\n"


def access(log):
    kind = log.number(4)
    target = ["/", "/login", "/health", f"/api/v1/orders/{log.number(20)}", f"/static/{log.number(32):08x}.js",
              "/favicon.ico", f"/search?q={log.number(24):x}", "/.env"][min(kind >> 1, log.number(3))]
    status = 200 if kind < 13 else (304, 404, 500)[kind - 13]
    return (f'{log.address()} - - [{log.clf}] "GET {target} HTTP/1.1" {status} {log.number(14)} "-" '
            f'"{log.often_first(BROWSERS)}" {log.number(10) / 1000:.3f}\n')


def json_lines(log):
    level = log.often_first(["info", "debug", "warn", "error"])
    return (f'{{"time":"{log.iso}.{log.number(19):06}Z","level":"{level}","service":"{log.often_first(DAEMONS)}","host":"{log.host}",'
            f'"trace":"{log.number(128):032x}","message":"{log.words()}","took_ms":{log.number(11)},'
            f'"user":"{log.often_first(PEOPLE)}","peer":"{log.address()}:{log.number(16)}","revision":{log.number(4)}}}\n')


def journal(log):
    micros = int(log.now * 1e6)
    daemon = log.often_first(DAEMONS)
    boot = "4e9d1c70b5a84f3e8a6d2b1f0c9e7d35"
    return (f"__CURSOR=s=6b1f5d0a9c3e47f28d4b7a0e1c2f3d48;i={micros & 0xFFFFFF:x};b={boot};m={micros & 0xFFFFFFFFF:x};t={micros:x};x={log.number(64):016x}\n"
            f"__REALTIME_TIMESTAMP={micros}\n__MONOTONIC_TIMESTAMP={micros & 0xFFFFFFFFF}\n_BOOT_ID={boot}\n_HOSTNAME={log.host}\n"
            f"PRIORITY={log.number(3)}\nSYSLOG_IDENTIFIER={daemon}\n_PID={log.number(15)}\n_UID={log.number(10)}\n_COMM={daemon}\n"
            f"_SYSTEMD_UNIT={daemon}.service\n_TRANSPORT=syslog\nMESSAGE={log.words()}\n\n")


def audit(log):
    program = log.often_first(VOCABULARY)
    return (f"type=SYSCALL msg=audit({log.now:.3f}:{int(log.now * 40) & 0xFFFFFF}): arch=c000003e syscall={log.number(8)} success=yes "
            f"exit={log.number(5)} a0={log.number(44):x} a1={log.number(44):x} a2={log.number(16):x} a3=0 items=2 ppid={log.number(16)} "
            f'pid={log.number(16)} auid={log.number(10)} uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=(none) '
            f'ses={log.number(8)} comm="{program}" exe="/usr/bin/{program}" key="exec"\n')


LOG_KINDS = {
    "messages": (messages, 0.4, 48),
    "secure": (secure, 1.0, 36),
    "nginx/access.log": (access, 0.05, 40),
    "app/app.json": (json_lines, 0.2, 36),
    "journal/export": (journal, 0.3, 20),
    "audit/audit.log": (audit, 0.02, 20),
}


def write_log(path, kind, rotation, size):
    line, pace, _ = LOG_KINDS[kind]
    start = EPOCH - rotation * 86_400
    log = LogSource(f"{kind} {rotation}", start, pace)
    path = Path(path)
    with open(path, "wb") as raw:
        out = gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) if path.suffix == ".gz" else raw
        written = 0
        while written < size:
            lines = []
            for _ in range(1_000):
                log.tick()
                lines.append(line(log))
            written += out.write("".join(lines).encode())
        if out is not raw:
            out.close()
    os.utime(path, (start, start))


def make_logs(folder, scale):
    chance = random.Random("log sizes")
    with ProcessPoolExecutor() as pool:
        jobs = []
        for kind, (_, _, count) in LOG_KINDS.items():
            for rotation in range(count):
                compressed = rotation % 5 > 2
                size = int((12.5e6 if compressed else 14.6e6) * scale * (0.15 + 1.7 * chance.random()))
                name = kind + (f".{rotation}" if rotation else "") + (".gz" if compressed else "")
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                jobs.append(pool.submit(write_log, str(path), kind, rotation, size))
        for job in jobs:
            job.result()


def make_small(folder, scale):
    """Settings, sources, notes and small binary files, as below /etc, /usr/share and home folders."""
    chance = random.Random("small files")
    lines = [" ".join(chance.choices(VOCABULARY, k=chance.randint(3, 10))) for _ in range(3_000)]
    lines += [f"{word} = {chance.getrandbits(16)}" for word in VOCABULARY]
    lines += [f"    if ({word} == NULL) return -E{word[:5].upper()};" for word in VOCABULARY]
    endings = ["", ".conf", ".txt", ".c", ".h", ".json", ".service", ".xml", ".py", ".db", ".cache"]
    count, made = int(300_000 * scale), 0
    folders = [(folder, 0)]
    while made < count:
        # New folders hang below recent ones, so that chains grow deep.
        above, depth = folders[-1 - min(len(folders) - 1, int(chance.random() ** 2 * 40))]
        if depth == 25:
            above, depth = folders[0]
        here = above / f"{chance.choice(VOCABULARY)}-{len(folders)}"
        here.mkdir()
        folders.append((here, depth + 1))
        for _ in range(min(count - made, chance.randint(2, 18))):
            size = 0 if chance.random() < 0.05 else int(8_192 * chance.random() * max(chance.random(), chance.random()))
            if chance.random() < 0.15:
                content = chance.randbytes(size)
            else:
                content = ""
                while len(content) < size:
                    content += "\n".join(chance.choices(lines, k=size // 25 + 1)) + "\n"
                content = content[:size].encode()
            made += 1
            path = here / f"{chance.choice(VOCABULARY)}{made}{chance.choice(endings)}"
            path.write_bytes(content)
            os.utime(path, (EPOCH + made, EPOCH + made))


def make_walk(folder, scale):
    for number in range(max(1, int(25_000 * scale))):
        here = folder / f"{number // 250:03}" / f"{number % 250:03}"
        here.mkdir(parents=True)
        for file in range(40):
            os.close(os.open(here / f"file-{file:02}", os.O_WRONLY | os.O_CREAT, 0o644))


def make_random(folder, scale):
    # SHAKE-256 of a counter: no seed of a generator, no other program.
    with open(folder / "random.bin", "wb") as out:
        for number in range(max(1, int(4_096 * scale))):
            out.write(hashlib.shake_256(number.to_bytes(8, "big")).digest(MIB))


def make_sparse(folder, scale):
    with open(folder / "sparse.img", "wb") as out:
        size = int(4_096 * scale) * MIB
        out.truncate(size)
        for island in range(16):
            out.seek(island * size // 16)
            out.write(b"".join(b"island %d record %d\n" % (island, record) for record in range(3_000)))


MAKERS = {"logs": make_logs, "small": make_small, "walk": make_walk, "random": make_random, "sparse": make_sparse}


def corpus(parent, name, scale):
    """The folder of a corpus below `parent`, made now unless it is there already."""
    finished = Path(parent) / f"{name}-{scale:g}"
    if not finished.is_dir():
        unfinished = finished.with_name(finished.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        # In a process of its own: what making it takes is not to count as memory of what is measured later.
        making = multiprocessing.Process(target=MAKERS[name], args=(unfinished, scale))
        making.start()
        making.join()
        if making.exitcode:
            raise SystemExit(f"corpus {name} could not be made")
        unfinished.rename(finished)
    return finished


def extent(folder):
    """Number and bytes of the regular files below a folder."""
    files = size = 0
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    files, size = files + 1, size + entry.stat(follow_symlinks=False).st_size
    return files, size
