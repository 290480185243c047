"""Steps and their notebook kernels as forks of one process that has imported what they need.

A new process spends more time on imports than many a step on its work. A fork must give the page of a new
process: it is made where nothing but imports happened, with the environment that execution gives to kernels.
"""

import atexit
import contextlib
import gc
import importlib
import json
import locale
import multiprocessing
import multiprocessing.connection
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from ..config.leash import GRACE
from .execute import MEMORY, SETTINGS, UNSET, kernel_environment

MODULES = (
    "ipykernel.kernelapp",  # first: progress bars are widgets where it is
    "jupytext",
    "papermill",
    "sklearn.linear_model",
    "xnn.explain.card",
    "xnn.explain.removal",
    "xnn.explore.audit",
    "xnn.plots",
    "xnn.training.fit",
)
# CUDA does not survive a fork, and an import may start it
SAFE = sys.platform == "linux" and not Path("/proc/driver/nvidia").exists()
forking = multiprocessing.get_context("fork") if SAFE else None
NAME = "xnn-fork"


def possible() -> bool:
    """Whether forks of this process are like new ones: the seed of hashes is fixed when Python starts."""
    same_seed = os.environ.get("PYTHONHASHSEED") == SETTINGS["PYTHONHASHSEED"]
    return bool(forking) and same_seed and not set(UNSET) & set(os.environ)


def imports() -> None:
    """Import what steps need, with the settings of a kernel; before anything else imports pandas or tqdm.

    What is imported stays, so neither this process, for a fifth of the time, nor its forks look for garbage
    in it.
    """
    gc.disable()
    shell = SimpleNamespace(kernel=True)  # pandas asks for it once: the width of tables depends on it
    with mock.patch.dict(os.environ, kernel_environment(), clear=True):
        with mock.patch("builtins.get_ipython", return_value=shell, create=True):
            importlib.import_module("pandas")
        for name in MODULES:
            importlib.import_module(name)
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # else some extensions complain at the end of what was not cleared


class Child(forking.Process if forking else object):
    """A call in a fork, which starts at once; used like a Popen."""

    stdin = stdout = stderr = None

    def __init__(self, target, *arguments):
        super().__init__(target=target, args=arguments)
        self.start()

    @property
    def returncode(self) -> int | None:
        return self.exitcode

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self) -> int:
        self.join()
        return self.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def start(module: str, *arguments: str) -> Child:
    """Run a module in a fork that ends with this process, as `leash.start` does in a new process."""
    return Child(_run, module, arguments)


class Server:
    """A process that has imported what steps need, and forks for each command; it ends with this process."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        plain = {name: value for name, value in environment.items() if name not in UNSET}
        self.environment = environment
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            cwd=folder,
            env=MEMORY | plain | {"PYTHONHASHSEED": SETTINGS["PYTHONHASHSEED"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, log: Path, module: str, *arguments: str) -> int:
        """Return the exit status of ``python -m MODULE ARGUMENTS...``, negative if a signal ended it.

        Its output is appended to the log.
        """
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps([str(log), module, arguments]), file=self.process.stdin, flush=True)
        status = self.process.stdout.readline()
        return int(status) if status else self.process.wait() or -signal.SIGKILL

    def close(self) -> None:
        """End it, and a command that it runs."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


def serve() -> None:
    """Run the commands of a Server until it closes standard input."""
    imports()
    for line in iter(sys.stdin.readline, ""):
        child = Child(_logged, *json.loads(line))
        if child.sentinel not in multiprocessing.connection.wait([child.sentinel, sys.stdin]):
            child.terminate()
            return
        print(child.wait(), flush=True)


def _logged(log: str, module: str, arguments: list[str]) -> None:
    with open(log, "ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    _run(module, arguments)


def _run(module: str, arguments: tuple[str, ...]) -> None:
    kernel = _Kernel()  # before there are threads
    threading.Thread(target=_watch, daemon=True).start()
    ForkProvisioner.waiting = kernel
    KernelProvisionerFactory.instance().provisioners[NAME] = EntryPoint(
        NAME, f"{__name__}:ForkProvisioner", KernelProvisionerFactory.GROUP_NAME
    )
    KernelProvisionerFactory.instance().default_provisioner_name = NAME
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        kernel.end()


def _watch() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)


class _Kernel(Child):
    """A fork that becomes the kernel of a notebook when it is told which."""

    def __init__(self):
        self.theirs, self.ours = forking.Pipe(duplex=False)
        super().__init__(self._become)
        self.theirs.close()

    def _become(self) -> None:
        self.ours.close()
        try:
            arguments, environment, folder = self.theirs.recv()
        except EOFError:  # no notebook was executed
            return
        os.setsid()
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        locale.setlocale(locale.LC_CTYPE, "")
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        from ipykernel.kernelapp import IPKernelApp

        IPKernelApp.launch_instance(argv=arguments)

    def begin(self, *told) -> None:
        self.ours.send(told)

    def end(self) -> None:
        """End it: no notebook is executed any more."""
        self.ours.close()
        self.join(GRACE)
        self.kill()


class ForkProvisioner(LocalProvisioner):
    """Gives a notebook the kernel that waits for one, and a new process to each later notebook."""

    waiting: _Kernel | None = None

    async def launch_kernel(self, cmd: list[str], **options) -> dict:
        kernel, ForkProvisioner.waiting = ForkProvisioner.waiting, None
        if kernel is None:
            return await super().launch_kernel(cmd, **options)
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        # what a kernel does when matplotlib is imported, which it was; and it ends with this process
        arguments += ["--matplotlib=inline", f"--IPKernelApp.parent_handle={os.getpid()}"]
        self.cwd = options.get("cwd", os.getcwd())
        kernel.begin(arguments, options["env"], self.cwd)
        self.process = kernel
        self.pid = self.pgid = kernel.pid
        return self.connection_info
