"""dataplane/services.yaml: what is dropped before it is balanced."""

from __future__ import annotations

from pathlib import Path

from gtm.config.document import Document
from gtm.config.nearby import did_you_mean, listed
from gtm.config.shape.dataplane import DataplaneFile, ProtectionShape, RateShape
from gtm.model.balance import RULES_DEFAULT, Mode, Protection, Rate, Rule, SourceRate, SynFlood

PLACE = ("protection",)


def build_protection(document: Document, found: DataplaneFile, folder: Path) -> Protection:
    """The protection. Lists in files are named, not read: gtm.config.networks does that."""
    shape = found.protection
    known = document.written("services")
    for name in shape.vip_rates:
        if name not in known:
            words = f"there is no service {name}{did_you_mean(name, known)}"
            document.fault((*PLACE, "vip_rates", name), words, listed(known) or "none: services has none")
    return Protection(
        allow=tuple(dict.fromkeys(shape.allow)),
        deny=tuple(dict.fromkeys(shape.deny)),
        allow_files=tuple(absolute(folder, each) for each in shape.allow_files),
        deny_files=tuple(absolute(folder, each) for each in shape.deny_files),
        rules=_rules(document, shape),
        amplifiers=tuple(sorted(set(shape.amplifiers))),
        source_rate=None
        if shape.source_rate is None
        else SourceRate(
            rate=_rate(shape.source_rate), prefix4=shape.source_rate.prefix4, prefix6=shape.source_rate.prefix6
        ),
        vip_rate=None if shape.vip_rate is None else _rate(shape.vip_rate),
        vip_rates={name: _rate(each) for name, each in shape.vip_rates.items()},
        syn_flood=SynFlood(shape.syn_flood),
        syn_rate=shape.syn_rate,
    )


def absolute(folder: Path, path: str) -> str:
    """A path that means the same wherever it is read from: what runs on an instance may change its folder."""
    return str((folder / path).absolute())


def _rate(shape: RateShape) -> Rate:
    return Rate(packets_per_s=shape.packets, burst=shape.packets if shape.burst is None else shape.burst)


def _rules(document: Document, shape: ProtectionShape) -> dict[Rule, Mode]:
    """Every rule's mode: a rate that is given counts unless it is said otherwise, and none can without one."""
    written = set(document.written(*PLACE))
    given = {
        Rule.SOURCE_RATE: "source_rate" in written,
        Rule.VIP_RATE: bool({"vip_rate", "vip_rates"} & written),
    }
    rules = {rule: Mode.ON if given.get(rule) else mode for rule, mode in RULES_DEFAULT.items()}
    for name, mode in shape.rules.items():
        rule = Rule(name)
        rules[rule] = Mode(mode)
        if given.get(rule) is False and mode != "off":
            key = name.replace("-", "_")
            document.fault((*PLACE, "rules", name), "there is no rate to keep to", f"{key} in protection, or off")
    return rules
