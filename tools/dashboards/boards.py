"""A dashboard as data, and the JSON that Grafana's own builder makes of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import bargauge, common, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import prometheus as queries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueColorMode, VizOrientation
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
SCHEMA_VERSION = 39
"""Of Grafana 11, which newer ones read too."""

Kind = Literal["graph", "number", "bars", "table"]
"""Over time; now, as one number for each series; now, as bars; now, as rows of a table."""


@dataclass(frozen=True)
class Panel:
    """``queries`` are pairs of an expression and what its series, or the column of a table, are called.

    ``unit`` is Grafana's word. A column without a name is not shown.
    """

    title: str
    explanation: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: Kind = "graph"
    width: int = 8
    height: int = 7


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """A choice at the head of the dashboard, from the values that a label has."""

    name: str
    query: str
    several: bool = True


NAMESPACE = Variable("namespace", "label_values(up, namespace)")


@dataclass(frozen=True)
class Board:
    """``name`` is that of its file; with ``selfie-`` before it, its uid."""

    name: str
    title: str
    explanation: str
    variables: Sequence[Variable]
    rows: Sequence[Row]


def text_of(board: Board) -> str:
    """The JSON, always the same for the same dashboard."""
    return json.dumps(_built(board), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _built(board: Board) -> object:
    made = (
        dashboards.Dashboard(board.title)
        .uid(f"selfie-{board.name}")
        .description(board.explanation)
        .tags(["selfie"])
        .refresh("30s")
        .time("now-6h", "now")
        .with_variable(dashboards.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(
            dashboards.DashboardLink("Selfie")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["selfie"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for variable in board.variables:
        made = made.with_variable(_variable(variable))
    number = 0
    for row in board.rows:
        made = made.with_row(dashboards.Row(row.title))
        for panel in row.panels:
            number += 1
            made = made.with_panel(_panel(panel).id(number))
    built = made.build()
    built.schema_version = SCHEMA_VERSION
    return built


def _variable(variable: Variable) -> dashboards.QueryVariable:
    made = (
        dashboards.QueryVariable(variable.name)
        .datasource(SOURCE)
        .query(variable.query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
    return made.multi(True).include_all(True).all_value(".*") if variable.several else made


def _panel(panel: Panel) -> "timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel":
    made = _table(panel) if panel.kind == "table" else _KINDS[panel.kind]()
    made = (
        made.title(panel.title)
        .description(panel.explanation)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(panel.height)
    )
    for index, (expression, legend) in enumerate(panel.queries):
        query = queries.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + index))
        query = query.range().exemplar(True) if panel.kind == "graph" else query.instant()
        if panel.kind == "table":
            query = query.format(PromQueryFormat.TABLE)
        made = made.with_target(query)
    return made


def _graph() -> timeseries.Panel:
    return timeseries.Panel().fill_opacity(8).min(0)


def _number() -> stat.Panel:
    return stat.Panel().reduce_options(_last()).color_mode(BigValueColorMode.NONE)


def _bars() -> bargauge.Panel:
    return bargauge.Panel().reduce_options(_last()).orientation(VizOrientation.HORIZONTAL).min(0)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


_KINDS = {"graph": _graph, "number": _number, "bars": _bars}


def _table(panel: Panel) -> table.Panel:
    # Each query is a table of its own; rows with the same labels belong together.
    columns = {f"Value #{chr(ord('A') + index)}": name for index, (_, name) in enumerate(panel.queries)}
    if len(columns) == 1:
        columns = {"Value": panel.queries[0][1]}
    options = {
        "excludeByName": {"Time": True, **{column: True for column, name in columns.items() if not name}},
        "renameByName": {column: name for column, name in columns.items() if name},
    }
    return (
        table.Panel()
        .with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(DataTransformerConfig(id_val="organize", options=options))
    )
