"""The `medseg` command: strings become values, refusals become one line and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from medseg import __version__
from medseg.cli.commands import Commands
from medseg.cli.foreign import as_settings
from medseg.cli.memory import is_out_of_memory
from medseg.cli.torchrun import is_first_process
from medseg.domain.errors import MedsegError, OutputError, ResourceError, UsageError

_INTERRUPTED = 130
_SYSTEM_REFUSES = {
    errno.ENAMETOOLONG: UsageError.exit_code,
    errno.EACCES: OutputError.exit_code,
    errno.EPERM: OutputError.exit_code,
    errno.EROFS: OutputError.exit_code,
    errno.ENOSPC: ResourceError.exit_code,
    errno.EDQUOT: ResourceError.exit_code,
    errno.EMFILE: ResourceError.exit_code,
    errno.ENFILE: ResourceError.exit_code,
    errno.EIO: ResourceError.exit_code,
    errno.ELOOP: UsageError.exit_code,
}
_NOBODY_READS = 141  # as of a program that SIGPIPE ends

app = typer.Typer(
    name="medseg",
    cls=Commands,
    help="Segment medical images: NIfTI, DICOM series, PNG and TIFF; train, evaluate and pack the models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medseg {__version__}")
        raise typer.Exit


@app.callback()
def medseg(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; never returns."""
    signal.signal(signal.SIGTERM, _terminate)
    _prepare_streams()
    _prepare_user()
    if not _has_current_folder():  # which torch's libraries end the process for
        _say("the current folder is gone; change to another one and run again")
        sys.exit(UsageError.exit_code)
    try:
        code = (
            app(as_settings(sys.argv[1:]), standalone_mode=False) or 0
        )  # commands give None; typer turns its Exit into a number
    except MedsegError as error:
        _say_for_all(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except typer.Abort as stop:  # what typer makes of a KeyboardInterrupt before 0.29, and of an EOFError
        code = _usage_or_bug(stop.__cause__) if isinstance(stop.__cause__, EOFError) else _INTERRUPTED
    except OSError as error:
        code = _no_memory() if is_out_of_memory(error) else _files_or_bug(error)
    except Exception as error:
        code = _no_memory() if is_out_of_memory(error) else _usage_or_bug(error)
    if code == _INTERRUPTED:
        _say_for_all("interrupted; nothing half-written was left behind")
    sys.exit(_flushed(code))


def _prepare_streams() -> None:
    """Give closed streams (`>&-`) a place, and let what an encoding lacks be escaped rather than end the program."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _prepare_user() -> None:
    """Name a user whom nobody knows, as in a container that runs with a bare number: MONAI asks for one on import."""
    if sys.platform == "win32" or any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        return
    import pwd

    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ["USER"] = f"user{os.getuid()}"


def _flushed(code: int) -> int:
    """The exit code when standard output is out, or cannot be."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would try again
        if error.errno != errno.EPIPE:  # `medseg ... | head`: nobody reads on
            _say(f"standard output cannot be written ({error.strerror}); send it elsewhere")
            return code or OutputError.exit_code
    return code


def _terminate(*_: object) -> None:
    """End by an exception, so that temporary files are removed."""
    _say_for_all("terminated; nothing half-written was left behind")
    sys.exit(143)


def _files_or_bug(error: OSError) -> int:
    """What the system refuses to anybody is no bug of this program."""
    if error.errno == errno.EPIPE:
        return _NOBODY_READS
    if error.filename is not None and error.errno in _SYSTEM_REFUSES:
        _say(f"{error.filename}: cannot be used ({error.strerror}); choose another file or folder")
        return _SYSTEM_REFUSES[error.errno]
    if not _has_temporary_folder():
        _say("no folder for temporary files can be written; set TMPDIR to one with free space")
        return OutputError.exit_code
    if error.filename is None and error.errno in _SYSTEM_REFUSES:  # mostly of a stream
        _say(f"something cannot be read or written ({error.strerror}); check disks and limits (ulimit -a), run again")
        return _SYSTEM_REFUSES[error.errno]
    return _usage_or_bug(error)


def _has_current_folder() -> bool:
    try:
        return Path.cwd().is_absolute()
    except OSError:
        return False


def _has_temporary_folder() -> bool:
    import tempfile

    try:
        tempfile.TemporaryFile().close()
    except OSError:
        return False
    return True


def _no_memory() -> int:
    _say("not enough memory; close other programs or segment a smaller region (--roi)")
    return ResourceError.exit_code


def _usage_or_bug(error: Exception) -> int:
    usage = getattr(error, "format_message", None)  # click's, whichever copy of it typer brings
    if usage is not None and usage().startswith("Usage:"):  # a command group without a command: its help
        print(usage(), file=sys.stderr)
        return 2
    if usage is not None:
        _say(f"{usage()} (see {_command_of(error)} --help)")
        return 2
    import tempfile
    import traceback

    report = f"medseg {__version__}\n" + "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
    try:
        handle, path = tempfile.mkstemp(prefix="medseg-bug-", suffix=".txt")
        with os.fdopen(handle, "w") as file:
            file.write(report)
        place = f"please report {path} (it holds no image data and no names)"
    except OSError:  # nowhere to write it
        place = "please report what you did; no report could be written, set TMPDIR to a folder that can be"
    _say(f"a bug of medseg: {type(error).__name__}; {place}")
    return 70


def _command_of(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "medseg"


def _say_for_all(message: str) -> None:
    """Once, of what all processes that torchrun has started meet alike."""
    if is_first_process():
        _say(message)


def _say(message: str) -> None:
    with suppress(OSError):  # where nothing can be printed, the exit code has to do
        print("medseg: " + " ".join(message.split()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
