"""A prober in a process of its own, which a test stops and lets go on; a line of JSON for each result."""

from __future__ import annotations

import asyncio
import json
import sys
from ipaddress import ip_address

from gtm.model.check import Cadence, Check, HttpProbe, Target, Tls
from gtm.model.health import Result
from gtm.observe.prober import Prober


async def main(address: str, port: int, ca_file: str, reuse: bool) -> None:
    tls = Tls(ca_file=ca_file) if ca_file else None
    cadence = Cadence(interval_s=2.0, timeout_s=2.0)
    check = Check(name="web", probe=HttpProbe(port=port, tls=tls, reuse=reuse), cadence=cadence)

    def note(_target: Target, result: Result) -> None:
        print(json.dumps({"ok": result.ok, "detail": result.detail, "ours": prober.counters.ours_detail}), flush=True)

    prober = Prober({Target(check="web", address=ip_address(address)): check}, note)
    await prober.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], bool(int(sys.argv[4]))))
