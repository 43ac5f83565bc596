"""A refund agent without an engine of its own: it pays batches of refunds, each payment a step that Mission Control can hold."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path

from mission_control_gate import Gate


async def pay(batch: str, refund: str, ledger: Path, seconds: float) -> None:
    """The payment itself knows nothing of Mission Control."""
    line = json.dumps({"time": time.time() * 1000, "workflow": batch, "step": refund})
    with ledger.open("a") as file:
        file.write(line + "\n")
    await asyncio.sleep(seconds)


async def pay_batch(gate: Gate, batch: str, refunds: int, ledger: Path, seconds: float) -> None:
    async with gate.workflow("PythonRefunds", id=batch, labels={"team": "payments", "language": "python"}):
        for i in range(1, refunds + 1):
            async with gate.step(f"refund-{i}", agent="payer", risk_level="HIGH"):
                await pay(batch, f"refund-{i}", ledger, seconds)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--refunds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a payment takes")
    parser.add_argument("--ledger", type=Path, default=Path("refunds.jsonl"))
    options = parser.parse_args()
    url = os.environ.get("GATE_URL", "http://127.0.0.1:8030")
    gate = Gate(url, os.environ["GATE_TOKEN"], engine=os.environ.get("GATE_ENGINE", "agents"), log=print)
    async with gate:
        await gate.ready()
        batches = (f"batch-{os.getpid()}-{i}" for i in range(1, options.batches + 1))
        paid = (pay_batch(gate, one, options.refunds, options.ledger, options.seconds) for one in batches)
        await asyncio.gather(*paid)
    print(f"paid {options.batches * options.refunds} refunds")


if __name__ == "__main__":
    asyncio.run(main())
