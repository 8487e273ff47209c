"""Round-trip times from a file to the answers of a running node, and over its restart."""

from __future__ import annotations

from pathlib import Path

from tests.app.node import CLIENTS, OVERRIDES, Node, node, until, write

SAO_PAULO = "203.0.5.0"
FAR = "203.0.1.0"  # near us-east, and yet its packets are not
RTT_YAML = """\
passive: false
samples_min: 3
files: [rtt.csv]
"""
MEASURED = f"""\
prefix,region,rtt,count
{SAO_PAULO}/24,us-east,120,5
{SAO_PAULO}/24,eu-west,180,5
{SAO_PAULO}/24,us-west,150,5
{FAR}/24,us-east,190,5
{FAR}/24,eu-west,20,5
203.0.2.0/24,us-east,10,2
203.0.2.0/24,eu-west,90,2
"""


def answered(made: Node, network: str) -> str:
    CLIENTS["asked"] = network
    try:
        return min(made.addresses("asked")).rpartition(".")[0]
    finally:
        del CLIENTS["asked"]


def test_measured_times_decide_where_there_are_enough_of_them(tmp_path: Path) -> None:
    with node(tmp_path) as made:
        steering = (made.folder / "zones" / "example.com.yaml").read_text()
        write(
            made.folder,
            {
                "geodata/overrides.csv": f"{OVERRIDES}{SAO_PAULO}/24,BR,BR-SP,-23.5,-46.6\n",
                "probes/rtt.yaml": RTT_YAML,
                "rtt.csv": MEASURED,
                "zones/example.com.yaml": steering.replace("answers: 2", "answers: 2, steer: [{order: rtt}]"),
            },
        )
        made.serve()
        until(lambda: answered(made, FAR) == "127.0.2")
        assert answered(made, SAO_PAULO) == "127.0.1"
        assert answered(made, "203.0.2.0") == "127.0.2"  # two samples are too few: nearest
        until(lambda: "preferences of" in made.gtm("status").stdout)
        said = made.gtm("explain", "www.example.com", "--from", f"{SAO_PAULO}/24").stdout
        assert "120.0 ms" in said, said
        assert made.stop() == 0
        (made.folder / "rtt.csv").write_text("prefix,region,rtt,count\n")
        made.serve()
        assert answered(made, FAR) == "127.0.2"  # what was known outlives the controller
