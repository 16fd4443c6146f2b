"""A real Prometheus over the chart's own scrape configuration, and what it answers."""

import copy
import json
import math
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from charts import Object, Rendered
from cluster.ports import free_ports
from prometheus import tool
from waiting import until

NAMESPACE = "local"
"""Of the release: what a run on this machine says in its namespace's place."""

_COMPONENT = "__meta_kubernetes_pod_label_app_kubernetes_io_component"
# A process that has gone takes its series with it at the next scrape.
_STEP_S = 0.5


def configuration(rendered: Rendered, discovery: Sequence[str]) -> Object:
    """The monitors of a rendered chart as Prometheus' own configuration.

    It is what the Prometheus operator makes of them, but for three things: targets come from
    ``discovery`` (URLs of HTTP service discovery) and not from Kubernetes, the selectors look at the
    component's label alone, and what is scraped is scraped every second.
    """
    jobs = []
    for entry in rendered.of("ServiceMonitor").values():
        name = entry["metadata"]["name"]
        component = entry["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        # Here a run's own process stands where the operator does on a cluster, and tells the same of it.
        components = "operator|run" if component == "operator" else component
        jobs += _jobs(name, components, entry["spec"]["endpoints"], discovery)
    for entry in rendered.of("PodMonitor").values():
        name = entry["metadata"]["name"]
        jobs += _jobs(name, "engine|scoring", entry["spec"]["podMetricsEndpoints"], discovery)
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": jobs,
    }


def _jobs(
    name: str, components: str, endpoints: Sequence[Object], discovery: Sequence[str]
) -> Iterator[Object]:
    """One for each distinct way of scraping: on this machine a process has one port for its metrics."""
    distinct = {json.dumps({**endpoint, "port": ""}, sort_keys=True): endpoint for endpoint in endpoints}
    for number, endpoint in enumerate(distinct.values()):
        yield {**_job(name, components, endpoint, discovery), "job_name": f"{name}/{number}"}


def _job(name: str, components: str, endpoint: Object, discovery: Sequence[str]) -> Object:
    set_by_its_operator = [
        {"source_labels": [_COMPONENT], "regex": components, "action": "keep"},
        {"target_label": "namespace", "replacement": NAMESPACE},
        {"source_labels": ["__address__"], "target_label": "pod"},
        {"target_label": "job", "replacement": name},
    ]
    return {
        "metrics_path": endpoint["path"],
        "honor_labels": endpoint["honorLabels"],
        "http_sd_configs": [{"url": url, "refresh_interval": "1s"} for url in discovery],
        "relabel_configs": [*set_by_its_operator, *map(_snake, endpoint["relabelings"])],
        "metric_relabel_configs": [_snake(entry) for entry in endpoint["metricRelabelings"]],
    }


def _snake(entry: Mapping[str, Any]) -> Object:
    return {re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", name): entry[name] for name in entry}


@dataclass
class Prometheus:
    """One that runs; ``since`` is when it began."""

    url: str
    since: float

    def has_data(self, expression: str, *, since: float | None = None) -> bool:
        """Whether there was a number at any moment."""
        asked = {
            "query": expression,
            "start": f"{since or self.since:.3f}",
            "end": f"{time.time():.3f}",
            "step": str(_STEP_S),
        }
        found = self._ask("query_range", asked)["result"]
        return any(not math.isnan(float(value)) for series in found for _, value in series["values"])

    def now(self, expression: str) -> list[Object]:
        """The series at this moment."""
        found: list[Object] = self._ask("query", {"query": expression})["result"]
        return found

    def _ask(self, what: str, parameters: Mapping[str, str]) -> Any:
        with urllib.request.urlopen(
            f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}", timeout=60
        ) as answer:
            return json.load(answer)["data"]


@contextmanager
def scraping(rendered: Rendered, discovery: Sequence[str], folder: Path) -> Iterator[Prometheus]:
    """Prometheus with the chart's monitors and rules, until the end of the block."""
    [rules] = rendered.of("PrometheusRule").values()
    (folder / "rules.yaml").write_text(yaml.safe_dump(_impatient(rules["spec"])))
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration(rendered, discovery)))
    subprocess.run([tool("promtool"), "check", "config", str(file)], check=True, capture_output=True)
    [port] = free_ports(1)
    command = [
        tool("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (
        (folder / "prometheus.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            made = Prometheus(f"http://127.0.0.1:{port}", time.time())
            until(lambda: _is_ready(made.url), seconds=120)
            yield made
        finally:
            process.terminate()
            process.wait(30)


def _impatient(rules: Any) -> Any:
    """The rules with seconds in place of the minutes for which an alert is due before it fires."""
    impatient = copy.deepcopy(rules)
    for group in impatient["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
    return impatient


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
