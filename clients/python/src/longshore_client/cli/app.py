"""The command `longshore`: its options, the definition of subcommands, and the handling of errors."""

import inspect
import os
import sys
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from importlib.metadata import version as version_of
from typing import Annotated, Any, TypeVar

import typer

from longshore_client.aio import AsyncLongshore
from longshore_client.cli.config import ConfigurationError, settings
from longshore_client.cli.exits import Exit, Problem, exit_code
from longshore_client.cli.render import Output
from longshore_client.client import Longshore
from longshore_client.errors import LongshoreError

app = typer.Typer(
    help="List, start, stop, kill, pause, resume and schedule containers, and read their history.",
    epilog="Exit codes: 0 success, 1 unexpected response, 2 usage error, 3 conflict, 4 not found or not allowed, "
    "5 invalid token, 6 service unavailable, 7 still pending, 8 failed, 9 some of several failed, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

T = TypeVar("T", Longshore, AsyncLongshore)
Subcommand = Callable[..., Exit | None]

_PANEL = "Global options"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"longshore {version_of('longshore-client')}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(
            help="Base URL of the API. Default: LONGSHORE_URL, the profile or the configuration file.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="Bearer token. Default (recommended): LONGSHORE_TOKEN, the profile or the configuration file.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Profile of `longshore login`. Default: LONGSHORE_PROFILE or default.", rich_help_panel=_PANEL
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print results and errors as JSON.", rich_help_panel=_PANEL)
    ] = False,
    allow_http: Annotated[
        bool,
        typer.Option(
            "--allow-http",
            help="Send the token unencrypted to an http:// URL of another machine.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    version: Annotated[  # noqa: ARG001 - the callback uses it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Store the options that precede a subcommand."""
    ctx.obj = {"url": url, "token": token, "profile": profile, "as_json": as_json, "allow_http": allow_http}


# Every subcommand has these options too.
_GLOBAL = {
    name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    for name, parameter in inspect.signature(options).parameters.items()
    if name not in ("ctx", "version")
}


class Session:
    """A run of a subcommand: its output, its client, and the message that Ctrl-C prints.

    Attributes:
        output: The output.
        url: The option --url.
        profile: The option --profile.
        allow_http: The option --allow-http.
        on_interrupt: Returns a message and the data of its JSON. None if there is nothing to say.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.output = Output(as_json=given["as_json"])
        self.on_interrupt: Callable[[], tuple[str, Mapping[str, Any]]] | None = None
        self.url: str | None = given["url"]
        self.profile: str | None = given["profile"]
        self.allow_http: bool = given["allow_http"]
        self._token: str | None = given["token"]

    @cached_property
    def client(self) -> Longshore:
        """The client, configured by options, environment and configuration file. Raises Problem if that is invalid."""
        return self._configured(Longshore)

    def async_client(self) -> AsyncLongshore:
        """Create an asyncio client with the same configuration."""
        return self._configured(AsyncLongshore)

    def _configured(self, kind: type[T]) -> T:
        try:
            found = settings(self.url, self._token, self.profile)
            return kind(found.url, found.token, allow_http=self.allow_http)
        except (ConfigurationError, ValueError) as error:
            advice = ["To allow it, specify --allow-http."] if "unencrypted" in str(error) else []
            raise Problem("CONFIGURATION", str(error), advice=advice) from error

    def run(self, function: Subcommand, given: Mapping[str, Any]) -> None:
        """Run a subcommand. Print its errors, and exit with their exit codes."""
        try:
            code = function(self, **given)
            sys.stdout.flush()
            if code:
                raise typer.Exit(code)
        except LongshoreError as error:
            self.output.error(error)
            raise typer.Exit(exit_code(error)) from error
        except Problem as problem:
            self.output.problem(problem)
            raise typer.Exit(problem.exit) from problem
        except BrokenPipeError:
            # When Python exits, it flushes stdout again. That must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(Exit.PIPE_CLOSED) from None
        except KeyboardInterrupt:
            if self.on_interrupt:
                self.output.interrupted(*self.on_interrupt())
            raise typer.Exit(Exit.INTERRUPTED) from None
        finally:
            if "client" in self.__dict__:
                self.client.close()


def command(
    name: str, help_: str | None = None, *, group: typer.Typer = app, without: Collection[str] = ()
) -> Callable[[Subcommand], Subcommand]:
    """Define a subcommand.

    The function receives a `Session` and its own parameters, and returns an exit code or None. The subcommand also has
    the global options, which may precede or follow its name.

    Args:
        name: The name of the subcommand.
        help_: Its description. Default: the docstring of the function.
        group: The command that it is a subcommand of.
        without: The parameters of the function that the subcommand does not have. They have their defaults.
    """

    def define(function: Subcommand) -> Subcommand:
        own = list(inspect.signature(function).parameters.values())[1:]
        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        keywords = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own if parameter.name not in without
        ]
        parameters = [context, *keywords, *_GLOBAL.values()]

        def run(ctx: typer.Context, **given: Any) -> None:
            chosen = {each: given.pop(each) or ctx.obj[each] for each in _GLOBAL}
            Session(chosen).run(function, given)

        # Typer reads the parameters from the signature and the annotations.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__doc__ = function.__doc__
        group.command(name, help=help_)(run)
        return function

    return define
