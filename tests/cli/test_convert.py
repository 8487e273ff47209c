"""`gtm announce convert`: every option of ExaBGP's own healthcheck.py, as a deployment that loads."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import tempfile
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.app.announce.convert import convert, converted_text
from gtm.app.announce.healthcheck import _parser, read_healthcheck
from gtm.cli.main import main
from gtm.config.deployment import load
from gtm.model.anycast import Phase, Service, Treatment
from gtm.model.check import ExecProbe
from gtm.model.errors import AskedError, GtmError
from gtm.model.route import Community, ExtendedCommunity, ExtendedKind, LargeCommunity
from tests.config.folders import GOOD, write

IP = "--ip 203.0.113.1/32"
FLAGS = frozenset(name for each in _parser()._actions if each.nargs == 0 for name in each.option_strings)
NEED_CHECKS = ("zones/lb.example.com.yaml", "dataplane/services.yaml")
WITHOUT_CHECKS = {name: text for name, text in GOOD.items() if name not in NEED_CHECKS}
HOSTS = ("203.0.113.1", "203.0.113.2")


def theirs() -> argparse.ArgumentParser:
    """The real parser, as ExaBGP has it."""
    healthcheck = pytest.importorskip("exabgp.application.healthcheck")
    parser = argparse.ArgumentParser(add_help=False)
    healthcheck.setargs(parser)
    return parser


def signature(action: argparse.Action) -> tuple[object, ...]:
    """What an option takes and is without being given."""
    repeated = isinstance(action, argparse._AppendAction)
    number = action.type if action.type in {int, float} else None
    return action.nargs, action.const, action.default, repeated, number, action.dest


def test_we_read_the_very_options_of_healthcheck() -> None:
    ours, real = ({name: each for each in parser._actions for name in each.option_strings}
                  for parser in (_parser(), theirs()))  # fmt: skip
    assert set(ours) == set(real)
    assert {name: signature(each) for name, each in ours.items()} == {
        name: signature(each) for name, each in real.items()
    }


def converted(tmp_path: Path, line: str) -> dict[str, Service]:
    """The services that come out, read from a deployment that they were put into."""
    found = convert(shlex.split(line))
    text = converted_text(found)
    checks = "".join(re.findall(r"^# into probes/checks.yaml\n(.*?\n)\n", text, re.DOTALL | re.MULTILINE))
    services = "".join(re.findall(r"^# into bgp/anycast.yaml\n(.*?)(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE))
    files = {"probes/checks.yaml": GOOD["probes/checks.yaml"] + checks.removeprefix("checks:\n")}
    deployment = load(write(tmp_path, {**GOOD, **files, "bgp/anycast.yaml": services + "\n"}))
    assert deployment.anycast is not None
    return dict(deployment.anycast.services)


def one(tmp_path: Path, line: str) -> Service:
    (service,) = converted(tmp_path, line).values()
    return service


def noted(line: str) -> dict[str, str]:
    return {note.option: note.message for note in convert(shlex.split(line)).notes}


def test_the_defaults_are_the_defaults(tmp_path: Path) -> None:
    service = one(tmp_path, f"--cmd /bin/true {IP}")
    assert service.prefixes == (ip_network("203.0.113.1/32"),)
    assert service.withdraw_on_down is False
    assert (service.addresses, service.interface) == ((ip_address("203.0.113.1"),), "lo")
    assert {phase: each.med for phase, each in service.treatments.items()} == {
        Phase.UP: 100, Phase.DOWN: 1000, Phase.DISABLED: 500, Phase.DRAINING: 100, Phase.HELD: 1000,
    }  # fmt: skip
    ((_, check),) = service.local.items()
    assert check.probe == ExecProbe(argv=("/bin/true",))
    cadence = check.cadence
    assert (cadence.rise, cadence.fall, cadence.interval_s, cadence.fast_s, cadence.timeout_s) == (3, 3, 5, 1, 5)


def test_every_option_that_has_an_equivalent(tmp_path: Path) -> None:
    service = one(
        tmp_path,
        "--name 'My Web!' --interval 10 --fast-interval 2.5 --timeout 4 --rise 1 --fall 2 --disable /run/off "
        "--command 'test -e /x && exit 0' --ip 203.0.113.0/30 --ip 2001:db8:61::/126 --no-ip-setup "
        "--local-preference 50 --up-metric 7 --down-metric 8 --disabled-metric 9 "
        "--community '65000:1 [65000:2, no-export]' --extended-community target:64496:1 --large-community 64496:1:2 "
        "--as-path '64500 64500' --withdraw-on-down --debounce",
    )
    assert service.name == "my-web"
    ((target, check),) = service.local.items()
    assert str(target) == "my-web@127.0.0.1"
    assert check.probe == ExecProbe(argv=("/bin/sh", "-c", "test -e /x && exit 0"))
    cadence = check.cadence
    assert (cadence.rise, cadence.fall, cadence.interval_s, cadence.fast_s, cadence.timeout_s) == (1, 2, 10, 2.5, 4)
    assert (service.addresses, service.interface) == ((), None)
    assert service.disable_file == "/run/off"
    assert service.withdraw_on_down is True
    assert [service.treatments[phase].med for phase in (Phase.UP, Phase.DOWN, Phase.DISABLED)] == [7, 8, 9]
    base = service.base
    assert (base.local_pref, base.prepend) == (50, 1)
    assert base.communities.standard == (Community(65000, 1), Community(65000, 2), Community(65535, 65281))
    assert base.communities.extended == (ExtendedCommunity(ExtendedKind.TARGET, 64496, 1),)
    assert base.communities.large == (LargeCommunity(64496, 1, 2),)


def test_communities_while_disabled_replace_the_usual_ones(tmp_path: Path) -> None:
    line = f"--cmd /bin/true {IP} --community 65000:1 --disabled-community 65000:2 --large-community 1:1:1"
    service = one(tmp_path, line)
    told = {phase: each.communities.standard for phase, each in service.treatments.items()}
    assert told[Phase.UP] == told[Phase.DRAINING] == (Community(65000, 1),)
    assert told[Phase.DOWN] == told[Phase.DISABLED] == (Community(65000, 2),)
    assert service.base == Treatment(communities=service.base.communities)
    assert service.base.communities.standard == ()
    assert service.base.communities.large == (LargeCommunity(1, 1, 1),)


def test_paths_of_states_replace_the_common_one(tmp_path: Path) -> None:
    line = f"--cmd /bin/true {IP} --as-path '1 1' --down-as-path '1 1 1 1' --up-as-path ''"
    service = one(tmp_path, line)
    assert service.base.prepend == 0
    assert [service.treatments[phase].prepend for phase in (Phase.UP, Phase.DOWN, Phase.DISABLED)] == [0, 3, 1]


def test_a_metric_for_each_address_takes_a_service_for_each(tmp_path: Path) -> None:
    line = "--cmd /bin/true --ip 203.0.113.0/31 --ip 203.0.113.4/32 --deaggregate-networks --start-ip 1 --increase 10"
    services = converted(tmp_path, line)
    assert list(services) == ["service-1", "service-2", "service-3"]
    told = [(str(*each.prefixes), each.treatments[Phase.UP].med, each.treatments[Phase.DOWN].med)
            for each in services.values()]  # fmt: skip
    assert told == [("203.0.113.1/32", 100, 1000), ("203.0.113.4/32", 110, 1010), ("203.0.113.0/32", 120, 1020)]


def test_several_addresses_move_as_one_unless_that_was_asked_for(tmp_path: Path) -> None:
    line = "--cmd /bin/true --ip 203.0.113.1/32 --ip 203.0.113.2/32"
    service = one(tmp_path, line)
    assert service.addresses == tuple(map(ip_address, HOSTS))
    assert "--increase 1" in noted(line)["increase"]
    assert len(converted(tmp_path, f"{line} --increase 1")) == 2
    assert "increase" not in noted(f"{line} --increase 0")


def test_addresses_on_other_interfaces_are_services_of_their_own(tmp_path: Path) -> None:
    line = "--cmd /bin/true --ip 203.0.113.1/32 --ip 203.0.113.2/32 --ip-ifname 203.0.113.2/32%eth0"
    services = converted(tmp_path, line)
    assert [(each.interface, *map(str, each.addresses)) for each in services.values()] == [
        ("lo", "203.0.113.1"),
        ("eth0", "203.0.113.2"),
    ]


@pytest.mark.parametrize(
    ("options", "option", "words"),
    [
        ("--silent", "silent", "standard error"),
        ("--syslog-facility local0", "syslog-facility", "standard error"),
        ("-sF", "syslog-facility", "standard error"),
        ("--no-syslog", "no-syslog", "standard error"),
        ("--debug", "debug", "standard error"),
        ("--no-ack", "no-ack", "exabgp.api.ack=true"),
        ("--sudo", "sudo", "CAP_NET_ADMIN"),
        ("--pid /run/x.pid", "pid", "ExaBGP knows"),
        ("--user nobody", "user", "exabgp.daemon.user"),
        ("--group nobody", "group", "--user"),
        ("--debounce", "debounce", "always"),
        ("--label vip", "label", "INTERFACE:gtm"),
        ("--label-exact-match", "label-exact-match", "--label"),
        ("--next-hop 192.0.2.1", "next-hop", "next_hop: 192.0.2.1"),
        ("--neighbor 192.0.2.1 --neighbor 2001:DB8::1", "neighbor", "192.0.2.1, 2001:db8::1"),
        ("--path-id 5", "path-id", "add_path: true"),
        ("--execute x", "execute", "starts no program"),
        ("--up-execute x", "up-execute", "starts no program"),
        ("--down-execute x", "down-execute", "starts no program"),
        ("--disabled-execute x", "disabled-execute", "starts no program"),
        ("--interval 0", "interval", "goes on checking"),
        ("--interval 0.1", "interval", "out of range"),
        ("--fast-interval 0.1", "fast-interval", "out of range"),
        ("--interval nan", "interval", "out of range"),
        ("--rise 1001", "rise", "out of range"),
        ("--fall 5000", "fall", "out of range"),
        ("--timeout 4000", "timeout", "out of range"),
        ("--up-metric=-1", "up-metric", "out of range"),
        ("--down-metric 4294967296", "down-metric", "out of range"),
        ("--local-preference 4294967296", "local-preference", "out of range"),
        (f"--as-path '{'1 ' * 30}'", "as-path", "out of range"),
        ("--ip 127.0.0.1/32", "ip", "left out"),
        ("--fast-interval 9", "fast-interval", "slower"),
        ("--timeout 0", "timeout", "forever"),
        ("--disable off", "disable", "relative"),
        ("--community 65536:1", "community", "65536:1"),
        ("--extended-community 0x0002fde800000001", "extended-community", "0x0002fde800000001"),
        ("--as-path '1 2'", "as-path", "several ASes"),
        ("--ip 203.0.112.0/24", "ip", "257 addresses"),
        ("--command 'curl -s http://127.0.0.1/'", "command", "http"),
        ("--command 'echo {address}'", "command", "{address}"),
    ],
)
def test_what_has_no_equivalent_is_named_with_the_reason(options: str, option: str, words: str, tmp_path: Path) -> None:
    line = f"--cmd /bin/true {IP} {options}"
    assert words in noted(line)[option]
    assert converted(tmp_path, line)
    if option not in {"ip", "command"}:
        assert option not in noted(f"--cmd /bin/true {IP}")


def test_all_options_either_change_what_comes_out_or_are_named(tmp_path: Path) -> None:
    config = tmp_path / "x.conf"
    config.write_text("rise = 9\n")
    values: dict[str, str] = {
        "next-hop": "192.0.2.1", "ip": "203.0.113.2/32", "ip-ifname": "203.0.113.1/32%eth0", "neighbor": "192.0.2.1",
        "community": "1:1", "large-community": "1:1:1", "extended-community": "target:1:1", "as-path": "1 1",
        "disabled-community": "1:1", "up-as-path": "1 1", "down-as-path": "1 1", "disabled-as-path": "1 1",
        "config": str(config), "fast-interval": "2", "start-ip": "1",
    }  # fmt: skip
    for action in theirs()._actions:
        name = next(each for each in action.option_strings if each.startswith("--"))[2:]
        value = [] if action.nargs == 0 else [values.get(name, "7")]
        further = shlex.split(f"--cmd /bin/true {IP}")
        if name in {"start-ip", "increase", "deaggregate-networks"}:
            further += ["--ip", "203.0.113.8/31"]
        without, given = convert(further), convert([*further, f"--{name}", *value])
        assert given != without, name


def test_a_file_of_settings_and_options_after_it(tmp_path: Path) -> None:
    config = tmp_path / "healthcheck.conf"
    config.write_text(
        "# ours\n\ndebug\nname = haproxy\ninterval = 10\nfast-interval = 1\n  ip=203.0.113.1/32\n"
        "command = curl -sf http://127.0.0.1/healthcheck?a=b\n"
    )
    told = read_healthcheck([str(config)])
    assert (told.name, told.interval_s, told.command) == ("haproxy", 10.0, "curl -sf http://127.0.0.1/healthcheck?a=b")
    assert told.given == {"debug", "name", "interval", "fast-interval", "ip", "command", "config"}
    both = read_healthcheck(["--config", str(config), "--interval", "3", "--ip", "203.0.113.2/32"])
    assert both.interval_s == 3.0
    assert [str(ip) for ip in both.ips] == ["203.0.113.1/32", "203.0.113.2/32"]
    whole = read_healthcheck(shlex.split(f"/usr/bin/python3 -m exabgp healthcheck -F {config};"))
    assert whole == read_healthcheck(["-F", str(config)])
    assert whole == read_healthcheck([f"/usr/bin/python3 -m exabgp healthcheck -F {config}"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--cmd x", "--ip"),
        ("--ip 127.0.0.1/32", "nothing is left"),
        ("--ip 10.0.0.0/8 --deaggregate-networks", "more than 1000"),
        (f"{IP} --cmd '{'x' * 4097}'", "longer than 4096"),
        (f"{IP} --rise many", "invalid int value"),
        (f"{IP} --unknown", "unrecognized arguments"),
        ("--ip 203.0.113.1/24", "invalid"),
        (f"{IP} --silent --no-syslog", "not allowed with"),
        (f"{IP} --ip-ifname 203.0.113.9/32%lo", "--ip-ifname"),
        (f"{IP} --ip-ifname 203.0.113.1/32", "--ip-ifname"),
        (f"{IP} --neighbor nobody", "invalid"),
        ("'exabgp healthcheck --cmd \"x'", "No closing quotation"),
    ],
)
def test_what_healthcheck_would_not_take_is_one_line(line: str, words: str, capsys: Any) -> None:
    with pytest.raises(AskedError) as raised:
        convert(shlex.split(line))
    assert words in str(raised.value)
    assert main(["announce", "convert", "--", *shlex.split(line)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


odd = st.sampled_from(
    ("", "0", "-1", "1", "7", "1.5", "nan", "1e9", "x y", "{address}", "no", "1:1", "203.0.113.1", "203.0.113.0/24",
     "2001:db8::/127", "203.0.113.1/32%eth0", "*", "a\nb", "64500 64500", "\\", "'", "%", "/run/x", "[1:1]")
)  # fmt: skip
options = st.sampled_from(sorted({name for action in _parser()._actions for name in action.option_strings}))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(options, odd), max_size=6), st.lists(st.sampled_from(HOSTS), max_size=2))
def test_whatever_it_is_given_it_gives_what_loads_or_says_why_not(
    pairs: list[tuple[str, str]], hosts: list[str]
) -> None:
    words = [word for host in hosts for word in ("--ip", f"{host}/32")]
    for name, value in pairs:
        words += [name, value] if name not in FLAGS else [name]
    try:
        found = convert(["healthcheck", *words])
    except GtmError as error:
        assert str(error)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = {"probes/checks.yaml": {"checks": found.checks}, "bgp/anycast.yaml": {"services": found.services}}
        written = {name: json.dumps(tree) for name, tree in files.items()}
        assert load(write(Path(folder), {**WITHOUT_CHECKS, **written})).anycast is not None


def test_a_file_that_is_not_there_is_one_line() -> None:
    with pytest.raises(GtmError, match="No such file"):
        convert(["/nowhere/at/all.conf"])


def test_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--", "--cmd", "/bin/true", "--ip", "203.0.113.1/32", "--debug"]
    assert main(["announce", "convert", *words]) == 0
    text = capsys.readouterr().out
    assert "run: [/bin/true]" in text
    assert "#   --debug: " in text
    assert main(["--json", "announce", "convert", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["checks"] == {"service": {"exec": {"run": ["/bin/true"]}}}
    assert document["services"]["service"]["prefixes"] == ["203.0.113.1/32"]
    assert {note["option"] for note in document["notes"]} == {"debug", "dynamic-ip-setup"}
