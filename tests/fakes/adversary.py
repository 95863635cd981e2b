"""A server or learner that tries to outlive its launcher.

    python3 -I -S adversary.py MARK DIRECTORY server|learner PORT BEHAVIOUR...

It starts in 10 ms, so that hundreds of trials are affordable. Whatever it does to hide, each of its
processes holds the FIFO DIRECTORY/alive open, and ends on its own after 100 s or when that file is
gone. When it has done its worst it writes "<role> <pid>" into the FIFO DIRECTORY/ready. SIGUSR1
ends it with status 7, SIGUSR2 with status 0.

Behaviours:
    stubborn        ignores SIGTERM, SIGINT and SIGHUP, and so does whatever it forks
    session         a child in a session of its own
    double_fork     a grandchild whose parent is gone, in a session of its own
    crowd           200 children
    renamed         a child with another command line
    bare            a child in a session of its own with an empty environment
    clobbered       a double-forked child that has overwritten its title and environment in memory
    stopped         a child that has been stopped (SIGSTOP)
    bursts          a child that forks two more, in sessions of their own, when it gets SIGTERM
    chain           a process that forks and ends, again and again
    session_chain   the same, each generation in a session of its own
    deaf_chain      a chain in sessions of their own that begins at SIGTERM, as fast as it can
"""

import os
import signal
import sys
import time

MARK, DIRECTORY, ROLE, PORT, *BEHAVIOURS = sys.argv[1:]
ALIVE = f"{DIRECTORY}/alive"
END = time.monotonic() + 100  # a fork has no alarm (fork(2)), so a chain would go on for ever
SIZE = b'{"world_size": 1}'
ASKS_FOR_AN_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def sleep_for_ever():
    while True:
        signal.pause()


def child(act=sleep_for_ever):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        signal.alarm(100)
        act()
        os._exit(0)
    return pid


def session():
    def act():
        os.setsid()
        sleep_for_ever()

    child(act)


def double_fork(last=sleep_for_ever):
    def act():
        os.setsid()
        child(last)

    os.waitpid(child(act), 0)


def crowd():
    for _ in range(200):
        child()


def renamed():
    child(lambda: os.execv("/bin/sleep", ["VLLM::EngineCore", "1000"]))


def bare():
    def act():
        os.setsid()
        words = [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()", MARK]
        os.execve(sys.executable, words, {})

    child(act)


def clobbered():
    def act():
        overwrite(b"VLLM::EngineCore")
        sleep_for_ever()

    double_fork(act)


def overwrite(title):
    """Do to argv and environment what setproctitle does (proc(5): arg_start, env_end)."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[48])
    memory = os.open("/proc/self/mem", os.O_WRONLY)
    os.pwrite(memory, title + bytes(end - start - len(title)), start)
    os.close(memory)


def stopped():
    os.waitpid(child(lambda: os.kill(os.getpid(), signal.SIGSTOP)), os.WUNTRACED)


def bursts():
    def burst(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in range(2):
            session()

    def act():
        signal.signal(signal.SIGTERM, burst)
        sleep_for_ever()

    child(act)


def run_away(*, sessions, pause_s):
    while time.monotonic() < END and os.access(ALIVE, os.F_OK) and os.fork() == 0:
        if sessions:
            os.setsid()
        if pause_s:
            time.sleep(pause_s)
    os._exit(0)


def chain():
    child(lambda: run_away(sessions=False, pause_s=0.005))


def session_chain():
    child(lambda: run_away(sessions=True, pause_s=0.005))


def deaf_chain():
    def begin(*_):
        for signum in ASKS_FOR_AN_END:
            signal.signal(signum, signal.SIG_IGN)
        run_away(sessions=True, pause_s=0)

    def act():
        signal.signal(signal.SIGTERM, begin)
        sleep_for_ever()

    child(act)


def serve():
    from _socket import SO_REUSEADDR, SOL_SOCKET, socket  # "socket" takes as long as all the rest

    listener = socket()
    listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(PORT)))
    listener.listen()
    while True:
        descriptor, _ = listener._accept()
        connection = socket(fileno=descriptor)
        try:
            request = connection.recv(65536)
            while b"\r\n\r\n" not in request or (request[:4] == b"POST" and b"}" not in request):
                request += connection.recv(65536)
            posted = request[:4] == b"POST"
            body = b'[{"response": {"usage": {"completion_tokens": 1}}}]' if posted else SIZE
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            connection.sendall(head % len(body) + body)
        except OSError:
            pass
        connection.close()


os.set_inheritable(os.open(ALIVE, os.O_WRONLY), True)
signal.alarm(100)
if "stubborn" in BEHAVIOURS:
    for signum in ASKS_FOR_AN_END:
        signal.signal(signum, signal.SIG_IGN)
for behaviour in BEHAVIOURS:
    if behaviour != "stubborn":
        globals()[behaviour]()
signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
signal.signal(signal.SIGUSR2, lambda *_: os._exit(0))
ready = os.open(f"{DIRECTORY}/ready", os.O_RDWR)
os.write(ready, f"{ROLE} {os.getpid()}\n".encode())
os.close(ready)
if ROLE == "server":
    serve()
sleep_for_ever()
