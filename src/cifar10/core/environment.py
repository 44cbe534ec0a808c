"""Remove the variables that a shell, a git hook, a notebook or a container exports for other programs.

As a script, print the names of these variables, for the Makefile and setup.sh. Import only the standard library,
because the machines of a cluster run this file before anything is installed.
"""

import os
import re
import site
import sys
import sysconfig

# For example, git exports a hook's repository, a notebook its way of drawing, a shell another library's folder.
FOREIGN = re.compile(
    r"(GIT|PIP|UV)_\w+|PYTHON\w+|(MAKE|MF)[A-Z]+|MPLBACKEND|MATPLOTLIBRC|CDPATH|LOKY_\w+|OMP_(DYNAMIC|THREAD_LIMIT|PROC_BIND|PLACES)"
)
# Our processes need to know who commits, how the network is reached and where packages come from.
OURS = re.compile(
    r"GIT_((AUTHOR|COMMITTER)_(NAME|EMAIL)|(SSH|SSL|HTTP|PROXY|ASKPASS|TERMINAL|CEILING|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM)).*)"
    r"|(PIP|UV)_(.*(INDEX|LINKS|CERT|PROXY|HOST|CACHE|TIMEOUT|RETRIES|KEYRING|HTTP|CONFIG_FILE|VERSION_CHECK|TLS).*)"
    r"|PYTHON(UNBUFFERED|DONTWRITEBYTECODE|PYCACHEPREFIX|FAULTHANDLER)"
)


def foreign() -> list[str]:
    """Return the names of the variables that our processes must not see."""
    return [name for name in os.environ if FOREIGN.fullmatch(name) and not OURS.fullmatch(name)]


def isolate() -> None:
    """Remove what `foreign` names from this process and its children; set PATH, SHELL and USER as DVC needs them."""
    given = os.environ.get("PYTHONPATH")
    named = {os.path.abspath(path) for path in given.split(os.pathsep)} if given else set()  # noqa: PTH100
    root = os.path.abspath(f"{__file__}/../../../..")  # noqa: PTH100
    others = named - {*site.getsitepackages(), sysconfig.get_path("stdlib"), root, f"{root}/src"}
    sys.path[:] = [path for path in sys.path if path not in others]
    for name in foreign():
        del os.environ[name]
    # DVC runs `python` in $SHELL. It must find this Python, and a service's shell may be /usr/sbin/nologin.
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", os.defpath)  # noqa: PTH120
    os.environ["SHELL"] = "/bin/sh"
    os.environ.setdefault("USER", str(os.getuid()))  # a container's user may have no name, which DVC asks for
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a file's name may have letters that the terminal does not have
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


if __name__ == "__main__":
    print(*foreign())
