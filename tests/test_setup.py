"""setup.sh with the real uv, a folder of tiny wheels instead of an index, and a pip that only records its calls."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import venv
import zipfile
from copy import copy
from pathlib import Path

import pytest

from tests.clone import ROOT

UV = Path(sys.executable).with_name("uv")

pytestmark = pytest.mark.skipif(not UV.exists(), reason="set-up could not install uv")

# Records its calls and lists what is installed; FAIL_PIP names the lock that it cannot install.
PIP = """
import importlib.metadata, os, sys
if sys.argv[1:] == ["config", "list"] and os.environ.get("PIP_USER") == "0":
    print("global.index-url='https://a.example'\\nglobal.user='true'\\ninstall.require-hashes='true'")
    print("install.extra-index-url='https://b.example/?c=d\\\\nhttps://e.example'")
    sys.exit()
with open("pip.env", "w") as log:
    print(*(f"{name}={os.environ[name]}" for name in sorted(os.environ) if name[:4] == "PIP_"), sep="\\n", file=log)
with open("pip.log", "a") as log:
    print(*sys.argv[1:], file=log)
if sys.argv[1] == "list":
    for found in importlib.metadata.distributions():
        print(f"{found.name}=={found.version}")
sys.exit(os.environ.get("FAIL_PIP") in sys.argv)
"""

# The real uv without a network. FAIL_UV holds a command that is run instead.
FAKE_UV = f"""#!/bin/sh
echo "UV_SYSTEM_CERTS=$UV_SYSTEM_CERTS" "$@" >> uv.log
if [ -n "$FAIL_UV" ]; then eval "$FAIL_UV"; exit 2; fi
exec {shlex.quote(str(UV))} --offline --cache-dir cache "$@" --no-index --find-links index
"""


def wheel(folder: Path, name: str, version: str) -> str:
    """Write a wheel with one module; return its line in a lock."""
    file = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    contents = {
        f"{name}.py": "javascript_bundle = str\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{name.lower().replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}\n    # via a test\n"


class Project:
    """A folder with setup.sh, the Makefile, two small locks, and an environment that holds pip alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("setup.sh", "Makefile", "src/cifar10/core/environment.py"):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
        index = path / "index"
        index.mkdir()
        wheel(index, "torch", "2.11.0+cpu")
        wheel(index, "torchvision", "0.26.0+cpu")
        locked = {"numpy": "2.4.6", "nvidia_nccl": "2.28", "ruamel_yaml": "0.19"}
        locked |= {"torch": "2.11.0", "torchvision": "0.26.0"}
        self.lock = {name: wheel(index, name, version) for name, version in locked.items()}
        self.write_lock()
        tools = {"uv": "0.13.9", "vl_convert": "1.9", "numpy": "2.4.6"}  # numpy is in both, as packaging is
        (path / "requirements-dev.lock").write_text("".join(wheel(index, *tool) for tool in tools.items()))

        venv.create(path / ".venv", symlinks=True)
        (self.site,) = path.glob(".venv/lib/python*/site-packages")
        (self.site / "pip").mkdir()
        (self.site / "pip" / "__main__.py").write_text(PIP)
        (self.site / "pip-23.2.dist-info").mkdir()
        (self.site / "pip-23.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pip\nVersion: 23.2\n")
        (self.site / "pip-23.2.dist-info" / "INSTALLER").write_text("pip\n")
        self.program(".venv/bin/uv", FAKE_UV)
        for name in ("pip", "dvc"):
            self.program(f".venv/bin/{name}", "#!/bin/sh\n")
        (path / "bin").mkdir()
        self.program("bin/uname", "#!/bin/sh\necho Linux\n")

    def program(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)
        (self.path / name).chmod(0o755)

    def write_lock(self, *dropped: str) -> None:
        text = "".join(entry for name, entry in self.lock.items() if name not in dropped)
        (self.path / "requirements.lock").write_text(text)

    def run(self, *command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """The result of a command that must end with this exit code, in a session and an environment of its own."""
        path = f"{self.path}/bin:{UV.parent}:{os.environ['PATH']}"  # with a python3 that is supported
        # The ceiling: the configuration of no repository above.
        env = {"PATH": path, "HOME": str(self.path), "GIT_CEILING_DIRECTORIES": str(self.path.parent)}
        result = subprocess.run(command, cwd=self.path, env=env, text=True, capture_output=True, start_new_session=True)
        assert result.returncode == code, result.stdout + result.stderr
        return result

    def setup(self, *variables: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        for log in ("uv.log", "pip.log"):
            (self.path / log).write_text("")
        return self.run("env", *variables, "bash", "setup.sh", code=code)

    def log(self, name: str) -> list[str]:
        return (self.path / f"{name}.log").read_text().splitlines()

    @property
    def installed(self) -> list[str]:
        return sorted(path.name.removesuffix(".dist-info") for path in self.site.glob("*.dist-info"))


NO_VENV = f'#!/bin/sh\ncase "$*" in "-m venv"*) exit 3 ;; *) exec {shlex.quote(sys.executable)} "$@" ;; esac\n'
EDITABLE = "install -q --no-deps --no-build-isolation --no-index -e ."
OTHERS = ["numpy-2.4.6", "pip-23.2", "ruamel_yaml-0.19", "uv-0.13.9", "vl_convert-1.9"]
GPU = sorted([*OTHERS, "nvidia_nccl-2.28", "torch-2.11.0", "torchvision-0.26.0"])
CPU = sorted([*OTHERS, "torch-2.11.0+cpu", "torchvision-0.26.0+cpu"])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_each_build_of_torch_replaces_the_other_and_the_same_again_changes_nothing(project: Project) -> None:
    """2.11.0+cpu satisfies ==2.11.0, so uv alone would keep it."""
    for build, installed in (("gpu", GPU), ("cpu", CPU), ("gpu", GPU)):
        project.setup(f"TORCH={build}")
        assert project.installed == installed
        # pip installs uv, by hash, and the package itself, without a download; nothing else.
        assert project.log("pip") == ["install -q --require-hashes -r .venv/uv.lock", EDITABLE]
        assert project.log("uv")[0].startswith("UV_SYSTEM_CERTS=1 pip sync")
        result = project.setup(f"TORCH={build}", "UV_SYSTEM_CERTS=0")  # as the user wants it
        assert project.log("uv")[0].startswith("UV_SYSTEM_CERTS=0 pip sync")
        assert "Bytecode compiled " in result.stderr  # by uv, at its end
        assert "nstalled " not in result.stderr  # neither Installed nor Uninstalled
    lock = (project.path / ".venv/uv.lock").read_text()
    assert lock.startswith("uv==0.13.9 \\\n    --hash=sha256:")
    assert lock.count("==") == 1


def test_macos_has_one_build(project: Project) -> None:
    project.program("bin/uname", "#!/bin/sh\necho Darwin\n")
    project.setup("TORCH=cpu")
    assert project.installed == GPU


@pytest.mark.parametrize("build", ["gpu", "cpu"])
def test_a_wrong_hash_is_refused(project: Project, build: str) -> None:
    project.lock["ruamel_yaml"] = f"ruamel-yaml==0.19 --hash=sha256:{'0' * 64}\n"
    project.write_lock()
    result = project.setup(f"TORCH={build}", "FAIL_PIP=.venv/pip.lock", code=1)
    assert "Hash mismatch for `ruamel-yaml==0.19`" in result.stderr
    assert project.installed == ["pip-23.2"]


def test_what_no_lock_names_goes_and_a_package_installed_by_half_is_installed_again(project: Project) -> None:
    """As a kill leaves it: the metadata are there, but not every file, and not INSTALLER."""
    project.setup()
    project.write_lock("ruamel_yaml")
    (project.site / "numpy.py").unlink()
    (project.site / "numpy-2.4.6.dist-info" / "INSTALLER").unlink()
    project.setup()
    assert (project.site / "numpy.py").exists()
    assert project.installed == [name for name in GPU if not name.startswith("ruamel")]


@pytest.mark.parametrize("fault", ["FAIL_UV=exit 2", "FAIL_PIP=.venv/uv.lock"])
def test_pip_takes_over_where_uv_fails(project: Project, fault: str) -> None:
    project.lock["stray"] = wheel(project.path / "index", "Stray_Package", "1.0")
    project.write_lock()
    project.setup("TORCH=cpu")
    project.write_lock("stray")
    result = project.setup("TORCH=gpu", fault)
    assert result.stderr.count("\n") == 1
    assert "pip installs the packages instead" in result.stderr
    calls = ["install --require-hashes -r .venv/pip.lock", "list --format=freeze", "uninstall -q -y stray-package"]
    assert project.log("pip")[1:] == [*calls, EDITABLE]
    lock = (project.path / ".venv/pip.lock").read_text()
    assert "uv==" not in lock  # it may be what could not be installed
    assert {"torch===2.11.0 \\", "torchvision===0.26.0 \\", "vl-convert==1.9 \\"} < set(lock.splitlines())
    assert lock.count("--hash=sha256:") == lock.count("==") == 7


def test_the_cpu_build_needs_uv(project: Project) -> None:
    result = project.setup("TORCH=cpu", "FAIL_UV=exit 2", code=1)
    assert "setup: TORCH=cpu could not be installed" in result.stderr
    assert len(project.log("pip")) == 1


def test_the_disk_needs_room_only_once(project: Project) -> None:
    """An interrupted set-up has filled part of the disk, and must be resumed all the same."""
    real = shlex.quote(sys.executable)
    project.program("bin/full", f'#!/bin/sh\ncase "$*" in *disk_usage*) echo 4;; *) exec {real} "$@";; esac\n')
    project.setup("PYTHON=full")
    shutil.rmtree(project.path / ".venv")
    result = project.setup("PYTHON=full", code=1)
    assert "needs 8 GB of free disk space, but only 4 GB are free" in result.stderr


def test_of_the_users_settings_only_where_packages_come_from_counts(project: Project) -> None:
    """Not `user = true`, nor PIP_REQUIRE_HASHES, nor a hook's GIT_DIR, which would be configured."""
    hook = project.path / "of a hook"
    project.run("git", "init", "-q", "--bare", str(hook))
    before = (hook / "config").read_text()
    project.setup(
        "PIP_USER=1", "PIP_REQUIRE_HASHES=1", "PIP_CERT=c.pem", "PYTHONPATH=/x", "UV_TARGET=x", f"GIT_DIR={hook}"
    )
    assert project.installed == GPU
    assert (project.path / "pip.env").read_text().splitlines() == [
        "PIP_CERT=c.pem",
        "PIP_CONFIG_FILE=/dev/null",
        "PIP_DISABLE_PIP_VERSION_CHECK=1",
        "PIP_EXTRA_INDEX_URL=https://b.example/?c=d https://e.example",
        "PIP_INDEX_URL=https://a.example",
    ]
    assert (hook / "config").read_text() == before


def test_an_argument_of_make_is_what_was_typed(project: Project) -> None:
    """COMMIT and the like are exported by continuous integration and others, for something else."""
    result = project.run("env", "COMMIT=theirs", "CLUSTER=1", "make", "-n", "same")
    assert 'tools.same "HEAD"' in result.stdout
    assert "requirements-cluster.lock" not in result.stdout
    assert "note: COMMIT is in the environment, where make does not read it" in result.stderr
    assert 'tools.same "mine"' in project.run("env", "COMMIT=theirs", "make", "-n", "same", "COMMIT=mine").stdout


def test_ctrl_c_ends_the_set_up(project: Project) -> None:
    """A program that handles Ctrl-C itself returns an ordinary error; pip must not take over."""
    project.setup("FAIL_UV=trap '' INT; kill -INT 0; exit 2", code=130)
    assert len(project.log("pip")) == 1


def test_make_runs_set_up_once_and_remembers_the_build(project: Project) -> None:
    project.run("make", "setup", "TORCH=cpu")
    assert "installing" not in project.run("make", "setup").stdout
    assert project.installed == CPU
    # A failed change of build may have begun to replace packages: the next call sets up again.
    project.run("env", "FAIL_UV=exit 2", "FAIL_PIP=.venv/pip.lock", "make", "setup", "TORCH=gpu", code=2)
    project.run("make", "setup")
    assert project.installed == GPU
    assert [path.name for path in project.path.glob(".venv/installed-*")] == ["installed-gpu"]


def test_a_python_of_another_version_that_is_named_replaces_what_is_there_if_it_can(project: Project) -> None:
    marker = project.path / ".venv/marker"
    project.run("make", "setup")
    marker.touch()
    assert "installing" in project.run("make", "setup", f"PYTHON={sys.executable}").stdout
    assert marker.exists()
    real = shlex.quote(sys.executable)
    answers = '*"print(sys.version_info"*) echo "(3, 99)" ;; *ensurepip*) exit 1'
    project.program("bin/another", f'#!/bin/sh\ncase "$*" in {answers} ;; *) exec {real} "$@" ;; esac\n')
    result = project.run("make", "setup", "PYTHON=another", code=2)
    assert "setup: another cannot make a virtual environment; " in result.stderr
    assert marker.exists()  # nothing is deleted that cannot be made again


def test_an_environment_that_was_made_for_another_folder_is_made_again(project: Project) -> None:
    project.run("make", "setup")
    moved = copy(project)
    moved.path = Path(shutil.copytree(project.path, project.path.with_name("copy of it"), symlinks=True))
    real = shlex.quote(sys.executable)
    moved.program("bin/python3", f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; *) exec {real} "$@" ;; esac\n')
    result = moved.run("make", "setup", code=2)
    assert "setup: python3 cannot make a virtual environment; " in result.stderr
    assert (moved.path / ".venv/installed-gpu").exists()  # nothing is deleted that cannot be made again
    moved.program("bin/python3", NO_VENV)
    moved.run("make", "setup", code=2)
    assert not (moved.path / ".venv").exists()
    assert "installing" not in project.run("make", "setup").stdout


@pytest.mark.parametrize("another", [True, False])
def test_an_environment_whose_python_was_replaced_is_made_again(project: Project, another: bool) -> None:
    """As by another version, which finds none of its packages, or by none at all."""
    project.run("make", "setup")
    (project.path / ".venv/bin/python").unlink()
    if another:
        project.program(".venv/bin/python", f'#!/bin/sh\nexec "{sys._base_executable}" -S "$@"\n')  # type: ignore[attr-defined]
    project.program("bin/python3", NO_VENV)
    project.run("make", "setup", code=2)
    assert not (project.path / ".venv").exists()


def test_git_gets_the_name_or_the_address_that_it_lacks(project: Project) -> None:
    project.run("git", "init", "-q")
    project.run("git", "config", "user.name", "Alice")
    assert "setup: git had no user.email, so this clone now has " in project.setup().stdout
    assert project.run("git", "config", "user.name").stdout == "Alice\n"
    assert project.run("git", "config", "user.email").stdout.endswith("@localhost\n")
    assert "git had no" not in project.setup().stdout


def test_a_build_that_does_not_exist_is_refused(project: Project) -> None:
    project.run("make", "setup")
    result = project.run("make", "setup", "TORCH=CPU", code=2)
    assert "setup: TORCH must be gpu or cpu (got CPU)" in result.stderr
    assert "installing" not in project.run("make", "setup").stdout


def test_ray_is_kept_by_later_calls(project: Project) -> None:
    (project.path / "requirements-cluster.lock").write_text(wheel(project.path / "index", "ray", "2.60"))
    project.run("make", "setup", "TORCH=cpu")
    assert project.installed == CPU
    project.run("make", "setup-cluster")
    assert project.installed == sorted([*CPU, "ray-2.60"])
    # With GNU make 4.4, Makefile unexports what hands down the arguments; they must come down all the same.
    (project.path / "make44").write_text("unexport MAKEFLAGS MAKEOVERRIDES\n")
    project.run("env", "MAKEFILES=make44", "make", "setup-cluster", "TORCH=gpu")
    assert project.installed == sorted([*GPU, "ray-2.60"])
    project.run("make", "setup", "TORCH=cpu")
    assert project.installed == sorted([*CPU, "ray-2.60"])
    project.write_lock("ruamel_yaml")
    project.run("touch", "-d", "1 hour", "requirements.lock")  # newer than what is installed
    project.run("make", "setup")
    assert project.installed == sorted({*CPU, "ray-2.60"} - {"ruamel_yaml-0.19"})
