"""MLflow: a server, a database such as SQLite, or a folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emogram.config import flat_settings
from emogram.files import write_json
from emogram.silenced import silence
from emogram.trackers.about import About
from emogram.trackers.notes import read_note
from emogram.trackers.tracker import Status

NAME = "mlflow"
DEFAULT_URI = "sqlite:///mlflow.db"  # as MLflow itself has it, so that `mlflow ui` in the same folder shows it
EXPERIMENT = "emogram"
_PARENT = "mlflow.parentRunId"
_STATUS: dict[Status, str] = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED", "killed": "KILLED"}
_MOST_AT_ONCE = 100  # of parameters in one request


def whole_uri(uri: str | None) -> str:
    """Return the address of a store, independent of the folder that a process works in.

    Args:
        uri: As given; None: what `MLFLOW_TRACKING_URI` says, else `DEFAULT_URI`.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    if uri.startswith("sqlite:///"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    return str(Path(uri).absolute()) if _is_folder(uri) and not uri.startswith("file:") else uri


class MLflow:
    """Parameters, tags, metrics by epoch, pictures and the model as artifacts; folds lie below their group."""

    def __init__(self, about: About, uri: str) -> None:
        """Write to the store at `uri`, see `whole_uri`."""
        self._about = about
        self._uri = uri
        self._client: Any = None
        self._run_id = ""
        self._is_noted = False
        self._had: dict[str, int] = {}  # metric -> the last step that the store has of it
        self._values: dict[str, float] = {}  # and its value there

    def begin(self) -> None:
        """Create the run, or go on with the one that is noted in the run folder."""
        silence("mlflow")
        # Seconds in place of minutes until a server that is gone counts as gone; it is tried again in any case.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        if _is_folder(self._uri):  # MLflow asks for this: folders are no longer being improved
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        if self._uri.startswith("sqlite:///"):
            Path(self._uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self._uri)
        # In steps that may be tried again, each where the one before was done.
        self._run_id = self._run_id or self._begun_before() or self._create()
        if not self._is_noted:
            self._say_settings()

    def epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of epochs."""
        for row in rows:
            self._log(int(row["epoch"]), {name: value for name, value in row.items() if name != "epoch"})

    def picture(self, name: str, path: str) -> None:
        """Log a picture as an artifact."""
        self._client.log_artifact(self._run_id, path, "plots")

    def result(self, metrics: Mapping[str, float], model: str | None) -> None:
        """Log the judged figures as metrics, and the model as an artifact."""
        step = max(self._had.values(), default=0)
        for name, value in metrics.items():
            if self._values.get(_metric_name(name), value) != value:  # judged anew, as with one more seed
                self._had.pop(_metric_name(name), None)
        self._log(step, metrics)
        if model is not None:
            self._client.log_artifacts(self._run_id, model, "model")

    def end(self, status: Status) -> None:
        """Mark how it ended."""
        if self._run_id:
            self._client.set_terminated(self._run_id, _STATUS[status])

    def _begun_before(self) -> str | None:
        from mlflow.exceptions import MlflowException

        noted = read_note(self._about.note(NAME)) if self._about.is_resumed else {}
        if noted.get("uri") != self._uri or noted.get("settings") != self._settings_hash():
            return None
        try:
            run = self._client.get_run(noted["run_id"])
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # somebody has deleted it
        if run.info.lifecycle_stage != "active":
            return None
        run_id = str(run.info.run_id)
        self._is_noted = True
        self._client.update_run(run_id, status="RUNNING")
        self._values = dict(run.data.metrics)
        for name in self._values:
            self._had[name] = max(metric.step for metric in self._client.get_metric_history(run_id, name))
        return run_id

    def _create(self) -> str:
        tags = {f"emogram.{name}" if name != "emogram" else "emogram.version": value for name, value in self._tags()}
        parent = {} if self._about.is_group else read_note(self._about.group_note(NAME))
        if parent.get("uri") == self._uri:
            tags[_PARENT] = parent["run_id"]
        run = self._client.create_run(self._experiment(), tags=tags, run_name=self._about.name)
        return str(run.info.run_id)

    def _say_settings(self) -> None:
        from mlflow.entities import Param

        parameters = [Param(name, str(value)) for name, value in flat_settings(self._about.settings).items()]
        for first in range(0, len(parameters), _MOST_AT_ONCE):
            self._client.log_batch(self._run_id, params=parameters[first : first + _MOST_AT_ONCE])
        # Last, since a run that is noted is taken to have its parameters.
        write_json(
            self._about.note(NAME), {"uri": self._uri, "run_id": self._run_id, "settings": self._settings_hash()}
        )
        self._is_noted = True

    def _tags(self) -> Sequence[tuple[str, str]]:
        return [*self._about.tags.items(), ("folder", self._about.out)]

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        if found is None:
            place = None
            if self._uri.startswith("sqlite:///"):  # beside it, and not in whatever folder this process works in
                place = str(Path(self._uri.removeprefix("sqlite:///")).parent / "mlartifacts")
            try:
                return str(self._client.create_experiment(name, artifact_location=place))
            except MlflowException:  # another process was faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        named = {_metric_name(name): value for name, value in values.items()}
        new = {name: value for name, value in named.items() if self._had.get(name, -1) < step}
        if new:
            self._client.log_batch(self._run_id, [Metric(name, value, now, step) for name, value in new.items()])
            self._had |= dict.fromkeys(new, step)
            self._values |= new

    def _settings_hash(self) -> str:
        return hashlib.sha256(json.dumps(self._about.settings, sort_keys=True).encode()).hexdigest()


def _metric_name(name: str) -> str:
    """Return a name with what MLflow refuses in one replaced: a label may hold anything."""
    return re.sub(r"[^/\w.\- ]", "_", name)


def _is_folder(uri: str) -> bool:
    return uri.startswith("file:") or ("://" not in uri and not uri.startswith(("databricks", "uc:")))
