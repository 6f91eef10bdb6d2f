"""An engine that has much to replay, played: it goes on with a line of input, and then serves until its input ends."""

import os
import sys

from qenex.bootstrap import initialise, write_run_file
from qenex.settings import from_arguments

settings = initialise(from_arguments("slow_engine", "").settings).settings
for done in (10, 20, 30):
    write_run_file(settings.replay_file, {"pid": os.getpid(), "done": done, "total": 30})
    sys.stdin.readline()
write_run_file(settings.engine_file, {"pid": os.getpid(), "binary": "127.0.0.1:1", "book": ""})
sys.stdin.read()
