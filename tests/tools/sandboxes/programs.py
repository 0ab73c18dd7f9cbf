"""Hostile programs, by kind. One that reaches what it wants prints ``GOT`` and what it got.

The words in capitals are set before a program runs: FILE (a file of the host that everybody may read), FOLDER (one
that everybody may write), PORT (a TCP port of the host), NAME (an abstract socket), PID (a process of the host), KEY (a
System V memory segment). Every bomb has a bound of its own, so that even without a sandbox it could not take the
machine along. Plain Python, so that the system's interpreter can import it.
"""

from __future__ import annotations

PRELUDE = """
import os, sys, time, ctypes
libc = ctypes.CDLL(None, use_errno=True)
"""

FORKS = """
held = []
for i in range(200):
    pid = os.fork()
    if not pid:
        time.sleep(20); os._exit(0)
    held.append(pid)
print("GOT", len(held), "processes")
"""

PROGRAMS: dict[str, dict[str, str]] = {
    "fork bomb": {
        "children": FORKS,
        "doubling": """
for i in range(8):
    try: os.fork()
    except OSError: time.sleep(1); break
else:
    time.sleep(1)
    if len([p for p in os.listdir("/proc") if p.isdigit()]) > 150: print("GOT many processes")
os.getpid() == 2 or os._exit(0)
""",
        "threads": """
import threading
for i in range(200): threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
print("GOT 200 threads")
""",
        "shell": """
import subprocess
script = "for i in $(seq 200); do sleep 20 >/dev/null 2>&1 & done; echo all"
made = subprocess.run(script, shell=True, capture_output=True, text=True)
if "all" in made.stdout and "fork" not in made.stderr: print("GOT 200 from a shell")
""",
        "daemons": """
for i in range(50):
    if not os.fork():
        os.setsid()
        if os.fork(): os._exit(0)
        time.sleep(20); os._exit(0)
    os.wait()
alive = sum(name.isdigit() for name in os.listdir("/proc"))
print("GOT daemons" if alive > 45 else "refused", alive)
""",
    },
    "memory bomb": {
        "one block": "b = bytearray(1 << 30); print('GOT a gigabyte', len(b))",
        "many blocks": "b = []\nfor i in range(1000): b.append(bytearray(1 << 20))\nprint('GOT a gigabyte')",
        "many processes": """
children, (ready, tell) = [], os.pipe()
for i in range(12):
    pid = os.fork()
    if not pid:
        b = bytearray(b"x") * (100 << 20); os.write(tell, b"x"); time.sleep(20); os._exit(0)
    children.append(pid)
os.close(tell)
held = 0
while held < 12 and (data := os.read(ready, 12)): held += len(data)
alive = [pid for pid in children if not os.waitpid(pid, os.WNOHANG)[0]]
print("GOT 1200 MB" if held == len(alive) == 12 else "some were ended", len(alive))
""",
        "memory files": """
held = []
for i in range(8):
    fd = os.memfd_create("m"); held.append(fd)
    for k in range(64): os.write(fd, b"x" * (1 << 20))
print("GOT 512 MB that no process holds")
""",
        "shared segments": """
for i in range(4):
    n = libc.shmget(0, 128 << 20, 0o1600)
    if n < 0: raise OSError(ctypes.get_errno(), "shmget")
print("GOT 512 MB of System V memory")
""",
        "long number": "print((7 ** (10 ** 9)).bit_length())\nprint('GOT')",
    },
    "endless output": {
        "lines": "for i in range(10**9): print('x' * 1000)",
        "one write": "os.write(1, b'x' * (100 << 20)); print('end')",
        "error stream": "while True: sys.stderr.write('x' * 10000)",
        "from children": """
for i in range(8):
    if not os.fork():
        while True: os.write(1, b"x" * 65536)
time.sleep(20)
""",
        "after the run": """
if not os.fork():
    for i in range(500): os.write(1, b"late"); time.sleep(0.01)
    os._exit(0)
print("early")
""",
    },
    "host files": {
        "read": "print('GOT', open('FILE').read())",
        "read by parent folders": "print('GOT', open('../' * 30 + 'FILE'[1:]).read())",
        "write": "open('FOLDER/written', 'w').write('x'); print('GOT a file on the host')",
        "users": "print('GOT', open('/etc/shadow').read())",
        "device": "print('GOT', os.open('/dev/mem', os.O_RDONLY))",
        "system": """
for place in (os.path.dirname(os.__file__), "/usr/bin", "/", "/dev", "/opt"):
    try: open(place + "/written", "w"); print("GOT a file in", place)
    except OSError: pass
""",
    },
    "environment variables": {
        "own": "print('GOT' if any('SECRET' in k for k in os.environ) else '', dict(os.environ))",
        "parent's": "print('GOT', open(f'/proc/{os.getppid()}/environ').read().count('SECRET') or 1 / 0)",
        "everybody's": """
for p in filter(str.isdigit, os.listdir("/proc")):
    try:
        if b"SECRET" in open(f"/proc/{p}/environ", "rb").read(): print("GOT the variables of", p)
    except OSError: pass
""",
    },
    "network": {
        "loopback": "import socket; socket.create_connection(('127.0.0.1', PORT), 2); print('GOT the host')",
        "outside": "import socket; socket.create_connection(('192.0.2.1', 80), 2); print('GOT out')",
        "datagram": """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT)); print("GOT a datagram out")
""",
        "abstract socket": """
import socket
s = socket.socket(socket.AF_UNIX); s.connect("\\0NAME"); print("GOT a socket of the host")
""",
        "packets": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('GOT raw packets')",
        "the host's connections": """
if any(f":{PORT:04X} " in line for line in open("/proc/net/tcp")): print("GOT the host's connections")
""",
    },
    "proc": {
        "memory of process 1": "open('/proc/1/mem', 'rb+'); print('GOT the supervisor')",
        "descriptors of process 1": """
for fd in os.listdir("/proc/1/fd"): print("GOT", os.readlink("/proc/1/fd/" + fd))
open("/proc/1/fd/1", "w").write('{"output": "forged"}')
""",
        "root of process 1": "print('GOT', os.listdir('/proc/1/root/root'), os.listdir('/proc/1/cwd'))",
        "a process of the host": "print('GOT', open('/proc/PID/cmdline').read())",
        "settings": """
for name in ("kernel/core_pattern", "vm/drop_caches", "kernel/hostname"):
    try: open("/proc/sys/" + name, "w").write("x"); print("GOT", name)
    except OSError: pass
open("/proc/sysrq-trigger", "w").write("h"); print("GOT sysrq")
""",
        "segments of the host": """
if any(line.split()[1:2] == ["KEY"] for line in open("/proc/sysvipc/shm")): print("GOT the host's segments")
""",
    },
    "signals": {
        "parent": "os.kill(os.getppid(), 9); time.sleep(0.2); print('ends with us' if os.getppid() else 'GOT')",
        "process 1": """
for n in (1, 2, 3, 6, 9, 11, 15, 19):
    os.kill(1, n)
time.sleep(0.1)
if "T" in open("/proc/1/stat").read().split()[2]: print("GOT process 1 stopped")
""",
        "a process of the host": "os.kill(PID, 9); print('GOT the host')",
        "everybody": "os.kill(-1, 15); print('alone')",
        "the own group": "os.killpg(0, 9)",
    },
    "ptrace": {
        "process 1": "\nif libc.ptrace(16, 1, 0, 0) == 0: print('GOT process 1')",
        "parent": "\nif libc.ptrace(16, os.getppid(), 0, 0) == 0: print('GOT the parent')",
        "a child": """
pid = os.fork()
if not pid: time.sleep(5); os._exit(0)
if libc.ptrace(16, pid, 0, 0) == 0: print("GOT a child under ptrace")
""",
        "memory of a process": """
class Vector(ctypes.Structure): _fields_ = [("at", ctypes.c_void_p), ("n", ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(8); here = Vector(ctypes.addressof(buffer), 8)
if libc.process_vm_readv(1, ctypes.byref(here), 1, ctypes.byref(here), 1, 0) > 0: print("GOT memory of process 1")
print(ctypes.get_errno())
""",
        "traced by itself": "\nif libc.ptrace(0, 0, 0, 0) == 0: print('GOT traced')",
    },
    "namespaces": {
        "user": "\nif libc.unshare(0x10000000) == 0: print('GOT a user namespace')",
        "user by clone": """
pid = libc.syscall(56 if os.uname().machine == "x86_64" else 220, 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0: os._exit(0)
if pid > 0: print("GOT a user namespace")
""",
        "mount": "\nif libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0: print('GOT a mount')",
        "root": "os.chroot('/tmp'); print('GOT chroot')",
        "user id": "os.setuid(0); print('GOT root' if os.getuid() == 0 else '')",
        "keyring": """
number = 248 if os.uname().machine == "x86_64" else 217
if libc.syscall(number, b"user", b"agentrl", b"x", 1, -4) > 0: print("GOT a key in the host's keyring")
""",
    },
    "zombies": {
        "unreaped": """
for i in range(25):
    if not os.fork(): os._exit(0)
print("left behind")
""",
        "orphans": """
for i in range(40):
    pid = os.fork()
    if not pid:
        if not os.fork(): time.sleep(0.02); os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
print("left behind")
""",
        "vfork and stop": """
pid = os.fork()
if not pid: os.kill(os.getpid(), 19)
print("stopped child left behind")
""",
    },
    "descriptors": {
        "standard input": "os.close(0); sys.stdin.close(); print('closed')",
        "all": "os.closerange(0, 256)",
        "output": "os.close(1); os.close(2); time.sleep(0.2)",
        "a forged answer": "os.write(4, b'[1, null]\\n[2, null]\\n'); time.sleep(0.5); print('late')",
        "half an answer": "os.write(4, b'[' * 70000); time.sleep(1)",
        "too many": "\nheld = [os.dup(1) for i in range(100000)]; print('GOT', len(held), 'descriptors')",
    },
    "disk": {
        "one file": """
with open("big", "wb") as f:
    for i in range(128): f.write(b"x" * (1 << 20)); f.flush()
print("GOT 128 MB of files")
""",
        "many files": "for i in range(60000): open(f'f{i}', 'w').close()\nprint('GOT', len(os.listdir('.')), 'files')",
        "shared memory folder": """
with open("/dev/shm/big", "wb") as f:
    for i in range(128): f.write(b"x" * (1 << 20)); f.flush()
print("GOT 128 MB in /dev/shm")
""",
        "other folders": """
for place in ("/", "/dev", "/run", "/var/tmp", "/opt", "/proc"):
    try:
        with open(place + "/big", "wb") as f:
            for i in range(128): f.write(b"x" * (1 << 20))
        print("GOT", place)
    except OSError: pass
""",
        "sparse": """
f = open("sparse", "w+b"); f.truncate(1 << 40)
import mmap
m = mmap.mmap(f.fileno(), 200 << 20)
for i in range(0, 200 << 20, 4096): m[i:i + 1] = b"x"
print("GOT 200 MB of sparse file")
""",
        "deep folders": """
for i in range(200000): os.mkdir("d"); os.chdir("d")
print("GOT 200,000 folders deep")
""",
    },
    "odd names": {
        "control characters": "open('a\\nb\\r\\x1b[2J', 'w').write('x'); os.mkdir('-rf *'); print(os.listdir('.'))",
        "no text": "open(b'\\xff\\xfe', 'w').write('x'); print(os.listdir('.'), '\\ud800')",
        "long": "open('n' * 255, 'w').write('x'); os.makedirs('/'.join('p' * 8)); print(os.listdir('.'))",
        "shell words": "open('$(touch FOLDER`)'.replace('/', '_'), 'w'); print(os.listdir('.'))",
    },
    "pickles": {
        "in a file": """
import pickle
class Evil:
    def __reduce__(self): return (os.system, ("touch FOLDER/written",))
open("result.pkl", "wb").write(pickle.dumps(Evil()))
""",
        "printed": """
import pickle
class Evil:
    def __reduce__(self): return (os.system, ("touch FOLDER/written",))
os.write(1, pickle.dumps(Evil()))
""",
        "as an answer": """
import pickle
class Evil:
    def __reduce__(self): return (os.system, ("touch FOLDER/written",))
os.write(4, pickle.dumps(Evil()) + b"\\n"); time.sleep(0.3)
""",
        "in a repr": "\nclass Evil:\n    def __repr__(self): raise SystemExit(9)\nEvil()",
    },
    "the driver": {
        "builtins": """
import builtins
for name in ("compile", "exec", "eval", "print", "open", "len", "isinstance", "BaseException", "vars"):
    setattr(builtins, name, None)
""",
        "modules": """
import signal, json
json.loads = json.dumps = os.write = os.read = os.getpid = signal.signal = lambda *a: None
sys.modules.clear(); sys.stdout = sys.stderr = sys.stdin = None
""",
        "frames": """
f = sys._getframe()
while f:
    for name in ("_drive", "_cell", "os", "signal", "json", "sys"): f.f_globals[name] = None
    f = f.f_back
""",
        "hooks": """
sys.settrace(lambda *a: 1 / 0); sys.setprofile(lambda *a: None)
sys.excepthook = sys.__excepthook__ = sys.displayhook = None
sys.setrecursionlimit(50); sys.exit(3)
""",
        "exit": "import atexit; atexit.register(print, 'late'); os._exit(7)",
        "coming back twice": "os.fork(); os.fork(); print('who am I')",
    },
    "time": {
        "loop": "end = time.time() + 12\nwhile time.time() < end: pass\nprint('GOT 12 seconds')",
        "sleep": "time.sleep(12); print('GOT 12 seconds')",
        "deaf loop": """
end = time.time() + 12
while time.time() < end:
    try:
        while time.time() < end: time.sleep(0.01)
    except BaseException: pass
print("GOT 12 seconds")
""",
        "deaf to signals": """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
for n in range(1, 65):
    try: signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError): pass
time.sleep(12); print("GOT 12 seconds")
""",
        "one long call": "sum(range(10 ** 12)); print('GOT a long call')",
        "many cores": """
import multiprocessing
def work(_):
    end = time.process_time() + 15
    while time.process_time() < end: pass
with multiprocessing.Pool(4) as pool: pool.map(work, range(4))
print("GOT 60 seconds of processor time")
""",
    },
}
# What is asked of the session after a program: names that must not lead out of its folder.
EXCHANGES: dict[str, tuple[str, str, str]] = {
    "read through a link": ("os.symlink('FILE', 'a')", "read", "a"),
    "read through a linked folder": ("os.symlink('/', 'a')", "read", "aFILE"),
    "write through a link": ("os.symlink('FOLDER/written', 'a')", "write", "a"),
    "read above": ("", "read", "../../../../../../..FILE"),
    "read absolutely": ("", "read", "FILE"),
    "read what never ends": ("os.mkfifo('a')", "read", "a"),
}
