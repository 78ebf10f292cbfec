"""Two real ranks, started by torchrun: what they read together, and that one rank goes on where they stopped."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from medshard.loaders.mixture import mix
from medshard.loaders.sampler import SampleStream
from medshard.loaders.stream import Stream, draw

STEPS = 5
GLOBAL_BATCH = 6
RANK = """
import json, sys
from pathlib import Path

import torch.distributed as distributed
from torch.utils.data import DataLoader

from medshard.loaders.mixture import mix
from medshard.loaders.sampler import SampleStream
from medshard.loaders.stream import Stream, draw

class Draws:
    stream = Stream(seed=4, mixture=mix(["a", "b"], [7, 30]), foreground=0.33)
    def __len__(self):
        return 100
    def __getitem__(self, n):
        drawn = draw(self.stream, n)
        return n, drawn.entry_index, drawn.sample_index, drawn.foreground

distributed.init_process_group("gloo")
rank = distributed.get_rank()
numbers = SampleStream(100, stream=Draws.stream, global_batch=int(sys.argv[2]))
loader = DataLoader(Draws(), sampler=numbers, batch_size=numbers.batch_size, collate_fn=list, num_workers=1)
seen = []
for step, batch in enumerate(loader, start=1):
    everywhere = [None, None]
    distributed.all_gather_object(everywhere, batch)
    seen.append(everywhere)
    if step == int(sys.argv[3]):
        break
if rank == 0:
    state = numbers.state_dict(batches_done=len(seen))
    Path(sys.argv[1]).write_text(json.dumps({"seen": seen, "state": state}))
distributed.destroy_process_group()
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_two_ranks_read_the_global_batches_and_one_goes_on(tmp_path: Path) -> None:
    script, result = tmp_path / "rank.py", tmp_path / "result.json"
    script.write_text(RANK)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    command += [f"--master-port={free_port()}", str(script), str(result), str(GLOBAL_BATCH), str(STEPS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, env=environment, timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(result.read_text())
    for step, (first, second) in enumerate(found["seen"]):
        numbers = [{number for number, *_ in rank} for rank in (first, second)]
        assert [len(rank) for rank in numbers] == [3, 3]
        assert not numbers[0] & numbers[1]
        assert numbers[0] | numbers[1] == set(range(step * GLOBAL_BATCH, (step + 1) * GLOBAL_BATCH))

    stream = Stream(seed=4, mixture=mix(["a", "b"], [7, 30]), foreground=0.33)
    for number, entry_index, sample_index, foreground in (
        item for step in found["seen"] for rank in step for item in rank
    ):
        drawn = draw(stream, number)
        assert (drawn.entry_index, drawn.sample_index, drawn.foreground) == (entry_index, sample_index, foreground)

    alone = SampleStream(100, stream=stream, global_batch=GLOBAL_BATCH, rank=0, world_size=1)
    alone.load_state_dict(found["state"])
    assert next(iter(alone)) == STEPS * GLOBAL_BATCH
