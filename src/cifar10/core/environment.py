"""What our processes inherit: nothing that a shell, a git hook, a notebook or a container exports for others.

As a script, it prints the names of the variables to remove, for the Makefile and setup.sh. It imports nothing but the
standard library, because the machines of a cluster run it before anything is installed there.
"""

import os
import re
import sys

# git exports where the repository of a hook is, a notebook its way of drawing, a shell another library's folder ...
FOREIGN = re.compile(
    r"(GIT|PIP|UV)_\w+|PYTHON\w+|(MAKE|MF)[A-Z]+|MPLBACKEND|MATPLOTLIBRC|CDPATH|OMP_(DYNAMIC|THREAD_LIMIT|PROC_BIND|PLACES)"
)
# ... but who commits, how the network is reached and where packages come from is for us as well.
OURS = re.compile(
    r"GIT_((AUTHOR|COMMITTER)_(NAME|EMAIL)|(SSH|SSL|HTTP|PROXY|ASKPASS|TERMINAL|CEILING|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM)).*)"
    r"|(PIP|UV)_(.*(INDEX|LINKS|CERT|PROXY|HOST|CACHE|TIMEOUT|RETRIES|KEYRING|HTTP|CONFIG_FILE|VERSION_CHECK|TLS).*)"
    r"|PYTHON(UNBUFFERED|DONTWRITEBYTECODE|PYCACHEPREFIX|FAULTHANDLER)"
)


def foreign() -> list[str]:
    """Return the names of the variables that our processes must not see."""
    return [name for name in os.environ if FOREIGN.fullmatch(name) and not OURS.fullmatch(name)]


def isolate() -> None:
    """Make this process, and all that it starts, independent of the variables that `foreign` names."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [path for path in sys.path if path not in paths or not path]
    for name in foreign():
        del os.environ[name]
    # DVC runs the stages as `python`, in a shell: this python, and no /usr/sbin/nologin of a service.
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", os.defpath)  # noqa: PTH120
    os.environ["SHELL"] = "/bin/sh"
    os.environ.setdefault("USER", str(os.getuid()))  # a container's user may have no name, which DVC asks for
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a name in an alphabet that the terminal does not have
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


if __name__ == "__main__":
    print(*foreign())
