"""The command that serves: serve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from emogram.bundle import SHIPPED
from emogram.cli.completing import models as known_models
from emogram.cli.options import Json
from emogram.cli.shared import print_json
from emogram.config import ServeConfig
from emogram.errors import MissingExtraError, SettingsError
from emogram.settings import takes_config

_NEEDED = frozenset({"fastapi", "starlette", "uvicorn", "h11", "websockets", "python_multipart", "prometheus_client"})


@takes_config(ServeConfig, leave_out=("token",))
def serve(
    config: ServeConfig,
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            envvar="EMOGRAM_MODEL",
            autocompletion=known_models,
            help=f"A model folder, a run folder, or `{SHIPPED}`, the model inside the package, which is the default; "
            "may be given several times, and the first answers where a request names none.",
            show_default=False,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File that holds the secret that every request must carry; or set EMOGRAM_TOKEN."
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let other machines in without a token, where the host does.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json: Json = False,
) -> int:
    """Serve models over HTTP and WebSocket, with a page to use them."""
    from emogram.classifier import Classifier

    try:
        from emogram.serve.running import check_strangers
        from emogram.serve.running import serve as run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise MissingExtraError("emogram serve", "serve") from None

    config = _with_token(config, token_file)
    check_strangers(config, allow_strangers=no_token)
    loaded = [Classifier.load(model) for model in models or [Path(SHIPPED)]]

    def say(url: str) -> None:
        if json:
            print_json({"url": url, "models": [each.info.model_id for each in loaded]})
        else:
            typer.echo(url)
        if open_page:
            import threading
            import webbrowser

            # Some browsers return only when they are closed, and the service must go on.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    return run(loaded, config, allow_strangers=no_token, listening=say)


def _with_token(config: ServeConfig, file: Path | None) -> ServeConfig:
    """Take the token from a file or the environment: on a command line every process of the machine could read it."""
    token = os.environ.get("EMOGRAM_TOKEN")
    if file is not None:
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file}: the token cannot be read ({error})") from None
    return config if token is None else ServeConfig.from_dict({**config.to_dict(), "token": token})
