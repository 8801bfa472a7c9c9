"""The `medseg` command: strings become values, refusals become one line and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
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
}

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
        code = _files_or_bug(error)
    except Exception as error:
        code = _no_memory() if is_out_of_memory(error) else _usage_or_bug(error)
    if code == _INTERRUPTED:
        _say_for_all("interrupted; nothing half-written was left behind")
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `medseg ... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _terminate(*_: object) -> None:
    """End by an exception, so that temporary files are removed."""
    _say_for_all("terminated; nothing half-written was left behind")
    sys.exit(143)


def _files_or_bug(error: OSError) -> int:
    """What the system refuses to anybody is no bug of this program."""
    if error.filename is None or error.errno not in _SYSTEM_REFUSES:
        return _usage_or_bug(error)
    _say(f"{error.filename}: cannot be used ({error.strerror}); choose another file or folder")
    return _SYSTEM_REFUSES[error.errno]


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

    handle, path = tempfile.mkstemp(prefix="medseg-bug-", suffix=".txt")
    with os.fdopen(handle, "w") as file:
        file.write(f"medseg {__version__}\n" + "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__)
    _say(f"a bug of medseg: {type(error).__name__}; please report {path} (it holds no image data and no names)")
    return 70


def _command_of(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "medseg"


def _say_for_all(message: str) -> None:
    """Once, of what all processes that torchrun has started meet alike."""
    if is_first_process():
        _say(message)


def _say(message: str) -> None:
    print("medseg: " + " ".join(message.split()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
